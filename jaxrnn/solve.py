r"""The trajectory of a cell, and its derivative, once for every cell.

The carries of an unrolled network solve a bidiagonal system, :math:`s_t = F(s_{t-1}, x_t)`
for all t. `trajectory` solves it one step after the other. Its derivative does not
differentiate that loop. By the implicit function theorem the tangents solve the linearised
system, whose coefficients at all time steps are known once the trajectory is:

.. math::
    dzh_t &= R\, v_{t-1} + (dR)\, s_{t-1} \\
    v_t   &= U_t\, (v_{t-1}, dzx_t, dzh_t) + (\partial_\theta\,\mathrm{update}_t)\, d\theta

where :math:`U_t` is the derivative of the cell's update at step t. So

- gates and :math:`U_t` are rebuilt in bulk for all steps from the carries, the only thing
  stored;
- :math:`(dR)\, s_{t-1}` is one product over all steps, and its transpose, the weight
  gradient, is one product over all time and batch;
- what is left in the loop is the linear recurrence: one product and a few multiply-adds.

The linear system is an ordinary `lax.scan`, so forward mode is this system, reverse mode is
its transpose, and higher orders differentiate both; nothing is a special case.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.custom_derivatives import SymbolicZero
from jax.extend.core import Literal

from jaxrnn.typing import Array, Carry, Cell, Params, PyTree

__all__ = ["TRAJECTORY", "Steps", "select", "trajectory"]

TRAJECTORY = "jaxrnn_trajectory"
"""The checkpoint name of the carries, for `jax.checkpoint` policies."""

tree_map = jax.tree.map


class Steps(NamedTuple):
    """What the steps of a sequence are given, leaves with a leading time axis.

    Attributes:
      zx: the projected inputs.
      valid: booleans ``(T, *batch)`` or None; False leaves the carry untouched.
      reset: booleans ``(T, *batch)`` or None; True restarts from the initial carry.

    Where parts of the carry have flags of their own, they are a prefix tree of it.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.solve import Steps
      >>> Steps(jnp.ones((3, 2, 4)), None, None).zx.shape
      (3, 2, 4)
    """

    zx: PyTree
    valid: PyTree
    reset: PyTree


def select(flags: PyTree, on_true: PyTree, on_false: PyTree) -> PyTree:
    """`jnp.where` over two pytrees, the flags broadcast over trailing axes; None is all True.

    Args:
      flags: booleans with the leading axes of the leaves, or a prefix tree of such, or None.
      on_true: a pytree.
      on_false: a pytree alike.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.solve import select
      >>> select(jnp.array([True, False]), jnp.ones((2, 2)), jnp.zeros((2, 2))).tolist()
      [[1.0, 1.0], [0.0, 0.0]]
    """
    if flags is None:
        return on_true

    def one(flags: Array, a: Array, b: Array) -> Array:
        return jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    def under(flags: Array, on_true: PyTree, on_false: PyTree) -> PyTree:
        return tree_map(partial(one, flags), on_true, on_false)

    return tree_map(under, flags, on_true, on_false)


class _Output(NamedTuple):
    """How the outputs of a cell relate to its carry: most cells output a part of it."""

    structure: Any
    shared: tuple[int | None, ...]  # for each leaf of y, the carry leaf that it is
    kept: tuple[int, ...]  # the carry leaves that a step hands out

    def extra(self, y: PyTree) -> list[Array]:
        leaves = jax.tree.leaves(y)
        return [leaf for leaf, at in zip(leaves, self.shared, strict=True) if at is None]

    def pick(self, carry: Carry, extra: list[Array]) -> list[Array]:
        leaves = jax.tree.leaves(carry)
        return [leaves[at] for at in self.kept] + extra

    def join(self, picked: list[Array]) -> PyTree:
        kept = dict(zip(self.kept, picked, strict=False))
        rest = iter(picked[len(kept) :])
        return self.structure.unflatten(
            [next(rest) if at is None else kept[at] for at in self.shared]
        )


class _Facts(NamedTuple):
    """What tracing a cell's update once tells about it."""

    output: _Output
    uses_params: bool


def _first(tree: PyTree) -> PyTree:
    """The types of one time step: under `shard_map` they say more than shape and dtype."""
    return jax.eval_shape(lambda tree: tree_map(lambda leaf: leaf[0], tree), tree)


