"""Why gates: how much of a gradient is left after 100 steps, before and after training.

Five networks learn the adding task: of a hundred random numbers two are marked, one in each half,
and the sum of the two is asked for at the end. Measured, at initialisation and after training, is
|∂ŷ/∂s_t|, the norm of the gradient of the network's answer in its state t steps before, mean over
64 fresh sequences and relative to the state one step before. (The gradient of the squared error is
this one times 2 (ŷ − y), the same factor for all t.) Every network starts from PyTorch's
U(±1/√H), on top of which the LSTM's forget bias is 0 or 1; peepholes start at 0, where the cell is
the LSTM.

    python examples/vanishing.py                     # a minute or two
    python examples/vanishing.py --cells elman gru --steps 500

An answer that ignores the input has a squared error of 1/6 = 0.167.
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

import jaxrnn
from jaxrnn import analysis, training
from jaxrnn.initializers import torch_uniform

LENGTH, ROWS, HIDDEN, STEPS = 100, 32, 32, 1500
NETWORKS = {
    "elman": ("Elman", jaxrnn.elman, {}),
    "lstm0": ("LSTM, forget bias 0", jaxrnn.lstm, {"forget_bias": 0.0}),
    "lstm1": ("LSTM, forget bias 1", jaxrnn.lstm, {"forget_bias": 1.0}),
    "peephole": ("peephole LSTM, forget bias 1", jaxrnn.cells.lstm_peephole, {"forget_bias": 1.0}),
    "gru": ("GRU", jaxrnn.gru, {}),
}


def adding(seed, rows=ROWS):
    """Without end: inputs (T, B, 2), a number and its mark; answers (B,)."""
    rng = np.random.default_rng(seed)
    half = LENGTH // 2
    while True:
        xs = np.zeros((LENGTH, rows, 2), np.float32)
        xs[..., 0] = rng.random((LENGTH, rows))
        marked = np.stack([rng.integers(half, size=rows), rng.integers(half, LENGTH, size=rows)])
        xs[marked, np.arange(rows), 1] = 1
        yield xs, xs[marked, np.arange(rows), 0].sum(0)


def init(cell, key, options):
    k1, k2 = jax.random.split(key)
    uniform = dict.fromkeys(("kernel_init", "recurrent_init", "bias_init"), torch_uniform)
    rnn = cell.init(k1, 2, HIDDEN, **uniform, **options)
    kernel = torch_uniform(k2, (HIDDEN, 1), jnp.float32)
    return {"rnn": rnn, "kernel": kernel, "bias": jnp.ones(())}


def answer(params, y):
    return y @ params["kernel"][:, 0] + params["bias"]


def error(cell, params, batch):
    xs, target = batch
    _, ys = jaxrnn.scan(cell, params["rnn"], xs)
    return jnp.mean((answer(params, ys[-1]) - target) ** 2)


@partial(jax.jit, static_argnums=0)
def kept(cell, params, xs):
    """Gradient norms (T, B), relative to the last."""
    loss = partial(answer, params)
    norms = analysis.gradient_norms(cell, params["rnn"], xs, loss=loss).total
    return norms / norms[-1]


def train(cell, params, args):
    rate = optax.cosine_decay_schedule(1e-2, args.steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
    batches = adding(args.seed + 1)
    return training.fit(partial(error, cell), params, optimizer, batches, steps=args.steps)


def draw(path, before, after, errors):
    figure = Figure(figsize=(12, 4.4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    middle.sharey(left)
    steps = len(next(iter(errors.values())))
    titles = "at initialisation", f"after {steps} updates"
    for axes, title, norms in zip((left, middle), titles, (before, after), strict=True):
        analysis.plot_gradient_norms(norms, axes).get_legend().remove()
        axes.set(title=title, ylabel="gradient norm, relative to one step before")
    window = min(50, steps)
    for name, values in errors.items():
        mean = np.convolve(values, np.ones(window) / window, mode="valid")
        right.plot(np.arange(window, steps + 1), mean, label=name)
    right.axhline(1 / 6, color="0.4", ls=":")
    right.text(steps, 0.22, "dotted: ignoring the input", ha="right")
    right.set(title="learning to add", xlabel="update", ylabel=f"squared error, mean of {window}")
    right.set(yscale="log", ylim=(None, 0.4))
    right.grid(alpha=0.3)
    for axes in (left, middle, right):
        for line in axes.get_lines():
            if str(line.get_label()).startswith("peephole"):
                line.set_linestyle("--")  # at first it is the LSTM's
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cells", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, help=f"updates of each network; {STEPS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/vanishing"))
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args()
    args.steps = args.steps or (5 if args.smoke else STEPS)

    fresh = next(adding(args.seed, rows=64))
    before, after, errors = {}, {}, {}
    print(f"{'':30}left at {LENGTH} steps: before, after    error     seconds")
    for short in args.cells:
        name, cell, options = NETWORKS[short]
        params = init(cell, jax.random.key(args.seed), options)
        before[name] = np.asarray(kept(cell, params, fresh[0]))
        began = time.perf_counter()
        result = train(cell, params, args)
        took = time.perf_counter() - began
        after[name] = np.asarray(kept(cell, result.params, fresh[0]))
        errors[name] = result.history["loss"]
        left = [norms[name][0].mean() for norms in (before, after)]
        final = error(cell, result.params, fresh)
        print(f"{name:30}{left[0]:22.1e}{left[1]:9.1e}{final:9.4f}{took:12.1f}", flush=True)

    draw(args.out / "vanishing.png", before, after, errors)
    print(f"wrote vanishing.png into {args.out}")


if __name__ == "__main__":
    main()
