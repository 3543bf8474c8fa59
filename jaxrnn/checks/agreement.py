"""Checks that parameters, carry and input belong to a cell, and to each other.

A network names the part that is wrong. What a cell's constructor knows is checked in full; the
functions of a cell that a user wrote must speak for themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.checks.arguments import (
    check_floating,
    check_matches,
    describe,
    differences,
    expected_params,
)

__all__ = ["check_carry", "check_inputs", "check_params", "check_parts", "check_step"]

PyTree = Any


def check_inputs(cell: Any, argument: str, x: PyTree, leading: str) -> PyTree:
    """The input as arrays, or an error unless its first leaf can be one of the cell's.

    Args:
      cell: the cell.
      argument: what the input is called.
      x: what came.
      leading: its leading axes in letters, ``"(T, *batch"`` or ``"(*batch"``.

    Raises:
      TypeError: for something else than floating-point numbers, where the cell's constructor
        says what it takes.
      ValueError: for too few axes, no features, or leaves of different leading axes.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.checks import check_inputs
      >>> check_inputs(jaxrnn.gru, "x", [1.0, 2.0], "(*batch").shape
      (2,)
    """
    if isinstance(x, list) or (cell.spec is not None and not _is_tree(x)):
        x = check_floating(argument, x)
    x = jax.tree.map(jnp.asarray, x)
    leaves = jax.tree.leaves(x)
    if not leaves:
        raise ValueError(f"{argument}: expected an array, or a pytree of such, got {x!r}")
    lead, axes = leaves[0], cell.axes
    if cell.spec is not None:
        check_floating(argument, lead)
    letters = ", ".join([leading, *(f"X{k}" for k in range(1, axes)), "D)"])
    least = axes + leading.count("T")
    if lead.ndim < least:
        hint = f"; of one feature: {argument}[..., None]" if lead.ndim == least - 1 else ""
        raise ValueError(
            f"{argument}: expected {letters}, at least {_axes(least)}, got shape {lead.shape}{hint}"
        )
    if axes and lead.shape[-1] == 0:
        raise ValueError(f"{argument}: expected at least one feature (D), got shape {lead.shape}")
    common = lead.shape[: lead.ndim - axes]
    for leaf in leaves[1:]:
        if leaf.shape[: len(common)] != common:
            raise ValueError(
                f"{argument}: expected leaves with the leading axes {common}, got {leaf.shape}"
            )
    return x


def _axes(count: int) -> str:
    return "one axis" if count == 1 else f"{count} axes"


def _is_tree(x: Any) -> bool:
    """Whether x is a pytree of several leaves and no list of numbers."""
    return isinstance(x, dict) or (isinstance(x, tuple) and any(hasattr(a, "shape") for a in x))


def check_params(
    cell: Any, params: PyTree, xs: Any, *, argument: str = "params", inputs: str = "xs"
) -> None:
    """Raise one error that lists every parameter that does not fit the cell and the input.

    Args:
      cell: the cell; one that no constructor made is not checked.
      params: its parameters.
      xs: the input, its first leaf ``(..., D)``.
      argument: what the parameters are called.
      inputs: what the input is called.

    Raises:
      TypeError: for missing, surplus or wrongly typed leaves.
      ValueError: for leaves of the wrong shape, or an input of other features than D.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.checks import check_params
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> check_params(jaxrnn.gru, params, jax.numpy.ones((7, 3)))
    """
    if cell.spec is None or hasattr(cell, "sequence"):
        return
    lead = jax.tree.leaves(xs)[0]
    shape = jax.ShapeDtypeStruct(lead.shape, lead.dtype)
    _check_params(cell, *_abstract(params), shape, argument, inputs)


@lru_cache(maxsize=64)
def _check_params(
    cell: Any, structure: Any, leaves: tuple[Any, ...], xs: Any, argument: str, inputs: str
) -> None:
    params = structure.unflatten(leaves)
    sizes = list(dict.fromkeys([*_sizes(cell, params, argument), *_sizes_of(params)]))
    size = xs.shape[-1]
    tried = []
    for hidden, expected in _candidates(cell, size, sizes, xs.dtype):
        problems, shapes = differences(argument, params, expected)
        if not problems:
            return
        tried.append((len(problems), hidden, problems, shapes, expected))
    for made_for in _sizes_of(params):
        candidates = _candidates(cell, made_for, sizes, xs.dtype)
        if made_for != size and any(not differences("", params, e)[0] for _, e in candidates):
            hint = f"; of one feature: {inputs}[..., None]" if made_for == 1 else ""
            features = "one feature" if made_for == 1 else f"{made_for} features"
            raise ValueError(
                f"{inputs}: expected {features} (D), which {argument} of the cell {cell.name!r} "
                f"were made for, got {size}: shape {xs.shape}{hint}"
            )
    if not tried:  # the cell's own words say why no size will do
        expected_params(cell, size, sizes[0], xs.dtype)
    # Of two sizes with as many problems that one which more of the shapes agree with.
    _, hidden, problems, shapes, expected = min(
        tried, key=lambda one: (one[0], _misfits(params, one[4]))
    )
    if type(params) is not type(expected):
        raise TypeError(_of_another_kind(cell, params, expected, argument))
    why = (
        f"the cell {cell.name!r} with D = {size} and dtype {xs.dtype} from {inputs} "
        f"{xs.shape}, H = {hidden} from {argument}"
    )
    raise (ValueError if shapes else TypeError)("\n  ".join(problems) + f"\n({why})")


def _misfits(params: PyTree, expected: PyTree) -> float:
    """How many leaves have another shape; more than any number if the structure is another."""
    leaves, others = jax.tree.leaves(params), jax.tree.leaves(expected)
    if jax.tree.structure(params) != jax.tree.structure(expected):
        return math.inf
    return sum(a.shape != b.shape for a, b in zip(leaves, others, strict=True))


def _of_another_kind(cell: Any, params: PyTree, expected: PyTree, argument: str) -> str:
    wanted, got = type(expected).__name__, type(params).__name__
    if got == wanted:
        got = repr(jax.tree.map(describe, params))
    return f"{argument}: expected {wanted} of the cell {cell.name!r}, got {got}{_plain(params)}"


def _plain(params: PyTree) -> str:
    """A hint for what a file gave back."""
    if not isinstance(params, Mapping):
        return ""
    return "; jaxrnn.networks.params_from makes parameters of plain dicts and lists"


def _candidates(cell: Any, size: int, sizes: list[int], dtype: Any) -> Iterator[tuple[int, PyTree]]:
    """What ``init`` would give for each H, with and without biases, where it gives anything."""
    for hidden in sizes:
        for use_bias in (None, False, True):
            try:
                yield hidden, expected_params(cell, size, hidden, dtype, use_bias)
            except (TypeError, ValueError):
                continue


def _sizes_of(tree: PyTree) -> list[int]:
    """The lengths of axes of a tree's leaves, each once, the last leaf's last axis first."""
    axes = (n for leaf in jax.tree.leaves(tree) for n in getattr(leaf, "shape", ()))
    return [n for n in dict.fromkeys(reversed(list(axes))) if n]


def _sizes(cell: Any, params: PyTree, argument: str) -> list[int]:
    """What H may be by the cell's own carry, or TypeError if these are no parameters of it."""
    try:
        carry = _own_carry(cell, params, ())
        # Of a matrix for each head, H is the rows of all.
        rows = [math.prod(leaf.shape[:-1]) for leaf in jax.tree.leaves(carry) if leaf.ndim > 2]
        return [*_sizes_of(carry), *rows] or [1]
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        expected = expected_params(cell, 1, 1, np.dtype("float32"))
        raise TypeError(_of_another_kind(cell, params, expected, argument)) from error


