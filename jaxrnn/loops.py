"""Loops over functions that are made anew at every call: typed, and compiled once.

`jax.lax.scan` and its like know a loop by its function, so one whose body is a closure is
compiled again at every call that is not under `jax.jit`, and what was compiled stays. `once` knows
it by what it computes. What a function closes over is read at every call, so nothing is stale.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, reduce
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal, Var, jaxpr_as_fun

__all__ = ["loop", "once", "settle", "spread", "vary"]

PyTree = Any

PROGRAMS = 64  # how many are kept


def once(run: Callable[..., PyTree], *arguments: PyTree) -> PyTree:
    """``run(*arguments)``, traced at every call, and compiled only if its program is a new one.

    Under a transformation of JAX it is just the call.

    Args:
      run: a function of arrays; it may close over arrays, which need not be the same every time.
      *arguments: pytrees of arrays.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.loops import once
      >>> def total(xs, weight):
      ...     body = lambda held, x: (held + weight * x, None)
      ...     return once(lambda xs: jax.lax.scan(body, 0.0, xs)[0], xs)
      >>> float(total(jnp.ones(3), 2.0)), float(total(jnp.ones(3), 5.0))
      (6.0, 15.0)
    """
    leaves, structure = jax.tree.flatten(arguments)
    eager = jax.config.jax_disable_jit  # type: ignore[attr-defined]
    if eager or any(isinstance(leaf, Tracer) for leaf in leaves):
        return run(*arguments)
    closed, shapes = jax.make_jaxpr(
        lambda *leaves: run(*structure.unflatten(leaves)), return_shape=True
    )(*leaves)
    if any(isinstance(value, Tracer) for value in closed.consts):
        return run(*arguments)
    outputs = _compiled(_Program(closed.jaxpr))(*closed.consts, *leaves)
    return jax.tree.structure(shapes).unflatten(outputs)


class _Program:
    """A jaxpr, equal to another if it computes the same from the same types."""

    def __init__(self, jaxpr: Jaxpr) -> None:
        self.jaxpr = jaxpr
        self.key = _describe(jaxpr)
        self.hash = hash(self.key)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Program) and self.key == other.key


@lru_cache(maxsize=PROGRAMS)
def _compiled(program: _Program) -> Callable[..., list[Any]]:
    inner = program.jaxpr
    jaxpr = inner.replace(constvars=(), invars=[*inner.constvars, *inner.invars])
    return jax.jit(jaxpr_as_fun(ClosedJaxpr(jaxpr, ())))


class _Same:
    """A value that is equal to nothing but itself."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


RULES = {"jvp_jaxpr_fun", "fwd_jaxpr_thunk", "bwd"}  # of derivatives, made anew by every trace


def _describe(jaxpr: Jaxpr) -> tuple[Any, ...]:
    """All that a jaxpr does, hashable: variables are numbers, in the order that they are met."""
    numbers: dict[Any, int] = {}

    def name(v: Any) -> Any:
        if isinstance(v, Literal):
            return _value(v.val), v.aval
        return numbers.setdefault(v, len(numbers))

    def bind(variables: list[Var]) -> tuple[Any, ...]:
        return tuple((name(v), v.aval) for v in variables)

    inputs = bind(jaxpr.constvars), bind(jaxpr.invars)
    steps = tuple(
        (
            eqn.primitive,
            tuple(map(name, eqn.invars)),
            bind(eqn.outvars),
            tuple((k, _value(v)) for k, v in sorted(eqn.params.items()) if k not in RULES),
            _value(eqn.ctx),
        )
        for eqn in jaxpr.eqns
    )
    return inputs, steps, tuple(map(name, jaxpr.outvars))


def _value(value: Any) -> Any:
    """The value of a parameter, such that equal ones compute the same."""
    if isinstance(value, ClosedJaxpr):
        return _describe(value.jaxpr), tuple(map(_value, value.consts))
    if isinstance(value, Jaxpr):
        return _describe(value)
    if isinstance(value, jax.Array):
        return _Same(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, float | complex):
        return type(value), repr(value)  # 0.0 equals -0.0, and nan not itself
    if isinstance(value, tuple | list):
        return type(value), tuple(map(_value, value))
    if isinstance(value, dict):
        return tuple((k, _value(v)) for k, v in value.items())
    try:
        hash(value)
    except TypeError:
        return _Same(value)
    return type(value), value


