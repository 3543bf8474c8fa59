"""What the networks of `odyssey.py` are asked: seven small tasks, each with a score to beat."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from _data import bundled
from vowels import CHANNELS, LONGEST, SPEAKERS, read

from jaxrnn import data

SYMBOLS, SHOWN, SPAN = 8, 5, 15  # of the copying tasks: the shown symbols and where they may be
ADDING, PARITY, WINDOW, AHEAD, WARM = 30, 20, 40, 6, 16
HELD = 256  # sequences to validate with, and as many to test with, of what is generated


class Batch(NamedTuple):
    """Inputs (T, B, D), targets (T, B), and at which steps an answer counts (T, B)."""

    xs: jax.Array
    targets: jax.Array
    asked: jax.Array


class Task(NamedTuple):
    """Batches to learn from, ``draw(key, rows)``; one to choose with; one to report.

    The answer is a class if `outputs` is more than one, else a number. `baseline` is the score of
    an answer that learned nothing, named by `ignorant`.
    """

    draw: Callable
    valid: Batch
    test: Batch
    outputs: int
    baseline: float
    ignorant: str

    @property
    def classes(self):
        return self.outputs > 1

    @property
    def inputs(self):
        return self.test.xs.shape[-1]


def generated(draw, outputs, baseline, ignorant):
    valid, test = (draw(jax.random.key(n), HELD) for n in (1_000_001, 1_000_002))
    return Task(draw, valid, test, outputs, baseline, ignorant)


def recorded(parts, outputs, baseline, ignorant):
    """Of three batches; rows to learn from are drawn from the first, with replacement."""
    learned, valid, test = (Batch(*map(jnp.asarray, part)) for part in parts)

    def draw(key, rows):
        chosen = jax.random.randint(key, (rows,), 0, learned.xs.shape[1])
        return jax.tree.map(lambda whole: whole[:, chosen], learned)

    return Task(draw, valid, test, outputs, baseline, ignorant)


def draw_adding(key, rows):
    """Thirty numbers, two of them marked, one in each half: their sum."""
    k1, k2, k3 = jax.random.split(key, 3)
    half = ADDING // 2
    numbers = jax.random.uniform(k1, (ADDING, rows))
    places = jax.random.randint(k2, (rows,), 0, half), jax.random.randint(k3, (rows,), half, ADDING)
    marks = sum(jax.nn.one_hot(place, ADDING, axis=0) for place in places)
    total = jnp.broadcast_to(jnp.sum(numbers * marks, axis=0), (ADDING, rows))
    return Batch(jnp.stack([numbers, marks], -1), total, at_the_end(ADDING, rows, 1))


def at_the_end(steps, rows, count):
    return jnp.broadcast_to(jnp.arange(steps)[:, None] >= steps - count, (steps, rows))


def to_repeat(symbols, places):
    """Symbols (S, B) shown at places (S, B) in order, to be named in the last S steps."""
    steps, rows = SPAN + SHOWN, symbols.shape[1]
    xs = jnp.zeros((steps, rows, SYMBOLS + 1)).at[SPAN:, :, SYMBOLS].set(1)
    xs = xs.at[places, jnp.arange(rows), symbols].set(1)
    targets = jnp.zeros((steps, rows), jnp.int32).at[SPAN:].set(symbols)
    return Batch(xs, targets, at_the_end(steps, rows, SHOWN))


def draw_copy(key, rows):
    """Five of eight symbols, ten steps of nothing, then: which were they?"""
    places = jnp.broadcast_to(jnp.arange(SHOWN)[:, None], (SHOWN, rows))
    return to_repeat(jax.random.randint(key, (SHOWN, rows), 0, SYMBOLS), places)


def draw_selective(key, rows):
    """The same symbols, at any five of the fifteen steps."""
    k1, k2 = jax.random.split(key)
    shuffled = jnp.argsort(jax.random.uniform(k1, (SPAN, rows)), axis=0)
    places = jnp.sort(shuffled[:SHOWN], axis=0)
    return to_repeat(jax.random.randint(k2, (SHOWN, rows), 0, SYMBOLS), places)


def draw_parity(key, rows):
    """Bits, and after each whether the ones so far are odd in number."""
    bits = jax.random.bernoulli(key, 0.5, (PARITY, rows))
    odd = jnp.cumsum(bits, axis=0) % 2
    return Batch(bits[..., None].astype(jnp.float32), odd, at_the_end(PARITY, rows, PARITY))


def adding():
    return generated(draw_adding, 1, (1 / 6) ** 0.5, "answering 1")


def copy():
    return generated(draw_copy, SYMBOLS, 1 / SYMBOLS, "chance")


def selective():
    return generated(draw_selective, SYMBOLS, 1 / SYMBOLS, "chance")


def parity():
    return generated(draw_parity, 2, 1 / 2, "chance")


def digits():
    """Which digit? 8×8 grey pixels, half a row at a time (sklearn's, from the UCI repository)."""
    table = np.loadtxt(bundled("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    table = table[np.random.default_rng(0).permutation(len(table))]
    xs = (table[:, :-1].reshape(-1, 16, 4).swapaxes(0, 1) / 16).astype(np.float32)
    targets = np.broadcast_to(table[:, -1].astype(np.int32), xs.shape[:2])
    asked = np.asarray(at_the_end(*xs.shape[:2], 1))
    rows = np.split(np.arange(len(table)), [-800, -400])
    parts = [Batch(xs[:, r], targets[:, r], asked[:, r]) for r in rows]
    return recorded(parts, 10, 1 / 10, "chance")


def vowels():
    """Who said that vowel? The recordings of `vowels.py`, the answer when one is over."""
    recordings, speakers = read("TRAIN")
    others, answers = read("TEST")
    moments = np.concatenate(recordings)
    mean, std = moments.mean(0), moments.std(0)

    def padded(recordings, speakers):
        xs, lengths = data.pad([(one - mean) / std for one in recordings], LONGEST)
        targets = np.broadcast_to(speakers.astype(np.int32), xs.shape[:2])
        return Batch(xs, targets, np.arange(LONGEST)[:, None] == lengths - 1)

    fifth = np.arange(len(recordings)) % 5 == 4
    parts = [
        padded([recordings[row] for row in np.flatnonzero(rows)], speakers[rows])
        for rows in (~fifth, fifth)
    ]
    assert parts[0].xs.shape[-1] == CHANNELS
    return recorded([*parts, padded(others, answers)], SPEAKERS, 1 / SPEAKERS, "chance")


def mackey_glass(count, every=2, fine=20, delay=17, skip=200):
    """ẋ(t) = 0.2 x(t − 17) / (1 + x(t − 17)¹⁰) − 0.1 x(t), by Heun's method, from 1.2."""
    lag, h = delay * fine, 1 / fine
    steps = lag + (skip + count * every) * fine
    x = np.full(steps + 1, 1.2)
    feed = np.full(steps + 1, 0.2 * 1.2 / (1 + 1.2**10))
    for n in range(lag, steps):
        slope = feed[n - lag] - 0.1 * x[n]
        after = feed[n - lag + 1] - 0.1 * (x[n] + h * slope)
        x[n + 1] = x[n] + h * (slope + after) / 2
        feed[n + 1] = 0.2 * x[n + 1] / (1 + x[n + 1] ** 10)
    return x[lag + skip * fine : steps : every * fine]


def forecast():
    """A chaotic series (Mackey and Glass 1977), six samples ahead, after every sample."""
    series = mackey_glass(4000)
    series = ((series - series.mean()) / series.std()).astype(np.float32)
    learned, *held = np.split(series, [3000, 3500])
    learned, length = jnp.asarray(learned), WINDOW + AHEAD

    def windows(series, starts):
        values = series[starts + np.arange(length)[:, None]]
        late = jnp.broadcast_to(jnp.arange(WINDOW)[:, None] >= WARM, (WINDOW, len(starts)))
        return Batch(jnp.asarray(values[:WINDOW, :, None]), jnp.asarray(values[AHEAD:]), late)

    def draw(key, rows):
        return windows(learned, jax.random.randint(key, (rows,), 0, len(learned) - length + 1))

    valid, test = (windows(part, np.arange(0, len(part) - length + 1, 2)) for part in held)
    persistence = jnp.sqrt(jnp.mean((test.xs[WARM:, :, 0] - test.targets[WARM:]) ** 2))
    return Task(draw, valid, test, 1, float(persistence), "persistence")


TASKS = {
    "adding": cache(adding),
    "parity": cache(parity),
    "digits": cache(digits),
    "copy": cache(copy),
    "selective": cache(selective),
    "vowels": cache(vowels),
    "forecast": cache(forecast),
}
