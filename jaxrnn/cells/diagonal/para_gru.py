"""The GRU whose recurrence is diagonal."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, zeros
from jaxrnn.cells.blocks import gates, linear, tanh
from jaxrnn.cells.diagonal.common import diagonal, diagonal_kernels, diagonal_normal, ramp
from jaxrnn.cells.gru import GRUGates
from jaxrnn.checks import check_bool, sized

__all__ = [
    "ParaGRUParams",
    "ParaGRUPreActivations",
    "ParaGRUSpec",
    "make_para_gru",
    "para_gru",
]


class ParaGRUParams(NamedTuple):
    """Parameters of a diagonal GRU; the blocks are in the order z, r, h.

    Attributes:
      input_kernel: W, ``(D, 3H)``.
      recurrent_kernel: a, ``(3H,)``: the diagonals.
      bias: b, ``(3H,)``, or None.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.diagonal import para_gru
      >>> para_gru.init(jax.random.key(0), 3, 5).recurrent_kernel.shape
      (15,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class ParaGRUPreActivations(NamedTuple):
    """Pre-activations of a diagonal GRU.

    Attributes:
      zr: of the two gates together, ``(..., 2H)``.
      h: the candidate's part from the input, ``(..., H)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.diagonal import para_gru
      >>> params = para_gru.init(jax.random.key(0), 3, 5)
      >>> para_gru.project(params, jax.numpy.ones(3)).zr.shape
      (10,)
    """

    zr: Any
    h: Any = None


class ParaGRUSpec(NamedTuple):
    """What `make_para_gru` was given.

    Example:
      >>> from jaxrnn.cells.diagonal import para_gru
      >>> para_gru.spec.use_bias
      True
    """

    use_bias: bool = True

    def make(self) -> Cell[ParaGRUParams, Array]:
        """The cell."""
        return make_para_gru(**self._asdict())


@documented
def make_para_gru(*, use_bias: bool = True) -> Cell[ParaGRUParams, Array]:
    r"""A GRU whose units see only their own past.

    .. math::
        z, r &= \sigma(W_{z,r}\, x_t + a_{z,r} \odot h_{t-1} + b_{z,r}) \\
        n &= \tanh(W_h x_t + a_h \odot h_{t-1} \odot r + b_h) \\
        h_t &= (1 - z) \odot h_{t-1} + z \odot n

    The Jacobian of a step is a number for each unit, so that Newton's method over a whole sequence
    costs no more than elementwise work. Here z writes. The carry is h, ``(*batch, H)``, and so is
    the output.

    Args:
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `ParaGRUParams`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (normal of variance 4 / (5H)), ``bias_init``, by default zeros but for z,
      which has numbers from 0 down to -1, so that the units keep their state for differently long,
      and ``use_bias``.

    Raises:
      TypeError: for a `use_bias` that is not a bool.

    Source: Danieli et al. (2025), ParaRNN: unlocking parallel training of nonlinear RNNs for large
    language models, arXiv:2510.21450.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.diagonal import para_gru
      >>> params = para_gru.init(jax.random.key(0), 3, 5)
      >>> para_gru.step(params, para_gru.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    spec = ParaGRUSpec(use_bias)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = diagonal_normal,
        bias_init: Any = (ramp(-1.0), initializers.zeros, initializers.zeros),
        use_bias: bool = spec.use_bias,
    ) -> ParaGRUParams:
        drawn = diagonal_kernels(
            key,
            (input_size, hidden_size),
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            use_bias=use_bias,
        )
        return ParaGRUParams(*drawn)

    def carry(params: ParaGRUParams, batch_shape: tuple[int, ...] = ()) -> Array:
        diagonals = params.recurrent_kernel
        return zeros(batch_shape, diagonals.shape[0] // 3, diagonals.dtype)

    def project(params: ParaGRUParams, x: Array) -> ParaGRUPreActivations:
        z = linear(x, params.input_kernel, params.bias)
        return ParaGRUPreActivations(*jnp.split(z, (2 * (z.shape[-1] // 3),), axis=-1))

    def recurrent(params: ParaGRUParams, h: Array) -> ParaGRUPreActivations:
        kernel = params.recurrent_kernel[: 2 * h.shape[-1]]
        return ParaGRUPreActivations(diagonal(h, kernel, 2))

    def gated(params: ParaGRUParams, h: Array, a: ParaGRUPreActivations) -> GRUGates:
        z, r = gates(a.zr, "ss")
        past = r * diagonal(h, params.recurrent_kernel[2 * h.shape[-1] :])
        return GRUGates(r, z, tanh(a.h + past))

    def update(params: ParaGRUParams, h: Array, a: ParaGRUPreActivations) -> Array:
        _, z, n = gated(params, h, a)
        return ((1 - z) * h.astype(n.dtype) + z * n).astype(h.dtype)

    def bounds(params: ParaGRUParams, start: Array, count: Any) -> Array:
        return jnp.maximum(1, start)

    name = name_of("para_gru", spec)
    return Cell(
        name, init, carry, project, recurrent, update, gates=gated, bounds=bounds, spec=spec
    )


para_gru = make_para_gru()
r"""The diagonal GRU, :math:`h_t = (1 - z) \odot h_{t-1} + z \odot n`, each unit of which sees
of the state only itself.

Params `ParaGRUParams`, carry and output h. Source: Danieli et al. (2025), ParaRNN: unlocking
parallel training of nonlinear RNNs for large language models, arXiv:2510.21450.
"""
