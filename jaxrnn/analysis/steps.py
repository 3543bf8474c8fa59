"""What happens in every step of a trajectory: its gates and its Jacobian."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.analysis.gradients import start
from jaxrnn.base import Array, Carry, Cell, Layer, Params, PyTree
from jaxrnn.learning.influence import flat_cell
from jaxrnn.learning.losses import check_sequence
from jaxrnn.loops import once
from jaxrnn.steps import Steps, pre_activations
from jaxrnn.unroll import scan

__all__ = ["gate_traces", "jacobian_singular_values"]


def _before(cell: Cell, params: Params, xs: Array, carry: Carry) -> Carry:
    """The carry before every step."""
    *_, carries = scan(cell, params, xs, carry, return_carries=True)
    shift = lambda first, after: jnp.concatenate([first[None], after[:-1]])  # noqa: E731
    return jax.tree.map(shift, carry, carries)


def gate_traces(cell: Cell, params: Params, xs: Array, carry: Carry | None = None) -> PyTree:
    """The activations of a cell's gates at every step.

    A cell shows its gates by its field ``gates``, which its update itself goes by. They are
    rebuilt for all steps at once from the trajectory.

    Args:
      cell: a `Cell` with gates, or a `jaxrnn.stack` of such cells.
      params: its parameters.
      xs: ``(T, *batch, D)``, T ≥ 1.
      carry: the initial carry, zeros if None.

    Returns:
      A NamedTuple of ``(T, *batch, H)``, with None for a gate that the cell lacks; for a stack a
      tuple of them. An LSTM has `jaxrnn.cells.LSTMGates` (i, f, g, o), a GRU
      `jaxrnn.cells.GRUGates` (r, z, n), candidates included.

    Raises:
      TypeError: for something that is not a `Cell`, or a wrong dtype or structure.
      ValueError: for a cell without gates, a wrong shape, or no steps.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> traces = jaxrnn.analysis.gate_traces(jaxrnn.lstm, params, jax.numpy.zeros((7, 2, 3)))
      >>> traces.f.shape, float(traces.f[0, 0, 0])  # the forget bias is 1
      ((7, 2, 5), 0.7311)
    """
    xs, initial = start(cell, params, xs, carry)
    if isinstance(cell, Layer):
        traces = []
        for part, mine, first in zip(cell.parts, params, initial, strict=True):
            traces.append(gate_traces(part, mine, xs, first))
            _, xs = scan(part, mine, xs, first)
        return tuple(traces)
    if cell.gates is None:
        raise ValueError(f"cell: expected one with gates, got {cell.name!r}, which shows none")
    before = _before(cell, params, xs, initial)
    return cell.gates(params, before, pre_activations(cell, params, Steps(xs), before))


def jacobian_singular_values(
    cell: Cell, params: Params, xs: Array, carry: Carry | None = None
) -> Array:
    r"""Singular values of the Jacobian of every step along a trajectory.

    .. math:: \sigma_1 \ge \sigma_2 \ge \ldots \text{ of }
              \frac{\partial s_t}{\partial s_{t-1}}, \qquad t = 1 \ldots T

    What a gradient is stretched or shrunk by on its way back through one step; that of k steps
    is at most the product of the largest. The state s is the whole carry, an LSTM's h and c
    side by side. For an Elman network see also `vanishing_bound`.

    Args:
      cell: a `Cell`; its rows must not depend on each other.
      params: its parameters.
      xs: ``(T, *batch, D)``, T ≥ 1.
      carry: the initial carry, zeros if None.

    Returns:
      ``(T, *batch, n)``, descending, n the size of the carry of one row.

    Raises:
      TypeError: for something that is not a `Cell`, or a wrong dtype or structure.
      ValueError: for a wrong shape, or no steps.

    Source: Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of
    learning in deep linear neural networks, arXiv:1312.6120, for looking at all of them.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.make_elman(activation="identity")
      >>> kernel = jnp.array([[0.0, 2.0], [-0.5, 0.0]])
      >>> params = jaxrnn.ElmanParams(jnp.ones((1, 2)), kernel, jnp.zeros(2))
      >>> jaxrnn.analysis.jacobian_singular_values(cell, params, jnp.ones((3, 1)))[0].tolist()
      [2.0, 0.5]
    """
    xs, _, _ = check_sequence(cell, xs)
    return once(partial(_jacobian_singular_values, cell), params, xs, carry)


def _jacobian_singular_values(cell: Cell, params: Params, xs: Array, carry: Carry | None) -> Array:
    xs, initial = start(cell, params, xs, carry)
    before = _before(cell, params, xs, initial)
    flat = flat_cell(cell, params)

    def of_row(s: Array, x: Array) -> Array:
        jacobian = jax.jacfwd(lambda s: flat.step(params, s, x))(s)
        return jnp.linalg.svd(jacobian, compute_uv=False)

    of_step = of_row
    for _ in xs.shape[1:-1]:
        of_step = jax.vmap(of_step)
    return lax.map(lambda step: of_step(*step), (flat.flatten(before), xs))
