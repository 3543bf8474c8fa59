"""One recurrent layer, side by side with other libraries.

    python benchmarks/layers.py            # about 15 minutes on two cores
    python benchmarks/layers.py --quick    # about 2

Each (library, cell, shape, mode) is a process of its own with the same weights. All of one
comparison run at once, asleep but for their turns; their outputs must agree before the clock
starts. Medians of the runs, and their spread from the first to the third quartile. Writes JSON,
a Markdown table and a chart to --out.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _contenders import LIBRARIES, SHAPES

HERE = Path(__file__).parent
QUICK = [("lstm", "sine"), ("gru", "mid")]
FULL = [("lstm", shape) for shape in ("sine", "mid", "big", "stream", "long")]
FULL += [(cell, shape) for cell in ("gru", "elman") for shape in ("sine", "mid")]
PACKAGES = ["jax", "jaxlib", "torch", "flax", "dm-haiku", "equinox", "keras", "numpy"]


def start(library, cell, shape, mode):
    command = [sys.executable, HERE / "_contenders.py", library, cell, shape, mode]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def answer(process):
    line = process.stdout.readline()
    if not line:
        reason = process.stderr.read().strip().splitlines()[-1:]
        raise RuntimeError(reason[0] if reason else "ended without a word")
    return json.loads(line)


def compare(cell, shape, mode, libraries, seconds):
    """Facts and times of every library that has this cell."""
    rows, running = {}, {}
    for library in libraries:
        process = start(library, cell, shape, mode)
        try:
            rows[library] = answer(process)
            running[library] = process
        except (RuntimeError, json.JSONDecodeError) as error:
            print(f"  {library}: left out ({error})", file=sys.stderr)
            process.kill()
    value = rows["jaxrnn"]["value"]
    for library, row in rows.items():
        if abs(row["value"] - value) > 1e-3 * abs(value):
            raise SystemExit(f"{library} disagrees: sum(y²) = {row['value']}, jaxrnn's {value}")
    times = {library: [] for library in running}
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or len(times["jaxrnn"]) < 5:
        for library, process in running.items():
            process.stdin.write("1\n")
            process.stdin.flush()
            times[library] += answer(process)
    for library, process in running.items():
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.wait()
        low, middle, high = statistics.quantiles(times[library], n=4)
        rows[library] |= {"ms": middle * 1e3, "low_ms": low * 1e3, "high_ms": high * 1e3}
        rows[library]["runs"] = len(times[library])
    return rows


def machine():
    found = {}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if "model name" in line), cpu)
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "versions": found,
    }


def table(results, about):
    """A Markdown table: milliseconds, and in brackets how many times jaxrnn's."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['date']}; {versions}; float32. "
        "Median milliseconds, and in brackets the time over jaxrnn's.",
        "",
    ]
    lines += ["| cell | T, B, D, H | mode | " + " | ".join(LIBRARIES) + " |"]
    lines += ["|---" * (3 + len(LIBRARIES)) + "|"]
    for case in results:
        ours, cells = case["rows"]["jaxrnn"]["ms"], []
        for library in LIBRARIES:
            row = case["rows"].get(library)
            ratio = "" if library == "jaxrnn" or not row else f" ({row['ms'] / ours:.2f})"
            cells.append(f"{row['ms']:.1f}{ratio}" if row else "–")
        sizes = ", ".join(map(str, SHAPES[case["shape"]]))
        lines.append(f"| {case['cell']} | {sizes} | {case['mode']} | " + " | ".join(cells) + " |")
    lines += ["", "Temporaries of the compiled program, MB:", ""]
    others = [library for library in LIBRARIES if library != "torch"]
    lines += ["| cell | T, B, D, H | mode | " + " | ".join(others) + " |"]
    lines += ["|---" * (3 + len(others)) + "|"]
    for case in results:
        sizes = ", ".join(map(str, SHAPES[case["shape"]]))
        rows = [case["rows"].get(library) for library in others]
        cells = [f"{row['temp_bytes'] / 1e6:.1f}" if row else "–" for row in rows]
        lines.append(f"| {case['cell']} | {sizes} | {case['mode']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def chart(results, path):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(9, 0.5 * len(results) + 1.5), layout="constrained")
    markers = dict(zip(LIBRARIES, "o^sDvPX*", strict=True))
    for library in LIBRARIES:
        at = [
            (case["rows"][library]["ms"] / case["rows"]["jaxrnn"]["ms"], y)
            for y, case in enumerate(results)
            if library in case["rows"]
        ]
        if at:
            axis.scatter(*zip(*at, strict=True), marker=markers[library], label=library, s=40)
    axis.set_yticks(
        range(len(results)), [f"{case['cell']} {case['shape']} {case['mode']}" for case in results]
    )
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.axvline(1, color="0.8", zorder=0)
    axis.set_xlabel("time relative to jaxrnn (right of 1: slower than jaxrnn)")
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two comparisons, four libraries")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape, to see that it runs")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    args = parser.parse_args()
    cases = [("lstm", "tiny")] if args.smoke else QUICK if args.quick else FULL
    quick = ["jaxrnn", "torch", "linen", "scan"]
    libraries = args.libraries or (quick if args.quick or args.smoke else LIBRARIES)
    libraries = ["jaxrnn", *(name for name in libraries if name != "jaxrnn")]
    results = []
    for cell, shape in cases:
        for mode in ("forward", "gradient"):
            rows = compare(cell, shape, mode, libraries, 0.5 if args.smoke else 15)
            results.append({"cell": cell, "shape": shape, "mode": mode, "rows": rows})
            timed = ", ".join(f"{name} {row['ms']:.1f}" for name, row in rows.items())
            print(f"{cell} {shape} {mode}, ms: {timed}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    about = machine()
    text = json.dumps({"machine": about, "results": results}, indent=1)
    (args.out / "layers.json").write_text(text)
    (args.out / "layers.md").write_text(table(results, about))
    chart(results, args.out / "layers.png")
    print(f"wrote layers.json, layers.md and layers.png into {args.out}")


if __name__ == "__main__":
    main()
