"""How fast two trajectories part."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.analysis.gradients import start
from jaxrnn.base import Array, Carry, Cell, Params
from jaxrnn.checks import check_size
from jaxrnn.learning.influence import flat_cell
from jaxrnn.loops import once

__all__ = ["lyapunov_exponent"]


def lyapunov_exponent(
    cell: Cell, params: Params, xs: Array, carry: Carry | None = None, *, warmup: int = 0
) -> Array:
    r"""The largest Lyapunov exponent of a cell along a trajectory, per step.

    .. math::
        \lambda = \frac1{T - \tau} \sum_{t = \tau + 1}^{T}
        \log \lVert J_t\, u_{t-1} \rVert, \qquad
        u_t = \frac{J_t\, u_{t-1}}{\lVert J_t\, u_{t-1} \rVert}, \qquad
        J_t = \frac{\partial s_t}{\partial s_{t-1}}

    Negative: what differs in the state is forgotten, by a factor :math:`e^\lambda` a step.
    Positive: it grows, and the trajectory is chaotic. The further below 0, the fewer iterations
    `jaxrnn.newton` takes; above 0 it takes about T.

    Args:
      cell: a `Cell`; its rows must not depend on each other.
      params: its parameters.
      xs: ``(T, *batch, D)``.
      carry: the initial carry, zeros if None.
      warmup: τ, the steps in which u turns to where most growth is, not counted.

    Returns:
      ``(*batch,)``; −∞ where a step forgets everything.

    Raises:
      TypeError: for something that is not a `Cell`, or a wrong dtype or structure.
      ValueError: for a wrong shape, or a warmup that leaves no steps.

    Source: Benettin, Galgani, Giorgilli and Strelcyn (1980), Lyapunov characteristic exponents;
    for what it says of parallel solvers, Gonzalez et al. (2025), Predictability enables
    parallelization of nonlinear state space models, arXiv:2508.16817.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.make_elman(activation="identity")
      >>> kernel = jnp.array([[0.5, 1.0], [0.0, 0.25]])
      >>> params = jaxrnn.ElmanParams(jnp.ones((1, 2)), kernel)
      >>> xs = jnp.ones((60, 1))
      >>> float(jnp.exp(jaxrnn.analysis.lyapunov_exponent(cell, params, xs, warmup=20)))
      0.5
    """
    check_size("warmup", warmup, 0)
    xs, initial = start(cell, params, xs, carry)
    if warmup >= xs.shape[0]:
        raise ValueError(f"warmup: expected fewer than T={xs.shape[0]} steps, got {warmup}")
    return once(partial(_exponent, cell, int(warmup)), params, xs, initial)


def _exponent(cell: Cell, warmup: int, params: Params, xs: Array, carry: Carry) -> Array:
    flat = flat_cell(cell, params)
    s = flat.flatten(carry)
    # Not a vector of equal numbers, which is an eigenvector of too much.
    u = jnp.cos(jnp.arange(1, s.shape[-1] + 1, dtype=s.dtype))
    u = jnp.broadcast_to(u / jnp.linalg.norm(u), s.shape)

    def body(state: tuple[Array, Array], x: Array) -> tuple[Any, Array]:
        s, u = state
        s, moved = jax.jvp(lambda s: flat.step(params, s, x), (s,), (u,))
        size = jnp.linalg.norm(moved, axis=-1, keepdims=True)
        return (s, moved / jnp.where(size == 0, 1, size)), jnp.log(size[..., 0])

    growth = lax.scan(body, (s, u), xs)[1]
    return growth[warmup:].mean(0)
