"""Who solves for the trajectory of a cell, and for its tangents: one solver a file."""

from jaxrnn.solvers.sequential import sequential
from jaxrnn.solvers.solver import Solver

__all__ = ["Solver", "sequential"]
