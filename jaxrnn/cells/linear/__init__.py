"""Cells that are linear in their state, and so may be solved in parallel over time."""

from jaxrnn.cells.linear.common import InputParams, LinearGates
from jaxrnn.cells.linear.delta_net import DeltaNetSpec, delta_net, make_delta_net
from jaxrnn.cells.linear.gated_delta_net import (
    GatedDeltaNetParams,
    GatedDeltaNetSpec,
    gated_delta_net,
    make_gated_delta_net,
)
from jaxrnn.cells.linear.gla import GLASpec, gla, make_gla
from jaxrnn.cells.linear.hgrn import HGRNSpec, hgrn, make_hgrn
from jaxrnn.cells.linear.hgrn2 import HGRN2Spec, hgrn2, make_hgrn2
from jaxrnn.cells.linear.kda import KDASpec, kda, make_kda
from jaxrnn.cells.linear.lru import LRUParams, LRUSpec, lru, make_lru
from jaxrnn.cells.linear.min_gru import MinGRUSpec, make_min_gru, min_gru
from jaxrnn.cells.linear.min_lstm import MinLSTMSpec, make_min_lstm, min_lstm
from jaxrnn.cells.linear.qrnn import QRNNCarry, QRNNSpec, make_qrnn, qrnn
from jaxrnn.cells.linear.rg_lru import RGLRUParams, RGLRUSpec, make_rg_lru, rg_lru
from jaxrnn.cells.linear.rwkv import RWKVCarry, RWKVParams, RWKVSpec, make_rwkv, rwkv
from jaxrnn.cells.linear.s5 import S5Params, S5Spec, make_s5, s5
from jaxrnn.cells.linear.sru import SRUParams, SRUSpec, make_sru, sru

__all__ = [
    "DeltaNetSpec",
    "GLASpec",
    "GatedDeltaNetParams",
    "GatedDeltaNetSpec",
    "HGRN2Spec",
    "HGRNSpec",
    "InputParams",
    "KDASpec",
    "LRUParams",
    "LRUSpec",
    "LinearGates",
    "MinGRUSpec",
    "MinLSTMSpec",
    "QRNNCarry",
    "QRNNSpec",
    "RGLRUParams",
    "RGLRUSpec",
    "RWKVCarry",
    "RWKVParams",
    "RWKVSpec",
    "S5Params",
    "S5Spec",
    "SRUParams",
    "SRUSpec",
    "delta_net",
    "gated_delta_net",
    "gla",
    "hgrn",
    "hgrn2",
    "kda",
    "lru",
    "make_delta_net",
    "make_gated_delta_net",
    "make_gla",
    "make_hgrn",
    "make_hgrn2",
    "make_kda",
    "make_lru",
    "make_min_gru",
    "make_min_lstm",
    "make_qrnn",
    "make_rg_lru",
    "make_rwkv",
    "make_s5",
    "make_sru",
    "min_gru",
    "min_lstm",
    "qrnn",
    "rg_lru",
    "rwkv",
    "s5",
    "sru",
]
