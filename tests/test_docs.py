"""What is public is documented, and what is documented runs."""

import inspect
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest

import jaxrnn

ROOT = Path(__file__).parents[1]
SLOW = ["docs/training.md", "docs/devices.md"]
PAGES = [
    pytest.param(page, id=name, marks=[pytest.mark.slow] if name in SLOW else [])
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for name in [page.relative_to(ROOT).as_posix()]
]
EXPORTS = [getattr(jaxrnn, name) for name in jaxrnn.__all__]
MODULES = [jaxrnn, *(value for value in EXPORTS if isinstance(value, ModuleType))]
# Only what is defined under its own name: of data and of shorter names for something else,
# `getdoc` sees their type's docstring or the other's. `make docs` looks at those in the source.
DEFINED = [
    pytest.param(value, id=f"{module.__name__}.{name}")
    for module in MODULES
    for name in module.__all__
    if getattr(value := getattr(module, name), "__name__", None) == name
    and value.__module__.startswith("jaxrnn.")
]


def is_called(value):
    """Whether users call it: a function, or an instance of it if it is a class."""
    if inspect.isclass(value):  # any class has a __call__, its metaclass's
        return any("__call__" in vars(parent) for parent in value.__mro__)
    return callable(value)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_module_has_a_docstring_and_a_page(module):
    assert inspect.getdoc(module)
    pages = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "reference").glob("*.md"))
    directive = f"::: {module.__name__}"
    assert re.search(rf"^{re.escape(directive)}$", pages, re.MULTILINE), f"no page has {directive}"


@pytest.mark.parametrize("value", DEFINED)
def test_public_definition_has_a_docstring(value):
    doc = inspect.getdoc(value) or ""
    assert len(doc.split()) >= 3, "no docstring"
    # A NamedTuple that says nothing gets "Name(field, …)".
    assert not doc.startswith(f"{value.__name__}("), "no docstring of its own"
    # Records are shown by the examples of the functions that take or return them.
    if is_called(value):
        assert ">>> " in doc, "no example in the docstring"


@pytest.mark.parametrize("page", PAGES)
def test_python_on_a_page_runs(page):
    # All blocks of a page are one program, as a reader takes them.
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    exec(compile("\n".join(blocks), str(page), "exec"), {"__name__": "page"})


def test_version_is_the_package_s():
    try:
        installed = version("jaxrnn")
    except PackageNotFoundError:
        pytest.skip("jaxrnn is not installed here, only on the path")
    assert jaxrnn.__version__ == installed


def test_the_readme_lists_every_cell(monkeypatch):
    """As docs/zoo.py writes them, from the registry."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    import zoo

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert zoo.readme() in text, "python docs/zoo.py brings the table up to date"
