"""The LSTM whose recurrence is diagonal."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, zeros
from jaxrnn.cells.blocks import gates, linear, tanh, wide
from jaxrnn.cells.diagonal.common import diagonal, diagonal_kernels, diagonal_normal, ramp
from jaxrnn.cells.lstm_records import LSTMCarry, LSTMGates
from jaxrnn.checks import check_bool, sized

__all__ = ["ParaLSTMParams", "ParaLSTMSpec", "make_para_lstm", "para_lstm"]


class ParaLSTMParams(NamedTuple):
    """Parameters of a diagonal LSTM; the blocks are in the order f, o, g.

    Attributes:
      input_kernel: W, ``(D, 3H)``.
      recurrent_kernel: a, ``(3H,)``: the diagonals.
      bias: b, ``(3H,)``, or None.
      peephole_kernel: p of f and o, ``(2H,)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.diagonal import para_lstm
      >>> para_lstm.init(jax.random.key(0), 3, 5).peephole_kernel.shape
      (10,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    peephole_kernel: Array


class ParaLSTMSpec(NamedTuple):
    """What `make_para_lstm` was given.

    Example:
      >>> from jaxrnn.cells.diagonal import para_lstm
      >>> para_lstm.spec.use_bias
      True
    """

    use_bias: bool = True

    def make(self) -> Cell[ParaLSTMParams, LSTMCarry]:
        """The cell."""
        return make_para_lstm(**self._asdict())


@documented
def make_para_lstm(*, use_bias: bool = True) -> Cell[ParaLSTMParams, LSTMCarry]:
    r"""An LSTM with coupled gates and peepholes whose units see only their own past.

    .. math::
        f &= \sigma(W_f x_t + a_f \odot h_{t-1} + p_f \odot c_{t-1} + b_f) \\
        g &= \tanh(W_g x_t + a_g \odot h_{t-1} + b_g) \\
        c_t &= f \odot c_{t-1} + (1 - f) \odot g \\
        o &= \sigma(W_o x_t + a_o \odot h_{t-1} + p_o \odot c_t + b_o) \\
        h_t &= o \odot \tanh(c_t)

    The Jacobian of a step is a 2×2 matrix for each unit, so that Newton's method over a whole
    sequence costs no more than elementwise work. The carry is `LSTMCarry`, the output h.

    Args:
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `ParaLSTMParams`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (normal of variance 4 / (5H), of a and p), ``bias_init``, by default zeros
      but for f, which has numbers from 0 up to 1, so that the units keep their state for
      differently long, and ``use_bias``.

    Raises:
      TypeError: for a `use_bias` that is not a bool.

    Source: Danieli et al. (2025), ParaRNN: unlocking parallel training of nonlinear RNNs for large
    language models, arXiv:2510.21450.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.diagonal import para_lstm
      >>> params = para_lstm.init(jax.random.key(0), 3, 5)
      >>> para_lstm.step(params, para_lstm.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    spec = ParaLSTMSpec(use_bias)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = diagonal_normal,
        bias_init: Any = (ramp(1.0), initializers.zeros, initializers.zeros),
        use_bias: bool = spec.use_bias,
    ) -> ParaLSTMParams:
        drawn = diagonal_kernels(
            key,
            (input_size, hidden_size),
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            use_bias=use_bias,
        )
        again = jax.random.fold_in(key, 2)
        peepholes = initializers.blocks(recurrent_init, again, (hidden_size,), 2, dtype)
        return ParaLSTMParams(*drawn, peepholes)

    def carry(params: ParaLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        diagonals = params.recurrent_kernel
        h = zeros(batch_shape, diagonals.shape[0] // 3, diagonals.dtype)
        return LSTMCarry(h, h.astype(wide(h.dtype)))

    def project(params: ParaLSTMParams, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def recurrent(params: ParaLSTMParams, s: LSTMCarry) -> Array:
        size = s.c.shape[-1]
        f, rest = jnp.split(diagonal(s.h, params.recurrent_kernel, 3), (size,), axis=-1)
        f = f + diagonal(s.c, params.peephole_kernel[:size])
        return jnp.concatenate([f, rest], axis=-1)

    def gated(params: ParaLSTMParams, s: LSTMCarry, z: Array) -> tuple[LSTMGates, Array]:
        """The gates and c, which the last of them sees."""
        z_f, z_o, z_g = jnp.split(z, 3, axis=-1)
        f, g = gates(jnp.concatenate([z_f, z_g], axis=-1), "st")
        c = f * s.c + (1 - f) * g
        o = gates(z_o + diagonal(c, params.peephole_kernel[c.shape[-1] :]), "s")[0]
        return LSTMGates(1 - f, f, g, o), c

    def update(params: ParaLSTMParams, s: LSTMCarry, z: Array) -> LSTMCarry:
        gate, c = gated(params, s, z)
        return LSTMCarry((gate.o * tanh(c)).astype(s.h.dtype), c)

    def output(params: ParaLSTMParams, s: LSTMCarry, z: Array) -> Array:
        return s.h

    def bounds(params: ParaLSTMParams, start: LSTMCarry, count: Any) -> LSTMCarry:
        return LSTMCarry(*(jnp.maximum(1, leaf) for leaf in start))

    return Cell(
        name_of("para_lstm", spec),
        init,
        carry,
        project,
        recurrent,
        update,
        output,
        gates=lambda *at: gated(*at)[0],
        bounds=bounds,
        spec=spec,
    )


para_lstm = make_para_lstm()
r"""The diagonal LSTM with coupled gates and peepholes, each unit of which sees of the state only
itself.

Params `ParaLSTMParams`, carry `LSTMCarry`, output h. Source: Danieli et al. (2025), ParaRNN:
unlocking parallel training of nonlinear RNNs for large language models, arXiv:2510.21450.
"""
