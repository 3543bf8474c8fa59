"""Letters to phones: how a word is said, learned from the CMU Pronouncing Dictionary.

The encoder is a bidirectional LSTM over the letters, the decoder an LSTM that starts from the
encoder's last states, is fed the phone before, and looks at the encoder's outputs through an
attention (Luong et al. 2015, arXiv:1508.04025, "general") on its way to the next phone. It learns
by teacher forcing, `jaxrnn.decode`, from words of like length padded together, and answers by
`jaxrnn.beam_search`.

126,052 words are split by word, at random: 10 % for the test, 2,000 to watch while it learns, the
rest to learn from with all their pronunciations, in 39 phones without stress. Measured is the phone
error: insertions, deletions and substitutions over the number of phones, to the nearest
pronunciation of a word that has several. The dictionary and the baselines, which are counts of what
each letter is said as, alone and between its neighbours, are in `_phones_words.py`.

    python examples/phones.py
    python examples/phones.py --epochs 6
    python examples/phones.py --epochs 30 --hidden 256 --layers 2 --dropout 0.3   # not tried

Phone errors on the test words, seed 0, one run each, and wall time to learn on two busy cores (8
minutes of processor time for all of the first run). The recurrent kernels of these runs were drawn
by `jax.nn.initializers.orthogonal`, other numbers of the same distribution:

    baselines: the letter alone 50.7 %, one beside 37.1 %, two 34.2 %
    3 epochs    greedy 8.95 %    5 beams 8.79 % (35.8 % of the words wrong)    623 s
    6 epochs    greedy 7.54 %    5 beams 7.40 %                               1371 s

Needs the dictionary, a package of its own: pip install 'jaxrnn[data]'
"""

import argparse
import math
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from _phones_words import (
    END,
    LETTERS,
    PHONES,
    baseline,
    best,
    errors,
    hear,
    read,
    say,
    spell,
    split,
)
from matplotlib.figure import Figure

import jaxrnn
from jaxrnn import data, training

EMBEDDED, HIDDEN, LAYERS, ROWS, EPOCHS, RATE = 48, 128, 1, 128, 3, 3e-3
SHAPES, BEAMS, LONGEST = 4, 5, 30  # lengths to pad to; hypotheses; letters or phones of a word
UNHEARD = ["jabberwocky", "slithy", "borogoves", "mimsily", "frumiously"]


class Net(NamedTuple):
    """What reads the letters and what says the phones."""

    encoder: jaxrnn.Layer
    decoder: jaxrnn.Cell


def init(net, key, hidden):
    keys = jax.random.split(key, 7)
    normal, both = jax.random.normal, 2 * hidden  # directions
    return {
        "letters": normal(keys[0], (1 + len(LETTERS), EMBEDDED)) / EMBEDDED**0.5,
        "phones": normal(keys[1], (1 + len(PHONES), EMBEDDED)) / EMBEDDED**0.5,
        "encoder": net.encoder.init(keys[2], EMBEDDED, hidden),
        "decoder": net.decoder.init(keys[3], EMBEDDED, both),
        "look": normal(keys[4], (both, both)) / both**0.5,
        "mix": normal(keys[5], (2 * both, both)) / (2 * both) ** 0.5,
        "kernel": normal(keys[6], (both, 1 + len(PHONES))) / both,
        "bias": jnp.zeros(1 + len(PHONES)),
    }


def encode(net, params, letters, lengths, key=None):
    """Letters (S, B) -> the decoder's first carry, and what it may look at (S, B, 2H)."""
    embedded = params["letters"][letters]
    carry, memory = jaxrnn.scan(net.encoder, params["encoder"], embedded, lengths=lengths, key=key)
    states = (jax.tree.map(lambda *h: jnp.concatenate(h, axis=-1), *layer) for layer in carry)
    return tuple(states), memory


def embed(params, phones):
    return params["phones"][phones]


def attend(params, memory, lengths, y):
    """Where to look, given the decoder's output (B, 2H): weights (S, B) that sum to 1."""
    scores = jnp.einsum("bh,sbh->sb", y @ params["look"], memory)
    there = jnp.arange(len(memory))[:, None] < lengths
    return jax.nn.softmax(jnp.where(there, scores, -1e9), axis=0)


