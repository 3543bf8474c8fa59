"""Beam search: the most probable continuations, several at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, select
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_positive
from jaxrnn.decoding.autoregression import (
    Feedback,
    check_end,
    check_known,
    check_prompt,
    identity,
    known_at,
    prefill,
    prepare,
    spread_explicitly,
    token_log_probs,
)
from jaxrnn.decoding.sampling import check_number
from jaxrnn.loops import loop, once, settle

__all__ = ["Beams", "beam_search"]


class Beams(NamedTuple):
    """What `beam_search` returns: K hypotheses for each row, best first.

    Attributes:
      carry: the states, leaves ``(K, *batch, H)``; they have not yet seen the last of
        `sequence`.
      sequence: the tokens after the prompt, ``(K, steps, *batch)``.
      log_probs: log P of the whole hypothesis, ``(K, *batch)``; -inf where there are fewer than
        K hypotheses, and there `carry` is 0, `lengths` too, and `sequence` all padding.
      scores: log P over the length penalty, by which they are ordered, ``(K, *batch)``.
      lengths: how many tokens each has, its `end` included, ``(K, *batch)``.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 5, 5)
      >>> beams = jaxrnn.beam_search(jaxrnn.gru, params, jnp.zeros((1, 2), int), steps=3, beams=4,
      ...                            embed=lambda token: jax.nn.one_hot(token, 5))
      >>> best = beams.sequence[0]
      >>> best.shape
      (3, 2)
    """

    carry: Carry
    sequence: Array
    log_probs: Array
    scores: Array
    lengths: Array


class _Live(NamedTuple):
    """The hypotheses that go on, leaves ``(K, *batch, ...)``."""

    carry: Carry
    fed: Array
    log_probs: Array


class _Ended(NamedTuple):
    """The best of those that have ended, leaves ``(K, *batch, ...)``.

    Their tokens are those of the beam `parent` up to `lengths`, and then the end.
    """

    carry: Carry
    log_probs: Array
    scores: Array
    lengths: Array
    parent: Array


def beam_search(
    cell: Cell,
    params: Params,
    prompt: Array,
    carry: Carry | None = None,
    *,
    steps: int,
    beams: int,
    embed: Callable[..., Any] = identity,
    readout: Callable[..., Any] = identity,
    inputs: PyTree = None,
    length_penalty: float = 0.0,
    lengths: Array | None = None,
    end: int | None = None,
    pad: int | None = None,
    early_stop: bool = False,
) -> Beams:
    r"""Continue a prompt of tokens by the hypotheses Y that score best.

    .. math:: s(Y) = \frac{\log P(Y \mid \text{prompt})}{\mathrm{lp}(Y)}, \qquad
              \mathrm{lp}(Y) = \left(\frac{5 + |Y|}{6}\right)^{\alpha}

    At every step each of the K hypotheses is continued by every token. The K best of those that
    do not end go on; those that end are kept apart, where what goes on cannot push them out, and
    the K best of them stay. After the last step the K best of all are the result, what has not
    ended among them. |Y| counts the `end`. As many beams as there are hypotheses is an
    exhaustive search. One beam is greedy decoding: it ends where its best token is the `end`.

    Args:
      cell: a `Cell`, such as `jaxrnn.stack` gives.
      params: its parameters.
      prompt: ``(P, *batch)`` tokens, at least one step.
      carry: the carry before the prompt, zeros if None.
      steps: the most tokens that a hypothesis can have.
      beams: K.
      embed: from tokens ``(*batch)`` to x ``(*batch, D)``. It and `readout` never see the
        beams: they are mapped over them.
      readout: from y ``(*batch, H)`` to logits ``(*batch, V)``.
      inputs: what is known of every step beforehand, as in `jaxrnn.generate`, leaves
        ``(P - 1 + steps, *batch, ...)``; `embed` is then ``embed(tokens, known)``.
      length_penalty: α ≥ 0; 0 compares log P itself, which favours the short.
      lengths: the lengths of the prompts, integers ``(*batch,)`` in 1..P.
      end: the token after which a hypothesis has ended.
      pad: the token that fills it past its end, `end` if None.
      early_stop: leave the loop as soon as nothing that goes on can be among the K best,
        which changes nothing but the time it takes.

    Returns:
      `Beams`.

    Raises:
      TypeError: for something that is not a `Cell`, a prompt that is not of tokens, or a length
        penalty that is no number.
      ValueError: for fewer than one beam or step, a negative length penalty, tokens of a dtype
        that does not hold all that the readout can say, `pad` or `early_stop` without `end`, an
        `end` that is no token of the readout, or a `pad` that the dtype does not hold.

    Source: Wu et al. (2016), Google's neural machine translation system, arXiv:1609.08144,
    section 7, for the length penalty; its coverage penalty and its pruning are not here.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 5, 5)
      >>> found = jaxrnn.beam_search(
      ...     jaxrnn.gru, params, jnp.zeros((1, 2), int), steps=6, beams=3, end=4,
      ...     length_penalty=0.6, embed=lambda token: jax.nn.one_hot(token, 5))
      >>> found.sequence.shape, bool((found.scores[0] >= found.scores[1]).all())
      ((3, 6, 2), True)
    """
    check_positive("steps", steps)
    check_positive("beams", beams)
    alpha = check_number("length_penalty", length_penalty, "a number >= 0")
    if not 0 <= alpha < math.inf:
        raise ValueError(f"length_penalty: expected a number >= 0, got {length_penalty!r}")
    prompt, inputs, feedback = prepare(cell, params, "prompt", prompt, inputs, embed, readout, None)
    if not feedback.discrete:
        raise TypeError(f"prompt: expected integers (P, *batch), got dtype {prompt.dtype}")
    pad = check_end(feedback, end, pad, early_stop)
    lengths = check_prompt(prompt, lengths, feedback.batch)
    check_known("inputs", inputs, len(prompt) - 1 + steps, feedback.batch, "P - 1 + steps")
    search = _Search(cell, feedback, embed, readout, steps, beams, alpha, end, pad, early_stop)
    return once(search.run, params, prompt, inputs, carry, lengths)


class _Search(NamedTuple):
    """The arguments of a `beam_search`, checked."""

    cell: Cell
    feedback: Feedback
    embed: Callable[..., Any]
    readout: Callable[..., Any]
    steps: int
    beams: int
    alpha: float
    end: Any
    pad: Any
    early_stop: bool

    def penalty(self, count: Any, dtype: Any) -> Array:
        """The length penalty of so many tokens."""
        return ((5 + jnp.asarray(count, dtype)) / 6) ** self.alpha

    def run(
        self, params: Params, prompt: Array, known: PyTree, carry: Carry, lengths: Array | None
    ) -> Beams:
        """The search, of arrays."""
        feedback, beams = self.feedback, self.beams
        carry, fed, before = prefill(
            self.cell, params, prompt, known, carry, feedback, self.embed, lengths
        )

        def advance(carry: Carry, fed: Array, given: tuple[Any, ...]) -> tuple[Carry, Array]:
            carry, y = self.cell.step(params, carry, self.embed(fed, *given))
            return carry, token_log_probs(self.readout(y))

        def body(state: tuple[_Live, _Ended], j: Array) -> tuple[Any, tuple[Array, Array]]:
            live, ended = state
            given = known_at(known, before, j, lengths is not None)
            carry, log_probs = jax.vmap(advance, (0, 0, None))(live.carry, live.fed, given)
            log_probs = live.log_probs[..., None] + log_probs
            size = log_probs.shape[-1]
            if self.end is not None:
                is_end = jnp.arange(size, dtype=jnp.int32) == self.end
                mine = jnp.max(jnp.where(is_end, log_probs, -jnp.inf), axis=-1)
                log_probs = jnp.where(is_end, -jnp.inf, log_probs)
                if beams == 1:  # greedy: the end is for where it is best, and then it is the end
                    best = mine >= jnp.max(log_probs, axis=-1)
                    mine = jnp.where(best, mine, -jnp.inf)
                    log_probs = jnp.where(best[..., None], -jnp.inf, log_probs)
                ended = self.keep(ended, carry, mine, j + 1)
            flat = jnp.moveaxis(log_probs, 0, -2).reshape(*feedback.batch, beams * size)
            log_probs, chosen = (jnp.moveaxis(x, -1, 0) for x in lax.top_k(flat, beams))
            parent, token = chosen // size, (chosen % size).astype(live.fed.dtype)
            return (_Live(_pick(carry, parent), token, log_probs), ended), (token, parent)

        shape = (beams, *feedback.batch)
        dtype = wide(jax.tree.leaves(feedback.output)[0].dtype)
        spread = lambda leaf: jnp.broadcast_to(leaf, (beams, *leaf.shape))  # noqa: E731
        index = np.arange(beams, dtype=np.int32).reshape(beams, *(1 for _ in feedback.batch))
        none, zero = jnp.full(shape, -jnp.inf, dtype), jnp.zeros(shape, jnp.int32)
        # The K beams start out the same, and one of them is enough.
        only = jnp.where(index == 0, jnp.zeros_like(none), none)
        carries = jax.tree.map(spread, carry)
        state = _Live(carries, spread(fed), only), _Ended(carries, none, none, zero, zero)
        (live, ended), (tokens, parents) = loop(
            body,
            state,
            self.steps,
            stop=self.stop if self.early_stop else None,
            blank=(0, index),
        )
        return self.result(live, ended, jnp.broadcast_to(index, shape), tokens, parents)

    def keep(self, ended: _Ended, carry: Carry, log_probs: Array, count: Array) -> _Ended:
        """The best of those that had ended and of those that end now, with so many tokens."""
        scores = log_probs / self.penalty(count, log_probs.dtype)
        index = np.arange(self.beams, dtype=np.int32)
        parent = jnp.broadcast_to(index.reshape(-1, *(1 for _ in scores.shape[1:])), scores.shape)
        lengths = jnp.broadcast_to(count.astype(jnp.int32), scores.shape)
        new = _Ended(carry, log_probs, scores, lengths, parent)
        return _best(ended, new, self.beams)

    def stop(self, state: tuple[_Live, _Ended]) -> Array:
        """Whether nothing that goes on can become one of the best: no log P ever rises."""
        live, ended = state
        hope = jnp.max(live.log_probs, axis=0) / self.penalty(self.steps, live.log_probs.dtype)
        worst = jnp.min(ended.scores, axis=0)
        return jnp.all(jnp.isneginf(hope) | (worst >= hope))

    def result(
        self, live: _Live, ended: _Ended, index: Array, tokens: Array, parents: Array
    ) -> Beams:
        """The best of all, and their tokens from last to first."""
        steps = self.steps
        scores = live.log_probs / self.penalty(steps, live.log_probs.dtype)
        whole = jnp.full_like(index, steps + 1)  # those that never ended
        all_of_it = _Ended(live.carry, live.log_probs, scores, whole, index)
        found = _best(ended, all_of_it, self.beams)
        there = ~jnp.isneginf(found.log_probs)

        def back(at: Array, step: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            t, token, parent = step
            pad = jnp.asarray(0 if self.pad is None else self.pad, token.dtype)
            said = _pick(token, at)
            if self.end is not None:
                said = jnp.where(t + 1 == found.lengths, jnp.asarray(self.end, token.dtype), said)
            said = jnp.where((t < found.lengths) & there, said, pad)
            return jnp.where(t + 1 < found.lengths, _pick(parent, at), at), said

        times = jnp.arange(steps, dtype=jnp.int32)
        first = jax.tree.map(lambda leaf: leaf[-1], (times, tokens, parents))
        at = settle(lambda at: back(at, first)[0], found.parent)
        _, sequence = lax.scan(back, at, (times, tokens, parents), reverse=True)
        lengths = jnp.where(there, jnp.minimum(found.lengths, steps), 0)
        carry = select(there, found.carry, jax.tree.map(jnp.zeros_like, found.carry))
        sequence = jnp.moveaxis(sequence, 1, 0)
        return Beams(carry, sequence, found.log_probs, found.scores, lengths)


def _best(a: _Ended, b: _Ended, count: int) -> _Ended:
    """The best of both; of equal ones those of a."""
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), a, b)
    _, chosen = lax.top_k(jnp.moveaxis(both.scores, 0, -1), count)
    return _pick(both, jnp.moveaxis(chosen, -1, 0))


def _pick(tree: PyTree, parent: Array) -> PyTree:
    """The beams ``(K, *batch, ...)`` that the indices ``(K, *batch)`` say."""

    def one(leaf: Array) -> Array:
        at = parent.reshape(parent.shape + (1,) * (leaf.ndim - parent.ndim))
        if not spread_explicitly(leaf):
            return jnp.take_along_axis(leaf, at, axis=0)
        picked = jnp.broadcast_to(leaf[:1], (len(parent), *leaf.shape[1:]))
        for k in range(1, len(leaf)):
            picked = jnp.where(at == k, leaf[k], picked)
        return picked

    return jax.tree.map(one, tree)
