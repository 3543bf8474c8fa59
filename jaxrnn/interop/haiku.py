"""Weights of `haiku.VanillaRNN`, `LSTM` and `GRU`, and of a `DeepRNN` of them.

========================  ============  =================================================
``lstm/linear`` ``w``     (D + H, 4H)   i, g, f, o, the input above the state
``lstm/linear`` ``b``     (4H,)         1 is added to f *at run time*
``gru`` ``w_i, w_h``      (D, 3H), …    z, r, n; z = 1 writes, and the reset comes before
``gru`` ``b``             (3H,)         the product: `jaxrnn.cells.gru_reset_before`
``vanilla_rnn/linear``    (D, H), (H,)  relu: `jaxrnn.make_elman` of ``"relu"``
``vanilla_rnn/linear_1``  (H, H), (H,)  its bias absent with ``double_bias=False``
========================  ============  =================================================

The 1 joins an LSTM's forget bias on `load` and leaves it on `dump`. Adding it rounds: where
b + 1 - 1 is not b in the dtype, that one block comes back off by a rounding of numbers of the size
of 1 + |b|. Everything else is exact, and so is all with the cell `lstm` of this module, which
adds its 1 at run time as haiku does.

The layers of a network are named as haiku numbers modules of one class: ``lstm``, ``lstm_1``.
Where yours differ, give a prefix for each layer, such as ``"net/~/core"``. Haiku has no
bidirectional layer, and no core without biases; the order of cores of several classes does not
show in their names, so that `infer` refuses them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

import jaxrnn
from jaxrnn.base import Array, Cell
from jaxrnn.interop.format import Format
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.structure import HaikuLSTMSpec, Unit

__all__ = ["HAIKU", "dump", "infer", "load", "lstm"]


def _project(params: jaxrnn.LSTMParams, x: Array) -> Array:
    i, f, g, o = jnp.split(jaxrnn.lstm.project(params, x), 4, axis=-1)
    return jnp.concatenate([i, f + HaikuLSTMSpec().forget_offset, g, o], axis=-1)


_CHANGES = {"name": "lstm_haiku", "project": _project, "spec": HaikuLSTMSpec()}

lstm: Cell[jaxrnn.LSTMParams, jaxrnn.LSTMCarry] = Cell(**jaxrnn.lstm._asdict() | _CHANGES)
"""`jaxrnn.lstm` with 1 added to the forget gate at run time, as haiku and Sonnet do."""

MODULES = {"elman": "vanilla_rnn", "gru": "gru", "lstm": "lstm"}
ENTRIES = {
    "elman": (
        entry("linear/w", "W", "h"),
        entry("linear/b", "b", "h"),
        entry("linear_1/w", "R", "h"),
        entry("linear_1/b", "s", "h", optional="double_bias"),
    ),
    "gru": (entry("w_i", "W", "zrn"), entry("w_h", "R", "zrn"), entry("b", "b", "zrn")),
    "lstm": (entry("linear/w", "WR", "igfo"), entry("linear/b", "b", "igfo")),
}


def _layout(unit: Unit, has: Callable[[str], bool], *, double_bias: bool = True) -> Layout:
    if unit.directions == 2:
        raise ValueError("net: haiku has no bidirectional layer; convert each direction by itself")
    entries = [one for one in ENTRIES[unit.kind] if double_bias or not one.optional]
    start = MODULES[unit.kind] + (f"_{unit.nth}" if unit.nth else "") + "/"
    if has(entries[0].name) or (unit.named and not has(start + entries[0].name)):
        start = ""
    offsets = (("bf", 1.0),) if unit.kind == "lstm" else ()
    return Layout(tuple(entries), update="write", offsets=offsets).at(start)


def _layer(arrays: dict[str, Any], at: str) -> Any:
    pattern = re.escape(at) + r"(lstm|gru|vanilla_rnn)(?:_(\d+))?/"
    found = [(m[1], int(m[2] or 0)) for name in arrays if (m := re.match(pattern, name))]
    if len({kind for kind, _ in found}) != 1:
        return None
    made = {
        "lstm": jaxrnn.lstm,
        "gru": jaxrnn.cells.gru_reset_before,
        "vanilla_rnn": jaxrnn.make_elman(activation="relu"),
    }
    return jaxrnn.rnn(made[found[0][0]], 1 + max(number for _, number in found))


def _nest(arrays: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By module, then by name."""
    modules: dict[str, dict[str, Any]] = {}
    for name, array in arrays.items():
        module, _, leaf = name.rpartition("/")
        modules.setdefault(module, {})[leaf] = array
    return modules


HAIKU = Format(
    "haiku",
    {
        "elman": {"activation": ("relu",)},
        "gru": {"reset": ("before",), "update": None},
        "lstm": {},
    },
    _layout,
    _layer,
    "cores of one class, lstm, gru or vanilla_rnn,",
    separator="/",
    layers="",
    nest=_nest,
)
"""What haiku has, for the conversion."""

load = HAIKU.load
"""The parameters of a network from those of haiku cores."""

dump = HAIKU.dump
"""The params of haiku cores, by module and name, from a network's; takes `double_bias`."""

infer = HAIKU.infer
"""`jaxrnn.rnn` of what haiku's cores are: relu units, the reset before the product."""
