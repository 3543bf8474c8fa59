"""One step after the other."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
from jax import lax

from jaxrnn.checks import check_positive
from jaxrnn.solvers.solver import Solver
from jaxrnn.solvers.systems import Tangents, Trajectory

__all__ = ["loop", "sequential"]

WINDOW_BYTES = 2 << 20  # projected inputs of a window stay in a core's second-level cache
WINDOW_MAX = 40  # a batch that `vmap` adds is not seen, so windows must be modest anyway


def sequential(*, unroll: int = 1) -> Solver:
    """The solver that takes one step after the other, a `jax.lax.scan`.

    Args:
      unroll: steps per iteration of the loop.

    Returns:
      A `jaxrnn.solvers.Solver`, for `jaxrnn.scan`.

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
    def solve(system: Trajectory) -> tuple[Any, Any, None]:
        return *loop(system, unroll), None

    def linear(system: Tangents) -> tuple[Any, Any]:
        return loop(system, unroll)

    return Solver("sequential", solve, linear, _window, stepwise=True)


def loop(system: Trajectory | Tangents, unroll: int = 1) -> tuple[Any, Any]:
    """``(last, states)`` of a system, step by step.

    Args:
      system: the system.
      unroll: steps per iteration.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> from jaxrnn.solvers import Trajectory
      >>> from jaxrnn.solvers.sequential import loop
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> z = jaxrnn.elman.project(params, jnp.ones((7, 3)))
      >>> loop(Trajectory(jaxrnn.elman, params, jnp.zeros(5), None, z))[1].shape
      (7, 5)
    """

    def body(state: Any, step: Any) -> tuple[Any, Any]:
        state = system.advance(state, step)
        return state, state

    options: dict[str, Any] = {"reverse": system.reverse, "unroll": unroll}
    if not jax.tree.leaves(system.steps):  # otherwise they say it, symbolic sizes too
        options["length"] = system.time
    return lax.scan(body, system.initial, system.steps, **options)


def _window(z: Any, state: Any, rank: int, time: Any) -> int | None:
    """Projected inputs that fit the cache, dividing T where that can be."""
    sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(z)]
    if not all(isinstance(size, int) for size in (*sizes, time)):
        return None  # of a symbolic shape nothing can be said
    most = min(WINDOW_MAX, WINDOW_BYTES // max(sum(sizes), 1), time)
    divisors = [n for n in range(max(1, most // 2), most + most // 8 + 1) if time % n == 0]
    return min(divisors, key=lambda n: abs(n - most), default=max(1, most))
