"""What is compared: the shapes, the libraries, and which library has what."""

from typing import NamedTuple

SHAPES = {  # T, B, D, H
    "sine": (999, 97, 1, 51),
    "mid": (100, 32, 128, 256),
    "big": (128, 16, 512, 512),
    "stream": (1000, 1, 64, 128),
    "long": (4096, 8, 64, 128),
    "ragged": (100, 32, 128, 256),  # lengths uniform in 1..T
    "bidirectional": (128, 32, 64, 128),  # two layers, both directions
    "step": (1, 1, 64, 128),
    "even": (999, 98, 1, 51),  # sine with a batch that two devices can share
    "tiny": (20, 4, 8, 16),
    "tiny ragged": (20, 4, 8, 16),
    "tiny bidirectional": (20, 4, 8, 16),
}
PEERS = ["linen", "nnx", "haiku", "equinox", "keras"]
LIBRARIES = ["jaxrnn", "torch", *PEERS, "scan"]
GPU_LIBRARIES = ["cudnn"]  # jax.experimental.rnn

# Who runs ragged batches with an option of their own, has bidirectional layers, has single steps.
RAGGED = ["jaxrnn", "torch", "linen", "nnx", "keras", "scan", "cudnn"]
BIDIRECTIONAL = ["jaxrnn", "torch", "linen", "nnx", "keras", "scan", "cudnn"]
STEPS = ["jaxrnn", "torch", "linen", "nnx", "haiku", "equinox"]
CELLS = {  # haiku's GRU resets before the product and its VanillaRNN is relu: other functions
    "lstm": [*LIBRARIES, *GPU_LIBRARIES],
    "gru": [name for name in LIBRARIES if name != "haiku"],
    "elman": [name for name in LIBRARIES if name not in ("haiku", "equinox")],
}


class Task(NamedTuple):
    """One process's work.

    Modes: ``forward``, the layer alone; ``gradient``, value and gradient of sum(y²) by the
    parameters; ``step``, one step of one sequence, its carry fed back; ``compile``, tracing and
    compiling the gradient.
    """

    library: str
    cell: str
    shape: str  # a name, or T,B,D,H
    mode: str

    @property
    def sizes(self):
        return SHAPES.get(self.shape) or tuple(int(size) for size in self.shape.split(","))

    @property
    def ragged(self):
        return "ragged" in self.shape

    @property
    def deep(self):
        return "bidirectional" in self.shape


def has(library, cell, shape, mode):
    """Whether a library has such a layer."""
    return (
        library in CELLS[cell]
        and (mode != "step" or library in STEPS)
        and ("ragged" not in shape or library in RAGGED)
        and ("bidirectional" not in shape or library in BIDIRECTIONAL)
    )
