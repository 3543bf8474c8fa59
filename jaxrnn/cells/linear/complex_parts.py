"""Complex states from real parameters: how an input gets in, and what is read."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.base import Array, DType, zeros
from jaxrnn.cells.blocks import like, linear, wide

__all__ = [
    "ComplexInput",
    "check_square",
    "complex_dtype",
    "complex_product",
    "complex_read",
    "complex_state",
    "normal",
]


class ComplexInput(NamedTuple):
    """What a cell with a complex state makes of its input.

    Attributes:
      state: what is added to the state, ``(..., N)``, complex.
      x: the input itself, ``(..., D)``, for the way past the state.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import lru
      >>> params = lru.init(jax.random.key(0), 4, 4)
      >>> str(lru.project(params, jax.numpy.ones(4)).state.dtype)
      'complex64'
    """

    state: Any
    x: Any = None


def complex_dtype(dtype: DType) -> DType:
    """The complex dtype of states of parameters of this dtype: complex64 at least.

    Args:
      dtype: a floating dtype.

    Example:
      >>> from jaxrnn.cells.linear.complex_parts import complex_dtype
      >>> str(complex_dtype("bfloat16")), str(complex_dtype("float64"))
      ('complex64', 'complex128')
    """
    return np.promote_types(wide(dtype), np.complex64)


def complex_state(params: Any, batch_shape: tuple[int, ...] = ()) -> Array:
    """A complex state of zeros, of as many numbers as `params.output_kernel` reads.

    Args:
      params: with a field `output_kernel`, ``(N, 2H)``.
      batch_shape: the batch axes.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import lru
      >>> lru.carry(lru.init(jax.random.key(0), 4, 4), (2,)).shape
      (2, 4)
    """
    kernel = params.output_kernel
    return zeros(batch_shape, kernel.shape[0], complex_dtype(kernel.dtype))


def complex_product(x: Array, kernel: Array, scale: Array | None = None) -> Array:
    """The product x (P + iQ), times a scale per unit, of a kernel that holds P and Q side by side.

    Args:
      x: ``(..., D)``, real.
      kernel: ``(D, 2N)``.
      scale: ``(N,)``, real, or None.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.complex_parts import complex_product
      >>> complex_product(jnp.ones(1), jnp.array([[2.0, 3.0]])).tolist()
      [(2+3j)]
    """
    re, im = jnp.split(linear(x, kernel), 2, axis=-1)
    if scale is not None:
        re, im = like(scale, re) * re, like(scale, im) * im
    return lax.complex(re, im)


def complex_read(s: Array, kernel: Array, skip: Array | None, x: Array) -> Array:
    r"""The real read-out :math:`\mathrm{Re}(s C) + d \odot x`, in the dtype of C.

    Args:
      s: ``(..., N)``, complex.
      kernel: the real and the imaginary part of C side by side, ``(N, 2H)``.
      skip: d, ``(H,)``, or None.
      x: ``(..., D)``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.complex_parts import complex_read
      >>> complex_read(jnp.array([1 + 2j]), jnp.array([[3.0, 4.0]]), None, jnp.ones(1)).tolist()
      [-5.0]
    """
    re, im = jnp.split(kernel.astype(s.real.dtype), 2, axis=-1)
    y = linear(jnp.concatenate([s.real, s.imag], -1), jnp.concatenate([re, -im]))
    if skip is not None:
        y = y + like(skip, y) * x.astype(y.dtype)
    return y.astype(kernel.dtype)


def check_square(cell: str, skip: bool, input_size: int, hidden_size: int) -> None:
    """Raise ValueError where the input is added to the output and is not of its size.

    Args:
      cell: its name.
      skip: whether it is added.
      input_size: D.
      hidden_size: H.

    Example:
      >>> from jaxrnn.cells.linear.complex_parts import check_square
      >>> check_square("lru", True, 4, 4)
    """
    if skip and input_size != hidden_size:
        raise ValueError(
            f"hidden_size: expected the input size {input_size} for {cell}, which adds its input "
            f"to its output (skip=False does not), got {hidden_size}"
        )


def normal(key: Array, shape: tuple[int, ...], variance: float, dtype: DType) -> Array:
    """Normal numbers of a variance, drawn in float32 at least.

    Args:
      key: a PRNG key.
      shape: any.
      variance: theirs.
      dtype: the dtype returned.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear.complex_parts import normal
      >>> normal(jax.random.key(0), (3, 4), 0.5, "float32").shape
      (3, 4)
    """
    return (jax.random.normal(key, shape, wide(dtype)) * variance**0.5).astype(dtype)
