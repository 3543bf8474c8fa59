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


def hoist(
    cell: Cell, params: Params, carry: Carry, xs: PyTree, keys: PyTree = None
) -> tuple[Cell, Params] | None:
    """The cell and its parameters with what it closes over among these, or None for nothing.

    Args:
      cell: the cell.
      params: its parameters.
      carry: a carry.
      xs: inputs, leaves ``(T, *batch, ...)``.
      keys: PRNG keys ``(T,)`` for a cell that draws noise, or None.

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
    one = lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)  # noqa: E731
    arguments = jax.tree.map(_shape, (params, carry)), jax.tree.map(one, (xs, keys))
    leaves, structure = jax.tree.flatten(arguments)
    try:
        _closes_over_nothing(cell, structure, tuple(leaves))
    except _Closes:
        return _hoist(cell, params, arguments)
    return None


def _may_close(value: Any) -> bool:
    """Whether a function is in it that closes over something."""
    if isinstance(value, Made):
        return value.spec is None or _may_close(tuple(value.spec))  # type: ignore[arg-type]
    if isinstance(value, tuple):
        return any(map(_may_close, value))
    return callable(value) and getattr(value, "__closure__", True) is not None


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(jax.numpy.shape(leaf), jax.numpy.result_type(leaf))


def _functions(cell: Cell, arguments: Any) -> dict[str, tuple[Any, ...]]:
    """The functions of the cell that a scan calls, with the shapes of their arguments."""
    (params, carry), (x, key) = arguments
    zx = jax.eval_shape(cell.project, params, x)
    z = jax.eval_shape(lambda zx, p, s: add(zx, cell.recurrent(p, s)), zx, params, carry)
    found: dict[str, tuple[Any, ...]] = {
        "project": (params, x),
        "recurrent": (params, carry),
        "update": (params, carry, z),
        "output": (params, carry, z),
    }
    if cell.randomize is not None and key is not None:
        found["randomize"] = (params, zx, key)
    if cell.coefficients is not None:
        found["coefficients"] = (params, z)
    return found


@lru_cache(maxsize=64)
def _closes_over_nothing(cell: Cell, structure: Any, leaves: tuple[Any, ...]) -> None:
    for name, arguments in _functions(cell, structure.unflatten(leaves)).items():
        consts = jax.make_jaxpr(getattr(cell, name))(*arguments).consts
        if any(isinstance(value, Tracer) for value in consts):
            raise _Closes


def _hoist(cell: Cell, params: Params, arguments: Any) -> tuple[Cell, Params]:
    functions, values = {}, {}
    for name, each in _functions(cell, arguments).items():
        functions[name], values[name] = _convert(name, getattr(cell, name), each)
    fields: Any = dict(zip(cell._fields, cell, strict=True)) | functions | {"spec": None}
    return Cell(**fields), _Hoisted(params, values)


def _convert(
    name: str, f: Callable[..., Any], arguments: tuple[Any, ...]
) -> tuple[Callable[..., Any], list[Any]]:
    """The function with what it closes over taken from `_Hoisted` parameters, and that."""
    closed, shape = jax.make_jaxpr(f, return_shape=True)(*arguments)
    inner = closed.jaxpr
    jaxpr = inner.replace(constvars=(), invars=[*inner.constvars, *inner.invars])
    run, structure = jaxpr_as_fun(ClosedJaxpr(jaxpr, ())), jax.tree.structure(shape)
    ndim = jax.tree.leaves(arguments[1:])[0].ndim

    def one(hoisted: _Hoisted, *arguments: Any) -> Any:
        leaves = jax.tree.leaves((hoisted.params, *arguments))
        return structure.unflatten(run(*hoisted.values[name], *leaves))

    def converted(hoisted: _Hoisted, *arguments: Any) -> Any:
        call = partial(one, hoisted)
        for _ in range(jax.tree.leaves(arguments)[0].ndim - ndim):
            call = jax.vmap(call)
        return call(*arguments)

    return converted, list(closed.consts)
