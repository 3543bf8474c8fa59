"""Weights to and from other libraries, exactly.

Each library's module, such as ``interop.torch``, says what its arrays are called and how they are
laid out, and has ``load(net, source, prefix="") -> params``, its inverse ``dump(net, params)`` and,
where arrays alone tell, ``infer(source) -> net``: the verbs of `jaxrnn.interop.format.Format`;
states move by ``load_carry`` and ``dump_carry``. A source maps names to arrays; `read` makes one
of a file. No other library is needed for that, and none is imported unless a function that needs
it is called.

>>> import jax, jaxrnn, numpy as np
>>> arrays = {"weight_ih_l0": np.ones((20, 3), "f"), "weight_hh_l0": np.ones((20, 5), "f")}
>>> net = jaxrnn.interop.torch.infer(arrays)
>>> params = jaxrnn.interop.torch.load(net, arrays)
>>> jaxrnn.scan(net, params, jax.numpy.ones((7, 2, 3)))[1].shape
(7, 2, 5)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Cell, Layer, PyTree
from jaxrnn.interop.readers import read
from jaxrnn.unroll import scan

if TYPE_CHECKING:
    from jaxrnn.interop import (
        cudnn,
        equinox,
        haiku,
        keras,
        linen,
        nnx,
        onnx,
        recurrentgemma,
        torch,
        xlstm,
    )

__all__ = [
    "cudnn",
    "equinox",
    "haiku",
    "keras",
    "linen",
    "nnx",
    "onnx",
    "probe",
    "read",
    "recurrentgemma",
    "torch",
    "xlstm",
]

_MODULES = frozenset(__all__) - {"probe", "read"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"jaxrnn.interop.{name}")
    raise AttributeError(f"module 'jaxrnn.interop' has no attribute {name!r}")


def probe(net: Cell | Layer, params: PyTree, xs: Any, ys: Any, *, tolerance: float = 1e-5) -> float:
    """Check loaded parameters by what the other library computed with them.

    Some variants differ in what they compute and not in their arrays (tanh or relu units, a GRU
    without biases that resets before or after its product); only outputs tell them apart.

    Args:
      net: the network.
      params: its parameters.
      xs: inputs, time-major, ``(T, *batch, D)``.
      ys: the other library's outputs, from zero states, ``(T, *batch, H)``.
      tolerance: the largest difference allowed, relative to 1 + |ys|.

    Returns:
      The largest difference.

    Raises:
      ValueError: if the shapes differ, or the outputs by more than the tolerance.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
      >>> ys = jaxrnn.gru_scan(params, xs)[1]
      >>> jaxrnn.interop.probe(jaxrnn.gru, params, xs, ys)
      0.0
    """
    dtype = jax.tree.leaves(params)[0].dtype
    mine = np.asarray(scan(net, params, jnp.asarray(xs, dtype))[1], np.float64)
    theirs = np.asarray(ys, np.float64)
    if mine.shape != theirs.shape:
        raise ValueError(f"ys: expected shape {mine.shape}, got {theirs.shape}")
    worst = float(np.max(np.abs(mine - theirs) / (1 + np.abs(theirs)), initial=0.0))
    if not worst <= tolerance:
        raise ValueError(
            f"ys: expected the outputs of {net.name!r} to {tolerance:g}, got a difference of "
            f"{worst:.3g}: the arrays fit, but the cells are not the same function"
        )
    return worst
