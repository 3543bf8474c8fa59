"""Weights of the recurrent cells of `flax.linen`.

Kernels are (in, out), one for each gate: ``ii, if, ig, io`` and ``hi, hf, hg, ho`` of
``LSTMCell`` and ``OptimizedLSTMCell``, with the biases on ``h*``; ``ir, iz, in`` and ``hr, hz,
hn`` of ``GRUCell``, with the biases on ``i*`` and on ``hn``; ``i`` and ``h`` of ``SimpleCell``,
with the bias on ``i``. All of them always have biases. ``MGUCell``, of the gates f and n, is
``jaxrnn.cells.make_mgu(reset="after", update="keep")``. It is also a GRU with one gate for both,
r = z = f: it loads into `jaxrnn.gru`, which `infer` gives, and goes back by ``dump(net, params,
mgu=True)`` while the two are equal. ``ConvLSTMCell`` stands in `jaxrnn.interop.conv_lstm`.

A source is the variables or their ``params``, nested, or flat with ``/`` in the names. A cell's
names are its own, or stand below ``cell`` as in ``RNN(cell)``. A layer of two directions is a
``Bidirectional``, a network of several layers a ``Sequential``:
``layers_0/forward_rnn/cell/ii/kernel``. Where a module has other names (a compact one writes
``LSTMCell_0``), give a prefix for each layer, and ``jaxrnn.Directions("LSTMCell_0",
"LSTMCell_1")`` for the two of a Bidirectional. The carry of flax is (c, h): see `load_carry`.

Undetectable: other activations than the default ones, ``SimpleCell(residual=True)``, and
``MGUCell(reset_gate=False)``, which lacks the bias of ``hn`` and is refused for that. See
`jaxrnn.interop.probe`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jaxrnn
from jaxrnn.cells.structured import ConvLSTMSpec
from jaxrnn.interop import conv_lstm
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.format import Format, both
from jaxrnn.interop.layout import Entry, Layout, entry
from jaxrnn.interop.names import base, flatten, nest
from jaxrnn.interop.structure import Unit

__all__ = ["HAS", "LINEN", "dump", "dump_carry", "infer", "load", "load_carry", "place", "wrapped"]

HAS = {
    "elman": {"activation": ("tanh", "relu")},
    "gru": {"reset": ("after",), "update": None},
    "lstm": {},
}
"""What both libraries of flax have."""
MGU = {"reset": ("after",), "update": ("keep",)}


def place(unit: Unit, has: Callable[[str], bool], layers: str, first: str) -> str:
    """Where flax keeps a cell, below its layer and its direction; `first` is a name inside it."""
    inner = ("forward_rnn/cell/", "backward_rnn/cell/")[unit.direction]
    if unit.directions == 1:
        alone = unit.layer is None and not has("cell/" + first)
        inner = "" if alone else "cell/"
    number = layers.format(unit.layer or 0)
    return number + inner if unit.layers > 1 or has(number + inner + first) else inner


def wrapped(cell: Callable[[str], Any], at: str) -> Any:
    """A flax cell, or the layer of one or two of them that an RNN or a Bidirectional is."""
    if (one := cell(at)) is not None:
        return one
    one = both(cell, at, "forward_rnn/cell/", "backward_rnn/cell/") or cell(at + "cell/")
    return None if one is None else jaxrnn.stack(one)


def _layout(unit: Unit, has: Callable[[str], bool], *, mgu: bool = False) -> Layout:
    at = partial(place, unit, has, "layers_{}/")
    entries: list[Entry] = []
    if unit.kind == "elman":
        entries = [entry("i/kernel", "W", "h"), entry("i/bias", "b", "h")]
        return Layout((*entries, entry("h/kernel", "R", "h"))).at(at("i/kernel"))
    if unit.kind == "lstm":
        for g in "ifgo":
            entries += [entry(f"h{g}/kernel", "R", g), entry(f"h{g}/bias", "b", g)]
        inputs = [entry(f"i{g}/kernel", "W", g) for g in "ifgo"]
        return Layout((*inputs, *entries)).at(at("ii/kernel"))
    start, own = at("in/kernel"), unit.kind == "mgu"
    mgu = not own and (mgu or has(start + "if/kernel"))
    gates = {"f": "r", "n": "n"} if mgu else {g: g for g in ("fn" if own else "rzn")}
    for n, g in gates.items():
        entries += [entry(f"i{n}/kernel", "W", g), entry(f"i{n}/bias", "b", g)]
    entries += [entry(f"h{n}/kernel", "R", g) for n, g in gates.items()]
    entries.append(entry("hn/bias", "s", "n"))
    return Layout(tuple(entries), tied=(("r", "z"),) if mgu else ()).at(start)


def _layer(arrays: dict[str, Any], at: str) -> Any:
    kinds = {"in/kernel": jaxrnn.gru, "ii/kernel": jaxrnn.lstm, "i/kernel": jaxrnn.elman}
    return wrapped(lambda at: next((kinds[n] for n in kinds if at + n in arrays), None), at)


def _find(source: Any, prefix: Prefix, net: Any) -> tuple[dict[str, Any], Prefix]:
    inner = source.get("params") if isinstance(source, Mapping) else None
    names = flatten(inner if isinstance(inner, Mapping) else source, "/")
    if isinstance(getattr(net, "spec", None), ConvLSTMSpec) and isinstance(prefix, str):
        below = base(prefix, "/") + "cell"  # of an RNN
        prefix = below if f"{below}/ih/kernel" in names else prefix
    return names, prefix


LINEN = Format(
    "flax.linen",
    HAS | {"mgu": MGU},
    _layout,
    _layer,
    "[cell/]in/kernel, ii/kernel or i/kernel, forward_rnn/... or layers_0/...",
    separator="/",
    layers="layers_{}/",
    find=_find,
    nest=partial(nest, separator="/"),
    state=("c", "h"),
    cells={ConvLSTMSpec: conv_lstm.LINEN},
)
"""What flax.linen has, for the conversion."""

load = LINEN.load
"""The parameters of a network from those of a flax.linen module."""

dump = LINEN.dump
"""The nested ``params`` of a flax.linen module from the parameters of a network; takes `mgu`."""

infer = LINEN.infer
"""The network that the ``params`` of a flax.linen module belong to."""

load_carry = LINEN.load_carry
"""The carry of a network from states of flax.linen."""

dump_carry = LINEN.dump_carry
"""What `load_carry` takes, from the carry of a network."""
