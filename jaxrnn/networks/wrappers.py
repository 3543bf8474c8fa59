"""Cells made of a cell: what goes around the equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Layer, Params, check_cell, documented

__all__ = ["LearnedCarryParams", "LearnedCarrySpec", "learned_carry", "lift"]

AnyCell = TypeVar("AnyCell", bound=Cell | Layer)


def lift(cell: AnyCell, **changes: Any) -> AnyCell:
    """The cell with its own parameters in a field `cell` of larger ones, and with changes.

    Every function of the record is handed on, so that a wrapper says only what it changes.

    Args:
      cell: a `Cell` or a `Layer`.
      **changes: fields of the record to replace, functions of the larger parameters.

    Returns:
      A `Cell` or a `Layer` whose params are a NamedTuple with a field `cell`.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.networks import lift
      >>> from typing import NamedTuple
      >>> class Scaled(NamedTuple):
      ...     cell: jaxrnn.GRUParams
      ...     scale: float
      >>> project = lambda params, x: jaxrnn.gru.project(params.cell, params.scale * x)
      >>> scaled = lift(jaxrnn.gru, name="scaled", project=project)
      >>> params = Scaled(jaxrnn.gru.init(jax.random.key(0), 3, 5), 2.0)
      >>> jaxrnn.scan(scaled, params, jax.numpy.ones((7, 3)))[1].shape
      (7, 5)
    """

    def within(function: Callable[..., Any] | None) -> Any:
        if function is None:
            return None
        return lambda params, *args: function(params.cell, *args)

    def sample(params: Any, key: Array, batch: tuple[int, ...]) -> Any:
        return params._replace(cell=cell.sample(params.cell, key, batch))  # type: ignore[union-attr]

    def sequence(params: Any, xs: Any, carry: Carry, options: Any) -> Any:
        options = options._replace(path=f"{options.path}.cell")
        return cell.sequence(params.cell, xs, carry, options)  # type: ignore[union-attr]

    if isinstance(cell, Layer):
        inner = {"carry": within(cell.carry), "advance": within(cell.advance)}
        inner |= {"sequence": sequence, "parts": ()}
    else:
        names = ("carry", "project", "recurrent", "update", "output", "coefficients")
        names += ("randomize", "gates", "bounds")
        inner = {name: within(getattr(cell, name)) for name in names}
        inner["sample"] = None if cell.sample is None else sample
    fields: Any = dict(zip(cell._fields, cell, strict=True)) | {"spec": None} | inner | changes
    return type(cell)(**fields)


class LearnedCarryParams(NamedTuple):
    """Parameters of a cell whose initial carry is learned.

    Attributes:
      cell: those of the cell itself.
      initial: a carry without batch axes.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.learned_carry(jaxrnn.lstm).init(jax.random.key(0), 3, 5)
      >>> params.initial.c.shape
      (5,)
    """

    cell: Params
    initial: Carry


class LearnedCarrySpec(NamedTuple):
    """What `learned_carry` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.learned_carry(jaxrnn.gru).spec.cell
      Cell('gru')
    """

    cell: Cell | Layer

    def make(self) -> Any:
        """The cell or layer."""
        return learned_carry(self.cell)


@documented
def learned_carry(cell: AnyCell) -> AnyCell:
    r"""The same cell, with its initial carry among the parameters.

    .. math:: s_0 = \theta_0 \text{ for every row of the batch}

    It is what `jaxrnn.scan` starts from when no carry is given, and what a reset restarts from;
    it begins as the cell's own initial carry, usually zero. A `stack` or a `bidirectional`
    layer learns the carries of all its parts.

    Args:
      cell: a `Cell` or a `Layer`.

    Returns:
      A `Cell` (or `Layer`) with `LearnedCarryParams`, and the carry and output of the cell.

    Raises:
      TypeError: for something that is neither a cell nor a layer; from ``init``, for a cell
        whose carry holds something else than floating-point numbers.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.learned_carry(jaxrnn.gru)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> loss = lambda params: jaxrnn.scan(cell, params, jax.numpy.ones((7, 2, 3)))[1].sum()
      >>> jax.grad(loss)(params).initial.shape
      (5,)
    """
    check_cell("cell", cell)

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> LearnedCarryParams:
        params = cell.init(key, input_size, hidden_size, **options)
        initial = cell.carry(params)
        for leaf in jax.tree.leaves(initial):
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise TypeError(
                    f"cell: expected one with a floating-point carry, got {cell.name!r}, whose "
                    f"carry holds {leaf.dtype}"
                )
        return LearnedCarryParams(params, initial)

    def carry(params: LearnedCarryParams, batch_shape: tuple[int, ...] = ()) -> Carry:
        def rows(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape))

        return jax.tree.map(rows, params.initial)

    return lift(
        cell,
        name=f"learned_carry({cell.name})",
        init=init,
        carry=carry,
        spec=LearnedCarrySpec(cell),
    )
