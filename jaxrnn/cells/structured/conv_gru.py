"""The GRU over images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, tanh
from jaxrnn.cells.gru import GRUGates, GRUParams, GRUPreActivations
from jaxrnn.cells.structured.conv import check_window, convolve, draw_windows, image
from jaxrnn.cells.structured.conv import project as convolved
from jaxrnn.checks import check_bool, check_choice

__all__ = ["ConvGRUSpec", "make_conv_gru"]


class ConvGRUSpec(NamedTuple):
    """What `make_conv_gru` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.make_conv_gru((3,), (16,)).spec.reset
      'after'
    """

    window: tuple[int, ...]
    space: tuple[int, ...]
    reset: Literal["after", "before"] = "after"
    update: Literal["keep", "write"] = "keep"
    use_bias: bool = True

    def make(self) -> Cell[GRUParams, Array]:
        """The cell."""
        return make_conv_gru(**self._asdict())


@documented
def make_conv_gru(
    window: Sequence[int],
    space: Sequence[int],
    *,
    reset: Literal["after", "before"] = "after",
    update: Literal["keep", "write"] = "keep",
    use_bias: bool = True,
) -> Cell[GRUParams, Array]:
    r"""A GRU over images, whose products are convolutions, with the conventions of `jaxrnn.gru`.

    .. math::
        r, z &= \sigma(W_{r,z} * x_t + R_{r,z} * h_{t-1} + b_{r,z}) \\
        n &= \tanh(W_n * x_t + b_n + r \odot (R_n * h_{t-1} + b_R)) && \text{reset after} \\
        n &= \tanh(W_n * x_t + b_n + R_n * (r \odot h_{t-1})) && \text{reset before} \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot n && \text{keep} \\
        h_t &= (1 - z) \odot h_{t-1} + z \odot n && \text{write}

    The convolutions keep the size of the image, with zeros around it. The input is
    ``(T, *batch, *space, D)``, of one to three axes of space, and D and H are numbers of
    channels. The carry is h, ``(*batch, *space, H)``, and so is the output. The paper's cell is
    the one with the reset before, z writes.

    Args:
      window: the size of the kernels along each axis of space.
      space: the size of an image, alike: the carry of a cell has to know it.
      reset: ``"after"`` the convolution, or ``"before"`` it, which is slower.
      update: what z = 1 does: ``"keep"`` the old state or ``"write"`` the new one.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `GRUParams`, kernels ``(*window, D, 3H)`` and ``(*window, H, 3H)``. Its
      ``init`` takes ``kernel_init`` (glorot) and ``recurrent_init`` (``flat(orthogonal)``), both
      called with shapes ``(*window, in, H)``, ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a window or a space that is not a sequence of ints.
      ValueError: for sizes below 1, more than three axes, or an unknown option.

    Source: Ballas et al. (2016), Delving deeper into convolutional networks for learning video
    representations, arXiv:1511.06432.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_conv_gru((3, 3), (8, 6))
      >>> params = cell.init(jax.random.key(0), 2, 5)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 4, 8, 6, 2)))
      >>> carry.shape, ys.shape
      ((4, 8, 6, 5), (7, 4, 8, 6, 5))
    """
    window, space = check_window(window, space)
    check_choice("reset", reset, ("after", "before"))
    check_choice("update", update, ("keep", "write"))
    check_bool("use_bias", use_bias)
    spec, after = ConvGRUSpec(window, space, reset, update, use_bias), reset == "after"

    def complete(key: Array, drawn: tuple[Array, Array, Array | None], options: Any) -> GRUParams:
        if not (after and options["use_bias"]):
            return GRUParams(*drawn)
        size, dtype = options["size"], drawn[0].dtype
        inner = initializers.blocks(options["bias_init"], key, (size,), 3, dtype)
        return GRUParams(*drawn, inner[2 * size :])

    def carry(params: GRUParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return image(space, params, batch_shape, params.recurrent_kernel.dtype)

    def halves(z: Array) -> list[Array]:
        return jnp.split(z, (2 * (z.shape[-1] // 3),), axis=-1)

    def project(params: GRUParams, x: Array) -> GRUPreActivations:
        rz, n = halves(convolved(space, params, x))
        return GRUPreActivations(rz, nx=n)

    def recurrent(params: GRUParams, h: Array) -> GRUPreActivations:
        size, kernel = 2 * h.shape[-1], params.recurrent_kernel
        if not after:
            return GRUPreActivations(convolve(h, kernel[..., :size]))
        bias = params.recurrent_bias
        rz, n = halves(convolve(h, kernel, None if bias is None else jnp.pad(bias, (size, 0))))
        return GRUPreActivations(rz, nh=n)

    def gated(params: GRUParams, h: Array, a: GRUPreActivations) -> GRUGates:
        r, z = gates(a.rz, "ss")
        if after:
            return GRUGates(r, z, tanh(a.nx + r * a.nh))
        kernel = params.recurrent_kernel[..., 2 * h.shape[-1] :]
        reset_h = (r * h.astype(r.dtype)).astype(h.dtype)
        return GRUGates(r, z, tanh(a.nx + convolve(reset_h, kernel)))

    def advance(params: GRUParams, h: Array, a: GRUPreActivations) -> Array:
        _, z, n = gated(params, h, a)
        keep = z if update == "keep" else 1 - z
        return (keep * h.astype(n.dtype) + (1 - keep) * n).astype(h.dtype)

    def bounds(params: GRUParams, start: Array, count: Any) -> Array:
        return jnp.maximum(1, start)

    return Cell(
        name_of("conv_gru", spec),
        draw_windows(3, window, complete, use_bias=use_bias),
        carry,
        project,
        recurrent,
        advance,
        axes=len(space) + 1,
        gates=gated,
        bounds=bounds,
        spec=spec,
    )
