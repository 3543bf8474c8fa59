"""Networks out of cells: layers on top of each other, both directions, what goes around a cell."""

from jaxrnn.networks.directions import BidirectionalSpec, Directions, bidirectional
from jaxrnn.networks.plain import params_from
from jaxrnn.networks.stack import StackSpec, rnn, stack
from jaxrnn.networks.summary import summary
from jaxrnn.networks.wrappers import LearnedCarryParams, LearnedCarrySpec, learned_carry, lift

__all__ = [
    "BidirectionalSpec",
    "Directions",
    "LearnedCarryParams",
    "LearnedCarrySpec",
    "StackSpec",
    "bidirectional",
    "learned_carry",
    "lift",
    "params_from",
    "rnn",
    "stack",
    "summary",
]