def _facts(cell: Cell, params: Params, carry: Carry, zx: PyTree, keep_all: bool) -> _Facts:
    zh = jax.eval_shape(cell.recurrent, params, carry)
    jaxpr, shapes = jax.make_jaxpr(cell.update, return_shape=True)(params, carry, zx, zh)
    size = len(jax.tree.leaves(shapes[0]))
    outvars = jaxpr.jaxpr.outvars
    carry_vars = [v for v in outvars[:size] if not isinstance(v, Literal)]
    shared = tuple(carry_vars.index(v) if v in carry_vars else None for v in outvars[size:])
    if len(carry_vars) < size:
        shared = (None,) * len(shared)
    read = [*outvars, *(v for eqn in jaxpr.jaxpr.eqns for v in eqn.invars)]
    used = {v for v in read if not isinstance(v, Literal)}
    params_vars = jaxpr.jaxpr.invars[: len(jax.tree.leaves(params))]
    kept = range(size) if keep_all else sorted({at for at in shared if at is not None})
    output = _Output(jax.tree.structure(shapes[1]), shared, tuple(kept))
    return _Facts(output, not used.isdisjoint(params_vars))


def trajectory(
    cell: Cell,
    params: Params,
    initial: Carry,
    first: Carry,
    steps: Steps,
    *,
    reverse: bool = False,
    return_carries: bool = False,
    unroll: int = 1,
) -> tuple[Carry, PyTree, Carry | None]:
    """The last carry and every output of a sequence of steps.

    As a Python loop, for ``reverse=False``::

        carry = first
        for t in range(T):
            held = carry
            carry = where(reset[t], initial, carry)
            carry, ys[t] = update(params, carry, zx[t], recurrent(params, carry))
            carries[t] = carry = where(valid[t], carry, held)

    Args:
      cell: the cell.
      params: its parameters.
      initial: the carry that a reset restarts from.
      first: the carry before the first step.
      steps: projected inputs and flags.
      reverse: run from the last step to the first.
      return_carries: whether every carry is wanted.
      unroll: steps per loop iteration.

    Returns:
      ``(carry, ys, carries)``: the last carry, and with a leading time axis the outputs, which
      are unspecified where not valid, and every carry, or None unless asked for.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.solve import Steps, trajectory
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> zx = jaxrnn.gru.project(params, jax.numpy.ones((7, 3)))
      >>> h = jaxrnn.gru.carry(params)
      >>> h, ys, _ = trajectory(jaxrnn.gru, params, h, h, Steps(zx, None, None))
      >>> h.shape, ys.shape
      ((5,), (7, 5))
    """
    facts = _facts(cell, params, first, _first(steps.zx), return_carries)
    output = facts.output
    loop = partial(lax.scan, reverse=reverse, unroll=unroll)

    def run(primals: tuple[Any, ...], keep: bool) -> tuple[Carry, tuple[Carry | None, list[Array]]]:
        params, initial, first, steps = primals

        def body(held: Carry, step: Steps) -> tuple[Carry, PyTree]:
            before = held if step.reset is None else select(step.reset, initial, held)
            carry, y = cell.update(params, before, step.zx, cell.recurrent(params, before))
            carry = select(step.valid, carry, held)
            return carry, (before if keep else None, output.pick(carry, output.extra(y)))

        return loop(body, first, steps)

    @jax.custom_jvp
    def solve(*primals: Any) -> tuple[Carry, list[Array]]:
        last, (_, picked) = run(primals, keep=False)
        return last, picked

    @partial(solve.defjvp, symbolic_zeros=True)
    def solve_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Any, Any]:
        params, initial, first, steps = primals
        last, (before, picked) = run(primals, keep=True)
        before = checkpoint_name(before, TRAJECTORY)
        system = _linearize(cell, facts, params, before, steps, tangents[0], tangents[3].zx)
        v_initial, v_first = _instantiate(tangents[1], initial), _instantiate(tangents[2], first)

        def body(held: Carry, inputs: tuple[Any, Steps]) -> tuple[Carry, PyTree]:
            coefficients, step = inputs
            v = held if step.reset is None else select(step.reset, v_initial, held)
            v, dy = system.apply(coefficients, v)
            v = select(step.valid, v, held)
            return v, output.pick(v, dy)

        tangent = loop(body, v_first, (system.coefficients, steps._replace(zx=None)))
        return (last, picked), tangent

    last, picked = solve(params, initial, first, steps)
    carries = None
    if return_carries:
        structure = jax.tree.structure(first)
        carries = structure.unflatten(picked[: structure.num_leaves])
    return last, output.join(picked), carries


class _System(NamedTuple):
    """The linearised steps: ``apply(coefficients[t], v) -> (v, dy)``."""

    coefficients: PyTree
    apply: Callable[[PyTree, Carry], tuple[Carry, list[Array]]]


