"""The recurrent nodes of a whole ONNX model, and the constants behind their inputs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.base import DType
from jaxrnn.interop.found import Found
from jaxrnn.interop.names import library
from jaxrnn.interop.onnx import (
    CHANGING,
    INPUTS,
    NODES,
    STATES,
    carry_of,
    check_hidden_size,
    load,
    network,
    node_attributes,
)

__all__ = ["FOLDED", "arrays", "networks"]

FOLDED = (
    "Cast", "Concat", "Constant", "DequantizeLinear", "Flatten", "Identity", "Reshape", "Slice",
    "Split", "Squeeze", "Transpose", "Unsqueeze",
)  # fmt: skip
"""The operators that a weight may stand behind: none makes much of little but by repetition."""
WIDER = 8  # at most, of one byte's numbers
ReadTensor = Callable[[Any], np.ndarray]


class _Scope:
    """The values of a graph that do not depend on its inputs, worked out when asked for."""

    def __init__(
        self, graph: Any, model: Any, read: ReadTensor, left: list[int], outer: _Scope | None = None
    ) -> None:
        self.model, self.read, self.left, self.outer = model, read, left, outer
        self.tensors = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output if name}
        self.inputs = {one.name for one in graph.input}
        self.values: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        """A value; ValueError says what makes it if that is no constant."""
        waiting, seen = [name], set()
        while waiting:
            top = waiting[-1]
            if top in self.values:
                waiting.pop()
                continue
            node = self._maker(top)
            missing = [one for one in node.input if one and one not in self.values] if node else []
            if top in seen and missing:
                raise ValueError(f"{top!r} depends on itself")
            seen.add(top)
            if missing:
                waiting += missing
            elif node:
                self.values |= self._fold(node)
        return self.values[name]

    def _maker(self, name: str) -> Any:
        """The node that makes a value, or None, the value being there then."""
        if name in self.tensors:
            self.values[name] = self.read(self.tensors[name])
        elif name in self.makers:
            node = self.makers[name]
            if node.op_type in FOLDED and node.domain in ("", "ai.onnx"):
                return node
            raise ValueError(f"{name!r} is computed by {node.op_type}")
        elif name not in self.inputs and self.outer:
            self.values[name] = self.outer[name]
        else:
            raise ValueError(f"{name!r} is an input of the model")
        return None

    def _fold(self, node: Any) -> dict[str, np.ndarray]:
        """The outputs of a node whose inputs are known, by the onnx library's own evaluator."""
        onnx = library("onnx")
        feed = {name: self.values[name] for name in node.input if name}
        factor = WIDER if node.op_type in ("Cast", "DequantizeLinear") else 1
        self.left[0] -= factor * sum(array.nbytes for array in feed.values())
        if self.left[0] < 0:
            raise ValueError(f"{node.output[0]!r}: constants would take more than max_bytes")
        outputs = [name for name in node.output if name]
        ends = [[onnx.ValueInfoProto(name=one) for one in names] for names in (feed, outputs)]
        graph = onnx.helper.make_graph([node], "one", *ends)
        one = onnx.helper.make_model(
            graph, opset_imports=self.model.opset_import, ir_version=self.model.ir_version
        )
        try:
            made = library("onnx.reference").ReferenceEvaluator(one).run(None, feed)
        except Exception as error:  # whatever a broken node makes of numpy
            raise ValueError(f"{outputs[0]!r}: {node.op_type} fails: {error}") from error
        return dict(zip(outputs, map(np.asarray, made), strict=True))


def _walk(graph: Any, scope: _Scope) -> Iterator[tuple[Any, _Scope]]:
    """All nodes with their scopes, those of loops and branches where these stand."""
    onnx = library("onnx")
    for node in graph.node:
        yield node, scope
        for one in node.attribute:
            inner = {onnx.AttributeProto.GRAPH: [one.g], onnx.AttributeProto.GRAPHS: one.graphs}
            for body in inner.get(one.type, ()):
                yield from _walk(body, _Scope(body, scope.model, scope.read, scope.left, scope))


def _nodes(model: Any, read: ReadTensor, left: list[int]) -> Iterator[tuple[Any, _Scope]]:
    """The recurrent nodes with their scopes, functions of the model's own inlined."""
    if model.functions:
        model = library("onnx.inliner").inline_local_functions(model)
    scope = _Scope(model.graph, model, read, left)
    for node, inner in _walk(model.graph, scope):
        if node.op_type in NODES and node.domain in ("", "ai.onnx"):
            yield node, inner


def _inputs(node: Any) -> dict[str, str]:
    """What a node's inputs are called in the model."""
    names = INPUTS if node.op_type == "LSTM" else INPUTS[:6]
    if any(node.input[len(names) :]):
        raise ValueError(f"expected at most {len(names)} inputs, got {len(node.input)}")
    return {name: given for name, given in zip(names, node.input, strict=False) if given}


