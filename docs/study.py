"""The stored results of `examples/odyssey.py` as a table and pictures, for the pages on cells."""

import json
from pathlib import Path
from typing import Any

import figures
import numpy as np
import zoo
from matplotlib.figure import Figure

import jaxrnn

STORED = json.loads(
    (Path(__file__).parents[1] / "benchmarks" / "results" / "odyssey.json").read_text("utf-8")
)
TASKS: dict[str, dict[str, Any]] = STORED["tasks"]
RESULTS = {(result["cell"], result["task"]): result for result in STORED["results"]}
CELLS = [name for name in jaxrnn.CELLS if any(cell == name for cell, _ in RESULTS)]
VARIANTS = {
    "lstm_peephole": "V",
    "lstm_cifg": "CIFG",
    "lstm_fgr": "FGR",
    "lstm": "NP",
    "lstm_nog": "NOG",
    "lstm_niaf": "NIAF",
    "lstm_nig": "NIG",
    "lstm_nfg": "NFG",
    "lstm_noaf": "NOAF",
}
"""What the study calls its variants."""


def families() -> dict[str, str]:
    """The family of every cell."""
    return {name: family for family, names in zoo.by_page().items() for name in names}


def scores(cell: str, task: str) -> np.ndarray:
    """Of each seed: per cent right, or the error; empty if it was not run."""
    result = RESULTS.get((cell, task))
    return np.asarray(result["test"] if result else []) * (100 if TASKS[task]["classes"] else 1)


def provenance() -> str:
    """When, where and with what the results were made."""
    m, s = STORED["machine"], STORED["settings"]
    return (
        f"{len(RESULTS)} pairs of cell and task; {m['date']}, {m['cores']} cores of {m['cpu']}, "
        f"Python {m['python']}, jax {m['jax']}, jaxrnn {m['jaxrnn']}; {s['budget']:,} parameters, "
        f"{s['steps']} updates, seeds 0 to {s['seeds'] - 1}, learning rates "
        f"{', '.join(f'{rate:g}' for rate in s['rates'])}."
    )


def table(tasks: list[str]) -> str:
    """A row for each cell: scores, units, state, time of a step, horizon."""
    heads = ["family", *tasks, "units", "state", "ns forward", "ns update", "horizon"]
    lines = [f"| cell | {' | '.join(heads)} |", f"| --- | --- |{' ---: |' * (len(heads) - 1)}"]
    baselines = [
        f"{100 * TASKS[t]['baseline']:.1f}"
        if TASKS[t]["classes"]
        else f"{TASKS[t]['baseline']:.3f}"
        for t in tasks
    ]
    lines.append(f"| *nothing learned* | | {' | '.join(baselines)} |{' |' * 5}")
    family = families()
    for cell in CELLS:
        there = [RESULTS[cell, task] for task in tasks if (cell, task) in RESULTS]
        if not there:
            continue
        row = [zoo.title(family[cell])]
        for task in tasks:
            values, digits = scores(cell, task), 1 if TASKS[task]["classes"] else 3
            row.append(
                f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"
                if len(values)
                else ""
            )
        row += [str(there[0]["hidden"]), str(there[0]["state"])]
        row += [
            f"{np.median([result[key] for result in there]):.0f}"
            for key in ("forward_ns", "update_ns")
        ]
        adding = RESULTS.get((cell, "adding"))
        row.append(f"{np.mean(adding['horizon']):.0f}" if adding else "")
        lines.append(f"| [`{cell}`][jaxrnn.cells.{cell}] | {' | '.join(row)} |")
    return "\n".join(lines)


def variants(tasks: list[str]) -> Figure:
    """The eight variants as the study draws them: seeds, their mean, units in the background."""
    fig, axes = figures.new(6, 1.9 * len(tasks), rows=len(tasks), sharex=True)
    places = range(len(VARIANTS))
    for ax, task in zip(np.atleast_1d(axes), tasks, strict=True):
        standard = scores("lstm_peephole", task)
        for x, cell in zip(places, VARIANTS, strict=True):
            values = scores(cell, task)
            apart = values.min() > standard.max() or values.max() < standard.min()
            shade = figures.COLOURS[0] if apart else figures.COLOURS[-1]
            ax.plot([x, x], [values.min(), values.max()], color=shade, lw=8, alpha=0.45)
            ax.plot(x, values.mean(), "o", color=figures.COLOURS[5], ms=5)
        ax.axhline(standard.mean(), color=figures.COLOURS[-1], lw=0.8, ls=":")
        ax.set_title(task, loc="left")
        ax.set_ylabel("right, %" if TASKS[task]["classes"] else "error")
        if TASKS[task]["classes"]:
            low = min(scores(cell, task).min() for cell in VARIANTS)
            ax.set_ylim(min(low - 2, 90), 101)
        else:
            ax.invert_yaxis()
        ax.grid(axis="x", visible=False)
    np.atleast_1d(axes)[-1].set_xticks(list(places), list(VARIANTS.values()), fontsize=9)
    return fig


def chart(task: str) -> Figure:
    """All cells at one task, the better ones higher, coloured by family."""
    family = families()
    done = [cell for cell in CELLS if len(scores(cell, task))]
    sign = 1 if TASKS[task]["classes"] else -1
    done.sort(key=lambda cell: sign * scores(cell, task).mean())
    groups = list(dict.fromkeys(family[cell] for cell in CELLS))
    fig, ax = figures.new(6, 0.8 + 0.165 * len(done))
    told = set()
    for y, cell in enumerate(done):
        values, group = scores(cell, task), family[cell]
        shade = figures.COLOURS[groups.index(group) % len(figures.COLOURS)]
        ax.plot([values.min(), values.max()], [y, y], color=shade, lw=3, alpha=0.4)
        label = zoo.title(group) if group not in told else None
        told.add(group)
        ax.plot(values.mean(), y, "o", color=shade, ms=4, label=label)
    base = TASKS[task]["baseline"] * (100 if TASKS[task]["classes"] else 1)
    ax.axvline(base, color=figures.COLOURS[-1], ls=":", lw=1)
    ax.set_yticks(range(len(done)), done, fontsize=8)
    ax.set_ylim(-1, len(done))
    ax.set_xlabel("right, %" if TASKS[task]["classes"] else "error (root mean square)")
    if sign < 0:
        ax.invert_xaxis()
    ax.legend(fontsize=8, loc="lower right")
    return fig