def loop(
    body: Callable[[PyTree, Any], tuple[PyTree, PyTree]],
    state: PyTree,
    steps: int,
    *,
    stop: Callable[[PyTree], Any] | None = None,
    blank: PyTree = None,
) -> tuple[PyTree, PyTree]:
    """`lax.scan` of ``body(state, j)``, or if `stop` is given a `lax.while_loop` until it holds.

    Args:
      body: from a state and the number of a step to the next state and outputs.
      state: the first.
      steps: how many there are.
      stop: whether a state is the last.
      blank: outputs of steps that were not run; it broadcasts to one step's outputs.

    Example:
      >>> from jaxrnn.loops import loop
      >>> state, outputs = loop(lambda s, j: (s + j, s), 0, 5, stop=lambda s: s > 2, blank=-1)
      >>> int(state), outputs.tolist()
      (3, [0, 0, 1, -1, -1])
    """
    zero = jnp.zeros((), jnp.int32)
    state = settle(lambda state: body(state, zero)[0], jax.tree.map(jnp.asarray, state))
    if stop is None:
        return lax.scan(body, state, jnp.arange(steps, dtype=jnp.int32))

    def buffer(fill: Any, leaf: jax.ShapeDtypeStruct) -> Any:
        one = jnp.broadcast_to(jnp.asarray(fill, leaf.dtype), leaf.shape)
        one = _spread(one, leaf)
        return jnp.broadcast_to(one, (steps, *leaf.shape))

    buffers = jax.tree.map(buffer, blank, jax.eval_shape(body, state, zero)[1])

    def more(loop_state: tuple[Any, PyTree, PyTree]) -> Any:
        j, state, _ = loop_state
        return (j < steps) & ~stop(state)

    def advance(loop_state: tuple[Any, PyTree, PyTree]) -> tuple[Any, PyTree, PyTree]:
        j, state, buffers = loop_state
        state, outputs = body(state, j)
        put = lambda b, leaf: lax.dynamic_update_index_in_dim(b, leaf, j, 0)  # noqa: E731
        return j + 1, state, jax.tree.map(put, buffers, outputs)

    return lax.while_loop(more, advance, (zero, state, buffers))[1:]


def settle(step: Callable[[PyTree], PyTree], state: PyTree) -> PyTree:
    """The first state of a loop, of the type that the loop gives it.

    Between devices a type also says how an array is spread. Zeros are the same on all of them,
    what a step makes of a sharded batch is not, and a loop must not change types.

    Args:
      step: from a state to the next one.
      state: the first.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.loops import settle
      >>> settle(lambda state: state + 1, jnp.zeros(2)).tolist()
      [0.0, 0.0]
    """
    for _ in range(4):  # what is spread spreads to what is made of it
        after = jax.eval_shape(step, state)
        moved = jax.tree.map(_spread, state, after)
        pairs = zip(jax.tree.leaves(moved), jax.tree.leaves(state), strict=True)
        if all(a is b for a, b in pairs):
            break
        state = moved
    return state


def spread(tree: PyTree, like: Any, axes: int) -> PyTree:
    """The same arrays, spread over devices in their first axes as another one is.

    Args:
      tree: a pytree of arrays.
      like: an array with the same first axes.
      axes: how many.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.loops import spread
      >>> spread(jnp.zeros((2, 3)), jnp.ones((2, 5)), 1).shape
      (2, 3)
    """
    flags = jnp.any(jnp.zeros_like(like, dtype=bool), axis=tuple(range(axes, jnp.ndim(like))))

    def one(leaf: Any) -> Any:
        whole = flags.reshape(flags.shape + (1,) * (jnp.ndim(leaf) - axes))
        return _spread(leaf, jnp.broadcast_to(whole, jnp.shape(leaf)))

    return jax.tree.map(one, tree)


def _spread(leaf: Any, after: Any) -> Any:
    """The leaf, spread over the devices over which `after` is."""
    if jnp.shape(leaf) != after.shape or jnp.issubdtype(after.dtype, jax.dtypes.extended):
        return leaf  # of another shape, the loop says what is wrong
    other = jnp.zeros_like(after, dtype=bool)
    now, wanted = jax.typeof(leaf).sharding.spec, jax.typeof(other).sharding
    spec = tuple(a if b is None else b for a, b in zip(now, wanted.spec, strict=True))
    if spec != tuple(now):
        leaf = jax.sharding.reshard(leaf, wanted.update(spec=spec))
    if jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    # Of flags in the same places only what varies within a `jax.shard_map` is left to say.
    moved = jnp.where(other, leaf, leaf) if tuple(wanted.spec) == spec else leaf
    return leaf if jax.typeof(moved) == jax.typeof(leaf) else moved


def vary(tree: PyTree, *others: PyTree) -> PyTree:
    """The same arrays, of a type that says that they vary over the devices over which others do.

    Under `jax.shard_map`, the derivative by what is the same on all devices is summed over
    them, wherever it is taken; by what this gives, it is not, and summed once by its transpose.

    Args:
      tree: a pytree of arrays.
      *others: pytrees of arrays.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.loops import vary
      >>> vary(jnp.ones(3), jnp.zeros(2)).tolist()
      [1.0, 1.0, 1.0]
    """
    flags = [jnp.any(jnp.zeros_like(leaf, dtype=bool)) for leaf in jax.tree.leaves(others)]
    return spread(tree, reduce(jnp.logical_or, flags, jnp.zeros((), bool)), 0)
