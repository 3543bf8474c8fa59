"""Every cell of the registry in a table, for the documentation and for README.md.

    python docs/zoo.py     # brings the table in README.md up to date

The documentation's is made whenever it is built; a test compares README.md's.
"""

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
README = Path(__file__).parents[1] / "README.md"
MARKS = "<!-- cells: python docs/zoo.py -->", "<!-- /cells -->"


def module_of(cell: Cell) -> str:
    """The module that says what a cell is, below `jaxrnn.cells`."""
    return type(cell.spec).__module__.removeprefix("jaxrnn.cells.")


def by_family() -> dict[str, list[str]]:
    """The names of all cells by folder."""
    found: dict[str, list[str]] = {folder: [] for folder in FAMILIES}
    for name, cell in jaxrnn.CELLS.items():
        found[module_of(cell).rpartition(".")[0]].append(name)
    return found


def state(cell: Cell) -> str:
    """How many numbers the carry of a row holds for each unit, of eight."""
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), 8, 8))
    leaves = jax.tree.leaves(jax.eval_shape(cell.carry, params))
    count = sum(leaf.size * (1 + (leaf.dtype.kind == "c")) for leaf in leaves)
    return f"{count / 8:g}"


def said(cell: Cell) -> str:
    """The first sentence of its docstring, and the options of its constructor."""
    from latex2mathml.converter import convert  # which only the documentation needs

    text = " ".join((cell.__doc__ or "").strip().split("\n\n")[0].split()).replace("|", r"\|")
    text = re.sub(r":math:`([^`]*)`", lambda match: convert(match[1]), text)
    options = cell.name.partition("(")[2].removesuffix(")")
    return f"{text} `{options}`" if options else text


def page() -> str:
    """A table of all cells for each family."""
    parts = []
    for folder, names in by_family().items():
        lines = ["| cell | | state, for 8 units | parallel in time |", "| --- | --- | --- | --- |"]
        for name in names:
            cell = jaxrnn.CELLS[name]
            link = f"[`{name}`][jaxrnn.cells.{module_of(cell)}]"
            how = "associative" if cell.coefficients is not None else "Newton"
            floating = all(
                leaf.dtype.kind in "fc"
                for leaf in jax.tree.leaves(
                    jax.eval_shape(lambda c=cell: c.carry(c.init(jax.random.key(0), 8, 8)))
                )
            )
            lines.append(f"| {link} | {said(cell)} | {state(cell)} | {how if floating else '–'} |")
        parts.append(f"## {FAMILIES[folder].capitalize()}\n\n" + "\n".join(lines))
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
