r"""Initialisers for kernels and biases, and how a block of gates uses them.

An initialiser is ``init(key, shape, dtype) -> array`` as in `jax.nn.initializers`, so any
of those can be given as well. It is called once *per gate block*, with kernels ``(in, H)``
and biases ``(H,)``, and the blocks are concatenated: an orthogonal recurrent kernel is
orthogonal for each gate, and a fan is the fan of one gate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from jaxrnn.typing import Array, DType

__all__ = [
    "Initializer",
    "blocks",
    "constant",
    "glorot",
    "identity",
    "orthogonal",
    "torch_uniform",
    "zeros",
]

Initializer = Callable[[Array, tuple[int, ...], DType], Array]

zeros: Initializer = jax.nn.initializers.zeros
"""All zero, the usual bias."""

glorot: Initializer = jax.nn.initializers.glorot_uniform()
r"""Uniform on ±√(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""


def orthogonal(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    r"""A random matrix with orthonormal rows or columns, :math:`Q^\top Q = I`.

    Drawn in float32 at least, so that half-precision kernels are orthogonal to their own
    rounding.

    Args:
      key: a PRNG key.
      shape: ``(in, out)``.
      dtype: the dtype returned.

    Source: Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics
    of learning in deep linear neural networks.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.initializers import orthogonal
      >>> q = orthogonal(jax.random.key(0), (4, 4))
      >>> bool(jnp.allclose(q.T @ q, jnp.eye(4), atol=1e-6))
      True
    """
    wide = jnp.promote_types(dtype, jnp.float32)
    return jax.nn.initializers.orthogonal()(key, shape, wide).astype(dtype)


def torch_uniform(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    r"""Uniform on ±1/√H, H = ``shape[-1]``: what ``torch.nn`` uses for every weight and bias.

    Args:
      key: a PRNG key.
      shape: ``(in, H)`` or ``(H,)``.
      dtype: the dtype returned.

    Example:
      >>> import jax
      >>> from jaxrnn.initializers import torch_uniform
      >>> bool((abs(torch_uniform(jax.random.key(0), (3, 16))) <= 0.25).all())
      True
    """
    bound = shape[-1] ** -0.5 if shape[-1] else 0.0
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def identity(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    """The identity matrix: a recurrent kernel that starts as a perfect memory.

    Args:
      key: unused.
      shape: ``(H, H)``.
      dtype: the dtype returned.

    Source: Le, Jaitly and Hinton (2015), A simple way to initialize recurrent networks of
    rectified linear units.

    Example:
      >>> from jaxrnn.initializers import identity
      >>> identity(None, (2, 2)).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    del key
    return jnp.eye(*shape, dtype=dtype)


def constant(value: float) -> Initializer:
    """An initialiser that fills with one value.

    Args:
      value: the value.

    Example:
      >>> from jaxrnn.initializers import constant
      >>> constant(1.0)(None, (2,), "float32").tolist()
      [1.0, 1.0]
    """
    return jax.nn.initializers.constant(value)


def blocks(
    init: Initializer | Sequence[Initializer],
    key: Array,
    shape: tuple[int, ...],
    gates: int,
    dtype: DType = jnp.float32,
) -> Array:
    """One block per gate, each drawn with its own key, joined along the last axis.

    Args:
      init: one initialiser for all gates, or a sequence of one per gate.
      key: a PRNG key, split between the gates.
      shape: the shape of one gate's block, ``(in, H)`` or ``(H,)``.
      gates: how many gates.
      dtype: the dtype returned.

    Returns:
      An array ``(*shape[:-1], gates * shape[-1])``.

    Raises:
      ValueError: if a sequence of initialisers has not one per gate.

    Example:
      >>> import jax
      >>> from jaxrnn.initializers import blocks, orthogonal
      >>> blocks(orthogonal, jax.random.key(0), (5, 5), 4).shape
      (5, 20)
    """
    inits = [init] * gates if callable(init) else list(init)
    if len(inits) != gates:
        raise ValueError(f"init: expected one initializer per gate ({gates}), got {len(inits)}")
    keys = jax.random.split(key, gates)
    parts = [one(k, shape, dtype) for one, k in zip(inits, keys, strict=True)]
    return jnp.concatenate(parts, axis=-1)
