"""The flat weight array of cuDNN's LSTM, as `jax.experimental.rnn` takes it.

First (W_ih, W_hh) of every pseudo-layer, then (b_ih, b_hh) of every one, all flattened from (out,
in). The pseudo-layers are forward 0, backward 0, forward 1, and so on; the gates are i, f, g, o.
(AMD's MIOpen swaps g and o: see ``jax.experimental.rnn.swap_lstm_gates``.)

One array does not tell its sizes, so they are arguments, and there is no ``infer``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import convert, structure
from jaxrnn.interop.convert import Library
from jaxrnn.interop.layout import Entry, Layout, Sizes, entry, shape
from jaxrnn.interop.names import to_numpy
from jaxrnn.interop.structure import Unit

__all__ = ["CUDNN", "dump", "load"]


def _entries(unit: Unit) -> list[Entry]:
    at = f"{unit.layer or 0}.{unit.direction}."
    return [
        entry(at + "W_ih", "W", "ifgo", transposed=True),
        entry(at + "W_hh", "R", "ifgo", transposed=True),
        entry(at + "b_ih", "b", "ifgo"),
        entry(at + "b_hh", "s", "ifgo"),
    ]


CUDNN = Library("cuDNN", {"lstm": {}}, lambda unit, has: Layout(tuple(_entries(unit))))
"""What cuDNN's array holds, for `jaxrnn.interop.convert`."""


def _order(net: Cell | Layer) -> list[tuple[Unit, Entry]]:
    """Every part of the flat array, in its order."""
    pseudo = [unit for row in structure.units(net) for unit in row]
    kernels = [(unit, one) for unit in pseudo for one in _entries(unit)[:2]]
    return kernels + [(unit, one) for unit in pseudo for one in _entries(unit)[2:]]


def load(
    net: Cell | Layer,
    source: Any,
    *,
    input_size: int,
    hidden_size: int,
    dtype: DType | None = None,
) -> PyTree:
    """The parameters of a network from cuDNN's flat array.

    Args:
      net: `jaxrnn.lstm` or a `jaxrnn.rnn` of it.
      source: the array, ``(N,)``.
      input_size: D.
      hidden_size: H.
      dtype: the dtype to convert to; that of the array if None.

    Returns:
      Parameters as ``net.init`` gives them; the two biases become one.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells other than LSTMs, or an array of the wrong size or dtype.

    Example:
      >>> import jaxrnn, numpy as np
      >>> from jaxrnn.interop import cudnn
      >>> flat = np.ones(20 * (3 + 5 + 2), "float32")
      >>> cudnn.load(jaxrnn.lstm, flat, input_size=3, hidden_size=5).bias[0].item()
      2.0
    """
    flat = to_numpy(source)
    directions = len(structure.units(net)[0])
    parts, total = {}, 0
    for unit, one in _order(net):
        inputs = directions * hidden_size if unit.layer else input_size
        size = shape(one, Sizes(inputs, hidden_size, hidden_size))
        count = int(np.prod(size))
        part = flat.reshape(-1)[total : total + count]
        total += count
        parts[one.name] = part.reshape(size) if part.size == count else part
    if flat.shape != (total,):
        raise ValueError(
            f"source: expected shape ({total},) for {net.name!r} with D = {input_size} and "
            f"H = {hidden_size}, got {flat.shape}"
        )
    return convert.load(CUDNN, net, parts, dtype=dtype)


def dump(net: Cell | Layer, params: PyTree) -> np.ndarray:
    """CuDNN's flat array from the parameters of a network.

    Args:
      net: `jaxrnn.lstm` or a `jaxrnn.rnn` of it.
      params: its parameters.

    Returns:
      The array, ``(N,)``; the second biases in it are zero.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells other than LSTMs.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import cudnn
      >>> cudnn.dump(jaxrnn.lstm, jaxrnn.lstm.init(jax.random.key(0), 3, 5)).shape
      (200,)
    """
    parts = convert.dump(CUDNN, net, params)
    return np.concatenate([parts[one.name].reshape(-1) for _, one in _order(net)])
