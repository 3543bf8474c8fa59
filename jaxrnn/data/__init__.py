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
from .series import Streams, Windows, streams, windows
from .sine import Split, next_step, sine_waves

__all__ = [
    "Batches",
    "Buckets",
    "Packed",
    "Padded",
    "Spans",
    "Split",
    "Streams",
    "Windows",
    "bucket",
    "next_step",
    "pack",
    "pad",
    "sine_waves",
    "spans",
    "streams",
    "unpack",
    "windows",
]
