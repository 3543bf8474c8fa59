"""Parallel in time, for any cell: Newton's method on the whole trajectory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.base import Array
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_choice, check_positive, check_real
from jaxrnn.solvers.layouts import Layout, solve_linear
from jaxrnn.solvers.sequential import loop
from jaxrnn.solvers.solver import Solver, Status
from jaxrnn.solvers.systems import Tangents, Trajectory

__all__ = ["newton"]

WINDOW_BYTES = 256 << 20  # of the Jacobians of a window, of which a few copies are held
ITERATIONS = {"dense": 30, "units": 100}
SLACK = 1.001  # what rounding may add to a bound

tree_map = jax.tree.map


def newton(
    *,
    jacobian: Literal["dense", "units"] = "dense",
    tolerance: float | None = None,
    max_iterations: int | None = None,
    damping: float = 0.0,
    clip: float | None = None,
    window: int | None = None,
    fallback: Literal["sequential", "nan"] = "sequential",
) -> Solver:
    r"""The solver that is parallel in time for any cell: Newton's method on the trajectory.

    .. math::
        r_t &= s_t - F_t(s_{t-1}), \qquad
        A_t \approx \partial F_t / \partial s_{t-1} \\
        \delta_t &= A_t\, \delta_{t-1} - r_t, \qquad s_t \leftarrow s_t + \delta_t

    Every iteration linearises all steps at once and solves the linear system by an associative
    scan, in about :math:`2 \log_2 T` rounds of matrix products. It stops when
    :math:`\max_t |r_t| \le \mathrm{tolerance}\,(1 + \max_t |s_t|)`. After i iterations the first i
    states are right whatever the others are; what is not finite begins again from the start; and
    guesses are kept within the `bounds` that a cell declares for its state.

    Where the largest Lyapunov exponent of the trajectory (`jaxrnn.analysis.lyapunov_exponent`) is
    clearly negative, a handful of iterations do; where it is positive, about T, and the solver
    falls back. The derivative is exact whatever the Jacobian: with ``"dense"`` its linear system is
    solved by the same scan, with ``"units"`` to tolerance, by iterations with the same blocks.

    It pays on accelerators, for long sequences and small states: ``"dense"`` multiplies
    n × n matrices, n the size of the state. On a CPU `jaxrnn.sequential` is faster.

    Args:
      jacobian: ``"dense"``, or ``"units"``: only the blocks within a unit, the k numbers that the
        leaves of the carry hold for it. Exact for cells whose recurrence is diagonal; for others
        it needs more iterations and far less memory.
      tolerance: of the residual; 1e-13 in float64 and 2e-6 in float32 if None.
      max_iterations: in a window; 30 for ``"dense"``, 100 for ``"units"`` if None.
      damping: in [0, 1); A is multiplied by 1 − damping. More iterations where it was easy.
      clip: the largest magnitude of an entry of A, for ``"units"``; 1 helps diagonal cells with
        large weights.
      window: steps to solve for at once, one window after the other, each from the last state of
        the one before: the remedy for long and for chaotic sequences. As many as 256 MiB of
        Jacobians hold if None. The `chunk` of `jaxrnn.scan` says the same for one call.
      fallback: what a window that did not converge is replaced by: ``"sequential"``, the right
        states, or ``"nan"``.

    Returns:
      A `jaxrnn.solvers.Solver`, for `jaxrnn.scan`, which takes a `guess` of the carries with it and
      says by `return_status` how it fared. Under `jax.vmap` the fallback is computed whether it is
      needed or not.

    Raises:
      TypeError: for an argument of another type.
      ValueError: for one out of range, or `clip` with ``"dense"``; from `jaxrnn.scan`, for
        ``"units"`` and a carry whose leaves differ in shape.

    Source: Lim et al. (2024), Parallelizing non-linear sequential models over the sequence length,
    arXiv:2309.12252, and Danieli et al. (2023), DeepPCR, arXiv:2309.16318, for the method; Gonzalez
    et al. (2024), Towards scalable and stable parallelization of nonlinear RNNs, arXiv:2407.19115,
    for approximate Jacobians and the states that are right whatever happens.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> xs = jax.random.normal(jax.random.key(1), (50, 3))
      >>> h, ys, status = jaxrnn.scan(
      ...     jaxrnn.gru, params, xs, solver=jaxrnn.newton(), return_status=True)
      >>> bool(status.converged), bool(status.iterations < 10)
      (True, True)
      >>> bool(jnp.allclose(ys, jaxrnn.scan(jaxrnn.gru, params, xs)[1], atol=1e-5))
      True
    """
    check_choice("jacobian", jacobian, tuple(ITERATIONS))
    check_choice("fallback", fallback, ("sequential", "nan"))
    if max_iterations is None:
        max_iterations = ITERATIONS[jacobian]
    check_positive("max_iterations", max_iterations)
    if window is not None:
        check_positive("window", window)
    for name, value in (("tolerance", tolerance), ("clip", clip)):
        if value is not None:
            check_real(name, value, above=0)
    check_real("damping", damping, least=0, below=1)
    if clip is not None and jacobian == "dense":
        raise ValueError('clip: expected it only with jacobian="units", got jacobian="dense"')
    return _newton(
        jacobian == "units",
        None if tolerance is None else float(tolerance),
        int(max_iterations),
        float(damping),
        None if clip is None else float(clip),
        None if window is None else int(window),
        fallback == "nan",
    )


@lru_cache(maxsize=64)
def _newton(
    units: bool,
    tolerance: float | None,
    most: int,
    damping: float,
    clip: float | None,
    window: int | None,
    fail: bool,
) -> Solver:
    def within(dtype: Any) -> float:
        if tolerance is not None:
            return tolerance
        return 1e-13 if dtype == jnp.float64 else 2e-6

    def matrices(layout: Layout, system: Tangents) -> Array:
        a = layout.matrices(system) * (1 - damping)
        return a if clip is None else jnp.clip(a, -clip, clip)

    def solve(system: Trajectory) -> tuple[Any, Any, Status]:
        given = system.initial
        system = _widened(system)
        leaves, structure = jax.tree.flatten(system.initial)
        layout = Layout.of(leaves, system.rank, units)
        time = system.time
        pack = lambda tree: layout.pack(jax.tree.leaves(tree))  # noqa: E731
        unpack = lambda s: structure.unflatten(layout.unpack(s))  # noqa: E731
        start = pack(system.initial)
        start = jnp.broadcast_to(start, (time, *start.shape))
        box = _box(system, layout, time)
        tol = within(start.dtype)

        def every(s: Array) -> Array:
            return pack(system.every(system.before(unpack(s))))

        def settled(s: Array) -> Array:
            s = jnp.where(jnp.isfinite(s), s, start)
            return s if box is None else jnp.clip(s, -box, box)

        def measured(s: Array, count: Any) -> tuple[Array, Array, Array, Any]:
            r = s - every(s)
            return s, r, jnp.max(jnp.abs(r)) / (1 + jnp.max(jnp.abs(s))), count

        def more(state: tuple[Array, Array, Array, Any]) -> Array:
            return ~(state[2] <= tol) & (state[3] < most)

        def iterate(state: tuple[Array, Array, Array, Any]) -> tuple[Array, Array, Array, Any]:
            s, r, _, count = state
            a = matrices(layout, system.tangents(unpack(s)))
            return measured(settled(s + layout.scan(a, -r, system.reverse)), count + 1)

        first = every(start) if system.guess is None else pack(system.guess)
        state = measured(settled(first.astype(start.dtype)), jnp.int32(0))
        s, _, residual, count = lax.while_loop(more, iterate, state)
        converged = residual <= tol
        right = every(s)
        if fail:
            right = jnp.where(converged, right, jnp.nan)
        else:
            right = lax.cond(converged, lambda: right, lambda: pack(loop(system)[1]))
        states = tree_map(lambda leaf, s: leaf.astype(s.dtype), unpack(right), given)
        last = tree_map(lambda leaf: leaf[0 if system.reverse else -1], states)
        return last, states, Status(count, residual.astype(jnp.float32), converged)

    def linear(system: Tangents) -> tuple[Any, Any]:
        layout = Layout.of(system.initial, system.rank, units)
        b = layout.pack(system.right())
        if units:
            a = matrices(layout, system.homogeneous())
            v = solve_linear(layout, system, a, b, within(b.dtype), most, fail)
        else:
            v = layout.scan(layout.matrices(system.homogeneous()), b, system.reverse)
        vs = [
            leaf.astype(s.dtype) for leaf, s in zip(layout.unpack(v), system.initial, strict=True)
        ]
        return [leaf[0 if system.reverse else -1] for leaf in vs], vs

    def steps(z: Any, state: Any, rank: int, time: Any) -> int | None:
        if window is not None:
            return window
        leaves = jax.tree.leaves(state)
        if not all(isinstance(leaf.size, int) for leaf in leaves):
            return None
        size = Layout.of(leaves, rank, units).bytes
        return max(1, WINDOW_BYTES // max(size, 1))

    return Solver("newton", solve, linear, steps, guesses=True)


def _widened(system: Trajectory) -> Trajectory:
    """The system in float32 where it was in half types."""

    def one(leaf: Any) -> Any:
        floating = jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        return leaf.astype(wide(leaf.dtype)) if floating else leaf

    up = partial(tree_map, one)
    return system._replace(
        params=up(system.params),
        initial=up(system.initial),
        again=up(system.again),
        z=up(system.z),
        guess=up(system.guess),
    )


def _box(system: Trajectory, layout: Layout, time: int) -> Array | None:
    """What no part of any state can exceed in magnitude, if the cell says so."""
    bounds: Callable[..., Any] | None = system.cell.bounds
    if bounds is None:
        return None
    size = tree_map(jnp.abs, system.initial)
    if system.reset is not None:
        size = tree_map(lambda a, b: jnp.maximum(a, jnp.abs(b)), size, system.again)
    count = jnp.arange(1, time + 1, dtype=jax.tree.leaves(size)[0].dtype)
    count = count[::-1] if system.reverse else count
    most = jax.vmap(lambda t: bounds(system.params, size, t))(count)

    def whole(leaf: Array, s: Array) -> Array:
        leaf = SLACK * jnp.broadcast_to(leaf, (time, *s.shape))
        return lax.complex(leaf, leaf) if jnp.iscomplexobj(s) else leaf.astype(s.dtype)

    return layout.pack(jax.tree.leaves(tree_map(whole, most, system.initial)))
