"""What holds for every test: what doctests see, which are oracle tests, what is kept.

A docstring's example runs in an empty namespace, as for a reader who copies it. Doctests that
need another library are oracle tests, as files of tests mark them, and those of the fifty cells
in folders of their own are slow ones: each compiles a program or two. Tests that start processes
take minutes and are begun first; left to the end, they would keep one core waiting for another.
"""

import re

import jax
import pytest

OTHERS = re.compile(
    r"^import .*\b(torch|onnx|onnxruntime|haiku|equinox|keras)\b|interop\.onnx\.export",
    re.MULTILINE,
)


@pytest.hookimpl(tryfirst=True)  # before marks select
def pytest_collection_modifyitems(items):
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            source = "".join(example.source for example in item.dtest.examples)
            if OTHERS.search(source):
                item.add_marker("oracle")
            if item.path.parent.parent.name == "cells":
                item.add_marker("slow")
            item.dtest.globs = {"__name__": "__main__"}
    items.sort(key=lambda item: "Processes" not in item.nodeid and item.name != "test_two_devices")


@pytest.fixture(autouse=True, scope="module")
def forget_compiled(request):
    """What one file compiled the next does not need: kept, it would fill gigabytes.

    The docstrings' examples are small and alike.
    """
    yield
    if type(request.node).__name__ != "DoctestModule":
        jax.clear_caches()
