"""The flat weight array of cuDNN's LSTM, as `jax.experimental.rnn` takes it.

First (W_ih, W_hh) of every pseudo-layer, then (b_ih, b_hh) of every one, all flattened from (out,
in). The pseudo-layers are forward 0, backward 0, forward 1, and so on; the gates are i, f, g, o.
(AMD's MIOpen swaps g and o: see ``jax.experimental.rnn.swap_lstm_gates``.)

One array does not tell its sizes, so they are arguments, and there is no ``infer``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import structure
from jaxrnn.interop.format import Format
from jaxrnn.interop.layout import Layout, Sizes, entry, shape
from jaxrnn.interop.names import to_numpy
from jaxrnn.interop.structure import Unit

__all__ = ["CUDNN", "dump", "load"]


def _layout(unit: Unit, has: Callable[[str], bool]) -> Layout:
    entries = (
        entry("W_ih", "W", "ifgo", transposed=True),
        entry("W_hh", "R", "ifgo", transposed=True),
        entry("b_ih", "b", "ifgo"),
        entry("b_hh", "s", "ifgo"),
    )
    return Layout(entries).at(f"{unit.layer or 0}.{unit.direction}.")


CUDNN = Format("cuDNN", {"lstm": {}}, _layout, lambda *at: None, "nothing", holds="network")
"""What cuDNN's array holds, for the conversion."""


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
      TypeError: for a cell that was changed, or that no other library has.
      ValueError: for cells other than LSTMs, or an array of the wrong size or dtype.

    Example:
      >>> import jaxrnn, numpy as np
      >>> from jaxrnn.interop import cudnn
      >>> flat = np.ones(20 * (3 + 5 + 2), "float32")
      >>> cudnn.load(jaxrnn.lstm, flat, input_size=3, hidden_size=5).bias[0].item()
      2.0
    """
    flat, units = to_numpy(source), [unit for row in structure.units(net) for unit in row]
    placed = [(unit, _layout(unit, lambda name: False).entries) for unit in units]
    parts, total = {}, 0
    for half in (slice(0, 2), slice(2, 4)):
        for unit, entries in placed:
            inputs = unit.directions * hidden_size if unit.layer else input_size
            for one in entries[half]:
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
    return CUDNN.load(net, parts, dtype=dtype)


def dump(net: Cell | Layer, params: PyTree) -> np.ndarray:
    """CuDNN's flat array from the parameters of a network.

    Args:
      net: `jaxrnn.lstm` or a `jaxrnn.rnn` of it.
      params: its parameters.

    Returns:
      The array, ``(N,)``; the second biases in it are zero.

    Raises:
      TypeError: for a cell that was changed, or other parameters.
      ValueError: for cells other than LSTMs, or layers of different sizes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import cudnn
      >>> cudnn.dump(jaxrnn.lstm, jaxrnn.lstm.init(jax.random.key(0), 3, 5)).shape
      (200,)
    """
    parts = CUDNN.dump(net, params)
    ordered = sorted(parts, key=lambda name: "b_" in name)  # stable: all kernels, then all biases
    return np.concatenate([parts[name].reshape(-1) for name in ordered])
