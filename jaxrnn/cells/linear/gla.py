"""Gated linear attention, as a cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.linear.common import InputParams, LinearGates, linear_cell, project_blocks
from jaxrnn.cells.linear.matrices import heads_of, matrix_carry, read_matrix, write
from jaxrnn.cells.linear.start import input_init
from jaxrnn.checks import check_bool, check_positive

__all__ = ["GLASpec", "gla", "make_gla"]


class GLASpec(NamedTuple):
    """What `make_gla` was given.

    Example:
      >>> from jaxrnn.cells.linear import gla
      >>> gla.spec.num_heads
      1
    """

    num_heads: int = 1
    temperature: float = 1.0
    use_bias: bool = False

    def make(self) -> Cell[InputParams, Array]:
        """The cell."""
        return make_gla(**self._asdict())


@documented
def make_gla(
    *, num_heads: int = 1, temperature: float = 1.0, use_bias: bool = False
) -> Cell[InputParams, Array]:
    r"""Gated linear attention: a matrix that decays by its rows.

    .. math::
        \alpha &= \sigma(W_\alpha x_t)^{1/\tau},\quad q, k, v = W_{q,k,v}\, x_t \\
        S_t &= \mathrm{diag}(\alpha)\, S_{t-1} + k v^\top \\
        o_t &= S_t^\top q / \sqrt K

    for each head, K = H / heads. The blocks of W are in the order q, k, v, α. The carry is S,
    ``(*batch, heads, K, K)``, float32 at least; the output ``(*batch, H)`` is o, the heads side by
    side. What the paper does to o afterwards, a normalisation, a gate and a product, is not part of
    the cell, and α comes of one full product, not of two thin ones.

    Args:
      num_heads: how many heads; H must be a multiple.
      temperature: τ; 16 in the paper, which keeps the state for longer.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `InputParams` and coefficients. Its ``init`` takes ``kernel_init`` (glorot),
      ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a number of heads that is not an int, or a τ that is not a number.
      ValueError: for one that is not positive; from ``init``, for an H that is no multiple.

    Source: Yang et al. (2024), Gated linear attention transformers with hardware-efficient
    training, arXiv:2312.06635.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_gla
      >>> cell = make_gla(num_heads=2, temperature=16.0)
      >>> params = cell.init(jax.random.key(0), 3, 8)
      >>> s, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> s.shape, y.shape
      ((2, 4, 4), (8,))
    """
    check_positive("num_heads", num_heads)
    check_bool("use_bias", use_bias)
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise TypeError(f"temperature: expected a positive number, got {temperature!r}")
    if not temperature > 0:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    spec = GLASpec(num_heads, temperature, use_bias)

    def carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return matrix_carry(params, params.input_kernel.shape[1] // 4, num_heads, batch_shape)

    def parts(z: Array) -> list[Array]:
        return [heads_of(part, num_heads) for part in jnp.split(z, 4, axis=-1)]

    def gated(params: InputParams, z: Array) -> LinearGates:
        return LinearGates(jnp.exp(jax.nn.log_sigmoid(parts(z)[3]) / temperature))

    def coefficients(params: InputParams, z: Array) -> tuple[Array, Array]:
        _, k, v, _ = parts(z)
        keep: Any = gated(params, z).keep
        return keep[..., None], write(k, v)

    def output(params: InputParams, s: Array, z: Array) -> Array:
        return read_matrix(params, s, parts(z)[0])

    init = input_init(4, kernel_init=initializers.glorot, use_bias=use_bias, heads=num_heads)
    name = name_of("gla", spec)
    return linear_cell(
        name, init, carry, project_blocks, coefficients, output, gates=gated, spec=spec
    )


gla = make_gla()
r"""Gated linear attention with one head:
:math:`S_t = \mathrm{diag}(\alpha)\, S_{t-1} + k v^\top`, :math:`o_t = S_t^\top q / \sqrt H`.

Params `InputParams`, blocks q, k, v, α; carry S, output o. Source: Yang et al. (2024), Gated linear
attention transformers with hardware-efficient training, arXiv:2312.06635.
"""
