"""What convolutional cells share: kernels that are windows, states that are images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from jaxrnn import initializers
from jaxrnn.base import Array, DType, split
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_positive, sized

__all__ = [
    "check_window",
    "convolve",
    "draw_windows",
    "flat",
    "image",
    "project",
]

LETTERS = "XYZ"


def check_window(
    window: Sequence[int], space: Sequence[int]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Window and space as tuples, or an error unless both have the same one to three axes.

    Args:
      window: the size of the kernels along each axis of space.
      space: the size of an image, alike.

    Raises:
      TypeError: for something else than sequences of ints.
      ValueError: for a size below 1, or another number of axes.

    Example:
      >>> from jaxrnn.cells.structured.conv import check_window
      >>> check_window([3, 3], [16, 8])
      ((3, 3), (16, 8))
    """
    for argument, sizes in (("window", window), ("space", space)):
        if not isinstance(sizes, Sequence) or isinstance(sizes, str):
            raise TypeError(f"{argument}: expected a size for each axis of space, got {sizes!r}")
        for k, size in enumerate(sizes):
            check_positive(f"{argument}[{k}]", size)
    if not 1 <= len(window) <= len(LETTERS):
        raise ValueError(f"window: expected one to three axes, got {len(window)}")
    if len(space) != len(window):
        raise ValueError(
            f"space: expected {len(window)} axes, as window={tuple(window)} has, got {len(space)}"
        )
    return tuple(map(int, window)), tuple(map(int, space))


def convolve(x: Array, kernel: Array, bias: Array | None = None) -> Array:
    r"""A convolution that keeps the size of the image, accumulated in float32 or wider.

    .. math:: y_p = \sum_\delta K_\delta\, x_{p + \delta - \lfloor (w - 1) / 2 \rfloor} + b

    Outside of the image x is 0. The kernel is not flipped.

    Args:
      x: ``(..., *space, in)``.
      kernel: ``(*window, in, out)``, of the dtype of x.
      bias: ``(out,)`` or None.

    Returns:
      ``(..., *space, out)`` of dtype ``wide(x.dtype)``.

    Raises:
      ValueError: if the last axis of x is not the input size of the kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.structured.conv import convolve
      >>> convolve(jnp.array([[1.0], [2.0], [4.0]]), jnp.ones((3, 1, 1)))[:, 0].tolist()
      [3.0, 7.0, 6.0]
    """
    count = kernel.ndim - 2
    if x.ndim <= count or x.shape[-1] != kernel.shape[-2]:
        raise ValueError(
            f"x: expected {count} axes of space and a last axis of {kernel.shape[-2]}, for a "
            f"kernel {kernel.shape}, got shape {x.shape}"
        )
    lead, dtype = x.shape[: -count - 1], wide(x.dtype)
    letters = LETTERS[:count]
    layout = f"N{letters}C", f"{letters}IO", f"N{letters}C"
    # Cast first: the transpose of a convolution asks for operands of one dtype.
    y = lax.conv_general_dilated(
        x.reshape(math.prod(lead), *x.shape[len(lead) :]).astype(dtype),
        kernel.astype(dtype),
        (1,) * count,
        "SAME",
        dimension_numbers=layout,
    )
    y = y.reshape(*lead, *y.shape[1:])
    return y if bias is None else y + jnp.broadcast_to(bias.astype(dtype), y.shape)


