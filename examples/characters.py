"""A character model of the Python standard library, beside n-grams, and what it writes.

The text is the source of the running interpreter's own standard library: the modules at its top
level in the order of their names, every twentieth of which is held out. A GRU learns it by
truncated backpropagation through time, the carry handed on from window to window, and is measured
in bits per character on the files held out. The baseline is counted in the same run on the same
files: n-grams of 1 to 5 characters, each interpolated with the shorter ones (Witten and Bell).

    python examples/characters.py                    # two or three minutes
    python examples/characters.py --steps 6000       # longer is better

It ends by sampling text at three temperatures. Figures differ from one version of Python to
another, as the text does.
"""

import argparse
import itertools
import math
import string
import sysconfig
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from matplotlib.figure import Figure
from numpy.lib.stride_tricks import sliding_window_view

import jaxrnn
from jaxrnn import data, training

CHARACTERS = string.printable  # what is not among them is taken for the last of them
EMBEDDED, HIDDEN, ROWS, WINDOW, STEPS = 48, 256, 32, 64, 2000
SIZE = len(CHARACTERS)
NET = jaxrnn.gru


def encode(text):
    return np.array([CHARACTERS.find(c) % SIZE for c in text], np.int32)


def decode(tokens):
    return "".join(CHARACTERS[token] for token in tokens)


