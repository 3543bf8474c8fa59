"""The ``init`` that the cells of this folder share, and the bounds of an LSTM's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, DType, split
from jaxrnn.cells.blocks import kernels
from jaxrnn.cells.lstm_records import LSTMCarry
from jaxrnn.checks import sized

__all__ = ["Draw", "check_heads", "fused", "lstm_bounds"]


class Draw(NamedTuple):
    """What an ``init`` made by `fused` was asked for, and the kernels that it drew.

    Attributes:
      key: a PRNG key, apart from those of the kernels.
      input_size: D.
      hidden_size: H.
      dtype: of the parameters.
      kernel_init: initialiser of W.
      recurrent_init: initialiser of R.
      bias_init: initialiser of the biases.
      use_bias: whether there are any.
      kernels: W, R and b.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.structured.fused import fused
      >>> fused(2, lambda draw: draw.hidden_size)(jax.random.key(0), 3, 5)
      5
    """

    key: Array
    input_size: int
    hidden_size: int
    dtype: DType
    kernel_init: initializers.Initializer
    recurrent_init: initializers.Initializer
    bias_init: initializers.Initializer
    use_bias: bool
    kernels: tuple[Array, Array, Array | None]


def fused(
    count: int,
    complete: Callable[[Draw], Any],
    *,
    forget: int | None = None,
    forget_bias: float = 0.0,
    use_bias: bool = True,
) -> Callable[..., Any]:
    """The ``init`` of a cell that keeps its blocks side by side.

    Args:
      count: how many blocks.
      complete: from what was drawn to the cell's parameters.
      forget: the block of the forget gate, if there is one.
      forget_bias: what is added to its bias by default.
      use_bias: whether there are biases by default.

    Returns:
      ``init(key, input_size, hidden_size, *, dtype, kernel_init, recurrent_init, bias_init,
      forget_bias, use_bias)``, without ``forget_bias`` where there is no forget gate.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.structured.fused import fused
      >>> init = fused(4, lambda draw: draw.kernels, forget=1, forget_bias=1.0)
      >>> init(jax.random.key(0), 3, 2)[2].tolist()
      [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    """

    def draw(
        key: Array,
        input_size: int,
        hidden_size: int,
        shifts: list[tuple[int, float]],
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = initializers.orthogonal,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = use_bias,
    ) -> Any:
        keys = split(key, 4)
        drawn = kernels(
            keys[:3],
            (input_size, hidden_size),
            count,
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            use_bias=use_bias,
            shifts=shifts,
        )
        inits = kernel_init, recurrent_init, bias_init
        return complete(Draw(keys[3], input_size, hidden_size, dtype, *inits, use_bias, drawn))

    def plain(key: Array, input_size: int, hidden_size: int, **options: Any) -> Any:
        return draw(key, input_size, hidden_size, [], **options)

    def shifted(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = forget_bias,
        **options: Any,
    ) -> Any:
        return draw(key, input_size, hidden_size, [(forget or 0, forget_bias)], **options)

    return sized(plain if forget is None else shifted)


def check_heads(hidden_size: int, heads: int, *, called: str = "num_heads") -> int:
    """The size of each of some equal parts of H, or ValueError if they cannot be equal.

    Args:
      hidden_size: H.
      heads: how many parts.
      called: the name of that argument.

    Raises:
      ValueError: if H is not a multiple of it.

    Example:
      >>> from jaxrnn.cells.structured.fused import check_heads
      >>> check_heads(6, 2)
      3
    """
    if hidden_size % heads:
        raise ValueError(f"hidden_size: expected a multiple of {called}={heads}, got {hidden_size}")
    return hidden_size // heads


def lstm_bounds(params: Any, start: LSTMCarry, count: Any) -> LSTMCarry:
    """What the state of an LSTM cannot exceed: c grows by at most 1 a step, and h is below 1.

    Args:
      params: not looked at.
      start: the largest magnitudes before.
      count: how many steps after.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn import LSTMCarry
      >>> from jaxrnn.cells.structured.fused import lstm_bounds
      >>> bounds = lstm_bounds(None, LSTMCarry(jnp.full(1, 0.5), jnp.full(1, 2.0)), 3)
      >>> bounds.h.tolist(), bounds.c.tolist()
      ([1.0], [5.0])
    """
    return start._replace(h=jnp.maximum(1, start.h), c=start.c + count)
