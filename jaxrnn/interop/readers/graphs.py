"""ONNX models: initializers, constants that are weights, and external data beside the file."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.interop import onnx_model
from jaxrnn.interop.names import library
from jaxrnn.interop.readers.arrays import Arrays, Budget, Refused

__all__ = ["read_onnx", "tensor_reader"]


def read_onnx(path: Path, budget: Budget, found: Arrays) -> None:
    """The arrays of a model, by the onnx library; what cannot be read leaves the model."""
    model = library("onnx").load(os.fspath(path), load_external_data=False)
    graph, read = model.graph, tensor_reader(path, budget)

    def keep(things: Any, check: Callable[[Any], str]) -> None:
        names = [check(one) for one in things]
        for k in reversed(range(len(names))):
            if names[k] in found.skipped:
                del things[k]

    def initializer(tensor: Any) -> str:
        with found.reading(tensor.name):
            found[tensor.name] = read(tensor)
        return tensor.name

    def constant(node: Any) -> str:
        if node.op_type != "Constant" or not node.output:
            return ""
        with found.reading(node.output[0]):
            for attribute in node.attribute:
                if attribute.HasField("sparse_tensor"):
                    raise Refused("expected a dense tensor, got a sparse one")
                if attribute.HasField("t"):
                    tensor_reader(path, Budget(budget.left))(attribute.t)
        return node.output[0]

    keep(graph.initializer, initializer)
    for tensor in graph.sparse_initializer:
        found.skipped[tensor.values.name] = "expected a dense tensor, got a sparse one"
    keep(graph.node, constant)
    found.seen.update(f"{node.op_type} node" for node in graph.node)
    stored = dict(found)

    def once(tensor: Any) -> np.ndarray:
        return stored[tensor.name] if tensor.name in stored else read(tensor)

    found |= onnx_model.arrays(model, once, budget.left)


def tensor_reader(path: Path, budget: Budget) -> Callable[[Any], np.ndarray]:
    """What reads the tensors of a model in a file, all of them within a budget."""
    return partial(_tensor, path, budget)


def _tensor(path: Path, budget: Budget, tensor: Any) -> np.ndarray:
    """A tensor of an ONNX file, with its external data if they are in the file's folder."""
    onnx = library("onnx")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    budget.array(tensor.name, tuple(tensor.dims), dtype)
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return onnx.numpy_helper.to_array(tensor)
    where = {pair.key: pair.value for pair in tensor.external_data}
    folder = path.resolve().parent
    data = (folder / where.get("location", "")).resolve()
    if not data.is_relative_to(folder) or not data.is_file():
        raise Refused(
            f"{tensor.name}: expected external data in {folder}, got {where.get('location', '')!r}"
        )
    offset, count = int(where.get("offset", 0)), math.prod(tensor.dims)
    if offset < 0 or offset + count * dtype.itemsize > data.stat().st_size:
        raise Refused(f"{tensor.name}: its external data end before its shape does")
    return np.fromfile(data, dtype, count, offset=offset).reshape(tuple(tensor.dims))
