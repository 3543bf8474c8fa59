r"""Shows docstrings as they are meant: equations, tables, links, and examples to copy.

Browsers draw MathML by themselves, so the pages load no script for equations. Known are
reStructuredText's directive, with its lines after it or beside it, and its role:

    .. math:: h_t = o_t \odot \tanh(c_t)

    where :math:`o_t` is the output gate.

An example is shown as code that can be copied whole: without prompts, each output a comment
below its statement. Simple tables of reStructuredText become those of Markdown. A name in
backticks that the docstring's place knows, such as `scan`, is a link where there is something
to link to. The double colon before an indented block becomes a single one.
"""

import doctest
import logging
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import griffe
from latex2mathml.converter import convert

DIRECTIVE = re.compile(
    r"^(?P<indent> *)\.\. math::(?P<beside>.*)\n(?P<below>(?:(?P=indent) +.*\n|[ ]*\n)*)", re.M
)
ROLE = re.compile(r":math:`([^`]+)`")
LITERAL = re.compile(r"::$", re.M)
DOCTEST = re.compile(r"^(?P<indent> *)>>> .*\n(?:(?P=indent)\S.*\n|(?P=indent) +\S.*\n)*", re.M)
OPTION = re.compile(r"\s*# doctest: .*")
TABLE = re.compile(
    r"^(?P<indent> *)(?P<rule>=+(?:  +=+)+)\n(?P<rows>(?:.*\S.*\n)+)(?P=indent)=+(?:  +=+)+\n", re.M
)
NAME = re.compile(r"(?<![\[`\w])`(?P<name>[A-Za-z]\w*(?:\.\w+)*)`(?![\]`])")
LOGGER = logging.getLogger("mkdocs.plugins.griffe_docstrings")

Scope = Callable[[str], str | None]
"""The whole name of what a name means, or None."""


def _convert(latex: str, display: str) -> str:
    math = convert(latex, display=display)
    if "\\" in math or "<mi>&</mi>" in math:  # what it does not know it leaves as it was
        LOGGER.warning("cannot show the equation %s", latex)
    return math


def _display(match: re.Match[str]) -> str:
    latex = (match["beside"] + "\n" + textwrap.dedent(match["below"])).strip()
    # As in Sphinx: a blank line parts equations, each of which may have aligned lines.
    parts = [re.sub(r"\s*\n\s*", " ", part) for part in re.split(r"\n\s*\n", latex)]
    rows = [rf"\begin{{split}}{part}\end{{split}}" if "\\\\" in part else part for part in parts]
    shown = [f"{match['indent']}<p>{_convert(row, 'block')}</p>\n\n" for row in rows]
    return "".join(shown)


def _inline(match: re.Match[str]) -> str:
    latex = re.sub(r"\s+", " ", match[1])
    return f"<span>{_convert(latex, 'inline')}</span>"


def code_of(session: str) -> str:
    """A doctest as a program: without prompts, outputs as comments."""
    parts = []
    for example in doctest.DocTestParser().get_examples(textwrap.dedent(session)):
        source = OPTION.sub("", example.source)
        parts.append(source)
        parts += [f"# {line}".rstrip() + "\n" for line in example.want.splitlines()]
        if source.splitlines()[-1].startswith(" "):  # the end of a block
            parts.append("\n")
    return "".join(parts).rstrip("\n") + "\n"


def _fence(match: re.Match[str]) -> str:
    code = f"```python\n{code_of(match[0])}```\n"
    return textwrap.indent(code, match["indent"], lambda line: True).replace(
        match["indent"] + "\n", "\n"
    )


def _cells(line: str, columns: list[tuple[int, int | None]]) -> list[str]:
    return [line[start:end].strip() for start, end in columns]


def _table(match: re.Match[str]) -> str:
    """A table whose columns are where its rules are; a row without a first cell goes on."""
    spans = [found.span() for found in re.finditer("=+", match["rule"])]
    ends = [start for start, _ in spans[1:]]
    columns = list(zip((start for start, _ in spans), [*ends, None], strict=True))
    indent, head, rows = match["indent"], [""] * len(columns), []
    for line in match["rows"].splitlines():
        line = line[len(indent) :]
        if line.startswith("==="):
            head, rows = rows[-1], []
        elif line.startswith(" "):
            more = _cells(line, columns)
            rows[-1] = [" ".join(filter(None, pair)) for pair in zip(rows[-1], more, strict=True)]
        else:
            rows.append(_cells(line, columns))
    lines = [head, ["---"] * len(columns), *rows]
    shown = [" | ".join(cell.replace("|", r"\|") for cell in line) for line in lines]
    return "".join(f"{indent}| {line} |\n" for line in shown)


def to_markdown(docstring: str, scope: Scope = lambda name: None) -> str:
    """A docstring as Markdown shows it.

    Args:
      docstring: its text.
      scope: the whole names of what it mentions.
    """

    def link(match: re.Match[str]) -> str:
        path = scope(match["name"])
        if path is None:
            return match[0]
        code = f"<code>{match['name']}</code>"
        return f'<autoref optional identifier="{path}">{code}</autoref>'

    def prose(text: str) -> str:
        text = ROLE.sub(_inline, DIRECTIVE.sub(_display, TABLE.sub(_table, text)))
        return LITERAL.sub(":", NAME.sub(link, text))

    parts, end = [], 0
    for match in DOCTEST.finditer(docstring := docstring + "\n"):
        parts += [prose(docstring[end : match.start()]), _fence(match)]
        end = match.end()
    return "".join([*parts, prose(docstring[end:])]).rstrip("\n")


def scope_of(obj: griffe.Object) -> Scope:
    """What names mean at an object's place: its arguments nothing but themselves."""
    init = obj.members.get("__init__") if obj.is_class else obj
    own = {parameter.name for parameter in getattr(init, "parameters", ())}

    def scope(name: str) -> str | None:
        first, dot, rest = name.partition(".")
        if first == "jaxrnn" and dot:
            return name
        if first in own or first == obj.name:
            return None
        try:
            path = obj.resolve(first) + dot + rest
        except griffe.NameResolutionError:
            return None
        return path if path.startswith("jaxrnn.") else None

    return scope


def objects(obj: griffe.Object) -> Iterator[griffe.Object]:
    """An object and all in it."""
    yield obj
    for member in obj.members.values():
        if not isinstance(member, griffe.Alias):
            yield from objects(member)


class Docstrings(griffe.Extension):
    """Rewrites every docstring."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called by Griffe for the package, when all of it is known."""
        for obj in objects(pkg):
            if obj.docstring is not None:
                obj.docstring.value = to_markdown(obj.docstring.value, scope_of(obj))
