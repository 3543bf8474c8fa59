"""The LSTM with layer normalization inside, and what `layer_norm_gru` shares with it."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from jaxrnn.base import Array, Cell, documented, name_of, zeros
from jaxrnn.cells.blocks import gates, like, linear, tanh, wide
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.lstm_records import LSTMCarry, LSTMGates
from jaxrnn.cells.structured.fused import Draw, fused, lstm_bounds
from jaxrnn.checks import check_bool, check_real

__all__ = [
    "LayerNormLSTMParams",
    "LayerNormLSTMSpec",
    "LayerNormPreActivations",
    "lstm_layer_norm",
    "make_lstm_layer_norm",
    "normalize",
    "product",
    "project",
]


class LayerNormLSTMParams(NamedTuple):
    """Parameters of an LSTM with layer normalization; the blocks are in the order i, f, g, o.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, ``(H, 4H)``.
      bias: b, ``(4H,)``, or None.
      input_scale: gains of the normalized W x, ``(4H,)``.
      recurrent_scale: gains of the normalized R h, ``(4H,)``.
      cell_scale: gains of the normalized c, ``(H,)``.
      cell_bias: what is added to it, ``(H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.lstm_layer_norm
      >>> cell.init(jax.random.key(0), 3, 5).input_scale.shape
      (20,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    input_scale: Array
    recurrent_scale: Array
    cell_scale: Array
    cell_bias: Array | None = None


class LayerNormPreActivations(NamedTuple):
    """The two products of a step, apart, for each is normalized by itself.

    Attributes:
      x: W x, ``(..., kH)``.
      h: R h, alike.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.lstm_layer_norm
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.project(params, jax.numpy.ones(3)).x.shape
      (20,)
    """

    x: Any = None
    h: Any = None


class LayerNormLSTMSpec(NamedTuple):
    """What `make_lstm_layer_norm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.lstm_layer_norm.spec.eps
      1e-05
    """

    eps: float = 1e-5
    use_bias: bool = True

    def make(self) -> Cell[LayerNormLSTMParams, LSTMCarry]:
        """The cell."""
        return make_lstm_layer_norm(**self._asdict())


def normalize(z: Array, scale: Array, eps: float, bias: Array | None = None) -> Array:
    r"""Layer normalization, :math:`\alpha \odot (z - \mu) / \sqrt{\sigma^2 + \varepsilon} + \beta`.

    Mean and variance are those of the last axis, the variance without Bessel's correction.

    Args:
      z: ``(..., n)``.
      scale: α, ``(n,)``.
      eps: ε.
      bias: β, ``(n,)``, or None.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.structured.layer_norm import normalize
      >>> normalize(jnp.array([1.0, 3.0]), jnp.ones(2), 0.0).tolist()
      [-1.0, 1.0]
    """
    centred = z - jnp.mean(z, axis=-1, keepdims=True)
    variance = jnp.mean(centred * centred, axis=-1, keepdims=True)
    z = centred * lax.rsqrt(variance + eps) * like(scale, z)
    return z if bias is None else z + like(bias, z)


def project(params: Any, x: Array) -> LayerNormPreActivations:
    """The product with the input.

    Args:
      params: with a field `input_kernel`.
      x: ``(..., D)``.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.structured.layer_norm import project
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> project(params, jax.numpy.ones(3)).x.shape
      (5,)
    """
    return LayerNormPreActivations(x=linear(x, params.input_kernel))


def product(params: Any, h: Array) -> LayerNormPreActivations:
    """The product with the state.

    Args:
      params: with a field `recurrent_kernel`.
      h: ``(..., H)``.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.structured.layer_norm import product
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> product(params, jax.numpy.ones(5)).h.shape
      (5,)
    """
    return LayerNormPreActivations(h=linear(h, params.recurrent_kernel))


@documented
def make_lstm_layer_norm(
    *, eps: float = 1e-5, use_bias: bool = True
) -> Cell[LayerNormLSTMParams, LSTMCarry]:
    r"""An LSTM whose products and whose cell are normalized over their features.

    .. math::
        a &= \mathrm{LN}(W x_t;\, \alpha_x) + \mathrm{LN}(R h_{t-1};\, \alpha_h) + b \\
        i, f, o &= \sigma(a_{i,f,o}), \quad g = \tanh(a_g) \\
        c_t &= f \odot c_{t-1} + i \odot g \\
        h_t &= o \odot \tanh(\mathrm{LN}(c_t;\, \alpha_c, \beta_c))

    with :math:`\mathrm{LN}(z; \alpha, \beta) = \alpha \odot (z - \mu) / \sqrt{\sigma^2 +
    \varepsilon} + \beta`. The statistics are those of all four gates together, and the cell that
    is carried on is not normalized. (Others normalize each gate by itself, or the sum of the two
    products; this is the paper's form, with one b for its two shifts of a.)

    Args:
      eps: ε.
      use_bias: whether ``init`` gives b and β_c by default.

    Returns:
      A `Cell` with `LayerNormLSTMParams` and `LSTMCarry`, whose output is h. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros),
      ``forget_bias`` (1.0, added to the block f) and ``use_bias``; gains are 1.

    Raises:
      TypeError: for an ε that is not a number.
      ValueError: for an ε that is not positive.

    Source: Ba, Kiros and Hinton (2016), Layer normalization, arXiv:1607.06450.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_lstm_layer_norm()
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> carry.c.shape, y.shape
      ((5,), (5,))
    """
    check_real("eps", eps, above=0)
    check_bool("use_bias", use_bias)
    spec = LayerNormLSTMSpec(float(eps), use_bias)

    def complete(draw: Draw) -> LayerNormLSTMParams:
        w, r, b = draw.kernels
        wide_scale = jnp.ones(w.shape[-1], draw.dtype)
        scale = jnp.ones(draw.hidden_size, draw.dtype)
        beta = jnp.zeros_like(scale) if draw.use_bias else None
        return LayerNormLSTMParams(w, r, b, wide_scale, wide_scale, scale, beta)

    def carry(params: LayerNormLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        h = zero_carry(params, batch_shape)  # type: ignore[arg-type]
        return LSTMCarry(h, zeros(batch_shape, h.shape[-1], wide(h.dtype)))

    def recurrent(params: LayerNormLSTMParams, s: LSTMCarry) -> LayerNormPreActivations:
        return product(params, s.h)

    def gated(params: LayerNormLSTMParams, s: LSTMCarry, z: LayerNormPreActivations) -> LSTMGates:
        a = normalize(z.x, params.input_scale, eps, params.bias)
        return LSTMGates(*gates(a + normalize(z.h, params.recurrent_scale, eps), "ssts"))

    def update(params: LayerNormLSTMParams, s: LSTMCarry, z: LayerNormPreActivations) -> LSTMCarry:
        i, f, g, o = gated(params, s, z)
        c = f * s.c + i * g
        h = o * tanh(normalize(c, params.cell_scale, eps, params.cell_bias))
        return LSTMCarry(h.astype(s.h.dtype), c)

    def output(params: LayerNormLSTMParams, s: LSTMCarry, z: LayerNormPreActivations) -> Array:
        return s.h

    return Cell(
        name_of("lstm_layer_norm", spec),
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


lstm_layer_norm: Cell[LayerNormLSTMParams, LSTMCarry] = make_lstm_layer_norm()
r"""The LSTM with layer normalization of W x, of R h, and of c where it is read; see
`make_lstm_layer_norm`.

Source: Ba, Kiros and Hinton (2016), Layer normalization, arXiv:1607.06450.
"""
