"""Recurrent networks for JAX: pure cells, one unroll, every transformation.

>>> import jax, jaxrnn
>>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
>>> carry, ys = jaxrnn.lstm_scan(params, jax.numpy.ones((7, 2, 3)))
>>> ys.shape
(7, 2, 5)
"""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING
from typing import Any as _Any

from jax import export as _export

from jaxrnn import cells, decoding, graph, grid, initializers, learning, networks, solvers
from jaxrnn.base import Cell, Layer
from jaxrnn.cells import (
    CELLS,
    ElmanParams,
    GRUParams,
    LSTMCarry,
    LSTMParams,
    elman,
    gru,
    lstm,
    make_elman,
    make_gru,
    make_lstm,
)
from jaxrnn.decoding import beam_search, decode, generate, greedy, last, sampler
from jaxrnn.functional import (
    elman_carry,
    elman_init,
    elman_scan,
    elman_step,
    gru_carry,
    gru_init,
    gru_scan,
    gru_step,
    lstm_carry,
    lstm_init,
    lstm_scan,
    lstm_step,
)
from jaxrnn.learning import (
    rtrl,
    rtrl_init,
    rtrl_step,
    snap1,
    truncated,
    truncated_init,
    truncated_loss,
    uoro,
)
from jaxrnn.networks import Directions, bidirectional, learned_carry, rnn, stack, summary
from jaxrnn.solvers import associative, newton, sequential
from jaxrnn.unroll import scan

if TYPE_CHECKING:
    from jaxrnn import analysis, data, interop, linen, nnx, serving, training

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "Cell",
    "Directions",
    "ElmanParams",
    "GRUParams",
    "LSTMCarry",
    "LSTMParams",
    "Layer",
    "analysis",
    "associative",
    "beam_search",
    "bidirectional",
    "cells",
    "data",
    "decode",
    "decoding",
    "elman",
    "elman_carry",
    "elman_init",
    "elman_scan",
    "elman_step",
    "generate",
    "graph",
    "greedy",
    "grid",
    "gru",
    "gru_carry",
    "gru_init",
    "gru_scan",
    "gru_step",
    "initializers",
    "interop",
    "last",
    "learned_carry",
    "learning",
    "linen",
    "lstm",
    "lstm_carry",
    "lstm_init",
    "lstm_scan",
    "lstm_step",
    "make_elman",
    "make_gru",
    "make_lstm",
    "networks",
    "newton",
    "nnx",
    "rnn",
    "rtrl",
    "rtrl_init",
    "rtrl_step",
    "sampler",
    "scan",
    "sequential",
    "serving",
    "snap1",
    "solvers",
    "stack",
    "summary",
    "training",
    "truncated",
    "truncated_init",
    "truncated_loss",
    "uoro",
]


def _register() -> None:
    """So that what `jax.export` makes of a function of our records can be written to a file."""
    parts = cells, networks, grid, graph, decoding, learning
    classes = {value for part in parts for value in vars(part).values() if isinstance(value, type)}
    records = {value for value in classes if hasattr(value, "_fields")}
    for record in records - {Cell, Layer, grid.GridCell, grid.GridLayer}:  # which hold functions
        name = f"jaxrnn.{record.__name__}"
        _export.register_namedtuple_serialization(record, serialized_name=name)


_register()

# They bring flax, optax, … when first used.
_LAZY = {"analysis", "data", "interop", "linen", "nnx", "serving", "training"}


if not TYPE_CHECKING:  # to which a misspelt name is an error

    def __getattr__(name: str) -> _Any:
        """The lazy modules, and every cell of the registry by its name."""
        if name in _LAZY:
            return importlib.import_module(f"jaxrnn.{name}")
        if name in CELLS:
            return CELLS[name]
        modules = [f"linen.{name}", f"nnx.{name}"] if name in ("LSTM", "GRU", "Elman") else []
        names = list(dict.fromkeys([*__all__, *CELLS, *dir(cells)]))
        near = difflib.get_close_matches(name.lower(), names, n=2)
        known = [found if found in __all__ else f"cells.{found}" for found in near]
        hint = " or ".join(f"'jaxrnn.{found}'" for found in [*known, *modules])
        hint = f"; did you mean {hint}?" if hint else ""
        raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}{hint}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
