"""What a solver is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell
from jaxrnn.solvers.systems import Tangents, Trajectory

__all__ = ["Solver", "Status"]


class Status(NamedTuple):
    r"""How a solver fared.

    Attributes:
      iterations: how many it took, over all windows; 0 for one that takes none.
      residual: :math:`\max_t |s_t - F_t(s_{t-1})| / (1 + \max_t |s_t|)` of what it stopped at, the
        largest of all windows.
      converged: whether that was within tolerance in every window. Where it was not, the result is
        what the solver falls back on.

    Example:
      >>> from jaxrnn.solvers import Status
      >>> Status.direct().iterations.item()
      0
    """

    iterations: Array
    residual: Array
    converged: Array

    @staticmethod
    def direct() -> Status:
        """That of a solver without iterations."""
        return Status(jnp.int32(0), jnp.float32(0), jnp.bool_(True))

    @staticmethod
    def of_windows(each: Status) -> Status:
        """One for all, from the iterations, residual and success of every window."""
        return Status(each.iterations.sum(0), each.residual.max(0), each.converged.all(0))


def _any(cell: Cell) -> None:
    """For a solver that takes every cell."""


class Solver(NamedTuple):
    r"""How the two systems of an unrolled cell are solved.

    Attributes:
      name: how errors call it.
      solve: ``solve(trajectory) -> (last, states, status)``, the last state, all of them with a
        leading time axis, and a `Status`, or None from one without iterations.
      linear: ``linear(tangents) -> (last, states)``. It is differentiated and transposed like any
        function.
      window: ``window(z, state, rank, time)``, how many steps to solve for at once: from the
        shapes of z and of the state at one step, the number of batch axes and T; None for all.
      check: raises if it cannot solve a cell.
      stepwise: whether it takes one step after the other, so that layers side by side are best
        run in one loop.
      guesses: whether it makes use of a guess of the states.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.sequential().name
      'sequential'
    """

    name: str
    solve: Callable[[Trajectory], tuple[Any, Any, Status | None]]
    linear: Callable[[Tangents], tuple[Any, Any]]
    window: Callable[[Any, Any, int, int], int | None]
    check: Callable[[Cell], None] = _any
    stepwise: bool = False
    guesses: bool = False
