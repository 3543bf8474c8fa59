"""Parallel in time, for cells that are linear in their state."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
from jax import lax

from jaxrnn.base import Array, Cell, Matrix
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_positive
from jaxrnn.solvers.solver import Solver
from jaxrnn.solvers.systems import Tangents, Trajectory

__all__ = ["associative", "prefixes"]

WINDOW_BYTES = 256 << 20  # of the pairs of a window, which an associative scan holds twice


def associative(*, window: int | None = None) -> Solver:
    r"""The solver that is parallel in time, for cells that are linear in their state.

    .. math::
        s_t = a_t \odot s_{t-1} + b_t, \qquad
        (a_2, b_2) \circ (a_1, b_1) = (a_2 \odot a_1,\; a_2 \odot b_1 + b_2)

    The composition is associative, so all states are found in about :math:`2 \log_2 T` rounds of
    work instead of T steps (`jax.lax.associative_scan`), and the tangents and adjoints alike. A
    skipped step is the pair (1, 0), one that restarts (0, s₀). Where a is a matrix
    (`jaxrnn.base.Matrix`) products are matrix products. Half types are accumulated in float32.

    A sequence is solved window by window, a carry between them, so that memory is bounded.

    Args:
      window: steps to solve for at once; if None, as many as 256 MiB of pairs hold. The `chunk` of
        `jaxrnn.scan` says the same for one call.

    Returns:
      A `jaxrnn.solvers.Solver`, for `jaxrnn.scan`, which raises ValueError with it for a cell
      without `coefficients`.

    Raises:
      TypeError: for a `window` that is not an int.
      ValueError: for one below 1.

    Source: Blelloch (1990), Prefix sums and their applications; Martin and Cundy (2018),
    Parallelizing linear recurrent neural nets over sequence length, arXiv:1709.04057.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> decay = jaxrnn.Cell(
      ...     name="decay",
      ...     init=lambda key, input_size, hidden_size, *, dtype=jnp.float32: jnp.full(3, 0.5),
      ...     carry=lambda params, batch_shape=(): jnp.zeros((*batch_shape, 3)),
      ...     project=lambda params, x: x,
      ...     recurrent=lambda params, s: None,
      ...     update=lambda params, s, z: params * s + z,
      ...     coefficients=lambda params, z: (params, z))
      >>> solver = jaxrnn.associative()
      >>> s, ys = jaxrnn.scan(decay, jnp.full(3, 0.5), jnp.ones((4, 3)), solver=solver)
      >>> s.tolist()
      [1.875, 1.875, 1.875]
    """
    if window is not None:
        check_positive("window", window)
    return _associative(None if window is None else int(window))


@lru_cache(maxsize=64)
def _associative(window: int | None) -> Solver:
    def steps(z: Any, state: Any, rank: int, time: Any) -> int | None:
        if window is not None:
            return window
        sizes = [leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)]
        if not all(isinstance(size, int) for size in sizes):
            return None
        return max(1, WINDOW_BYTES // max(2 * sum(sizes), 1))

    return Solver("associative", _solve, _linear, steps, _check)


def _check(cell: Cell) -> None:
    if cell.coefficients is None:
        raise ValueError(
            f"solver: expected a cell that is linear in its state, got {cell.name!r}, which has "
            "no coefficients; jaxrnn.newton() solves any"
        )


def _solve(system: Trajectory) -> tuple[Any, Any, None]:
    like, structure = jax.tree.flatten(system.initial)
    a, b = system.coefficients()
    first = -1 if system.reverse else 0
    b = [_enter(*each, first) for each in zip(a, b, like, strict=True)]
    states = structure.unflatten(_states(a, b, like, system.reverse))
    return _last(states, system.reverse), states, None


def _linear(system: Tangents) -> tuple[Any, Any]:
    states = _states(system.coefficients(), system.right(), system.initial, system.reverse)
    return _last(states, system.reverse), states


def _enter(a: Any, b: Array, s: Array, first: int) -> Array:
    """Every b, what the state before the first step adds to it included."""
    s = s.astype(b.dtype)
    return b.at[first].add(a.entries[first] @ s if isinstance(a, Matrix) else a[first] * s)


def _last(states: Any, reverse: bool) -> Any:
    return jax.tree.map(lambda leaf: leaf[0 if reverse else -1], states)


def _states(a: list[Any], b: list[Array], like: list[Array], reverse: bool) -> list[Array]:
    found = [prefixes(*each, reverse) for each in zip(a, b, strict=True)]
    return [leaf.astype(s.dtype) for leaf, s in zip(found, like, strict=True)]


def prefixes(a: Any, b: Array, reverse: bool = False) -> Array:
    r"""All states of :math:`s_t = a_t \odot s_{t-1} + b_t` from :math:`s_0 = 0`.

    Args:
      a: ``(T, ...)``, or a `jaxrnn.base.Matrix` of ``(T, ..., K, K)``.
      b: ``(T, ...)``, with a matrix ``(T, ..., K, V)``.
      reverse: whether the last comes first.

    Returns:
      ``(T, ...)``, accumulated in float32 for half types.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.solvers.associative import prefixes
      >>> prefixes(jnp.full(3, 0.5), jnp.ones(3)).tolist()
      [1.0, 1.5, 1.75]
    """
    matrix = isinstance(a, Matrix)
    a = a.entries if matrix else a
    a, b = (leaf.astype(wide(leaf.dtype)) for leaf in (a, b))

    def after(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        (a1, b1), (a2, b2) = first, then
        if matrix:
            return a2 @ a1, a2 @ b1 + b2
        return a2 * a1, a2 * b1 + b2

    return lax.associative_scan(after, (a, b), reverse=reverse)[1]
