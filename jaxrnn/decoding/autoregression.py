"""What `decode`, `generate` and `beam_search` share: how outputs become inputs, and the loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, check_cell, select
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_lengths, check_matches
from jaxrnn.decoding.sampling import Choose, greedy
from jaxrnn.unroll import scan

__all__ = [
    "CHOICES",
    "COINS",
    "Feedback",
    "check_end",
    "identity",
    "loop",
    "prefill",
    "prepare",
    "token_log_prob",
]

COINS, CHOICES = np.uint32(2**32 - 1), np.uint32(2**32 - 2)  # no step of a cell has these times


def identity(x: Array) -> Array:
    """The value itself: the embedding and the readout of a network of real values."""
    return x


class Feedback(NamedTuple):
    """How outputs become inputs, checked, for `decode`, `generate` and `beam_search`.

    Attributes:
      choose: from one row's output to the next of that row.
      like: the shape and dtype of one step, ``(*batch)`` or ``(*batch, D)``.
      batch: the batch axes.
      key: the PRNG key or None.
    """

    choose: Choose
    like: jax.ShapeDtypeStruct
    batch: tuple[int, ...]
    key: Array | None

    @property
    def discrete(self) -> bool:
        """Whether it is tokens that are fed back."""
        return jnp.issubdtype(self.like.dtype, jnp.integer)

    def __call__(self, output: PyTree, time: Array) -> Array:
        """Choose for all rows; each row's randomness depends on (key, time, row) only."""
        rule = self.choose if self.key is not None else partial(self.choose, None)
        inputs = (output,) if self.key is None else (self.keys(CHOICES, time), output)
        for _ in self.batch:
            rule = jax.vmap(rule)
        new = rule(*inputs)
        if self.discrete and jnp.issubdtype(new.dtype, jnp.integer):
            new = new.astype(self.like.dtype)
        check_matches("choose(readout(y))", new, self.like, "it is fed back as the next step")
        return new

    def keys(self, purpose: np.uint32, time: Array) -> Array:
        """A key for each row at its absolute time."""
        base = jax.random.fold_in(self.key, purpose)  # type: ignore[arg-type]
        fold = lambda t, row: jax.random.fold_in(jax.random.fold_in(base, t), row)  # noqa: E731
        for _ in self.batch:
            fold = jax.vmap(fold)
        rows = np.arange(prod(self.batch), dtype=np.int32).reshape(self.batch)
        return fold(jnp.broadcast_to(jnp.asarray(time, jnp.int32), self.batch), rows)


def prepare(
    cell: Any,
    argument: str,
    inputs: Any,
    embed: Callable[..., Any],
    choose: Choose | None,
    key: Array | None,
) -> tuple[Array, Feedback]:
    """Check the cell and its inputs; the batch axes are those of the embedded inputs."""
    check_cell("cell", cell, steps=True)
    inputs = jnp.asarray(inputs)
    if inputs.ndim < 1:
        raise ValueError(f"{argument}: expected (T, *batch) or (T, *batch, D), got shape ()")
    discrete = jnp.issubdtype(inputs.dtype, jnp.integer)
    if not discrete and not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(f"{argument}: expected integers or floats, got dtype {inputs.dtype}")
    like = jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype)
    x = jax.eval_shape(embed, like)
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.ndim < 1:
        raise TypeError(
            f"embed: expected a function from a step of {argument} to floats (*batch, D), got "
            f"{x.dtype}{list(x.shape)} from {like.dtype}{list(like.shape)}"
        )
    if choose is None:
        choose = greedy if discrete else lambda key, output: output
    return inputs, Feedback(choose, like, x.shape[:-1], key)


def prefill(
    cell: Cell,
    params: Params,
    prompt: Array,
    carry: Carry | None,
    feedback: Feedback,
    embed: Callable[..., Array],
    lengths: Array | None,
) -> tuple[Carry, Array, Array]:
    """Run all of each row's prompt but its last step.

    Returns the carry, the last step and its time after the first, ``(*batch,)``.
    """
    time, batch = prompt.shape[0], feedback.batch
    if time == 0:
        raise ValueError("prompt: expected at least one step to start from, got T = 0")
    if lengths is None:
        fed, before = prompt[-1], jnp.full(batch, time - 1, jnp.int32)
    else:
        if not isinstance(lengths, Tracer) and np.any(np.asarray(lengths) < 1):
            raise ValueError(f"lengths: expected values in 1..{time} (T), got {lengths}")
        before = jnp.maximum(check_lengths(lengths, time, batch), 1) - 1
        shape = before.shape + (1,) * (len(feedback.like.shape) - len(batch))
        fed = jnp.take_along_axis(prompt, before.reshape(1, *shape), axis=0)[0]
        steps = jnp.arange(time, dtype=jnp.int32).reshape(time, *(1 for _ in batch))
        prompt = select(steps < before, prompt, jnp.zeros_like(prompt))
    xs = jax.vmap(embed)(prompt[:-1])
    limits = None if lengths is None else before
    carry, _ = scan(cell, params, xs, carry, lengths=limits)
    return carry, fed, before


def loop(
    body: Callable[[PyTree, Array], tuple[PyTree, PyTree]],
    state: PyTree,
    steps: int,
    *,
    stop: Callable[[PyTree], Array] | None = None,
    blank: PyTree = None,
) -> tuple[PyTree, PyTree]:
    """`lax.scan` of ``body(state, j)``, or if `stop` is given a `lax.while_loop` until it holds.

    Outputs of steps that were not run are `blank`, which broadcasts to one step's outputs.
    """
    if stop is None:
        return lax.scan(body, state, jnp.arange(steps, dtype=jnp.int32))

    def buffer(fill: Any, leaf: jax.ShapeDtypeStruct) -> Array:
        return jnp.broadcast_to(jnp.asarray(fill, leaf.dtype), (steps, *leaf.shape))

    zero = jnp.zeros((), jnp.int32)
    buffers = jax.tree.map(buffer, blank, jax.eval_shape(body, state, zero)[1])

    def more(loop_state: tuple[Array, PyTree, PyTree]) -> Array:
        j, state, _ = loop_state
        return (j < steps) & ~stop(state)

    def advance(loop_state: tuple[Array, PyTree, PyTree]) -> tuple[Array, PyTree, PyTree]:
        j, state, buffers = loop_state
        state, outputs = body(state, j)
        buffers = jax.tree.map(lambda b, leaf: b.at[j].set(leaf), buffers, outputs)
        return j + 1, state, buffers

    return lax.while_loop(more, advance, (zero, state, buffers))[1:]


def check_end(feedback: Feedback, end: int | None, pad: int | None, early_stop: bool) -> int | None:
    """The padding token, after a check that the three options fit each other."""
    if end is None:
        if early_stop or pad is not None:
            name = "early_stop" if early_stop else "pad"
            raise ValueError(f"{name}: expected it only with a token `end`, got end=None")
        return None
    if not feedback.discrete:
        raise ValueError(f"end: expected None for values of {feedback.like.dtype}, got {end}")
    return end if pad is None else pad


def token_log_prob(logits: Array, token: Array) -> Array:
    """The log-probability of a token ``(*batch,)`` under logits ``(*batch, V)``."""
    log_probs = jax.nn.log_softmax(logits.astype(wide(logits.dtype)))
    return jnp.take_along_axis(log_probs, token[..., None], axis=-1)[..., 0]