def readout(params, memory, lengths, y):
    """The decoder's output (B, 2H) -> logits of the next phone (B, V)."""
    seen = jnp.einsum("sb,sbh->bh", attend(params, memory, lengths, y), memory)
    mixed = jnp.tanh(jnp.concatenate([seen, y], axis=-1) @ params["mix"])
    return mixed @ params["kernel"] + params["bias"]


def loss(net, params, batch, key):
    letters, lengths, phones, counts = batch
    k1, k2 = jax.random.split(key)
    state, memory = encode(net, params, letters, lengths, k1)
    before = jnp.pad(phones[:-1], ((1, 0), (0, 0)), constant_values=END)
    _, logits = jaxrnn.decode(
        net.decoder,
        params["decoder"],
        before,
        state,
        embed=partial(embed, params),
        readout=partial(readout, params, memory, lengths),
        lengths=counts,
        key=k2,
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, phones)
    said = jnp.arange(len(phones))[:, None] < counts
    return jnp.sum(jnp.where(said, losses, 0)) / jnp.sum(counts)


@partial(jax.jit, static_argnames=("net", "beams"))
def search(net, params, letters, lengths, beams):
    state, memory = encode(net, params, letters, lengths)
    return jaxrnn.beam_search(
        net.decoder,
        params["decoder"],
        jnp.full((1, letters.shape[1]), END),
        state,
        steps=LONGEST,
        beams=beams,
        embed=partial(embed, params),
        readout=partial(readout, params, memory, lengths),
        end=END,
        early_stop=True,
    )


@partial(jax.jit, static_argnames="net")
def look(net, params, letters, lengths, phones):
    """The weights (T, S, B) with which the network looks at the letters as it says the phones."""
    state, memory = encode(net, params, letters, lengths)
    before = jnp.pad(phones[:-1], ((1, 0), (0, 0)), constant_values=END)
    see = partial(attend, params, memory, lengths)
    options = {"embed": partial(embed, params), "readout": see}
    return jaxrnn.decode(net.decoder, params["decoder"], before, state, **options)[1]


def pronounce(net, params, words, beams):
    """The best hypotheses for every word: a list of (phones, probability)."""
    words, answers = sorted(words, key=len), {}
    for start in range(0, len(words), ROWS):
        asked = words[start : start + ROWS]
        letters, lengths = data.pad([spell(word) for word in asked], LONGEST, rows=ROWS)
        found = jax.device_get(search(net, params, letters, lengths, beams))
        for b, word in enumerate(asked):
            said = [hear(tokens) for tokens in found.sequence[:, :, b].tolist()]
            answers[word] = list(zip(said, np.exp(found.log_probs[:, b]), strict=True))
    return answers


