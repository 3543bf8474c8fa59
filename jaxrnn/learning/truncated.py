r"""Backpropagation through time, truncated: learn every k1 steps, look back k2.

The gradient of a sum of losses over T steps, with the dependence of step t on what lies more
than about k2 steps before it left out. With ``k1 = k2`` it is chunked training with a stopped
carry, and with ``k1 = k2 = T`` the full gradient.

`truncated` is that gradient at fixed parameters. Training with an update after every k1 steps
takes the two pieces it is made of: a `Window` carried from update to update, and
`truncated_loss`, to be differentiated by whatever trains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, select
from jaxrnn.checks import check_flags, check_positive, check_start
from jaxrnn.decoding.autoregression import identity
from jaxrnn.learning.losses import (
    Given,
    Gradient,
    Loss,
    add,
    check_given,
    check_reset_carry,
    check_sequence,
    check_targets,
    finish,
    flags_at,
    loss_dtype,
    sizes,
    start_carry,
    step_losses,
    zero_gradient,
)
from jaxrnn.loops import once, settle, vary
from jaxrnn.unroll import scan

__all__ = ["Window", "truncated", "truncated_init", "truncated_loss"]


class Window(NamedTuple):
    """What truncated backpropagation keeps between updates: the last k2 − k1 steps.

    Attributes:
      carry: the state before them.
      lead: how many steps before the first of all the window begins; at 0 or more the carry is
        the initial one of the parameters. Negative from the start if a carry was given.
      xs: their inputs, ``(k2 − k1, *batch, D)``.
      valid: which of them are steps at all, ``(k2 − k1, *batch)``.
      reset: with which of them a new sequence begins, ``(k2 − k1, *batch)``, or None if with
        none.
      time: the absolute time of the first of them.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> chunk = jax.numpy.ones((4, 2, 3))
      >>> jaxrnn.truncated_init(jaxrnn.gru, params, chunk, k2=10).xs.shape
      (6, 2, 3)
    """

    carry: Carry
    lead: Array
    xs: PyTree
    valid: Array
    reset: Array | None
    time: Array


def truncated_init(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    k2: int,
    start: int | Array = 0,
    cell_params: Callable[[Params], Params] = identity,
) -> Window:
    """The `Window` before the first step: nothing to look back on.

    Args:
      cell: a `Cell`.
      params: all parameters.
      xs: a chunk of k1 steps, ``(k1, *batch, D)``, for its shape and dtype.
      carry: the initial carry; if None that of the cell, through which gradients then flow
        where it depends on the parameters.
      k2: how many steps to look back, at least k1.
      start: the absolute time of the first step.
      cell_params: what of `params` the cell takes.

    Returns:
      A `Window`.

    Raises:
      TypeError: for something that is not a `Cell`, or a carry of another structure.
      ValueError: for k2 < k1, or a carry of another shape.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> window = jaxrnn.truncated_init(jaxrnn.gru, params, jax.numpy.ones((4, 2, 3)), k2=4)
      >>> window.xs.shape
      (0, 2, 3)
    """
    xs, k1, batch = check_sequence(cell, xs)
    check_positive("k2", k2)
    if k2 < k1:
        raise ValueError(f"k2: expected at least k1 = {k1}, got {k2}")
    kept = k2 - k1
    nowhere = jnp.zeros((kept, *batch), bool)
    return Window(
        start_carry(cell, cell_params(params), carry, batch),
        jnp.asarray(kept if carry is None else -1, jnp.int32),
        jax.tree.map(lambda leaf: jnp.zeros((kept, *leaf.shape[1:]), leaf.dtype), xs),
        nowhere,
        nowhere,
        check_start("start", start) - kept,
    )


def truncated_loss(
    cell: Cell,
    params: Params,
    window: Window,
    xs: Array,
    *,
    loss: Loss,
    targets: PyTree = None,
    mask: Array | None = None,
    reset: Array | None = None,
    reset_carry: Carry | None = None,
    key: Array | None = None,
    cell_params: Callable[[Params], Params] = identity,
) -> tuple[Array, tuple[Window, Array]]:
    r"""The losses of the next k1 steps, whose gradient reaches back k2 steps and no further.

    .. math:: \sum_{t = n + 1}^{n + k_1} L_t(\theta, s_t), \qquad
              s_{n + k_1 - k_2} \text{ held fixed}

    The chunk is the k1 steps after the `Window`, which it moves on. A step of training, with
    optax or through ``jaxrnn.training.fit`` (whose state the window then is), takes the
    gradient of this in `params`.

    Args:
      cell: a `Cell`.
      params: all parameters.
      window: the steps before, by `truncated_init` or from the last call.
      xs: ``(k1, *batch, D)``.
      loss: ``loss(params, y, target) -> (*batch,)``, of one step.
      targets: what `loss` is given, leaves ``(k1, *batch, ...)``.
      mask: booleans ``(k1, *batch)``; False skips a step: its carry, its loss and its weight.
      reset: booleans ``(k1, *batch)``, as in `jaxrnn.scan`: True says that a new sequence
        begins with that step, so its row restarts from `reset_carry`, masked or not. The
        window keeps those of its steps, which are run again.
      reset_carry: what a reset restarts from; the cell's own initial carry if None, through
        which gradients flow. The same one in every call.
      key: a PRNG key for a stochastic cell; a step that is run again meets the same noise.
      cell_params: what of `params` the cell takes, such as ``lambda p: p["cell"]``.

    Returns:
      ``(value, (window, weight))``: the sum of the losses over valid steps, the window for the
      next call, and the number of valid steps.

    Raises:
      TypeError: for a wrong dtype or structure.
      ValueError: for a wrong shape.

    Source: Williams and Peng (1990), An efficient gradient-based algorithm for on-line
    training of recurrent network trajectories, BPTT(h; h') with h = k2 and h' = k1.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> chunks = jax.random.normal(jax.random.key(1), (10, 4, 2, 3))
      >>> window = jaxrnn.truncated_init(jaxrnn.gru, params, chunks[0], k2=6)
      >>> square = lambda params, y, target: (y**2).sum(-1)
      >>> def objective(params, window, xs):
      ...     return jaxrnn.truncated_loss(jaxrnn.gru, params, window, xs, loss=square)
      >>> update = jax.jit(jax.grad(objective, has_aux=True))
      >>> for xs in chunks:
      ...     grads, (window, weight) = update(params, window, xs)
      ...     params = jax.tree.map(lambda p, g: p - 0.1 * g / weight, params, grads)
      >>> int(window.time)
      38
    """
    xs, k1, batch = check_sequence(cell, xs)
    targets = check_targets(targets, k1, batch)
    kept = window.valid.shape[0]
    whole = mask is None and kept == 0
    mask = jnp.ones((k1, *batch), bool) if mask is None else check_flags("mask", mask, (k1, *batch))
    inner = cell_params(params)
    join = lambda before, now: jnp.concatenate([before, now])  # noqa: E731
    every, valid = jax.tree.map(join, window.xs, xs), join(window.valid, mask)
    boundaries = _boundaries(window, reset, mask)
    check_reset_carry(boundaries, reset_carry)
    carry = lax.stop_gradient(window.carry)
    carry = select(window.lead >= 0, cell.carry(inner, batch), carry)

    def run(carry: Carry, part: slice, time: Array) -> tuple[Carry, PyTree]:
        return scan(
            cell,
            inner,
            jax.tree.map(lambda leaf: leaf[part], every),
            carry,
            mask=None if whole else valid[part],
            reset=None if boundaries is None else boundaries[part],
            reset_carry=reset_carry,
            key=key,
            start=time,
        )

    carry, ys = run(carry, slice(None, k1), window.time)
    moved = Window(
        lax.stop_gradient(carry),
        jnp.maximum(window.lead - k1, -1),
        jax.tree.map(lambda leaf: leaf[k1:], every),
        valid[k1:],
        window.reset if boundaries is None else boundaries[k1:],
        window.time + k1,
    )
    if kept:
        _, more = run(carry, slice(k1, None), window.time + k1)
        ys = jax.tree.map(lambda a, b: jnp.concatenate([a, b])[kept:], ys, more)

    def each(y: Any, target: Any, valid: Array | None) -> Array:
        return step_losses(loss, params, y, target, valid, like)

    like = jax.ShapeDtypeStruct(batch, loss_dtype(xs))
    losses = jax.vmap(each)(ys, targets, None if whole else mask)
    return jnp.sum(losses), (moved, jnp.sum(mask, dtype=losses.dtype))


def _boundaries(window: Window, reset: Array | None, like: Array) -> Array | None:
    """Where sequences begin in the window and in the chunk after it; None if nowhere."""
    if reset is not None:
        reset = check_flags("reset", reset, like.shape)
    if reset is None and (window.reset is None or window.reset.shape[0] == 0):
        return None
    before = jnp.zeros_like(window.valid) if window.reset is None else window.reset
    return jnp.concatenate([before, jnp.zeros_like(like) if reset is None else reset])


def truncated(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    k1: int,
    k2: int | None = None,
    loss: Loss,
    targets: PyTree = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    reset: Array | None = None,
    reset_carry: Carry | None = None,
    key: Array | None = None,
    start: int | Array = 0,
    cell_params: Callable[[Params], Params] = identity,
) -> tuple[Carry, Gradient]:
    r"""The gradient by truncated backpropagation through time, TBPTT(k1, k2).

    .. math:: \sum_{n \ge 1} \frac{\partial}{\partial\theta}
              \sum_{t = (n - 1) k_1 + 1}^{\min(n k_1, T)} L_t(\theta, s_t), \qquad
              s_{n k_1 - k_2} \text{ held fixed in the n-th term}

    Every step is run k2 / k1 times, and memory grows with k2 and not with T. With k2 ≥ T it is
    the full gradient. To update the parameters between the terms, see `truncated_loss`.

    Args:
      cell: a `Cell`.
      params: all parameters.
      xs: ``(T, *batch, D)``.
      carry: the initial carry; if None that of the cell, through which gradients then flow
        where it depends on the parameters.
      k1: steps per update, whose losses one term sums.
      k2: how many steps a term looks back, at least k1; k1 if None.
      loss: ``loss(params, y, target) -> (*batch,)``, of one step.
      targets: what `loss` is given, leaves ``(T, *batch, ...)``: the target, and anything else
        that varies with the step, such as a weight.
      lengths: integers ``(*batch,)`` in 0..T; steps past a row's length are skipped.
      mask: booleans ``(T, *batch)``, the same for gaps anywhere.
      reset: booleans ``(T, *batch)``, as in `jaxrnn.scan`: True says that a new sequence begins
        with that step, so its row restarts from `reset_carry`, masked or not.
      reset_carry: what a reset restarts from, held fixed; if None the cell's own initial carry,
        through which gradients then flow.
      key: a PRNG key for a stochastic cell.
      start: the absolute time of ``xs[0]``.
      cell_params: what of `params` the cell takes, such as ``lambda p: p["cell"]``.

    Returns:
      ``(carry, Gradient)``: the last carry, and the sums over all valid steps.

    Raises:
      TypeError: for a wrong dtype or structure.
      ValueError: for a wrong shape, k1 < 1 or k2 < k1.

    Source: Williams and Peng (1990), An efficient gradient-based algorithm for on-line
    training of recurrent network trajectories, BPTT(h; h') with h = k2 and h' = k1.

    Example:
      >>> import jax, jaxrnn
      >>> k1, k2 = jax.random.split(jax.random.key(0))
      >>> params = {"cell": jaxrnn.lstm.init(k1, 3, 5), "out": jax.random.normal(k2, (5, 1))}
      >>> xs, targets = jax.numpy.ones((50, 2, 3)), jax.numpy.zeros((50, 2, 1))
      >>> def loss(params, y, target):
      ...     return ((y @ params["out"] - target) ** 2).sum(-1)
      >>> carry, (value, grads, weight) = jaxrnn.truncated(
      ...     jaxrnn.lstm, params, xs, k1=5, k2=10, loss=loss, targets=targets,
      ...     cell_params=lambda p: p["cell"])
      >>> float(weight), grads["out"].shape
      (100.0, (5, 1))
    """
    check_positive("k1", k1)
    k2 = k1 if k2 is None else k2
    flags = lengths, mask, reset, reset_carry
    given = check_given(cell, xs, carry, targets, *flags, start, key)
    return once(partial(_truncated, cell, k1, k2, loss, cell_params), params, given)


def _truncated(
    cell: Cell,
    k1: int,
    k2: int,
    loss: Loss,
    cell_params: Callable[[Params], Params],
    params: Params,
    given: Given,
) -> tuple[Carry, Gradient]:
    params, gather = jax.vjp(lambda params: vary(params, *given.rows), params)
    xs, targets = given.xs, given.targets
    time, batch = sizes(cell, xs)
    flags = flags_at(batch, given)
    padded = flags.valid is not None or time % k1 > 0

    def chunk(n: Array) -> tuple[PyTree, PyTree, Array | None, Array | None]:
        at = n * k1 + jnp.arange(k1, dtype=jnp.int32)
        take = lambda leaf: jnp.take(leaf, at, axis=0, mode="clip")  # noqa: E731
        inside = jnp.broadcast_to((at < time).reshape(-1, *(1 for _ in batch)), (k1, *batch))

        def within(flags: Callable[[Array], Array] | None) -> Array:
            return inside if flags is None else inside & jax.vmap(flags)(jnp.minimum(at, time - 1))

        valid = within(flags.valid) if padded else None
        restarts = None if flags.reset is None else within(flags.reset)
        return jax.tree.map(take, xs), jax.tree.map(take, targets), valid, restarts

    def objective(params: Params, window: Window, n: Array) -> tuple[Array, tuple[Window, Array]]:
        part, goal, valid, restarts = chunk(n)
        return truncated_loss(
            cell,
            params,
            window,
            part,
            loss=loss,
            targets=goal,
            mask=valid,
            reset=restarts,
            reset_carry=given.reset_carry,
            key=given.key,
            cell_params=cell_params,
        )

    def body(state: tuple[Window, Gradient, Array], _: None) -> tuple[Any, None]:
        window, total, n = state
        (value, (window, weight)), grads = jax.value_and_grad(objective, has_aux=True)(
            params, window, n
        )
        return (window, add(total, Gradient(value, grads, weight)), n + 1), None

    example = jax.tree.map(lambda leaf: jnp.zeros((k1, *leaf.shape[1:]), leaf.dtype), xs)
    window = truncated_init(
        cell, params, example, given.carry, k2=k2, start=given.start, cell_params=cell_params
    )
    window = window if given.reset is not None else window._replace(reset=None)
    total = zero_gradient(params, loss_dtype(xs))
    if time:
        first = window, total, jnp.zeros((), jnp.int32)
        first = settle(lambda state: body(state, None)[0], first)
        (window, total, _), _ = lax.scan(body, first, None, length=-(-time // k1))
    # The window lags behind: its steps are still to be run.
    carry, _ = scan(
        cell,
        cell_params(params),
        window.xs,
        window.carry,
        mask=window.valid,
        reset=window.reset,
        reset_carry=given.reset_carry,
        key=given.key,
        start=window.time,
    )
    return carry, finish(total, params, gather)
