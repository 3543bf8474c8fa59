"""Who solves for the trajectory of a cell, and for its tangents: one solver a file."""

from typing import Any

import jax

from jaxrnn.base import Cell
from jaxrnn.solvers.associative import associative
from jaxrnn.solvers.newton import newton
from jaxrnn.solvers.sequential import sequential
from jaxrnn.solvers.solver import Solver, Status
from jaxrnn.solvers.systems import Tangents, Trajectory

__all__ = [
    "Solver",
    "Status",
    "Tangents",
    "Trajectory",
    "associative",
    "check_solver",
    "choose",
    "newton",
    "sequential",
]


def choose(cell: Cell) -> Solver:
    """The solver of a cell for which none was named.

    `associative` for a cell that is linear in its state where JAX's default backend is an
    accelerator; `sequential` for any other, and on CPUs.

    Args:
      cell: the cell.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.solvers import choose
      >>> choose(jaxrnn.gru).name
      'sequential'
    """
    if cell.coefficients is not None and jax.default_backend() != "cpu":
        return associative()
    return sequential()


def check_solver(solver: Any, guess: Any = None, unroll: int = 1) -> Solver | None:
    """The solver that the arguments of a scan name, or None for the choice of each cell.

    Args:
      solver: a `Solver` or None.
      guess: carries that it may start from, or None.
      unroll: steps per iteration of the loop of `sequential`.

    Raises:
      TypeError: for something else than a solver.
      ValueError: for an `unroll` or a `guess` that would have no effect.

    Example:
      >>> from jaxrnn.solvers import check_solver
      >>> check_solver(None, unroll=2).name
      'sequential'
    """
    if solver is not None and not isinstance(solver, Solver):
        raise TypeError(f"solver: expected a Solver, such as jaxrnn.sequential(), got {solver!r}")
    if solver is not None and unroll != 1:
        raise ValueError(
            f"unroll: expected 1 with a solver, got {unroll}; jaxrnn.sequential(unroll={unroll}) "
            "is one that does"
        )
    if guess is not None and (solver is None or not solver.guesses):
        raise ValueError(
            "guess: expected it only with a solver that makes use of one, jaxrnn.newton(), got "
            f"solver={solver if solver is None else solver.name}"
        )
    return sequential(unroll=unroll) if unroll != 1 else solver
