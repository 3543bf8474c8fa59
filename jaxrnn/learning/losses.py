"""What the ways to learn through time share: a loss for each step, and sums over steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params, PyTree, check_cell, select
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_carry, check_flags, check_inputs, check_lengths, check_start

__all__ = ["Gradient", "Loss"]


Loss = Callable[[Params, Any, Any], Array]
"""``loss(params, y, target) -> (*batch,)``: the loss of one time step, a number for each row."""


class Gradient(NamedTuple):
    """A loss and its gradient, summed over valid steps: those of parts of a batch add up.

    The gradient of the mean over all valid steps is ``grads / weight``, after both were added.

    Attributes:
      value: the sum of the losses.
      grads: its gradient, like params.
      weight: how many losses were summed.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> _, gradient = jaxrnn.truncated(
      ...     jaxrnn.gru, params, jax.numpy.ones((8, 2, 3)), k1=4,
      ...     loss=lambda params, y, target: (y**2).sum(-1))
      >>> float(gradient.weight)
      16.0
    """

    value: Array
    grads: Params
    weight: Array


def step_losses(
    loss: Loss, params: Params, y: Any, target: Any, valid: Array | None, like: jax.ShapeDtypeStruct
) -> Array:
    """The losses of one step, of the shape and dtype of `like`, 0 where it is not valid.

    There the loss is computed of zeros, so that no padding reaches a gradient.
    """

    def clean(leaf: Array) -> Array:
        return select(valid, leaf, jnp.zeros_like(leaf))

    losses = loss(params, jax.tree.map(clean, y), jax.tree.map(clean, target))
    if not hasattr(losses, "shape") or losses.shape != like.shape:
        raise ValueError(
            f"loss: expected one number for each row, shape {like.shape} (*batch), got "
            f"{getattr(losses, 'shape', type(losses).__name__)}"
        )
    return clean(losses.astype(like.dtype))


def loss_dtype(xs: PyTree) -> DType:
    """What losses are summed in: float32, or float64 where an input is."""
    kinds = [leaf.dtype for leaf in jax.tree.leaves(xs)]
    return np.result_type(np.float32, *(wide(k) for k in kinds if jnp.issubdtype(k, jnp.floating)))


def check_sequence(cell: Any, xs: Any) -> tuple[PyTree, int, tuple[int, ...]]:
    """The input as arrays, with T and the batch axes, after a check of it and of the cell."""
    check_cell("cell", cell, steps=True)
    xs = check_inputs(cell, "xs", xs, "(T, *batch")
    return xs, *sizes(cell, xs)


def sizes(cell: Any, xs: PyTree) -> tuple[int, tuple[int, ...]]:
    """T and the batch axes of an input."""
    lead = jax.tree.leaves(xs)[0]
    return lead.shape[0], lead.shape[1 : lead.ndim - cell.axes]


def check_targets(targets: PyTree, time: int, batch: tuple[int, ...]) -> PyTree:
    """The targets as arrays, or an error unless every leaf is ``(T, *batch, ...)``."""
    targets = jax.tree.map(jnp.asarray, targets)
    for leaf in jax.tree.leaves(targets):
        if leaf.shape[: 1 + len(batch)] != (time, *batch):
            raise ValueError(
                f"targets: expected leading axes {(time, *batch)} (T, *batch), got {leaf.shape}"
            )
    return targets


def start_carry(
    cell: Cell | Layer, params: Params, carry: Carry | None, batch: tuple[int, ...]
) -> Carry:
    """The carry, or the initial one if None, after a check."""
    if carry is None:
        return lax.stop_gradient(cell.carry(params, batch))
    return check_carry(cell, params, carry, batch)


class Flags(NamedTuple):
    """Which rows are valid, or begin a new sequence, in a step t: functions of it, or None.

    Functions, because flags for all T steps would be memory that grows with T.

    Attributes:
      valid: from t to booleans ``(*batch,)``; None if all always are.
      reset: from t to booleans ``(*batch,)``; None if none ever does.
    """

    valid: Callable[[Array], Array] | None
    reset: Callable[[Array], Array] | None


class Given(NamedTuple):
    """What a run over a whole sequence is given, checked: the arguments of those names."""

    xs: PyTree
    carry: Carry | None
    targets: PyTree
    lengths: Array | None
    mask: Array | None
    reset: Array | None
    reset_carry: Carry | None
    start: Array
    key: Array | None

    @property
    def rows(self) -> tuple[PyTree, ...]:
        """Those that a batch spread over devices spreads."""
        return self[:-2]


def check_given(
    cell: Any,
    xs: Any,
    carry: Carry | None,
    targets: PyTree,
    lengths: Any,
    mask: Any,
    reset: Any,
    reset_carry: Carry | None,
    start: Any,
    key: Array | None,
) -> Given:
    """The arguments as arrays, after a check of them and of the cell."""
    xs, time, batch = check_sequence(cell, xs)
    targets = check_targets(targets, time, batch)
    if mask is not None:
        mask = check_flags("mask", mask, (time, *batch))
    if reset is not None:
        reset = check_flags("reset", reset, (time, *batch))
    if lengths is not None:
        lengths = check_lengths(lengths, time, batch)
    check_reset_carry(reset, reset_carry)
    start = check_start("start", start)
    return Given(xs, carry, targets, lengths, mask, reset, reset_carry, start, key)


def flags_at(batch: tuple[int, ...], given: Given) -> Flags:
    """The flags of every step, as `jaxrnn.scan` understands them."""
    lengths, mask, reset = given.lengths, given.mask, given.reset

    def within(flags: Array | None) -> Callable[[Array], Array]:
        def at(t: Array) -> Array:
            mine = jnp.ones(batch, bool) if flags is None else flags[t]
            return mine if lengths is None else mine & (t < lengths)

        return at

    whole = mask is None and lengths is None
    return Flags(None if whole else within(mask), None if reset is None else within(reset))


def check_reset_carry(reset: Any, reset_carry: Any) -> None:
    """Raise ValueError if there is a carry to restart from and nowhere to do so."""
    if reset is None and reset_carry is not None:
        raise ValueError("reset_carry: expected it only with reset, got reset=None")


def zero_gradient(params: Params, dtype: DType) -> Gradient:
    """The empty sum, in float32 or wider."""
    zero = jnp.zeros((), dtype)
    return Gradient(zero, jax.tree.map(lambda p: jnp.zeros(p.shape, wide(p.dtype)), params), zero)


def add(total: Gradient, part: Gradient) -> Gradient:
    """The sum of two, of the dtypes of the first."""
    return jax.tree.map(lambda a, b: a + b.astype(a.dtype), total, part)


def finish(total: Gradient, params: Params, gather: Callable[..., Any]) -> Gradient:
    """The sum with gradients of the dtypes of the parameters, over all devices if it is to be."""
    grads = jax.tree.map(lambda g, p: g.astype(p.dtype), total.grads, params)
    return total._replace(grads=gather(grads)[0])