def _abstract(tree: PyTree) -> tuple[Any, tuple[Any, ...]]:
    """The structure of a tree, and what is known of its leaves without their values."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, tuple(map(_shape, leaves))


def _own_carry(cell: Any, params: PyTree, batch: tuple[int, ...]) -> PyTree:
    """The shapes of the cell's own carry."""
    if cell.spec is None:  # what a user's function closes over is not to be kept
        return jax.eval_shape(lambda p: cell.carry(p, batch), params)
    widest = jax.dtypes.canonicalize_dtype(np.float64)
    return _known_carry(cell, *_abstract(params), batch, widest)


@lru_cache(maxsize=64)
def _known_carry(
    cell: Any, structure: Any, leaves: tuple[Any, ...], batch: tuple[int, ...], widest: Any
) -> PyTree:
    return jax.eval_shape(lambda p: cell.carry(p, batch), structure.unflatten(leaves))


def check_parts(
    name: str, cells: tuple[Any, ...], params: Any, *, argument: str = "params"
) -> list[str]:
    """What the parameters of each part are called, or TypeError if they are not those of it.

    Args:
      name: of the network.
      cells: its parts; the fields of a NamedTuple are called by name.
      params: its parameters, in the shape of `cells`.
      argument: what they are called.

    Raises:
      TypeError: unless there is one entry for each part, and each is of its part's kind.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.checks import check_parts
      >>> net = jaxrnn.stack(jaxrnn.gru, jaxrnn.gru)
      >>> params = net.init(jax.random.key(0), 3, 5)
      >>> check_parts(net.name, net.parts, params)
      ['params[0]', 'params[1]']
    """
    if not isinstance(params, tuple | list) or len(params) != len(cells):
        got = f"{len(params)}" if isinstance(params, tuple | list) else type(params).__name__
        raise TypeError(
            f"{argument}: expected a tuple of {len(cells)} for {name!r}, got {got}{_plain(params)}"
        )
    fields = getattr(cells, "_fields", None)
    ends = [f".{field}" for field in fields] if fields else [f"[{k}]" for k in range(len(cells))]
    names = [argument + end for end in ends]
    for cell, mine, called in zip(cells, params, names, strict=True):
        if parts := getattr(cell, "parts", ()):
            check_parts(cell.name, parts, mine, argument=called)
        elif cell.spec is not None and not hasattr(cell, "sequence"):
            _sizes(cell, mine, called)
    return names


