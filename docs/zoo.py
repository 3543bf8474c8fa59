"""Every cell of the registry in a table, for the documentation and for README.md.

    python docs/zoo.py     # brings the table in README.md up to date

The documentation's is made whenever it is built; a test compares README.md's.
"""

import ast
import functools
import itertools
import re
from pathlib import Path

import jax

import jaxrnn
from jaxrnn.base import Cell

FAMILIES = {
    "": "classics",
    "simplified": "simplified gates",
    "structured": "more structure",
    "linear": "linear in the state",
    "diagonal": "diagonal recurrence",
    "continuous": "continuous time",
}
"""The folders of `jaxrnn/cells/`, in the order in which they are told."""
CLASSICS = {"lstm": "LSTM", "gru": "GRU", "elman": "Elman", "ladder": "the ladder"}
"""The families in the first of them, by the module that makes them."""
ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
CELLS = ROOT / "jaxrnn" / "cells"
MARKS = "<!-- cells: python docs/zoo.py -->", "<!-- /cells -->"
NAME = re.compile(r"`(\w+)`")


def module_of(cell: Cell) -> str:
    """The module that says what a cell is, below `jaxrnn.cells`."""
    return type(cell.spec).__module__.removeprefix("jaxrnn.cells.")


def by_family() -> dict[str, list[str]]:
    """The names of all cells by folder."""
    found: dict[str, list[str]] = {folder: [] for folder in FAMILIES}
    for name, cell in jaxrnn.CELLS.items():
        found[module_of(cell).rpartition(".")[0]].append(name)
    return found


def by_page() -> dict[str, list[str]]:
    """The names of all cells by the page of the reference that has them."""
    found: dict[str, list[str]] = {page: [] for page in (*CLASSICS, *list(FAMILIES)[1:])}
    for folder, names in by_family().items():
        for name in names:
            module = module_of(jaxrnn.CELLS[name]).removesuffix("_reference")
            found[folder or module].append(name)
    return found


@functools.cache
def docstrings() -> dict[str, str]:
    """What stands below the assignment of each cell, by name."""
    found = {}
    for path in CELLS.rglob("*.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, below in itertools.pairwise(body):
            targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
            name = getattr(targets[0], "id", None)
            if name in jaxrnn.CELLS and isinstance(node, ast.Assign | ast.AnnAssign):
                match below:
                    case ast.Expr(ast.Constant(str() as text)):
                        found[name] = text
    return found


def shown(text: str) -> str:
    """A docstring's text as Markdown, with its equations and the cells that it names."""
    from latex2mathml.converter import convert  # which only the documentation needs

    def link(match: re.Match[str]) -> str:
        known = match[1] in jaxrnn.cells.__all__
        return f"[{match[0]}][jaxrnn.cells.{match[1]}]" if known else match[0]

    text = NAME.sub(link, text.replace("|", r"\|"))
    return re.sub(r":math:\[?`([^`]*)`", lambda match: convert(match[1]), text)


def said(name: str) -> str:
    """What the first paragraph of a cell's docstring says of it, without its source."""
    text = " ".join(docstrings()[name].strip().split("\n\n")[0].split())
    text = re.split(r" (?:Source:|Params )|; see `make_", text)[0].rstrip(".")
    if text.endswith(" adds"):  # what the equation below says
        text = text.rpartition(":")[0]
    return shown(text) + "."


def numbers(cell: Cell) -> tuple[int, str, bool]:
    """Of 8 inputs and 8 units: parameters, numbers of the carry a unit, whether all are floats."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 8, 8))
    carry = jax.tree.leaves(jax.eval_shape(cell.carry, params))
    held, size = (
        sum(leaf.size * (1 + (leaf.dtype.kind == "c")) for leaf in leaves)
        for leaves in (carry, jax.tree.leaves(params))
    )
    return size, f"{held / 8:g}", all(leaf.dtype.kind in "fc" for leaf in carry)


def family_page(family: str) -> str:
    """A table of the cells of a family: a key of `by_page`, such as ``"linear"``."""
    lines = [
        "| cell | what it is | parameters | state a unit | parallel in time |",
        "| --- | --- | ---: | ---: | --- |",
    ]
    for name in by_page()[family]:
        cell = jaxrnn.CELLS[name]
        size, held, floating = numbers(cell)
        how = "associative" if cell.coefficients is not None else "Newton"
        link = f"[`{name}`][jaxrnn.cells.{name}]"
        lines.append(f"| {link} | {said(name)} | {size} | {held} | {how if floating else '–'} |")
    return "\n".join(lines)


def title(family: str) -> str:
    """What a family is called."""
    name = CLASSICS.get(family) or FAMILIES[family]
    return name[0].upper() + name[1:]


def page() -> str:
    """A table of all cells for each family."""
    parts = [
        f"## [{title(family)}](cells_{family}.md)\n\n{family_page(family)}" for family in by_page()
    ]
    return "\n\n".join(parts)


def readme() -> str:
    """Their names by family."""
    lines = ["| cells | names |", "| --- | --- |"]
    for folder, names in by_family().items():
        link = f"[{FAMILIES[folder]}](jaxrnn/cells/{folder})"
        lines.append(f"| {link} | {', '.join(f'`{name}`' for name in names)} |")
    return "\n".join(lines)


def main() -> None:
    """Write the table into README.md."""
    head, rest = README.read_text(encoding="utf-8").split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    text = f"{head}{MARKS[0]}\n\n{readme()}\n\n{MARKS[1]}{tail}"
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
