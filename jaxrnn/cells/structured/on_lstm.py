"""The ordered-neurons LSTM, whose units forget in an order."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of, split, zeros
from jaxrnn.cells.blocks import gates, linear, tanh, wide
from jaxrnn.cells.lstm_records import LSTMCarry
from jaxrnn.cells.structured.fused import Draw, check_heads, fused, lstm_bounds
from jaxrnn.checks import check_bool, check_positive

__all__ = ["ONLSTMGates", "ONLSTMParams", "ONLSTMSpec", "make_on_lstm", "on_lstm"]


class ONLSTMParams(NamedTuple):
    """Parameters of an ON-LSTM; the blocks are i, f, g, o of H and the masters i, f of H / K.

    Attributes:
      input_kernel: W, ``(D, 4H + 2H / K)``.
      recurrent_kernel: R, ``(H, 4H + 2H / K)``.
      bias: b, ``(4H + 2H / K,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_on_lstm(chunk_size=2)
      >>> cell.init(jax.random.key(0), 3, 6).input_kernel.shape
      (3, 30)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class ONLSTMGates(NamedTuple):
    """Activations of an ON-LSTM.

    Attributes:
      i: the input gate as it is used, its master included, ``(*batch, H)``.
      f: the forget gate, alike.
      g: candidate, alike.
      o: output gate, alike.
      master_i: 1 for the chunks that are written, then falling to 0, ``(*batch, H / K)``.
      master_f: from 0 rising to 1 for the chunks that are kept, alike.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_on_lstm(chunk_size=2)
      >>> params = cell.init(jax.random.key(0), 3, 6)
      >>> jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3))).master_f.shape
      (7, 3)
    """

    i: Array
    f: Array
    g: Array
    o: Array
    master_i: Array
    master_f: Array


class ONLSTMSpec(NamedTuple):
    """What `make_on_lstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.on_lstm.spec.chunk_size
      1
    """

    chunk_size: int = 1
    use_bias: bool = True

    def make(self) -> Cell[ONLSTMParams, LSTMCarry]:
        """The cell."""
        return make_on_lstm(**self._asdict())


@documented
def make_on_lstm(*, chunk_size: int = 1, use_bias: bool = True) -> Cell[ONLSTMParams, LSTMCarry]:
    r"""An LSTM whose units are ordered: what forgets one forgets all units before it.

    .. math::
        a &= W x_t + R h_{t-1} + b \\
        i, f, o &= \sigma(a_{i,f,o}), \quad g = \tanh(a_g) \\
        \tilde f &= \mathrm{cumax}(a_{\tilde f}), \quad
            \tilde i = 1 - \mathrm{cumax}(a_{\tilde i}), \quad
            w = \tilde f \odot \tilde i \\
        \hat f &= f \odot w + (\tilde f - w), \quad \hat i = i \odot w + (\tilde i - w) \\
        c_t &= \hat f \odot c_{t-1} + \hat i \odot g \\
        h_t &= o \odot \tanh(c_t)

    with cumax the cumulative sum of a softmax. Master gates have a unit for each K = `chunk_size`
    neighbouring units of the others, which share it.

    Args:
      chunk_size: K, of which H must be a multiple.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `ONLSTMParams` and `LSTMCarry`, whose output is h. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros),
      ``forget_bias`` (0.0, added to the block f) and ``use_bias``.

    Raises:
      TypeError: for a chunk size that is not an int.
      ValueError: for one below 1; from ``init``, if H is not a multiple of it.

    Source: Shen et al. (2019), Ordered neurons: integrating tree structures into recurrent
    neural networks, arXiv:1810.09536. The authors drop connections of R while they train.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_on_lstm(chunk_size=2)
      >>> params = cell.init(jax.random.key(0), 3, 6)
      >>> carry, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> carry.c.shape, y.shape
      ((6,), (6,))
    """
    check_positive("chunk_size", chunk_size)
    check_bool("use_bias", use_bias)
    spec = ONLSTMSpec(chunk_size, use_bias)

    def complete(draw: Draw) -> ONLSTMParams:
        size = check_heads(draw.hidden_size, chunk_size, called="chunk_size")
        w, r, b = draw.kernels
        keys, dtype = split(draw.key, 3), draw.dtype

        def masters(init: Any, key: Array, *rows: int) -> Array:
            return initializers.blocks(init, key, (*rows, size), 2, dtype)

        w = jnp.concatenate([w, masters(draw.kernel_init, keys[0], draw.input_size)], axis=-1)
        r = jnp.concatenate([r, masters(draw.recurrent_init, keys[1], draw.hidden_size)], axis=-1)
        if b is not None:
            b = jnp.concatenate([b, masters(draw.bias_init, keys[2])])
        return ONLSTMParams(w, r, b)

    def carry(params: ONLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        kernel = params.recurrent_kernel
        h = zeros(batch_shape, kernel.shape[0], kernel.dtype)
        return LSTMCarry(h, h.astype(wide(h.dtype)))

    def project(params: ONLSTMParams, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def recurrent(params: ONLSTMParams, s: LSTMCarry) -> Array:
        return linear(s.h, params.recurrent_kernel)

    def gated(params: ONLSTMParams, s: LSTMCarry, z: Array) -> ONLSTMGates:
        size = s.c.shape[-1]
        units, *masters = jnp.split(z, (4 * size, 4 * size + size // chunk_size), axis=-1)
        i, f, g, o = gates(units, "ssts")
        written, kept = (jnp.cumsum(jax.nn.softmax(a, axis=-1), axis=-1) for a in masters)
        both = kept * (1 - written)
        wide_both, wide_kept, wide_new = (
            jnp.repeat(a, chunk_size, axis=-1) for a in (both, kept, 1 - written)
        )
        i, f = (
            gate * wide_both + (master - wide_both)
            for gate, master in ((i, wide_new), (f, wide_kept))
        )
        return ONLSTMGates(i, f, g, o, 1 - written, kept)

    def update(params: ONLSTMParams, s: LSTMCarry, z: Array) -> LSTMCarry:
        i, f, g, o, *_ = gated(params, s, z)
        c = f * s.c + i * g
        return LSTMCarry((o * tanh(c)).astype(s.h.dtype), c)

    def output(params: ONLSTMParams, s: LSTMCarry, z: Array) -> Array:
        return s.h

    return Cell(
        name_of("on_lstm", spec),
        fused(4, complete, forget=1, use_bias=use_bias),
        carry,
        project,
        recurrent,
        update,
        output,
        gates=gated,
        bounds=lstm_bounds,
        spec=spec,
    )


on_lstm: Cell[ONLSTMParams, LSTMCarry] = make_on_lstm()
r"""The ON-LSTM with a master unit for each unit; see `make_on_lstm`.

.. math::
    \hat f = f \odot w + (\tilde f - w), \quad \hat i = i \odot w + (\tilde i - w), \quad
    c_t = \hat f \odot c_{t-1} + \hat i \odot g

Source: Shen et al. (2019), Ordered neurons: integrating tree structures into recurrent neural
networks, arXiv:1810.09536.
"""
