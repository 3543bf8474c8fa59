"""Weights of the recurrent cells of `flax.nnx`.

Kernels are (in, out). ``LSTMCell`` has one for each gate, ``ii, if_, ig, io`` and ``hi, hf, hg,
ho``, with the biases on ``h*``; ``OptimizedLSTMCell`` (i, f, g, o), ``GRUCell`` (r, z, n) and
``SimpleCell`` have ``dense_i`` and ``dense_h``, with the bias on ``dense_h`` of an LSTM and on
``dense_i`` of the others. All of them always have biases, but ``GRUCell`` has none inside the
reset product: a GRU where that is not zero is refused. Names of layers and directions are those
of ``RNN``, ``Bidirectional`` and ``Sequential``: ``layers/0/forward_rnn/cell/dense_i/kernel``.
The carry of flax is (c, h): see `load_carry`.

A source is a module's ``nnx.state``, its pure dict, or a flat mapping with ``/`` in the names;
``nnx.update(module, dump(net, params))`` is the way back, with ``optimized=False`` for an
``LSTMCell``.

Undetectable: other activations than the default ones and ``SimpleCell(residual=True)``. See
`jaxrnn.interop.probe`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jaxrnn
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.format import Format, blocks
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.linen import HAS, place, wrapped
from jaxrnn.interop.names import flatten, nest
from jaxrnn.interop.structure import Unit

__all__ = ["NNX", "dump", "dump_carry", "infer", "load", "load_carry"]

GATES = {"elman": "h", "lstm": "ifgo", "gru": "rzn"}


def _layout(unit: Unit, has: Callable[[str], bool], *, optimized: bool = True) -> Layout:
    start = place(unit, has, "layers/{}/", "ii/kernel")
    if unit.kind == "lstm" and (not optimized or has(start + "ii/kernel")):
        entries = [entry(f"i{g}{'_' * (g == 'f')}/kernel", "W", g) for g in "ifgo"]
        for g in "ifgo":
            entries += [entry(f"h{g}/kernel", "R", g), entry(f"h{g}/bias", "b", g)]
        return Layout(tuple(entries)).at(start)
    gates, biased = GATES[unit.kind], "h" if unit.kind == "lstm" else "i"
    entries = [entry("dense_i/kernel", "W", gates), entry("dense_h/kernel", "R", gates)]
    entries.append(entry(f"dense_{biased}/bias", "b", gates))
    return Layout(tuple(entries)).at(place(unit, has, "layers/{}/", "dense_i/kernel"))


def _layer(arrays: dict[str, Any], at: str) -> Any:
    made = {1: jaxrnn.elman, 3: jaxrnn.gru, 4: jaxrnn.lstm}

    def cell(at: str) -> Any:
        gatewise = at + "ii/kernel" in arrays
        return jaxrnn.lstm if gatewise else made.get(blocks(arrays, at + "dense_h/kernel"))

    return wrapped(cell, at)


def _find(source: Any, prefix: Prefix, net: Any) -> tuple[dict[str, Any], Prefix]:
    names = flatten(source, "/")
    return {name.removesuffix("/value"): leaf for name, leaf in names.items()}, prefix


def _nest(arrays: dict[str, Any]) -> Any:
    """Nested by module; the numbers of layers are ints."""

    def numbers(tree: Any) -> Any:
        if not isinstance(tree, Mapping):
            return tree
        return {int(k) if k.isdigit() else k: numbers(child) for k, child in tree.items()}

    return numbers(nest(arrays, "/"))


NNX = Format(
    "flax.nnx",
    HAS,
    _layout,
    _layer,
    "[cell/]dense_h/kernel or ii/kernel, forward_rnn/... or layers/0/...",
    separator="/",
    layers="layers/{}/",
    find=_find,
    nest=_nest,
    ignored=lambda name: "rngs" in name.split("/"),
    state=("c", "h"),
)
"""What flax.nnx has, for the conversion."""

load = NNX.load
"""The parameters of a network from those of a flax.nnx module."""

dump = NNX.dump
"""The pure dict of a flax.nnx module's parameters from those of a network; takes `optimized`."""

infer = NNX.infer
"""The network that the parameters of a flax.nnx module belong to."""

load_carry = NNX.load_carry
"""The carry of a network from states of flax.nnx."""

dump_carry = NNX.dump_carry
"""What `load_carry` takes, from the carry of a network."""
