r"""Sequences to sequences: a cell whose inputs are given, or are its own outputs.

- one to many: `generate` from a prompt of one step, its `carry` made from the one;
- many to one: `jaxrnn.scan`, then `last`;
- many to many, in step: `jaxrnn.scan`, then a readout of every output;
- many to many, encoder and decoder: `jaxrnn.scan` of the encoder, its carry handed to `decode`
  for training, then to `generate` or `jaxrnn.beam_search`.

Around the cell stand two pure functions, closed over whatever parameters they have:
``embed(token) -> x`` and ``readout(y) -> output``. They always see one time step of all rows,
``(*batch,)`` tokens and ``(*batch, H)`` outputs, so they may also close over what belongs to the
rows, such as the states of an encoder to attend to. What they close over may be traced, and is
read anew at every call. Outside of `jax.jit` a call is traced every time, and compiled if no call
before it computed the same. Modules of linen and haiku have to be made outside of the two.

Noise depends on the number of the row, which under `jax.shard_map` is that of the device's own:
fold `jax.lax.axis_index` into the key there. An encoder and a decoder:

>>> import jax, jax.numpy as jnp, jaxrnn
>>> cell, V, H = jaxrnn.gru, 5, 8
>>> k1, k2, k3 = jax.random.split(jax.random.key(0), 3)
>>> encoder, decoder = cell.init(k1, V, H), cell.init(k2, V, H)
>>> kernel = jax.random.normal(k3, (H, V))
>>> embed, readout = (lambda token: jax.nn.one_hot(token, V)), (lambda y: y @ kernel)
>>> source, lengths = jnp.array([[1, 2], [3, 4], [2, 0]]), jnp.array([3, 2])
>>> state, _ = jaxrnn.scan(cell, encoder, embed(source), lengths=lengths)
>>> begin, target = jnp.zeros((1, 2), int), jnp.array([[3, 4], [2, 1], [1, 0]])
>>> inputs = jnp.concatenate([begin, target[:-1]])
>>> _, logits = jaxrnn.decode(cell, decoder, inputs, state, embed=embed, readout=readout)
>>> logits.shape
(3, 2, 5)
>>> answer = jaxrnn.generate(cell, decoder, begin, state, steps=4, embed=embed, readout=readout)
>>> answer.sequence.shape
(4, 2)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import Tracer

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, select
from jaxrnn.checks import (
    check_bool,
    check_flags,
    check_key,
    check_lengths,
    check_positive,
    check_start,
)
from jaxrnn.decoding.autoregression import (
    COINS,
    Feedback,
    at_step,
    check_end,
    check_known,
    check_prompt,
    identity,
    known_at,
    of_token,
    prefill,
    prepare,
    token_log_probs,
)
from jaxrnn.decoding.sampling import Choose
from jaxrnn.loops import loop, once, settle
from jaxrnn.unroll import scan

__all__ = ["Generated", "decode", "generate", "last"]


class Generated(NamedTuple):
    """What `generate` returns.

    Attributes:
      carry: the state after each row's last step; it has not yet seen the last of `sequence`.
      sequence: what came after the prompt, ``(steps, *batch)`` tokens or ``(steps, *batch, D)``
        values.
      log_probs: log p of each token under the softmax of the outputs, ``(steps, *batch)``,
        whatever way it was chosen; 0 past the end of a row; None for values.
      lengths: how many steps each row has, its `end` included, ``(*batch,)``.
      outputs: what was read out at each step, ``(steps, *batch, ...)``, such as the logits that
        a token was drawn from; 0 past the end of a row; None unless asked for.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 4, 4)
      >>> prompt = jax.numpy.ones((1, 2, 4))
      >>> jaxrnn.generate(jaxrnn.gru, params, prompt, steps=3).lengths.tolist()
      [3, 3]
    """

    carry: Carry
    sequence: Array
    log_probs: Array | None
    lengths: Array
    outputs: Any = None


def last(
    ys: Array,
    lengths: Array | None = None,
    mask: Array | None = None,
    *,
    initial: Array | float = 0.0,
) -> Array:
    r"""The output of each row's last valid step, :math:`y_{n_b - 1, b}` for n valid ones.

    Of a bidirectional layer it gives the backward half after one input only, that of this step;
    the final states of both directions are the carry that `jaxrnn.scan` returns.

    Args:
      ys: ``(T, *batch, H)``.
      lengths: n, integers ``(*batch,)`` in 0..T; T for all if None.
      mask: booleans ``(T, *batch)``, False where there is a gap, as in `jaxrnn.scan`.
      initial: what a row without valid steps gives, of any shape that broadcasts to
        ``(*batch, H)``.

    Returns:
      ``(*batch, H)``.

    Raises:
      TypeError: for lengths that are not integers, or a mask that is not of booleans.
      ValueError: for lengths or a mask of another shape, or lengths outside 0..T.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> ys = jnp.array([[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]])[..., None]
      >>> jaxrnn.last(ys, jnp.array([2, 0]))[:, 0].tolist()
      [2.0, 0.0]
      >>> mask = jnp.array([[True, True], [True, False], [False, False]])
      >>> jaxrnn.last(ys, mask=mask)[:, 0].tolist()
      [2.0, 4.0]
    """
    ys = jnp.asarray(ys)
    if ys.ndim < 2:
        raise ValueError(f"ys: expected (T, *batch, H), at least two axes, got shape {ys.shape}")
    time, batch = ys.shape[0], ys.shape[1:-1]
    steps = jnp.arange(time, dtype=jnp.int32).reshape(time, *(1 for _ in batch))
    valid = jnp.ones((time, *batch), bool)
    if lengths is not None:
        valid = valid & (steps < check_lengths(lengths, time, batch))
    if mask is not None:
        valid = valid & check_flags("mask", mask, (time, *batch))
    first = jnp.broadcast_to(jnp.asarray(initial, ys.dtype), ys.shape[1:])
    if time == 0:
        return first
    at = jnp.max(jnp.where(valid, steps, -1), axis=0)
    return select(at >= 0, at_step(ys, jnp.maximum(at, 0)), first)


def decode(
    cell: Cell,
    params: Params,
    inputs: Array,
    carry: Carry | None = None,
    *,
    embed: Callable[..., Any] = identity,
    readout: Callable[..., Any] = identity,
    probability: float | Array = 0.0,
    choose: Choose | None = None,
    known: PyTree = None,
    lengths: Array | None = None,
    reset: Array | None = None,
    reset_carry: Carry | None = None,
    key: Array | None = None,
    start: int | Array = 0,
) -> tuple[Carry, Any]:
    """Run a cell on given inputs, or with some probability on its own outputs in their place.

    With probability 0 this is teacher forcing, with 1 free running, between them scheduled
    sampling. As a Python loop::

        for t in range(T):                                         # for each row by itself
            begins = t == 0 or reset[t]
            own = not begins and uniform(key, t) < probability
            fed = choose(key, outputs[t - 1]) if own else inputs[t]
            carry, y = cell.step(params, carry, embed(fed), reset=reset[t])
            outputs[t] = readout(y)

    Teacher forcing runs at the full speed of `jaxrnn.scan`. Gradients flow through values
    that are fed back, and not through tokens.

    Args:
      cell: a `Cell`, such as `jaxrnn.stack` gives.
      params: its parameters.
      inputs: what a teacher feeds, ``(T, *batch)`` tokens or ``(T, *batch, D)`` values.
      carry: the initial carry, zeros if None.
      embed: from one step of inputs to x ``(*batch, D)``.
      readout: from y ``(*batch, H)`` to an output, such as logits ``(*batch, V)``.
      probability: of feeding back an own output, in [0, 1], traced or not; the first input of
        a sequence is always the given one.
      choose: from a row's output to what is fed back, ``choose(key, output)``; if None, the
        most probable token, or for values the output itself.
      known: what is known of every step whoever is fed, leaves ``(T, *batch, ...)``: `embed` is
        then called with one step of it too, ``embed(fed, known)``. See ``inputs`` of `generate`.
      lengths: integers ``(*batch,)`` in 0..T, as in `jaxrnn.scan`: padded steps leave the
        carry untouched and give zero outputs.
      reset: booleans ``(T, *batch)``, as in `jaxrnn.scan`: True says that a new sequence begins
        with that step, so its row restarts from `reset_carry`.
      reset_carry: what a reset restarts from; the cell's own initial carry if None.
      key: a PRNG key for the coins, for `choose`, and for a stochastic cell.
      start: the absolute time of ``inputs[0]``.

    Returns:
      ``(carry, outputs)``, outputs ``(T, *batch, ...)``.

    Raises:
      TypeError: for something that is not a `Cell`, an output that cannot be fed back, or an
        `embed` or `readout` that makes modules of linen or haiku.
      ValueError: for a probability outside [0, 1], or one that needs a key and has none, or
        tokens of a dtype that does not hold all that the readout can say.

    Source: Williams and Zipser (1989), A learning algorithm for continually running fully
    recurrent neural networks, for teacher forcing; Bengio, Vinyals, Jaitly and Shazeer (2015),
    Scheduled sampling for sequence prediction with recurrent neural networks, arXiv:1506.03099.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 5, 5)
      >>> tokens = jnp.array([[0, 1], [4, 2], [3, 3]])
      >>> embed = lambda token: jax.nn.one_hot(token, 5)
      >>> carry, logits = jaxrnn.decode(
      ...     jaxrnn.lstm, params, tokens, embed=embed, probability=0.25, key=jax.random.key(1))
      >>> logits.shape
      (3, 2, 5)
    """
    inputs, known, feedback = prepare(cell, params, "inputs", inputs, known, embed, readout, choose)
    time, batch = inputs.shape[0], feedback.batch
    check_known("known", known, time, batch, "T")
    numeric = not isinstance(probability, Tracer)
    if numeric and not 0 <= float(probability) <= 1:
        raise ValueError(f"probability: expected a number in [0, 1], got {probability}")
    forced, free = (numeric and float(probability) == p for p in (0, 1))
    if key is None and not (forced or free):
        raise ValueError("key: expected a PRNG key to draw who is fed, got None")
    if reset is not None:
        reset = check_flags("reset", reset, (time, *batch))
    if lengths is not None:
        lengths = check_lengths(lengths, time, batch)
    key = None if key is None else check_key("key", key)
    start = check_start("start", start, rows=True)
    run = partial(_decode, cell, feedback, embed, readout, forced)
    return once(
        run, params, inputs, known, carry, lengths, reset, reset_carry, key, start, probability
    )


def _decode(
    cell: Cell,
    feedback: Feedback,
    embed: Callable[..., Any],
    readout: Callable[..., Any],
    forced: bool,
    params: Params,
    inputs: Array,
    known: PyTree,
    carry: Carry | None,
    lengths: Array | None,
    reset: Array | None,
    reset_carry: Carry | None,
    key: Array | None,
    start: Array,
    probability: Array,
) -> tuple[Carry, Any]:
    time, batch = inputs.shape[0], feedback.batch
    valid = None
    if lengths is not None:
        valid = jnp.arange(time, dtype=jnp.int32).reshape(time, *(1 for _ in batch)) < lengths
        inputs = select(valid, inputs, jnp.zeros_like(inputs))
        known = select(valid, known, jax.tree.map(jnp.zeros_like, known))
        reset = None if reset is None else reset & valid
    given = () if known is None else (known,)
    restarts = {"reset": reset, "reset_carry": reset_carry}
    if forced:
        xs = jax.vmap(embed)(inputs, *given)
        carry, ys = scan(cell, params, xs, carry, lengths=lengths, **restarts, key=key, start=start)
        outputs = jax.vmap(readout)(ys)
        return carry, select(valid, outputs, jax.tree.map(jnp.zeros_like, outputs))
    # A scan of no steps checks the carries and makes the default one.
    none = None if reset is None else reset[:0]
    xs = jax.vmap(embed)(*jax.tree.map(lambda leaf: leaf[:0], (inputs, *given)))
    carry, _ = scan(cell, params, xs, carry, reset=none, reset_carry=reset_carry)

    def body(state: tuple[Carry, PyTree], step: tuple[Any, ...]) -> tuple[Any, PyTree]:
        held, before = state
        t, teacher, known, valid, reset = step
        own = coins(t, teacher) & (t > 0)
        own = own if reset is None else own & ~reset
        fed = select(own, feedback(key, before, start + t - 1), teacher)
        again = {"reset": reset, "reset_carry": reset_carry}
        carry, y = cell.step(params, held, embed(fed, *known), key=key, time=start + t, **again)
        output = readout(y)
        return (select(valid, carry, held), output), output

    def coins(t: Array, like: Array) -> Array:
        if key is None:
            return jnp.ones(batch, bool)
        draw = jax.random.uniform
        for _ in batch:
            draw = jax.vmap(draw)
        drawn = draw(feedback.keys(key, COINS, start + t, like))
        return drawn < jnp.asarray(probability, drawn.dtype)

    before = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), feedback.output)
    steps = jnp.arange(time, dtype=jnp.int32), inputs, given, valid, reset
    state = carry, before
    if time:
        first = jax.tree.map(lambda leaf: leaf[0], steps)
        state = settle(lambda state: body(state, first)[0], state)
    (carry, _), outputs = lax.scan(body, state, steps)
    return carry, select(valid, outputs, jax.tree.map(jnp.zeros_like, outputs))


def generate(
    cell: Cell,
    params: Params,
    prompt: Array,
    carry: Carry | None = None,
    *,
    steps: int,
    embed: Callable[..., Any] = identity,
    readout: Callable[..., Any] = identity,
    choose: Choose | None = None,
    inputs: PyTree = None,
    lengths: Array | None = None,
    end: int | None = None,
    pad: int | None = None,
    early_stop: bool = False,
    return_outputs: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
) -> Generated:
    """Continue a prompt by feeding a cell its own output, tokens or real values.

    As a Python loop, for one row::

        for x in prompt[:-1]:
            carry, _ = cell.step(params, carry, embed(x))
        fed = prompt[-1]
        for j in range(steps):
            carry, y = cell.step(params, carry, embed(fed))
            sequence[j] = fed = choose(key, readout(y))
            if fed == end:
                break

    The prompt runs at the full speed of `jaxrnn.scan`, each row to its own length, and then
    all rows go on together. The cell itself is run without a key, as a network is once it is
    trained. Values can be differentiated through, to the parameters and to the prompt.

    Args:
      cell: a `Cell`, such as `jaxrnn.stack` gives.
      params: its parameters.
      prompt: ``(P, *batch)`` tokens or ``(P, *batch, D)`` values, at least one step.
      carry: the carry before the prompt, zeros if None.
      steps: how many steps to go on for.
      embed: from one step of the prompt to x ``(*batch, D)``.
      readout: from y ``(*batch, H)`` to an output, such as logits ``(*batch, V)``.
      choose: from a row's output to what is fed back, ``choose(key, output)``, such as
        `jaxrnn.sampler` gives; if None, the most probable token, or for values the output
        itself.
      inputs: what is known of every step beforehand, such as the date or the price, leaves
        ``(P - 1 + steps, *batch, ...)``: for a prompt of one step, ``(steps, *batch, ...)``.
        `embed` is then called with one step of it too, ``embed(fed, known)``. It goes with the
        time of each row: what a shorter prompt has left over is used after it. Step t goes with
        the t-th step that is fed; to forecast from what is known of the step that is asked for,
        give it from the second step on, ``known[1:]``.
      lengths: the lengths of the prompts, integers ``(*batch,)`` in 1..P.
      end: the token after which a row has ended.
      pad: the token that fills a row past its end, `end` if None.
      early_stop: leave the loop as soon as every row has ended, which changes nothing but the
        time it takes and rules out reverse-mode differentiation.
      return_outputs: keep what was read out at each step.
      key: a PRNG key for `choose`. What a row draws depends on (key, absolute time, index of
        the row) only.
      start: the absolute time of ``prompt[0]``, an int or ``(*batch,)``. To go on from a
        result, the prompt is ``result.sequence[-1:]``, at time ``start + P - 1 + steps``.

    Returns:
      `Generated`.

    Raises:
      TypeError: for something that is not a `Cell`, an output that cannot be fed back, or an
        `embed` or `readout` that makes modules of linen or haiku.
      ValueError: for an empty prompt, tokens of a dtype that does not hold all that the readout
        can say, `pad` or `early_stop` without `end`, an `end` that is no token of the readout,
        a `pad` that the dtype does not hold, or `end` where real values are fed back.

    Source: Graves (2013), Generating sequences with recurrent neural networks, arXiv:1308.0850.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 5, 5)
      >>> result = jaxrnn.generate(
      ...     jaxrnn.gru, params, jnp.array([[1, 2], [3, 0]]), lengths=jnp.array([2, 1]), steps=4,
      ...     embed=lambda token: jax.nn.one_hot(token, 5), key=jax.random.key(1),
      ...     choose=jaxrnn.sampler(temperature=0.7))
      >>> result.sequence.shape, result.log_probs.shape
      ((4, 2), (4, 2))
      >>> wave = jnp.ones((3, 2, 5))  # real values: the output is the next input
      >>> jaxrnn.generate(jaxrnn.gru, params, wave, steps=10).sequence.shape
      (10, 2, 5)

      A forecast of two series, with a price that is known ahead: 50 paths, drawn from a mean and
      the logarithm of a standard deviation:

      >>> params = jaxrnn.gru.init(jax.random.key(0), 2, 8)
      >>> kernel = jax.random.normal(jax.random.key(1), (8, 2))
      >>> def draw(key, output):
      ...     return output[:1] + jnp.exp(output[1:]) * jax.random.normal(key)
      >>> def sample(key, history, price):  # (P, 2, 1), (P + 3, 2, 1)
      ...     embed = lambda fed, price: jnp.concatenate([fed, price], -1)
      ...     return jaxrnn.generate(
      ...         jaxrnn.gru, params, history, steps=3, embed=embed, readout=lambda y: y @ kernel,
      ...         choose=draw, inputs=price[1:], key=key).sequence
      >>> keys = jax.random.split(jax.random.key(2), 50)
      >>> history, price = jnp.ones((4, 2, 1)), jnp.ones((7, 2, 1))
      >>> paths = jax.vmap(sample, (0, None, None))(keys, history, price)
      >>> jnp.quantile(paths, jnp.array([0.1, 0.5, 0.9]), axis=0).shape
      (3, 3, 2, 1)
    """
    check_positive("steps", steps)
    check_bool("return_outputs", return_outputs)
    prompt, inputs, feedback = prepare(
        cell, params, "prompt", prompt, inputs, embed, readout, choose
    )
    pad = check_end(feedback, end, pad, early_stop)
    lengths = check_prompt(prompt, lengths, feedback.batch)
    key = None if key is None else check_key("key", key)
    start = check_start("start", start, rows=True)
    check_known("inputs", inputs, len(prompt) - 1 + steps, feedback.batch, "P - 1 + steps")

    def run(
        params: Params, prompt: Array, known: PyTree, carry: Any, lengths: Any, key: Any, start: Any
    ) -> Generated:
        carry, fed, before = prefill(cell, params, prompt, known, carry, feedback, embed, lengths)
        first = start + before

        def body(state: tuple[Any, ...], j: Array) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            held, fed, alive, count = state
            given = known_at(known, before, j, lengths is not None)
            carry, y = cell.step(params, held, embed(fed, *given))
            output = readout(y)
            new = feedback(key, output, first + j)
            kept = output if return_outputs else None
            if not feedback.discrete:
                return (carry, new, alive, count + 1), (new, None, kept)
            log_prob = of_token(token_log_probs(output), new)
            if end is None:
                return (carry, new, alive, count + 1), (new, log_prob, kept)
            # A row that has ended is fed its last token again: `pad` need not have an embedding.
            state = select(alive, carry, held), select(alive, new, fed), alive & (new != end)
            emitted = jnp.where(alive, new, jnp.asarray(pad, new.dtype))
            log_prob = jnp.where(alive, log_prob, jnp.zeros_like(log_prob))
            kept = select(alive, kept, jax.tree.map(jnp.zeros_like, kept))
            return (*state, count + alive.astype(jnp.int32)), (emitted, log_prob, kept)

        state = carry, fed, jnp.ones(feedback.batch, bool), jnp.zeros(feedback.batch, jnp.int32)
        stop = (lambda state: ~jnp.any(state[2])) if early_stop else None
        nothing = jax.tree.map(lambda leaf: 0, feedback.output) if return_outputs else None
        (carry, _, _, count), (sequence, log_probs, outputs) = loop(
            body, state, steps, stop=stop, blank=(pad, 0, nothing)
        )
        return Generated(carry, sequence, log_probs, count, outputs)

    return once(run, params, prompt, inputs, carry, lengths, key, start)
