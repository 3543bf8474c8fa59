"""Cells with more structure than an LSTM: heads, matrices, norms, images, orders and clocks."""

from jaxrnn.cells.structured.clockwork import (
    ClockworkCarry,
    ClockworkSpec,
    clockwork,
    make_clockwork,
)
from jaxrnn.cells.structured.conv import flat
from jaxrnn.cells.structured.conv_elman import ConvElmanSpec, make_conv_elman
from jaxrnn.cells.structured.conv_gru import ConvGRUSpec, make_conv_gru
from jaxrnn.cells.structured.conv_lstm import ConvLSTMParams, ConvLSTMSpec, make_conv_lstm
from jaxrnn.cells.structured.layer_norm import (
    LayerNormLSTMParams,
    LayerNormLSTMSpec,
    LayerNormPreActivations,
    lstm_layer_norm,
    make_lstm_layer_norm,
)
from jaxrnn.cells.structured.layer_norm_gru import (
    LayerNormGRUParams,
    LayerNormGRUSpec,
    gru_layer_norm,
    make_gru_layer_norm,
)
from jaxrnn.cells.structured.mlstm import (
    MLSTMCarry,
    MLSTMGates,
    MLSTMParams,
    MLSTMPreActivations,
    MLSTMSpec,
    make_mlstm,
    mlstm,
)
from jaxrnn.cells.structured.multiplicative import (
    MultiplicativeLSTMParams,
    MultiplicativeLSTMPreActivations,
    MultiplicativeLSTMSpec,
    make_multiplicative_lstm,
    multiplicative_lstm,
)
from jaxrnn.cells.structured.on_lstm import (
    ONLSTMGates,
    ONLSTMParams,
    ONLSTMSpec,
    make_on_lstm,
    on_lstm,
)
from jaxrnn.cells.structured.phased import (
    PhasedLSTMCarry,
    PhasedLSTMGates,
    PhasedLSTMParams,
    PhasedLSTMPreActivations,
    PhasedLSTMSpec,
    make_phased_lstm,
    phased_lstm,
)
from jaxrnn.cells.structured.slstm import (
    SLSTMCarry,
    SLSTMGates,
    SLSTMParams,
    SLSTMSpec,
    make_slstm,
    power_law,
    slstm,
)

__all__ = [
    "ClockworkCarry",
    "ClockworkSpec",
    "ConvElmanSpec",
    "ConvGRUSpec",
    "ConvLSTMParams",
    "ConvLSTMSpec",
    "LayerNormGRUParams",
    "LayerNormGRUSpec",
    "LayerNormLSTMParams",
    "LayerNormLSTMSpec",
    "LayerNormPreActivations",
    "MLSTMCarry",
    "MLSTMGates",
    "MLSTMParams",
    "MLSTMPreActivations",
    "MLSTMSpec",
    "MultiplicativeLSTMParams",
    "MultiplicativeLSTMPreActivations",
    "MultiplicativeLSTMSpec",
    "ONLSTMGates",
    "ONLSTMParams",
    "ONLSTMSpec",
    "PhasedLSTMCarry",
    "PhasedLSTMGates",
    "PhasedLSTMParams",
    "PhasedLSTMPreActivations",
    "PhasedLSTMSpec",
    "SLSTMCarry",
    "SLSTMGates",
    "SLSTMParams",
    "SLSTMSpec",
    "clockwork",
    "flat",
    "gru_layer_norm",
    "lstm_layer_norm",
    "make_clockwork",
    "make_conv_elman",
    "make_conv_gru",
    "make_conv_lstm",
    "make_gru_layer_norm",
    "make_lstm_layer_norm",
    "make_mlstm",
    "make_multiplicative_lstm",
    "make_on_lstm",
    "make_phased_lstm",
    "make_slstm",
    "mlstm",
    "multiplicative_lstm",
    "on_lstm",
    "phased_lstm",
    "power_law",
    "slstm",
]
