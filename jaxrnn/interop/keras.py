"""Weights of the Keras 3 layers `SimpleRNN`, `LSTM` and `GRU`, stacks and `Bidirectional`.

====================  =========  =======================================================
``kernel``            (D, …)     i, f, g, o (Keras says c for g) or **z, r, n**
``recurrent_kernel``  (H, …)     alike
``bias``              (…,)       absent with ``use_bias=False``; ``(2, 3H)`` of a GRU with
                                 ``reset_after=True``, the default; ``(3H,)`` without it
====================  =========  =======================================================

Arrays are found by their paths, in all forms Keras writes: ``variable.path`` of a live model
(``sequential/lstm/lstm_cell/kernel``), ``.weights.h5`` and ``.keras`` files
(``layers/lstm/cell/vars/0``) and old ``.h5`` files. The layers are those below the prefix, in
the order of their names, ``lstm_2`` before ``lstm_10``; where that is not their order in the
model, give a prefix for each.

Undetectable: other activations than the default ones, and whether a GRU without a bias resets
after the product. See `jaxrnn.interop.probe`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import jaxrnn
from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import convert, structure
from jaxrnn.interop.convert import Library, Prefix
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.names import base, flatten, numbered
from jaxrnn.interop.structure import Unit

__all__ = ["KERAS", "dump", "infer", "load"]

GATES = {"elman": "h", "lstm": "ifgo", "gru": "zrn"}
NAMES = ("kernel", "recurrent_kernel", "bias")
IGNORED = re.compile(r"(^|/)(seed_generator|optimizer|optimizer_weights)/")


def _layout(unit: Unit, has: Callable[[str], bool], *, bias: bool = True) -> Layout:
    kind = structure.family(unit.cell)
    start = f"{unit.layer}/" if unit.layer is not None else ""
    start += ("forward/", "backward/")[unit.direction] if unit.directions == 2 else ""
    gates = GATES[kind]
    after = kind == "gru" and structure.option(unit.cell, "reset") == "after"
    entries = [entry(start + "kernel", "W", gates), entry(start + "recurrent_kernel", "R", gates)]
    if bias:
        entries.append(entry(start + "bias", "bs" if after else "b", gates, optional=start))
    return Layout(tuple(entries))


KERAS = Library(
    "Keras",
    {
        "elman": {"activation": ("tanh", "relu")},
        "gru": {"reset": ("after", "before"), "update": None},
        "lstm": {},
        "merge": {},
    },
    _layout,
    "/",
)
"""What Keras has, for `jaxrnn.interop.convert`."""


def _groups(source: Mapping[str, Any], prefix: str) -> list[list[dict[str, tuple[str, Any]]]]:
    """For each layer below a prefix, for each direction: full names and arrays by `NAMES`."""
    start = base(prefix, "/")
    cells: dict[str, dict[str, tuple[str, Any]]] = {}
    for name, leaf in flatten(source, "/").items():
        if not name.startswith(start) or IGNORED.search(name):
            continue
        path = re.sub(r":0$", "", name)
        for number, known in enumerate(NAMES):
            path = re.sub(rf"(^|/)vars/{number}$", rf"\1{known}", path)
        cell, _, last = path.rpartition("/")
        cells.setdefault(cell, {})[last] = (name, leaf)
    layers: dict[str, list[dict[str, tuple[str, Any]]]] = {}
    for cell in sorted(cells, key=numbered):
        part = re.search(r"(^|/)(forward|backward)[^/]*(?=/|$)", cell[len(start.rstrip("/")) :])
        layer = cell if part is None else cell[: len(start.rstrip("/")) + part.start()]
        pair = layers.setdefault(layer, [])
        pair.insert(0 if part and part[2] == "forward" else len(pair), cells[cell])
    return list(layers.values())


def _named(source: Mapping[str, Any], prefix: Prefix, layers: int | None) -> dict[str, Any]:
    """The arrays by the names of `_layout`, whatever Keras calls them."""
    prefixes = [prefix] if isinstance(prefix, str) else list(prefix)
    groups = [group for one in prefixes for group in _groups(source, one)]
    named = {}
    for k, group in enumerate(groups):
        for direction, cell in enumerate(group):
            start = f"{k}/" if layers is not None or len(groups) > 1 else ""
            start += ("forward/", "backward/", "third/")[min(direction, 2)] * (len(group) > 1)
            named |= {start + last: leaf for last, (_, leaf) in cell.items()}
    return named


def load(
    net: Cell | Layer, source: Mapping[str, Any], prefix: Prefix = "", *, dtype: DType | None = None
) -> PyTree:
    """The parameters of a network from those of Keras layers.

    Args:
      net: a cell or network.
      source: arrays by path: of a file by `jaxrnn.interop.read`, of a live model by
        ``{v.path: v.numpy() for v in model.variables}``.
      prefix: the path of the layer, such as ``"layers/lstm"``, or of what holds the layers, or
        a path for each layer.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      Parameters as ``net.init`` gives them; without biases in the source, theirs are zero.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells that Keras lacks, and with a line for each array that is missing,
        surplus, of the wrong shape or dtype; they are called ``layer/direction/array``.

    Example:
      >>> import jaxrnn, numpy as np
      >>> from jaxrnn.interop import keras
      >>> arrays = {"layers/gru/cell/vars/0": np.ones((3, 15)),
      ...           "layers/gru/cell/vars/1": np.ones((5, 15)),
      ...           "layers/gru/cell/vars/2": np.ones((2, 15))}
      >>> keras.load(jaxrnn.gru, arrays, dtype="float32").recurrent_bias.shape
      (5,)
    """
    units = structure.units(net)
    named = _named(source, prefix, units[0][0].layer)
    for row in units:
        for unit in row:
            bias = _layout(unit, lambda name: False).entries[2]
            got = getattr(named.get(bias.name), "shape", None)
            if structure.family(unit.cell) == "gru" and got and len(got) != len(bias.rows):
                which = {1: "before", 2: "after"}
                raise ValueError(
                    f"source: {bias.name} {list(got)} is of a GRU that resets "
                    f"{which[min(len(got), 2)]} the product, and {unit.cell.name!r} resets "
                    f"{which[len(bias.rows)]} it: they are different functions"
                )
    return convert.load(KERAS, net, named, dtype=dtype)


def dump(
    net: Cell | Layer, params: PyTree, prefix: str = "", *, bias: bool = True
) -> dict[str, np.ndarray]:
    """The arrays of Keras layers from the parameters of a network.

    ``layer.set_weights(list(dump(net, params).values()))`` puts them into a layer or a model
    of these layers only.

    Args:
      net: a cell or network.
      params: its parameters.
      prefix: what to put before the names.
      bias: False for layers with ``use_bias=False``; the biases must then be zero.

    Returns:
      Numpy arrays in the order of ``get_weights``, called ``layer/direction/array``.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that Keras lacks, or parameters that have no place.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import keras
      >>> net = jaxrnn.bidirectional(jaxrnn.gru)
      >>> list(keras.dump(net, net.init(jax.random.key(0), 3, 5)))[:3]
      ['forward/kernel', 'forward/recurrent_kernel', 'forward/bias']
    """
    library = KERAS._replace(layout=lambda unit, has: _layout(unit, has, bias=bias))
    return convert.dump(library, net, params, prefix)


def infer(source: Mapping[str, Any], prefix: Prefix = "") -> Any:
    """The network that the arrays of Keras layers belong to.

    Args:
      source: as for `load`.
      prefix: as for `load`.

    Returns:
      A cell or both directions of one for one layer, `jaxrnn.stack` for several.

    Raises:
      ValueError: if an array is of no such layer.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import keras
      >>> arrays = {"lstm/kernel": np.ones((3, 20)), "lstm/recurrent_kernel": np.ones((5, 20))}
      >>> keras.infer(arrays).name
      'lstm'
    """
    named = _named(source, prefix, 0)
    shapes = {name: getattr(leaf, "shape", ()) for name, leaf in named.items()}

    def cell(at: str) -> Any:
        rows, columns = (*shapes.get(at + "recurrent_kernel", ()), 0, 0)[:2]
        before = len(shapes.get(at + "bias", (2, 3))) == 1
        gru = jaxrnn.gru_reset_before if before else jaxrnn.gru
        return {1: jaxrnn.elman, 3: gru, 4: jaxrnn.lstm}.get(columns / rows if rows else 0)

    found: list[Any] = []
    while True:
        at = f"{len(found)}/"
        both = cell(at + "forward/"), cell(at + "backward/")
        one = jaxrnn.bidirectional(*both) if both[0] and both[1] else cell(at)
        if one is None:
            break
        found.append(one)
    if not found or any(name.startswith(f"{len(found)}/") for name in named):
        raise ValueError(
            f"source: expected a recurrent_kernel of 1, 3 or 4 blocks in each layer, got "
            f"{ {name: tuple(shape) for name, shape in shapes.items()} }"
        )
    return found[0] if len(found) == 1 else jaxrnn.stack(*found)
