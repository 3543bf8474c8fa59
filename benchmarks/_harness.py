"""Contenders that take turns: start their processes, let them agree, time them.

All processes of a comparison live at once and sleep but for their turns. They import in
parallel, compile one after the other, and must give the same numbers before the clock starts.
"""

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

WORKER = Path(__file__).parent / "_worker.py"
PACKAGES = ["jax", "jaxlib", "torch", "flax", "dm-haiku", "equinox", "keras", "numpy"]
TOLERANCE = 1e-3  # of the largest number: float32, and sums of a thousand steps
TURN = 0.1  # seconds for which a quick contender runs before the next has its turn
GPU = shutil.which("nvidia-smi") is not None


class Worker:
    """A contender's process."""

    def __init__(self, *words):
        # Several processes share a GPU: none may take all of its memory.
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            [sys.executable, WORKER, *words],
            stdin=pipe,
            stdout=pipe,
            stderr=pipe,
            text=True,
            env=environment,
        )
        self.facts, self.seconds, self.cost = {}, [], TURN

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            words = [w for w in self.process.stderr.read().strip().splitlines() if "Error" in w]
            raise RuntimeError(words[-1] if words else "ended without a word")
        return json.loads(line)

    def ask(self, word):
        with contextlib.suppress(BrokenPipeError):
            print(word, file=self.process.stdin, flush=True)
        return self.answer()

    def turn(self):
        """Some runs, the first unheeded where there are several: the caches were others'."""
        count = max(1, min(20, int(TURN / self.cost)))
        began = time.perf_counter()
        self.seconds += self.ask(count)[1 if count > 1 else 0 :]
        self.cost = (time.perf_counter() - began) / count

    def close(self):
        self.process.kill()
        self.process.communicate()


def difference(ours, theirs):
    if not all(map(math.isfinite, theirs)):
        return math.inf
    largest = max(map(abs, ours))
    return max(abs(a - b) for a, b in zip(ours, theirs, strict=True)) / largest


def compare(cell, shape, mode, names, seconds, *, strangers=()):
    """A dict of the facts and times of each name, and of the reasons of those left out.

    The numbers of all must be those of the first, but for those of strangers, which are
    another function. With ``seconds=0`` they are compiled and checked, and not timed.
    """
    workers = {name: Worker(name, cell, shape, mode) for name in names}
    left_out = {}

    def refuse(name, why):
        workers.pop(name).close()
        left_out[name] = why
        print(f"  {name} left out of {cell} {shape} {mode}: {why}", file=sys.stderr)

    try:
        for step in (Worker.answer, lambda worker: worker.ask("compile")):
            for name, worker in list(workers.items()):
                try:
                    worker.facts = step(worker)
                except RuntimeError as error:
                    refuse(name, str(error))
        checks = {name: worker.facts.pop("check") for name, worker in workers.items()}
        first = next((name for name in names if name in checks), None)
        for name in list(workers):
            if name in strangers:
                continue
            workers[name].facts["difference"] = difference(checks[first], checks[name])
            if not workers[name].facts["difference"] <= TOLERANCE:
                refuse(name, f"its numbers are not those of {first}")
        measure(list(workers.values()), seconds)
        rows = {name: worker.facts | summary(worker.seconds) for name, worker in workers.items()}
    finally:
        for worker in workers.values():
            worker.close()
    return {"cell": cell, "shape": shape, "mode": mode, "rows": rows, "left_out": left_out}


def measure(workers, seconds):
    """Turns, each round begun by another: five and more, unless those take far too long."""
    if not (seconds and workers):
        return
    began, rounds, spent = time.perf_counter(), 0, 0
    while rounds < 2 or spent < seconds or (rounds < 5 and spent < 3 * seconds):
        for worker in workers[rounds % len(workers) :] + workers[: rounds % len(workers)]:
            worker.turn()
            time.sleep(0.005)  # threads that spin for more work give up
        rounds += 1
        spent = time.perf_counter() - began


def summary(seconds):
    if not seconds:
        return {}
    low, middle, high = statistics.quantiles(seconds, n=4)
    return {"ms": middle * 1e3, "low_ms": low * 1e3, "high_ms": high * 1e3, "runs": len(seconds)}


def machine():
    """What the figures were measured on and with."""
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
        "load": os.getloadavg()[0],  # before: where it is high, others were at work
        "versions": found,
    }
