"""Ways to learn through time: truncated backpropagation, and forward in time."""

from jaxrnn.learning.influence import Influence, exact, snap1, uoro
from jaxrnn.learning.losses import Gradient
from jaxrnn.learning.rtrl import RTRLState, rtrl, rtrl_init, rtrl_step
from jaxrnn.learning.truncated import Window, truncated, truncated_init, truncated_loss

__all__ = [
    "Gradient",
    "Influence",
    "RTRLState",
    "Window",
    "exact",
    "rtrl",
    "rtrl_init",
    "rtrl_step",
    "snap1",
    "truncated",
    "truncated_init",
    "truncated_loss",
    "uoro",
]
