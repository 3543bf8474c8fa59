"""What an LSTM holds: its parameters, its state, and something for each of its gates."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxrnn.base import Array

__all__ = ["LSTMCarry", "LSTMGateCarry", "LSTMGates", "LSTMParams", "LSTMVariantParams"]


class LSTMParams(NamedTuple):
    """Parameters of a fused LSTM; the blocks are in the order i, f, g, o.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, ``(H, 4H)``.
      bias: b, ``(4H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.lstm.init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 20)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class LSTMVariantParams(NamedTuple):
    """Parameters of an LSTM that has fewer gates, or more kernels, than the plain one.

    The blocks are in the order i, f, g, o without the gates that the cell lacks: K of them,
    and without the candidate g: M.

    Attributes:
      input_kernel: W, ``(D, KH)``.
      recurrent_kernel: R, ``(P, KH)``, P the output size: H without a projection.
      bias: b, ``(KH,)``, or None.
      peephole_kernel: p, ``(MH,)`` if diagonal, ``(H, MH)`` if full; None without peepholes.
      projection_kernel: ``(H, P)``; None without a projection.
      gate_kernel: of the gates of the last step, ``(MH, MH)``; None without gate recurrence.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.lstm_cifg.init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.peephole_kernel.shape
      ((3, 15), (10,))
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    peephole_kernel: Array | None = None
    projection_kernel: Array | None = None
    gate_kernel: Array | None = None


class LSTMCarry(NamedTuple):
    """The state of an LSTM.

    Attributes:
      h: the output of the last step, ``(*batch, H)``.
      c: the cell, ``(*batch, H)``; float32 where h is a half type.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.lstm.carry(params, (2,)).c.shape
      (2, 5)
    """

    h: Array
    c: Array


class LSTMGateCarry(NamedTuple):
    """The state of an LSTM with gate recurrence: its gates are part of it.

    Attributes:
      h: the output of the last step, ``(*batch, P)``.
      c: the cell, ``(*batch, H)``; float32 where h is a half type.
      i: the input gate of the last step, ``(*batch, H)``; None where the cell has none.
      f: the forget gate, alike.
      o: the output gate, alike.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.lstm_fgr.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.cells.lstm_fgr.carry(params, (2,)).o.shape
      (2, 5)
    """

    h: Array
    c: Array
    i: Array | None = None
    f: Array | None = None
    o: Array | None = None


class LSTMGates(NamedTuple):
    """Something for each of the four gates: parameters, pre-activations or activations.

    Attributes:
      i: input gate.
      f: forget gate.
      g: candidate.
      o: output gate.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.analysis.gate_traces(jaxrnn.lstm, params, jax.numpy.ones((7, 3))).f.shape
      (7, 5)
    """

    i: Any = None
    f: Any = None
    g: Any = None
    o: Any = None
