"""Kernels of low rank, for FastRNN and FastGRNN, and how those two draw theirs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, DType, split
from jaxrnn.cells.blocks import linear
from jaxrnn.cells.simplified.drawing import Asked
from jaxrnn.checks import check_positive

__all__ = ["Rank", "check_rank", "low_rank", "product", "small_normal"]

Rank = int | tuple[int | None, int | None] | None
"""The rank of W and R: one for both, or a pair; None for full rank."""


def small_normal(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    """Normal with standard deviation 0.1.

    Args:
      key: a PRNG key.
      shape: any.
      dtype: the dtype returned.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.simplified.low_rank import small_normal
      >>> bool((abs(small_normal(jax.random.key(0), (9,))) < 0.5).all())
      True
    """
    return 0.1 * jax.random.normal(key, shape, dtype)


def check_rank(rank: Any) -> tuple[int | None, int | None]:
    """The ranks of W and of R, or an error unless they are positive ints or None.

    Args:
      rank: what came: one of them for both, or a pair.

    Raises:
      TypeError: for another type.
      ValueError: for a rank below 1, or another number of them than two.

    Example:
      >>> from jaxrnn.cells.simplified.low_rank import check_rank
      >>> check_rank(4), check_rank((None, 2))
      ((4, 4), (None, 2))
    """
    pair = rank if isinstance(rank, tuple) else (rank, rank)
    if len(pair) != 2:
        raise ValueError(f"rank: expected one for W and one for R, got {rank!r}")
    for each in pair:
        if each is not None:
            check_positive("rank", each)
    return pair


def low_rank(asked: Asked, ranks: tuple[int | None, int | None]) -> dict[str, Array]:
    """The kernels of low rank, as two factors each.

    Args:
      asked: what an ``init`` was asked for.
      ranks: of W and of R, None for full rank.

    Returns:
      The fields of the parameters that are not of full rank, by name.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.make_fast_rnn(rank=2).init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.input_factor.shape
      ((3, 2), (2, 5))
    """
    k1, k2, k3, k4 = split(asked.key, 4)
    sides = [("input", asked.input_size, asked.kernel_init, k1, k2)]
    sides += [("recurrent", asked.hidden_size, asked.recurrent_init, k3, k4)]
    fields = {}
    for (side, size, init, first, second), rank in zip(sides, ranks, strict=True):
        if rank is not None:
            fields[f"{side}_kernel"] = init(first, (size, rank), asked.dtype)
            fields[f"{side}_factor"] = init(second, (rank, asked.hidden_size), asked.dtype)
    return fields


def product(x: Array, kernel: Array, factor: Array | None, bias: Array | None = None) -> Array:
    """An affine map whose kernel may be in two factors.

    Args:
      x: ``(..., in)``, of any dtype.
      kernel: ``(in, out)``, or ``(in, r)`` with a factor.
      factor: ``(r, out)`` or None.
      bias: ``(out,)`` or None.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.simplified.low_rank import product
      >>> product(jnp.ones(3), jnp.ones((3, 2)), jnp.ones((2, 4))).tolist()
      [6.0, 6.0, 6.0, 6.0]
    """
    x = x.astype(kernel.dtype)
    if factor is None:
        return linear(x, kernel, bias)
    return linear(linear(x, kernel).astype(factor.dtype), factor, bias)
