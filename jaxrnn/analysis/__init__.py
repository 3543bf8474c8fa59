"""Seeing what a recurrent network does: how far it remembers, and through which gates.

The measures are pure functions that return arrays, and may be jitted, vmapped and averaged; the
pictures are thin functions that draw those arrays on a matplotlib Axes.
"""

from jaxrnn.analysis.gradients import GradientNorms, gradient_norms, vanishing_bound
from jaxrnn.analysis.lyapunov import lyapunov_exponent
from jaxrnn.analysis.memory import MemoryHorizon, memory_horizon, receptive_field
from jaxrnn.analysis.plots import plot_gates, plot_gradient_norms, plot_singular_values
from jaxrnn.analysis.soundness import check
from jaxrnn.analysis.steps import gate_traces, jacobian_singular_values

__all__ = [
    "GradientNorms",
    "MemoryHorizon",
    "check",
    "gate_traces",
    "gradient_norms",
    "jacobian_singular_values",
    "lyapunov_exponent",
    "memory_horizon",
    "plot_gates",
    "plot_gradient_norms",
    "plot_singular_values",
    "receptive_field",
    "vanishing_bound",
]
