"""Learning online, from a stream whose target drifts: forward in time against backward.

The inputs are random signs. The target is the input of 2 steps ago, and turns slowly into that of
6 steps ago, back, and so on: cos(p) x[t-2] + sin(p) x[t-6], where p goes through half a turn in
10,000 steps. It is never learned once and for all; the network, 16 units, updates its parameters
after every step, by Adam along the gradient of that step's squared error alone. That gradient is

- real-time recurrent learning's (RTRL), exact but for the drift of the parameters, from the whole
  influence of parameters on states, kept forward in time;
- SnAp-1's or UORO's, who keep an approximation of it: biased the one, noisy the other;
- truncated backpropagation's (BPTT), through the last 1, 4 or 16 steps, done anew at every step.

The error is that of the prediction made *before* the update: nothing is tested twice, and 1 is the
error of predicting nothing. Each way runs at several rates, and the one whose error is least over
the whole stream, mean of all seeds, is shown: as a line, the mean of the seeds, and a band from the
least to the greatest.

    python examples/online.py
    python examples/online.py --cell gru

AMD EPYC, 2 cores shared with other work, 2026-12-01, jax 0.10.2, seeds 0 to 4: 43 s of processors,
and 73 s for the GRU. Kept of the past are numbers of the influence, or of the window's states. The
time is that of an Elman network, 20 of one way (5 seeds, 4 rates) at once.

                      kept   µs a step   error: mean, least to greatest seed      of the GRU
    RTRL              4608       7.7         0.008     0.007 to 0.009     0.089   0.048 to 0.124
    SnAp-1             288       2.5         0.078     0.038 to 0.119     0.441   0.395 to 0.504
    UORO               304       2.8         0.222     0.139 to 0.312     0.857   0.835 to 0.879
    BPTT, 1 step        16       1.7         0.206     0.163 to 0.273     0.724   0.632 to 0.797
    BPTT, 4 steps       64       3.4         0.090     0.066 to 0.130     0.432   0.408 to 0.465
    BPTT, 16 steps     256       8.0         0.007     0.006 to 0.008     0.080   0.042 to 0.120

BPTT wins where its window is longer than what is to be remembered: as good as RTRL, for the same
time at 16 units and for less at more, as RTRL's operations grow with the fourth power of their
number and the window's with the second (at 64, 34 µs a step against 784). RTRL's merit is that no
window need be chosen: one of 4 steps loses the target as it turns to 6 steps ago. SnAp-1 is about
as good as that window, in three quarters of its time; UORO is no better than looking back by one
step.
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from matplotlib.figure import Figure

import jaxrnn
from jaxrnn.learning import exact

HIDDEN, NEAR, FAR, HALF_TURN, STEPS, SEEDS = 16, 2, 6, 10_000, 20_000, 5
RATES = [3e-4, 1e-3, 3e-3, 1e-2]
CELLS = {"elman": jaxrnn.elman, "gru": jaxrnn.gru, "lstm": jaxrnn.lstm}
FORWARD = {"RTRL": exact, "SnAp-1": jaxrnn.snap1, "UORO": jaxrnn.uoro}
BACKWARD = {"BPTT, 1 step": 1, "BPTT, 4 steps": 4, "BPTT, 16 steps": 16}
SHOWN = 250  # steps that a point of the picture averages


def stream(key, steps):
    """-> inputs (T, 1), targets (T,)."""
    xs = jax.random.rademacher(key, (steps + FAR,), jnp.float32)
    angle = jnp.pi * jnp.arange(steps) / HALF_TURN
    near, far = (xs[FAR - lag : FAR - lag + steps] for lag in (NEAR, FAR))
    return xs[FAR:, None], jnp.cos(angle) * near + jnp.sin(angle) * far


def init(cell, key):
    k1, k2 = jax.random.split(key)
    out = jax.random.normal(k2, (HIDDEN,)) / HIDDEN**0.5
    return {"cell": cell.init(k1, 1, HIDDEN), "out": out, "bias": jnp.zeros(())}


def loss(params, y, target):
    return (y @ params["out"] + params["bias"] - target) ** 2


def of_cell(params):
    return params["cell"]


def forward(cell, influence, params, key):
    """A way to learn -> its state before the first step; one step of it."""
    options = {"influence": influence, "key": key, "cell_params": of_cell}

    def step(params, state, x, target):
        state, _, gradient = jaxrnn.rtrl_step(
            cell, params, state, x, loss=loss, target=target, **options
        )
        return state, gradient.value, gradient.grads

    return jaxrnn.rtrl_init(cell, params, **options), step


def backward(cell, window, params, key):
    """The same for backpropagation through a window of steps."""
    del key
    options = {"loss": loss, "cell_params": of_cell}

    def step(params, state, x, target):
        objective = partial(jaxrnn.truncated_loss, cell, targets=target[None], **options)
        (value, (state, _)), grads = jax.value_and_grad(objective, has_aux=True)(
            params, state, x[None]
        )
        return state, value, grads

    first = jnp.zeros((1, 1))
    return jaxrnn.truncated_init(cell, params, first, k2=window, cell_params=of_cell), step


def learn(cell, way, steps, seed, rate):
    """-> the error before every update (T,)."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    k1, k2, k3 = jax.random.split(jax.random.key(seed), 3)
    params = init(cell, k2)
    state, step = way(cell, params=params, key=k3)

    def update(held, now):
        params, opt_state, state = held
        state, error, grads = step(params, state, *now)
        changes, opt_state = optimizer.update(grads, opt_state, params)
        return (optax.apply_updates(params, changes), opt_state, state), error

    return lax.scan(update, (params, optimizer.init(params), state), stream(k1, steps))[1]


