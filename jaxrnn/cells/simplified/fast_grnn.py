"""FastGRNN: a gated network whose gate and candidate share their kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, like
from jaxrnn.cells.simplified.drawing import Asked, drawn
from jaxrnn.cells.simplified.low_rank import Rank, check_rank, low_rank, product, small_normal
from jaxrnn.cells.simplified.records import Mixture
from jaxrnn.cells.simplified.shared import check_number, mixed, narrow, wide_carry
from jaxrnn.checks import check_bool

__all__ = ["FastGRNNParams", "FastGRNNSpec", "fast_grnn", "make_fast_grnn"]


class FastGRNNParams(NamedTuple):
    """Parameters of a FastGRNN.

    Attributes:
      input_kernel: W, ``(D, H)``, or its first factor ``(D, r)``.
      recurrent_kernel: R, ``(H, H)``, or its first factor ``(H, r)``.
      bias: of z and of n, ``(2H,)``, or None.
      zeta: ζ, a number.
      nu: ν, a number.
      input_factor: the second factor of W, ``(r, H)``; None at full rank.
      recurrent_factor: the second factor of R, alike.

    Example:
      >>> import jax, jaxrnn
      >>> float(jaxrnn.cells.fast_grnn.init(jax.random.key(0), 3, 5).nu)
      -4.0
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    zeta: Array
    nu: Array
    input_factor: Array | None = None
    recurrent_factor: Array | None = None


class FastGRNNSpec(NamedTuple):
    """What `make_fast_grnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.fast_grnn.spec.zeta, jaxrnn.cells.fast_grnn.spec.nu
      (1.0, -4.0)
    """

    zeta: float = 1.0
    nu: float = -4.0
    rank: Rank = None
    use_bias: bool = True

    def make(self) -> Cell[FastGRNNParams, Array]:
        """The cell."""
        return make_fast_grnn(**self._asdict())


@documented
def make_fast_grnn(
    *, zeta: float = 1.0, nu: float = -4.0, rank: Rank = None, use_bias: bool = True
) -> Cell[FastGRNNParams, Array]:
    r"""A FastGRNN.

    .. math::
        u &= W x_t + R h_{t-1} \\
        z &= \sigma(u + b_z), \quad n = \tanh(u + b_n) \\
        h_t &= z \odot h_{t-1} + (\sigma(\zeta) (1 - z) + \sigma(\nu)) \odot n

    The carry is h, ``(*batch, H)``, float32 for the half types; the output is h. One product
    serves the gate and the candidate. ζ and ν are parameters, one number each.

    Args:
      zeta: what ζ starts from.
      nu: what ν starts from.
      rank: that of W and R, each then the product of two kernels; a pair for one of each, None
        for full rank.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `FastGRNNParams`, the biases in the order z, n. Its ``init`` takes
      ``kernel_init`` and ``recurrent_init`` (normal of standard deviation 0.1, for each factor),
      ``bias_init`` (ones) and ``use_bias``; the defaults are those of the authors' EdgeML.

    Raises:
      ValueError: for a rank below 1 or a number that is not finite.
      TypeError: for a rank that is no int, or a ζ or ν that is no number.

    Source: Kusupati et al. (2018), FastGRNN: a fast, accurate, stable and tiny kilobyte sized
    gated recurrent neural network, arXiv:1901.02358.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_fast_grnn(rank=2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    zeta, nu = check_number("zeta", zeta), check_number("nu", nu)
    spec, ranks = FastGRNNSpec(zeta, nu, rank, use_bias), check_rank(rank)

    def numbers(asked: Asked) -> dict[str, Array]:
        values = {"zeta": zeta, "nu": nu}
        values = {name: jnp.asarray(value, asked.dtype) for name, value in values.items()}
        return values | low_rank(asked, ranks)

    def project(params: FastGRNNParams, x: Array) -> Array:
        return product(x, params.input_kernel, params.input_factor)

    def recurrent(params: FastGRNNParams, h: Array) -> Array:
        return product(h, params.recurrent_kernel, params.recurrent_factor)

    def mixture(params: FastGRNNParams, h: Array, u: Array) -> Mixture:
        both = jnp.concatenate([u, u], axis=-1)
        both = both if params.bias is None else both + like(params.bias, both)
        z, n = gates(both, "st")
        a, b = (jax.nn.sigmoid(number.astype(u.dtype)) for number in (params.zeta, params.nu))
        return Mixture(z, a * (1 - z) + b, n)

    def bounds(params: FastGRNNParams, start: Array, count: Any) -> Array:
        return jnp.maximum(start, 1) + count * jax.nn.sigmoid(params.nu.astype(start.dtype))

    inits = {"kernel": small_normal, "recurrent": small_normal, "bias": initializers.constant(1.0)}
    return Cell(
        name_of("fast_grnn", spec),
        drawn(FastGRNNParams, (1, 1, 2), **inits, biases=use_bias, more=numbers),
        wide_carry,
        project,
        recurrent,
        mixed(mixture),
        narrow,
        gates=mixture,
        bounds=bounds,
        spec=spec,
    )


fast_grnn = make_fast_grnn()
r"""The FastGRNN at full rank, from ζ = 1 and ν = −4.

.. math::
    h_t = z \odot h_{t-1} + (\sigma(\zeta) (1 - z) + \sigma(\nu)) \odot \tanh(u + b_n)

with :math:`u = W x_t + R h_{t-1}` and :math:`z = \sigma(u + b_z)`. Params `FastGRNNParams`,
carry and output h. Source: Kusupati et al. (2018), arXiv:1901.02358.
"""
