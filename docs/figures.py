"""Figures of the documentation: vector, in the page, legible in light and in dark.

A page draws with matplotlib and prints what `show` makes of the figure. Text and axes take the
page's own colour, so one picture serves both themes:

    fig, ax = figures.new()
    ax.plot(horizon, label="LSTM")
    print(figures.show(fig, "What is seen, in a sentence, for those who cannot see it."))
"""

import hashlib
import html
import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

COLOURS = ["#3f83d1", "#e0762f", "#2f9e77", "#b968c7", "#c79a1f", "#d6546a", "#4fa8b8", "#8c8c8c"]
"""Of middling lightness, so that each stands out on white and on a dark page."""
INK = "#010203"  # becomes the page's colour of text
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # for its measures; the page's own font is shown
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.prop_cycle": matplotlib.cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#8c8c8c",
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK
    ),
}


def new(
    width: float = 6, height: float = 3.2, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """A figure in the pages' style and its Axes, as `matplotlib.pyplot.subplots` gives them.

    Six inches fill the column of text; on a telephone the figure is shown at 60 % of its size.
    """
    matplotlib.rcParams.update(STYLE)
    fig = Figure(figsize=(width, height), layout="constrained")
    return fig, fig.subplots(rows, columns, **options)


def band(axes: Axes, x: Any, runs: Sequence[Any], label: str, **options: Any) -> None:
    """The mean of several runs as a line, their smallest to largest value as a band."""
    values = np.asarray(runs)
    (line,) = axes.plot(x, values.mean(0), label=label, **options)
    axes.fill_between(
        x, values.min(0), values.max(0), color=line.get_color(), alpha=0.2, linewidth=0
    )


def svg(fig: Figure, description: str) -> str:
    """The figure as an `<svg>` that takes the colour of the text around it."""
    # Names of clips and markers must be one figure's own among all that stand in a page.
    with matplotlib.rc_context({"svg.hashsalt": hashlib.sha1(description.encode()).hexdigest()}):
        file = io.StringIO()
        fig.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r"font: ([0-9.]+)px [^;\"]*", r"font-size: \1px", text)
    names = hashlib.sha1(text.encode()).hexdigest()[:8]
    text = re.sub(r'\bid="', f'id="f{names}-', text)
    text = re.sub(r'(href="#|url\(#)', rf"\g<1>f{names}-", text)
    size = re.search(r'width="([0-9.]+)pt" height="([0-9.]+)pt"', text)
    if size is None:
        raise ValueError("fig: expected a width and a height in matplotlib's SVG")
    label = html.escape(description, quote=True)
    text = text.replace(size[0], f'role="img" aria-label="{label}"', 1)
    # One line: an empty one would end the HTML block in Markdown.
    return re.sub(r"\s*\n\s*", " ", text)


def show(fig: Figure, description: str, caption: str = "") -> str:
    """HTML to print on the page; `description` is what a reader hears who cannot see it."""
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    width = f"max-width: {fig.get_figwidth() * 110:.0f}px"
    return f'<figure class="plot" style="{width}">{svg(fig, description)}{below}</figure>'
