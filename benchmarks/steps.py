"""One step of one sequence, called from Python, its carry fed back: the latency of a stream.

    python benchmarks/steps.py
    python benchmarks/steps.py --quick
    python benchmarks/steps.py --cases lstm/1,1,16,32 --contenders jaxrnn torch

A run is 100 steps; what is reported is the time of one. `donated` is jaxrnn's step whose carry is
given away, so that the new one is written in its place. Writes steps.json and steps.md.
"""

from _contenders import CONTENDERS, able
from _harness import arguments, measure, table, write
from _task import Task

CASES = [f"{cell}/1,1,64,128" for cell in ("lstm", "gru", "elman")]


def comparisons(args):
    for case in args.cases:
        tasks = {name: Task(name, case, "step") for name in able(case, "step", args.contenders)}
        yield {"case": case}, tasks | {"donated": Task("jaxrnn", f"{case}/donated", "step")}


def main():
    args = arguments(__doc__, CASES, CASES[0], contenders=CONTENDERS)
    results = measure(args, comparisons(args))
    text = "Median microseconds, and in brackets the time over jaxrnn's."
    write(args, text, table(results, scale=1e3, over="jaxrnn"))


if __name__ == "__main__":
    main()
