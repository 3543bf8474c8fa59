"""Weights of the recurrent cells of `flax.nnx`.

Kernels are (in, out). ``LSTMCell`` has one for each gate, ``ii, if_, ig, io`` and ``hi, hf, hg,
ho``, with the biases on ``h*``; ``OptimizedLSTMCell`` (i, f, g, o), ``GRUCell`` (r, z, n) and
``SimpleCell`` have ``dense_i`` and ``dense_h``, with the bias on ``dense_h`` of an LSTM and on
``dense_i`` of the others. ``GRUCell`` has no bias inside the reset product: a GRU where that is
not zero is refused. Names of layers and directions are those of ``RNN``, ``Bidirectional`` and
``Sequential``: ``layers/0/forward_rnn/cell/dense_i/kernel``. The carry of flax is (c, h).

Undetectable: other activations than the default ones and ``SimpleCell(residual=True)``. See
`jaxrnn.interop.probe`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jaxrnn
from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import convert, structure
from jaxrnn.interop.convert import Library, Prefix
from jaxrnn.interop.layout import Entry, Layout, entry
from jaxrnn.interop.linen import GATES, find, place
from jaxrnn.interop.names import base, flatten, nest
from jaxrnn.interop.structure import Unit

__all__ = ["NNX", "dump", "infer", "load"]


def _entries(kind: str, *, fused: bool) -> list[Entry]:
    if not fused:
        inputs = [entry(f"i{g}{'_' * (g == 'f')}/kernel", "W", g) for g in "ifgo"]
        pairs = [(entry(f"h{g}/kernel", "R", g), entry(f"h{g}/bias", "b", g)) for g in "ifgo"]
        return inputs + [one for pair in pairs for one in pair]
    gates, biased = GATES[kind], "h" if kind == "lstm" else "i"
    kernels = [entry("dense_i/kernel", "W", gates), entry("dense_h/kernel", "R", gates)]
    return [*kernels, entry(f"dense_{biased}/bias", "b", gates)]


def _layout(unit: Unit, has: Callable[[str], bool], *, optimized: bool = True) -> Layout:
    kind = structure.family(unit.cell)
    start = place(unit, has, "layers/{}/", "dense_i/kernel")
    gatewise = place(unit, has, "layers/{}/", "ii/kernel")
    fused = kind != "lstm" or (optimized and not has(gatewise + "ii/kernel"))
    start = start if fused else gatewise
    entries = _entries(kind, fused=fused)
    return Layout(tuple(one._replace(name=start + one.name) for one in entries))


NNX = Library(
    "flax.nnx",
    {
        "elman": {"activation": ("tanh", "relu")},
        "gru": {"reset": ("after",), "update": None},
        "lstm": {},
    },
    _layout,
    "/",
    lambda name: "rngs" in name.split("/"),
)
"""What flax.nnx has, for `jaxrnn.interop.convert`."""


def _flatten(source: Any) -> dict[str, Any]:
    names = flatten(source, "/")
    return {name.removesuffix("/value"): leaf for name, leaf in names.items()}


def load(
    net: Cell | Layer, source: Any, prefix: Prefix = "", *, dtype: DType | None = None
) -> PyTree:
    """The parameters of a network from those of a flax.nnx module.

    Args:
      net: a cell or network.
      source: the module's ``nnx.state``, its pure dict, or a flat mapping with ``/``.
      prefix: the module's path, such as ``"encoder/rnn"``, or one for each layer.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      Parameters as ``net.init`` gives them; a GRU's bias inside the reset product is zero.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells that flax lacks, and with a line for each array that is missing,
        surplus, of the wrong shape or dtype.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> from jaxrnn import interop
      >>> state = nnx.state(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)))
      >>> interop.nnx.load(jaxrnn.gru, state).bias.shape
      (15,)
    """
    return convert.load(NNX, net, _flatten(source), prefix, dtype=dtype)


def dump(
    net: Cell | Layer, params: PyTree, prefix: Prefix = "", *, optimized: bool = True
) -> dict[str, Any]:
    """The pure dict of a flax.nnx module's parameters from those of a network.

    ``nnx.update(module, dump(net, params))`` puts them into the module.

    Args:
      net: a cell, for the names of a flax cell; with layers or directions, for those of
        ``RNN``, ``Bidirectional`` and ``Sequential``.
      params: its parameters.
      prefix: as in `load`.
      optimized: write an LSTM as ``OptimizedLSTMCell``, else as ``LSTMCell``.

    Returns:
      Nested mappings of numpy arrays; the numbers of layers are ints.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that flax lacks, or parameters that have no place.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import nnx
      >>> tree = nnx.dump(jaxrnn.lstm, jaxrnn.lstm.init(jax.random.key(0), 3, 5))
      >>> tree["dense_h"]["bias"].shape
      (20,)
    """
    library = NNX._replace(layout=lambda unit, has: _layout(unit, has, optimized=optimized))
    return _numbers(nest(convert.dump(library, net, params, prefix), "/"))


def _numbers(tree: Any) -> Any:
    if not isinstance(tree, Mapping):
        return tree
    return {int(k) if k.isdigit() else k: _numbers(child) for k, child in tree.items()}


def infer(source: Any, prefix: str = "") -> Any:
    """The network that the parameters of a flax.nnx module belong to.

    Args:
      source: as for `load`.
      prefix: the module's path.

    Returns:
      A cell for a flax cell, `jaxrnn.rnn` for an ``RNN``, `jaxrnn.stack` where the layers of a
      ``Sequential`` differ.

    Raises:
      ValueError: if the arrays are of no such module.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import nnx
      >>> nnx.infer({"dense_h": {"kernel": np.ones((5, 15))}}).name
      'gru'
    """
    arrays = _flatten(source)
    made = {1: jaxrnn.elman, 3: jaxrnn.gru, 4: jaxrnn.lstm}
    names = {name for name in arrays if not NNX.ignored(name)}
    for name, leaf in arrays.items():  # say in the name what the blocks of the kernel tell
        shape = getattr(leaf, "shape", ())
        if name.endswith("dense_h/kernel") and len(shape) == 2 and shape[0]:
            names.add(f"{name}/{shape[1] / shape[0]:g}")
    kinds = {f"dense_h/kernel/{count}": cell for count, cell in made.items()}
    kinds |= {"ii/kernel": jaxrnn.lstm}
    return find(names, base(prefix, "/"), "layers/{}/", kinds)
