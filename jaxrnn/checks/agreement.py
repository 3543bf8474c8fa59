"""Checks that parameters, carry and input belong to a cell, and to each other.

They look only at shapes, dtypes and tree structure. A network names the part that is wrong.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxrnn.checks.arguments import check_floating, check_matches, describe, expected_params

__all__ = ["check_carry", "check_params", "check_parts", "check_step"]

PyTree = Any


def _hidden_size(cell: Any, params: PyTree, argument: str) -> int:
    """H by the cell's own account, or TypeError if these are no parameters of it."""
    try:
        return cell.hidden_size(params)
    except (AttributeError, IndexError, TypeError) as error:
        wanted = type(expected_params(cell, 1, 1, jnp.dtype("float32"))).__name__
        got = type(params).__name__
        if got == wanted:
            got = repr(jax.tree.map(describe, params))
        raise TypeError(
            f"{argument}: expected {wanted} of the cell {cell.name!r}, got {got}"
        ) from error


def check_params(
    cell: Any, params: PyTree, xs: Any, *, argument: str = "params", inputs: str = "xs"
) -> None:
    """Raise one error that lists every parameter that does not fit the cell and the input.

    Args:
      cell: the cell; one without `hidden_size` is not checked.
      params: its parameters.
      xs: the input, ``(..., D)``.
      argument: what the parameters are called.
      inputs: what the input is called.

    Raises:
      TypeError: for missing, surplus or wrongly typed leaves.
      ValueError: for leaves of the wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.checks.arguments import check_params
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> check_params(jaxrnn.gru, params, jax.numpy.ones((7, 3)))
    """
    if cell.hidden_size is None:
        return
    hidden_size = _hidden_size(cell, params, argument)
    expected = expected_params(cell, xs.shape[-1], hidden_size, xs.dtype)
    why = (
        f"the cell {cell.name!r} with D = {xs.shape[-1]} and dtype {xs.dtype} from {inputs} "
        f"{xs.shape}, H = {hidden_size} from {argument}"
    )
    check_matches(argument, params, expected, why)


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
      >>> from jaxrnn.checks.arguments import check_parts
      >>> net = jaxrnn.stack(jaxrnn.gru, jaxrnn.gru)
      >>> params = net.init(jax.random.key(0), 3, 5)
      >>> check_parts(net.name, net.parts, params)
      ['params[0]', 'params[1]']
    """
    if not isinstance(params, tuple | list) or len(params) != len(cells):
        got = f"{len(params)}" if isinstance(params, tuple | list) else type(params).__name__
        raise TypeError(f"{argument}: expected a tuple of {len(cells)} for {name!r}, got {got}")
    fields = getattr(cells, "_fields", None)
    ends = [f".{field}" for field in fields] if fields else [f"[{k}]" for k in range(len(cells))]
    names = [argument + end for end in ends]
    for cell, mine, called in zip(cells, params, names, strict=True):
        if cell.parts:
            check_parts(cell.name, cell.parts, mine, argument=called)
        elif getattr(cell, "hidden_size", None) is not None:
            _hidden_size(cell, mine, called)
    return names


def check_carry(cell: Any, params: PyTree, carry: PyTree, batch: tuple[int, ...]) -> None:
    """Raise one error that lists every leaf of a carry that is not as the cell's own.

    Args:
      cell: a `Cell` or a `Layer`.
      params: its parameters.
      carry: what came.
      batch: the batch axes.

    Raises:
      TypeError: if only the structure or the dtypes differ.
      ValueError: if a shape differs.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.checks.arguments import check_carry
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> check_carry(jaxrnn.gru, params, jax.numpy.ones((2, 5)), (2,))
    """
    expected = jax.eval_shape(lambda p: cell.carry(p, batch), params)
    why = f"the carry of the cell {cell.name!r} for batch axes {batch}"
    check_matches("carry", carry, expected, why)


def check_step(cell: Any, params: PyTree, carry: PyTree, x: Any) -> tuple[PyTree, Array]:
    """The carry and the input of one step as arrays, or the error that `jaxrnn.scan` gives.

    It goes by shapes and dtypes, and those that it has seen before are not looked at again.

    Args:
      cell: a `Cell`.
      params: its parameters.
      carry: the state before the step.
      x: ``(*batch, D)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.checks.arguments import check_step
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> _, x = check_step(jaxrnn.gru, params, jaxrnn.gru.carry(params), [1.0, 2.0, 3.0])
      >>> x.shape
      (3,)
    """
    x = check_floating("x", x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"x: expected (*batch, D), at least one feature, got shape {x.shape}")
    carry = jax.tree.map(jnp.asarray, carry)
    leaves, structure = jax.tree.flatten((params, carry, x))
    _check_shapes(cell, structure, tuple(map(_shape, leaves)))
    return carry, x


def _shape(leaf: Any) -> Any:
    """What is known of a leaf without its value; of a plain number, the number."""
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return leaf if isinstance(leaf, int | float | complex) else type(leaf)


@lru_cache(maxsize=512)
def _check_shapes(cell: Any, structure: Any, leaves: tuple[Any, ...]) -> None:
    params, carry, x = structure.unflatten(leaves)
    check_params(cell, params, x, inputs="x")
    check_carry(cell, params, carry, x.shape[:-1])
    _check_layers(cell, params, carry, x, "params")


def _check_layers(cell: Any, params: PyTree, carry: PyTree, x: Any, argument: str) -> None:
    """Each layer of a stack against the output of the one before."""
    for k, part in enumerate(cell.parts):
        name = f"{argument}[{k}]"
        check_params(part, params[k], x, argument=name, inputs="x" if k == 0 else "its input")
        _check_layers(part, params[k], carry[k], x, name)
        x = jax.eval_shape(part.step, params[k], carry[k], x)[1]
