"""Contenders that take turns: start their processes, compare their outputs, time them, report.

All processes of a comparison live at once and sleep but for their turns. They import in
parallel, compile one after the other, and must give the same outputs before the clock starts.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from _task import ROOT, SIZES

PACKAGES = ["jax", "jaxlib", "torch", "flax", "dm-haiku", "equinox", "keras", "numpy"]
TOLERANCE = 1e-3  # of the largest output: float32, and sums of a thousand steps
ROUNDS = 7  # at least
TURN = 0.1  # seconds that a quick contender has before it is the next one's turn
AGAINST = " (against)"  # ends the name of what runs in the other checkout


def start(task):
    """A contender's process."""
    paths = [task.checkout, *filter(None, [os.environ.get("PYTHONPATH")])]
    # Several processes share a GPU: none may take all of its memory.
    own = {"PYTHONPATH": os.pathsep.join(paths), "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, f"{ROOT}/benchmarks/_worker.py", json.dumps(asdict(task))]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, env=os.environ | own, text=True)


def ask(process, word):
    """Its answer to a line; RuntimeError if it fails."""
    with contextlib.suppress(BrokenPipeError):
        print(word, file=process.stdin, flush=True)
    answer = json.loads(process.stdout.readline() or '{"error": "ended without a word"}')
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


def compare(tasks, seconds):
    """A row of figures for each name in ``{name: Task}``, or of why there are none.

    With ``seconds=0`` they are compiled and neither run nor timed.
    """
    processes = {name: start(task) for name, task in tasks.items()}
    rows, outputs = {name: {} for name in tasks}, {}
    try:
        for word in ("ready", "compile", "sample") if seconds else ("ready", "compile"):
            for name in list(processes):
                try:
                    answer = ask(processes[name], word)
                    if word == "compile":
                        rows[name] = answer
                    if word == "sample":
                        first = outputs.setdefault(tasks[name].case, np.array(answer))
                        if not abs(answer - first).max() <= TOLERANCE * abs(first).max():
                            raise RuntimeError("its outputs are not those of the first")
                except RuntimeError as error:
                    print(f"  {name} left out: {error}", file=sys.stderr)
                    rows[name] = {"left_out": str(error)}
                    processes.pop(name).kill()
        for name, times in take_turns(processes, seconds).items():
            low, middle, high = (1e3 * t for t in statistics.quantiles(times, n=4))
            rows[name] |= {"ms": middle, "low_ms": low, "high_ms": high, "runs": len(times)}
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
    return rows


def take_turns(processes, seconds):
    """Seconds of each run by name. Every round is begun by another process."""
    names = list(processes) if seconds else []
    times, count = {name: [] for name in names}, dict.fromkeys(names, 1)
    began, rounds = time.perf_counter(), 0
    while names and (rounds < ROUNDS or time.perf_counter() - began < seconds):
        for name in names:
            turn = time.perf_counter()
            runs = ask(processes[name], count[name])
            each = (time.perf_counter() - turn) / count[name]
            times[name] += runs[1:] or runs  # where there are several, the first warms the caches
            count[name] = max(1, min(20, int(TURN / each)))
            time.sleep(0.005)  # threads that spin for more work give up
        names, rounds = [*names[1:], names[0]], rounds + 1
    return times


def arguments(text, cases, quick, **lists):
    """The options that all scripts have, and an option for each list, whose default it is."""
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=text, formatter_class=as_written)
    add = parser.add_argument
    add("--quick", action="store_true", help=f"{quick} only, and for a shorter time")
    add("--cases", nargs="+", help=f"cell/T,B,D,H, or of these, the default: {' '.join(cases)}")
    for name, every in lists.items():
        words = " ".join(map(str, every))
        add(f"--{name}", nargs="+", type=type(every[0]), default=every, help=f"default: {words}")
    add("--seconds", type=float, help="of timing for each comparison")
    add("--against", metavar="DIR", help="another checkout of jaxrnn to take turns with")
    add("--out", type=Path, default=Path("out/bench"), metavar="DIR")
    args = parser.parse_args()
    args.question, args.name = text.partition("\n")[0], Path(sys.argv[0]).stem
    args.cases = args.cases or ([quick] if args.quick else cases)
    args.seconds = args.seconds or (2 if args.quick else 10)
    if args.against and not Path(args.against, "jaxrnn", "__init__.py").exists():
        parser.error(f"--against: there is no jaxrnn in {args.against}")
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def measure(args, comparisons, seconds=None):
    """The results of all comparisons, ``(labels, {name: Task})``, written to a JSON file too."""
    results, about = [], machine(args)
    for labels, tasks in comparisons:
        every = {}
        for one, task in tasks.items():
            every[one] = task
            if args.against and task.contender == "jaxrnn":
                every[one + AGAINST] = replace(task, checkout=os.path.abspath(args.against))
        rows = compare(every, args.seconds if seconds is None else seconds)
        results.append(labels | {"rows": rows})
        text = json.dumps({"machine": about, "results": results}, indent=1)
        (args.out / f"{args.name}.json").write_text(text + "\n")
        timed = [f"{one} {row['ms']:.3g} ms" for one, row in rows.items() if "ms" in row]
        print(*labels.values(), ", ".join(timed), flush=True)
    return results


