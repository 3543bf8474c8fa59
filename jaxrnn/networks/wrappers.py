"""Cells made of a cell: what goes around the equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Layer, Params, once

__all__ = ["LearnedCarryParams", "learned_carry"]


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


@once
def learned_carry(cell: Cell | Layer) -> Any:
    r"""The same cell, with its initial carry among the parameters.

    .. math:: s_0 = \theta_0 \text{ for every row of the batch}

    It is what `jaxrnn.scan` starts from, and restarts from at a reset, when no carry is given;
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
    if not isinstance(cell, Cell | Layer):
        raise TypeError(f"cell: expected a Cell or a Layer, got {type(cell).__name__}")

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> LearnedCarryParams:
        params = cell.init(key, input_size, hidden_size, **options)
        initial = cell.carry(params)
        for leaf in jax.tree.leaves(initial):
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                raise TypeError(
                    f"cell: expected one with a floating-point carry, got {cell.name!r}, whose "
                    f"carry holds {leaf.dtype}"
                )
        return LearnedCarryParams(params, initial)

    def carry(params: LearnedCarryParams, batch_shape: tuple[int, ...] = ()) -> Carry:
        def rows(leaf: Array) -> Array:
            return jnp.broadcast_to(leaf, (*batch_shape, *leaf.shape))

        return jax.tree.map(rows, params.initial)

    def within(function: Callable[..., Any] | None) -> Any:
        """The cell's function, given the cell's parameters."""
        if function is None:
            return None
        return lambda params, *args: function(params.cell, *args)

    def sequence(params: LearnedCarryParams, xs: Array, carry: Carry, options: Any) -> Any:
        options = options._replace(path=f"{options.path}.cell")
        return cell.sequence(params.cell, xs, carry, options)  # type: ignore[misc]

    name = f"learned_carry({cell.name})"
    whole = None if cell.sequence is None else sequence
    if isinstance(cell, Layer):
        return Layer(name, init, carry, sequence, cell.stochastic)
    return Cell(
        name,
        init,
        carry,
        within(cell.project),
        within(cell.recurrent),
        within(cell.update),
        within(cell.hidden_size),
        within(cell.randomize),
        whole,
        gates=within(cell.gates),
    )
