"""What `decode`, `generate` and `beam_search` share: how outputs become inputs, and the loop."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, check_cell, select
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_lengths, check_matches
from jaxrnn.decoding.sampling import Choose, greedy
from jaxrnn.loops import spread
from jaxrnn.unroll import scan

__all__ = [
    "CHOICES",
    "COINS",
    "Feedback",
    "at_step",
    "check_end",
    "check_known",
    "check_prompt",
    "identity",
    "known_at",
    "of_token",
    "prefill",
    "prepare",
    "spread_explicitly",
    "token_log_probs",
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
      output: the shapes and dtypes of what is read out at one step.
    """

    choose: Choose
    like: jax.ShapeDtypeStruct
    batch: tuple[int, ...]
    output: PyTree

    @property
    def discrete(self) -> bool:
        """Whether it is tokens that are fed back."""
        return jnp.issubdtype(self.like.dtype, jnp.integer)

    def __call__(self, key: Array | None, output: PyTree, time: Array) -> Array:
        """Choose for all rows; each row's randomness depends on (key, time, row) only."""
        rule = self.choose if key is not None else partial(self.choose, None)
        inputs = (output,)
        if key is not None:
            like = jax.tree.leaves(output)[0]
            inputs = self.keys(key, CHOICES, time, like), output
        for _ in self.batch:
            rule = jax.vmap(rule)
        new = rule(*inputs)
        if self.discrete and jnp.issubdtype(new.dtype, jnp.integer):
            new = new.astype(self.like.dtype)
        check_matches("choose(readout(y))", new, self.like, "it is fed back as the next step")
        return new

    def keys(self, key: Array, purpose: np.uint32, time: Array, like: Array) -> Array:
        """A key for each row at its absolute time, spread over devices as `like` is."""
        base = jax.random.fold_in(key, purpose)
        fold = lambda t, row: jax.random.fold_in(jax.random.fold_in(base, t), row)  # noqa: E731
        for _ in self.batch:
            fold = jax.vmap(fold)
        rows = jnp.asarray(np.arange(prod(self.batch), dtype=np.int32).reshape(self.batch))
        times = jnp.broadcast_to(jnp.asarray(time, jnp.int32), self.batch)
        return fold(*spread((times, rows), like, len(self.batch)))


def prepare(
    cell: Any,
    params: Params,
    argument: str,
    inputs: Any,
    known: PyTree,
    embed: Callable[..., Any],
    readout: Callable[..., Any],
    choose: Choose | None,
) -> tuple[Array, PyTree, Feedback]:
    """Check the cell and its inputs; the batch axes are those of the embedded inputs.

    Tokens must be able to be all that the readout can say.
    """
    check_cell("cell", cell, steps=True)
    inputs = jnp.asarray(inputs)
    if inputs.ndim < 1:
        raise ValueError(f"{argument}: expected (T, *batch) or (T, *batch, D), got shape ()")
    discrete = jnp.issubdtype(inputs.dtype, jnp.integer)
    if not discrete and not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TypeError(f"{argument}: expected integers or floats, got dtype {inputs.dtype}")
    known = jax.tree.map(jnp.asarray, known)
    like = jax.ShapeDtypeStruct(inputs.shape[1:], inputs.dtype)
    one = (like, *shapes_of(known))
    x = _shape_of("embed", embed, *one)
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.ndim < 1:
        raise TypeError(
            f"embed: expected a function from a step of {argument} to floats (*batch, D), got "
            f"{x.dtype}{list(x.shape)} from {like.dtype}{list(like.shape)}"
        )
    batch = x.shape[:-1]
    step = lambda params, x: cell.step(params, cell.carry(params, batch), x)[1]  # noqa: E731
    output = _shape_of("readout", readout, jax.eval_shape(step, params, x))
    if choose is None:
        choose = greedy if discrete else lambda key, output: output
    feedback = Feedback(choose, like, batch, output)
    size = _vocabulary(feedback)
    if discrete and size is not None and size - 1 > jnp.iinfo(like.dtype).max:
        raise ValueError(
            f"{argument}: expected a dtype that holds the tokens 0..{size - 1} of the readout, got "
            f"{like.dtype}, which ends at {jnp.iinfo(like.dtype).max}; use "
            f"{argument}.astype(jax.numpy.int32)"
        )
    return inputs, known, feedback


