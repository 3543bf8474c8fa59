"""How the cells whose only products are with the input start."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, DType, split
from jaxrnn.cells.linear.common import InputParams
from jaxrnn.checks import sized

__all__ = ["check_heads", "fan_in", "input_init", "input_kernels"]

Init = initializers.Initializer | Sequence[initializers.Initializer]

fan_in: initializers.Initializer = jax.nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""Uniform on ±1/√D: the weights of ``torch.nn.Linear``, which several of these cells start with."""


def input_kernels(
    key: Array,
    sizes: tuple[int, int],
    blocks: int,
    *,
    dtype: DType,
    kernel_init: Init,
    bias_init: Init,
    use_bias: bool = True,
    extra: int = 0,
) -> tuple[Array, Array | None]:
    """W and b of blocks side by side, and of a few more columns after them.

    Args:
      key: a PRNG key.
      sizes: the rows of W, and H.
      blocks: how many blocks of H columns, each drawn by itself.
      dtype: of both.
      kernel_init: initialiser of a block of W, or one for each block.
      bias_init: initialiser of a block of b.
      use_bias: False for None in the place of b.
      extra: how many columns more, one for each head.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn import initializers
      >>> from jaxrnn.cells.linear.start import input_kernels
      >>> w, b = input_kernels(jax.random.key(0), (3, 4), 2, dtype=jnp.float32, extra=1,
      ...                      kernel_init=initializers.glorot, bias_init=initializers.zeros)
      >>> w.shape, b.shape
      ((3, 9), (9,))
    """
    rows, size = sizes

    def draw(init: Init, key: Array, lead: tuple[int, ...]) -> Array:
        k1, k2 = split(key, 2)
        main = initializers.blocks(init, k1, (*lead, size), blocks, dtype)
        if not extra:
            return main
        last = init if callable(init) else init[-1]
        return jnp.concatenate([main, last(k2, (*lead, extra), dtype)], axis=-1)

    k1, k2 = split(key, 2)
    return draw(kernel_init, k1, (rows,)), draw(bias_init, k2, ()) if use_bias else None


def input_init(
    blocks: int,
    *,
    kernel_init: initializers.Initializer,
    use_bias: bool,
    window: int = 1,
    heads: int | None = None,
    extra: int = 0,
) -> Callable[..., InputParams]:
    """The ``init`` of a cell with `InputParams`.

    Args:
      blocks: how many blocks of H columns.
      kernel_init: its default.
      use_bias: its default.
      window: how many inputs W reads at once.
      heads: what H must be a multiple of.
      extra: how many columns more each head has.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear.start import fan_in, input_init
      >>> init = input_init(2, kernel_init=fan_in, use_bias=False)
      >>> init(jax.random.key(0), 3, 5).bias is None
      True
    """
    default, biased = kernel_init, use_bias

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = default,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = biased,
    ) -> InputParams:
        check_heads(hidden_size, heads)
        drawn = input_kernels(
            key,
            (window * input_size, hidden_size),
            blocks,
            dtype=dtype,
            kernel_init=kernel_init,
            bias_init=bias_init,
            use_bias=use_bias,
            extra=extra * (heads or 1),
        )
        return InputParams(*drawn)

    return init


def check_heads(hidden_size: int, heads: int | None) -> None:
    """Raise ValueError unless the units can be shared out among the heads.

    Args:
      hidden_size: H.
      heads: how many, or None.

    Example:
      >>> from jaxrnn.cells.linear.start import check_heads
      >>> check_heads(6, 3)
    """
    if heads and hidden_size % heads:
        raise ValueError(
            f"hidden_size: expected a multiple of num_heads = {heads}, got {hidden_size}"
        )
