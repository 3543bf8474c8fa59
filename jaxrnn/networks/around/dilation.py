"""A state further back in place of the last."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxrnn.base import Carry, Cell, Params, PyTree, documented
from jaxrnn.checks import check_positive
from jaxrnn.networks.around.shared import changed, check_wrapped

__all__ = ["DilatedSpec", "dilated"]


class DilatedSpec(NamedTuple):
    """What `dilated` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.dilated(jaxrnn.gru, 4).spec.rate
      4
    """

    cell: Cell
    rate: int

    def make(self) -> Cell:
        """The cell."""
        return dilated(self.cell, self.rate)


@documented
def dilated(cell: Cell, rate: int) -> Cell:
    r"""The same cell, which sees not the last state but one further back.

    .. math:: s_t = \mathrm{update}(\theta, s_{t-d}, z_t), \qquad
              z_t = \mathrm{project}(\theta, x_t) + \mathrm{recurrent}(\theta, s_{t-d})

    So d sequences of states are woven into each other, and what is d steps away is one step of a
    gradient away. A `stack` of dilations 1, 2, 4, … sees far back with few steps of each
    (``jaxrnn.rnn(cell, 3, dilation=(1, 2, 4))``).

    The carry is the tuple of the last d states, the oldest first; all of them are kept for every
    step by a gradient, so d is meant to be a few dozen at most. A skipped step leaves all d where
    they are.

    Args:
      cell: a `Cell`.
      rate: d.

    Returns:
      A `Cell` with the parameters and the output of the cell. It has no coefficients, whatever the
      cell has.

    Raises:
      TypeError: for something that is not a cell, or a rate that is no int.
      ValueError: for a rate below 1.

    Source: Chang et al. (2017), Dilated recurrent neural networks, arXiv:1710.02224.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.dilated(jaxrnn.gru, 4)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 2, 3)))
      >>> len(carry), bool((ys[0] == ys[3]).all()), bool((ys[0] == ys[4]).all())
      (4, True, False)
    """
    check_wrapped(cell)
    check_positive("rate", rate)
    rate = int(rate)

    def carry(params: Params, batch_shape: tuple[int, ...] = ()) -> tuple[Carry, ...]:
        return (cell.carry(params, batch_shape),) * rate

    def recurrent(params: Params, carry: tuple[Carry, ...]) -> PyTree:
        return cell.recurrent(params, carry[0])

    def update(params: Params, carry: tuple[Carry, ...], z: PyTree) -> tuple[Carry, ...]:
        return *carry[1:], cell.update(params, carry[0], z)

    def output(params: Params, carry: tuple[Carry, ...], z: PyTree) -> Any:
        return cell.output(params, carry[-1], z)

    def gates(params: Params, carry: tuple[Carry, ...], z: PyTree) -> Any:
        return cell.gates(params, carry[0], z)  # type: ignore[misc]

    def bounds(params: Params, start: tuple[Carry, ...], count: Any) -> tuple[Carry, ...]:
        return tuple(cell.bounds(params, each, count) for each in start)  # type: ignore[misc]

    return changed(
        cell,
        name=f"dilated({cell.name}, {rate})",
        carry=carry,
        recurrent=recurrent,
        update=update,
        output=output,
        coefficients=None,
        gates=None if cell.gates is None else gates,
        bounds=None if cell.bounds is None else bounds,
        spec=DilatedSpec(cell, rate),
    )
