"""Weights of the sLSTM and mLSTM cells of the package ``xlstm``, N heads of d = H / N units.

===========  =========================  ============  ========================================
sLSTMCell    ``_recurrent_kernel_``     (N, 4d, d)    i, f, z, o, (out, in); of the backend
                                                      "cuda" (N, d, 4d), (in, out)
sLSTMCell    ``_bias_``                 (4H,)         by gate, then head; of "cuda" by head
sLSTMLayer   ``{f,i,z,o}gate.weight``   (N, d, d)     (out, in), and the cell's two arrays below
                                                      ``slstm_cell``; **fgate** is of the input
                                                      gate, and **igate** of the forget gate
mLSTMCell    ``{i,f}gate.weight``       (N, 3H)       (out, in), of queries, keys and values
mLSTMCell    ``{i,f}gate.bias``         (N,)
===========  =========================  ============  ========================================

An sLSTM is `jaxrnn.cells.make_slstm` of as many heads, and an mLSTM `jaxrnn.cells.make_mlstm` with
``output_gate=False, eps=1e-6``.

The cells there take what a layer has made of the input, so the input kernel here is an identity:
the input of `make_slstm` is the pre-activations, D = 4H, that of `make_mlstm` queries, keys and
values, D = 3H. A layer's input kernel is block-diagonal, D = H. Parameters of any other input
kernel have no place. A layer with a convolution shows it to two gates alone: load its cell, below
``slstm_cell``, and give it the pre-activations.

Norms after a cell, ``group_norm`` and ``outnorm``, are left out, on `load` and on `dump`: apply
them to the outputs. Both forms of a backend are read; `dump` takes ``backend="cuda"``.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

import jaxrnn
from jaxrnn.cells.structured import MLSTMParams, MLSTMSpec, SLSTMParams, SLSTMSpec
from jaxrnn.checks import check_choice
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.format import Format
from jaxrnn.interop.layout import Layout
from jaxrnn.interop.mapped import Arrays, Mapped
from jaxrnn.interop.names import flatten, to_numpy

__all__ = ["XLSTM", "dump", "infer", "load"]

KERNEL, BIAS, CELL = "_recurrent_kernel_", "_bias_", "slstm_cell."
GATES = [f"{name}gate.weight" for name in "fizo"]
"""In the order of the gates i, f, z, o that they are."""


def _slstm_sizes(shapes: Any) -> tuple[int, int]:
    layer = CELL + KERNEL in shapes
    heads, _, size = shapes[(CELL if layer else "") + KERNEL]
    return heads * size * (1 if layer else 4), heads * size


def _to_slstm(
    spec: SLSTMSpec, params: Any, backend: Literal["vanilla", "cuda"] = "vanilla"
) -> Arrays:
    check_choice("backend", backend, ("vanilla", "cuda"))
    heads, kernel, inputs = spec.num_heads, params.recurrent_kernel, params.input_kernel
    size = kernel.shape[0]
    r = kernel.reshape(size, 4, heads, size).transpose(2, 1, 3, 0)
    r, b = r.reshape(heads, 4 * size, size), params.bias
    if backend == "cuda":
        r, b = r.transpose(0, 2, 1), b.reshape(4, heads, size).transpose(1, 0, 2).reshape(-1)
    if inputs.shape[0] != heads * size:
        return {KERNEL: r, BIAS: b}
    blocks = inputs.reshape(heads, size, 4, heads, size)
    each = [np.stack([blocks[n, :, k, n].T for n in range(heads)]) for k in range(4)]
    return dict(zip(GATES, each, strict=True)) | {CELL + KERNEL: r, CELL + BIAS: b}


def _from_slstm(spec: SLSTMSpec, arrays: Arrays) -> SLSTMParams:
    layer = CELL + KERNEL in arrays
    r, b = (arrays[(CELL if layer else "") + name] for name in (KERNEL, BIAS))
    heads, _, size = r.shape
    kernel = r.reshape(heads, 4, size, size).transpose(3, 1, 0, 2).reshape(size, -1)
    inputs: Any = np.eye(b.size, dtype=b.dtype)
    if layer:
        blocks = np.zeros((heads, size, 4, heads, size), b.dtype)
        for k, name in enumerate(GATES):
            for n in range(heads):
                blocks[n, :, k, n] = arrays[name][n].T
        inputs = blocks.reshape(heads * size, -1)
    return SLSTMParams(inputs, kernel, b)


def _to_mlstm(spec: MLSTMSpec, params: Any) -> Arrays:
    kernels = np.split(params.gate_kernel, 2, axis=1)
    biases = np.split(params.gate_bias, 2)
    arrays: Arrays = {}
    for name, w, b in zip("if", kernels, biases, strict=True):
        arrays |= {f"{name}gate.weight": w.T, f"{name}gate.bias": b}
    return arrays


def _from_mlstm(spec: MLSTMSpec, arrays: Arrays) -> MLSTMParams:
    w: Any = np.concatenate([arrays[f"{name}gate.weight"].T for name in "if"], axis=1)
    b: Any = np.concatenate([arrays[f"{name}gate.bias"] for name in "if"])
    inputs: Any = np.eye(len(w), dtype=w.dtype)
    zeros: Any = np.zeros(len(w), w.dtype)
    return MLSTMParams(inputs, w, zeros, b)


def _find(source: Any, prefix: Prefix, net: Any) -> tuple[dict[str, Any], Prefix]:
    """The arrays in the form of the backend that is not cuda."""
    names = flatten(source)
    for name in [name for name in names if name.endswith(KERNEL)]:
        shape, other = tuple(getattr(names[name], "shape", ())), name.removesuffix(KERNEL) + BIAS
        if len(shape) != 3 or shape[2] != 4 * shape[1]:
            continue
        names[name] = to_numpy(names[name]).transpose(0, 2, 1)
        if getattr(names.get(other), "shape", ()) == (shape[0] * shape[2],):
            bias = to_numpy(names[other]).reshape(shape[0], 4, shape[1])
            names[other] = bias.transpose(1, 0, 2).reshape(-1)
    return names, prefix


def _layer(arrays: dict[str, Any], at: str) -> Any:
    shapes = {name: tuple(getattr(leaf, "shape", ())) for name, leaf in arrays.items()}
    kernel = shapes.get(f"{at}{CELL}{KERNEL}", shapes.get(at + KERNEL, ()))
    if len(kernel) == 3:
        return jaxrnn.cells.make_slstm(num_heads=kernel[0])
    gate = shapes.get(f"{at}igate.weight", ())
    if len(gate) != 2 or f"{at}igate.bias" not in shapes:
        return None
    return jaxrnn.cells.make_mlstm(num_heads=gate[0], output_gate=False, eps=1e-6)


XLSTM = Format(
    "xlstm",
    {},
    lambda unit, has: Layout(()),
    _layer,
    "_recurrent_kernel_, slstm_cell._recurrent_kernel_, or igate.weight and igate.bias",
    find=_find,
    ignored=lambda name: name in ("group_norm.weight", "outnorm.weight"),
    cells={
        SLSTMSpec: Mapped(
            _slstm_sizes,
            lambda shapes: (shapes.input_kernel[0], shapes.recurrent_kernel[1] // 4),
            _to_slstm,
            _from_slstm,
            has={"forget_gate": ("sigmoid",)},
            forms=(1, 4),
            lost={
                "input_kernel": "expected the identity of 4H, or blocks for each head of (H, 4H)"
            },
        ),
        MLSTMSpec: Mapped(
            lambda shapes: (shapes["igate.weight"][1], shapes["igate.weight"][1] // 3),
            lambda shapes: (shapes.input_kernel[0], shapes.input_kernel[1] // 3),
            _to_mlstm,
            _from_mlstm,
            has={"output_gate": (False,), "eps": (1e-6,)},
            lost={"input_kernel": "expected the identity of 3H", "bias": "expected zeros"},
        ),
    },
)
"""What xlstm has, for the conversion."""

load = XLSTM.load
"""The parameters of `make_slstm` or `make_mlstm` from those of a cell of xlstm."""

dump = XLSTM.dump
"""The arrays of a cell of xlstm from the parameters of ours; takes `backend` for an sLSTM."""

infer = XLSTM.infer
"""`make_slstm` or `make_mlstm` of as many heads as the arrays have."""