def flat(init: initializers.Initializer) -> initializers.Initializer:
    """An initialiser of matrices, for kernels whose window and input are its rows.

    Args:
      init: ``init(key, (rows, columns), dtype)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.structured import flat
      >>> from jaxrnn.initializers import orthogonal
      >>> flat(orthogonal)(jax.random.key(0), (3, 3, 2, 4), "float32").shape
      (3, 3, 2, 4)
    """

    def drawn(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
        return init(key, (math.prod(shape[:-1]), shape[-1]), dtype).reshape(shape)

    return drawn


def draw_windows(
    count: int,
    window: tuple[int, ...],
    complete: Callable[[Array, tuple[Array, Array, Array | None], Any], Any],
    *,
    forget: int | None = None,
    forget_bias: float = 0.0,
    use_bias: bool = True,
) -> Callable[..., Any]:
    """The ``init`` of a convolutional cell that keeps its blocks side by side.

    Args:
      count: how many blocks.
      window: the size of the kernels.
      complete: from a key, the kernels and the bias, and the options to the parameters.
      forget: the block of the forget gate, if there is one.
      forget_bias: what is added to its bias by default.
      use_bias: whether there is a bias by default.

    Returns:
      ``init(key, input_size, hidden_size, *, dtype, kernel_init, recurrent_init, bias_init,
      forget_bias, use_bias)``; the sizes are numbers of channels.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.structured.conv import draw_windows
      >>> init = draw_windows(4, (3, 3), lambda key, drawn, options: drawn)
      >>> [leaf.shape for leaf in init(jax.random.key(0), 2, 5)]
      [(3, 3, 2, 20), (3, 3, 5, 20), (20,)]
    """
    default = forget_bias

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = flat(initializers.orthogonal),
        bias_init: initializers.Initializer = initializers.zeros,
        forget_bias: float = default,
        use_bias: bool = use_bias,
    ) -> Any:
        if forget is None and forget_bias:
            raise ValueError(
                f"forget_bias: expected 0 of a cell without a forget gate, got {forget_bias}"
            )
        keys, draw = split(key, 4), initializers.blocks
        w = draw(kernel_init, keys[0], (*window, input_size, hidden_size), count, dtype)
        r = draw(recurrent_init, keys[1], (*window, hidden_size, hidden_size), count, dtype)
        b = None
        if use_bias:
            b = draw(bias_init, keys[2], (hidden_size,), count, dtype)
            at = (forget or 0) * hidden_size
            b = b.at[at : at + hidden_size].add(forget_bias)
        options = {"bias_init": bias_init, "use_bias": use_bias, "size": hidden_size}
        return complete(keys[3], (w, r, b), options)

    return init


def image(space: tuple[int, ...], params: Any, batch_shape: tuple[int, ...], dtype: DType) -> Array:
    """A part of a carry before anything was seen: an image of zeros.

    Args:
      space: the size of the image.
      params: with a field `recurrent_kernel`, for the number of channels.
      batch_shape: the batch axes.
      dtype: of the part.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.structured.conv import image
      >>> cell = jaxrnn.cells.structured.make_conv_elman((3,), (16,))
      >>> image((16,), cell.init(jax.random.key(0), 2, 5), (7,), "float32").shape
      (7, 16, 5)
    """
    if not isinstance(batch_shape, tuple | list):
        raise TypeError(
            f"batch_shape: expected a tuple of batch axes, such as (4,), got {batch_shape!r}"
        )
    return jnp.zeros((*batch_shape, *space, params.recurrent_kernel.shape[-2]), dtype)


def project(space: tuple[int, ...], params: Any, x: Array) -> Array:
    """The convolution of the input, W ∗ x + b.

    Args:
      space: the size of the image.
      params: with fields `input_kernel` and `bias`.
      x: ``(..., *space, D)``.

    Raises:
      ValueError: for an image of another size.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.structured.conv import project
      >>> cell = jaxrnn.cells.structured.make_conv_elman((3,), (16,))
      >>> params = cell.init(jax.random.key(0), 2, 5)
      >>> project((16,), params, jax.numpy.ones((16, 2))).shape
      (16, 5)
    """
    got = x.shape[-1 - len(space) : -1]
    # One pixel is what a stack shows a cell to learn how many channels it gives.
    if got != space and got != (1,) * len(space):
        raise ValueError(f"x: expected images of {space} (space), got {got}: shape {x.shape}")
    return convolve(x, params.input_kernel, params.bias)