def _linearize(
    cell: Cell,
    facts: _Facts,
    params: Params,
    before: Carry,
    steps: Steps,
    dparams: PyTree,
    dzx: PyTree,
) -> _System:
    """The tangent system about the carries before each step."""

    def update(params: Params, carry: Carry, zx: PyTree, zh: PyTree) -> tuple[Carry, Any]:
        carry, y = cell.update(params, carry, zx, zh)
        return carry, facts.output.extra(y)

    zh = cell.recurrent(params, before)
    perturbed = not all(isinstance(t, SymbolicZero) for t in jax.tree.leaves(dparams))
    dzh = direct = None
    if perturbed:
        dparams = _instantiate(dparams, params)
        _, dzh = jax.jvp(lambda p: cell.recurrent(p, before), (params,), (dparams,))
    if perturbed and facts.uses_params:
        at = lambda p: update(p, before, steps.zx, zh)  # noqa: E731
        _, direct = jax.jvp(at, (params,), (dparams,))
        whole = jax.eval_shape(jax.vmap(partial(update, params)), before, steps.zx, zh)
        # what is a parameter itself has no time axis
        direct = tree_map(lambda leaf, to: jnp.broadcast_to(leaf, to.shape), direct, whole)
    dzx = _instantiate(dzx, steps.zx)

    residuals, local = _linearize_each(partial(update, params), before, steps.zx, zh)
    _, through = jax.linearize(partial(cell.recurrent, params), _zeros(_first(before)))
    added = _added(local, *(_first(tree) for tree in (residuals, before, steps.zx, zh)))
    dzx, dzh = jax.tree.leaves(dzx), [None] * len(added) if dzh is None else jax.tree.leaves(dzh)
    for k, both in enumerate(added):
        if both:  # only zx + zh matters: one tangent, and one cotangent, for the two
            dzh[k], dzx[k] = dzx[k] if dzh[k] is None else dzh[k] + dzx[k], None
    zx_structure = jax.tree.structure(steps.zx)
    zx_zeros = jax.tree.leaves(_zeros(_first(steps.zx)))

    def apply(coefficients: PyTree, v: Carry) -> tuple[Carry, list[Array]]:
        residual, dzx, dzh, direct = coefficients
        dzx = [zero if d is None else d for zero, d in zip(zx_zeros, dzx, strict=True)]
        leaves, structure = jax.tree.flatten(through(v))
        leaves = [z if d is None else z + d for z, d in zip(leaves, dzh, strict=True)]
        out = local(residual, v, zx_structure.unflatten(dzx), structure.unflatten(leaves))
        return out if direct is None else tree_map(jnp.add, out, direct)

    return _System((residuals, dzx, dzh, direct), apply)


def _linearize_each(
    f: Callable[..., PyTree], *points: PyTree
) -> tuple[list[Array], Callable[..., PyTree]]:
    """Linearise f at every time step in bulk.

    Returns the residuals that vary over time, with a leading time axis, and
    ``local(residuals[t], *tangents)``. Residuals that do not (a kernel inside an update) are
    kept once.
    """
    structure = None

    def at(*point: PyTree) -> list[Array]:
        nonlocal structure
        leaves, structure = jax.tree.flatten(jax.linearize(f, *point)[1])
        return leaves

    varies = _depends(jax.make_jaxpr(at)(*(_first(p) for p in points)))
    axes = [0 if each else None for each in varies]
    leaves = jax.vmap(at, out_axes=axes)(*points)
    fixed = [leaf for leaf, each in zip(leaves, varies, strict=True) if not each]

    def local(residuals: list[Array], *tangents: PyTree) -> PyTree:
        mine, constant = iter(residuals), iter(fixed)
        joined = [next(mine) if each else next(constant) for each in varies]
        return jax.tree.unflatten(structure, joined)(*tangents)

    return [leaf for leaf, each in zip(leaves, varies, strict=True) if each], local


def _depends(closed: Any) -> list[bool]:
    """Which outputs of a jaxpr depend on its inputs."""
    seen = set(closed.jaxpr.invars)
    for eqn in closed.jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in seen for v in eqn.invars):
            seen.update(eqn.outvars)
    return [not isinstance(v, Literal) and v in seen for v in closed.jaxpr.outvars]


def _added(local: Callable[..., PyTree], residual: PyTree, *point: PyTree) -> list[bool]:
    """Which leaves of zh the linearised update only ever sees added to that of zx.

    Told by the transpose: the two cotangents are then one and the same variable.
    """
    v, zx, zh = point
    if jax.tree.structure(zx) != jax.tree.structure(zh):
        return [False] * len(jax.tree.leaves(zh))
    out = jax.eval_shape(local, residual, v, zx, zh)

    def transpose(residual: PyTree, cotangent: PyTree) -> PyTree:
        return jax.linear_transpose(partial(local, residual), v, zx, zh)(cotangent)[1:]

    outvars = jax.make_jaxpr(transpose)(residual, out).jaxpr.outvars
    half = len(outvars) // 2
    return [a is b for a, b in zip(outvars[:half], outvars[half:], strict=True)]


def _zeros(like: PyTree) -> PyTree:
    return tree_map(jnp.zeros_like, like)


def _instantiate(tangents: PyTree, primals: PyTree) -> PyTree:
    is_zero = lambda t: isinstance(t, SymbolicZero)  # noqa: E731
    one = lambda t, x: jnp.zeros_like(x) if is_zero(t) else t  # noqa: E731
    return tree_map(one, tangents, primals, is_leaf=is_zero)
