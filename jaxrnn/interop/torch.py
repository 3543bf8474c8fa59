"""Weights of `torch.nn.RNN`, `LSTM` and `GRU` and of their cells.

Layout of a layer k, for ``_reverse`` again; a cell's names have no ``_l{k}``:

==================  ===========  ==================================================
``weight_ih_l{k}``  (gates H, D)  i, f, g, o or r, z, n
``weight_hh_l{k}``  (gates H, P)  alike
``bias_ih_l{k}``    (gates H,)    absent with ``bias=False``
``bias_hh_l{k}``    (gates H,)    a second bias; only a GRU's candidate needs both
``weight_hr_l{k}``  (P, H)        with ``proj_size=P``
==================  ===========  ==================================================

Two biases become one, b = b_ih + b_hh, and one becomes (b, 0): the outputs are the same, but
two biases learn twice as fast, so multiply the updates of the bias by 2 where the course of
training must be the same. Whether an RNN's units are tanh or relu does not show in its arrays:
say it to `infer`, and see `jaxrnn.interop.probe`. ``batch_first`` does not concern the weights.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import jaxrnn
from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import convert, structure
from jaxrnn.interop.convert import Library, Prefix
from jaxrnn.interop.layout import Layout, entry
from jaxrnn.interop.names import base, flatten
from jaxrnn.interop.structure import Unit

__all__ = ["TORCH", "dump", "infer", "load"]

GATES = {"elman": "h", "lstm": "ifgo", "gru": "rzn"}


def _layout(unit: Unit, has: Callable[[str], bool], *, bias: bool = True) -> Layout:
    gates = GATES[structure.family(unit.cell)]
    tail = "_reverse" * unit.direction
    if unit.layer is not None or unit.directions == 2 or has("weight_ih_l0"):
        tail = f"_l{unit.layer or 0}" + tail
    entries = [
        entry("weight_ih" + tail, "W", gates, transposed=True),
        entry("weight_hh" + tail, "R", gates, transposed=True),
    ]
    if bias:
        entries += [
            entry("bias_ih" + tail, "b", gates, optional="bias"),
            entry("bias_hh" + tail, "s", gates, optional="bias"),
        ]
    if structure.family(unit.cell) == "lstm" and structure.option(unit.cell, "proj_size"):
        entries.append(entry("weight_hr" + tail, "Q", "", transposed=True))
    return Layout(tuple(entries))


TORCH = Library(
    "torch",
    {
        "elman": {"activation": ("tanh", "relu")},
        "gru": {"reset": ("after",), "update": None},
        "lstm": {"proj_size": None},
    },
    _layout,
)
"""What torch has, for `jaxrnn.interop.convert`."""


def load(
    net: Cell | Layer, source: Mapping[str, Any], prefix: Prefix = "", *, dtype: DType | None = None
) -> PyTree:
    """The parameters of a network from torch's.

    Args:
      net: a cell or `jaxrnn.rnn`. A cell takes the names of a torch cell or those of a module
        of one layer.
      source: a ``state_dict``, whole or not.
      prefix: the module's name in it, such as ``"encoder.lstm"``; for a network of several
        modules one for each layer.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      Parameters as ``net.init`` gives them; without biases in the source, theirs are zero.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells that torch lacks, and with a line for each array that is missing,
        surplus, of the wrong shape or dtype.

    Example:
      >>> import jaxrnn, numpy as np
      >>> from jaxrnn.interop import torch
      >>> state = {"weight_ih": np.ones((5, 3)), "weight_hh": np.ones((5, 5))}
      >>> torch.load(jaxrnn.elman, state, dtype="float32").input_kernel.shape
      (3, 5)
    """
    return convert.load(TORCH, net, source, prefix, dtype=dtype)


def dump(
    net: Cell | Layer, params: PyTree, prefix: Prefix = "", *, bias: bool = True
) -> dict[str, np.ndarray]:
    """Torch's arrays from the parameters of a network.

    ``module.load_state_dict({k: torch.tensor(v) for k, v in dump(net, params).items()})``

    Args:
      net: a cell, for the names of a torch cell, or `jaxrnn.rnn`, for those of a module.
      params: its parameters.
      prefix: as in `load`.
      bias: False for a module with ``bias=False``; the biases must then be zero.

    Returns:
      Numpy arrays by name, in the order of the ``state_dict``.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that torch lacks, or parameters that have no place.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import torch
      >>> net = jaxrnn.rnn(jaxrnn.lstm)
      >>> list(torch.dump(net, net.init(jax.random.key(0), 3, 5)))
      ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
    """
    library = TORCH._replace(layout=lambda unit, has: _layout(unit, has, bias=bias))
    return convert.dump(library, net, params, prefix)


def infer(source: Mapping[str, Any], prefix: str = "", *, nonlinearity: str = "tanh") -> Any:
    """The network that torch's arrays belong to.

    Args:
      source: a ``state_dict``, whole or not.
      prefix: the module's name in it.
      nonlinearity: ``"tanh"`` or ``"relu"``, which the arrays of an RNN do not tell.

    Returns:
      A cell for a torch cell's names, else `jaxrnn.rnn`.

    Raises:
      ValueError: if the arrays are of no such module.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import torch
      >>> state = {"weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 5))}
      >>> torch.infer(state).name
      'stack(lstm)'
    """
    start = base(prefix, ".")
    shapes = {
        name.removeprefix(start): tuple(getattr(leaf, "shape", ()))
        for name, leaf in flatten(source).items()
        if name.startswith(start)
    }
    layers = {int(m[1]) for name in shapes if (m := re.fullmatch(r"weight_hh_l(\d+)", name))}
    tail = "_l0" if layers else ""
    recurrent = shapes.get("weight_hh" + tail, ())
    if len(recurrent) != 2:
        raise ValueError(
            f"source: expected {start}weight_hh or {start}weight_hh_l0, a matrix, got "
            f"{sorted(shapes) or 'nothing'}"
        )
    projection = shapes.get("weight_hr" + tail)
    hidden = projection[1] if projection else recurrent[1]
    made = {
        1: jaxrnn.make_elman(activation=nonlinearity),
        3: jaxrnn.gru,
        4: jaxrnn.make_lstm(proj_size=projection[0]) if projection else jaxrnn.lstm,
    }
    cell = made.get(recurrent[0] // hidden if hidden and recurrent[0] % hidden == 0 else 0)
    if cell is None:
        raise ValueError(
            f"source: expected {start}weight_hh{tail} of 1, 3 or 4 blocks of {hidden}, got "
            f"shape {recurrent}"
        )
    if not layers:
        return cell
    reverse = "weight_hh_l0_reverse" in shapes
    return jaxrnn.rnn(cell, max(layers) + 1, bidirectional=reverse)
