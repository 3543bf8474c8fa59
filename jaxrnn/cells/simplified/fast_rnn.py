"""FastRNN: a plain network with a weighted residual connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import limit, named
from jaxrnn.cells.simplified.drawing import Asked, drawn
from jaxrnn.cells.simplified.low_rank import Rank, check_rank, low_rank, product, small_normal
from jaxrnn.cells.simplified.records import Mixture
from jaxrnn.cells.simplified.shared import check_number, mixed, narrow, wide_carry
from jaxrnn.checks import check_bool

__all__ = [
    "FastRNNParams",
    "FastRNNSpec",
    "fast_rnn",
    "make_fast_rnn",
]


class FastRNNParams(NamedTuple):
    """Parameters of a FastRNN.

    Attributes:
      input_kernel: W, ``(D, H)``, or its first factor ``(D, r)``.
      recurrent_kernel: R, ``(H, H)``, or its first factor ``(H, r)``.
      bias: b, ``(H,)``, or None.
      alpha: α, a number; σ(α) is how much of the candidate is written.
      beta: β, a number; σ(β) is how much of the state is kept.
      input_factor: the second factor of W, ``(r, H)``; None at full rank.
      recurrent_factor: the second factor of R, alike.

    Example:
      >>> import jax, jaxrnn
      >>> float(jaxrnn.cells.fast_rnn.init(jax.random.key(0), 3, 5).alpha)
      -3.0
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    alpha: Array
    beta: Array
    input_factor: Array | None = None
    recurrent_factor: Array | None = None


class FastRNNSpec(NamedTuple):
    """What `make_fast_rnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.fast_rnn.spec.alpha, jaxrnn.cells.fast_rnn.spec.beta
      (-3.0, 3.0)
    """

    activation: str | Callable[[Array], Array] = "tanh"
    alpha: float = -3.0
    beta: float = 3.0
    rank: Rank = None
    use_bias: bool = True

    def make(self) -> Cell[FastRNNParams, Array]:
        """The cell."""
        return make_fast_rnn(**self._asdict())


@documented
def make_fast_rnn(
    *,
    activation: str | Callable[[Array], Array] = "tanh",
    alpha: float = -3.0,
    beta: float = 3.0,
    rank: Rank = None,
    use_bias: bool = True,
) -> Cell[FastRNNParams, Array]:
    r"""A FastRNN.

    .. math::
        n &= \varphi(W x_t + R h_{t-1} + b) \\
        h_t &= \sigma(\beta)\, h_{t-1} + \sigma(\alpha)\, n

    The carry is h, ``(*batch, H)``, float32 for the half types; the output is h. α and β are
    parameters, one number each.

    Args:
      activation: φ, a name of `jaxrnn.cells.ACTIVATIONS` or an elementwise function.
      alpha: what α starts from.
      beta: what β starts from.
      rank: that of W and R, each then the product of two kernels; a pair for one of each, None
        for full rank.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `FastRNNParams`. Its ``init`` takes ``kernel_init`` and ``recurrent_init``
      (normal of standard deviation 0.1, for each factor), ``bias_init`` (ones) and ``use_bias``;
      the defaults are those of the authors' EdgeML.

    Raises:
      ValueError: for an unknown activation, a rank below 1 or a number that is not finite.
      TypeError: for a rank that is no int, or an α or β that is no number.

    Source: Kusupati et al. (2018), FastGRNN: a fast, accurate, stable and tiny kilobyte sized
    gated recurrent neural network, arXiv:1901.02358.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_fast_rnn(rank=(None, 2))
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.recurrent_kernel.shape, params.recurrent_factor.shape
      ((3, 5), (5, 2), (2, 5))
    """
    check_bool("use_bias", use_bias)
    alpha, beta = check_number("alpha", alpha), check_number("beta", beta)
    ranks, phi = check_rank(rank), resolve(activation, "activation")
    spec = FastRNNSpec(named(activation, "activation"), alpha, beta, rank, use_bias)

    def numbers(asked: Asked) -> dict[str, Array]:
        values = {"alpha": alpha, "beta": beta}
        values = {name: jnp.asarray(value, asked.dtype) for name, value in values.items()}
        return values | low_rank(asked, ranks)

    def project(params: FastRNNParams, x: Array) -> Array:
        return product(x, params.input_kernel, params.input_factor, params.bias)

    def recurrent(params: FastRNNParams, h: Array) -> Array:
        return product(h, params.recurrent_kernel, params.recurrent_factor)

    def mixture(params: FastRNNParams, h: Array, z: Array) -> Mixture:
        keep, write = (jax.nn.sigmoid(a.astype(z.dtype)) for a in (params.beta, params.alpha))
        return Mixture(keep, write, phi(z))

    def bounds(params: FastRNNParams, start: Array, count: Any) -> Array:
        return start + count * jax.nn.sigmoid(params.alpha.astype(start.dtype))

    squashed = limit(spec.activation) == 1
    inits = {"kernel": small_normal, "recurrent": small_normal, "bias": initializers.constant(1.0)}
    return Cell(
        name_of("fast_rnn", spec),
        drawn(FastRNNParams, (1, 1, 1), **inits, biases=use_bias, more=numbers),
        wide_carry,
        project,
        recurrent,
        mixed(mixture),
        narrow,
        bounds=bounds if squashed else None,
        spec=spec,
    )


fast_rnn = make_fast_rnn()
r"""The FastRNN, :math:`h_t = \sigma(\beta) h_{t-1} + \sigma(\alpha) \tanh(W x_t + R h_{t-1} + b)`.

It starts from α = −3 and β = 3: with a long memory. Params `FastRNNParams`, carry and output h.
Source: Kusupati et al. (2018), arXiv:1901.02358.
"""