def train(net, params, entries, learned, watched, args):
    pairs = [(spell(word), say(said)) for word in learned for said in entries[word]]
    buckets = data.bucket([len(letters) for letters, _ in pairs], 1 if args.smoke else SHAPES)
    most = {
        int(bound): max(len(pairs[row][1]) for row in group)
        for bound, group in zip(buckets.bounds, buckets.groups, strict=True)
    }

    def get(rows):
        letters, phones = zip(*(pairs[row] for row in rows), strict=True)
        length = int(buckets.padded[rows[0]])
        return *data.pad(letters, length), *data.pad(phones, most[length])

    batches = data.Batches(get, buckets.groups, ROWS, seed=args.seed, drop_last=True)
    print(f"{len(pairs):,} pronunciations, {len(batches)} batches, {buckets.waste:.0%} padding")
    steps = args.steps or math.ceil(args.epochs * len(batches))

    def evaluate(params):
        answers = pronounce(net, params, watched, beams=1)
        return {"error": errors(best(answers), entries)[0]}

    def report(told):
        if "error" in told.row:
            line = "step {step:6.0f}  {seconds:6.1f} s  loss {loss:.3f}  phone error {error:.1%}"
            print(line.format(**told.row), flush=True)

    schedule = optax.cosine_decay_schedule(RATE, steps)
    return training.fit(
        partial(loss, net),
        params,
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule)),
        batches,
        steps=steps,
        key=jax.random.key(args.seed),
        evaluate=evaluate,
        evaluate_every=max(1, min(len(batches) // 2, steps // 2)),
        callbacks=[report],
    )


def draw(path, history, lines, word, phones, weights):
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    known = np.isfinite(history["error"])
    watched = history["step"][known], 100 * history["error"][known]
    left.plot(*watched, "k.-", label="words to watch, greedy")
    for n, (name, share) in enumerate(lines.items()):
        left.axhline(100 * share, color=f"C{n}", ls="--", label=f"test, {name}: {share:.1%}")
    left.set(yscale="log", ylim=(5, 100), xlabel="update", ylabel="phone error, %")
    left.set_yticks(ticks := [5, 10, 20, 50, 100], ticks)
    left.minorticks_off()
    left.legend(loc="center right", bbox_to_anchor=(1, 0.45))
    left.grid(alpha=0.3)
    right.imshow(weights, cmap="Greys", vmin=0, vmax=1, aspect="auto")
    right.set_xticks(range(len(word)), word)
    right.set_yticks(range(len(phones)), phones)
    right.set(title="where it looks", xlabel="letters", ylabel="phones, as it says them")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=HIDDEN, help="units of each direction")
    parser.add_argument("--layers", type=int, default=LAYERS)
    parser.add_argument("--dropout", type=float, default=0.0, help="between layers")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--steps", type=int, help="updates, instead of epochs")
    parser.add_argument("--seed", type=int, default=0, help="of all but the split")
    parser.add_argument("--words", nargs="+", default=UNHEARD, help="to be said at the end")
    parser.add_argument("--out", type=Path, default=Path("out/phones"))
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args()

    entries = read()
    learned, watched, asked = split(entries, seed=0)
    if args.smoke:
        args.hidden, args.steps = 16, args.steps or 4
        learned, watched, asked = learned[:2000], watched[:100], asked[:100]
    sizes = f"{len(learned):,} to learn from, {len(watched):,} to watch, {len(asked):,} to test"
    print(f"words: {sizes} with")
    lines = {}
    for most in range(3):
        name = f"letters, {most} beside"
        lines[name] = errors(baseline(entries, learned, asked, most), entries)[0]
        print(f"{name:20} phone error {lines[name]:.1%}")

    net = Net(
        jaxrnn.rnn(jaxrnn.lstm, args.layers, bidirectional=True, dropout=args.dropout),
        jaxrnn.rnn(jaxrnn.lstm, args.layers, dropout=args.dropout),
    )
    began = time.perf_counter()
    params = init(net, jax.random.key(args.seed), args.hidden)
    result = train(net, params, entries, learned, watched, args)
    print(f"{time.perf_counter() - began:.0f} s, {result.compiling:.0f} of them compiling")

    params = result.best.params
    for beams in (1, BEAMS):
        answers = pronounce(net, params, asked, beams)
        of_phones, of_words = errors(best(answers), entries)
        name = "greedy" if beams == 1 else f"{beams} beams"
        told = f"phone error {of_phones:.2%}, wrong words {of_words:.2%}"
        print(f"test, {name:8}  {told}", flush=True)
    lines[name] = of_phones

    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "beams.txt", "w", encoding="utf-8") as file:
        unheard = pronounce(net, params, args.words, BEAMS)
        for word in [*asked[:12], *args.words]:
            known = " or ".join(" ".join(said) for said in entries.get(word, []))
            print(f"{word}: {known or 'not in the dictionary'}", file=file)
            for said, probability in (unheard | answers)[word][:3]:
                print(f"    {probability:6.1%}  {' '.join(said)}", file=file)
    print((args.out / "beams.txt").read_text(encoding="utf-8"))
    word = max(asked[:200], key=len)
    phones = answers[word][0][0]
    letters, lengths = data.pad([spell(word)])
    weights = look(net, params, letters, lengths, say(phones)[:, None])[:, :, 0]
    draw(args.out / "phones.png", result.history, lines, word, [*phones, "end"], weights)
    print(f"wrote beams.txt and phones.png into {args.out}")


if __name__ == "__main__":
    main()
