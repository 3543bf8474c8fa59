"""Whole sequences through one layer, forward and with its gradient, in every library.

    python benchmarks/layers.py
    python benchmarks/layers.py --quick
    python benchmarks/layers.py --cases lstm/mid gru/64,16,32,48 --contenders jaxrnn torch
    python benchmarks/layers.py --contenders jaxrnn --against ../other-checkout

All libraries get the same weights and inputs, each in a process of its own, and take turns. The
gradient is that of sum(y²) by the parameters. Writes layers.json, layers.md and layers.png: median
times, and of the compiled programs the temporaries (not known of torch) and the time to compile.
"""

from _contenders import CONTENDERS, able
from _harness import arguments, measure, table, write
from _task import Task

CASES = [
    *(f"lstm/{sizes}" for sizes in ("sine", "mid", "big", "stream", "long")),
    "lstm/mid/lengths",  # uniform in 1..T
    *(f"{cell}/{sizes}" for cell in ("gru", "elman") for sizes in ("sine", "mid")),
]
MODES = ["forward", "gradient"]


def comparisons(args):
    for case in args.cases:
        for mode in args.modes:
            tasks = {name: Task(name, case, mode) for name in able(case, mode, args.contenders)}
            yield {"case": case, "mode": mode}, tasks


def draw(results, path):
    """Dots of the time over jaxrnn's: a panel for each mode, a line for each case."""
    import matplotlib.pyplot as plt

    cases, modes = (list(dict.fromkeys(r[key] for r in results)) for key in ("case", "mode"))
    names = dict.fromkeys(name for r in results for name in r["rows"] if name != "jaxrnn")
    size = (4 * len(modes) + 3, 0.36 * len(cases) + 1.6)
    figure, axes = plt.subplots(1, len(modes), figsize=size, sharey=True, squeeze=False)
    for axis, mode in zip(axes[0], modes, strict=True):
        for name, marker in zip(names, "osvDPX*^<", strict=False):
            x, y = [], []
            for rows in (r["rows"] | r for r in results if r["mode"] == mode):
                if all("ms" in rows.get(one, {}) for one in (name, "jaxrnn")):
                    x.append(rows[name]["ms"] / rows["jaxrnn"]["ms"])
                    y.append(cases.index(rows["case"]))
            axis.plot(x, y, marker, label=name)
        axis.axvline(1, color="black")
        axis.set_xscale("log", base=2)
        axis.xaxis.set_major_formatter("{x:g}×")
        axis.set(title=mode, xlabel="time over jaxrnn's", yticks=range(len(cases)))
        axis.grid(color="0.92")
    axes[0, 0].set_yticklabels(cases)
    axes[0, 0].invert_yaxis()
    axes[0, -1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main():
    args = arguments(__doc__, CASES, "lstm/mid", contenders=CONTENDERS, modes=MODES)
    results = measure(args, comparisons(args))
    write(
        args,
        "Median milliseconds, and in brackets the time over jaxrnn's.",
        "![time relative to jaxrnn](layers.png)",
        table(results, over="jaxrnn"),
        "Temporaries of the compiled program, MB:",
        table(results, "temp_bytes", 1e-6, over="jaxrnn"),
        "Seconds to trace and compile it; of torch, the first run's:",
        table(results, "compile_s", over="jaxrnn"),
    )
    draw(results, args.out / "layers.png")


if __name__ == "__main__":
    main()
