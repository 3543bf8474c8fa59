"""Weak scaling: the gradient of a layer on one CPU device and on several, each on its own core.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --quick
    python benchmarks/scaling.py --devices 1 2 4 8

Each device has a batch of the same size, so N devices do N times the work; at best in the time of
one. Each number of devices is a process of its own, held to as many cores (on Linux), and they
take turns. Writes scaling.json and scaling.md.
"""

from _harness import arguments, measure, table, write
from _task import Task


def comparisons(args):
    for case in args.cases:
        length, batch, size, hidden = Task("", case, "gradient").sizes
        tasks = {}
        for count in args.devices:
            whole = f"{case.split('/')[0]}/{length},{batch * count},{size},{hidden}"
            tasks[str(count)] = Task("jaxrnn", whole, "gradient", devices=count)
        yield {"case": case}, tasks


def main():
    args = arguments(__doc__, ["lstm/sine", "lstm/mid"], "lstm/mid", devices=[1, 2])
    results = measure(args, comparisons(args))
    least = str(args.devices[0])
    text = f"Median milliseconds by the number of devices, and in brackets over those of {least}."
    write(args, text, table(results, over=least))


if __name__ == "__main__":
    main()
