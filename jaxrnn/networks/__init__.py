"""Networks out of cells: layers on top of each other, both directions, and what goes around a cell."""

from jaxrnn.networks.directions import Directions, bidirectional
from jaxrnn.networks.stack import StackProjection, rnn, stack
from jaxrnn.networks.wrappers import LearnedCarryParams, learned_carry

__all__ = [
    "Directions",
    "LearnedCarryParams",
    "StackProjection",
    "bidirectional",
    "learned_carry",
    "rnn",
    "stack",
]
