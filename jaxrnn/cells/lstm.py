"""The long short-term memory: fused, and as a reference with one linear map per gate."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType
from jaxrnn.cells.blocks import gates, linear, tanh, wide
from jaxrnn.checks import sized

__all__ = ["LSTMCarry", "LSTMGates", "LSTMParams", "fuse", "lstm", "lstm_reference", "unfuse"]


class LSTMParams(NamedTuple):
    """Parameters of a fused LSTM; the blocks are in the order i, f, g, o.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, ``(H, 4H)``.
      bias: b, ``(4H,)``.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.lstm.init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 20)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


class LSTMCarry(NamedTuple):
    """The state of an LSTM.

    Attributes:
      h: the output of the last step, ``(*batch, H)``.
      c: the cell, ``(*batch, H)``; float32 where h is a half type.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.lstm.carry(params, (2,)).c.shape
      (2, 5)
    """

    h: Array
    c: Array


@sized
def _init(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DType = jnp.float32,
    kernel_init: initializers.Initializer = initializers.glorot,
    recurrent_init: initializers.Initializer = initializers.orthogonal,
    bias_init: initializers.Initializer = initializers.zeros,
    forget_bias: float = 1.0,
) -> LSTMParams:
    k1, k2, k3 = jax.random.split(key, 3)
    bias = initializers.blocks(bias_init, k3, (hidden_size,), 4, dtype)
    return LSTMParams(
        initializers.blocks(kernel_init, k1, (input_size, hidden_size), 4, dtype),
        initializers.blocks(recurrent_init, k2, (hidden_size, hidden_size), 4, dtype),
        bias.at[hidden_size : 2 * hidden_size].add(forget_bias),
    )


def _carry(params: LSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
    size, dtype = params.recurrent_kernel.shape[0], params.recurrent_kernel.dtype
    shape = (*batch_shape, size)
    return LSTMCarry(jnp.zeros(shape, dtype), jnp.zeros(shape, wide(dtype)))


def _project(params: LSTMParams, x: Array) -> Array:
    return linear(x, params.input_kernel, params.bias)


def _recurrent(params: LSTMParams, carry: LSTMCarry) -> Array:
    return linear(carry.h, params.recurrent_kernel)


def _gates(params: LSTMParams, carry: LSTMCarry, zx: Array, zh: Array) -> LSTMGates:
    return LSTMGates(*gates(zx + zh, "ssts"))


def _update(params: LSTMParams, carry: LSTMCarry, zx: Array, zh: Array) -> tuple[LSTMCarry, Array]:
    i, f, g, o = _gates(params, carry, zx, zh)
    c = f * carry.c + i * g
    h = (o * tanh(c)).astype(carry.h.dtype)
    return LSTMCarry(h, c), h


lstm = Cell("lstm", _init, _carry, _project, _recurrent, _update, gates=_gates)
r"""The LSTM with a forget gate, its four gates in one kernel.

.. math::
    i, f, o &= \sigma(W_{i,f,o}\, x_t + R_{i,f,o}\, h_{t-1} + b_{i,f,o}) \\
    g &= \tanh(W_g x_t + R_g h_{t-1} + b_g) \\
    c_t &= f \odot c_{t-1} + i \odot g \\
    h_t &= o \odot \tanh(c_t)

Params `LSTMParams`, carry `LSTMCarry`, output h. ``lstm.init`` takes ``kernel_init``
(glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and ``forget_bias`` (1.0,
added to the block f).

Source: Hochreiter and Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber and
Cummins (2000), Learning to forget.
"""


class LSTMGates(NamedTuple):
    """Something for each of the four gates: parameters, pre-activations or activations.

    Attributes:
      i: input gate.
      f: forget gate.
      g: candidate.
      o: output gate.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.lstm_reference.init(jax.random.key(0), 3, 5).f.bias.tolist()
      [1.0, 1.0, 1.0, 1.0, 1.0]
    """

    i: Any
    f: Any
    g: Any
    o: Any


def unfuse(params: LSTMParams) -> LSTMGates:
    """The parameters of each gate by itself, from the fused kernels.

    Args:
      params: fused, ``(D, 4H)``, ``(H, 4H)``, ``(4H,)``.

    Returns:
      `LSTMGates` of `LSTMParams`, ``(D, H)``, ``(H, H)``, ``(H,)`` each.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.cells.unfuse(params).o.input_kernel.shape
      (3, 5)
    """
    split = [jnp.split(leaf, 4, axis=-1) for leaf in params]
    return LSTMGates(*(LSTMParams(*leaves) for leaves in zip(*split, strict=True)))


def fuse(params: LSTMGates) -> LSTMParams:
    """The fused kernels, from the parameters of each gate; the inverse of `unfuse`.

    Args:
      params: `LSTMGates` of `LSTMParams`, ``(D, H)``, ``(H, H)``, ``(H,)`` each.

    Returns:
      Fused `LSTMParams`.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm_reference.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.cells.fuse(params).bias.shape
      (20,)
    """
    return jax.tree.map(lambda *leaf: jnp.concatenate(leaf, axis=-1), *params)


def _reference_init(key: Array, input_size: int, hidden_size: int, **options: Any) -> LSTMGates:
    return unfuse(_init(key, input_size, hidden_size, **options))


def _reference_carry(params: LSTMGates, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
    return _carry(params.i, batch_shape)


def _reference_project(params: LSTMGates, x: Array) -> LSTMGates:
    return LSTMGates(*(linear(x, gate.input_kernel, gate.bias) for gate in params))


def _reference_recurrent(params: LSTMGates, carry: LSTMCarry) -> LSTMGates:
    return LSTMGates(*(linear(carry.h, gate.recurrent_kernel) for gate in params))


def _reference_gates(
    params: LSTMGates, carry: LSTMCarry, zx: LSTMGates, zh: LSTMGates
) -> LSTMGates:
    i = jax.nn.sigmoid(zx.i + zh.i)
    f = jax.nn.sigmoid(zx.f + zh.f)
    g = jnp.tanh(zx.g + zh.g)
    o = jax.nn.sigmoid(zx.o + zh.o)
    return LSTMGates(i, f, g, o)


def _reference_update(
    params: LSTMGates, carry: LSTMCarry, zx: LSTMGates, zh: LSTMGates
) -> tuple[LSTMCarry, Array]:
    i, f, g, o = _reference_gates(params, carry, zx, zh)
    c = f * carry.c + i * g
    h = (o * tanh(c)).astype(carry.h.dtype)
    return LSTMCarry(h, c), h


lstm_reference = Cell(
    "lstm_reference",
    _reference_init,
    _reference_carry,
    _reference_project,
    _reference_recurrent,
    _reference_update,
    hidden_size=lambda params: params.i.recurrent_kernel.shape[0],
    gates=_reference_gates,
)
"""The same function as `lstm`, written with one linear map per gate, to read and to test by.

Params `LSTMGates` of `LSTMParams` (see `fuse` and `unfuse`), carry `LSTMCarry`, output h.
"""
