"""Sequences out of a cell: its inputs are given, or are its own outputs."""

from jaxrnn.decoding.beam import Beams, beam_search
from jaxrnn.decoding.generate import Generated, decode, generate, last
from jaxrnn.decoding.sampling import Choose, greedy, sampler

__all__ = [
    "Beams",
    "Choose",
    "Generated",
    "beam_search",
    "decode",
    "generate",
    "greedy",
    "last",
    "sampler",
]
