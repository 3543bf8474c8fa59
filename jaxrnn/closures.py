"""Cells whose functions close over values that are being traced.

An attention's memory, a mask drawn in a loss, a kernel that was normed: what a function closes
over must reach the derivative of the trajectory as an argument. `hoist` finds such values and
hands them on beside the parameters, as `jax.closure_convert` does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun

from jaxrnn.base import Carry, Cell, Made, Params, PyTree, add

__all__ = ["hoist"]


class _Hoisted(NamedTuple):
    """Parameters, and by function what it closed over."""

    params: Params
    values: dict[str, list[Any]]


class _Closes(Exception):
    """Says that a cell closes over traced values, which must not be remembered."""


def hoist(cell: Cell, params: Params, carry: Carry, xs: PyTree) -> tuple[Cell, Params] | None:
    """The cell and its parameters with what it closes over among these, or None for nothing.

    Args:
      cell: the cell.
      params: its parameters.
      carry: a carry.
      xs: inputs, leaves ``(T, *batch, ...)``.

    Returns:
      ``(cell, params)``, where a function of the cell closes over a traced value.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> def loss(gain):
      ...     cell = jaxrnn.make_elman(activation=lambda z: gain * z)
      ...     return jaxrnn.scan(cell, params, jnp.ones((2, 3)))[1].sum()
      >>> bool(jnp.allclose(jax.grad(loss)(1.0), jax.jvp(loss, (1.0,), (1.0,))[1]))
      True
    """
    if not _may_close(cell):
        return None
    x = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), xs)
    arguments = jax.eval_shape(lambda *trees: trees, params, carry), x
    leaves, structure = jax.tree.flatten(((params, carry), x))
    shapes = tuple(
        jax.ShapeDtypeStruct(jax.numpy.shape(a), jax.numpy.result_type(a)) for a in leaves
    )
    try:
        _closes_over_nothing(cell, structure, shapes)
    except _Closes:
        return _hoist(cell, params, *arguments[0], arguments[1])
    return None


def _may_close(value: Any) -> bool:
    """Whether a function is in it that closes over something."""
    if isinstance(value, Made):
        return value.spec is None or _may_close(tuple(value.spec))  # type: ignore[arg-type]
    if isinstance(value, tuple):
        return any(map(_may_close, value))
    return callable(value) and getattr(value, "__closure__", True) is not None


def _functions(cell: Cell, params: Any, carry: Any, x: Any) -> dict[str, tuple[Any, ...]]:
    """The functions of the cell that a scan calls, with the shapes of their arguments."""
    zx = jax.eval_shape(cell.project, params, x)
    z = jax.eval_shape(
        lambda p, x, s: add(cell.project(p, x), cell.recurrent(p, s)), params, x, carry
    )
    found: dict[str, tuple[Any, ...]] = {
        "project": (x,),
        "recurrent": (carry,),
        "update": (carry, z),
        "output": (carry, z),
    }
    if cell.randomize is not None:
        found["randomize"] = (zx, jax.eval_shape(lambda: jax.random.key(0)))
    if cell.coefficients is not None:
        found["coefficients"] = (z,)
    return found


@lru_cache(maxsize=128)
def _closes_over_nothing(cell: Cell, structure: Any, shapes: tuple[Any, ...]) -> None:
    (params, carry), x = structure.unflatten(shapes)
    for name, arguments in _functions(cell, params, carry, x).items():
        consts = jax.make_jaxpr(getattr(cell, name))(params, *arguments).consts
        if any(isinstance(value, Tracer) for value in consts):
            raise _Closes


def _hoist(cell: Cell, params: Params, like: Any, carry: Any, x: Any) -> tuple[Cell, Params]:
    functions, values = {}, {}
    for name, arguments in _functions(cell, like, carry, x).items():
        functions[name], values[name] = _convert(name, getattr(cell, name), like, arguments)
    return cell._replace(**functions), _Hoisted(params, values)


def _convert(
    name: str, f: Callable[..., Any], params: Any, arguments: tuple[Any, ...]
) -> tuple[Callable[..., Any], list[Any]]:
    """F with what it closes over taken from `_Hoisted` parameters; that is the second result."""
    closed, shape = jax.make_jaxpr(f, return_shape=True)(params, *arguments)
    jaxpr = closed.jaxpr.replace(
        constvars=(), invars=[*closed.jaxpr.constvars, *closed.jaxpr.invars]
    )
    run, structure = jaxpr_as_fun(ClosedJaxpr(jaxpr, ())), jax.tree.structure(shape)
    ndim = jax.tree.leaves(arguments)[0].ndim

    def one(hoisted: _Hoisted, *arguments: Any) -> Any:
        leaves = jax.tree.leaves((hoisted.params, *arguments))
        return structure.unflatten(run(*hoisted.values[name], *leaves))

    def converted(hoisted: _Hoisted, *arguments: Any) -> Any:
        call = partial(one, hoisted)
        for _ in range(jax.tree.leaves(arguments)[0].ndim - ndim):
            call = jax.vmap(call)
        return call(*arguments)

    return converted, list(closed.consts)
