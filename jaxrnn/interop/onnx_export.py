"""The ONNX model of a network: one node for each layer, its directions joined after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrnn.base import Cell, Layer
from jaxrnn.interop import structure
from jaxrnn.interop.names import library

__all__ = ["model"]

OPSET, IR_VERSION = 14, 8  # what runtimes have read since 2021
OP_TYPES = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}
NAMES = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid", "identity": "Affine"}
ROLES = {
    "elman": ["activation"],
    "gru": ["gate_activation", "candidate_activation"],
    "lstm": ["gate_activation", "candidate_activation", "output_activation"],
}


def _attributes(cells: list[Cell]) -> dict[str, Any]:
    """The attributes of the node of one layer."""
    kind = structure.family(cells[0])
    attributes: dict[str, Any] = {}
    chosen = [structure.option(cell, role) for cell in cells for role in ROLES[kind]]
    if unknown := [name for name in chosen if name not in NAMES]:
        raise ValueError(f"net: expected activations {sorted(NAMES)}, got {unknown}")
    attributes["activations"] = [NAMES[name] for name in chosen]
    affine = chosen.count("identity")
    if affine:
        attributes |= {"activation_alpha": [1.0] * affine, "activation_beta": [0.0] * affine}
    if kind == "gru":
        values = [int(structure.option(cell, "reset") == "after") for cell in cells]
        attributes["linear_before_reset"] = values[0]
    elif kind == "lstm":
        values = [int(structure.option(cell, "forget_gate") == "coupled") for cell in cells]
        attributes["input_forget"] = values[0]
    else:
        values = [0]
    if len({structure.family(cell) for cell in cells}) > 1 or len(set(values)) > 1:
        raise ValueError("net: expected the same cell in both directions of a layer")
    attributes["direction"] = "bidirectional" if len(cells) == 2 else "forward"
    return attributes


def model(
    net: Cell | Layer,
    arrays: Mapping[str, np.ndarray],
    *,
    lengths: bool,
    carry: bool,
) -> Any:
    """A checked ``ModelProto``, as `jaxrnn.interop.onnx.export` describes it.

    Args:
      net: a cell or network.
      arrays: what `jaxrnn.interop.onnx.dump` made of its parameters.
      lengths: whether the model has the input of lengths.
      carry: whether it has the inputs of initial states.

    Example:
      >>> import jax, jaxrnn, onnx
      >>> from jaxrnn import interop
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> arrays = interop.onnx.dump(jaxrnn.elman, params)
      >>> made = interop.onnx_export.model(jaxrnn.elman, arrays, lengths=True, carry=False)
      >>> onnx.checker.check_model(made)
      >>> [value.name for value in made.graph.input]
      ['xs', 'lengths']
    """
    onnx = library("onnx")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    grid = structure.units(net)
    first = next(iter(arrays.values()))
    dtype = helper.np_dtype_to_tensor_dtype(first.dtype)
    if dtype not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        raise ValueError(f"params: expected float32 or float64, got {first.dtype}")

    def value(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, dtype, shape)

    nodes, below = [], "xs"
    inputs = [value("xs", "T", "B", first.shape[2])]
    if lengths:
        inputs.append(helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["B"]))
    outputs: list[Any] = []
    constants = [from_array(np.array([0, 0, -1]), "joined")]
    features = 0
    for k, row in enumerate(grid):
        start = f"{k}." if len(grid) > 1 else ""
        kind = structure.family(row[0].cell)
        names = {}
        for name in "WRBP":
            if start + name in arrays:
                names[name] = f"{k}.{name}"
                constants.append(from_array(arrays[start + name], names[name]))
        hidden = arrays[start + "R"].shape[2]
        states = [f"{letter}_{k}" for letter in ("hc" if kind == "lstm" else "h")]
        if carry:
            inputs += [value(name, len(row), "B", hidden) for name in states]
        given = [below, names["W"], names["R"], names["B"], "lengths" * lengths]
        given += [name * carry for name in states]
        if "P" in names:
            given.append(names["P"])
        last = [f"{name}_last" for name in states]
        outputs += [value(name, len(row), "B", hidden) for name in last]
        attributes = _attributes([unit.cell for unit in row])
        node = helper.make_node(
            OP_TYPES[kind], given, [f"{k}.Y", *last], hidden_size=hidden, **attributes
        )
        below = f"{k}.ys" if k < len(grid) - 1 else "ys"
        turned = helper.make_node("Transpose", [f"{k}.Y"], [f"{k}.turned"], perm=[0, 2, 1, 3])
        joined = helper.make_node("Reshape", [f"{k}.turned", "joined"], [below])
        nodes += [node, turned, joined]
        features = len(row) * hidden
    outputs.insert(0, value("ys", "T", "B", features))
    graph = helper.make_graph(nodes, "jaxrnn", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(made, full_check=True)
    return made
