r"""Shows docstrings as they are meant: equations as MathML, doctests as code.

Browsers draw MathML by themselves, so the pages load no script for it. Known
are reStructuredText's directive, with its lines after it or beside it, and its
role:

    .. math:: h_t = o_t \odot \tanh(c_t)

    where :math:`o_t` is the output gate.

Doctests are fenced (Markdown takes >>> for a quotation), and the double colon
before an indented block becomes a single one.
"""

import logging
import re
import textwrap
from typing import Any

import griffe
from latex2mathml.converter import convert

DIRECTIVE = re.compile(
    r"^(?P<indent> *)\.\. math::(?P<beside>.*)\n(?P<below>(?:(?P=indent) +.*\n|[ ]*\n)*)", re.M
)
ROLE = re.compile(r":math:`([^`]+)`")
LITERAL = re.compile(r"::$", re.M)
DOCTEST = re.compile(r"^(?P<indent> *)>>> .*\n(?:(?P=indent)\S.*\n|(?P=indent) +\S.*\n)*", re.M)
LOGGER = logging.getLogger("mkdocs.plugins.griffe_docstrings")


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


def _fence(match: re.Match[str]) -> str:
    return f"{match['indent']}```pycon\n{match[0]}{match['indent']}```\n"


def to_markdown(docstring: str) -> str:
    """A docstring's equations, doctests and literal blocks as Markdown shows them."""
    docstring = DOCTEST.sub(_fence, docstring + "\n")
    docstring = DIRECTIVE.sub(_display, docstring)
    return LITERAL.sub(":", ROLE.sub(_inline, docstring)).rstrip("\n")


class Docstrings(griffe.Extension):
    """Rewrites every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by Griffe for each object in the package."""
        if obj.docstring is not None:
            obj.docstring.value = to_markdown(obj.docstring.value)

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Called by Griffe for the package itself."""
        self.on_object(obj=pkg)
