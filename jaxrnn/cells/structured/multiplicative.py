"""The multiplicative LSTM, whose recurrent map depends on the input."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of, split, zeros
from jaxrnn.cells.blocks import gates, linear, tanh, wide
from jaxrnn.cells.lstm_records import LSTMCarry, LSTMGates
from jaxrnn.cells.structured.fused import Draw, fused, lstm_bounds
from jaxrnn.checks import check_bool

__all__ = [
    "MultiplicativeLSTMParams",
    "MultiplicativeLSTMPreActivations",
    "MultiplicativeLSTMSpec",
    "make_multiplicative_lstm",
    "multiplicative_lstm",
]


class MultiplicativeLSTMParams(NamedTuple):
    """Parameters of a multiplicative LSTM; the blocks are in the order i, f, g, o.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, ``(H, 4H)``, which reads m.
      bias: b, ``(4H,)``, or None.
      input_factor: of the factor of m that comes from the input, ``(D, H)``.
      recurrent_factor: of the one that comes from the state, ``(H, H)``.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.multiplicative_lstm
      >>> cell.init(jax.random.key(0), 3, 5).input_factor.shape
      (3, 5)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    input_factor: Array
    recurrent_factor: Array


class MultiplicativeLSTMPreActivations(NamedTuple):
    """What is affine in the input or in the state.

    Attributes:
      gates: W x + b, ``(..., 4H)``.
      mx: the factor of m that comes from the input, ``(..., H)``.
      mh: the one that comes from the state, alike.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.multiplicative_lstm
      >>> cell.project(cell.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).mx.shape
      (5,)
    """

    gates: Any = None
    mx: Any = None
    mh: Any = None


class MultiplicativeLSTMSpec(NamedTuple):
    """What `make_multiplicative_lstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.multiplicative_lstm.spec.use_bias
      True
    """

    use_bias: bool = True

    def make(self) -> Cell[MultiplicativeLSTMParams, LSTMCarry]:
        """The cell."""
        return make_multiplicative_lstm(**self._asdict())


@documented
def make_multiplicative_lstm(*, use_bias: bool = True) -> Cell[MultiplicativeLSTMParams, LSTMCarry]:
    r"""An LSTM that reads a product of its input and its state in place of the state.

    .. math::
        m &= (W_m x_t) \odot (R_m h_{t-1}) \\
        i, f, o &= \sigma(W_{i,f,o}\, x_t + R_{i,f,o}\, m + b_{i,f,o}) \\
        g &= \tanh(W_g x_t + R_g m + b_g) \\
        c_t &= f \odot c_{t-1} + i \odot g \\
        h_t &= o \odot \tanh(c_t)

    The product R m stays inside the loop's update, for m is not affine in the state.

    Args:
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `MultiplicativeLSTMParams` and `LSTMCarry`, whose output is h. Its ``init``
      takes ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros),
      ``forget_bias`` (1.0, added to the block f) and ``use_bias``.

    Raises:
      TypeError: for a `use_bias` that is neither True nor False.

    Source: Krause et al. (2016), Multiplicative LSTM for sequence modelling, arXiv:1609.07959.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_multiplicative_lstm(use_bias=False)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    spec = MultiplicativeLSTMSpec(use_bias)

    def complete(draw: Draw) -> MultiplicativeLSTMParams:
        keys, size = split(draw.key, 2), draw.hidden_size
        return MultiplicativeLSTMParams(
            *draw.kernels,
            initializers.blocks(draw.kernel_init, keys[0], (draw.input_size, size), 1, draw.dtype),
            initializers.blocks(draw.recurrent_init, keys[1], (size, size), 1, draw.dtype),
        )

    def carry(params: MultiplicativeLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        kernel = params.recurrent_factor
        h = zeros(batch_shape, kernel.shape[0], kernel.dtype)
        return LSTMCarry(h, h.astype(wide(h.dtype)))

    def project(params: MultiplicativeLSTMParams, x: Array) -> MultiplicativeLSTMPreActivations:
        z = linear(x, params.input_kernel, params.bias)
        return MultiplicativeLSTMPreActivations(z, mx=linear(x, params.input_factor))

    def recurrent(
        params: MultiplicativeLSTMParams, s: LSTMCarry
    ) -> MultiplicativeLSTMPreActivations:
        return MultiplicativeLSTMPreActivations(mh=linear(s.h, params.recurrent_factor))

    def gated(
        params: MultiplicativeLSTMParams, s: LSTMCarry, z: MultiplicativeLSTMPreActivations
    ) -> LSTMGates:
        kernel = params.recurrent_kernel
        return LSTMGates(
            *gates(z.gates + linear((z.mx * z.mh).astype(kernel.dtype), kernel), "ssts")
        )

    def update(
        params: MultiplicativeLSTMParams, s: LSTMCarry, z: MultiplicativeLSTMPreActivations
    ) -> LSTMCarry:
        i, f, g, o = gated(params, s, z)
        c = f * s.c + i * g
        return LSTMCarry((o * tanh(c)).astype(s.h.dtype), c)

    def output(
        params: MultiplicativeLSTMParams, s: LSTMCarry, z: MultiplicativeLSTMPreActivations
    ) -> Array:
        return s.h

    return Cell(
        name_of("multiplicative_lstm", spec),
        fused(4, complete, forget=1, forget_bias=1.0, use_bias=use_bias),
        carry,
        project,
        recurrent,
        update,
        output,
        gates=gated,
        bounds=lstm_bounds,
        spec=spec,
    )


multiplicative_lstm: Cell[MultiplicativeLSTMParams, LSTMCarry] = make_multiplicative_lstm()
r"""The multiplicative LSTM, :math:`m = (W_m x_t) \odot (R_m h_{t-1})` in place of
:math:`h_{t-1}`; see `make_multiplicative_lstm`.

Source: Krause et al. (2016), Multiplicative LSTM for sequence modelling, arXiv:1609.07959.
"""
