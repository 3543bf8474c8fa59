"""Weights of the Keras 3 layers `SimpleRNN`, `LSTM` and `GRU`, stacks and `Bidirectional`.

====================  =========  =======================================================
``kernel``            (D, …)     i, f, g, o (Keras says c for g) or **z, r, n**
``recurrent_kernel``  (H, …)     alike
``bias``              (…,)       absent with ``use_bias=False``; ``(2, 3H)`` of a GRU with
                                 ``reset_after=True``, the default; ``(3H,)`` without it
====================  =========  =======================================================

Arrays are found by their paths, in all forms Keras writes: ``variable.path`` of a live model
(``sequential/lstm/lstm_cell/kernel``: ``{v.path: v.numpy() for v in model.variables}``),
``.weights.h5`` and ``.keras`` files (``layers/lstm/cell/vars/0``) and old ``.h5`` files. The
prefix is the path of the layer, such as ``"layers/lstm"``, or of what holds the layers, in the
order of their names, ``lstm_2`` before ``lstm_10``; where that is not their order in the model,
give a prefix for each.

The arrays of `dump` and in errors are called ``layer/direction/array``, in the order of
``get_weights``: ``layer.set_weights(list(dump(net, params).values()))``.

Undetectable: other activations than the default ones, and whether a GRU without a bias resets
after the product. See `jaxrnn.interop.probe`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jaxrnn
from jaxrnn.interop import structure
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.format import Format, blocks, both
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.names import base, flatten, numbered
from jaxrnn.interop.structure import Unit

__all__ = ["KERAS", "dump", "infer", "load"]

GATES = {"elman": "h", "lstm": "ifgo", "gru": "zrn"}
NAMES = ("kernel", "recurrent_kernel", "bias")
IGNORED = re.compile(r"(^|/)(seed_generator|optimizer|optimizer_weights)/")


def _layout(unit: Unit, has: Callable[[str], bool]) -> Layout:
    start = f"{unit.layer}/" if unit.layer is not None else ""
    start += ("forward/", "backward/")[unit.direction] if unit.directions == 2 else ""
    gates, biases = GATES[unit.kind], "bs" if unit.option("reset") == "after" else "b"
    entries = [entry("kernel", "W", gates), entry("recurrent_kernel", "R", gates)]
    entries.append(entry("bias", biases, gates, optional="bias"))
    return Layout(tuple(entries)).at(start)


def _layer(arrays: dict[str, Any], at: str) -> Any:
    def cell(at: str) -> Any:
        count = blocks(arrays, at + "recurrent_kernel")
        bias = getattr(arrays.get(at + "bias"), "shape", None)
        if count == 3:
            reset = "before" if bias is not None and len(bias) == 1 else "after"
            return jaxrnn.make_gru(reset=reset, use_bias=bias is not None)
        make = {1: jaxrnn.make_elman, 4: jaxrnn.make_lstm}.get(count)
        return make and make(use_bias=bias is not None)

    one = both(cell, at, "forward/", "backward/") or cell(at)
    if one is None and at and (left := [name for name in arrays if name.startswith(at)]):
        raise ValueError(f"source: expected {KERAS.expected}, got {left}")
    return one


def _groups(source: Mapping[str, Any], prefix: str) -> list[list[dict[str, Any]]]:
    """For each layer below a prefix, for each direction: arrays by `NAMES`."""
    start = base(prefix, "/")
    cells: dict[str, dict[str, Any]] = {}
    for name, leaf in flatten(source, "/").items():
        if not name.startswith(start) or IGNORED.search(name):
            continue
        path = re.sub(r":0$", "", name)
        for number, known in enumerate(NAMES):
            path = re.sub(rf"(^|/)vars/{number}$", rf"\1{known}", path)
        cell, _, last = path.rpartition("/")
        cells.setdefault(cell, {})[last] = leaf
    layers: dict[str, list[dict[str, Any]]] = {}
    for cell in sorted(cells, key=numbered):
        inside = len(start.rstrip("/"))
        part = re.search(r"(^|/)(forward|backward)[^/]*(?=/|$)", cell[inside:])
        layer = cell if part is None else cell[: inside + part.start()]
        pair = layers.setdefault(layer, [])
        pair.insert(0 if part and part[2] == "forward" else len(pair), cells[cell])
    return list(layers.values())


def _find(source: Any, prefix: Prefix, net: Any) -> tuple[dict[str, Any], Prefix]:
    """The arrays by the names of `_layout`, whatever Keras calls them."""
    prefixes = [prefix] if isinstance(prefix, str) else list(prefix)
    groups = [group for one in prefixes for group in _groups(source, one)]
    units = [] if net is None else structure.units(net)
    stacked = len(groups) > 1 or any(row[0].layer is not None for row in units)
    named = {}
    for k, group in enumerate(groups):
        for direction, cell in enumerate(group):
            start = f"{k}/" * stacked
            start += ("forward/", "backward/", "third/")[min(direction, 2)] * (len(group) > 1)
            named |= {start + last: leaf for last, leaf in cell.items()}
    for unit in (unit for row in units for unit in row):
        bias = _layout(unit, lambda name: False).entries[2]
        got = getattr(named.get(bias.name), "shape", None)
        if unit.kind == "gru" and got and len(got) != len(bias.rows):
            which = {1: "before", 2: "after"}
            raise ValueError(
                f"source: {bias.name} {list(got)} is of a GRU that resets "
                f"{which[min(len(got), 2)]} the product, and {unit.cell.name!r} resets "
                f"{which[len(bias.rows)]} it: they are different functions"
            )
    return named, ""


KERAS = Format(
    "Keras",
    {
        "elman": {"activation": ("tanh", "relu")},
        "gru": {"reset": ("after", "before"), "update": None},
        "lstm": {},
        "merge": {},
    },
    _layout,
    _layer,
    "a recurrent_kernel of 1, 3 or 4 blocks in each layer",
    separator="/",
    layers="{}/",
    biasless=True,
    find=_find,
)
"""What Keras has, for the conversion."""

load = KERAS.load
"""The parameters of a network from those of Keras layers."""

dump = KERAS.dump
"""The arrays of Keras layers, in the order of ``get_weights``, from a network's parameters."""

infer = KERAS.infer
"""The network that the arrays of Keras layers belong to."""
