"""Weak scaling: the gradient of an LSTM on one CPU device and on several, each on its own core.

    python benchmarks/scaling.py             # about 3 minutes
    python benchmarks/scaling.py --quick     # less than 1

Each device has a batch of the same size, so N devices do N times the work; at best in the time of
one. Each number of devices is a process of its own, held to as many cores (on Linux), and they
take turns. Medians of the runs, and their spread from the first to the third quartile. Writes
scaling.json and scaling.md to --out.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from _harness import machine

SHAPES = {"tiny": (5, 4, 3, 8), "sine": (999, 97, 1, 51), "mid": (100, 32, 128, 256)}
ROUNDS = 3


def work(count, shape, seconds):
    """Times of one process: the gradient of sum(y²) by all weights, the batch split."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    import jax
    import jax.numpy as jnp
    from jax.sharding import Mesh, NamedSharding
    from jax.sharding import PartitionSpec as P

    import jaxrnn

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", count)
    length, batch, inputs, units = SHAPES[shape]
    mesh = Mesh(jax.devices(), ("data",))
    params = jaxrnn.lstm_init(jax.random.key(0), inputs, units)
    xs = jax.random.normal(jax.random.key(1), (length, batch * count, inputs))
    params = jax.device_put(params, NamedSharding(mesh, P()))
    xs = jax.device_put(xs, NamedSharding(mesh, P(None, "data")))

    @jax.jit
    def gradient(params, xs):
        return jax.grad(lambda params: jnp.mean(jaxrnn.lstm_scan(params, xs)[1] ** 2))(params)

    jax.block_until_ready(gradient(params, xs))
    times, began = [], time.perf_counter()
    while len(times) < 5 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        jax.block_until_ready(gradient(params, xs))
        times.append(time.perf_counter() - start)
    print(json.dumps(times))


def measure(shape, counts, seconds):
    times = {count: [] for count in counts}
    for _ in range(ROUNDS):
        for count in counts:
            command = [sys.executable, __file__, "--work", str(count), shape, str(seconds / ROUNDS)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            times[count] += json.loads(done.stdout)
    rows = []
    for count in counts:
        low, middle, high = (1e3 * t for t in statistics.quantiles(times[count], n=4))
        rows.append({"shape": shape, "devices": count, "runs": len(times[count])})
        rows[-1] |= {"ms": middle, "low_ms": low, "high_ms": high}
        rows[-1]["efficiency"] = rows[0]["ms"] / middle
    return rows


def table(rows, about):
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in ("jax", "jaxlib"))
    lines = [
        f"{about['cpu']}, {about['cores']} cores, {about['date']}; {versions}; float32. Gradient "
        "of an LSTM, each device with a batch of B on a core of its own; efficiency is the time of "
        "one device over that of all.",
        "",
        "| T, B, D, H | devices | median ms | quartiles | efficiency |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        sizes = ", ".join(map(str, SHAPES[row["shape"]]))
        spread = f"{row['low_ms']:.1f} to {row['high_ms']:.1f}"
        lines.append(
            f"| {sizes} | {row['devices']} | {row['ms']:.1f} | {spread} | {row['efficiency']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one shape")
    parser.add_argument("--smoke", action="store_true", help="a tiny shape, to see that it runs")
    parser.add_argument("--devices", nargs="+", type=int, default=[1, 2], metavar="N")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--work", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        count, shape, seconds = args.work
        return work(int(count), shape, float(seconds))
    shapes = ["tiny"] if args.smoke else ["mid"] if args.quick else ["sine", "mid"]
    seconds = 0.3 if args.smoke else 10 if args.quick else 30
    about, rows = machine(), []
    for shape in shapes:
        rows += measure(shape, args.devices, seconds)
        done = [row for row in rows if row["shape"] == shape]
        timed = ", ".join(f"{row['devices']}: {row['ms']:.1f} ms" for row in done)
        print(f"{shape}, by devices: {timed}", flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"machine": about, "results": rows}, indent=1)
    (args.out / "scaling.json").write_text(text)
    (args.out / "scaling.md").write_text(table(rows, about))
    print(f"wrote scaling.json and scaling.md into {args.out}")


if __name__ == "__main__":
    main()