def measure(cell, way, seeds, steps):
    """-> the best rate, its errors (seeds, T), processor time per step of one network, in µs."""
    every = jax.vmap(jax.vmap(partial(learn, cell, way, steps), (0, None)), (None, 0))
    run = jax.jit(every).lower(seeds, jnp.array(RATES)).compile()
    began = time.process_time()
    errors = np.asarray(run(seeds, jnp.array(RATES)))
    spent = (time.process_time() - began) / errors.size * 1e6
    means = errors.mean((1, 2))
    best = np.argmin(np.where(np.isfinite(means), means, np.inf))
    return RATES[best], errors[best], spent


def kept(cell, way):
    """How many numbers are kept of the past: the influence, or the states of the window."""
    key = jax.random.key(0)
    params = init(cell, key)
    if way.func is backward:
        return way.keywords["window"] * count(cell.carry(params["cell"]))
    return count(jax.eval_shape(lambda: way(cell, params=params, key=key)[0]).influence)


def count(tree):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def draw(path, errors, steps):
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    top, *below = figure.subplots(3, sharex=True, height_ratios=[1, 2.4, 2.4])
    angle = np.pi * np.arange(steps) / HALF_TURN
    thousands = np.arange(steps) / 1000
    for lag, share, style in ((NEAR, np.cos(angle), "-"), (FAR, np.sin(angle), "--")):
        top.plot(thousands, share**2, style, color="0.3", label=f"{lag} steps ago")
    top.set(ylabel="share of\nthe target", ylim=(-0.05, 1.05))
    for axes, names in zip(below, (FORWARD, BACKWARD), strict=True):
        for color, name in zip(("C0", "C1", "C3"), names, strict=True):
            points = steps // SHOWN
            course = errors[name][:, : points * SHOWN].reshape(-1, points, SHOWN).mean(-1)
            at = (np.arange(points) + 0.5) * SHOWN / 1000
            axes.plot(at, course.mean(0), color, lw=2, label=name)
            axes.fill_between(at, course.min(0), course.max(0), color=color, alpha=0.2, lw=0)
        axes.axhline(1, color="0.4", ls=":", label="predicting 0")
        axes.set(ylabel="squared error", yscale="log", ylim=(1e-4, 3))
    for axes in (top, *below):
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    below[-1].set_xlabel("thousands of steps")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cell", choices=CELLS, default="elman")
    parser.add_argument("--steps", type=int, help=f"of the stream; {STEPS}")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="streams and networks")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--out", type=Path, default=Path("out/online"))
    parser.add_argument("--smoke", action="store_true", help="few steps, to see that it runs")
    args = parser.parse_args()
    steps = args.steps or (2 * SHOWN if args.smoke else STEPS)

    cell, seeds = CELLS[args.cell], args.seed + jnp.arange(args.seeds)
    ways = {name: partial(forward, influence=influence) for name, influence in FORWARD.items()}
    ways |= {name: partial(backward, window=window) for name, window in BACKWARD.items()}
    began, errors = (time.perf_counter(), time.process_time()), {}
    print("numbers kept, µs a step and network, best rate, error: mean, of each seed")
    for name, way in ways.items():
        rate, errors[name], spent = measure(cell, way, seeds, steps)
        each = " ".join(f"{error:.3f}" for error in errors[name].mean(-1))
        row = f"{name:15}{kept(cell, way):6}{spent:6.1f}  {rate:6}"
        print(f"{row}  {errors[name].mean():.3f}   {each}", flush=True)
    draw(args.out / "errors.png", errors, steps)
    wall, cpu = time.perf_counter() - began[0], time.process_time() - began[1]
    print(f"{wall:.0f} s, {cpu:.0f} s of processors; wrote errors.png into {args.out}")


if __name__ == "__main__":
    main()
