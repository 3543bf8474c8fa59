"""Data for recurrent networks: NumPy arrays in, time-major NumPy arrays out.

Data too large for memory are a loader's work: an iterator of grain goes into
`jaxrnn.training.fit` as it is, and its place into the checkpoints.
"""

from .batches import Batches
from .ragged import Buckets, Packed, Padded, bucket, pack, pad
from .series import Streams, Windows, streams, windows
from .sine import Split, next_step, sine_waves

__all__ = [
    "Batches",
    "Buckets",
    "Packed",
    "Padded",
    "Split",
    "Streams",
    "Windows",
    "bucket",
    "next_step",
    "pack",
    "pad",
    "sine_waves",
    "streams",
    "windows",
]
