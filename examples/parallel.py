"""Where Newton's method on a whole trajectory pays, and where it does not.

GRUs of 16 units whose recurrent weights are scaled, from quiet to chaotic, are unrolled over 300
steps of noise in three ways: by Newton's method with dense Jacobians, with those within a unit
only, and with dense ones in windows of 50 steps, one after the other. The largest Lyapunov exponent
of each trajectory is measured beside it: below 0 what differs in the state dies out, above 0 it
grows.

    python examples/parallel.py                      # two minutes on two cores

Prints the iterations by exponent, and draws them, and how the residual falls from iteration to
iteration. With the default seed, in float64:

    exponent       -0.54     -0.48     -0.39     -0.28     -0.13      0.01      0.15      0.23
    dense              4         4         5         5         9       100       216       232
    units             18        23        33        59       178       257       297       300
    windows           24        24        26        31        47       117       232       235

Those of the windows are the sum over six of them. An iteration of all 300 steps is a few dozen
rounds of matrix products, so 4 or 9 of them are few where rounds are what takes time, on an
accelerator; 100 are not.
"""

import argparse
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxrnn

STEPS, HIDDEN, INPUTS = 300, 16, 4
WAYS = {
    "dense": {},
    "units": {"jacobian": "units"},
    "windows": {"window": 50},
}
SHOWN = 1.0, 2.0, 2.5, 2.8, 6.0  # scales whose residuals are drawn
COUNTS = 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 30, 36, 42


def networks(seed, scales):
    """The parameters of a GRU for each scale, stacked, and inputs."""
    k1, k2 = jax.random.split(jax.random.key(seed))
    params = jaxrnn.gru.init(k1, INPUTS, HIDDEN, dtype=jnp.float64)
    scaled = jax.vmap(lambda scale: scale * params.recurrent_kernel)(scales)
    rest = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(scales), *leaf.shape)), params)
    return rest._replace(recurrent_kernel=scaled), jax.random.normal(k2, (STEPS, INPUTS))


@partial(jax.jit, static_argnums=0)
def fares(solver, params, xs):
    """The status of a solver for every network."""
    run = partial(jaxrnn.scan, jaxrnn.gru, xs=xs, solver=solver, return_status=True)
    return jax.vmap(lambda params: run(params)[2])(params)


def draw(path, exponents, iterations, falls):
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, counts), marker in zip(iterations.items(), "o^s", strict=True):
        left.plot(exponents, counts, marker, ms=4, label=name, alpha=0.8)
    left.axvline(0, color="0.5", ls=":")
    left.axhline(STEPS, color="0.5", ls=":")
    left.text(exponents.min(), STEPS, "as many as steps", va="bottom", color="0.4")
    left.set(yscale="log", xlabel="largest Lyapunov exponent, per step", ylabel="iterations")
    left.set(title=f"a GRU of {HIDDEN} units over {STEPS} steps")
    left.legend()
    for exponent, residuals in falls:
        right.plot(COUNTS[: len(residuals)], residuals, "o-", ms=4, label=f"{exponent:+.2f}")
    right.set(yscale="log", xlabel="iteration", ylabel="largest residual", title="dense")
    right.legend(title="exponent")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--networks", type=int, default=24, help="how many scales; 24")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/parallel"))
    parser.add_argument("--smoke", action="store_true", help="few networks, to see that it runs")
    args = parser.parse_args()
    if args.smoke:
        args.networks = 3
    jax.config.update("jax_enable_x64", True)

    scales = jnp.geomspace(0.5, 8, args.networks)
    params, xs = networks(args.seed, scales)
    exponent = partial(jaxrnn.analysis.lyapunov_exponent, jaxrnn.gru, xs=xs, warmup=50)
    exponents = np.asarray(jax.vmap(lambda params: exponent(params))(params))
    iterations = {}
    for name, options in WAYS.items():
        status = fares(jaxrnn.newton(max_iterations=STEPS, **options), params, xs)
        iterations[name] = np.asarray(status.iterations)
    order = np.argsort(exponents)
    picked = order[np.linspace(0, len(order) - 1, min(8, len(order))).astype(int)]
    print("exponent  ", *(f"{exponents[k]:9.2f}" for k in picked))
    for name, counts in iterations.items():
        print(f"{name:10}", *(f"{counts[k]:9}" for k in picked))

    counts = COUNTS[:3] if args.smoke else COUNTS
    params, xs = networks(args.seed, jnp.array(SHOWN))
    residuals = [
        fares(jaxrnn.newton(max_iterations=count, tolerance=1e-300), params, xs).residual
        for count in counts
    ]
    shown = np.asarray(jax.vmap(lambda params: exponent(params))(params))
    falls = [(e, np.array([r[k] for r in residuals])) for k, e in enumerate(shown)]
    draw(args.out / "parallel.png", exponents, iterations, falls)
    print(f"wrote parallel.png into {args.out}")


if __name__ == "__main__":
    main()
