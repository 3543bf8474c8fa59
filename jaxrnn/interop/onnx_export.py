"""The ONNX model of a network: one node for each layer, its directions joined after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrnn.base import Cell, Layer
from jaxrnn.interop import structure
from jaxrnn.interop.names import library
from jaxrnn.interop.onnx_activations import FUNCTIONS, KNOWN, Activation
from jaxrnn.interop.structure import Unit

__all__ = ["model"]

OPSET, IR_VERSION = 14, 8  # what runtimes have read since 2021
OP_TYPES = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}


def _activations(row: list[Unit]) -> dict[str, Any]:
    """The attributes for the activations of a layer."""
    chosen = [value for unit in row for name, (value, _) in unit.options.items() if "activ" in name]
    phis = [KNOWN[value] if isinstance(value, str) else value for value in chosen]
    if unknown := [phi for phi in phis if not isinstance(phi, Activation)]:
        raise ValueError(f"net: expected activations {sorted({*KNOWN, *FUNCTIONS})}, got {unknown}")
    alphas, betas = ([phi.values[k] for phi in phis if len(phi.values) > k] for k in (0, 1))
    clip, last = phis[0].clip, row[0].kind == "lstm"  # whose third one is never clipped
    if any(phi.clip != (None if last and k % 3 == 2 else clip) for k, phi in enumerate(phis)):
        raise ValueError(f"net: expected one clip for all activations of a layer, got {phis}")
    attributes = {"activations": [phi.name for phi in phis]}
    numbers = {"activation_alpha": alphas, "activation_beta": betas, "clip": clip}
    return attributes | {name: value for name, value in numbers.items() if value}


def model(
    net: Cell | Layer, arrays: Mapping[str, np.ndarray], *, lengths: bool, carry: bool
) -> Any:
    """A checked ``ModelProto``, as `jaxrnn.interop.onnx.export` has it, of what `dump` made."""
    onnx = library("onnx")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    grid = structure.units(net)
    first = next(iter(arrays.values()))
    dtype = helper.np_dtype_to_tensor_dtype(first.dtype)
    if dtype not in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        raise ValueError(f"params: expected float32 or float64, got {first.dtype}")

    def value(name: str, *shape: int | str) -> Any:
        return helper.make_tensor_value_info(name, dtype, shape)

    joined = from_array(np.array([0, 0, -1]))
    nodes, below = [helper.make_node("Constant", [], ["joined"], value=joined)], "xs"
    inputs = [value("xs", "T", "B", first.shape[2])]
    if lengths:
        inputs.append(helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, ["B"]))
    kept = lengths and carry  # a row of length 0 keeps its state, which onnxruntime zeroes
    if kept:
        zero, axis = from_array(np.zeros((), "int32")), from_array(np.array([1]))
        nodes += [
            helper.make_node("Constant", [], ["zero"], value=zero),
            helper.make_node("Constant", [], ["axis"], value=axis),
            helper.make_node("Greater", ["lengths", "zero"], ["some"]),
            helper.make_node("Unsqueeze", ["some", "axis"], ["moved"]),
        ]
    outputs: list[Any] = []
    features = 0
    for k, row in enumerate(grid):
        start = f"{k}." if len(grid) > 1 else ""
        names = {name: start + name for name in "WRBP" if start + name in arrays}
        hidden = arrays[start + "R"].shape[2]
        states = [f"{letter}_{k}" for letter in ("hc" if row[0].kind == "lstm" else "h")]
        if carry:
            inputs += [value(name, len(row), "B", hidden) for name in states]
        given = [below, names["W"], names["R"], names.get("B", ""), "lengths" * lengths]
        given += [name * carry for name in states]
        if "P" in names:
            given.append(names["P"])
        last = [f"{name}_last" for name in states]
        outputs += [value(name, len(row), "B", hidden) for name in last]
        attributes = _activations(row)
        if row[0].kind == "gru":
            attributes["linear_before_reset"] = int(row[0].option("reset") == "after")
        elif row[0].kind == "lstm":
            attributes["input_forget"] = int(row[0].option("forget_gate") == "coupled")
        attributes["direction"] = "bidirectional" if len(row) == 2 else "forward"
        node = helper.make_node(
            OP_TYPES[row[0].kind],
            given,
            [f"Y_{k}", *(f"{name}_node" * kept or name for name in last)],
            hidden_size=hidden,
            **attributes,
        )
        keep = [
            helper.make_node("Where", ["moved", f"{name}_last_node", name], [f"{name}_last"])
            for name in states
        ]
        below = f"ys_{k}" if k < len(grid) - 1 else "ys"
        turned = helper.make_node("Transpose", [f"Y_{k}"], [f"turned_{k}"], perm=[0, 2, 1, 3])
        nodes += [
            node,
            *keep * kept,
            turned,
            helper.make_node("Reshape", [f"turned_{k}", "joined"], [below]),
        ]
        features = len(row) * hidden
    outputs.insert(0, value("ys", "T", "B", features))
    constants = [from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "jaxrnn", inputs, outputs, constants)
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    onnx.checker.check_model(made, full_check=True)
    return made
