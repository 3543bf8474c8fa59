"""What a contender has to do, and the weights and inputs that all of them get."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

ROOT = str(Path(__file__).resolve().parents[1])
SIZES = {  # T, B, D, H
    "sine": (999, 97, 1, 51),
    "mid": (100, 32, 128, 256),
    "big": (128, 16, 512, 512),
    "stream": (1000, 1, 64, 128),
    "long": (4096, 8, 64, 128),
}
GATES = {"elman": 1, "gru": 3, "lstm": 4}
STEPS = 100  # of one run of mode step


@dataclass(frozen=True)
class Task:
    """One process's work.

    Attributes:
      contender: a module of `_contenders`.
      case: ``cell/sizes`` or ``cell/sizes/way``: the sizes a name of `SIZES` or ``T,B,D,H``, the
        way an option of the scan, or what else jaxrnn does with that layer.
      mode: ``forward``, the layer alone; ``gradient``, value and gradient of sum(y²) by the
        parameters; ``vjp``, the gradient from given cotangents, so that all temporaries are the
        layer's; ``step``, one step from Python, its carry fed back.
      devices: CPU devices to split the batch over, each with a core of its own; 0 for none.
      checkout: the directory whose jaxrnn is imported.
    """

    contender: str
    case: str
    mode: str
    devices: int = 0
    checkout: str = ROOT

    @property
    def cell(self):
        return self.case.split("/")[0]

    @property
    def sizes(self):
        """``(T, B, D, H)``."""
        word = self.case.split("/")[1]
        return SIZES[word] if word in SIZES else tuple(map(int, word.split(",")))

    @property
    def way(self):
        return "".join(self.case.split("/")[2:])

    @property
    def weights(self):
        """Input kernel, recurrent kernel, bias; gates i, f, g, o of an LSTM, r, z, n of a GRU."""
        *_, size, hidden = self.sizes
        random, columns = np.random.default_rng(0), GATES[self.cell] * hidden
        shapes = (size, columns), (hidden, columns), (columns,)
        arrays = [random.uniform(-1, 1, shape) / np.sqrt(hidden) for shape in shapes]
        return [array.astype(np.float32) for array in arrays]

    @property
    def inputs(self):
        """``(xs,)``, or with it the array of ``scan(lengths=…)``, ``mask=`` or ``reset=``."""
        (time, batch, size, _), random = self.sizes, np.random.default_rng(1)
        xs = random.normal(size=(time, batch, size)).astype(np.float32)
        if self.way == "lengths":
            return xs, random.integers(1, time + 1, batch).astype(np.int32)
        share = {"mask": 0.9, "reset": 0.01}.get(self.way)
        return (xs, random.random((time, batch)) < share) if share else (xs,)

    @property
    def zeros(self):
        """The carry that most libraries begin with."""
        zero = np.zeros(self.sizes[1::2], np.float32)
        return (zero, zero) if self.cell == "lstm" else zero

    @cached_property
    def ours(self):
        """``(cell, params)``, from which `jaxrnn.interop` converts to other libraries."""
        import jax

        import jaxrnn

        cell, arrays = getattr(jaxrnn, self.cell), map(jax.numpy.asarray, self.weights)
        names = ("input_kernel", "recurrent_kernel", "bias")
        params = cell.init(jax.random.key(0), *self.sizes[2:])
        return cell, params._replace(**dict(zip(names, arrays, strict=True)))
