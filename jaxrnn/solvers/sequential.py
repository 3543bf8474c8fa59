"""One step after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from jax import lax

from jaxrnn.checks import check_positive
from jaxrnn.solvers.solver import Solver

__all__ = ["sequential"]


def sequential(*, unroll: int = 1) -> Solver:
    """The solver that takes one step after the other, a `jax.lax.scan`.

    Args:
      unroll: steps per iteration of the loop.

    Returns:
      A `Solver`, for `jaxrnn.scan`.

    Raises:
      TypeError: for an `unroll` that is not an int.
      ValueError: for one below 1.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 3))
      >>> h, ys = jaxrnn.scan(jaxrnn.gru, params, xs, solver=jaxrnn.sequential(unroll=2))
      >>> ys.shape
      (7, 5)
    """
    check_positive("unroll", unroll)
    return _sequential(int(unroll))


@lru_cache(maxsize=64)  # one object for equal arguments: compiled code is found by it
def _sequential(unroll: int) -> Solver:
    def solve(
        advance: Callable[[Any, Any], Any], initial: Any, steps: Any, reverse: bool
    ) -> tuple[Any, Any]:
        def body(state: Any, step: Any) -> tuple[Any, Any]:
            state = advance(state, step)
            return state, state

        return lax.scan(body, initial, steps, reverse=reverse, unroll=unroll)

    return Solver("sequential", solve, solve)
