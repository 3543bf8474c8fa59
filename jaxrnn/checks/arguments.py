"""Checks of arguments at trace time: each error names the argument, what was expected, what came.

They look only at shapes, dtypes and tree structure, so they cost nothing in compiled code.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Sequence
from functools import lru_cache, wraps
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

__all__ = [
    "check_array",
    "check_bool",
    "check_choice",
    "check_flags",
    "check_floating",
    "check_key",
    "check_lengths",
    "check_matches",
    "check_positive",
    "check_real",
    "check_size",
    "check_start",
    "describe",
    "differences",
    "expected_params",
    "sized",
]

PyTree = Any
Init = TypeVar("Init", bound=Callable[..., Any])


def check_array(argument: str, value: Any) -> np.ndarray:
    """The value as a numpy array, or an error unless it is one: rows of one shape, no objects.

    Args:
      argument: the argument's name.
      value: what came.

    Example:
      >>> from jaxrnn.checks import check_array
      >>> check_array("series", [[1, 2], [3, 4]]).shape
      (2, 2)
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{argument}: expected an array, got rows of unequal shapes") from error
    if array.dtype == object:
        raise TypeError(f"{argument}: expected an array, got {type(value).__name__}")
    return array


def check_bool(argument: str, value: Any) -> None:
    """Raise TypeError unless the value is True or False.

    Args:
      argument: the argument's name.
      value: what came.

    Example:
      >>> from jaxrnn.checks import check_bool
      >>> check_bool("reverse", False)
    """
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{argument}: expected True or False, got {value!r}")


