"""Weights of the recurrent cells of `flax.linen`.

Kernels are (in, out), one for each gate: ``ii, if, ig, io`` and ``hi, hf, hg, ho`` of
``LSTMCell`` and ``OptimizedLSTMCell``, with the biases on ``h*``; ``ir, iz, in`` and ``hr, hz,
hn`` of ``GRUCell``, with the biases on ``i*`` and on ``hn``; ``i`` and ``h`` of ``SimpleCell``,
with the bias on ``i``. ``MGUCell`` is a GRU with one gate for both, r = z = f: it loads into
`jaxrnn.gru`, and goes back while the two are equal.

A cell's names are its own, or stand below ``cell`` as in ``RNN(cell)``. A layer of two
directions is a ``Bidirectional``, a network of several layers a ``Sequential``:
``layers_0/forward_rnn/cell/ii/kernel``. Where a module has other names (a compact one writes
``LSTMCell_0``), give a prefix for each layer. The carry of flax is (c, h).

Undetectable: other activations than the default ones, ``SimpleCell(residual=True)``, and
``MGUCell(reset_gate=False)``, which lacks the bias of ``hn`` and is refused for that. See
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
from jaxrnn.interop.names import base, flatten, nest
from jaxrnn.interop.structure import Unit

__all__ = ["LINEN", "dump", "infer", "load", "place"]

GATES = {"elman": "h", "lstm": "ifgo", "gru": "rzn"}


def place(unit: Unit, has: Callable[[str], bool], layers: str, first: str) -> str:
    """Where flax keeps a cell: below its layer and its direction.

    Args:
      unit: the cell.
      has: whether the source has a name.
      layers: the names of the layers, with a place for the number.
      first: a name inside the cell, to look for.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop import linen, structure
      >>> unit = structure.units(jaxrnn.rnn(jaxrnn.gru, 2, bidirectional=True))[1][0]
      >>> linen.place(unit, lambda name: False, "layers_{}/", "in/kernel")
      'layers_1/forward_rnn/cell/'
    """
    inner = ("forward_rnn/cell/", "backward_rnn/cell/")[unit.direction]
    if unit.directions == 1:
        alone = unit.layer is None and not has("cell/" + first)
        inner = "" if alone else "cell/"
    number = layers.format(unit.layer or 0)
    return number + inner if unit.layers > 1 or has(number + inner + first) else inner


def _entries(kind: str, *, mgu: bool) -> list[Entry]:
    if kind == "elman":
        return [entry("i/kernel", "W", "h"), entry("i/bias", "b", "h"), entry("h/kernel", "R", "h")]
    if kind == "lstm":
        inputs = [entry(f"i{g}/kernel", "W", g) for g in "ifgo"]
        pairs = [(entry(f"h{g}/kernel", "R", g), entry(f"h{g}/bias", "b", g)) for g in "ifgo"]
        return inputs + [one for pair in pairs for one in pair]
    gates = {"f": "r", "n": "n"} if mgu else {g: g for g in "rzn"}
    pairs = [(entry(f"i{n}/kernel", "W", g), entry(f"i{n}/bias", "b", g)) for n, g in gates.items()]
    recurrent = [entry(f"h{n}/kernel", "R", g) for n, g in gates.items()]
    return [one for pair in pairs for one in pair] + recurrent + [entry("hn/bias", "s", "n")]


def _layout(unit: Unit, has: Callable[[str], bool], *, mgu: bool = False) -> Layout:
    kind = structure.family(unit.cell)
    first = {"elman": "i", "lstm": "ii", "gru": "in"}[kind] + "/kernel"
    start = place(unit, has, "layers_{}/", first)
    mgu = kind == "gru" and (mgu or has(start + "if/kernel"))
    entries = tuple(e._replace(name=start + e.name) for e in _entries(kind, mgu=mgu))
    return Layout(entries, tied=(("r", "z"),) if mgu else ())


LINEN = Library(
    "flax.linen",
    {
        "elman": {"activation": ("tanh", "relu")},
        "gru": {"reset": ("after",), "update": None},
        "lstm": {},
    },
    _layout,
    "/",
)
"""What flax.linen has, for `jaxrnn.interop.convert`."""


def _collection(source: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = source.get("params") if isinstance(source, Mapping) else None
    return inner if isinstance(inner, Mapping) else source


def load(
    net: Cell | Layer, source: Mapping[str, Any], prefix: Prefix = "", *, dtype: DType | None = None
) -> PyTree:
    """The parameters of a network from those of a flax.linen module.

    Args:
      net: a cell or network.
      source: the variables or their ``params``, nested, or flat with ``/`` in the names.
      prefix: the module's path, such as ``"encoder/rnn"``, or one for each layer.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      Parameters as ``net.init`` gives them.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells that flax lacks, and with a line for each array that is missing,
        surplus, of the wrong shape or dtype.

    Example:
      >>> import flax.linen as nn, jax, jaxrnn
      >>> from jaxrnn.interop import linen
      >>> module = nn.RNN(nn.GRUCell(5))
      >>> variables = module.init(jax.random.key(0), jax.numpy.ones((2, 7, 3)))
      >>> linen.load(jaxrnn.gru, variables).recurrent_bias.shape
      (5,)
    """
    return convert.load(LINEN, net, _collection(source), prefix, dtype=dtype)


def dump(
    net: Cell | Layer, params: PyTree, prefix: Prefix = "", *, mgu: bool = False
) -> dict[str, Any]:
    """The ``params`` of a flax.linen module from the parameters of a network.

    Args:
      net: a cell, for the names of a flax cell; with layers or directions, for those of
        ``RNN``, ``Bidirectional`` and ``Sequential``.
      params: its parameters.
      prefix: as in `load`.
      mgu: write a GRU whose gates are equal as an ``MGUCell``.

    Returns:
      Nested mappings of numpy arrays.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that flax lacks, or parameters that have no place.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import linen
      >>> net = jaxrnn.rnn(jaxrnn.elman)
      >>> linen.dump(net, net.init(jax.random.key(0), 3, 5))["cell"]["i"]["kernel"].shape
      (3, 5)
    """
    library = LINEN._replace(layout=lambda unit, has: _layout(unit, has, mgu=mgu))
    return nest(convert.dump(library, net, params, prefix), "/")


def infer(source: Mapping[str, Any], prefix: str = "") -> Any:
    """The network that the params of a flax.linen module belong to.

    Args:
      source: the variables or their ``params``.
      prefix: the module's path.

    Returns:
      A cell for a flax cell, `jaxrnn.rnn` for an ``RNN``, `jaxrnn.stack` where the layers of a
      ``Sequential`` differ.

    Raises:
      ValueError: if the arrays are of no such module.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import linen
      >>> linen.infer({"cell": {"i": {"kernel": np.ones((3, 5))}}}).name
      'stack(elman)'
    """
    names = set(flatten(_collection(source), "/"))
    kinds = {"in/kernel": jaxrnn.gru, "ii/kernel": jaxrnn.lstm, "i/kernel": jaxrnn.elman}
    return find(names, base(prefix, "/"), "layers_{}/", kinds)


def find(names: set[str], start: str, layers: str, kinds: Mapping[str, Cell]) -> Any:
    """The network that names of flax's belong to.

    Args:
      names: the whole names.
      start: what stands before them.
      layers: the names of the layers, with a place for the number.
      kinds: cells by a name inside them.

    Raises:
      ValueError: if there is no such network.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop import linen
      >>> linen.find({"cell/in/kernel"}, "", "layers_{}/", {"in/kernel": jaxrnn.gru}).name
      'stack(gru)'
    """

    def cell(at: str) -> Any:
        return next((kind for name, kind in kinds.items() if at + name in names), None)

    def layer(at: str) -> Any:
        both = cell(at + "forward_rnn/cell/"), cell(at + "backward_rnn/cell/")
        if both[0] and both[1]:
            return jaxrnn.bidirectional(*both)
        return cell(at + "cell/")

    if (one := cell(start)) is not None:
        return one
    found = [layer(start)] if layer(start) else []
    while not layer(start) and (one := layer(start + layers.format(len(found)))):
        found.append(one)
    if not found:
        raise ValueError(
            f"source: expected {start}cell/{' or '.join(kinds)}, {start}forward_rnn/... or "
            f"{start}{layers.format(0)}..., got {sorted(names)}"
        )
    return jaxrnn.stack(*found)
