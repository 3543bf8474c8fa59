"""Fit sine waves with a two-layer recurrent network and let it continue them on its own.

A hundred waves sin(t / 20) of unknown phase, 1,000 steps each; the network predicts the next
value at every step, tested on three waves held out. Afterwards it runs freely for 1,000 steps
more, fed its own *output*, beside the true wave.

    python examples/sine.py --cell gru --steps 1000
    python examples/sine.py --optimizer lbfgs        # L-BFGS with line search, full sequences
    python examples/sine.py --checkpoint DIR         # Ctrl-C, and the same with --resume goes on

The default recipe is truncated backpropagation through time: windows of 100 steps with the carry
handed on, 24 waves at a time, Adam with clipping and a cosine decay. A little noise on the inputs
(the targets stay clean) teaches the network to correct small errors, its own included.
"""

import argparse
import itertools
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import optax

import jaxrnn
from jaxrnn import data, training
from jaxrnn.initializers import torch_uniform as uniform

WINDOW, ROWS, HIDDEN, NOISE = 100, 24, 51, 0.02
CELLS = {"lstm": jaxrnn.lstm, "gru": jaxrnn.gru, "elman": jaxrnn.elman}
STEPS = {"recipe": 3500, "adam": 300, "lbfgs": 60}


def init(net, key, dtype):
    options = {"kernel_init": uniform, "recurrent_init": uniform, "bias_init": uniform}
    rnn = net.init(key, 1, HIDDEN, dtype=dtype, **options)
    kernel = uniform(jax.random.fold_in(key, 1), (HIDDEN, 1), dtype) / HIDDEN**0.5
    return {"rnn": rnn, "kernel": kernel, "bias": jnp.zeros(1, dtype)}


def readout(params, ys):
    return ys @ params["kernel"] + params["bias"]


def predict(net, params, xs, carry=None):
    """The next value at every step: xs (T, B, 1) -> carry, predictions (T, B, 1)."""
    carry, ys = jaxrnn.scan(net, params["rnn"], xs, carry)
    return carry, readout(params, ys)


def windows(xs, ys, seed):
    """Without end: (inputs, targets, whether it begins the waves) of consecutive windows."""
    rng = np.random.default_rng(seed)  # the same windows again for a run that resumes
    while True:
        rows = rng.permutation(xs.shape[1])[:ROWS]
        for start in range(0, len(xs) - WINDOW + 1, WINDOW):
            part = slice(start, start + WINDOW), rows
            yield xs[part], ys[part], start == 0


def train(net, params, split, args):
    def windowed_loss(params, batch, key, state):
        xs, ys, begins = batch
        xs += NOISE * jax.random.normal(key, xs.shape, xs.dtype)
        carry = jax.tree.map(lambda leaf: jnp.where(begins, 0, leaf), state)
        carry, predicted = predict(net, params, xs, carry)
        return jnp.mean((predicted - ys) ** 2), training.Aux(state=carry)

    def full_loss(params, batch):
        return jnp.mean((predict(net, params, batch[0])[1] - batch[1]) ** 2)

    @jax.jit
    def evaluate(params):
        return {"train": full_loss(params, split[:2]), "test": full_loss(params, split[2:])}

    def report(told):
        if "test" in told.row:
            row = "step {step:5.0f}  {seconds:5.1f} s  train {train:.2e}  test {test:.2e}"
            print(row.format(**told.row), flush=True)

    every = max(1, min(args.steps // 15, 200))
    options = {"steps": args.steps, "callbacks": [report], "resume": args.resume}
    options |= {"evaluate": evaluate, "evaluate_every": every, "monitor": "train"}
    if args.checkpoint:
        options["checkpoints"] = training.Checkpoints(args.checkpoint, every=every)
    if args.optimizer == "recipe":
        rate = optax.cosine_decay_schedule(1e-2, args.steps)
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate))
        batches = windows(split.train_inputs, split.train_targets, args.seed)
        options |= {"key": jax.random.key(args.seed), "state": net.carry(params["rnn"], (ROWS,))}
        return training.fit(windowed_loss, params, optimizer, batches, **options)
    optimizer = optax.lbfgs() if args.optimizer == "lbfgs" else optax.adam(3e-3)
    full = itertools.repeat(jax.device_put(split[:2]))
    return training.fit(full_loss, params, optimizer, full, fixed_batch=True, **options)


def draw(path, test, future, truth):
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(len(test) + 1, figsize=(10, 7), sharex=True, layout="constrained")
    ahead = len(test[0]) + np.arange(len(future[0]))
    for axis, known, guess, true in zip(axes[:-1], test, future, truth, strict=True):
        axis.plot(known, "k", lw=1, label="given")
        axis.plot(ahead, true, color="0.75", lw=3, label="true continuation")
        axis.plot(ahead, guess, "C3--", lw=1.2, label="fed its own output")
        axis.set(ylim=(-1.3, 1.3), ylabel="value")
        axes[-1].plot(ahead, np.abs(guess - true), "C3", lw=0.8)
    axes[-1].set(yscale="log", ylabel="absolute error")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    axes[-1].set_xlabel("time step")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cell", choices=CELLS, default="lstm")
    parser.add_argument("--optimizer", choices=STEPS, default="recipe")
    parser.add_argument("--steps", type=int, help=f"updates, by default {STEPS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dtype", choices=["float32", "float64", "bfloat16"], default="float32")
    parser.add_argument("--future", type=int, default=1000, help="steps of continuation")
    parser.add_argument("--out", type=Path, default=Path("out/sine"))
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="keep the run here")
    parser.add_argument("--resume", action="store_true", help="go on from what --checkpoint kept")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    args = parser.parse_args()
    args.steps = args.steps or (6 if args.smoke else STEPS[args.optimizer])
    jax.config.update("jax_enable_x64", args.dtype == "float64")

    net = jaxrnn.rnn(CELLS[args.cell], 2)
    waves = data.sine_waves(length=1000 + args.future)  # what follows is only compared with
    split = data.next_step(waves[:, :1000], dtype=jnp.dtype(args.dtype))
    began = time.perf_counter()
    result = train(net, init(net, jax.random.key(args.seed), args.dtype), split, args)
    print(f"{time.perf_counter() - began:.1f} s in all, {result.compiling:.1f} s of it compiling")
    best, test, truth = result.best.params, waves[:3, :1000], waves[:3, 1000:]
    prompt, read = test.T[..., None].astype(jnp.dtype(args.dtype)), partial(readout, best)
    future = jaxrnn.generate(net, best["rnn"], prompt, steps=args.future, readout=read)
    future = np.asarray(future.sequence[..., 0], float).T
    print(f"free-running error over {args.future} steps: {np.mean((future - truth) ** 2):.4f}")
    args.out.mkdir(parents=True, exist_ok=True)
    result.history.to_csv(args.out / "history.csv")
    result.history.plot(args.out / "loss.png", "loss", "train", "test", log=True)
    draw(args.out / "waves.png", test, future, truth)
    names = ",".join(f"{kind}_{n}" for kind in ("true", "predicted") for n in range(3))
    columns = np.concatenate([truth, future]).T
    np.savetxt(args.out / "predictions.csv", columns, delimiter=",", header=names, comments="")
    print(f"wrote {', '.join(sorted(path.name for path in args.out.iterdir()))} into {args.out}")


if __name__ == "__main__":
    main()
