"""The steps of a cell, all at once: what goes into them, and their derivative."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import Literal

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, add, select

__all__ = [
    "Linearized",
    "Parts",
    "Steps",
    "before",
    "begin",
    "depends",
    "divide",
    "linearize",
    "perturbed",
    "pre_activations",
    "project",
    "reached",
]

tree_map = jax.tree.map


class Steps(NamedTuple):
    """What the steps of a sequence are given, leaves with a leading time axis.

    Attributes:
      xs: the inputs.
      valid: booleans ``(T, *batch)`` or None; False leaves the carry untouched.
      reset: booleans ``(T, *batch)`` or None; True restarts before the step.
      keys: PRNG keys ``(T,)`` for a cell that draws noise, or None.

    Where parts of the carry have flags or keys of their own, they are a prefix tree of it.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.steps import Steps
      >>> Steps(jnp.ones((3, 2, 4))).xs.shape
      (3, 2, 4)
    """

    xs: PyTree
    valid: PyTree = None
    reset: PyTree = None
    keys: PyTree = None


def project(cell: Cell, params: Params, steps: Steps) -> PyTree:
    """The projected inputs of some steps, noise included; what is not valid is not looked at.

    Args:
      cell: the cell.
      params: its parameters.
      steps: some steps.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.steps import Steps, project
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> project(jaxrnn.lstm, params, Steps(jax.numpy.ones((7, 3)))).shape
      (7, 20)
    """
    z = cell.project(params, select(steps.valid, steps.xs, tree_map(jnp.zeros_like, steps.xs)))
    if steps.keys is None or cell.randomize is None:
        return z
    return jax.vmap(partial(cell.randomize, params))(z, steps.keys)


def pre_activations(cell: Cell, params: Params, steps: Steps, before: Carry) -> PyTree:
    """Z of some steps at once, from the carries before them.

    Args:
      cell: the cell.
      params: its parameters.
      steps: some steps.
      before: the carry that each of them begins with, leaves ``(T, *batch, ...)``.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.steps import Steps, pre_activations
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> steps = Steps(jax.numpy.ones((7, 3)))
      >>> pre_activations(jaxrnn.elman, params, steps, jax.numpy.ones((7, 5))).shape
      (7, 5)
    """
    return add(project(cell, params, steps), cell.recurrent(params, before))


def before(start: Carry, after: Carry, reverse: bool, size: int | None = 1) -> Carry:
    """From the carries after every step to those before every `size`-th.

    Args:
      start: the carry before all of them.
      after: those after each, leaves ``(T, ...)``.
      reverse: whether the steps run from the last to the first.
      size: steps; None for all there are.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.steps import before
      >>> before(jnp.array(0), jnp.array([1, 2, 3]), False).tolist()
      [0, 1, 2]
    """

    def one(s: Array, a: Array) -> Array:
        if size is None:
            return s[None]
        if reverse:
            return jnp.concatenate([a[size::size], s[None]])
        return jnp.concatenate([s[None], a[size - 1 : -1 : size]])

    return tree_map(one, start, after)


def begin(start: Carry, again: Carry, carries: Carry, steps: Steps, reverse: bool) -> Carry:
    """The carry that each of some steps begins with, its reset included.

    Args:
      start: the carry before the first of them.
      again: the carry that a reset restarts from.
      carries: those after each of them, leaves ``(T, *batch, ...)``.
      steps: the steps.
      reverse: whether they run from the last to the first.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.steps import Steps, begin
      >>> begin(jnp.ones(1), jnp.zeros(1), jnp.array([[2.0], [3.0]]), Steps(None), False).tolist()
      [[1.0], [2.0]]
    """
    held = before(start, carries, reverse)
    if steps.reset is None:
        return held
    everywhere = tree_map(lambda a, b: jnp.broadcast_to(a, b.shape), again, held)
    return select(steps.reset, everywhere, held)


class Parts(NamedTuple):
    """A pytree as its leaves that can be differentiated, and the others.

    Attributes:
      floats: the leaves of floating-point or complex numbers.
      rest: the others: counters, flags, keys.
      join: ``join(floats, rest)`` is the tree again.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.steps import divide
      >>> parts = divide({"h": jnp.ones(2), "count": jnp.int32(3)})
      >>> len(parts.floats), len(parts.rest)
      (1, 1)
    """

    floats: list[Any]
    rest: list[Any]
    join: Callable[[list[Any], list[Any]], PyTree]


def divide(tree: PyTree) -> Parts:
    """The leaves of a tree that can be differentiated, and the others.

    Args:
      tree: a pytree of arrays.

    Example:
      >>> from jaxrnn.steps import divide
      >>> floats, rest, join = divide((1.0, 2, 3.0))
      >>> join([10 * x for x in floats], rest)
      (10.0, 2, 30.0)
    """
    leaves, structure = jax.tree.flatten(tree)
    floating = [jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) for leaf in leaves]

    def join(floats: list[Any], rest: list[Any]) -> PyTree:
        mine, others = iter(floats), iter(rest)
        return structure.unflatten([next(mine) if each else next(others) for each in floating])

    pairs = list(zip(leaves, floating, strict=True))
    return Parts([x for x, each in pairs if each], [x for x, each in pairs if not each], join)


class Linearized(NamedTuple):
    r"""The tangent system of some steps, :math:`v_t = A_t v_{t-1} + b_t`.

    Attributes:
      coefficients: what each step needs, leaves ``(T, ...)``.
      local: ``local(residuals, v, dz)``, the derivative of one step's update.
      recurrent: ``recurrent(rest)``, the map R as a function of v.
      rows: the map R of some v without batch axes, leaves ``(N, ...)``, where every leaf of the
        carry has a derivative.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> from jaxrnn.steps import linearize
      >>> params = jaxrnn.elman.init(jax.random.key(0), 1, 1)
      >>> system = linearize(jaxrnn.elman, params, jnp.zeros((3, 1)), jnp.zeros((3, 1)))
      >>> [leaf.shape for leaf in system.coefficients[0]]
      [(3, 1)]
    """

    coefficients: tuple[Any, Any, Any, Any]
    local: Callable[..., list[Array]]
    recurrent: Callable[[Any], Callable[[list[Array]], list[Array]]]
    rows: Callable[[list[Array]], list[Array]]

    @property
    def homogeneous(self) -> tuple[Any, Any, Any, Any]:
        """The coefficients without b."""
        residuals, _, _, rest = self.coefficients
        return residuals, None, None, rest

    def apply(self, coefficients: Any, v: list[Array]) -> list[Array]:
        """The next v: the tangents of those leaves of the carry that have any."""
        residual, dz, direct, rest = coefficients
        moved = self.recurrent(rest)(v)
        moved = moved if dz is None else [a + b for a, b in zip(dz, moved, strict=True)]
        new = self.local(residual, v, moved)
        return new if direct is None else [a + b for a, b in zip(new, direct, strict=True)]


def perturbed(
    cell: Cell, params: Params, held: Carry, steps: Steps, dparams: Any, dxs: Any
) -> tuple[PyTree, list[Array] | None]:
    """Z of some steps at once, and its tangents where the carries that they begin with stay.

    Args:
      cell: the cell.
      params: its parameters.
      held: the carry that each step begins with, leaves ``(T, *batch, ...)``.
      steps: the steps.
      dparams: the tangents of those parameters that have any, or None.
      dxs: the tangents of the inputs, alike.

    Returns:
      ``(z, dz)``, dz None where there are no tangents.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> from jaxrnn.steps import Steps, perturbed
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> perturbed(jaxrnn.elman, params, jnp.ones((7, 5)), Steps(jnp.ones((7, 3))), None, None)[1]
    """
    p, x = divide(params), divide(steps.xs)

    def pre(params: list[Array], xs: list[Array]) -> PyTree:
        mine = steps._replace(xs=x.join(xs, x.rest))
        return pre_activations(cell, p.join(params, p.rest), mine, held)

    dz = _push(lambda *at: divide(pre(*at)).floats, (p.floats, x.floats), (dparams, dxs))
    return pre(p.floats, x.floats), dz


def linearize(
    cell: Cell, params: Params, held: Carry, z: PyTree, dz: Any = None, dparams: Any = None
) -> Linearized:
    """The tangent system of some steps about the carries that they begin with.

    Args:
      cell: the cell.
      params: its parameters.
      held: the carry that each step begins with, leaves ``(T, *batch, ...)``.
      z: what they update it with, alike.
      dz: the tangents of those leaves of z that have any, or None.
      dparams: those of the parameters, alike.

    Returns:
      A `Linearized`.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> from jaxrnn.steps import linearize
      >>> cell = jaxrnn.make_elman(activation="identity")
      >>> params = jaxrnn.ElmanParams(jnp.ones((1, 1)), jnp.full((1, 1), 0.5))
      >>> system = linearize(cell, params, jnp.zeros((3, 1)), jnp.ones((3, 1)))
      >>> first = jax.tree.map(lambda leaf: leaf[0], system.coefficients)
      >>> system.apply(first, [jnp.ones(1)])[0].tolist()
      [0.5]
    """
    p, s, parts = divide(params), divide(held), divide(z)

    def update(params: Any, s_floats: Any, z_floats: Any, s_rest: Any, z_rest: Any) -> list[Array]:
        carry, mine = s.join(s_floats, s_rest), parts.join(z_floats, z_rest)
        return divide(cell.update(p.join(params, p.rest), carry, mine)).floats

    points = (s.floats, parts.floats), (s.rest, parts.rest)
    residuals, local, uses_params = _each_step(update, p.floats, *points)
    direct = None
    if uses_params:
        at = lambda params: update(params, *points[0], *points[1])  # noqa: E731
        direct = _push(at, (p.floats,), (dparams,))
    if direct is not None:  # what is a parameter itself has no time axis
        direct = [jnp.broadcast_to(d, leaf.shape) for d, leaf in zip(direct, s.floats, strict=True)]
    zero_s, zero_z = ([jnp.zeros_like(leaf[0]) for leaf in leaves] for leaves in points[0])

    def linear_part(s_rest: Any, z_rest: Any) -> Callable[[list[Array]], list[Array]]:
        """The map R, for the part of dz that is R v; what has no derivative may be in R."""

        def recurrent(leaves: list[Array]) -> list[Array]:
            zh = cell.recurrent(params, s.join(leaves, s_rest))
            return divide(add(parts.join(zero_z, z_rest), zh)).floats

        return jax.linearize(recurrent, zero_s)[1]

    fixed = None if s.rest else linear_part([], tree_map(lambda leaf: leaf[0], parts.rest))
    recurrent = lambda rest: fixed or linear_part(*rest)  # noqa: E731

    def rows(v: list[Array]) -> list[Array]:
        lead = s.floats[0].ndim + 1 - v[0].ndim  # time and batch axes
        zero = parts.join(
            [jnp.zeros(leaf.shape[lead:], leaf.dtype) for leaf in parts.floats], parts.rest
        )
        zh = lambda leaves: divide(add(zero, cell.recurrent(params, s.join(leaves, [])))).floats  # noqa: E731
        return jax.vmap(jax.linearize(zh, [jnp.zeros_like(leaf[0]) for leaf in v])[1])(v)

    return Linearized((residuals, dz, direct, points[1]), local, recurrent, rows)


def _each_step(
    f: Callable[..., list[Array]], params: list[Array], points: Any, rest: Any
) -> tuple[list[Array], Callable[..., list[Array]], bool]:
    """Linearise f at every time step in bulk.

    Returns the residuals that vary over time, with a leading time axis;
    ``local(residuals[t], *tangents)``; and whether f reads the parameters at all. Residuals
    that do not vary (a kernel inside an update) are kept once.
    """
    structure = None

    def at(params: list[Array], points: Any, rest: Any) -> list[Array]:
        nonlocal structure
        linear = jax.linearize(lambda *point: f(params, *point, *rest), *points)[1]
        leaves, structure = jax.tree.flatten(linear)
        return leaves

    one = jax.eval_shape(lambda t: tree_map(lambda leaf: leaf[0], t), (points, rest))
    jaxpr = jax.make_jaxpr(at)(params, *one).jaxpr
    count = len(params)
    varies = reached(jaxpr, jaxpr.invars[count:])
    uses_params = not set(jaxpr.invars[:count]).isdisjoint(_read(jaxpr))
    axes = [0 if each else None for each in varies]
    bulk = jax.vmap(partial(at, params), out_axes=axes)
    with jax.disable_jit(False):  # without it branches are taken at once, and leave fewer residuals
        leaves = jax.jit(bulk, inline=True)(points, rest)
    fixed = [leaf for leaf, each in zip(leaves, varies, strict=True) if not each]

    def local(residuals: list[Array], *tangents: PyTree) -> list[Array]:
        mine, constant = iter(residuals), iter(fixed)
        joined = [next(mine) if each else next(constant) for each in varies]
        return jax.tree.unflatten(structure, joined)(*tangents)

    varying = [leaf for leaf, each in zip(leaves, varies, strict=True) if each]
    return varying, local, uses_params


def reached(jaxpr: Any, inputs: Any) -> list[bool]:
    """Which outputs of a jaxpr depend on these of its inputs.

    Args:
      jaxpr: such as `jax.make_jaxpr` gives.
      inputs: some of its input variables.

    Example:
      >>> import jax
      >>> from jaxrnn.steps import reached
      >>> jaxpr = jax.make_jaxpr(lambda x, y: (x + 1, x * y))(1.0, 2.0).jaxpr
      >>> reached(jaxpr, jaxpr.invars[1:])
      [False, True]
    """
    seen = set(inputs)
    for eqn in jaxpr.eqns:
        if any(not isinstance(v, Literal) and v in seen for v in eqn.invars):
            seen.update(eqn.outvars)
    return [not isinstance(v, Literal) and v in seen for v in jaxpr.outvars]


def _read(jaxpr: Any) -> set[Any]:
    """The variables that a jaxpr reads."""
    read = [*jaxpr.outvars, *(v for eqn in jaxpr.eqns for v in eqn.invars)]
    return {v for v in read if not isinstance(v, Literal)}


def depends(f: Callable[..., PyTree], x: PyTree, *others: PyTree) -> bool:
    """Whether f looks at its first argument, told by a trace.

    Args:
      f: the function.
      x: its first argument, or the shapes of it.
      *others: the others, alike.

    Example:
      >>> from jaxrnn.steps import depends
      >>> depends(lambda x: 2 * x, 1.0), depends(lambda x, y: 2 * y, 1.0, 1.0)
      (True, False)
    """
    jaxpr = jax.make_jaxpr(f)(x, *others).jaxpr
    return any(reached(jaxpr, jaxpr.invars[: len(jax.tree.leaves(x))]))


def _push(
    f: Callable[..., list[Array]], points: tuple[Any, ...], tangents: tuple[Any, ...]
) -> list[Array] | None:
    """The derivative of f along the tangents that there are; None if there are none."""
    there = [k for k, tangent in enumerate(tangents) if tangent is not None]
    if not there:
        return None

    def g(*some: Any) -> list[Array]:
        full = list(points)
        for k, x in zip(there, some, strict=True):
            full[k] = x
        return f(*full)

    return jax.jvp(g, tuple(points[k] for k in there), tuple(tangents[k] for k in there))[1]
