r"""Learning forward in time: gradients without looking back, in memory that T does not change.

Real-time recurrent learning carries the influence of the parameters on the state along,

.. math:: M_t = J_t M_{t-1} + I_t, \qquad
          \frac{dL_t}{d\theta} = \frac{\partial L_t}{\partial\theta}
                + \frac{\partial L_t}{\partial s_{t-1}} M_{t-1}

where the partial derivatives are those of one step, so the gradient of a step is there as soon as
its loss is. `rtrl` sums it over a sequence; `rtrl_init` and `rtrl_step` give it step by step, to
learn online. Approximations of M are in `jaxrnn.learning.influence`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, batch_shape, check_cell, select
from jaxrnn.checks import check_carry, check_flags, check_inputs, check_start
from jaxrnn.decoding.autoregression import identity
from jaxrnn.learning.influence import Influence, exact, flat_cell
from jaxrnn.learning.losses import (
    Given,
    Gradient,
    Loss,
    add,
    check_given,
    check_reset_carry,
    finish,
    flags_at,
    loss_dtype,
    sizes,
    start_carry,
    step_losses,
    zero_gradient,
)
from jaxrnn.loops import once, settle, spread, vary

__all__ = ["RTRLState", "rtrl", "rtrl_init", "rtrl_step"]


class RTRLState(NamedTuple):
    """What real-time recurrent learning carries from step to step.

    Attributes:
      carry: the state of the cell.
      influence: of the parameters on it, leaves ``(*batch, ...)``.
      time: the absolute time of the next step.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.rtrl_init(jaxrnn.elman, params, (2,)).influence.input_kernel.shape
      (2, 5, 3, 5)
    """

    carry: Carry
    influence: PyTree
    time: Array


_START = np.uint32(2**32 - 1)  # no step has this time


def _rows(f: Callable[..., Any], batch: tuple[int, ...]) -> Callable[..., Any]:
    for _ in batch:
        f = jax.vmap(f)
    return f


def _row_keys(
    influence: Influence, key: Array | None, time: Any, batch: tuple[int, ...]
) -> Array | None:
    if not influence.random:
        return None
    if key is None:
        raise ValueError(f"key: expected a PRNG key for {influence.name}, got None")
    return jax.random.split(jax.random.fold_in(key, time), batch)


def check_influence(influence: Any, key: Any) -> None:
    """Raise TypeError for something else, ValueError for one that needs a key and has none."""
    if not isinstance(influence, Influence):
        raise TypeError(f"influence: expected an Influence, got {type(influence).__name__}")
    if influence.random and key is None:
        raise ValueError(f"key: expected a PRNG key for {influence.name}, got None")


def rtrl_init(
    cell: Cell,
    params: Params,
    batch_shape: tuple[int, ...] = (),
    carry: Carry | None = None,
    *,
    influence: Influence = exact,
    key: Array | None = None,
    start: int | Array = 0,
    cell_params: Callable[[Params], Params] = identity,
) -> RTRLState:
    """The state before the first step.

    Args:
      cell: a `Cell`.
      params: all parameters.
      batch_shape: the batch axes.
      carry: the initial carry, held fixed; if None that of the cell, whose own dependence on
        the parameters is then the first influence.
      influence: how the influence is kept: `jaxrnn.learning.influence.exact`, `snap1` or `uoro`.
      key: a PRNG key for `uoro`.
      start: the absolute time of the first step.
      cell_params: what of `params` the cell takes.

    Returns:
      `RTRLState`.

    Raises:
      TypeError: for something that is not a `Cell`, or a carry of another structure.
      ValueError: for a carry of another shape, a missing key, or a cell that `snap1` is not for.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.rtrl_init(jaxrnn.gru, params, influence=jaxrnn.snap1).influence.bias.shape
      (1, 15)
    """
    check_cell("cell", cell, steps=True)
    check_influence(influence, key)
    inner = cell_params(params)
    keys = _row_keys(influence, key, _START, batch_shape)
    first = _begin(cell, inner, batch_shape, carry, influence, keys)
    return RTRLState(*first, check_start("start", start))


def _begin(
    cell: Cell,
    inner: Params,
    batch: tuple[int, ...],
    carry: Carry | None,
    influence: Influence,
    keys: Array | None,
) -> tuple[Carry, PyTree]:
    """The carry before a sequence, and the influence on it: none on one that was given."""
    flat = flat_cell(cell, inner)
    if keys is None:
        first = influence.start(flat, inner, None)
        first = jax.tree.map(lambda m: jnp.broadcast_to(m, (*batch, *m.shape)), first)
    else:
        first = _rows(lambda key: influence.start(flat, inner, key), batch)(keys)
    if carry is not None:
        first = jax.tree.map(jnp.zeros_like, first)
    return start_carry(cell, inner, carry, batch), first


def rtrl_step(
    cell: Cell,
    params: Params,
    state: RTRLState,
    x: Array,
    *,
    loss: Loss,
    target: PyTree = None,
    valid: Array | None = None,
    reset: Array | None = None,
    reset_carry: Carry | None = None,
    influence: Influence = exact,
    key: Array | None = None,
    cell_params: Callable[[Params], Params] = identity,
) -> tuple[RTRLState, Any, Gradient]:
    r"""One step, and what it adds to the gradient.

    .. math:: \frac{dL_t}{d\theta} = \frac{\partial L_t}{\partial\theta}
              + \frac{\partial L_t}{\partial s_{t-1}} M_{t-1}, \qquad
              M_t = J_t M_{t-1} + I_t

    The parameters may be updated between any two steps, which is what it is for; the gradient
    is then no longer that of one fixed function, but for small updates near it.

    Args:
      cell: a `Cell`; it runs without a key.
      params: all parameters.
      state: by `rtrl_init`, or from the last step, with the same influence.
      x: ``(*batch, D)``.
      loss: ``loss(params, y, target) -> (*batch,)``.
      target: what `loss` is given, leaves ``(*batch, ...)``.
      valid: booleans ``(*batch,)``; False skips the step of that row.
      reset: booleans ``(*batch,)``, as in `jaxrnn.scan`: True says that a new sequence begins
        with this step, so the row and its influence restart, valid or not.
      reset_carry: what a reset restarts from, held fixed; if None the cell's own initial carry,
        whose dependence on the parameters is then the first influence.
      influence: how the influence is kept.
      key: a PRNG key for `uoro`, the same at every step.
      cell_params: what of `params` the cell takes, such as ``lambda p: p["cell"]``.

    Returns:
      ``(state, y, Gradient)``: the gradient of this step's losses, summed over rows.

    Raises:
      TypeError: for a wrong dtype.
      ValueError: for a wrong shape or a missing key.

    Source: Williams and Zipser (1989), A learning algorithm for continually running fully
    recurrent neural networks.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.elman.init(jax.random.key(0), 1, 5)
      >>> xs = jax.random.normal(jax.random.key(1), (20, 1))
      >>> state = jaxrnn.rtrl_init(jaxrnn.elman, params)
      >>> loss = lambda params, y, target: (y.sum(-1) - target) ** 2
      >>> step = jax.jit(lambda params, state, x, target: jaxrnn.rtrl_step(
      ...     jaxrnn.elman, params, state, x, target=target, loss=loss))
      >>> for x, before in zip(xs[1:], xs[:-1, 0]):  # learn to remember for one step
      ...     state, y, gradient = step(params, state, x, before)
      ...     params = jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient.grads)
      >>> int(state.time)
      19
    """
    x = check_inputs(cell, "x", x, "(*batch")
    batch = batch_shape(cell, x)
    target = jax.tree.map(jnp.asarray, target)
    if valid is not None:
        valid = check_flags("valid", valid, batch, axes="(*batch,)")
        x = select(valid, x, jax.tree.map(jnp.zeros_like, x))
    given = x, state.carry, target, valid, reset, reset_carry
    params, gather = jax.vjp(lambda params: vary(params, *given), params)
    inner, back = jax.vjp(cell_params, params)
    check_reset_carry(reset, reset_carry)
    if reset is not None:
        flags = check_flags("reset", reset, batch, axes="(*batch,)")
        if reset_carry is not None:
            reset_carry = check_carry(cell, inner, reset_carry, batch, argument="reset_carry")
        anew = None if key is None else jax.random.fold_in(key, _START)
        keys = _row_keys(influence, anew, state.time, batch)
        first = _begin(cell, inner, batch, reset_carry, influence, keys)
        first = spread(first, jax.tree.leaves(x)[0], len(batch))
        carry, restarted = select(flags, first, (state.carry, state.influence))
        state = RTRLState(carry, restarted, state.time)
    flat = flat_cell(cell, inner)
    s = flat.flatten(state.carry)
    keys = spread(_row_keys(influence, key, state.time, batch), s, len(batch))

    def total(params: Params, s: Array) -> tuple[Array, tuple[Carry, Any]]:
        carry, y = cell.step(cell_params(params), flat.unflatten(s), x)
        like = jax.ShapeDtypeStruct(batch, loss_dtype(x))
        return jnp.sum(step_losses(loss, params, y, target, valid, like)), (carry, y)

    (value, (carry, y)), (direct, g) = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(
        params, s
    )
    pulled = _rows(influence.pull, batch)(g, state.influence)
    pulled = jax.tree.map(
        lambda p, m: jnp.sum(m, axis=tuple(range(len(batch)))).astype(p.dtype), inner, pulled
    )
    grads = gather(jax.tree.map(jnp.add, direct, back(pulled)[0]))[0]

    def advance(s: Array, x: Array, m: PyTree, key: Array | None) -> PyTree:
        return influence.advance(flat, inner, s, x, m, key)

    moved = _rows(advance, batch)(s, x, state.influence, keys)
    carry, moved = select(valid, (carry, moved), (state.carry, state.influence))
    count = jnp.asarray(prod(batch) if valid is None else jnp.sum(valid), value.dtype)
    return RTRLState(carry, moved, state.time + 1), y, Gradient(value, grads, count)


def rtrl(
    cell: Cell,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    loss: Loss,
    targets: PyTree = None,
    lengths: Array | None = None,
    mask: Array | None = None,
    reset: Array | None = None,
    reset_carry: Carry | None = None,
    influence: Influence = exact,
    key: Array | None = None,
    start: int | Array = 0,
    cell_params: Callable[[Params], Params] = identity,
) -> tuple[Carry, Gradient]:
    r"""The gradient of a sum of losses over time, made forward in time.

    .. math:: \sum_t \frac{dL_t}{d\theta}, \qquad
              \frac{dL_t}{d\theta} = \frac{\partial L_t}{\partial\theta}
              + \frac{\partial L_t}{\partial s_{t-1}} M_{t-1}, \quad
              M_t = J_t M_{t-1} + I_t

    It equals backpropagation through time, in memory that does not depend on T. `params` may
    hold more than the cell's: only the cell's have an influence on the state to be kept.

    Args:
      cell: a `Cell`; it runs without a key.
      params: all parameters.
      xs: ``(T, *batch, D)``.
      carry: the initial carry, held fixed; if None that of the cell, through which gradients
        then flow where it depends on the parameters.
      loss: ``loss(params, y, target) -> (*batch,)``, of one step.
      targets: what `loss` is given, leaves ``(T, *batch, ...)``.
      lengths: integers ``(*batch,)`` in 0..T; steps past a row's length are skipped.
      mask: booleans ``(T, *batch)``, the same for gaps anywhere.
      reset: booleans ``(T, *batch)``, as in `jaxrnn.scan`: True says that a new sequence begins
        with that step, so its row and its influence restart, masked or not.
      reset_carry: what a reset restarts from, held fixed; if None the cell's own initial carry,
        through which gradients then flow.
      influence: how the influence is kept: `jaxrnn.learning.influence.exact`, or cheaper and
        no longer the exact gradient, `jaxrnn.snap1` or `jaxrnn.uoro`.
      key: a PRNG key for `uoro`.
      start: the absolute time of ``xs[0]``.
      cell_params: what of `params` the cell takes, such as ``lambda p: p["cell"]``.

    Returns:
      ``(carry, Gradient)``: the last carry, and the sums over all valid steps.

    Raises:
      TypeError: for a wrong dtype or structure.
      ValueError: for a wrong shape, a missing key, or a cell that `snap1` is not for.

    Source: Williams and Zipser (1989), A learning algorithm for continually running fully
    recurrent neural networks.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
      >>> square = lambda params, y, target: (y**2).sum(-1)
      >>> _, forward = jaxrnn.rtrl(jaxrnn.elman, params, xs, loss=square)
      >>> _, backward = jaxrnn.truncated(jaxrnn.elman, params, xs, k1=7, loss=square)
      >>> bool(jax.numpy.allclose(forward.grads.bias, backward.grads.bias, rtol=1e-5))
      True
    """
    flags = lengths, mask, reset, reset_carry
    given = check_given(cell, xs, carry, targets, *flags, start, key)
    check_influence(influence, key)
    return once(partial(_rtrl, cell, loss, influence, cell_params), params, given)


def _rtrl(
    cell: Cell,
    loss: Loss,
    influence: Influence,
    cell_params: Callable[[Params], Params],
    params: Params,
    given: Given,
) -> tuple[Carry, Gradient]:
    params, gather = jax.vjp(lambda params: vary(params, *given.rows), params)
    xs, targets = given.xs, given.targets
    time, batch = sizes(cell, xs)
    valid_at, reset_at = flags_at(batch, given)
    state = rtrl_init(
        cell,
        params,
        batch,
        given.carry,
        influence=influence,
        key=given.key,
        start=given.start,
        cell_params=cell_params,
    )

    first_time = state.time

    def body(held: tuple[RTRLState, Gradient], step: tuple[Any, ...]) -> tuple[Any, None]:
        state, total = held
        x, target = step
        t = state.time - first_time
        state, _, part = rtrl_step(
            cell,
            params,
            state,
            x,
            loss=loss,
            target=target,
            valid=None if valid_at is None else valid_at(t),
            reset=None if reset_at is None else reset_at(t),
            reset_carry=given.reset_carry,
            influence=influence,
            key=given.key,
            cell_params=cell_params,
        )
        return (state, add(total, part)), None

    like = jax.tree.leaves(xs)[0]
    first = state, zero_gradient(params, loss_dtype(xs))
    if time:
        spread_rows = partial(spread, like=like[0], axes=len(batch))
        carry, moved = map(spread_rows, (state.carry, state.influence))
        state = state._replace(carry=carry, influence=moved)
        step = jax.tree.map(lambda leaf: leaf[0], (xs, targets))
        first = settle(lambda held: body(held, step)[0], (state, first[1]))
    (state, total), _ = lax.scan(body, first, (xs, targets))
    return state.carry, finish(total, params, gather)
