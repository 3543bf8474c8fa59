"""One module for each library: its layer, filled with the weights that all get."""

from importlib import import_module

MODULES = {"jaxrnn": "ours", "scan": "plain"}
OURS = ["vmap", "lengths", "mask", "reset", "generic", "both", "two", "wavefront", "sharded"]


def find(library):
    """The module of a library; the ways of our own are all in one."""
    name = "ours" if library in OURS else MODULES.get(library, library)
    return import_module(f"_contenders.{name}")
