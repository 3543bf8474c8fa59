"""The cells: one file of equations each, one line of registration here."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxrnn.base import Cell
from jaxrnn.cells.blocks import ACTIVATIONS
from jaxrnn.cells.elman import ElmanParams, elman, irnn, make_elman
from jaxrnn.cells.gru import GRUGates, GRUParams, GRUProjection, gru, gru_reset_before, make_gru
from jaxrnn.cells.ladder import (
    PrototypeParams,
    lstm_prototype,
    lstm_prototype_normalized,
    lstm_pseudo,
    make_prototype,
)
from jaxrnn.cells.lstm import (
    LSTMCarry,
    LSTMGates,
    LSTMParams,
    fuse,
    lstm,
    lstm_reference,
    unfuse,
)
from jaxrnn.cells.lstm_options import LSTMGateCarry, LSTMVariantParams, make_lstm
from jaxrnn.cells.lstm_variants import (
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
)

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "ElmanParams",
    "GRUGates",
    "GRUParams",
    "GRUProjection",
    "LSTMCarry",
    "LSTMGateCarry",
    "LSTMGates",
    "LSTMParams",
    "LSTMVariantParams",
    "PrototypeParams",
    "elman",
    "fuse",
    "gru",
    "gru_reset_before",
    "irnn",
    "lstm",
    "lstm_1997",
    "lstm_cifg",
    "lstm_fgr",
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
    "make_elman",
    "make_gru",
    "make_lstm",
    "make_prototype",
    "unfuse",
]

CELLS: Mapping[str, Cell] = MappingProxyType(
    {
        "elman": elman,
        "elman_relu": make_elman(activation="relu"),
        "irnn": irnn,
        "lstm": lstm,
        "lstm_reference": lstm_reference,
        "lstm_peephole": lstm_peephole,
        "lstm_peephole_full": lstm_peephole_full,
        "lstm_1997": lstm_1997,
        "lstm_nig": lstm_nig,
        "lstm_nfg": lstm_nfg,
        "lstm_nog": lstm_nog,
        "lstm_niaf": lstm_niaf,
        "lstm_noaf": lstm_noaf,
        "lstm_cifg": lstm_cifg,
        "lstm_np": lstm_np,
        "lstm_fgr": lstm_fgr,
        "lstm_projected": lstm_projected,
        "lstm_prototype": lstm_prototype,
        "lstm_prototype_normalized": lstm_prototype_normalized,
        "lstm_pseudo": lstm_pseudo,
        "gru": gru,
        "gru_reset_before": gru_reset_before,
        "gru_write": make_gru(update="write"),
    }
)
"""Every cell by name. The tests and the documentation run over this table."""
