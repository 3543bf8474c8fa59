"""The LSTM as it is written in books: one linear map per gate, to read and to test by."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Cell
from jaxrnn.cells.blocks import linear
from jaxrnn.cells.lstm import lstm
from jaxrnn.cells.lstm_records import LSTMCarry, LSTMGates, LSTMParams

__all__ = ["LSTMReferenceSpec", "fuse", "lstm_reference", "unfuse"]


class LSTMReferenceSpec(NamedTuple):
    """What `lstm_reference` was made with: nothing.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.lstm_reference.spec.make() == jaxrnn.cells.lstm_reference
      True
    """

    def make(self) -> Cell[LSTMGates, LSTMCarry]:
        """The cell."""
        return lstm_reference


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

    def block(k: int) -> LSTMParams:
        return jax.tree.map(lambda leaf: jnp.split(leaf, 4, axis=-1)[k], params)

    return LSTMGates(*map(block, range(4)))


def fuse(params: LSTMGates) -> LSTMParams:
    """The fused kernels, from the parameters of each gate; the inverse of `unfuse`.

    Args:
      params: `LSTMGates` of `LSTMParams`, ``(D, H)``, ``(H, H)``, ``(H,)`` each.

    Returns:
      Fused `LSTMParams`.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.lstm_reference.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.cells.fuse(params).bias.shape
      (20,)
    """
    return jax.tree.map(lambda *leaf: jnp.concatenate(leaf, axis=-1), *params)


def _init(key: Array, input_size: int, hidden_size: int, **options: Any) -> LSTMGates:
    return unfuse(lstm.init(key, input_size, hidden_size, **options))


def _carry(params: LSTMGates, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
    return lstm.carry(fuse(params), batch_shape)


def _project(params: LSTMGates, x: Array) -> LSTMGates:
    return LSTMGates(*(linear(x, gate.input_kernel, gate.bias) for gate in params))


def _recurrent(params: LSTMGates, s: LSTMCarry) -> LSTMGates:
    return LSTMGates(*(linear(s.h, gate.recurrent_kernel) for gate in params))


def _gates(params: LSTMGates, s: LSTMCarry, a: LSTMGates) -> LSTMGates:
    i = jax.nn.sigmoid(a.i)
    f = jax.nn.sigmoid(a.f)
    g = jnp.tanh(a.g)
    o = jax.nn.sigmoid(a.o)
    return LSTMGates(i, f, g, o)


def _update(params: LSTMGates, s: LSTMCarry, a: LSTMGates) -> LSTMCarry:
    i, f, g, o = _gates(params, s, a)
    c = f * s.c + i * g
    h = o * jnp.tanh(c)
    return LSTMCarry(h.astype(s.h.dtype), c)


lstm_reference = Cell(
    "lstm_reference",
    _init,
    _carry,
    _project,
    _recurrent,
    _update,
    lambda params, s, a: s.h,
    gates=_gates,
    spec=LSTMReferenceSpec(),
)
"""The same function as `lstm`, written with one linear map per gate, to read and to test by.

Params `LSTMGates` of `LSTMParams` (see `fuse` and `unfuse`), carry `LSTMCarry`, output h.
"""

lstm_reference.__doc__ = "An LSTM with one linear map per gate, to read and to test by."
