"""Nonlinear cells whose units see of the state only themselves: a step's Jacobian is diagonal."""

from jaxrnn.cells.diagonal.para_gru import (
    ParaGRUParams,
    ParaGRUPreActivations,
    ParaGRUSpec,
    make_para_gru,
    para_gru,
)
from jaxrnn.cells.diagonal.para_lstm import (
    ParaLSTMParams,
    ParaLSTMSpec,
    make_para_lstm,
    para_lstm,
)

__all__ = [
    "ParaGRUParams",
    "ParaGRUPreActivations",
    "ParaGRUSpec",
    "ParaLSTMParams",
    "ParaLSTMSpec",
    "make_para_gru",
    "make_para_lstm",
    "para_gru",
    "para_lstm",
]
