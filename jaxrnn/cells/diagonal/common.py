"""What the cells with a diagonal recurrence share: how they start, and the product."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, DType, split
from jaxrnn.cells.blocks import like, wide
from jaxrnn.cells.linear.start import input_kernels

__all__ = ["diagonal", "diagonal_kernels", "diagonal_normal", "ramp"]


def diagonal(h: Array, kernel: Array, count: int = 1) -> Array:
    """The state times diagonals, side by side, in float32 at least.

    Args:
      h: ``(..., H)``.
      kernel: ``(count * H,)``.
      count: how many diagonals.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.diagonal.common import diagonal
      >>> diagonal(jnp.ones((7, 2)), jnp.arange(4.0), 2)[0].tolist()
      [0.0, 1.0, 2.0, 3.0]
    """
    h = h.astype(wide(h.dtype))
    rows = jnp.concatenate([h] * count, axis=-1)
    return rows * like(kernel, rows)


def diagonal_normal(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    """Normal numbers of variance 4 / (5H), H = ``shape[-1]``.

    Args:
      key: a PRNG key.
      shape: ``(H,)``.
      dtype: the dtype returned.

    Source: Danieli et al. (2025), ParaRNN, arXiv:2510.21450.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.diagonal.common import diagonal_normal
      >>> diagonal_normal(jax.random.key(0), (5,)).shape
      (5,)
    """
    return jax.random.normal(key, shape, dtype) * math.sqrt(0.8 / shape[-1])


def ramp(last: float) -> initializers.Initializer:
    """An initialiser with numbers from 0 to the last, evenly spaced.

    Args:
      last: the last.

    Example:
      >>> from jaxrnn.cells.diagonal.common import ramp
      >>> ramp(-1.0)(None, (3,), "float32").tolist()
      [0.0, -0.5, -1.0]
    """

    def init_ramp(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
        return jnp.linspace(0.0, last, shape[-1], dtype=dtype)

    return init_ramp


def diagonal_kernels(
    key: Array,
    sizes: tuple[int, int],
    *,
    dtype: DType,
    kernel_init: initializers.Initializer,
    recurrent_init: initializers.Initializer,
    bias_init: initializers.Initializer,
    use_bias: bool,
) -> tuple[Array, Array, Array | None]:
    """W, a and b of three blocks.

    Args:
      key: a PRNG key.
      sizes: D and H.
      dtype: of all.
      kernel_init: initialiser of a block of W.
      recurrent_init: initialiser of a diagonal.
      bias_init: initialiser of a block of b, or one for each.
      use_bias: False for None in the place of b.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.diagonal import para_gru
      >>> para_gru.init(jax.random.key(0), 3, 2).bias.tolist()
      [0.0, -1.0, 0.0, 0.0, 0.0, 0.0]
    """
    k1, k2 = split(key, 2)
    w, b = input_kernels(
        k1,
        sizes,
        3,
        dtype=dtype,
        kernel_init=kernel_init,
        bias_init=bias_init,
        use_bias=use_bias,
    )
    return w, initializers.blocks(recurrent_init, k2, (sizes[1],), 3, dtype), b
