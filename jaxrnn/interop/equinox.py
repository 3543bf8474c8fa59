"""Weights of `equinox.nn.LSTMCell` and `GRUCell`.

Weights are (out, in): ``weight_ih`` (gates H, D), ``weight_hh`` (gates H, H) and ``bias``, in
the order i, f, g, o or r, z, n, and ``bias_n`` (H,) of a GRU inside the reset product; without
``use_bias`` there are none. Equinox has only cells: of a network, each layer and direction is
one, named ``0``, or ``0.forward``, as in a list of cells or of `jaxrnn.Directions` of cells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import jaxrnn
from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import convert, structure
from jaxrnn.interop.convert import Library, Prefix
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.names import base, flatten
from jaxrnn.interop.structure import Unit

__all__ = ["EQUINOX", "dump", "infer", "load"]


def _layout(unit: Unit, has: Callable[[str], bool], *, bias: bool = True) -> Layout:
    gates = {"lstm": "ifgo", "gru": "rzn"}[structure.family(unit.cell)]
    start = "" if unit.layer is None else f"{unit.layer}."
    start += ("forward.", "backward.")[unit.direction] if unit.directions == 2 else ""
    entries = [
        entry(start + "weight_ih", "W", gates, transposed=True),
        entry(start + "weight_hh", "R", gates, transposed=True),
    ]
    if bias:
        entries.append(entry(start + "bias", "b", gates, optional=start + "bias"))
    if bias and gates == "rzn":
        entries.append(entry(start + "bias_n", "s", "n", optional=start + "bias"))
    return Layout(tuple(entries))


EQUINOX = Library("equinox", {"gru": {"reset": ("after",), "update": None}, "lstm": {}}, _layout)
"""What equinox has, for `jaxrnn.interop.convert`."""


def load(
    net: Cell | Layer, source: Any, prefix: Prefix = "", *, dtype: DType | None = None
) -> PyTree:
    """The parameters of a network from those of equinox cells.

    Args:
      net: a cell or network.
      source: a cell or a module, a list of cells, or a mapping from the names of their arrays.
      prefix: the path of the cell in the module, such as ``"encoder.cell"``, or one for each
        layer.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      Parameters as ``net.init`` gives them; without biases in the source, theirs are zero.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells that equinox lacks, and with a line for each array that is missing,
        surplus, of the wrong shape or dtype.

    Example:
      >>> import jaxrnn, numpy as np
      >>> from jaxrnn.interop import equinox
      >>> arrays = {"weight_ih": np.ones((20, 3)), "weight_hh": np.ones((20, 5))}
      >>> equinox.load(jaxrnn.lstm, arrays, dtype="float32").bias.shape
      (20,)
    """
    return convert.load(EQUINOX, net, source, prefix, dtype=dtype)


def dump(
    net: Cell | Layer, params: PyTree, prefix: Prefix = "", *, bias: bool = True
) -> dict[str, np.ndarray]:
    """The arrays of equinox cells from the parameters of a network.

    Args:
      net: a cell or network.
      params: its parameters.
      prefix: as in `load`.
      bias: False for cells with ``use_bias=False``; the biases must then be zero.

    Returns:
      Numpy arrays by the names of the cell's attributes; ``equinox.tree_at`` puts them in.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that equinox lacks, or parameters that have no place.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import equinox
      >>> list(equinox.dump(jaxrnn.gru, jaxrnn.gru.init(jax.random.key(0), 3, 5)))
      ['weight_ih', 'weight_hh', 'bias', 'bias_n']
    """
    library = EQUINOX._replace(layout=lambda unit, has: _layout(unit, has, bias=bias))
    return convert.dump(library, net, params, prefix)


def infer(source: Any, prefix: str = "") -> Any:
    """The network that the arrays of equinox cells belong to.

    Args:
      source: as for `load`.
      prefix: the path of the cell, or of the list of cells.

    Returns:
      A cell for one cell, else `jaxrnn.stack`.

    Raises:
      ValueError: if the arrays are of no such cells.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import equinox
      >>> equinox.infer({"weight_ih": np.ones((15, 3)), "weight_hh": np.ones((15, 5))}).name
      'gru'
    """
    start = base(prefix, ".")
    arrays = flatten(source)

    def cell(at: str) -> Any:
        rows, columns = (*getattr(arrays.get(at + "weight_hh"), "shape", ()), 0, 0)[:2]
        return {3: jaxrnn.gru, 4: jaxrnn.lstm}.get(rows / columns if columns else 0)

    def layer(at: str) -> Any:
        both = cell(at + "forward."), cell(at + "backward.")
        return jaxrnn.bidirectional(*both) if both[0] and both[1] else cell(at)

    if (one := layer(start)) is not None:
        return one
    found: list[Any] = []
    while one := layer(f"{start}{len(found)}."):
        found.append(one)
    if not found:
        raise ValueError(
            f"source: expected {start}weight_hh or {start}0.weight_hh of 3 or 4 blocks, got "
            f"{sorted(arrays)}"
        )
    return jaxrnn.stack(*found)
