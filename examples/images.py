"""Digits read as a grid, from four corners, beside the same digits read as a line.

1,797 handwritten digits of 8×8 grey pixels. A two-dimensional LSTM reads them pixel by pixel, each
after the one above and the one to the left, from each of the four corners (Graves, Fernández and
Schmidhuber 2007, arXiv:0705.2011, here with the gates of `form="stable"`); an ordinary LSTM reads
the 64 pixels as one line, forward or from both ends, or eight rows of eight pixels. All answer from
their last states, with about as many parameters, and are trained alike: five seeds each, at once
under `jax.vmap`.

    python examples/images.py
    python examples/images.py --seeds 2 --steps 200

Drawn are the test errors as they learn, and over which pixels the answer of each trained network
depends: |∂ logit / ∂ pixel| of the true digit's logit, mean over test images.

Wrong of 400, after 300 updates, in two minutes on two cores (2026-12-01):

    grid, four corners     2.2 to  4.0 %, mean  3.2
    line, both ends       22.0 to 25.5 %, mean 23.3
    line, forward         21.2 to 24.7 %, mean 22.7
    rows                   4.0 to  8.0 %, mean  5.9

Reads the digits from a package that ships them: pip install 'jaxrnn[data]'
"""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _data import bundled
from matplotlib.figure import Figure

import jaxrnn
from jaxrnn import grid

SEEDS, STEPS, ROWS, RATE, CLASSES = 3, 300, 64, 1e-2, 10
CORNERS = grid.multidirectional(grid.make_md_lstm(2, form="stable"))
BOTH = jaxrnn.bidirectional(jaxrnn.lstm)


def corners(params, images):  # (8, 8, B) -> (B, 4 H)
    carry, _ = grid.scan(CORNERS, params, images[..., None])
    return jnp.concatenate([corner.h for corner in carry], axis=-1)


def line(params, images):  # -> (B, H)
    return jaxrnn.lstm_scan(params, images.reshape(64, -1, 1))[0].h


def ends(params, images):  # -> (B, 2 H)
    carry, _ = jaxrnn.scan(BOTH, params, images.reshape(64, -1, 1))
    return jnp.concatenate([carry.forward.h, carry.backward.h], axis=-1)


def rows(params, images):  # -> (B, H)
    return jaxrnn.lstm_scan(params, images.swapaxes(1, 2))[0].h


# By name: layer, inputs of a step, units, how it reads, features of its last states by units.
READINGS = {
    "grid, four corners": (CORNERS, 1, 11, corners, 4),
    "line, both ends": (BOTH, 1, 24, ends, 2),
    "line, forward": (jaxrnn.lstm, 1, 35, line, 1),
    "rows": (jaxrnn.lstm, 8, 32, rows, 1),
}


def digits():
    """Images (8, 8, N) from 0 to 1 and their digits, to learn from and to test."""
    table = np.loadtxt(bundled("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    table = table[np.random.default_rng(0).permutation(len(table))]
    images = (table[:, :-1].reshape(-1, 8, 8).transpose(1, 2, 0) / 16).astype(np.float32)
    answers = table[:, -1].astype(np.int32)
    return (images[..., :-400], answers[:-400]), (images[..., -400:], answers[-400:])


def init(layer, inputs, units, factor, key):
    k1, k2 = jax.random.split(key)
    kernel = jax.random.normal(k2, (factor * units, CLASSES)) / np.sqrt(factor * units)
    return {"rnn": layer.init(k1, inputs, units), "kernel": kernel, "bias": jnp.zeros(CLASSES)}


def logits(read, params, images):
    return read(params["rnn"], images) @ params["kernel"] + params["bias"]


def train(name, known, asked, seeds, steps):
    """Parameters of each seed, and the test errors (checks, seeds) on the way."""
    layer, inputs, units, read, factor = READINGS[name]
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(RATE, steps))
    )
    score = partial(logits, read)

    def loss(params, images, answers):
        given = score(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(given, answers).mean()

    @jax.jit
    @partial(jax.vmap, in_axes=(0, 0, 0))
    def update(params, state, key):
        chosen = jax.random.choice(key, len(known[1]), (ROWS,), replace=False)
        slope = jax.grad(loss)(params, known[0][..., chosen], known[1][chosen])
        changes, state = optimizer.update(slope, state, params)
        return optax.apply_updates(params, changes), state

    @jax.jit
    @jax.vmap
    def error(params):
        return jnp.mean(score(params, asked[0]).argmax(-1) != asked[1])

    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    params = jax.vmap(partial(init, layer, inputs, units, factor))(keys)
    state = jax.vmap(optimizer.init)(params)
    every, errors = max(1, steps // 20), []
    for step in range(steps):
        mixed = jax.vmap(partial(jax.random.fold_in, data=step + 1))(keys)
        params, state = update(params, state, mixed)
        if (step + 1) % every == 0:
            errors.append((step + 1, np.asarray(error(params))))
    return params, errors


def seen(name, params, asked):
    """How much the true digit's logit depends on each pixel: (8, 8), one network's."""
    read = READINGS[name][3]

    def true(images):
        return jnp.take_along_axis(logits(read, params, images), asked[1][:, None], 1).sum()

    return np.abs(np.asarray(jax.jit(jax.grad(true))(asked[0]))).mean(-1)


def draw(path, courses, maps):
    figure = Figure(figsize=(9, 5.4), layout="constrained")
    grid_spec = figure.add_gridspec(2, len(maps), height_ratios=(3, 2))
    axes = figure.add_subplot(grid_spec[0, :])
    for index, (name, course) in enumerate(courses.items()):
        steps, errors = zip(*course, strict=True)
        errors = 100 * np.array(errors)
        axes.plot(steps, errors.mean(1), color=f"C{index}", label=name)
        axes.fill_between(
            steps, errors.min(1), errors.max(1), color=f"C{index}", alpha=0.2, linewidth=0
        )
    axes.set(xlabel="update", ylabel="test images wrong, %", yscale="log")
    axes.set_yticks(ticks := [2, 5, 10, 20, 50], ticks)
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    for index, (name, each) in enumerate(maps.items()):
        axes = figure.add_subplot(grid_spec[1, index])
        axes.imshow(each / each.max(), cmap="viridis", vmin=0, vmax=1)
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, fontsize=9)
    figure.supxlabel("how much the answer depends on each pixel, relative to the most", fontsize=9)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, help=f"updates of each network; {STEPS}")
    parser.add_argument("--seeds", type=int, help=f"networks of each kind; {SEEDS}")
    parser.add_argument("--out", type=Path, default=Path("out/images"))
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args()
    steps = args.steps or (4 if args.smoke else STEPS)
    seeds = args.seeds or (2 if args.smoke else SEEDS)

    known, asked = (tuple(map(jnp.asarray, part)) for part in digits())
    courses, maps = {}, {}
    for name in READINGS:
        began = time.perf_counter()
        params, courses[name] = train(name, known, asked, seeds, steps)
        count = sum(leaf[0].size for leaf in jax.tree.leaves(params))
        last = 100 * courses[name][-1][1]
        print(
            f"{name:20}{count:6} parameters   wrong {last.min():4.1f} to {last.max():4.1f} %, "
            f"mean {last.mean():4.1f}   {time.perf_counter() - began:4.0f} s",
            flush=True,
        )
        maps[name] = seen(name, jax.tree.map(lambda leaf: leaf[0], params), asked)
    args.out.mkdir(parents=True, exist_ok=True)
    draw(args.out / "digits.png", courses, maps)
    print(f"wrote digits.png into {args.out}")


if __name__ == "__main__":
    main()