def corpus(most=None):
    """The tokens of the training files and of those held out, files end to end."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:most]
    texts = [encode(file.read_text(encoding="utf-8")) for file in files]
    held_out = texts[10::20]
    del texts[10::20]
    return np.concatenate(texts), np.concatenate(held_out)


def ngram_bits(train, test, longest=5):
    """Bits per character of test, but its first, under n-grams of 1 to `longest` characters.

    P_n(c | h) = (count(h c) + kinds(h) P_{n-1}(c | h')) / (count(h) + kinds(h)), where kinds(h)
    different characters followed h, h' is h without its first, and P_0 is uniform.
    """

    def grams(text, n):  # as numbers, the last character the lowest digit
        digits = sliding_window_view(text, n).astype(int)
        return digits @ SIZE ** np.arange(n)[::-1]

    def look_up(known, values, keys):
        at = np.searchsorted(known, keys).clip(max=len(known) - 1)
        return np.where(known[at] == keys, values[at], 0)

    p, bits = np.full(len(test), 1 / SIZE), []
    for n in range(1, longest + 1):
        known, counts = np.unique(grams(train, n), return_counts=True)
        contexts, which = np.unique(known // SIZE, return_inverse=True)
        seen = grams(test, n)
        count, total, kinds = (
            look_up(known, counts, seen),
            look_up(contexts, np.bincount(which, counts), seen // SIZE),
            look_up(contexts, np.bincount(which), seen // SIZE),
        )
        shorter = p[n - 1 :]
        mixed = (count + kinds * shorter) / np.maximum(total + kinds, 1)
        p[n - 1 :] = np.where(total > 0, mixed, shorter)
        bits.append(-np.log2(p[1:]).mean())
    return bits


def init(key):
    k1, k2, k3 = jax.random.split(key, 3)
    return {
        "embedding": jax.random.normal(k1, (SIZE, EMBEDDED)) / EMBEDDED**0.5,
        "rnn": NET.init(k2, EMBEDDED, HIDDEN),
        "kernel": jax.random.normal(k3, (HIDDEN, SIZE)) / HIDDEN,
        "bias": jnp.zeros(SIZE),
    }


def readout(params, ys):
    return ys @ params["kernel"] + params["bias"]


def nats(params, carry, inputs, targets):
    """Tokens (T, B) -> the carry after them, the mean of -log p(target)."""
    carry, ys = jaxrnn.scan(NET, params["rnn"], params["embedding"][inputs], carry)
    losses = optax.softmax_cross_entropy_with_integer_labels(readout(params, ys), targets)
    return carry, losses.mean()


def train(params, tokens, held_out, args):
    inputs, targets = data.streams(tokens, ROWS, WINDOW)
    batches = data.Batches(
        lambda w: (inputs[w[0]], targets[w[0]], w[0] == 0), len(inputs), 1, shuffle=False
    )

    def loss(params, batch, state):
        inputs, targets, begins = batch
        carry = jax.tree.map(lambda leaf: jnp.where(begins, 0, leaf), state)
        carry, value = nats(params, carry, inputs, targets)
        return value, training.Aux(state=carry)

    validation = jax.device_put(data.streams(held_out, ROWS, WINDOW))

    @jax.jit
    def bits(params):
        carry = NET.carry(params["rnn"], (ROWS,))
        body = lambda carry, window: nats(params, carry, *window)  # noqa: E731
        return lax.scan(body, carry, validation)[1].mean() / math.log(2)

    def report(told):
        if "bits" in told.row:
            line = "step {step:5.0f}  {seconds:6.1f} s  {bits:.3f} bits"
            print(line.format(**told.row), flush=True)

    schedule = optax.cosine_decay_schedule(5e-3, args.steps)
    return training.fit(
        loss,
        params,
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        itertools.chain.from_iterable(itertools.repeat(batches)),
        steps=args.steps,
        state=NET.carry(params["rnn"], (ROWS,)),
        evaluate=lambda params: {"bits": bits(params)},
        monitor="bits",
        evaluate_every=max(1, args.steps // 5),
        callbacks=[report],
    )


def sample(params, temperature, steps, seed):
    result = jaxrnn.generate(
        NET,
        params["rnn"],
        encode("\ndef "),
        steps=steps,
        embed=lambda token: params["embedding"][token],
        readout=lambda y: readout(params, y),
        choose=jaxrnn.sampler(temperature=temperature),
        key=jax.random.key(seed),
    )
    return "def " + decode(np.asarray(result.sequence))


def draw(path, history, ngrams):
    figure = Figure(figsize=(7, 4.8), layout="constrained")
    axes = figure.add_subplot()
    known = np.isfinite(history["bits"])
    read, bits = history["step"] * ROWS * WINDOW / 1e6, history["bits"][known]
    axes.plot(read, history["loss"] / math.log(2), alpha=0.3, label="GRU, windows it learns from")
    axes.plot(read[known], bits, "C0o-", ms=4, label="GRU, files held out")
    for n, value in enumerate(ngrams[1:], 2):  # the first is far above
        axes.axhline(value, color="0.6", lw=1)
        place = {"xycoords": ("axes fraction", "data"), "va": "center", "fontsize": "small"}
        axes.annotate(f"{n}-gram", (1.01, value), **place)
    axes.set_ylim(min(*ngrams, *bits) - 0.6, max(ngrams[1], bits[0]) + 0.3)
    axes.set(xlabel="million characters read", ylabel="bits per character")
    axes.legend()
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, help=f"updates; {STEPS}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/characters"))
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args()
    args.steps = args.steps or (6 if args.smoke else STEPS)

    tokens, held_out = corpus(30 if args.smoke else None)
    windows = 5 if args.smoke else (len(held_out) - 1) // (ROWS * WINDOW)
    held_out = held_out[: windows * ROWS * WINDOW + 1]
    print(f"{len(tokens):,} characters to learn from, {len(held_out):,} held out")
    ngrams = ngram_bits(tokens, held_out)
    print("n-grams, bits:", ", ".join(f"{n}: {b:.3f}" for n, b in enumerate(ngrams, 1)))
    began = time.perf_counter()
    result = train(init(jax.random.key(args.seed)), tokens, held_out, args)
    print(f"{time.perf_counter() - began:.0f} s, {result.compiling:.0f} of them compiling")
    best = result.best
    print(f"GRU: {best.value:.3f} bits per character, the 3-gram {ngrams[2]:.3f}")

    args.out.mkdir(parents=True, exist_ok=True)
    draw(args.out / "bits.png", result.history, ngrams)
    with open(args.out / "samples.txt", "w", encoding="utf-8") as file:
        for temperature in (0.5, 0.8, 1.0):
            text = sample(best.params, temperature, 40 if args.smoke else 500, args.seed)
            title = f"=== temperature {temperature} ==="
            print(f"\n{title}\n{text}")
            file.write(f"{title}\n{text}\n\n")
    print(f"\nwrote bits.png and samples.txt into {args.out}")


if __name__ == "__main__":
    main()
