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

from jaxrnn import cells, graph, grid, initializers
from jaxrnn.base import Cell, Layer
from jaxrnn.cells import (
    CELLS,
    ElmanParams,
    GRUParams,
    LSTMCarry,
    LSTMGateCarry,
    LSTMParams,
    LSTMVariantParams,
    PrototypeParams,
    elman,
    gru,
    gru_reset_before,
    irnn,
    lstm,
    lstm_1997,
    lstm_cifg,
    lstm_fgr,
    lstm_nfg,
    lstm_niaf,
    lstm_nig,
    lstm_noaf,
    lstm_nog,
    lstm_np,
    lstm_peephole,
    lstm_peephole_full,
    lstm_projected,
    lstm_prototype,
    lstm_prototype_normalized,
    lstm_pseudo,
    lstm_reference,
    make_elman,
    make_gru,
    make_lstm,
    make_prototype,
)
from jaxrnn.decoding.beam import Beams, beam_search
from jaxrnn.decoding.generate import Generated, decode, generate, last
from jaxrnn.decoding.sampling import greedy, sampler
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
from jaxrnn.learning.influence import snap1, uoro
from jaxrnn.learning.losses import Gradient
from jaxrnn.learning.rtrl import RTRLState, rtrl, rtrl_init, rtrl_step
from jaxrnn.learning.truncated import Window, truncated, truncated_init, truncated_loss
from jaxrnn.networks import Directions, LearnedCarryParams, bidirectional, learned_carry, rnn, stack
from jaxrnn.unroll import scan

if TYPE_CHECKING:
    from jaxrnn import analysis, data, interop, linen, nnx, training

__version__ = "0.1.0"

__all__ = [
    "CELLS",
    "Beams",
    "Cell",
    "Directions",
    "ElmanParams",
    "GRUParams",
    "Generated",
    "Gradient",
    "LSTMCarry",
    "LSTMGateCarry",
    "LSTMParams",
    "LSTMVariantParams",
    "Layer",
    "LearnedCarryParams",
    "PrototypeParams",
    "RTRLState",
    "Window",
    "analysis",
    "beam_search",
    "bidirectional",
    "cells",
    "data",
    "decode",
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
    "gru_reset_before",
    "gru_scan",
    "gru_step",
    "initializers",
    "interop",
    "irnn",
    "last",
    "learned_carry",
    "linen",
    "lstm",
    "lstm_1997",
    "lstm_carry",
    "lstm_cifg",
    "lstm_fgr",
    "lstm_init",
    "lstm_nfg",
    "lstm_niaf",
    "lstm_nig",
    "lstm_noaf",
    "lstm_nog",
    "lstm_np",
    "lstm_peephole",
    "lstm_peephole_full",
    "lstm_projected",
    "lstm_prototype",
    "lstm_prototype_normalized",
    "lstm_pseudo",
    "lstm_reference",
    "lstm_scan",
    "lstm_step",
    "make_elman",
    "make_gru",
    "make_lstm",
    "make_prototype",
    "nnx",
    "rnn",
    "rtrl",
    "rtrl_init",
    "rtrl_step",
    "sampler",
    "scan",
    "snap1",
    "stack",
    "training",
    "truncated",
    "truncated_init",
    "truncated_loss",
    "uoro",
]

# They bring flax, optax, … when first used.
_LAZY = {"analysis", "data", "interop", "linen", "nnx", "training"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"jaxrnn.{name}")
    raise AttributeError(f"module 'jaxrnn' has no attribute {name!r}")
