"""What importing costs, and which module may know which."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "jaxrnn"

CORE = (
    *("checks", "base", "initializers", "cells"),
    *(
        "steps",
        "solvers",
        "trajectory",
        "closures",
        "outputs",
        "options",
        "loops",
        "unroll",
        "networks",
        "functional",
    ),
)
"""Each imports only what stands to its left."""
USERS = ("decoding", "learning", "analysis")
"""What is done with networks: each imports the core and what stands to its left."""
FLAX = {*CORE[:-1], "_flax"}
ALLOWED = {
    **{name: set(CORE[:at]) for at, name in enumerate(CORE)},
    **{name: {*CORE, *USERS[:at]} for at, name in enumerate(USERS)},
    "graph": {*CORE},
    "grid": {*CORE},
    "_flax": FLAX,
    "linen": FLAX,
    "nnx": FLAX,
    "interop": {*CORE, ""},  # a user of the whole, and of no framework's modules
    "training": set(),
    "data": {"checks"},
    "serving": {*CORE},
    "": {*CORE, *USERS[:2], "graph", "grid"},
}
"""For every module or subpackage of jaxrnn, "" itself, which others it may import."""
LAZY = {"analysis", "data", "interop", "linen", "nnx", "serving", "training"}


def modules():
    """Every module, by its dotted name without ``jaxrnn.``, and its syntax tree."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text())
    return found


MODULES = modules()
PACKAGES = {"", *(name.rpartition(".")[0] for name in MODULES)}


def imported(name, tree):
    """``(module, names)`` for every import of a module, both absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:  # what a package is called by its own modules
                here = ["jaxrnn", *filter(None, name.split("."))]
                up = node.level - (name in PACKAGES)
                base = ".".join([*here[: len(here) - up], *filter(None, [base])])
            yield base, tuple(alias.name for alias in node.names)


def group(name):
    return name.partition(".")[0]


def dependencies(name, tree):
    """The groups of jaxrnn that a module imports."""
    found = set()
    for base, names in imported(name, tree):
        root, _, rest = base.partition(".")
        if root != "jaxrnn":
            continue
        inside = [f"{rest}.{n}".lstrip(".") for n in names]
        found |= {group(n) for n in inside if n in MODULES}
        if not inside or any(n not in MODULES for n in inside):
            found.add(group(rest))
    return found


@pytest.mark.parametrize("name", MODULES)
def test_dependencies(name):
    assert group(name) in ALLOWED, f"say in {Path(__file__).name} what jaxrnn.{name} may import"
    eager = MODULES[name]
    if name == "":
        eager = ast.Module([node for node in eager.body if not isinstance(node, ast.If)], [])
    unwanted = dependencies(name, eager) - ALLOWED[group(name)] - {group(name)}
    assert not unwanted, f"jaxrnn.{name} imports {sorted(unwanted)}"


@pytest.mark.parametrize("name", MODULES)
def test_no_private_jax(name):
    private = ("jax._src", "jax.interpreters", "jaxlib")
    found = imported(name, MODULES[name])
    whole = {f"{base}.{n}" for base, names in found for n in (*names, "")}
    assert not {n for n in whole if n.startswith(private)}


def python(code):
    """The JSON that a fresh interpreter prints."""
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=PACKAGE.parent, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


IMPORT = """
import json, sys
import jax, jax.numpy, numpy, jax.extend.core, jax.ad_checkpoint, jax.custom_derivatives
before = set(sys.modules)
import {module}
print(json.dumps([sorted(set(sys.modules) - before), len(jax.live_arrays())]))
"""
MOST = 150
"""How many files one import may open."""


def test_what_importing_loads_and_costs():
    """JAX and numpy only, few files, none of a lazy module; and nothing is computed."""
    loaded, arrays = python(IMPORT.format(module="jaxrnn"))
    mine = [name for name in loaded if group(name) == "jaxrnn"]
    strange = {group(name) for name in loaded} - {"jaxrnn"} - sys.stdlib_module_names
    assert not strange, f"import jaxrnn loads {sorted(strange)}"
    lazy = {group(name.removeprefix("jaxrnn.")) for name in mine} & {*LAZY, "_flax"}
    assert not lazy, f"import jaxrnn loads {sorted(lazy)}"
    assert len(mine) <= MOST, f"import jaxrnn loads {len(mine)} files of its own"
    assert arrays == 0, "an array is made at import, and the devices are woken for it"


def test_data_needs_numpy_only_beside_jax():
    loaded, arrays = python(IMPORT.format(module="jaxrnn.data"))
    assert {group(name) for name in loaded} <= {"jaxrnn", "numpy", *sys.stdlib_module_names}
    assert arrays == 0


def test_the_rest_is_loaded_when_first_used():
    heavy = ["flax", "optax", "matplotlib", "orbax", "rich"]
    code = f"import json, sys, jaxrnn; print(json.dumps([n for n in {heavy} if n in sys.modules]))"
    assert python(code) == []
    code = (
        f"import json, sys, jaxrnn\nfor name in {sorted(LAZY)}: getattr(jaxrnn, name)\n"
        f"print(json.dumps([n for n in {heavy} if n in sys.modules]))"
    )
    assert "matplotlib" not in python(code), "it is an extra, only asked for by plots"


def test_every_public_name_is_there():
    code = """
import json, jaxrnn
names = [n for n in jaxrnn.__all__ if not hasattr(jaxrnn, n)]
print(json.dumps(names))
"""
    assert python(code) == []


@pytest.mark.parametrize("name", [name for name in MODULES if group(name) in CORE])
def test_every_module_says_what_it_exports(name):
    """One ``__all__``, each name in it once."""
    body = MODULES[name].body
    found = [
        ast.literal_eval(node.value)
        for node in body
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets)
    ]
    assert len(found) == 1, "exactly one __all__"
    assert len(set(found[0])) == len(found[0])
