"""Who solves for the trajectory of a cell, and for its tangents: one solver a file."""

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
