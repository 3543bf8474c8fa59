"""Pictures of what was measured: each draws on one matplotlib Axes and returns it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_gates", "plot_gradient_norms", "plot_singular_values"]


def _new_axes() -> Axes:
    """Axes of a figure of their own, without pyplot: no window, no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "axes: expected matplotlib, which is not installed (pip install matplotlib)"
        ) from error
    return Figure(figsize=(6, 4), layout="constrained").add_subplot()


def _finish(axes: Axes, x: str, y: str) -> Axes:
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    axes.legend()
    return axes


def plot_gradient_norms(norms: Mapping[str, ArrayLike], axes: Axes | None = None) -> Axes:
    """Draw gradient norms over the distance from the loss, on a logarithmic axis.

    Args:
      norms: by label what `gradient_norms` measured, its total or any other part,
        ``(T, *batch)``; drawn is the mean over the batch. What is exactly 0 is left out.
      axes: where to draw; those of a new figure if None.

    Returns:
      The axes; ``axes.figure.savefig(path)`` writes a new figure.

    Raises:
      ImportError: if matplotlib is not installed.

    Example:
      >>> import jaxrnn
      >>> axes = jaxrnn.analysis.plot_gradient_norms({"halved": [0.125, 0.25, 0.5]})
      >>> axes.get_lines()[0].get_xdata().tolist()
      [3, 2, 1]
    """
    axes = axes or _new_axes()
    for label, values in norms.items():
        rows = np.asarray(values, np.float64)
        rows = rows.reshape(len(rows), -1)
        axes.plot(np.arange(len(rows), 0, -1), rows.mean(axis=1), label=label)
    axes.set_yscale("log")
    return _finish(axes, "steps before the loss", "gradient norm")


def plot_gates(traces: Any, axes: Axes | None = None) -> Axes:
    """Draw gate activations over time: the median of all units and rows, and the middle 80 %.

    Args:
      traces: the NamedTuple that `gate_traces` gives for a cell, ``(T, *batch, H)`` each.
      axes: where to draw; those of a new figure if None.

    Returns:
      The axes.

    Raises:
      ImportError: if matplotlib is not installed.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn import analysis
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> traces = analysis.gate_traces(jaxrnn.gru, params, jax.numpy.ones((7, 2, 3)))
      >>> analysis.plot_gates(traces).get_legend_handles_labels()[1]
      ['r', 'z', 'n']
    """
    axes = axes or _new_axes()
    for label, values in traces._asdict().items():
        if values is not None:
            units = np.asarray(values, np.float64).reshape(len(values), -1)
            low, middle, high = np.quantile(units, [0.1, 0.5, 0.9], axis=1)
            (line,) = axes.plot(middle, label=label)
            axes.fill_between(np.arange(len(units)), low, high, color=line.get_color(), alpha=0.15)
    return _finish(axes, "step", "activation")


def plot_singular_values(
    values: ArrayLike, axes: Axes | None = None, *, bound: float | None = None
) -> Axes:
    """Draw the singular values of the steps over time, on a logarithmic axis.

    Args:
      values: what `jacobian_singular_values` measured, ``(T, *batch, n)``; drawn are the
        largest, the median and the smallest of all rows. What is exactly 0 is left out.
      axes: where to draw; those of a new figure if None.
      bound: on the largest, such as entry 1 of `vanishing_bound`.

    Returns:
      The axes.

    Raises:
      ImportError: if matplotlib is not installed.

    Example:
      >>> import jaxrnn
      >>> axes = jaxrnn.analysis.plot_singular_values([[0.9, 0.1], [0.8, 0.2]], bound=1.0)
      >>> axes.get_legend_handles_labels()[1]
      ['largest', 'median', 'smallest', 'bound']
    """
    axes = axes or _new_axes()
    rows = np.asarray(values, np.float64)
    rows = rows.reshape(len(rows), -1)
    for label, of in (("largest", np.max), ("median", np.median), ("smallest", np.min)):
        axes.plot(of(rows, axis=1), label=label)
    if bound is not None:
        axes.axhline(bound, color="0.4", linestyle="--", label="bound")
    axes.set_yscale("log")
    return _finish(axes, "step", "singular values of the step")
