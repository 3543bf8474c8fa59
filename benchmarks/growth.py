"""How the temporaries of a gradient, and the time to compile it, grow with the length.

    python benchmarks/growth.py
    python benchmarks/growth.py --quick
    python benchmarks/growth.py --cases lstm/20,4,8,16 --contenders jaxrnn scan

Programs are compiled for 1, 2, 4 and 8 times the length, and not run. The gradient is by the
parameters, from cotangents that are given, so that all temporaries are the layer's; one that
stores its carries and nothing else takes one carry more for each step. Writes growth.json and
growth.md.
"""

from _contenders import CONTENDERS, able
from _harness import arguments, measure, table, write
from _task import Task


def comparisons(args):
    for case in args.cases:
        names = able(case, "vjp", args.contenders)
        length, *rest = Task("", case, "vjp").sizes
        for longer in (length, 2 * length, 4 * length, 8 * length):
            sizes = ",".join(map(str, (longer, *rest)))
            tasks = {name: Task(name, f"{case.split('/')[0]}/{sizes}", "vjp") for name in names}
            yield {"case": case, "T": longer}, tasks


def per_step(results):
    """Bytes of one more step over those of a carry, from 4 to 8 times the length."""
    for less, more in zip(results[2::4], results[3::4], strict=True):
        task = Task("", more["case"], "vjp")
        carry = 4 * task.sizes[1] * task.sizes[3] * (2 if task.cell == "lstm" else 1)
        rows = {}
        for name in more["rows"]:
            sizes = [result["rows"][name].get("temp_bytes") for result in (less, more)]
            if None not in sizes:
                grown = (sizes[1] - sizes[0]) / (more["T"] - less["T"])
                rows[name] = {"carries": grown / carry}
        yield {"case": more["case"], "bytes of a carry": carry, "rows": rows}


def main():
    args = arguments(__doc__, ["lstm/sine", "lstm/mid"], "lstm/mid", contenders=CONTENDERS)
    results = measure(args, comparisons(args), seconds=0)
    write(
        args,
        "Temporaries of the compiled gradient, MB:",
        table(results, "temp_bytes", 1e-6, over="jaxrnn"),
        "For one more step, in carries:",
        table(list(per_step(results)), "carries"),
        "Seconds to trace and compile it:",
        table(results, "compile_s", over="jaxrnn"),
    )


if __name__ == "__main__":
    main()