def _found(node: Any, scope: _Scope, name: str, dtype: DType | None) -> Found:
    inputs, attributes = _inputs(node), node_attributes(node)
    given = {}
    for letter in (letter for letter in "WRBP" if letter in inputs):
        try:
            given[letter] = scope[inputs[letter]]
        except ValueError as error:
            raise ValueError(
                f"{letter}: expected initializers, or constants behind {', '.join(FOLDED)}: {error}"
                "; fold the model's constants first, as onnxruntime's optimizer does"
            ) from error
    if missing := {"W", "R"} - given.keys():
        raise ValueError(f"expected the inputs W and R, missing {', '.join(sorted(missing))}")
    net = network(node.op_type, attributes, peepholes="P" in given, use_bias="B" in given)
    params = load(net, given, dtype=dtype)
    check_hidden_size(attributes, given["R"])
    states = {}
    for which, field in STATES.items():
        try:
            state = scope[inputs[which]] if which in inputs else None
        except ValueError:  # an input
            continue
        if state is not None and state.any():
            turned = np.swapaxes(state, 0, 1) if attributes.get("layout") else state
            states[field] = turned.astype(dtype or turned.dtype)
    batch = next(iter(states.values())).shape[1] if states else 0
    return Found(name, net, params, carry_of(net, params, states, batch) if states else None,
                 attributes)  # fmt: skip


def networks(model: Any, *, dtype: DType | None, max_bytes: int) -> list[Found]:
    """What `jaxrnn.interop.onnx.networks` does."""
    made, read = _model(model, max_bytes)
    found, problems = [], []
    for k, (node, scope) in enumerate(_nodes(made, read, [max_bytes])):
        name = next(filter(None, (node.name, *node.output)), f"{node.op_type} {k}")
        try:
            found.append(_found(node, scope, name, dtype))
        except (ValueError, TypeError) as error:
            problems.append(f"{name}: {error}")
    if problems:
        raise ValueError("model: cannot be taken over:\n  " + "\n  ".join(problems))
    if not found:
        kinds = sorted({node.op_type for node in made.graph.node})
        raise ValueError(f"model: expected nodes {', '.join(NODES)}, got {', '.join(kinds)}")
    return found


def _model(model: Any, max_bytes: int) -> tuple[Any, ReadTensor]:
    """A ``ModelProto``, and what reads its tensors."""
    onnx = library("onnx")
    if isinstance(model, str | os.PathLike):
        from jaxrnn.interop.readers.arrays import Budget
        from jaxrnn.interop.readers.graphs import tensor_reader  # which reads by this module

        path = Path(model)
        made = onnx.load(os.fspath(path), load_external_data=False)
        return made, tensor_reader(path, Budget(max_bytes))
    if isinstance(model, bytes | bytearray | memoryview):
        try:
            model = onnx.load_model_from_string(bytes(model))
        except Exception as error:  # of protobuf
            raise ValueError(f"model: expected the bytes of a ModelProto: {error}") from error
    if not isinstance(model, onnx.ModelProto):
        raise TypeError(
            f"model: expected a path, bytes or a ModelProto, got {type(model).__name__}"
        )
    return model, _tensor


def _tensor(tensor: Any) -> np.ndarray:
    onnx = library("onnx")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise ValueError(f"{tensor.name!r} is in another file; give the path of the model")
    return onnx.numpy_helper.to_array(tensor)


def arrays(model: Any, read: ReadTensor, max_bytes: int) -> dict[str, np.ndarray]:
    """What `jaxrnn.interop.read` makes of a model: initializers, and constants that are weights.

    Constants are those of floating-point numbers, and what the inputs W, R, B and P of recurrent
    nodes come to. Beside a W whose name says so, the attributes of its node.
    """
    stored = {tensor.name: read(tensor) for tensor in model.graph.initializer}
    made, left = dict(stored), [max_bytes]

    def once(tensor: Any) -> np.ndarray:
        return stored[tensor.name] if tensor.name in stored else read(tensor)

    scope = _Scope(model.graph, model, once, left)
    for node in model.graph.node:
        if node.op_type == "Constant":
            value = scope[node.output[0]]
            if value.dtype.kind in "fV" and value.ndim:
                made[node.output[0]] = value
    for node, inner in _nodes(model, once, left):
        inputs = {letter: one for letter, one in zip(INPUTS, node.input, strict=False) if one}
        for name in (inputs[letter] for letter in "WRBP" if letter in inputs):
            if name not in made:
                try:
                    made[name] = inner[name]
                except ValueError:
                    if left[0] < 0:
                        raise
                    continue  # an input of the model, or computed
        kernel = inputs.get("W", "")
        if kernel == "W" or kernel.endswith(".W"):
            attributes = node_attributes(node).items()
            made |= {kernel[:-1] + k: np.array(v) for k, v in attributes if k in CHANGING}
    return made
