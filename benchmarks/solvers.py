"""What each solver costs: work, depth and time, by the length of a sequence.

    python benchmarks/solvers.py
    python benchmarks/solvers.py --quick
    python benchmarks/solvers.py --cells gru/16 --lengths 100 10000 --modes forward

A cell/H is unrolled over T steps of noise, one row, eight inputs, in float32. Products are floating
point operations and temporaries bytes, of the compiled program as XLA counts them, which counts the
body of a loop once: so both are of one step of a sequential solver, of one iteration of Newton's
method, and of the whole of an associative scan. Rounds are what must wait for each other: T steps,
or for each iteration, and the one scan of an associative solver, 2 log2 T. Solvers take turns; the
time is the median. Writes solvers.json and solvers.md.
"""

import argparse
import json
import statistics
import time
from math import ceil, log2
from pathlib import Path

import jax
import jax.numpy as jnp
from _harness import described, machine

import jaxrnn

CELLS = ["min_gru/64", "lru/64", "para_gru/64", "gru/8", "gru/32"]
LENGTHS = [100, 1000, 10_000, 100_000]
MODES = ["forward", "gradient"]
INPUTS, LEAST, SECONDS = 8, 3, 3.0
MOST = 4e9  # bytes of Jacobians, beyond which a solver is left out


def solvers(name, size, length):
    """The solvers of a cell by name, each for the whole sequence at once."""
    found = {"sequential": jaxrnn.sequential()}
    if jaxrnn.CELLS[name].coefficients is not None:
        return found | {"associative": jaxrnn.associative()}
    found["units"] = jaxrnn.newton(jacobian="units", window=length)
    if 4 * length * size**2 * 3 < MOST:
        found["dense"] = jaxrnn.newton(window=length)
    return found


def program(name, solver, mode):
    cell = jaxrnn.CELLS[name]

    def forward(params, xs):
        _, ys, status = jaxrnn.scan(cell, params, xs, solver=solver, return_status=True)
        return jnp.sum(ys**2), status

    return jax.value_and_grad(forward, has_aux=True) if mode == "gradient" else forward


def compiled(run, *arguments):
    done = jax.jit(run).lower(*arguments).compile()
    cost, memory = done.cost_analysis() or {}, done.memory_analysis()
    cost = cost[0] if isinstance(cost, list) else cost
    return done, {"flops": cost.get("flops"), "temp_bytes": memory.temp_size_in_bytes}


def compare(name, size, length, mode):
    """A row of figures for each solver."""
    cell = jaxrnn.CELLS[name]
    params = cell.init(jax.random.key(0), INPUTS, size)
    xs = jax.random.normal(jax.random.key(1), (length, INPUTS))
    rows, runs, values = {}, {}, {}
    for kind, solver in solvers(name, size, length).items():
        runs[kind], rows[kind] = compiled(program(name, solver, mode), params, xs)
        found = jax.block_until_ready(runs[kind](params, xs))
        value, status = found[0] if mode == "gradient" else found
        values[kind], count = float(value), int(status.iterations)
        rounds = length if kind == "sequential" else max(count, 1) * 2 * ceil(log2(length))
        rows[kind] |= {"iterations": count, "rounds": rounds, "found": bool(status.converged)}
        off = abs(values[kind] / values["sequential"] - 1)
        if not off < 1e-3:
            raise SystemExit(f"{name} T={length} {kind}: off by {off:.1e}")
    times = {kind: [] for kind in runs}
    began = time.perf_counter()
    while len(times["sequential"]) < LEAST or time.perf_counter() - began < SECONDS:
        for kind, run in runs.items():
            tick = time.perf_counter()
            jax.block_until_ready(run(params, xs))
            times[kind].append(1e3 * (time.perf_counter() - tick))
    for kind, each in times.items():
        rows[kind] |= {"ms": statistics.median(each), "runs": len(each)}
    return rows


def table(results):
    lines = [
        "| cell | T | mode | solver | ms | over sequential | iterations | rounds | Mflop | MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        plain = result["rows"]["sequential"]["ms"]
        for kind, row in result["rows"].items():
            count = row["iterations"] if row["found"] else f"{row['iterations']}, then step by step"
            lines.append(
                f"| {result['cell']} | {result['T']} | {result['mode']} | {kind} | {row['ms']:.3g} "
                f"| {row['ms'] / plain:.2f} | {count or ''} | {row['rounds']} "
                f"| {row['flops'] / 1e6:.3g} | {row['temp_bytes'] / 1e6:.3g} |"
            )
    return "\n".join(lines)


def main():
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--quick", action="store_true", help="two cells, the shorter lengths")
    parser.add_argument("--cells", nargs="+", default=CELLS)
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--out", type=Path, default=Path("out/bench"), metavar="DIR")
    args = parser.parse_args()
    if args.quick:
        args.cells, args.lengths = ["min_gru/64", "gru/8"], [100, 1000]
    args.question, args.against = __doc__.partition("\n")[0], None
    results, about = [], machine(args)
    for cell in args.cells:
        name, size = cell.split("/")
        for length in args.lengths:
            for mode in args.modes:
                rows = compare(name, int(size), length, mode)
                results.append({"cell": cell, "T": length, "mode": mode, "rows": rows})
                print(cell, length, mode, *(f"{k} {r['ms']:.3g} ms" for k, r in rows.items()))
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": about, "results": results}, indent=1)
    (args.out / "solvers.json").write_text(text + "\n")
    page = f"# {args.question}\n\n{described(about)}\n\n{table(results)}\n"
    (args.out / "solvers.md").write_text(page)


if __name__ == "__main__":
    main()