def machine(args):
    """What the figures are measured on and with."""

    def said(command):
        return subprocess.run(command, shell=True, capture_output=True, text=True).stdout.strip()

    found = {one.name: one.version for one in importlib.metadata.distributions()}
    versions = {package: found[package] for package in PACKAGES if package in found}
    for name, path in {"jaxrnn": ROOT, "against": args.against}.items():
        if path:
            commit = said(f"git -C {shlex.quote(path)} describe --always --dirty")
            versions[name] = commit or found.get("jaxrnn", "")
    return {
        "cpu": said("grep -m1 'model name' /proc/cpuinfo | cut -d: -f2") or platform.processor(),
        "cores": os.cpu_count(),
        "gpu": said("nvidia-smi --query-gpu=name --format=csv,noheader"),
        "date": time.strftime("%Y-%m-%d"),
        "load": os.getloadavg()[0],  # before: where it is high, others were at work
        "versions": {"Python": platform.python_version(), **versions},
    }


def described(about):
    """The machine in a sentence."""
    words = [f"{about['cpu']}, {about['cores']} cores", about["gpu"], about["date"]]
    words += [f"load average before {about['load']:.1f}", "float32"]
    words += [", ".join(f"{package} {version}" for package, version in about["versions"].items())]
    return "; ".join(filter(None, words)) + "."


def write(args, *parts):
    """A Markdown file: the question, what it was measured on, and the parts."""
    about = json.loads((args.out / f"{args.name}.json").read_text())["machine"]
    sizes = "; ".join(f"{case} {', '.join(map(str, size))}" for case, size in SIZES.items())
    head = [f"# {args.question}", described(about), f"T, B, D, H: {sizes}."]
    text = "\n\n".join(part.strip() for part in (*head, *parts))
    (args.out / f"{args.name}.md").write_text(text + "\n")
    print(f"wrote {args.out / args.name}.json and .md")


def table(results, key="ms", scale=1.0, over=None):
    """A line for each result, a column for each name.

    In brackets stands the figure over that of the name `over`, in the same checkout; that of
    `over` itself in the other checkout is over that in this one.
    """
    names = list(dict.fromkeys(name for result in results for name in result["rows"]))
    labels = [label for label in results[0] if label != "rows"]
    lines = [[*labels, *names], ["---"] * (len(labels) + len(names))]
    for result in results:
        figures = {name: result["rows"].get(name, {}).get(key) for name in names}
        lines.append([str(result[label]) for label in labels])
        for name, figure in figures.items():
            own = f"{over}{AGAINST}" if name.endswith(AGAINST) else over
            base = figures.get(over if name == own else own)
            ratio = f" ({figure / base:.2f})" if figure and base and name != over else ""
            lines[-1].append("–" if figure is None else f"{figure * scale:.3g}{ratio}")
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