def check_choice(argument: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise ValueError unless the value is one of the choices.

    Args:
      argument: the argument's name.
      value: what came.
      choices: what is allowed.

    Example:
      >>> from jaxrnn.checks import check_choice
      >>> check_choice("reset", "after", ("after", "before"))
    """
    if value not in choices:
        raise ValueError(f"{argument}: expected one of {tuple(choices)}, got {value!r}")


def check_positive(argument: str, value: Any) -> None:
    """Raise TypeError or ValueError unless the value is an int of at least 1.

    Args:
      argument: the argument's name.
      value: what came.

    Example:
      >>> from jaxrnn.checks import check_positive
      >>> check_positive("unroll", 2)
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{argument}: expected a positive int, got {value!r}")
    if value < 1:
        raise ValueError(f"{argument}: expected a positive int, got {value}")


def check_real(
    argument: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    below: float = math.inf,
) -> None:
    """Raise unless this is a number of a range.

    Args:
      argument: what it is called.
      value: what should be a number.
      above: what it must be greater than.
      least: the smallest that it may be.
      below: what it must be smaller than.

    Raises:
      TypeError: for something else than a number.
      ValueError: for one out of range.

    Example:
      >>> from jaxrnn.checks import check_real
      >>> check_real("damping", 1, least=0, below=1)
      Traceback (most recent call last):
      ValueError: damping: expected a number, at least 0 and below 1, got 1
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{argument}: expected a number, got {type(value).__name__}")
    if above < float(value) and least <= float(value) < below:
        return
    words = [f"above {above:g}"] if above > -math.inf else []
    words += [f"at least {least:g}"] if least > -math.inf else []
    words += [f"below {below:g}"] if below < math.inf else []
    raise ValueError(f"{argument}: expected a number, {' and '.join(words)}, got {value!r}")


def check_size(argument: str, value: Any, least: int = 1) -> None:
    """Raise TypeError or ValueError unless the value is a whole number of at least so much.

    Args:
      argument: the argument's name.
      value: what came.
      least: the least allowed.

    Example:
      >>> from jaxrnn.checks import check_size
      >>> check_size("length", 3)
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{argument}: expected a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{argument}: expected at least {least}, got {value}")


def check_floating(argument: str, x: Any) -> Array:
    """The argument as an array, or TypeError unless it holds floating-point numbers.

    Args:
      argument: the argument's name.
      x: what came.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.checks import check_floating
      >>> check_floating("xs", np.ones(3, np.float32)).shape
      (3,)
    """
    if not hasattr(x, "dtype") and not isinstance(x, list | tuple | float):
        raise TypeError(f"{argument}: expected a floating-point array, got {type(x).__name__}")
    try:
        x = jnp.asarray(x)
    except (TypeError, ValueError) as error:
        got = f"{type(x).__name__} ({error})"
        raise TypeError(f"{argument}: expected a floating-point array, got {got}") from error
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        raise TypeError(f"{argument}: expected a floating-point array, got dtype {x.dtype}")
    return x


def check_flags(
    argument: str, flags: Any, shape: tuple[int, ...], *, axes: str = "(T, *batch)"
) -> Array:
    """The flags as an array, or an error unless they are booleans of that shape.

    Args:
      argument: the argument's name.
      flags: what came.
      shape: what is expected.
      axes: the same in letters.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.checks import check_flags
      >>> check_flags("mask", np.ones((3, 2), bool), (3, 2)).shape
      (3, 2)
    """
    flags = jnp.asarray(flags)
    if flags.dtype != jnp.bool_:
        raise TypeError(f"{argument}: expected booleans {axes}, got dtype {flags.dtype}")
    if flags.shape != shape:
        raise ValueError(f"{argument}: expected shape {shape} {axes}, got {flags.shape}")
    return flags


def check_key(argument: str, key: Any) -> Array:
    """A threefry key made from a PRNG key, or TypeError unless it is one.

    Keys of other kinds draw other numbers under `jax.vmap` than alone, so that a sequence in
    pieces would not agree with the whole.

    Args:
      argument: the argument's name.
      key: what came, of `jax.random.key` or ``PRNGKey``.

    Example:
      >>> import jax
      >>> from jaxrnn.checks import check_key
      >>> check_key("key", jax.random.key(0, impl="rbg")).dtype
      key<fry>
    """
    if isinstance(key, jax.Array | np.ndarray):
        if key.dtype == jnp.uint32 and key.ndim == 1:
            key = jax.random.wrap_key_data(jnp.asarray(key))
        if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.ndim == 0:
            if "fry" in str(key.dtype):
                return jnp.asarray(key)
            seed = jax.random.bits(key, (2,), jnp.uint32)
            return jax.random.wrap_key_data(seed, impl="threefry2x32")
    hint = f"; a seed is made one by jax.random.key({key})" if isinstance(key, int) else ""
    raise TypeError(f"{argument}: expected one PRNG key, got {describe(key)}{hint}")


def check_lengths(
    lengths: Any, time: int, batch: tuple[int, ...], *, argument: str = "lengths"
) -> Array:
    """The lengths as an array, or an error unless they are integers ``(*batch,)`` in 0..T.

    The range can be checked only where the values are known; traced lengths are clipped.

    Args:
      lengths: what came.
      time: T.
      batch: the batch axes.
      argument: the argument's name.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.checks import check_lengths
      >>> check_lengths(np.array([3, 0]), 5, (2,)).tolist()
      [3, 0]
    """
    concrete = not isinstance(lengths, Tracer)
    lengths = np.asarray(lengths) if concrete else lengths
    if not jnp.issubdtype(lengths.dtype, jnp.integer) and lengths.size:
        raise TypeError(f"{argument}: expected integers, got dtype {lengths.dtype}")
    if lengths.shape != batch:
        raise ValueError(f"{argument}: expected shape {batch} (*batch,), got {lengths.shape}")
    if concrete and lengths.size and (lengths.min() < 0 or lengths.max() > time):
        raise ValueError(
            f"{argument}: expected values in 0..{time} (T), got a minimum of {lengths.min()} "
            f"and a maximum of {lengths.max()}"
        )
    return jnp.clip(jnp.asarray(lengths, jnp.int32), 0, time)


def check_start(argument: str, start: Any, *, rows: bool = False) -> Array:
    """The index of a time step as an array, or TypeError unless it is one integer, of 32 bits.

    Args:
      argument: the argument's name.
      start: what came.
      rows: whether there may be one for each row.

    Example:
      >>> from jaxrnn.checks import check_start
      >>> int(check_start("start", 3))
      3
    """
    if not hasattr(start, "dtype") and not isinstance(start, int):
        raise TypeError(f"{argument}: expected one integer, got {start!r}")
    if not jnp.issubdtype(jnp.result_type(start), jnp.integer) or (jnp.shape(start) and not rows):
        raise TypeError(f"{argument}: expected one integer, got {describe(start)}")
    if isinstance(start, int | np.generic) and not -(2**31) <= int(start) < 2**31:
        raise ValueError(f"{argument}: expected an int below 2**31 in size, got {start}")
    return jnp.asarray(start, jnp.int32)


def describe(leaf: Any) -> str:
    """Shape and dtype of an array, the type of anything else.

    Args:
      leaf: what came.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.checks import describe
      >>> describe(np.ones((2, 3), np.float32)), describe("abc")
      ('float32[2, 3]', 'str')
    """
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"{leaf.dtype}{list(leaf.shape)}"
    return type(leaf).__name__


def differences(argument: str, got: PyTree, expected: PyTree) -> tuple[list[str], bool]:
    """What is wrong with every leaf of the wrong shape or dtype, missing or surplus.

    Args:
      argument: the argument's name.
      got: a pytree of arrays.
      expected: a pytree of arrays or `jax.ShapeDtypeStruct`.

    Returns:
      ``(problems, shapes)``, shapes whether one of them is a shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.checks import differences
      >>> differences("carry", jnp.zeros(3), jnp.ones(3, jnp.bfloat16))
      (['carry: expected bfloat16[3], got float32[3]'], False)
    """

    def named(tree: PyTree) -> dict[str, Any]:
        leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
        return {argument + jax.tree_util.keystr(path): leaf for path, leaf in leaves}

    mine, theirs = named(got), named(expected)
    problems, shapes = [], False
    for name, want in theirs.items():
        have = mine.get(name)
        if have is None:
            problems.append(f"{name}: expected {describe(want)}, missing")
        elif not hasattr(have, "dtype") or have.dtype != want.dtype or have.shape != want.shape:
            problems.append(f"{name}: expected {describe(want)}, got {describe(have)}")
            shapes |= hasattr(have, "shape") and have.shape != want.shape
    problems += [f"{n}: unexpected {describe(leaf)}" for n, leaf in mine.items() if n not in theirs]
    if not problems and jax.tree.structure(got) != jax.tree.structure(expected):
        problems.append(
            f"{argument}: expected {jax.tree.structure(expected)}, got {jax.tree.structure(got)}"
        )
    return problems, shapes


def check_matches(argument: str, got: PyTree, expected: PyTree, why: str = "") -> None:
    """Raise one error that lists every leaf of the wrong shape or dtype, missing or surplus.

    Args:
      argument: the argument's name.
      got: a pytree of arrays.
      expected: a pytree of arrays or `jax.ShapeDtypeStruct`.
      why: where the expectation comes from, added to the message.

    Raises:
      TypeError: if only the structure or the dtypes differ.
      ValueError: if a shape differs.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.checks import check_matches
      >>> check_matches("carry", jnp.zeros(3), jnp.ones(3))
    """
    problems, shapes = differences(argument, got, expected)
    if problems:
        message = "\n  ".join(problems) + (f"\n({why})" if why else "")
        raise (ValueError if shapes else TypeError)(message)


def sized(init: Init) -> Init:
    """The ``init`` of a cell, made to check its sizes before it draws anything.

    Args:
      init: ``init(key, input_size, hidden_size, ...) -> params``.

    Raises:
      TypeError: from what is returned, for a size that is not an int.
      ValueError: from what is returned, for a size below 1.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.checks import sized
      >>> @sized
      ... def init(key, input_size, hidden_size):
      ...     return jnp.zeros((input_size, hidden_size))
      >>> init(None, 3, 0)
      Traceback (most recent call last):
      ValueError: hidden_size: expected a positive int, got 0
    """

    @wraps(init)
    def checked(key: Any, input_size: int, hidden_size: int, **options: Any) -> Any:
        check_positive("input_size", input_size)
        check_positive("hidden_size", hidden_size)
        return init(key, input_size, hidden_size, **options)

    return checked  # type: ignore[return-value]


@lru_cache(maxsize=64)
def expected_params(
    cell: Any,
    input_size: int,
    hidden_size: int | tuple[int, ...],
    dtype: Any,
    use_bias: bool | None = None,
) -> PyTree:
    """The shapes and dtypes of what the cell's ``init`` gives.

    Args:
      cell: a `Cell` or a `Layer`.
      input_size: D.
      hidden_size: H, as the cell's ``init`` takes it.
      dtype: a `numpy.dtype`.
      use_bias: an option of ``init``, left to it if None.

    Example:
      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> from jaxrnn.checks import expected_params
      >>> expected_params(jaxrnn.lstm, 3, 5, jnp.dtype("float32")).bias.shape
      (20,)
    """
    key = jax.eval_shape(lambda: jax.random.key(0))
    options = {} if use_bias is None else {"use_bias": use_bias}
    init = lambda key: cell.init(key, input_size, hidden_size, dtype=dtype, **options)  # noqa: E731
    return jax.eval_shape(init, key)