def shapes_of(known: PyTree) -> tuple[PyTree, ...]:
    """The shapes of one step of what is known, or nothing where nothing is."""
    if known is None:
        return ()
    one = lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)  # noqa: E731
    return (jax.tree.map(one, known),)


def _vocabulary(feedback: Feedback) -> int | None:
    """V, where the output is logits."""
    leaves = jax.tree.leaves(feedback.output)
    if len(leaves) != 1 or leaves[0].ndim != len(feedback.batch) + 1:
        return None
    return leaves[0].shape[-1]


def _shape_of(argument: str, f: Callable[..., Any], *like: PyTree) -> Any:
    """The shapes that f gives, and a check that it makes no modules of linen or haiku.

    Within such a module f may use others that were made outside of it. Their parameters are
    made at the first call, which therefore must not be traced; those of modules that f makes
    itself are made at every call.
    """
    linen, haiku = _running_linen(), _running_haiku()
    if linen is None and haiku is None:
        return jax.eval_shape(f, *like)
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
    f(*zeros)
    made = []

    def spy(make: Callable[..., Array], *arguments: Any) -> Array:
        made.append(arguments)
        return make(*arguments)

    def twice() -> Any:
        if haiku is None:
            return f(*zeros)
        with haiku.custom_creator(lambda make, *rest: spy(make, *rest[:3])):
            return f(*zeros)

    before = None if linen is None else jax.tree.structure(linen.variables)
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), twice())
    if made or (linen is not None and jax.tree.structure(linen.variables) != before):
        raise TypeError(
            f"{argument}: expected a function that makes no modules, for it is called in a loop, "
            f"got one that makes parameters at every call: make modules of linen or haiku before, "
            f"and only call them in {argument}"
        )
    return shapes


def _running_linen() -> Any:
    """The module of linen that is being run, or None."""
    context = getattr(sys.modules.get("flax.linen.module"), "_context", None)
    return (getattr(context, "module_stack", None) or [None])[-1]


def _running_haiku() -> Any:
    """The package haiku, inside of one of its transformed functions, or None."""
    haiku = sys.modules.get("haiku")
    try:
        return haiku if haiku is not None and isinstance(haiku.running_init(), bool) else None
    except ValueError:  # not inside
        return None


def check_known(argument: str, known: PyTree, time: int, batch: tuple[int, ...], why: str) -> None:
    """Raise ValueError unless every leaf is ``(time, *batch, ...)``."""
    for leaf in jax.tree.leaves(known):
        if leaf.shape[: 1 + len(batch)] != (time, *batch):
            raise ValueError(
                f"{argument}: expected leading axes {(time, *batch)} ({why}, *batch), got shape "
                f"{leaf.shape}"
            )


def prefill(
    cell: Cell,
    params: Params,
    prompt: Array,
    known: PyTree,
    carry: Carry | None,
    feedback: Feedback,
    embed: Callable[..., Array],
    lengths: Array | None,
) -> tuple[Carry, Array, Array]:
    """Run all of each row's prompt but its last step.

    Returns the carry, the last step and its time after the first, ``(*batch,)``.
    """
    time, batch = prompt.shape[0], feedback.batch
    if lengths is None:
        fed, before = prompt[-1], jnp.full(batch, time - 1, jnp.int32)
    else:
        before = jnp.maximum(check_lengths(lengths, time, batch), 1) - 1
        fed = at_step(prompt, before)
        steps = jnp.arange(time, dtype=jnp.int32).reshape(time, *(1 for _ in batch))
        prompt = select(steps < before, prompt, jnp.zeros_like(prompt))
    given = () if known is None else (jax.tree.map(lambda leaf: leaf[: time - 1], known),)
    xs = jax.vmap(embed)(prompt[:-1], *given)
    limits = None if lengths is None else before
    carry, _ = scan(cell, params, xs, carry, lengths=limits)
    return carry, fed, before


