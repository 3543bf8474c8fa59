"""What a solver is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Solver"]


class Solver(NamedTuple):
    r"""How the two systems of an unrolled cell are solved.

    The trajectory, :math:`s_t = F_t(s_{t-1})`, and its linearisation,
    :math:`v_t = A_t v_{t-1} + b_t`, which is transposed in reverse mode. Both functions are
    given ``(advance, initial, steps, reverse)``: ``advance(state, steps[t])`` is the next state,
    `steps` a pytree with leading time axes, of a chunk of the sequence; and return
    ``(last, states)``.

    Attributes:
      name: how errors call it.
      solve: the trajectory.
      linear: the linearised system. It is differentiated and transposed like any function.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> solver = jaxrnn.sequential()
      >>> solver.solve(lambda s, x: 0.5 * s + x, jnp.zeros(()), jnp.ones(3), False)[1].tolist()
      [1.0, 1.5, 1.75]
    """

    name: str
    solve: Callable[..., tuple[Any, Any]]
    linear: Callable[..., tuple[Any, Any]]
