r"""The trajectory of a cell, and its derivative, once for every cell.

The carries of an unrolled network solve a bidiagonal system, :math:`s_t = F(s_{t-1}, x_t)` for
all t. Who solves it is a choice, a `jaxrnn.solvers.Solver`; the derivative does not care. By the
implicit function theorem the tangents solve the linearised system, whose coefficients at all time
steps are known once the trajectory is:

.. math::
    dz_t &= d\,\mathrm{project}_t + (dR)\, s_{t-1} \\
    v_t  &= D_t\, v_{t-1} + E_t\, (dz_t + R\, v_{t-1})
            + (\partial_\theta\,\mathrm{update}_t)\, d\theta

where :math:`D_t` and :math:`E_t` are the derivatives of the cell's update by the state and by z,
and R is the recurrent map. So

- gates and derivatives are rebuilt in bulk, for a chunk of steps at once, from the carries, the
  only thing stored;
- :math:`(dR)\, s_{t-1}` is one product over all steps of a chunk, and so is its transpose, the
  weight gradient;
- what is left in the loop is the linear recurrence: one product and a few multiply-adds.

Forward mode is this system, reverse mode is its transpose, and higher orders differentiate it,
and the trajectory in it by the same rule; nothing is a special case.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero

from jaxrnn.base import Array, Carry, Cell, Params, PyTree
from jaxrnn.solvers import Solver, Status, Tangents, Trajectory
from jaxrnn.solvers.systems import pairs
from jaxrnn.steps import Steps, before, begin, divide, linearize, perturbed, project

__all__ = ["TRAJECTORY", "by_chunk", "trajectory"]

TRAJECTORY = "jaxrnn_trajectory"
"""The checkpoint name of the carries, for `jax.checkpoint` policies."""

tree_map = jax.tree.map


def by_chunk(
    f: Callable[..., Any],
    carry: PyTree,
    steps: PyTree,
    starts: PyTree,
    size: int | None,
    reverse: bool,
) -> tuple[PyTree, PyTree]:
    """`lax.scan` of ``f(carry, steps, start)`` over chunks, of which the last may be shorter.

    Args:
      f: from the carry and the steps of a chunk, and what `starts` has for it, to the next carry
        and outputs for each step.
      carry: the first.
      steps: leaves ``(T, ...)``.
      starts: leaves ``(number of chunks, ...)``.
      size: steps per chunk; one chunk if None.
      reverse: whether the last chunk comes first.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.trajectory import by_chunk
      >>> f = lambda carry, steps, start: (carry + steps.sum(), steps * carry)
      >>> by_chunk(f, 1, jnp.arange(5), None, 2, False)[1].tolist()
      [0, 1, 4, 6, 28]
    """
    if size is None:
        return f(carry, steps, _at(starts, 0))
    time = jax.tree.leaves(steps)[0].shape[0]
    count, whole = time // size, time - time % size

    def main(carry: PyTree) -> tuple[PyTree, PyTree]:
        if count == 1:
            return f(carry, tree_map(lambda leaf: leaf[:size], steps), _at(starts, 0))
        split = lambda leaf: leaf[:whole].reshape(count, size, *leaf.shape[1:])  # noqa: E731
        chunks = tree_map(split, steps), tree_map(lambda leaf: leaf[:count], starts)
        last, out = lax.scan(lambda carry, chunk: f(carry, *chunk), carry, chunks, reverse=reverse)
        return last, tree_map(lambda leaf: leaf.reshape(whole, *leaf.shape[2:]), out)

    if whole == time:
        return main(carry)
    rest = tree_map(lambda leaf: leaf[whole:], steps), _at(starts, -1)
    if reverse:
        carry, tail = f(carry, *rest)
        carry, head = main(carry)
    else:
        carry, head = main(carry)
        carry, tail = f(carry, *rest)
    return carry, tree_map(lambda a, b: jnp.concatenate([a, b]), head, tail)


def _at(tree: PyTree, k: int) -> PyTree:
    return tree_map(lambda leaf: leaf[k], tree)


def _flags(flags: PyTree, carry: Carry) -> PyTree:
    """The flags of a carry, for the list of its leaves that can be differentiated."""
    if flags is None or hasattr(flags, "shape"):
        return flags
    pairs = zip(
        jax.tree.leaves(jax.tree.broadcast(flags, carry)), jax.tree.leaves(carry), strict=True
    )
    return [flag for flag, leaf in pairs if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def trajectory(
    cell: Cell,
    params: Params,
    initial: Carry,
    again: Carry,
    steps: Steps,
    *,
    solver: Solver,
    reverse: bool = False,
    chunk: int | None = None,
    guess: Carry | None = None,
) -> tuple[Carry, Carry, Status | None]:
    """The last carry and every carry of a sequence of steps.

    As a Python loop, for ``reverse=False``::

        carry = initial
        for t in range(T):
            held = where(reset[t], again, carry)
            z = project(params, xs[t]) + recurrent(params, held)
            carries[t] = carry = where(valid[t], update(params, held, z), held)

    Args:
      cell: the cell.
      params: its parameters.
      initial: the carry before the first step.
      again: the carry that a reset restarts from; anything where there are no resets.
      steps: inputs and flags of at least one step.
      solver: who solves for the carries, and for their tangents.
      reverse: run from the last step to the first.
      chunk: steps per chunk, fewer than there are; one chunk if None.
      guess: a guess of the carries, for a solver that makes use of it.

    Returns:
      ``(carry, carries, status)``: the last carry, every one with a leading time axis, and how
      the solver fared, None for one without iterations.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.steps import Steps
      >>> from jaxrnn.trajectory import trajectory
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> h = jaxrnn.gru.carry(params)
      >>> h, hs, _ = trajectory(jaxrnn.gru, params, h, h, Steps(jax.numpy.ones((7, 3))),
      ...                       solver=jaxrnn.sequential())
      >>> h.shape, hs.shape
      ((5,), (7, 5))
    """
    lead = jax.tree.leaves(steps.xs)[0]
    rank = lead.ndim - 1 - cell.axes
    parts = [divide(tree) for tree in (params, initial, again, steps.xs)]
    joins = [part.join for part in parts]  # and no values: what is defined below refers to itself
    state = joins[1]

    def join(floats: list[list[Any]], rest: tuple[Any, ...]) -> tuple[Any, ...]:
        trees = zip(joins, floats, rest[0], strict=True)
        params, initial, again, xs = (join(mine, others) for join, mine, others in trees)
        return params, initial, again, Steps(xs, *rest[1]), rest[2]

    @jax.custom_jvp
    def solve(floats: list[list[Any]], rest: tuple[Any, ...]) -> tuple[Any, ...]:
        params, initial, again, steps, guess = join(floats, rest)

        def piece(carry: Carry, part: tuple[Steps, Carry], start: None) -> tuple[Carry, Any]:
            steps, guess = part
            z = project(cell, params, steps)
            flags = steps.valid, steps.reset, reverse, rank
            system = Trajectory(cell, params, carry, again, z, *flags, guess)
            last, carries, status = solver.solve(system)
            return last, (carries, _spread(status, carries))

        last, (carries, each) = by_chunk(piece, initial, (steps, guess), None, chunk, reverse)
        status = None if each is None else Status.of_windows(each)
        return (*divide(last)[:2], *divide(carries)[:2], _numbers(status))

    @partial(solve.defjvp, symbolic_zeros=True)
    def rule(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        last, last_rest, carries, carries_rest, status = solve(*primals)
        last, carries = checkpoint_name((last, carries), TRAJECTORY)
        params, initial, again, steps, _ = join(*primals)
        every = state(carries, carries_rest)
        dparams, dinitial, dagain, dxs = map(_tangent, tangents[0], primals[0])
        zeros = [jnp.zeros_like(leaf) for leaf in primals[0][1]]
        dinitial, dagain = (zeros if dot is None else dot for dot in (dinitial, dagain))

        def piece(v: list[Array], part: tuple[Any, ...], start: Carry) -> tuple[Any, Any]:
            steps, dxs, carries = part
            held = begin(start, again, carries, steps, reverse)
            z, dz = perturbed(cell, params, held, steps, dparams, dxs)
            system = linearize(cell, params, held, z, dz, dparams)
            maps = None
            if cell.coefficients is not None:
                maps = partial(_maps, cell, params, steps, initial)
            flags = _flags(steps.valid, initial), _flags(steps.reset, initial)
            time = jax.tree.leaves(carries)[0].shape[0]
            return solver.linear(Tangents(system, time, v, dagain, *flags, reverse, rank, maps))

        if chunk is not None:  # what is rebuilt for one chunk is not kept for the others
            piece = jax.checkpoint(
                piece, policy=jax.checkpoint_policies.nothing_saveable, prevent_cse=False
            )
        first = before(initial, every, reverse, chunk)
        v, vs = by_chunk(piece, dinitial, (steps, dxs, every), first, chunk, reverse)
        solution = last, last_rest, carries, carries_rest, status
        return solution, (
            v,
            _nothing(last_rest),
            vs,
            _nothing(carries_rest),
            tree_map(jnp.zeros_like, status),
        )

    floats = [part.floats for part in parts]
    rest = [part.rest for part in parts], tuple(steps[1:]), lax.stop_gradient(guess)
    last, last_rest, carries, carries_rest, status = solve(floats, rest)
    return state(last, last_rest), state(carries, carries_rest), _status(status)


def _spread(status: Status | None, carries: Carry) -> Status | None:
    """That of one window, for every step of it: its iterations in the first."""
    if status is None:
        return None
    time = jax.tree.leaves(carries)[0].shape[0]
    first = jnp.arange(time) == 0
    each: list[Any] = [jnp.broadcast_to(leaf, (time,)) for leaf in status]
    wide = Status(each[0], each[1], each[2])
    return wide._replace(iterations=jnp.where(first, wide.iterations, 0))


def _maps(cell: Cell, params: Params, steps: Steps, like: Carry) -> list[Any]:
    """The A of a cell that is linear in its state, for the leaves that can be differentiated."""
    each = zip(
        pairs(cell, params, project(cell, params, steps), like)[0],
        jax.tree.leaves(like),
        strict=True,
    )
    return [a for a, leaf in each if jnp.issubdtype(leaf.dtype, jnp.inexact)]


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, SymbolicZero)


def _tangent(tangents: list[Any], primals: list[Any]) -> list[Array] | None:
    """None where nothing is perturbed, else with zeros for what is not."""
    if all(map(_is_zero, tangents)):
        return None
    pairs = zip(tangents, primals, strict=True)
    return [jnp.zeros_like(x) if _is_zero(t) else t for t, x in pairs]


def _nothing(leaves: list[Any]) -> list[Any]:
    """The tangents of what has none."""
    return [np.zeros(leaf.shape, jax.dtypes.float0) for leaf in leaves]


def _numbers(status: Status | None) -> list[Array] | None:
    """A status in floating-point numbers, which have tangents on any devices."""
    return None if status is None else [leaf.astype(jnp.float32) for leaf in status]


def _status(numbers: list[Array] | None) -> Status | None:
    """The status again."""
    if numbers is None:
        return None
    count, residual, found = numbers
    return Status(count.astype(jnp.int32), residual, found > 0)