def check_carry(
    cell: Any, params: PyTree, carry: PyTree, batch: tuple[int, ...], *, argument: str = "carry"
) -> PyTree:
    """The carry as arrays like the cell's own, or one error that lists every leaf that is not.

    A plain tuple is taken for a NamedTuple in the order of its fields, and a half type for the
    float32 that a state is kept in.

    Args:
      cell: a `Cell` or a `Layer`.
      params: its parameters.
      carry: what came.
      batch: the batch axes.
      argument: what the carry is called.

    Raises:
      TypeError: if only the structure or the dtypes differ.
      ValueError: if a shape differs.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.checks import check_carry
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> h, c = jaxrnn.lstm.carry(params, (2,))
      >>> type(check_carry(jaxrnn.lstm, params, (h, c), (2,))).__name__
      'LSTMCarry'
    """
    expected = _own_carry(cell, params, batch)
    carry = (
        jax.tree.map(_fit, _adopt(carry, expected), expected)
        if _alike(carry, expected)
        else (jax.tree.map(jnp.asarray, carry))
    )
    why = f"the carry of the cell {cell.name!r} for batch axes {batch}"
    check_matches(argument, carry, expected, why)
    return carry


def _alike(carry: PyTree, expected: PyTree) -> bool:
    return jax.tree.structure(_adopt(carry, expected)) == jax.tree.structure(expected)


def _adopt(carry: PyTree, expected: PyTree) -> PyTree:
    """Plain tuples and lists as the tuples that stand in their places in `expected`."""
    if type(carry) not in (tuple, list, type(expected)) or not isinstance(expected, tuple):
        return carry
    if len(carry) != len(expected):
        return carry
    parts = [_adopt(mine, part) for mine, part in zip(carry, expected, strict=True)]
    return type(expected)(*parts) if hasattr(expected, "_fields") else tuple(parts)


def _fit(leaf: Any, expected: Any) -> Any:
    leaf = jnp.asarray(leaf)
    if leaf.dtype in (jnp.bfloat16, jnp.float16) and expected.dtype == jnp.float32:
        return leaf.astype(expected.dtype)
    return leaf


def check_step(cell: Any, params: PyTree, carry: PyTree, x: Any) -> tuple[PyTree, PyTree, PyTree]:
    """Parameters, carry and input of one step as arrays, or the error that `jaxrnn.scan` gives.

    It goes by shapes and dtypes, and those that it has seen before are not looked at again.

    Args:
      cell: a `Cell` or a `Layer` that can step.
      params: its parameters.
      carry: the state before the step.
      x: ``(*batch, D)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.checks import check_step
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> _, _, x = check_step(jaxrnn.gru, params, jaxrnn.gru.carry(params), [1.0, 2.0, 3.0])
      >>> x.shape
      (3,)
    """
    x = check_inputs(cell, "x", x, "(*batch")
    params = arrays(params)
    batch = jax.tree.leaves(x)[0].shape[: -cell.axes]
    _check_shapes(cell, *_abstract((params, x)))
    return params, check_carry(cell, params, carry, batch), x


def arrays(params: PyTree) -> PyTree:
    """Parameters with numpy's arrays made JAX's, float64 the widest float that JAX has."""
    return jax.tree.map(lambda a: jnp.asarray(a) if isinstance(a, np.ndarray) else a, params)


def _shape(leaf: Any) -> Any:
    """What is known of a leaf without its value; of a plain number, the number."""
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return leaf if isinstance(leaf, int | float | complex) else type(leaf)


@lru_cache(maxsize=64)
def _check_shapes(cell: Any, structure: Any, leaves: tuple[Any, ...]) -> None:
    params, x = structure.unflatten(leaves)
    check_params(cell, params, x, inputs="x")
    parts = getattr(cell, "parts", ())
    if parts:
        check_parts(cell.name, parts, params)
        _check_layers(cell, params, x, "params")


def _check_layers(cell: Any, params: PyTree, x: Any, argument: str) -> None:
    """Each layer of a stack against the output of the one before."""
    first = jax.tree.leaves(x)[0]
    for k, part in enumerate(getattr(cell, "parts", ())):
        name = f"{argument}[{k}]"
        if k and getattr(cell.spec, "skip", False):
            x = jax.ShapeDtypeStruct((*x.shape[:-1], x.shape[-1] + first.shape[-1]), x.dtype)
        check_params(part, params[k], x, argument=name, inputs="x" if k == 0 else "its input")
        _check_layers(part, params[k], x, name)
        carry = jax.eval_shape(
            lambda p, x, part=part: part.carry(p, jax.tree.leaves(x)[0].shape[: -part.axes]),
            params[k],
            x,
        )
        x = jax.eval_shape(part.advance, params[k], carry, x)[1]
