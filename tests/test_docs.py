"""What is public is documented, and what is documented runs."""

import dataclasses
import inspect
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

import pytest

import jaxrnn

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
CELLS = ROOT / "jaxrnn" / "cells"
# The build runs the blocks of every page of the documentation, and is strict.
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


def pages():
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(REFERENCE.glob("*.md")))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_module_has_a_docstring_and_a_page(module):
    assert inspect.getdoc(module)
    directive = f"::: {module.__name__}"
    assert re.search(rf"^{re.escape(directive)}$", pages(), re.MULTILINE), (
        f"no page has {directive}"
    )


def test_every_module_of_cells_is_on_one_page():
    paths = [path for path in CELLS.rglob("*.py") if path.name != "__init__.py"]
    names = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if "__all__" in path.read_text(encoding="utf-8")
    }
    there = re.findall(r"^::: (jaxrnn\.cells\.[\w.]+)$", pages(), re.MULTILINE)
    assert sorted(there) == sorted(names)


@pytest.mark.parametrize("value", DEFINED)
def test_public_definition_has_a_docstring(value):
    doc = inspect.getdoc(value) or ""
    assert len(doc.split()) >= 3, "no docstring"
    # A NamedTuple that says nothing gets "Name(field, …)".
    assert not doc.startswith(f"{value.__name__}("), "no docstring of its own"
    # Records are shown by the examples of the functions that take or return them.
    if is_called(value):
        assert ">>> " in doc, "no example in the docstring"


@pytest.mark.parametrize("name", ["Elman", "LSTM", "GRU", "Recurrent"])
@pytest.mark.parametrize("module", ["linen", "nnx"])
def test_flax_layer_says_all_of_its_arguments(module, name):
    layer = getattr(getattr(jaxrnn, module), name)
    if module == "linen":
        wanted = {field.name for field in dataclasses.fields(layer)} - {"parent", "name"}
    else:
        wanted = set(inspect.signature(layer).parameters)
    said = re.findall(r"^  \**(\w+): ", inspect.getdoc(layer), re.MULTILINE)
    assert wanted <= set(said)


def test_python_in_the_readme_runs():
    # All blocks are one program, as a reader takes them.
    page = ROOT / "README.md"
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


@pytest.mark.slow  # needs the docs extra
def test_every_cell_is_in_a_table(monkeypatch):
    pytest.importorskip("latex2mathml")
    monkeypatch.syspath_prepend(ROOT / "docs")
    import zoo

    families = zoo.by_page()
    assert sorted(name for names in families.values() for name in names) == sorted(jaxrnn.CELLS)
    for family, names in families.items():
        page = (REFERENCE / f"cells_{family}.md").read_text(encoding="utf-8")
        assert f"<!-- zoo: {family} -->" in page
        assert re.findall(r"^\| \[`(\w+)`\]", zoo.family_page(family), re.MULTILINE) == names


def test_the_bibliography_has_every_paper_and_cell():
    text = (ROOT / "docs" / "bibliography.md").read_text(encoding="utf-8")
    lines = text.splitlines()
    for path in (ROOT / "jaxrnn").rglob("*.py"):
        source = " ".join(path.read_text(encoding="utf-8").split())
        for number in re.findall(r"arXiv:(\d{4}\.\d{4,5})", source):
            assert number in text, path
        for name, year in re.findall(r"Source: ((?:van der )?[A-Z]\w+)[^(;]*\((\d{4})\)", source):
            there = [line for line in lines if line.startswith(f"- {name}") and f"({year})" in line]
            assert there, f"{path}: {name} ({year})"
    named = set(re.findall(r"\]\[jaxrnn\.(?:cells\.)?(\w+)\]", text))
    assert set(jaxrnn.CELLS) <= named


@pytest.fixture
def docstrings(monkeypatch):
    pytest.importorskip("griffe")
    pytest.importorskip("latex2mathml")
    monkeypatch.syspath_prepend(ROOT / "docs")
    import griffe_docstrings

    return griffe_docstrings


@pytest.mark.slow  # needs the docs extra
def test_docstrings_are_shown_as_they_are_meant(docstrings, caplog):
    import griffe

    package = griffe.load("jaxrnn", search_paths=[ROOT])
    for obj in docstrings.objects(package):
        if obj.docstring is None:
            continue
        shown = docstrings.to_markdown(obj.docstring.value, docstrings.scope_of(obj))
        blocks = re.findall(r"^( *)```python\n(.*?)^\1```$", shown, re.M | re.S)
        for indent, block in blocks:
            compile(re.sub(rf"^{indent}", "", block, flags=re.M), obj.path, "exec")
        assert not re.search(r"^ *(>>>|\.\.\. |=+  +=)", shown, re.M), obj.path
        assert ".. math" not in shown, obj.path
        assert ":math:" not in shown, obj.path
    assert not caplog.records  # of equations that cannot be shown


@pytest.mark.slow  # needs the docs extra
def test_a_docstring_s_example_can_be_copied(docstrings):
    text = """One line.

Example:
  >>> def f(x):
  ...     return x, x
  >>> f(1)  # doctest: +SKIP
  (1,
   1)
  >>> for i in range(2):
  ...     print(i)
  0
  1

After it, see `scan` and `x`.

==  =====
a   b | c
    d
==  =====
"""
    shown = docstrings.to_markdown(text, {"scan": "jaxrnn.unroll.scan"}.get)
    assert (
        """  ```python
  def f(x):
      return x, x

  f(1)
  # (1,
  #  1)
  for i in range(2):
      print(i)
  # 0
  # 1
  ```
"""
        in shown
    )
    assert '<autoref optional identifier="jaxrnn.unroll.scan"><code>scan</code></autoref>' in shown
    assert "`x`" in shown
    assert "| a | b \\| c d |" in shown


BROKEN = {
    "a link": ("[there](missing.md)", "missing.md"),
    "an anchor": ("[there](#missing)", "#missing"),
    "a name": ("[there][jaxrnn.missing]", "jaxrnn.missing"),
    "a block": ("```python\nprint(missing)\n```", "name 'missing' is not defined"),
    "nothing": ("[there](#page)\n\n```python\nprint(2 + 2)\n```\n\n`jaxrnn.missing`", None),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", BROKEN)
def test_the_build_fails_for_what_is_broken(what, tmp_path):
    pytest.importorskip("mkdocs")
    text, message = BROKEN[what]
    # The gallery is a part of every build.
    shutil.copytree(ROOT / "docs" / "images", tmp_path / "docs" / "images")
    (tmp_path / "docs" / "index.md").write_text(f"# Page {{#page}}\n\n{text}\n", encoding="utf-8")
    site = tmp_path / "mkdocs.yml"
    site.write_text(
        f"INHERIT: '{ROOT / 'mkdocs.yml'}'\n"
        f"hooks: ['{ROOT / 'docs' / 'hooks.py'}']\n"
        "nav: [index.md]\n"
        "validation: { omitted_files: ignore }\n",
        encoding="utf-8",
    )
    program = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(site)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode != 0) == (message is not None), done.stderr
    if message:
        assert message in done.stderr
