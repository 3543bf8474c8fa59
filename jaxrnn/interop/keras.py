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
give a prefix for each. `networks` finds all recurrent layers of a model, whatever else is in it.
CuDNNGRU and CuDNNLSTM layers of Keras 2 are found by their biases, and loaded as what they compute.

The arrays of `dump` and in errors are called ``layer/direction/array``, in the order of
``get_weights``: ``layer.set_weights(list(dump(net, params).values()))``.

Activations, how directions are joined, and what a GRU without a bias resets stand in the model's
configuration. `jaxrnn.interop.read` of a ``.keras`` or ``.h5`` file has it as ``model_config``,
JSON that is read as data, and so may any source: ``{..., "model_config": model.to_json()}``. Then
layers are in its order, `infer` goes by it, and `load` refuses a network that it contradicts.
Without it, activations are taken to be the default ones, layers to go forward, and two to be a
`Bidirectional` by their names and sizes. See `jaxrnn.interop.probe`.

A ``ConvLSTM2D`` and its kin load into a cell of `jaxrnn.cells.make_conv_lstm`, one at a time: see
`jaxrnn.interop.conv_lstm`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jaxrnn
from jaxrnn.base import DType
from jaxrnn.cells.structured import ConvLSTMSpec
from jaxrnn.interop import conv_lstm, structure
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.format import Format, blocks
from jaxrnn.interop.found import Found
from jaxrnn.interop.keras_paths import Holder, agree, holders, said
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.structure import Unit

__all__ = ["KERAS", "dump", "infer", "load", "networks"]

GATES = {"elman": "h", "lstm": "ifgo", "gru": "zrn"}


def _layout(unit: Unit, has: Callable[[str], bool]) -> Layout:
    one, other = map(unit.option, ("candidate_activation", "output_activation"))
    if unit.kind == "lstm" and one != other:
        raise ValueError(
            f"net: expected one activation of candidate and output in Keras, got {one!r}, {other!r}"
        )
    start = f"{unit.layer}/" if unit.layer is not None else ""
    start += ("forward/", "backward/")[unit.direction] if unit.directions == 2 else ""
    gates, biases = GATES[unit.kind], "bs" if unit.option("reset") == "after" else "b"
    entries = [entry("kernel", "W", gates), entry("recurrent_kernel", "R", gates)]
    entries.append(entry("bias", biases, gates, optional="bias"))
    return Layout(tuple(entries)).at(start)


def _layer(arrays: dict[str, Any], at: str, *, go_backwards: bool = False) -> Any:
    def cell(at: str) -> Any:
        count = blocks(arrays, at + "recurrent_kernel")
        bias = getattr(arrays.get(at + "bias"), "shape", None)
        make = {1: jaxrnn.make_elman, 3: jaxrnn.make_gru, 4: jaxrnn.make_lstm}.get(count)
        if make is None:
            return None
        own: dict[str, Any] = {"use_bias": bias is not None}
        if count == 3:
            own["reset"] = "before" if bias is not None and len(bias) == 1 else "after"
        return make(**own | arrays.get(at + "options", {}))

    cells = cell(at + "forward/"), cell(at + "backward/")
    merge = arrays.get(at + "merge", "concat")
    one = cell(at) if None in cells else jaxrnn.bidirectional(*cells, merge=merge)
    if one is None and at and (left := [name for name in arrays if name.startswith(at)]):
        raise ValueError(f"source: expected {KERAS.expected}, got {left}")
    if (name := arrays.get(at + "go_backwards")) and not go_backwards:
        raise ValueError(
            f"source: {name} goes backward, which no cell does by itself: take its cell by "
            "infer(source, prefix, go_backwards=True), run it by scan(..., reverse=True), and turn "
            "the outputs round, which Keras leaves in reverse order"
        )
    return one


