"""Data for recurrent networks: NumPy arrays in, time-major NumPy arrays out.

Data too large for memory are a loader's work. An iterator of grain goes into
`jaxrnn.training.fit` as it is, and its place into the checkpoints::

    series = grain.MapDataset.source(source).shuffle(seed=0).repeat().batch(32)
    fit(loss, params, optimizer, iter(series.to_iter_dataset()), steps=…, checkpoints=…)
"""

from .batches import Batches
from .ragged import (
    Buckets,
    Packed,
    Padded,
    Spans,
    bucket,
    pack,
    pad,
    spans,
    unpack,
)
from .rolling import Backtest, Past, backtest
from .scaling import Scaler, Statistics, scaler, statistics
from .series import PanelWindows, Streams, Windows, streams, windows
from .sine import Split, next_step, sine_waves

__all__ = [
    "Backtest",
    "Batches",
    "Buckets",
    "Packed",
    "Padded",
    "PanelWindows",
    "Past",
    "Scaler",
    "Spans",
    "Split",
    "Statistics",
    "Streams",
    "Windows",
    "backtest",
    "bucket",
    "next_step",
    "pack",
    "pad",
    "scaler",
    "sine_waves",
    "spans",
    "statistics",
    "streams",
    "unpack",
    "windows",
]
