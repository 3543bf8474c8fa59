"""How the parameters of the cells with simplified gates are drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, DType, split
from jaxrnn.checks import sized

__all__ = ["Asked", "drawn"]


class Asked(NamedTuple):
    """What an ``init`` was asked for, for the parameters that only one cell has.

    Attributes:
      key: a PRNG key of its own.
      input_size: D.
      hidden_size: H.
      dtype: of the parameters.
      kernel_init: initialiser of a block of W.
      recurrent_init: initialiser of a block of R.
      bias_init: initialiser of a block of b.
      use_bias: whether there are biases.

    Example:
      >>> from jaxrnn.cells.simplified.drawing import Asked
      >>> Asked._fields[:3]
      ('key', 'input_size', 'hidden_size')
    """

    key: Array
    input_size: int
    hidden_size: int
    dtype: DType
    kernel_init: Any
    recurrent_init: Any
    bias_init: Any
    use_bias: bool


Init = initializers.Initializer | Sequence[initializers.Initializer] | initializers.Joint


def drawn(
    record: Any,
    blocks: tuple[int, int, int],
    *,
    kernel: Init = initializers.glorot,
    recurrent: Init = initializers.orthogonal,
    bias: Init = initializers.zeros,
    biases: bool = True,
    square: bool = False,
    more: Callable[[Asked], dict[str, Array]] | None = None,
) -> Callable[..., Any]:
    """The ``init`` of a cell that keeps its blocks side by side.

    Args:
      record: `SimplifiedParams`, `DiagonalParams`, or one that begins with the same fields.
      blocks: how many there are of W, of R and of b.
      kernel: the default of ``kernel_init``.
      recurrent: the default of ``recurrent_init``.
      bias: the default of ``bias_init``.
      biases: the default of ``use_bias``.
      square: whether the input has to be as wide as the state.
      more: the further fields by name, and those that are to be others.

    Raises:
      ValueError: from what is returned, for sizes that differ where they must not.

    Example:
      >>> import jax
      >>> from jaxrnn.cells import SimplifiedParams
      >>> from jaxrnn.cells.simplified.drawing import drawn
      >>> init = drawn(SimplifiedParams, (3, 2, 2))
      >>> [leaf.shape for leaf in init(jax.random.key(0), 4, 5)]
      [(4, 15), (5, 10), (10,)]
    """
    fields = record._fields
    diagonal = "recurrent_diagonal" in fields

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: Init = kernel,
        recurrent_init: Init = recurrent,
        bias_init: Init = bias,
        use_bias: bool = biases,
    ) -> Any:
        if square and input_size != hidden_size:
            raise ValueError(
                f"hidden_size: expected {input_size}, the input size, got {hidden_size}: the "
                "cell adds the input itself to its units"
            )
        k1, k2, k3, k4 = split(key, 4)
        shape = (hidden_size,) if diagonal else (hidden_size, hidden_size)
        leaves = [
            initializers.blocks(kernel_init, k1, (input_size, hidden_size), blocks[0], dtype),
            initializers.blocks(recurrent_init, k2, shape, blocks[1], dtype),
            initializers.blocks(bias_init, k3, (hidden_size,), blocks[2], dtype)
            if use_bias
            else None,
        ]
        if more is None:
            return record(*leaves)
        inits = kernel_init, recurrent_init, bias_init
        asked = Asked(k4, input_size, hidden_size, dtype, *inits, use_bias)
        return record(**dict(zip(fields, leaves, strict=False)) | more(asked))

    return init