def _find(source: Any, prefix: Prefix, net: Any) -> tuple[dict[str, Any], Prefix]:
    """The arrays by the names of `_layout`, whatever Keras calls them, and what is said of them."""
    if isinstance(getattr(net, "spec", None), ConvLSTMSpec):
        return conv_lstm.find_keras(source, prefix), ""  # type: ignore[arg-type]
    prefixes = [prefix] if isinstance(prefix, str) else list(prefix)
    layers = [layer for one in prefixes for layer in holders(source, one)]
    rows = [] if net is None else structure.units(net)
    merges = [] if net is None else structure.merges(net)
    stacked = len(layers) > 1 or any(row[0].layer is not None for row in rows)
    named: dict[str, Any] = {}
    for k, layer in enumerate(layers):
        start, two = f"{k}/" * stacked, len(layer.cells) > 1
        told = {} if layer.described is None else said(layer, layer.described)
        named |= {start + name: value for name, value in told.items() if name != "options"}
        for d, (_, cell) in enumerate(layer.cells):
            at = start + ("forward/", "backward/")[d] * two
            named |= {at + last: leaf for last, leaf in cell.items()}
            if told:
                named[at + "options"] = told["options"][d]
        if told and len(rows) == len(layers):
            agree(layer, told, rows[k], merges[k])
    for unit in (unit for row in rows for unit in row):
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
        "elman": {"activation": None},
        "gru": {
            "reset": ("after", "before"),
            "update": None,
            "gate_activation": None,
            "candidate_activation": None,
        },
        "lstm": {
            "gate_activation": None,
            "candidate_activation": None,
            "output_activation": None,
        },
        "merge": {},
    },
    _layout,
    _layer,
    "a recurrent_kernel of 1, 3 or 4 blocks in each layer (networks(source) takes only those)",
    separator="/",
    layers="{}/",
    biasless=True,
    find=_find,
    ignored=lambda name: name.rpartition("/")[2] in ("options", "merge", "go_backwards"),
    cells={ConvLSTMSpec: conv_lstm.KERAS},
)
"""What Keras has, for the conversion."""

load = KERAS.load
"""The parameters of a network from those of Keras layers."""

dump = KERAS.dump
"""The arrays of Keras layers, in the order of ``get_weights``, from a network's parameters."""

infer = KERAS.infer
"""The network that the arrays of Keras layers belong to."""


def networks(source: Any, prefix: str = "", *, dtype: DType | None = None) -> list[Found]:
    """The networks of all recurrent layers of a model, whatever other layers it has.

    Args:
      source: as for `load`; with its configuration, what `jaxrnn.interop.read` made of a file.
      prefix: as for `load`.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      For each recurrent layer, in the configuration's order, or else in that of the names, a
      record: name, which is its prefix, network, params, carry, which is None, and attributes,
      its configuration. Where ``go_backwards`` is True there, it is the network to be run by
      ``jaxrnn.scan(..., reverse=True)``.

    Raises:
      ValueError: if there is none, or one has no counterpart.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import keras
      >>> names = {"m/lstm/lstm_cell/kernel": (3, 20), "m/lstm/lstm_cell/recurrent_kernel": (5, 20)}
      >>> source = {name: np.ones(shape, "f") for name, shape in names.items()}
      >>> source["m/dense/kernel"] = np.ones((5, 2), "f")
      >>> [(layer.name, layer.network.name) for layer in keras.networks(source)]
      [('m/lstm', 'lstm(use_bias=False)')]
    """
    layers: dict[str, Holder] = {}
    for layer in holders(source, prefix):
        if "recurrent_kernel" in layer.cells[0][1]:
            layers.setdefault(layer.path, layer)
    if not layers:
        raise ValueError(f"source: expected a recurrent_kernel below {prefix!r}, got none")
    found = []
    for path, layer in layers.items():
        net = infer(source, path, go_backwards=True)
        config = dict(layer.described.config) if layer.described else {}
        found.append(Found(path, net, load(net, source, path, dtype=dtype), None, config))
    return found
