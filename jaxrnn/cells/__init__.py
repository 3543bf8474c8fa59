"""The cells: one file of equations each, one line of registration here."""

from collections.abc import Mapping
from types import MappingProxyType

from jaxrnn.base import Cell
from jaxrnn.cells.blocks import ACTIVATIONS
from jaxrnn.cells.elman import ElmanParams, ElmanSpec, elman, elman_relu, irnn, make_elman
from jaxrnn.cells.gru import (
    GRUGates,
    GRUParams,
    GRUPreActivations,
    GRUSpec,
    gru,
    gru_reset_before,
    gru_write,
    make_gru,
)
from jaxrnn.cells.ladder import (
    PrototypeParams,
    PrototypePreActivations,
    PrototypeSpec,
    lstm_prototype,
    lstm_prototype_normalized,
    lstm_pseudo,
    make_prototype,
)
from jaxrnn.cells.lstm import LSTMSpec, lstm, make_lstm
from jaxrnn.cells.lstm_records import (
    LSTMCarry,
    LSTMGateCarry,
    LSTMGates,
    LSTMParams,
    LSTMVariantParams,
)
from jaxrnn.cells.lstm_reference import LSTMReferenceSpec, fuse, lstm_reference, unfuse
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
    "ElmanSpec",
    "GRUGates",
    "GRUParams",
    "GRUPreActivations",
    "GRUSpec",
    "LSTMCarry",
    "LSTMGateCarry",
    "LSTMGates",
    "LSTMParams",
    "LSTMReferenceSpec",
    "LSTMSpec",
    "LSTMVariantParams",
    "PrototypeParams",
    "PrototypePreActivations",
    "PrototypeSpec",
    "elman",
    "elman_relu",
    "fuse",
    "gru",
    "gru_reset_before",
    "gru_write",
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
        "elman_relu": elman_relu,
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
        "lstm_fgr": lstm_fgr,
        "lstm_projected": lstm_projected,
        "lstm_prototype": lstm_prototype,
        "lstm_prototype_normalized": lstm_prototype_normalized,
        "lstm_pseudo": lstm_pseudo,
        "gru": gru,
        "gru_reset_before": gru_reset_before,
        "gru_write": gru_write,
    }
)
"""Every cell by name, each once. The tests and the documentation run over this table."""
