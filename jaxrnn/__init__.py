"""Recurrent networks for JAX: pure cells, one unroll, every transformation.

>>> import jax, jaxrnn
>>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
>>> carry, ys = jaxrnn.lstm_scan(params, jax.numpy.ones((7, 2, 3)))
>>> ys.shape
(7, 2, 5)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from jaxrnn import cells, initializers
from jaxrnn.cells import (
    CELLS,
    ElmanParams,
    GRUParams,
    LSTMCarry,
    LSTMParams,
    elman,
    gru,
    gru_reset_before,
    lstm,
    lstm_reference,
    make_elman,
    make_gru,
)
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
from jaxrnn.layers import Directions, bidirectional, rnn, stack
from jaxrnn.typing import Cell, Layer
from jaxrnn.unroll import scan

if TYPE_CHECKING:
    from jaxrnn import data, linen, nnx, training

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
    "bidirectional",
    "cells",
    "data",
    "elman",
    "elman_carry",
    "elman_init",
    "elman_scan",
    "elman_step",
    "gru",
    "gru_carry",
    "gru_init",
    "gru_reset_before",
    "gru_scan",
    "gru_step",
    "initializers",
    "linen",
    "lstm",
    "lstm_carry",
    "lstm_init",
    "lstm_reference",
    "lstm_scan",
    "lstm_step",
    "make_elman",
    "make_gru",
    "nnx",
    "rnn",
    "scan",
    "stack",
    "training",
]

_LAZY = {"data", "linen", "nnx", "training"}  # they bring flax, optax, … when first used


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"jaxrnn.{name}")
    raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")