def check_prompt(prompt: Array, lengths: Any, batch: tuple[int, ...]) -> Array | None:
    """The lengths as an array, after a check that every row of the prompt has a step."""
    time = prompt.shape[0]
    if time == 0:
        raise ValueError("prompt: expected at least one step to start from, got T = 0")
    if lengths is None:
        return None
    if not isinstance(lengths, Tracer) and np.any(np.asarray(lengths) < 1):
        raise ValueError(f"lengths: expected values in 1..{time} (T), got {lengths}")
    return check_lengths(lengths, time, batch)


def known_at(known: PyTree, before: Array, j: Array, ragged: bool) -> tuple[PyTree, ...]:
    """What is known of the j-th step after the prompt, of each row, or nothing."""
    if known is None:
        return ()
    if ragged:
        return (jax.tree.map(lambda leaf: at_step(leaf, before + j), known),)
    first = jnp.max(before, initial=0)  # that of all rows
    return (jax.tree.map(lambda leaf: leaf[first + j], known),)


def spread_explicitly(leaf: Array) -> bool:
    """Whether the type of an array says that it is spread over devices, which gathers mind."""
    return any(axis is not None for axis in jax.typeof(leaf).sharding.spec)


def at_step(values: Array, at: Array) -> Array:
    """The step ``at``, ``(*batch,)``, of each row of values ``(T, *batch, ...)``."""
    index = at.reshape(1, *at.shape, *(1 for _ in values.shape[1 + at.ndim :]))
    if not spread_explicitly(values):
        return jnp.take_along_axis(values, index, axis=0)[0]
    steps = jnp.arange(values.shape[0], dtype=at.dtype)
    steps = steps.reshape(-1, *(1 for _ in values.shape[1:]))
    chosen = jnp.where(steps == index, values, jnp.zeros_like(values))
    return jnp.sum(chosen, axis=0, dtype=values.dtype)


def check_end(feedback: Feedback, end: Any, pad: Any, early_stop: bool) -> Any:
    """The padding token, after a check of the three options, and that they fit each other."""
    if end is None:
        if early_stop or pad is not None:
            name = "early_stop" if early_stop else "pad"
            raise ValueError(f"{name}: expected it only with a token `end`, got end=None")
        return None
    if not feedback.discrete:
        raise ValueError(f"end: expected None for values of {feedback.like.dtype}, got {end}")
    limits, size = jnp.iinfo(feedback.like.dtype), _vocabulary(feedback)
    last = limits.max if size is None else size - 1
    _check_token("end", end, 0, last, "the tokens that the readout can say")
    if pad is None:
        return end
    _check_token("pad", pad, limits.min, limits.max, f"what {feedback.like.dtype} holds")
    return pad


def _check_token(argument: str, token: Any, low: int, high: int, why: str) -> None:
    if isinstance(token, Tracer):
        return
    if np.shape(token) != () or not np.issubdtype(np.asarray(token).dtype, np.integer):
        raise TypeError(f"{argument}: expected a token, an int, got {token!r}")
    if not low <= int(token) <= high:
        raise ValueError(f"{argument}: expected a token in {low}..{high}, {why}, got {token}")


def of_token(values: Array, token: Array) -> Array:
    """The value ``(*batch,)`` of a token ``(*batch,)`` among those of all, ``(*batch, V)``."""
    mine = token.astype(jnp.int32)[..., None]
    if not spread_explicitly(values):
        return jnp.take_along_axis(values, mine, axis=-1)[..., 0]
    chosen = jnp.arange(values.shape[-1], dtype=jnp.int32) == mine
    return jnp.sum(jnp.where(chosen, values, jnp.zeros_like(values)), axis=-1)


def token_log_probs(logits: Array) -> Array:
    """The log-probabilities of all tokens, ``(*batch, V)``; -inf of what is masked, even of all."""
    logits = logits.astype(wide(logits.dtype))
    nothing = jnp.all(jnp.isneginf(logits), axis=-1, keepdims=True)
    # Zeros in the place of what is all masked: no NaN reaches a gradient.
    log_probs = jax.nn.log_softmax(jnp.where(nothing, jnp.zeros_like(logits), logits))
    return jnp.where(nothing, -jnp.inf, log_probs)
