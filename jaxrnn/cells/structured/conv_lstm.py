"""The LSTM over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import wide
from jaxrnn.cells.lstm import make_lstm
from jaxrnn.cells.lstm_records import LSTMCarry
from jaxrnn.cells.structured.conv import check_window, convolve, draw_windows, image, project
from jaxrnn.cells.structured.fused import lstm_bounds
from jaxrnn.checks import check_bool

__all__ = ["ConvLSTMParams", "ConvLSTMSpec", "make_conv_lstm"]


class ConvLSTMParams(NamedTuple):
    """Parameters of a convolutional LSTM; the blocks are in the order i, f, g, o.

    Attributes:
      input_kernel: W, ``(*window, D, 4H)``.
      recurrent_kernel: R, ``(*window, H, 4H)``.
      bias: b, ``(4H,)``, or None.
      peephole_kernel: p of i, f and o, for each place of the image, ``(*space, 3H)``; None
        without peepholes.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_conv_lstm((3, 3), (8, 6))
      >>> cell.init(jax.random.key(0), 2, 5).input_kernel.shape
      (3, 3, 2, 20)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    peephole_kernel: Array | None = None


class ConvLSTMSpec(NamedTuple):
    """What `make_conv_lstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.make_conv_lstm((3,), (16,)).spec.peepholes
      False
    """

    window: tuple[int, ...]
    space: tuple[int, ...]
    peepholes: bool = False
    use_bias: bool = True

    def make(self) -> Cell[ConvLSTMParams, LSTMCarry]:
        """The cell."""
        return make_conv_lstm(**self._asdict())


@documented
def make_conv_lstm(
    window: Sequence[int],
    space: Sequence[int],
    *,
    peepholes: bool = False,
    use_bias: bool = True,
) -> Cell[ConvLSTMParams, LSTMCarry]:
    r"""An LSTM over images, whose products are convolutions.

    .. math::
        a &= W * x_t + R * h_{t-1} + b \\
        i &= \sigma(a_i + p_i \odot c_{t-1}), \quad f = \sigma(a_f + p_f \odot c_{t-1}) \\
        c_t &= f \odot c_{t-1} + i \odot \tanh(a_g) \\
        o &= \sigma(a_o + p_o \odot c_t), \quad h_t = o \odot \tanh(c_t)

    without the terms in p where there are no peepholes. The convolutions keep the size of the
    image, with zeros around it. The input is ``(T, *batch, *space, D)``, of one to three axes of
    space, and D and H are numbers of channels.

    Args:
      window: the size of the kernels along each axis of space.
      space: the size of an image, alike: the carry of a cell has to know it.
      peepholes: whether the gates see the cell, each place with weights of its own.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `ConvLSTMParams` and `LSTMCarry`, whose parts are ``(*batch, *space, H)``, as
      is its output h. Its ``init`` takes ``kernel_init`` (glorot) and ``recurrent_init``
      (``flat(orthogonal)``), both called with shapes ``(*window, in, H)``, ``bias_init``
      (zeros), ``forget_bias`` (1.0, added to the block f) and ``use_bias``; peepholes are 0.

    Raises:
      TypeError: for a window or a space that is not a sequence of ints.
      ValueError: for sizes below 1, or more than three axes.

    Source: Shi et al. (2015), Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting, arXiv:1506.04214.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_conv_lstm((3, 3), (8, 6), peepholes=True)
      >>> params = cell.init(jax.random.key(0), 2, 5)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 4, 8, 6, 2)))
      >>> carry.c.shape, ys.shape
      ((4, 8, 6, 5), (7, 4, 8, 6, 5))
    """
    window, space = check_window(window, space)
    check_bool("peepholes", peepholes)
    check_bool("use_bias", use_bias)
    spec = ConvLSTMSpec(window, space, peepholes, use_bias)
    inner = make_lstm(peepholes="diagonal" if peepholes else None)

    def complete(
        key: Array, drawn: tuple[Array, Array, Array | None], options: Any
    ) -> ConvLSTMParams:
        size, dtype = options["size"], drawn[0].dtype
        return ConvLSTMParams(*drawn, jnp.zeros((*space, 3 * size), dtype) if peepholes else None)

    def carry(params: ConvLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        dtype = params.recurrent_kernel.dtype
        h, c = (image(space, params, batch_shape, each) for each in (dtype, wide(dtype)))
        return LSTMCarry(h, c)

    def recurrent(params: ConvLSTMParams, s: LSTMCarry) -> Array:
        z = convolve(s.h, params.recurrent_kernel)
        if params.peephole_kernel is None:
            return z
        early = 2 * s.c.shape[-1]
        seen = jnp.concatenate([s.c, s.c], axis=-1)
        kernel = params.peephole_kernel[..., :early].astype(seen.dtype)
        seen = seen * jnp.broadcast_to(kernel, seen.shape)
        return jnp.concatenate([z[..., :early] + seen, z[..., early:]], axis=-1)

    def output(params: ConvLSTMParams, s: LSTMCarry, z: Array) -> Array:
        return s.h

    return Cell(
        name_of("conv_lstm", spec),
        draw_windows(4, window, complete, forget=1, forget_bias=1.0, use_bias=use_bias),
        carry,
        lambda params, x: project(space, params, x),
        recurrent,
        inner.update,
        output,
        axes=len(space) + 1,
        gates=inner.gates,
        bounds=lstm_bounds,
        spec=spec,
    )
