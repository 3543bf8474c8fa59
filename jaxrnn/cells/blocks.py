"""What cells are written with: an affine map, a block of gates, and how kernels are drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from jaxrnn import initializers
from jaxrnn.base import Array, DType

__all__ = [
    "ACTIVATIONS",
    "activation",
    "between",
    "gates",
    "kernels",
    "linear",
    "named",
    "on_cpu_apart",
    "tanh",
    "together",
    "wide",
]


@jax.custom_jvp
def tanh(z: Array) -> Array:
    """Hyperbolic tangent, whose derivative keeps one array, not two, and never comes to rest.

    What saturates has y = 1 in the digits there are, but a slope: :math:`(1 - y)(1 + y)` would be
    0 from z = 10 on, and what has got there could not come back.

    Args:
      z: any shape.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.blocks import tanh
      >>> float(tanh(0.0)), float(jax.grad(tanh)(0.0))
      (0.0, 1.0)
    """
    return jnp.tanh(z)


@tanh.defjvp
def _tanh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return tanh(*primals), _slope(*primals) * tangents[0]


@jax.custom_jvp
def _slope(z: Array) -> Array:
    """The derivative of tanh, to the last digit where tanh itself has none left."""
    e = jnp.exp(-2 * abs(z))
    return 4 * e / (1 + e) ** 2


@_slope.defjvp
def _slope_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    slope = _slope(*primals)
    return slope, -2 * tanh(*primals) * slope * tangents[0]


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": tanh,
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid": lambda z: jnp.clip(0.2 * z + 0.5, 0, 1),
    "identity": lambda z: z,
}
"""Activations by name, for the arguments of constructors. The hard sigmoid is that of old Keras
and of ONNX, :math:`\\min(\\max(z / 5 + 1/2, 0), 1)`.
"""


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
        return tanh if name is jnp.tanh else name  # the same function
    if name not in ACTIVATIONS:
        raise ValueError(f"{argument}: expected one of {sorted(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name]


def named(phi: str | Callable[[Array], Array], argument: str) -> str | Callable[[Array], Array]:
    """The activation's name where it has one, so that equal options compare equal.

    Args:
      phi: a name of `ACTIVATIONS` or an elementwise function.
      argument: the argument's name, for the error.

    Raises:
      ValueError: for an unknown name.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.blocks import named
      >>> named(jax.nn.relu, "activation")
      'relu'
    """
    known = {function: name for name, function in ACTIVATIONS.items()}
    return known.get(function := activation(phi, argument), function)


def limit(phi: str | Callable[[Array], Array]) -> float:
    """What an activation cannot exceed in magnitude: 1, or infinity of what is not known.

    Args:
      phi: a name of `ACTIVATIONS`, or a function.

    Example:
      >>> from jaxrnn.cells.blocks import limit
      >>> limit("tanh"), limit("relu")
      (1.0, inf)
    """
    return 1.0 if phi in ("tanh", "sigmoid", "hard_sigmoid") else math.inf


def between(phi: str | Callable[[Array], Array]) -> bool:
    """Whether an activation is known to give what lies between 0 and 1, as a gate does.

    Args:
      phi: a name of `ACTIVATIONS`, or a function.

    Example:
      >>> from jaxrnn.cells.blocks import between
      >>> between("sigmoid"), between("tanh")
      (True, False)
    """
    return phi in ("sigmoid", "hard_sigmoid")


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
    z = _product(x, kernel)
    if bias is None:
        return z
    return z + like(bias, z)


def like(row: Any, z: Array) -> Array:
    """A vector in every row of z, in its dtype: spelled out for who forbids implicit promotion.

    Args:
      row: ``(n,)``.
      z: ``(..., n)``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.blocks import like
      >>> like(jnp.ones(3), jnp.zeros((2, 3))).shape
      (2, 3)
    """
    return jnp.broadcast_to(jnp.asarray(row, z.dtype), z.shape)


def _dot(x: Array, kernel: Array, axis: int) -> Array:
    contract = (((x.ndim - 1,), (axis,)), ((), ()))
    return lax.dot_general(x, kernel, contract, preferred_element_type=wide(x.dtype))


@jax.custom_jvp
def _product(x: Array, kernel: Array) -> Array:
    return _dot(x, kernel, 0)


@partial(_product.defjvp, symbolic_zeros=True)
def _product_jvp(primals: tuple[Array, Array], tangents: tuple[Any, Any]) -> tuple[Array, Array]:
    """The derivative, written so that its transpose is what processors are fast at.

    With the kernel transposed once, before any loop, each step of a backward pass multiplies by
    a kernel that lies in memory as it is read. The gradient of the kernel is one product over
    all rows.
    """
    x, kernel = primals
    dx, dkernel = tangents
    parts = []
    if not isinstance(dx, SymbolicZero):
        parts.append(_dot(dx, kernel.T, 1))
    if not isinstance(dkernel, SymbolicZero):
        parts.append(_dot(x, dkernel, 0) if x.ndim < 3 else _rows_dot(x, dkernel))
    return _product(x, kernel), sum(parts[1:], parts[0])


def _rows_dot(x: Array, dkernel: Array) -> Array:
    """The product with the kernel's tangent, for the sake of its transpose.

    The time comes last among the rows, so that a batch spread over devices stays where it is,
    and x is transposed before it is used: of the two factors of the gradient it is the smaller.
    """
    x = jnp.moveaxis(x, 0, -2)
    columns = on_cpu_apart(x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).T)
    contract = (((0,), (0,)), ((), ()))
    z = lax.dot_general(columns, dkernel, contract, preferred_element_type=wide(x.dtype))
    return jnp.moveaxis(z.reshape(*x.shape[:-1], dkernel.shape[-1]), -2, 0)


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
    return jnp.split(_squash(z, kinds), len(kinds), axis=-1)


def _scale(z: Array, kinds: str) -> Array:
    halves = [0.5 if kind == "s" else 1.0 for kind in kinds]
    return like(np.repeat(np.array(halves), z.shape[-1] // len(kinds)), z)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _squash(z: Array, kinds: str) -> Array:
    scale = _scale(z, kinds)
    return tanh(z * scale) * scale + (1 - scale)


@_squash.defjvp
def _squash_jvp(kinds: str, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (z,), (dz,) = primals, tangents
    scale = _scale(z, kinds)
    return _squash(z, kinds), scale**2 * _slope(z * scale) * dz


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
    if len({tuple(jax.typeof(part).sharding.spec) for part in parts}) > 1:
        return list(parts)  # spread over devices in different ways, by their types
    block = on_cpu_apart(jnp.concatenate(parts, axis=-1))
    return jnp.split(block, len(parts), axis=-1)


def on_cpu_apart(x: Array) -> Array:
    """The same array, on a CPU computed by itself: XLA may not fuse it with what reads it.

    On other processors it is what they fuse that makes them fast.

    Args:
      x: any array.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.blocks import on_cpu_apart
      >>> on_cpu_apart(jnp.ones(2)).tolist()
      [1.0, 1.0]
    """
    return lax.platform_dependent(x, cpu=lax.optimization_barrier, default=lambda x: x)


def kernels(
    keys: Array,
    sizes: tuple[int, int],
    blocks: int,
    *,
    dtype: DType,
    kernel_init: initializers.Initializer,
    recurrent_init: initializers.Initializer,
    bias_init: initializers.Initializer,
    use_bias: bool = True,
    shifts: Sequence[tuple[int, float]] = (),
    output_size: int | None = None,
) -> tuple[Array, Array, Array | None]:
    """W, R and b of a cell that keeps its blocks side by side.

    Args:
      keys: three PRNG keys.
      sizes: D and H.
      blocks: how many, each drawn by itself.
      dtype: of the kernels and the bias.
      kernel_init: initialiser of a block of W.
      recurrent_init: initialiser of a block of R.
      bias_init: initialiser of a block of b.
      use_bias: False for None in the place of b.
      shifts: ``(block, value)`` pairs: what is added to the bias of a block.
      output_size: of what R reads, H if None.

    Returns:
      ``(D, blocks * H)``, ``(output_size, blocks * H)``, and ``(blocks * H,)`` or None.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn import initializers
      >>> from jaxrnn.cells.blocks import kernels
      >>> init = {"kernel_init": initializers.glorot, "recurrent_init": initializers.orthogonal}
      >>> w, r, b = kernels(jax.random.split(jax.random.key(0), 3), (3, 2), 2, dtype=jnp.float32,
      ...                   **init, bias_init=initializers.zeros, shifts=[(1, 1.0)])
      >>> w.shape, r.shape, b.tolist()
      ((3, 4), (2, 4), [0.0, 0.0, 1.0, 1.0])
    """
    input_size, size = sizes
    draw = partial(initializers.blocks, gates=blocks, dtype=dtype)
    bias = None
    if use_bias:
        bias = draw(bias_init, keys[2], (size,))
        for block, value in shifts:
            bias = bias.at[block * size : (block + 1) * size].add(value)
    out = size if output_size is None else output_size
    w = draw(kernel_init, keys[0], (input_size, size))
    return w, draw(recurrent_init, keys[1], (out, size)), bias
