"""States that are a matrix for each head: what is shared by the cells that have one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Array, Cell, Matrix, Spec, zeros
from jaxrnn.cells.blocks import gates, wide
from jaxrnn.cells.linear.common import LinearGates, linear_cell, project_blocks

__all__ = ["delta_cell", "heads_of", "matrix_carry", "normalized", "read_matrix", "write"]


def matrix_carry(params: Any, size: int, heads: int, batch_shape: tuple[int, ...]) -> Array:
    """Matrices of zeros, ``(*batch, heads, H/heads, H/heads)``, of float32 at least.

    Args:
      params: with a field `input_kernel`.
      size: H.
      heads: how many.
      batch_shape: the batch axes.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_gla
      >>> cell = make_gla(num_heads=2)
      >>> cell.carry(cell.init(jax.random.key(0), 3, 8), (7,)).shape
      (7, 2, 4, 4)
    """
    flat = zeros(batch_shape, size, wide(params.input_kernel.dtype))
    rows = heads_of(flat, heads)
    return jnp.broadcast_to(rows[..., None], (*rows.shape, rows.shape[-1]))


def heads_of(z: Array, heads: int) -> Array:
    """The last axis divided among the heads.

    Args:
      z: ``(..., H)``.
      heads: how many.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.matrices import heads_of
      >>> heads_of(jnp.ones((7, 6)), 2).shape
      (7, 2, 3)
    """
    return z.reshape(*z.shape[:-1], heads, z.shape[-1] // heads)


def write(k: Array, v: Array) -> Array:
    r"""The outer product :math:`k v^\top` of each head.

    Args:
      k: ``(..., K)``.
      v: ``(..., V)``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.matrices import write
      >>> write(jnp.ones((2, 3)), jnp.ones((2, 4))).shape
      (2, 3, 4)
    """
    return k[..., :, None] * v[..., None, :]


def normalized(x: Array) -> Array:
    """X divided by its Euclidean length, along the last axis; zeros stay zeros.

    Args:
      x: ``(..., K)``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.matrices import normalized
      >>> normalized(jnp.array([3.0, 4.0])).round(3).tolist()
      [0.6, 0.8]
    """
    squares = jnp.sum(x * x, axis=-1, keepdims=True)
    return x / jnp.sqrt(jnp.maximum(squares, 1e-12))


def read_matrix(params: Any, s: Array, q: Array) -> Array:
    r"""What the queries read, :math:`q^\top S / \sqrt K`, the heads side by side.

    Args:
      params: with a field `input_kernel`, of the dtype returned.
      s: ``(..., heads, K, V)``.
      q: ``(..., heads, K)``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear import InputParams
      >>> from jaxrnn.cells.linear.matrices import read_matrix
      >>> params = InputParams(jnp.ones((3, 4)))
      >>> read_matrix(params, jnp.ones((2, 4, 4)), jnp.ones((2, 4))).tolist()
      [2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]
    """
    o = jnp.sum(q[..., None] * s, axis=-2) * q.shape[-1] ** -0.5
    return o.reshape(*o.shape[:-2], o.shape[-2] * o.shape[-1]).astype(params.input_kernel.dtype)


def delta_cell(
    name: str,
    init: Callable[..., Any],
    *,
    blocks: int,
    extra: int,
    heads: int,
    activation: Callable[[Array], Array],
    decay: Callable[[Any, Array, Array], Array] | None,
    spec: Spec,
) -> Cell[Any, Array]:
    r"""A cell that replaces, in its decayed state, what it holds at a key.

    .. math::
        S' &= \mathrm{diag}(\alpha)\, S_{t-1} \\
        S_t &= S' + \beta\, k\, (v - {S'}^\top k)^\top

    The input kernel has blocks of H columns, of which the first three are q, k, v, and after them
    a few for each head, the first of them β.

    Args:
      name: of the cell.
      init: its parameters.
      blocks: how many blocks of H columns.
      extra: how many columns more each head has.
      heads: how many.
      activation: of q and k, before they are normalized.
      decay: ``(params, block, more) -> α`` from the fourth block, ``(..., heads, K)``, and the
        second of the columns more, ``(..., heads, 1)``; α is of either shape. None for none.
      spec: the constructor's arguments.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import delta_net
      >>> delta_net.carry(delta_net.init(jax.random.key(0), 3, 4)).shape
      (1, 4, 4)
    """

    def sizes(columns: int) -> int:
        return (columns - extra * heads) // blocks

    def carry(params: Any, batch_shape: tuple[int, ...] = ()) -> Array:
        size = sizes(params.input_kernel.shape[1])
        return matrix_carry(params, size, heads, batch_shape)

    def parts(z: Array) -> tuple[list[Array], list[Array]]:
        size = sizes(z.shape[-1])
        at = [size * (n + 1) for n in range(blocks)]
        *main, rest = jnp.split(z, at, axis=-1)
        more = jnp.split(rest, extra, axis=-1)
        return [heads_of(part, heads) for part in main], [part[..., None] for part in more]

    def gated(params: Any, z: Array) -> LinearGates:
        main, more = parts(z)
        keep = None if decay is None else decay(params, main[-1], more[-1])
        return LinearGates(keep, gates(more[0], "s")[0])

    def factors(params: Any, z: Array) -> tuple[Array, Array, Any, Any]:
        gate, (_, k, v, *_) = gated(params, z), parts(z)[0]
        keep = None if gate.keep is None else gate.keep[..., None]
        return normalized(activation(k)), v, keep, gate.write

    def update(params: Any, s: Array, z: Array) -> Array:
        k, v, keep, beta = factors(params, z)
        s = s if keep is None else keep * s
        return s + write(k, beta * (v - jnp.sum(k[..., None] * s, axis=-2)))

    def coefficients(params: Any, z: Array) -> tuple[Matrix, Array]:
        k, v, keep, beta = factors(params, z)
        a = jnp.broadcast_to(jnp.asarray(np.eye(k.shape[-1]), k.dtype), (*k.shape, k.shape[-1]))
        a = a - write(beta * k, k)
        return Matrix(a if keep is None else a * jnp.swapaxes(keep, -1, -2)), write(beta * k, v)

    def output(params: Any, s: Array, z: Array) -> Array:
        return read_matrix(params, s, normalized(activation(parts(z)[0][0])))

    return linear_cell(
        name,
        init,
        carry,
        project_blocks,
        coefficients,
        output,
        update=update,
        gates=gated,
        spec=spec,
    )
