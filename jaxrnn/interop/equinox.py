"""Weights of `equinox.nn.LSTMCell` and `GRUCell`.

Weights are (out, in): ``weight_ih`` (gates H, D), ``weight_hh`` (gates H, H) and ``bias``, in
the order i, f, g, o or r, z, n, and ``bias_n`` (H,) of a GRU inside the reset product; without
``use_bias`` there are none. Equinox has only cells: of a network, each layer and direction is
one, named ``0``, or ``0.forward``, as in a list of cells or of `jaxrnn.Directions` of cells.

A source is a cell or a module, a list of cells, or a mapping from the names of their arrays, and
the prefix the path of the cell in it, such as ``"encoder.cell"``; ``equinox.tree_at`` puts the
arrays of `dump` into a cell.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jaxrnn
from jaxrnn.interop.format import Format, blocks, both
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.structure import Unit

__all__ = ["EQUINOX", "dump", "dump_carry", "infer", "load", "load_carry"]


def _layout(unit: Unit, has: Callable[[str], bool]) -> Layout:
    gates = {"lstm": "ifgo", "gru": "rzn"}[unit.kind]
    start = "" if unit.layer is None else f"{unit.layer}."
    start += ("forward.", "backward.")[unit.direction] if unit.directions == 2 else ""
    entries = [
        entry("weight_ih", "W", gates, transposed=True),
        entry("weight_hh", "R", gates, transposed=True),
        entry("bias", "b", gates, optional="bias"),
    ]
    if unit.kind == "gru":
        entries.append(entry("bias_n", "s", "n", optional="bias"))
    return Layout(tuple(entries)).at(start)


def _layer(arrays: dict[str, Any], at: str) -> Any:
    def cell(at: str) -> Any:
        make = {3: jaxrnn.make_gru, 4: jaxrnn.make_lstm}.get(
            blocks(arrays, at + "weight_hh", transposed=True)
        )
        return make and make(use_bias=at + "bias" in arrays)

    return both(cell, at, "forward.", "backward.") or cell(at)


EQUINOX = Format(
    "equinox",
    {"gru": {"reset": ("after",), "update": None}, "lstm": {}},
    _layout,
    _layer,
    "weight_hh or 0.weight_hh of 3 or 4 blocks",
    biasless=True,
)
"""What equinox has, for the conversion."""

load = EQUINOX.load
"""The parameters of a network from those of equinox cells."""

dump = EQUINOX.dump
"""The arrays of equinox cells from the parameters of a network."""

infer = EQUINOX.infer
"""The network that the arrays of equinox cells belong to."""

load_carry = EQUINOX.load_carry
"""The carry of a network from states of equinox cells."""

dump_carry = EQUINOX.dump_carry
"""What `load_carry` takes, from the carry of a network."""
