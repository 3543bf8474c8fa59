"""Weights of `torch.nn.RNN`, `LSTM` and `GRU` and of their cells.

Layout of a layer k, for ``_reverse`` again; a cell's names have no ``_l{k}``:

==================  ===========  ==================================================
``weight_ih_l{k}``  (gates H, D)  i, f, g, o or r, z, n
``weight_hh_l{k}``  (gates H, P)  alike
``bias_ih_l{k}``    (gates H,)    absent with ``bias=False``
``bias_hh_l{k}``    (gates H,)    a second bias; only a GRU's candidate needs both
``weight_hr_l{k}``  (P, H)        with ``proj_size=P``
==================  ===========  ==================================================

A source is a ``state_dict``, whole or not, and
``module.load_state_dict({k: torch.tensor(v) for k, v in dump(net, params).items()})`` is the way
back. One module has equal layers; for a network of several give `load` and `dump` a prefix for
each layer. A cell takes the names of a torch cell or those of a module of one layer.

`load_carry` and `dump_carry` move the states ``h_n`` and ``c_n``.

Two biases become one, b = b_ih + b_hh, and one becomes (b, 0): the outputs are the same, but
two biases learn twice as fast, so multiply the updates of the bias by 2 where the course of
training must be the same. Whether an RNN's units are tanh or relu does not show in its arrays:
say it to ``infer(source, nonlinearity="relu")``, and see `jaxrnn.interop.probe`. ``batch_first``
does not concern the weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jaxrnn
from jaxrnn.interop.format import Format
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.structure import Unit

__all__ = ["TORCH", "dump", "dump_carry", "infer", "load", "load_carry"]

GATES = {"elman": "h", "lstm": "ifgo", "gru": "rzn"}
DISGUISED = (
    (r"weight_[ih]\w*_[gv]$",
     "of weight_norm: first call torch.nn.utils.remove_weight_norm(module, name) for each weight"),
    (r"parametrizations\.(weight|bias)_",
     "of a parametrization, such as weight_norm or orthogonal: first call "
     "torch.nn.utils.parametrize.remove_parametrizations(module, name) for each weight"),
    (r"(weight|bias)_[ih]\w*_(orig|mask)$",
     "of pruning or spectral_norm: first call torch.nn.utils.prune.remove(module, name), or "
     "torch.nn.utils.remove_spectral_norm(module, name), for each weight"),
    (r"_all_weight_values|_packed_(params|weight)",
     "of a quantised module, which packs its integers: take the state_dict of the module before "
     "it was quantised"),
)  # fmt: skip
"""What weights of torch are called while something is done to them."""


def _layout(unit: Unit, has: Callable[[str], bool]) -> Layout:
    gates, tail = GATES[unit.kind], "_reverse" * unit.direction
    if unit.layer is not None or unit.directions == 2 or has("weight_ih_l0"):
        tail = f"_l{unit.layer or 0}" + tail
    entries = [
        entry("weight_ih" + tail, "W", gates, transposed=True),
        entry("weight_hh" + tail, "R", gates, transposed=True),
        entry("bias_ih" + tail, "b", gates, optional="bias"),
        entry("bias_hh" + tail, "s", gates, optional="bias"),
    ]
    if "Q" in unit.own().pieces:
        entries.append(entry("weight_hr" + tail, "Q", "", transposed=True))
    return Layout(tuple(entries))


def _layer(arrays: dict[str, Any], at: str, *, nonlinearity: str = "tanh") -> Any:
    """A cell for a torch cell's names, else a network."""
    shapes = {name: getattr(leaf, "shape", ()) for name, leaf in arrays.items()}
    pattern = re.escape(at) + r"weight_hh_l(\d+)"
    layers = [int(m[1]) for name in shapes if (m := re.fullmatch(pattern, name))]
    tail = "_l0" if layers else ""
    recurrent, use_bias = shapes.get(f"{at}weight_hh{tail}", ()), f"{at}bias_ih{tail}" in shapes
    if len(recurrent) != 2:
        return None
    projection = shapes.get(f"{at}weight_hr{tail}")
    rows, hidden = recurrent[0], (projection or recurrent)[1]
    count = rows // hidden if hidden and rows % hidden == 0 else 0
    if count == 1:
        cell = jaxrnn.make_elman(activation=nonlinearity, use_bias=use_bias)
    elif count == 3:
        cell = jaxrnn.make_gru(use_bias=use_bias)
    elif count == 4:
        size = projection[0] if projection else None
        cell = jaxrnn.make_lstm(proj_size=size, use_bias=use_bias)
    else:
        raise ValueError(
            f"source: expected {at}weight_hh{tail} of 1, 3 or 4 blocks of {hidden}, got "
            f"shape {tuple(recurrent)}"
        )
    if not layers:
        return cell
    reverse = f"{at}weight_hh_l0_reverse" in shapes
    return jaxrnn.rnn(cell, max(layers) + 1, bidirectional=reverse)


TORCH = Format(
    "torch",
    {
        "elman": {"activation": ("tanh", "relu")},
        "gru": {"reset": ("after",), "update": None},
        "lstm": {"proj_size": None},
    },
    _layout,
    _layer,
    "weight_hh or weight_hh_l0, a matrix,",
    layers="",
    holds="network",
    biasless=True,
    disguised=DISGUISED,
)
"""What torch has, for the conversion."""

load = TORCH.load
"""The parameters of a network from a ``state_dict``."""

dump = TORCH.dump
"""A ``state_dict`` of numpy arrays from the parameters of a network."""

infer = TORCH.infer
"""The network that a ``state_dict`` belongs to; takes `nonlinearity`, ``"tanh"`` or ``"relu"``."""

load_carry = TORCH.load_carry
"""The carry of a network from states of torch, ``h_n`` or ``(h_n, c_n)``."""

dump_carry = TORCH.dump_carry
"""What `load_carry` takes, from the carry of a network."""
