"""The gated DeltaNet: the delta rule on a state that decays."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import named, wide
from jaxrnn.cells.linear.delta_net import Activation
from jaxrnn.cells.linear.matrices import delta_cell
from jaxrnn.cells.linear.start import input_init
from jaxrnn.checks import check_bool, check_positive, sized

__all__ = ["GatedDeltaNetParams", "GatedDeltaNetSpec", "gated_delta_net", "make_gated_delta_net"]


class GatedDeltaNetParams(NamedTuple):
    """Parameters of a gated DeltaNet.

    Attributes:
      input_kernel: W, ``(D, 3H + 2 heads)``, blocks q, k, v, then β and a for each head.
      bias: b, alike, or None.
      rate_log: A, ``(heads,)``: the logarithm of how fast each head decays.
      rate_shift: c, ``(heads,)``, what a is shifted by.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import gated_delta_net
      >>> gated_delta_net.init(jax.random.key(0), 3, 4).input_kernel.shape
      (3, 14)
    """

    input_kernel: Array
    bias: Array | None
    rate_log: Array
    rate_shift: Array


class GatedDeltaNetSpec(NamedTuple):
    """What `make_gated_delta_net` was given.

    Example:
      >>> from jaxrnn.cells.linear import gated_delta_net
      >>> gated_delta_net.spec.num_heads
      1
    """

    num_heads: int = 1
    activation: Activation = "identity"
    use_bias: bool = False

    def make(self) -> Cell[GatedDeltaNetParams, Array]:
        """The cell."""
        return make_gated_delta_net(**self._asdict())


@documented
def make_gated_delta_net(
    *, num_heads: int = 1, activation: Activation = "identity", use_bias: bool = False
) -> Cell[GatedDeltaNetParams, Array]:
    r"""A gated DeltaNet, which forgets all of its state a little before it replaces a part.

    .. math::
        \alpha &= \exp(-e^{A}\, \mathrm{softplus}(w_a x_t + c)) \\
        S' &= \alpha\, S_{t-1} \\
        S_t &= S' + \beta\, k\, (v - {S'}^\top k)^\top \\
        o_t &= S_t^\top q / \sqrt K

    with q, k, v, β as in `make_delta_net`, for each head, K = H / heads. The carry is S,
    ``(*batch, heads, K, K)``, float32 at least; the output ``(*batch, H)`` is o, the heads side by
    side. The convolutions before and the gated normalisation after are not part of the cell.

    Args:
      num_heads: how many heads; H must be a multiple.
      activation: of q and k before they are normalized, a name of `jaxrnn.cells.ACTIVATIONS` or a
        function such as ``jax.nn.silu``, which the paper takes.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `GatedDeltaNetParams` and coefficients, a `jaxrnn.base.Matrix` among them. Its
      ``init`` takes ``kernel_init`` (glorot), ``bias_init`` (zeros) and ``use_bias``. It starts
      with :math:`e^A` uniform in [0, 16], and softplus(c) between 0.001 and 0.1, uniform in its
      logarithm.

    Raises:
      TypeError: for a number of heads that is not an int.
      ValueError: for one below 1, or an unknown activation; from ``init``, for an H that is no
        multiple.

    Source: Yang, Kautz and Hatamizadeh (2025), Gated delta networks: improving Mamba2 with delta
    rule, arXiv:2412.06464.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_gated_delta_net
      >>> cell = make_gated_delta_net(num_heads=2)
      >>> params = cell.init(jax.random.key(0), 3, 8)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (8,)
    """
    check_positive("num_heads", num_heads)
    check_bool("use_bias", use_bias)
    phi = resolve(activation, "activation")
    spec = GatedDeltaNetSpec(num_heads, named(phi, "activation"), use_bias)
    draw = input_init(
        3, kernel_init=initializers.glorot, use_bias=use_bias, heads=num_heads, extra=2
    )

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
    ) -> GatedDeltaNetParams:
        k1, k2, k3 = split(key, 3)
        drawn = draw(
            k1,
            input_size,
            hidden_size,
            dtype=dtype,
            kernel_init=kernel_init,
            bias_init=bias_init,
            use_bias=use_bias,
        )
        uniform = lambda key, low, high: jax.random.uniform(  # noqa: E731
            key, (num_heads,), wide(dtype), low, high
        )
        step = jnp.exp(uniform(k3, math.log(0.001), math.log(0.1)))
        shift = step + jnp.log(-jnp.expm1(-step))  # the inverse of softplus
        rate = jnp.log(uniform(k2, 1e-6, 16))
        return GatedDeltaNetParams(*drawn, rate.astype(dtype), shift.astype(dtype))

    def decay(params: GatedDeltaNetParams, v: Array, a: Array) -> Array:
        rate, shift = (
            jnp.broadcast_to(row.astype(a.dtype)[:, None], a.shape) for row in params[2:]
        )
        return jnp.exp(-jnp.exp(rate) * jax.nn.softplus(a + shift))

    return delta_cell(
        name_of("gated_delta_net", spec),
        init,
        blocks=3,
        extra=2,
        heads=num_heads,
        activation=phi,
        decay=decay,
        spec=spec,
    )


gated_delta_net = make_gated_delta_net()
r"""The gated DeltaNet with one head:
:math:`S' = \alpha S_{t-1}`, :math:`S_t = S' + \beta\, k\, (v - {S'}^\top k)^\top`.

Params `GatedDeltaNetParams`, carry S, output :math:`S_t^\top q / \sqrt H`. Source: Yang, Kautz and
Hatamizadeh (2025), Gated delta networks: improving Mamba2 with delta rule, arXiv:2412.06464.
"""
