"""The cells: one file of equations each, one line of registration here."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxrnn.cells.blocks import ACTIVATIONS
from jaxrnn.cells.elman import ElmanParams, elman, make_elman
from jaxrnn.cells.gru import GRUParams, GRUProjection, gru, gru_reset_before, make_gru
from jaxrnn.cells.lstm import (
    LSTMCarry,
    LSTMGates,
    LSTMParams,
    fuse,
    lstm,
    lstm_reference,
    unfuse,
)
from jaxrnn.typing import Cell

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "ElmanParams",
    "GRUParams",
    "GRUProjection",
    "LSTMCarry",
    "LSTMGates",
    "LSTMParams",
    "elman",
    "fuse",
    "gru",
    "gru_reset_before",
    "lstm",
    "lstm_reference",
    "make_elman",
    "make_gru",
    "unfuse",
]

CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "elman": elman,
        "elman_relu": make_elman(activation="relu"),
        "lstm": lstm,
        "lstm_reference": lstm_reference,
        "gru": gru,
        "gru_reset_before": gru_reset_before,
        "gru_write": make_gru(update="write"),
    }
)
"""Every cell by name. The tests and the documentation run over this table."""
