"""Weights of the ``RGLRU`` of RecurrentGemma, in torch and in Flax, for `jaxrnn.cells.make_rg_lru`.

==================  ============  ====================================================
``a_param``         (H,)          Λ, of the sign of `jaxrnn.cells.RGLRUParams`
``input_gate.w``    (N, d, d)     for each of N heads of d = H / N units, (in, out)
``input_gate.b``    (N, d)
``a_gate.w, b``     alike         of the recurrence gate
==================  ============  ====================================================

A source is a ``state_dict``, or nested as Flax has it; ``flax.traverse_util.unflatten_dict(arrays,
sep=".")`` nests what `dump` gives. A block of RecurrentGemma has the cell at
``recurrent_block.rg_lru``. The code there leaves the root √(1 − a²) out of the first step of each
document, and the cell here never does: outputs are those of positions that do not begin at 0.
``only_real=False``, whose gates are narrower, is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import jaxrnn
from jaxrnn.cells.linear import RGLRUParams, RGLRUSpec
from jaxrnn.interop.format import Format
from jaxrnn.interop.layout import Layout
from jaxrnn.interop.mapped import Arrays, Mapped

__all__ = ["RECURRENTGEMMA", "dump", "infer", "load"]

_GATES = "input_gate", "a_gate"


def _theirs(spec: Any, params: Any) -> Arrays:
    kernel, bias = params.input_kernel, params.bias
    arrays = {"a_param": params.decay}
    kernels, biases = np.split(kernel, 2, axis=-1), bias.reshape(2, *kernel.shape[:2])
    for name, w, b in zip(_GATES, kernels, biases, strict=True):
        arrays |= {f"{name}.w": w, f"{name}.b": b}
    return arrays


def _ours(spec: Any, arrays: Arrays) -> RGLRUParams:
    kernel: Any = np.concatenate([arrays[f"{name}.w"] for name in _GATES], axis=-1)
    bias: Any = np.concatenate([arrays[f"{name}.b"].ravel() for name in _GATES])
    return RGLRUParams(kernel, bias, arrays["a_param"])


def _layer(arrays: dict[str, Any], at: str) -> Any:
    shape = [*getattr(arrays.get(f"{at}a_gate.w"), "shape", ())]
    there = f"{at}a_param" in arrays and len(shape) == 3
    return jaxrnn.cells.make_rg_lru(num_heads=shape[0]) if there else None


RECURRENTGEMMA = Format(
    "recurrentgemma",
    {},
    lambda unit, has: Layout(()),
    _layer,
    "a_param and a_gate.w, one kernel a head,",
    cells={
        RGLRUSpec: Mapped(
            lambda shapes: (shapes["a_param"][0], shapes["a_param"][0]),
            lambda shapes: (shapes.decay[0], shapes.decay[0]),
            _theirs,
            _ours,
        )
    },
)
"""What RecurrentGemma has, for the conversion."""

load = RECURRENTGEMMA.load
"""The parameters of `jaxrnn.cells.make_rg_lru` from those of an RGLRU."""

dump = RECURRENTGEMMA.dump
"""The arrays of an RGLRU from the parameters of `jaxrnn.cells.make_rg_lru`."""

infer = RECURRENTGEMMA.infer
"""`jaxrnn.cells.make_rg_lru` of as many heads as the arrays have."""
