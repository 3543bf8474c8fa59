"""The Elman network over images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import named
from jaxrnn.cells.elman import ElmanParams
from jaxrnn.cells.structured.conv import check_window, convolve, draw_windows, image, project
from jaxrnn.checks import check_bool

__all__ = ["ConvElmanSpec", "make_conv_elman"]


class ConvElmanSpec(NamedTuple):
    """What `make_conv_elman` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.make_conv_elman((3,), (16,)).spec.window
      (3,)
    """

    window: tuple[int, ...]
    space: tuple[int, ...]
    activation: str | Callable[[Array], Array] = "tanh"
    use_bias: bool = True

    def make(self) -> Cell[ElmanParams, Array]:
        """The cell."""
        return make_conv_elman(**self._asdict())


@documented
def make_conv_elman(
    window: Sequence[int],
    space: Sequence[int],
    *,
    activation: str | Callable[[Array], Array] = "tanh",
    use_bias: bool = True,
) -> Cell[ElmanParams, Array]:
    r"""An Elman cell over images, :math:`h_t = \varphi(W * x_t + R * h_{t-1} + b)`.

    The convolutions keep the size of the image, with zeros around it. The input is
    ``(T, *batch, *space, D)``, of one to three axes of space, and D and H are numbers of
    channels. The carry is h, ``(*batch, *space, H)``, and so is the output.

    Args:
      window: the size of the kernels along each axis of space.
      space: the size of an image, alike: the carry of a cell has to know it.
      activation: φ, a name of `jaxrnn.cells.ACTIVATIONS` or an elementwise function.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `ElmanParams`, kernels ``(*window, D, H)`` and ``(*window, H, H)``. Its
      ``init`` takes ``kernel_init`` (glorot) and ``recurrent_init`` (``flat(orthogonal)``), both
      called with such shapes, ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a window or a space that is not a sequence of ints.
      ValueError: for sizes below 1, more than three axes, or an unknown activation.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_conv_elman((3, 3), (8, 6))
      >>> params = cell.init(jax.random.key(0), 2, 5)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 4, 8, 6, 2)))
      >>> carry.shape, ys.shape
      ((4, 8, 6, 5), (7, 4, 8, 6, 5))
    """
    window, space = check_window(window, space)
    check_bool("use_bias", use_bias)
    phi = resolve(activation, "activation")
    spec = ConvElmanSpec(window, space, named(activation, "activation"), use_bias)

    def complete(key: Array, drawn: tuple[Any, ...], options: Any) -> ElmanParams:
        return ElmanParams(*drawn)

    def carry(params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return image(space, params, batch_shape, params.recurrent_kernel.dtype)

    def recurrent(params: ElmanParams, h: Array) -> Array:
        return convolve(h, params.recurrent_kernel)

    def update(params: ElmanParams, h: Array, z: Array) -> Array:
        return phi(z).astype(h.dtype)

    def bounds(params: ElmanParams, start: Array, count: Any) -> Array:
        return jnp.maximum(1, start)

    return Cell(
        name_of("conv_elman", spec),
        draw_windows(1, window, complete, use_bias=use_bias),
        carry,
        lambda params, x: project(space, params, x),
        recurrent,
        update,
        axes=len(space) + 1,
        bounds=bounds if spec.activation in ("tanh", "sigmoid", "hard_sigmoid") else None,
        spec=spec,
    )
