"""Weights of `haiku.VanillaRNN`, `LSTM` and `GRU`, and of a `DeepRNN` of them.

========================  ============  =================================================
``lstm/linear`` ``w``     (D + H, 4H)   i, g, f, o, the input above the state
``lstm/linear`` ``b``     (4H,)         1 is added to f *at run time*
``gru`` ``w_i, w_h``      (D, 3H), …    z, r, n; z = 1 writes, and the reset comes before
``gru`` ``b``             (3H,)         the product: `jaxrnn.gru_reset_before`
``vanilla_rnn/linear``    (D, H), (H,)  relu: `jaxrnn.make_elman` of ``"relu"``
``vanilla_rnn/linear_1``  (H, H), (H,)  its bias absent with ``double_bias=False``
========================  ============  =================================================

The 1 joins an LSTM's forget bias on `load` and leaves it on `dump`. Adding it rounds: where
b + 1 - 1 is not b in the dtype, that one block comes back off by a rounding of numbers of the size
of 1 + |b|. Everything else is exact, and so is all with the cell `lstm` of this module, which
adds its 1 at run time as haiku does.

The layers of a network are named as haiku numbers modules of one class: ``lstm``, ``lstm_1``.
Where yours differ, give a prefix for each layer, such as ``"net/~/core"``. Haiku has no
bidirectional layer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

import jaxrnn
from jaxrnn.base import Array, Cell, DType, Layer, PyTree
from jaxrnn.interop import convert, structure
from jaxrnn.interop.convert import Library, Prefix
from jaxrnn.interop.layout import Entry, Layout, entry
from jaxrnn.interop.names import base, flatten
from jaxrnn.interop.structure import Unit

__all__ = ["HAIKU", "dump", "infer", "load", "lstm"]


def _project(params: jaxrnn.LSTMParams, x: Array) -> Array:
    i, f, g, o = jnp.split(jaxrnn.lstm.project(params, x), 4, axis=-1)
    return jnp.concatenate([i, f + 1, g, o], axis=-1)


lstm = jaxrnn.lstm._replace(name="lstm_haiku", project=_project)
"""`jaxrnn.lstm` with 1 added to the forget gate at run time, as haiku and Sonnet do."""

MODULES = {"elman": "vanilla_rnn", "gru": "gru", "lstm": "lstm"}
ENTRIES: Mapping[str, tuple[Entry, ...]] = {
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
    kind = structure.family(unit.cell)
    entries = ENTRIES[kind] if double_bias else [e for e in ENTRIES[kind] if not e.optional]
    if unit.directions == 2:
        raise ValueError("net: haiku has no bidirectional layer; convert each direction by itself")
    start = MODULES[kind] + (f"_{unit.nth}" if unit.nth else "") + "/"
    if has(entries[0].name) or (unit.named and not has(start + entries[0].name)):
        start = ""
    return Layout(
        tuple(one._replace(name=start + one.name) for one in entries),
        update="write",
        offsets=(("bf", 1.0),) if kind == "lstm" else (),
    )


HAIKU = Library(
    "haiku",
    {
        "elman": {"activation": ("relu",)},
        "gru": {"reset": ("before",), "update": None},
        "lstm": {},
    },
    _layout,
    "/",
)
"""What haiku has, for `jaxrnn.interop.convert`."""


def load(
    net: Cell | Layer, source: Mapping[str, Any], prefix: Prefix = "", *, dtype: DType | None = None
) -> PyTree:
    """The parameters of a network from those of haiku cores.

    Args:
      net: a cell or network.
      source: haiku's params, whole or not.
      prefix: what stands before the cores' names, such as ``"net/~"``, or for each layer the
        core's whole name.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      Parameters as ``net.init`` gives them.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells that haiku lacks, and with a line for each array that is missing,
        surplus, of the wrong shape or dtype.

    Example:
      >>> import jaxrnn, numpy as np
      >>> from jaxrnn.interop import haiku
      >>> state = {"lstm/linear": {"w": np.ones((8, 20), "f"), "b": np.zeros(20, "f")}}
      >>> haiku.load(jaxrnn.lstm, state).bias[5:10].tolist()
      [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    return convert.load(HAIKU, net, source, prefix, dtype=dtype)


def dump(
    net: Cell | Layer, params: PyTree, prefix: Prefix = "", *, double_bias: bool = True
) -> dict[str, dict[str, Any]]:
    """The params of haiku cores from those of a network.

    Args:
      net: a cell or network.
      params: its parameters.
      prefix: as in `load`.
      double_bias: False for a ``VanillaRNN(double_bias=False)``.

    Returns:
      Numpy arrays by module and name.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that haiku lacks, or parameters that have no place.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import haiku
      >>> params = jaxrnn.gru_reset_before.init(jax.random.key(0), 3, 5)
      >>> list(haiku.dump(jaxrnn.gru_reset_before, params)["gru"])
      ['w_i', 'w_h', 'b']
    """
    library = HAIKU._replace(layout=lambda unit, has: _layout(unit, has, double_bias=double_bias))
    modules: dict[str, dict[str, Any]] = {}
    for name, array in convert.dump(library, net, params, prefix).items():
        module, _, leaf = name.rpartition("/")
        modules.setdefault(module, {})[leaf] = array
    return modules


def infer(source: Mapping[str, Any], prefix: str = "") -> Any:
    """The network that the params of haiku cores belong to.

    Args:
      source: haiku's params, whole or not.
      prefix: what stands before the cores' names.

    Returns:
      `jaxrnn.rnn` of the cells that are haiku's: relu units, the reset before the product.

    Raises:
      ValueError: if there is no core, or there are several classes of them, whose order the
        names do not tell.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import haiku
      >>> haiku.infer({"lstm/linear": {"w": np.ones((8, 20))}}).name
      'stack(lstm)'
    """
    start = base(prefix, "/")
    names = [name.removeprefix(start) for name in flatten(source, "/") if name.startswith(start)]
    found = [
        (m[1], int(m[2] or 0))
        for name in names
        if (m := re.match(r"(lstm|gru|vanilla_rnn)(?:_(\d+))?/", name))
    ]
    classes = {kind for kind, _ in found}
    if len(classes) != 1:
        raise ValueError(
            f"source: expected cores of one class, lstm, gru or vanilla_rnn below {start!r}, got "
            f"{sorted(names)}"
        )
    made = {
        "lstm": jaxrnn.lstm,
        "gru": jaxrnn.gru_reset_before,
        "vanilla_rnn": jaxrnn.make_elman(activation="relu"),
    }
    return jaxrnn.rnn(made[classes.pop()], 1 + max(number for _, number in found))
