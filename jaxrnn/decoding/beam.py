"""Beam search: the most probable continuations, several at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, select
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_positive
from jaxrnn.decoding.autoregression import check_end, identity, loop, prefill, prepare

__all__ = ["Beams", "beam_search"]


class Beams(NamedTuple):
    """What `beam_search` returns: K hypotheses for each row, best first.

    Attributes:
      carry: the states, leaves ``(K, *batch, H)``; they have not yet seen the last of
        `sequence`.
      sequence: the tokens after the prompt, ``(K, steps, *batch)``.
      log_probs: log P of the whole hypothesis, ``(K, *batch)``; -inf where there are fewer than
        K hypotheses.
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


class _Beam(NamedTuple):
    """The hypotheses so far, leaves ``(K, *batch, ...)``."""

    carry: Carry
    fed: Array
    log_probs: Array
    scores: Array
    lengths: Array
    done: Array


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
    length_penalty: float = 0.0,
    lengths: Array | None = None,
    end: int | None = None,
    pad: int | None = None,
    early_stop: bool = False,
) -> Beams:
    r"""Continue a prompt of tokens by the hypotheses Y that score best.

    .. math:: s(Y) = \frac{\log P(Y \mid \text{prompt})}{\mathrm{lp}(Y)}, \qquad
              \mathrm{lp}(Y) = \left(\frac{5 + |Y|}{6}\right)^{\alpha}

    At every step each of the K hypotheses is continued by every token, and the K best of all
    these are kept. A hypothesis that has reached its `end` competes with the rest as it is and
    keeps its place among the K for as long as it is one of the best. |Y| counts the `end`.
    One beam is greedy decoding, and as many beams as there are hypotheses is an exhaustive
    search.

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
      length_penalty: α ≥ 0; 0 compares log P itself, which favours the short.
      lengths: the lengths of the prompts, integers ``(*batch,)`` in 1..P.
      end: the token after which a hypothesis has ended.
      pad: the token that fills it past its end, `end` if None.
      early_stop: leave the loop as soon as all hypotheses have ended, which changes nothing
        but the time it takes.

    Returns:
      `Beams`.

    Raises:
      TypeError: for something that is not a `Cell`, or a prompt that is not of tokens.
      ValueError: for fewer than one beam or step, a negative length penalty, or `pad` or
        `early_stop` without `end`.

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
    if not isinstance(length_penalty, int | float) or not 0 <= length_penalty < math.inf:
        raise ValueError(f"length_penalty: expected a number >= 0, got {length_penalty!r}")
    prompt, feedback = prepare(cell, "prompt", prompt, embed, None, None)
    if not feedback.discrete:
        raise TypeError(f"prompt: expected integers (P, *batch), got dtype {prompt.dtype}")
    pad = check_end(feedback, end, pad, early_stop)
    carry, fed, _ = prefill(cell, params, prompt, carry, feedback, embed, lengths)

    def advance(carry: Carry, fed: Array) -> tuple[Carry, Array]:
        carry, y = cell.step(params, carry, embed(fed))
        logits = readout(y)
        return carry, jax.nn.log_softmax(logits.astype(wide(logits.dtype)))

    def body(beam: _Beam, j: Array) -> tuple[_Beam, tuple[Array, Array]]:
        carry, log_probs = jax.vmap(advance)(beam.carry, beam.fed)
        size = log_probs.shape[-1]
        # What has ended has one continuation, which costs nothing.
        nothing = jnp.where(jnp.arange(size) == 0, 0, -jnp.inf).astype(log_probs.dtype)
        log_probs = jnp.where(beam.done[..., None], nothing, log_probs)
        log_probs = beam.log_probs[..., None] + log_probs
        lengths = beam.lengths + (~beam.done).astype(jnp.int32)
        penalty = ((5 + lengths.astype(log_probs.dtype)) / 6) ** length_penalty
        flat = jnp.moveaxis(log_probs / penalty[..., None], 0, -2)
        flat = flat.reshape(*feedback.batch, beams * size)
        scores, chosen = (jnp.moveaxis(leaf, -1, 0) for leaf in lax.top_k(flat, beams))
        parent, token = chosen // size, (chosen % size).astype(fed.dtype)
        old = partial(_pick, parent=parent)
        held, done, before = old(beam.carry), old(beam.done), old(beam.fed)
        state = select(done, held, old(carry))
        log_probs = jnp.take_along_axis(old(log_probs), token[..., None], axis=-1)[..., 0]
        # What has ended is fed its last token again: `pad` need not have an embedding.
        fed_next = jnp.where(done, before, token)
        emitted = token
        if end is not None:
            emitted = jnp.where(done, jnp.asarray(pad, token.dtype), token)
            done = done | (token == end)
        return _Beam(state, fed_next, log_probs, scores, old(lengths), done), (emitted, parent)

    shape = (beams, *feedback.batch)
    dtype = jax.eval_shape(advance, carry, fed)[1].dtype
    index = np.arange(beams, dtype=np.int32).reshape(beams, *(1 for _ in feedback.batch))
    only = jnp.broadcast_to(jnp.where(index == 0, 0, -jnp.inf).astype(dtype), shape)
    spread = lambda leaf: jnp.broadcast_to(leaf, (beams, *leaf.shape))  # noqa: E731
    beam = _Beam(
        jax.tree.map(spread, carry),
        spread(fed),
        only,  # the K beams start out the same, and one of them is enough
        only,
        jnp.zeros(shape, jnp.int32),
        jnp.zeros(shape, bool),
    )
    stop = (lambda beam: jnp.all(beam.done)) if early_stop else None
    beam, (tokens, parents) = loop(body, beam, steps, stop=stop, blank=(pad, index))

    def back(at: Array, step: tuple[Array, Array]) -> tuple[Array, Array]:
        token, parent = step
        return _pick(parent, at), _pick(token, at)

    _, sequence = lax.scan(back, jnp.broadcast_to(index, shape), (tokens, parents), reverse=True)
    sequence = jnp.moveaxis(sequence, 1, 0)
    return Beams(beam.carry, sequence, beam.log_probs, beam.scores, beam.lengths)


def _pick(tree: PyTree, parent: Array) -> PyTree:
    """The beams ``(K, *batch, ...)`` that the indices ``(K, *batch)`` say."""

    def one(leaf: Array) -> Array:
        at = parent.reshape(parent.shape + (1,) * (leaf.ndim - parent.ndim))
        return jnp.take_along_axis(leaf, at, axis=0)

    return jax.tree.map(one, tree)
