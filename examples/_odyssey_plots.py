"""The pictures of `odyssey.py`."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

# What the study calls its variants. All have peepholes but NP, which is today's LSTM.
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


def of(results, task_name):
    """The results at a task by cell, those that diverged left out."""
    found = {result["cell"]: result for result in results if result["task"] == task_name}
    return {name: result for name, result in found.items() if np.isfinite(result["test"]).all()}


def scaled(task, values):
    """Accuracies in per cent, errors as they are."""
    return (100 if task.classes else 1) * np.asarray(values)


def every(results, task_name, task):
    """All scores at a task, of all seeds of all cells."""
    return scaled(task, [result["test"] for result in of(results, task_name).values()])


def measured(task):
    return "right, %" if task.classes else "error (RMSE)"


def limits(task, values):
    """Of an axis of scores, the better end last; what learned nothing is on it if it is near."""
    ignorant = scaled(task, task.baseline)
    values = values if np.size(values) else ignorant  # all diverged
    low, high = np.min(values), np.max(values)
    apart = low - ignorant if task.classes else ignorant - high
    if apart < high - low:
        low, high = min(low, ignorant), max(high, ignorant)
    room = max(0.08 * (high - low), 1 if task.classes else 0.01)
    return (low - room, min(high + room, 104)) if task.classes else (high + room, low - room)


def colours(families, names):
    """A colour for each family that there is, by its place in the registry."""
    order = list(dict.fromkeys(families.values()))
    there = {families[name] for name in names}
    return {family: f"C{n}" for n, family in enumerate(order) if family in there}


def draw_scores(path, results, tasks, families):
    """A row for each cell, in families; a panel for each task: seeds, and their mean."""
    names = [name for name in families if any(result["cell"] == name for result in results)]
    shades = colours(families, names)
    names.sort(key=lambda name: list(shades).index(families[name]))
    groups = [families[name] for name in names]
    places = {name: n + 0.8 * list(shades).index(families[name]) for n, name in enumerate(names)}
    height = 1.3 + 0.17 * (len(names) + len(shades))
    figure = Figure(figsize=(2.4 + 1.9 * len(tasks), height), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for axes, (task_name, task) in zip(panels, tasks.items(), strict=True):
        for name, result in of(results, task_name).items():
            scores, y = scaled(task, result["test"]), places[name]
            shade = shades[families[name]]
            axes.plot([scores.min(), scores.max()], [y, y], color=shade, lw=2, alpha=0.4)
            axes.plot(scores.mean(), y, "o", color=shade, ms=4)
        axes.axvline(scaled(task, task.baseline), color="0.4", ls=":", lw=1)
        axes.set(title=task_name, xlabel=measured(task))
        axes.set_xlim(limits(task, every(results, task_name, task)))
        axes.grid(alpha=0.3)
    panels[0].set_yticks([places[name] for name in names], names, fontsize=7)
    for label, family in zip(panels[0].get_yticklabels(), groups, strict=True):
        label.set_color(shades[family])
    panels[0].set_ylim(max(places.values()) + 1, -1)
    handles = [panels[0].plot([], [], "o", color=shade)[0] for shade in shades.values()]
    columns = min(len(shades), 2 + len(tasks))
    figure.legend(handles, shades, loc="outside lower center", ncols=columns, fontsize=8)
    figure.savefig(path, dpi=110)


def draw_times(path, results, tasks, families):
    """Score against the time that a step of an update took; a panel for each task."""
    names = [name for name in families if any(result["cell"] == name for result in results)]
    shades = colours(families, names)
    columns = min(len(tasks), 4)
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.4 * columns, 0.5 + 3.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (task_name, task) in zip(panels, tasks.items(), strict=False):
        points = []
        for name, result in of(results, task_name).items():
            x, y = result["update_ns"] / 1e3, scaled(task, np.mean(result["test"]))
            axes.plot(x, y, "o", color=shades[families[name]], ms=4, alpha=0.8)
            points.append((x, y, name))
        # Names for those that no other cell beats in both.
        front, sign = [], 1 if task.classes else -1
        for point in sorted(points, key=lambda point: (point[0], -sign * point[1])):
            if not front or sign * point[1] > sign * front[-1][1]:
                front.append(point)
        xs, ys = ([point[i] for point in front] for i in range(2))
        axes.step(xs, ys, where="post", color="0.7", lw=1)
        for n, (x, y, name) in enumerate(front):
            below = -9 if n % 2 else 4
            options = {"xytext": (3, below), "textcoords": "offset points", "fontsize": 6}
            axes.annotate(name, (x, y), **options)
        axes.axhline(scaled(task, task.baseline), color="0.4", ls=":", lw=1)
        axes.margins(x=0.12)
        axes.set_ylim(limits(task, [y for _, y, _ in points]))
        axes.set(title=task_name, ylabel=measured(task), xscale="log")
        axes.set_xlabel("µs of an update, per step and sequence")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
    for axes in panels[len(tasks) :]:
        axes.remove()
    handles = [panels[0].plot([], [], "o", color=shade)[0] for shade in shades.values()]
    figure.legend(handles, shades, loc="outside lower center", ncols=len(shades), fontsize=8)
    figure.savefig(path, dpi=110)


def draw_variants(path, results, tasks):
    """The variants as the study draws them: boxes, and behind them the units of each.

    There the bars are parameters, which are equal here, so that what they buy is shown. The red dot
    is the mean. A box is blue where all seeds are better than any of the vanilla cell, or worse.
    """
    tasks = {name: task for name, task in tasks.items() if VARIANTS.keys() & of(results, name)}
    if not tasks:
        return
    columns = min(len(tasks), 4)
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(3.7 * columns, 0.4 + 2.9 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (task_name, task) in zip(panels, tasks.items(), strict=False):
        found = of(results, task_name)
        there = [name for name in VARIANTS if name in found]
        places = np.arange(len(there))
        bars = axes.twinx()
        bars.bar(places, [found[name]["hidden"] for name in there], color="0.88", width=0.8)
        bars.set_ylim(0, 80)
        bars.set_yticks([0, 15, 30])
        bars.tick_params(colors="0.55", labelsize=7)
        axes.set_zorder(bars.get_zorder() + 1)
        axes.patch.set_visible(False)
        scores = {name: scaled(task, found[name]["test"]) for name in there}
        vanilla = scores.get("lstm_peephole")
        for place, values in zip(places, scores.values(), strict=True):
            apart = vanilla is not None and (
                values.min() > vanilla.max() or values.max() < vanilla.min()
            )
            box = axes.boxplot([values], positions=[place], widths=0.6, patch_artist=True, whis=100)
            box["boxes"][0].set(facecolor="C0" if apart else "w", alpha=0.7)
            box["medians"][0].set(color="C3", lw=1.5)
            axes.plot([place] * len(values), values, "k.", ms=3)
            axes.plot(place, values.mean(), "C3o", ms=4)
        if vanilla is not None:
            axes.axhline(np.median(vanilla), color="C3", lw=0.7, ls="--")
        axes.set_xticks(places, [VARIANTS[name] for name in there], fontsize=7)
        axes.set(title=task_name, ylabel=measured(task))
        axes.set_ylim(limits(task, np.concatenate(list(scores.values()))))
    for axes in panels[len(tasks) :]:
        axes.remove()
    figure.supxlabel("grey, right: units that the budget buys; blue: apart from V", fontsize=9)
    figure.savefig(path, dpi=110)
