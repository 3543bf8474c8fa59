"""What the ways of one LSTM layer cost: options of the scan, `vmap`, both directions, own cells.

    python benchmarks/properties.py
    python benchmarks/properties.py --quick
    python benchmarks/properties.py --against ../other-checkout

The layer is `jaxrnn.lstm`. Beside it, in turns: the same with `lengths`, `mask` or `reset`; under
`vmap` over the batch rather than with the batch given whole; `generic`, a cell that is only the
LSTM's equations; and both directions. Writes properties.json and properties.md.
"""

from _harness import arguments, measure, table, write
from _task import Task

WAYS = ["lengths", "mask", "reset", "vmap", "generic", "bidirectional"]


def comparisons(args):
    for case in args.cases:
        for mode in args.modes:
            tasks = {"plain": Task("jaxrnn", case, mode)}
            tasks |= {way: Task("jaxrnn", f"{case}/{way}", mode) for way in args.ways}
            yield {"case": case, "mode": mode}, tasks


def main():
    lists = {"ways": WAYS, "modes": ["forward", "gradient"]}
    args = arguments(__doc__, ["lstm/sine", "lstm/mid"], "lstm/mid", **lists)
    results = measure(args, comparisons(args))
    write(
        args,
        "Median milliseconds, and in brackets the time over that of the plain layer.",
        table(results, over="plain"),
        "Temporaries of the compiled program, MB:",
        table(results, "temp_bytes", 1e-6, over="plain"),
    )


if __name__ == "__main__":
    main()
