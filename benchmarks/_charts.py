"""Two pictures: every library relative to ours, and how the time grows."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from _cases import GPU_LIBRARIES, LIBRARIES
from _plans import BASE, join
from _report import NAMES

ALL = LIBRARIES + GPU_LIBRARIES
# fmt: off
COLORS = ["#111111", "#e4572e", "#2a6fbb", "#7fb2e5", "#3f9c5a",
          "#8e5ea2", "#d9a400", "#999999", "#76b900"]
# fmt: on
COLORS = dict(zip(ALL, COLORS, strict=True))
MARKERS = dict(zip(ALL, "|s^vDPXo*", strict=True))
STYLE = {"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}


def relative(results, path):
    """Dots of the time over jaxrnn's: a panel for each mode, a line for each layer."""
    cases = list(dict.fromkeys((case["cell"], case["shape"]) for case in results))
    modes = list(dict.fromkeys(case["mode"] for case in results))
    seen = {}
    with plt.rc_context(STYLE):
        size = (4.6 * len(modes) + 1.4, 0.36 * len(cases) + 1.6)
        figure, axes = plt.subplots(
            1, len(modes), figsize=size, sharey=True, layout="constrained", squeeze=False
        )
        axes = axes[0]
        for axis, mode in zip(axes, modes, strict=True):
            axis.axvline(1, color="#111111", linewidth=1.5, zorder=1)
            axis.axvspan(1e-3, 1, color="#111111", alpha=0.05, linewidth=0)
            ratios = []
            for case in results:
                if case["mode"] != mode or "ms" not in case["rows"].get("jaxrnn", {}):
                    continue
                y, ours = cases.index((case["cell"], case["shape"])), case["rows"]["jaxrnn"]["ms"]
                axis.axhline(y, color="0.92", zorder=0)
                for name, row in case["rows"].items():
                    if name == "jaxrnn" or "ms" not in row:
                        continue
                    ratios.append(row["ms"] / ours)
                    seen[name] = axis.scatter(
                        ratios[-1], y, color=COLORS[name], marker=MARKERS[name], s=42, zorder=2
                    )
            low, high = min([*ratios, 0.8]) / 1.15, max([*ratios, 2]) * 1.15
            axis.set_xscale("log")
            axis.set_xlim(low, high)
            ticks = [t for t in (0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 50, 100) if low <= t <= high]
            axis.set_xticks(ticks, [f"{t:g}×" for t in ticks])
            axis.minorticks_off()
            axis.tick_params(axis="y", length=0)
            axis.set_title(mode, loc="left", fontsize=11)
        axes[0].set_yticks(range(len(cases)), [f"{NAMES[c]} {shape}" for c, shape in cases])
        axes[0].invert_yaxis()
        figure.supxlabel("time over jaxrnn's: right of the line is slower than jaxrnn", fontsize=10)
        names = [name for name in ALL if name in seen]
        figure.legend(
            [seen[name] for name in names],
            ["lax.scan by hand" if name == "scan" else name for name in names],
            loc="outside right center",
            frameon=False,
        )
        figure.savefig(path, dpi=130)
        plt.close(figure)


def growth(results, path):
    """The gradient's time by T, B and H, the other sizes as in the base."""
    found = {case["shape"]: case["rows"] for case in results}
    if join(BASE) not in found:  # a smoke run, or a part of one
        return
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 3, figsize=(10.5, 3.6), sharey=True, layout="constrained")
        for axis, (number, letter) in zip(axes, ((0, "T"), (1, "B"), (3, "H")), strict=True):
            ticks = []
            for name in ALL:
                points = []
                for factor in (1 / 4, 1, 4):
                    sizes = list(BASE)
                    sizes[number] = int(sizes[number] * factor)
                    row = found.get(join(sizes), {}).get(name, {})
                    if "ms" in row:
                        points.append((sizes[number], row["ms"]))
                if points:
                    ticks = sorted({*ticks, *(x for x, _ in points)})
                    style = {"marker": "o" if name == "jaxrnn" else MARKERS[name], "markersize": 5}
                    width = 2.2 if name == "jaxrnn" else 1.3
                    x, y = zip(*points, strict=True)
                    axis.plot(x, y, color=COLORS[name], label=name, linewidth=width, **style)
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xticks(ticks, map(str, ticks))
            axis.minorticks_off()
            axis.grid(color="0.92")
            rest = zip("TBDH", BASE, strict=True)
            others = ", ".join(f"{name} = {size}" for name, size in rest if name != letter)
            axis.set_title(f"by {letter}  ({others})", loc="left", fontsize=10)
            axis.set_xlabel(letter)
        low, high = axes[0].get_ylim()
        ticks = [t for e in range(-2, 5) for t in (10.0**e, 3 * 10.0**e) if low <= t <= high]
        axes[0].set_yticks(ticks, [f"{t:g}" for t in ticks])
        axes[0].set_ylabel("LSTM gradient, ms")
        axes[0].legend(frameon=False)
        figure.savefig(path, dpi=130)
        plt.close(figure)
