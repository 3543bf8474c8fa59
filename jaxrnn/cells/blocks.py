"""The operations that cells are written with: an affine map and a block of gates."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.typing import Array, DType

__all__ = ["ACTIVATIONS", "activation", "gates", "linear", "together", "wide"]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "identity": lambda z: z,
}
"""Activations by name, for the arguments of constructors."""


def activation(name: str | Callable[[Array], Array], argument: str) -> Callable[[Array], Array]:
    """The activation of a name, or the callable itself.

    Args:
      name: a key of `ACTIVATIONS`, or an elementwise function.
      argument: the argument's name, for the error.

    Raises:
      ValueError: for an unknown name.

    Example:
      >>> from jaxrnn.cells.blocks import activation
      >>> float(activation("relu", "activation")(-1.0))
      0.0
    """
    if callable(name):
        return name
    if name not in ACTIVATIONS:
        raise ValueError(f"{argument}: expected one of {sorted(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


def wide(dtype: DType) -> DType:
    """The dtype to accumulate in: float32 for the half types, otherwise the dtype itself.

    Args:
      dtype: a floating dtype.

    Example:
      >>> from jaxrnn.cells.blocks import wide
      >>> str(wide("bfloat16")), str(wide("float64"))
      ('float32', 'float64')
    """
    return np.promote_types(jnp.dtype(dtype), np.float32)  # jnp's refuses under strict promotion


def linear(x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """An affine map of the last axis, :math:`x K + b`, accumulated in float32 or wider.

    Args:
      x: ``(..., in)``.
      kernel: ``(in, out)``, of the dtype of x.
      bias: ``(out,)`` or None.

    Returns:
      ``(..., out)`` of dtype ``wide(x.dtype)``.

    Raises:
      ValueError: if the last axis of x is not the first of the kernel.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.blocks import linear
      >>> linear(jnp.ones((2, 3)), jnp.ones((3, 4)), jnp.ones(4))[0].tolist()
      [4.0, 4.0, 4.0, 4.0]
    """
    if x.ndim == 0 or kernel.ndim != 2 or x.shape[-1] != kernel.shape[0]:
        raise ValueError(
            f"x: expected a last axis of {kernel.shape[0]}, the input size of a kernel "
            f"{kernel.shape}, got shape {x.shape}"
        )
    contract = (((x.ndim - 1,), (0,)), ((), ()))
    z = lax.dot_general(x, kernel, contract, preferred_element_type=wide(x.dtype))
    return z if bias is None else z + bias.astype(z.dtype)


def gates(z: Array, kinds: str) -> list[Array]:
    r"""Split a block of pre-activations into gates, all through one tanh.

    .. math:: \sigma(z) = \tfrac12 + \tfrac12 \tanh(z / 2)

    One transcendental over the whole block is what compilers fuse best; on CPU it halves
    the time of an LSTM step against a logistic per gate.

    Args:
      z: ``(..., len(kinds) * H)``.
      kinds: a letter per gate, ``s`` for logistic, ``t`` for tanh.

    Returns:
      One array ``(..., H)`` per letter.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.blocks import gates
      >>> i, g = gates(jnp.zeros(4), "st")
      >>> i.tolist(), g.tolist()
      ([0.5, 0.5], [0.0, 0.0])
    """
    size = z.shape[-1] // len(kinds)
    scale = jnp.concatenate([jnp.full(size, 0.5 if k == "s" else 1.0, z.dtype) for k in kinds])
    parts = jnp.split(jnp.tanh(z * scale), len(kinds), axis=-1)
    return [0.5 + 0.5 * t if k == "s" else t for k, t in zip(kinds, parts, strict=True)]


def together(*parts: Array) -> list[Array]:
    """The same arrays, made to lie in one buffer: the identity, for the sake of speed.

    XLA's CPU compiler vectorises elementwise code that reads slices of one buffer, and often
    not code that reads slices of several. On a GRU step this is a factor of two.

    Args:
      *parts: arrays ``(..., H)`` of one shape and dtype.

    Returns:
      The parts, in order.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.blocks import together
      >>> a, b = together(jnp.zeros(2), jnp.ones(2))
      >>> a.tolist(), b.tolist()
      ([0.0, 0.0], [1.0, 1.0])
    """
    block = lax.optimization_barrier(jnp.concatenate(parts, axis=-1))
    return jnp.split(block, len(parts), axis=-1)
