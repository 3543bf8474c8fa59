"""What cells of continuous time share: time gaps, step sizes, and kernels drawn for [x; s]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, DType
from jaxrnn.cells.blocks import wide

__all__ = ["joint", "scaled_step", "split_gaps", "uniform"]


def split_gaps(x: Any) -> tuple[Array, Array | None]:
    """The features of an input and the time since the step before, None where that is always 1.

    Args:
      x: features ``(..., D)``, or a pair of them and gaps, ``(..., 1)`` or ``(...)``.

    Returns:
      ``(features, gaps)``, the gaps ``(..., 1)`` in the dtype of the state, or None.

    Raises:
      ValueError: for another number of parts, or gaps of another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.continuous.gaps import split_gaps
      >>> split_gaps((jnp.ones((7, 3)), jnp.ones(7)))[1].shape
      (7, 1)
    """
    if not isinstance(x, tuple | list):
        return x, None
    if len(x) != 2:
        raise ValueError(f"xs: expected features or a pair (features, gaps), got {len(x)} parts")
    features, gaps = x
    if gaps.ndim == features.ndim - 1:
        gaps = gaps[..., None]
    if gaps.shape != (*features.shape[:-1], 1):
        raise ValueError(
            f"xs: expected one gap beside each row of the features {features.shape}, "
            f"{(*features.shape[:-1], 1)} or {features.shape[:-1]}, got {x[1].shape}"
        )
    return features, jnp.asarray(gaps, wide(features.dtype))


def scaled_step(dt: float, gaps: Array | None) -> Any:
    """The step size of each step, dt times its gap.

    Args:
      dt: the step size of a gap of 1.
      gaps: what `split_gaps` gives.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.continuous.gaps import scaled_step
      >>> scaled_step(0.5, None), scaled_step(0.5, jnp.array([4.0])).tolist()
      (0.5, [2.0])
    """
    return dt if gaps is None else dt * gaps


def joint(
    init: initializers.Initializer | Sequence[initializers.Initializer],
    key: Array,
    rows: Sequence[int],
    size: int,
    count: int,
    dtype: DType,
) -> list[Array]:
    """Kernels of inputs that are one: each block is drawn for all rows together, then cut apart.

    The fan of a block is that of [x; s], as in libraries that join input and state.

    Args:
      init: initialiser of a block.
      key: a PRNG key.
      rows: how many rows each kernel has.
      size: the columns of a block.
      count: how many blocks.
      dtype: of the kernels.

    Returns:
      A kernel ``(rows[k], count * size)`` for each k.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.continuous.gaps import joint
      >>> from jaxrnn.initializers import glorot
      >>> [k.shape for k in joint(glorot, jax.random.key(0), (3, 5), 5, 4, "float32")]
      [(3, 20), (5, 20)]
    """
    kernel = initializers.blocks(init, key, (sum(rows), size), count, dtype)
    ends = [sum(rows[: k + 1]) for k in range(len(rows) - 1)]
    return jnp.split(kernel, ends, axis=0)


def uniform(bound: float) -> initializers.Initializer:
    """An initialiser, uniform on ±bound.

    Args:
      bound: the largest value.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.continuous.gaps import uniform
      >>> bool((abs(uniform(0.1)(jax.random.key(0), (5,), "float32")) <= 0.1).all())
      True
    """
    return lambda key, shape, dtype: jax.random.uniform(key, shape, dtype, -bound, bound)
