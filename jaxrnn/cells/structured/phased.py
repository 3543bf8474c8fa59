"""The phased LSTM, whose units are open a part of the time."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of, split, zeros
from jaxrnn.cells.blocks import like, linear
from jaxrnn.cells.continuous.gaps import split_gaps
from jaxrnn.cells.lstm import make_lstm
from jaxrnn.cells.lstm_records import LSTMCarry
from jaxrnn.cells.structured.fused import Draw, fused, lstm_bounds
from jaxrnn.checks import check_bool, check_choice, check_real

__all__ = [
    "PhasedLSTMCarry",
    "PhasedLSTMGates",
    "PhasedLSTMParams",
    "PhasedLSTMPreActivations",
    "PhasedLSTMSpec",
    "make_phased_lstm",
    "openness",
    "phased_lstm",
]


class PhasedLSTMParams(NamedTuple):
    """Parameters of a phased LSTM; the blocks are in the order i, f, g, o.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, ``(H, 4H)``.
      bias: b, ``(4H,)``, or None.
      period: τ, ``(H,)``.
      shift: s, ``(H,)``.
      open_ratio: r, the part of its period for which a unit is open, ``(H,)``.
      peephole_kernel: p of i, f and o, ``(3H,)``; None without peepholes.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.phased_lstm
      >>> cell.init(jax.random.key(0), 3, 5).period.shape
      (5,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    period: Array
    shift: Array
    open_ratio: Array
    peephole_kernel: Array | None = None


class PhasedLSTMCarry(NamedTuple):
    """The state of a phased LSTM; c and t are float32 where h is a half type.

    Attributes:
      h: the output of the last step, ``(*batch, H)``.
      c: the cell, ``(*batch, H)``.
      t: the time of the last step, counted from the sequence's beginning, ``(*batch, 1)``.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.phased_lstm
      >>> cell.carry(cell.init(jax.random.key(0), 3, 5), (2,)).t.shape
      (2, 1)
    """

    h: Array
    c: Array
    t: Array


class PhasedLSTMPreActivations(NamedTuple):
    """Pre-activations of a phased LSTM.

    Attributes:
      gates: of i, f, g and o, ``(..., 4H)``.
      gap: the time since the step before, ``(..., 1)``; None where it is 1.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.phased_lstm
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.project(params, jax.numpy.ones(3)).gates.shape
      (20,)
    """

    gates: Any = None
    gap: Any = None


class PhasedLSTMGates(NamedTuple):
    """Activations of a phased LSTM, ``(*batch, H)`` each.

    Attributes:
      i: input gate.
      f: forget gate.
      g: candidate.
      o: output gate.
      k: time gate, how far the unit is open.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.phased_lstm
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3))).k.shape
      (7, 5)
    """

    i: Array
    f: Array
    g: Array
    o: Array
    k: Array


class PhasedLSTMSpec(NamedTuple):
    """What `make_phased_lstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.phased_lstm.spec.leak
      0.001
    """

    leak: float = 0.001
    max_period: float = 1000.0
    peepholes: Literal["diagonal"] | None = None
    use_bias: bool = True

    def make(self) -> Cell[PhasedLSTMParams, PhasedLSTMCarry]:
        """The cell."""
        return make_phased_lstm(**self._asdict())


def openness(phase: Array, ratio: Array, leak: float) -> Array:
    """How far a unit is open: it opens for half of the ratio, shuts for half, then leaks.

    Args:
      phase: where in its period it is, in [0, 1).
      ratio: r, the part for which it is open.
      leak: α.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.structured.phased import openness
      >>> openness(jnp.array([0.0, 0.1, 0.2, 0.3, 0.5]), jnp.array(0.4), 0.01).tolist()
      [0.0, 0.5, 1.0, 0.5, 0.005]
    """
    ramp = 2 * phase / ratio
    return jnp.where(phase < ratio / 2, ramp, jnp.where(phase < ratio, 2 - ramp, leak * phase))


@documented
def make_phased_lstm(
    *,
    leak: float = 0.001,
    max_period: float = 1000.0,
    peepholes: Literal["diagonal"] | None = None,
    use_bias: bool = True,
) -> Cell[PhasedLSTMParams, PhasedLSTMCarry]:
    r"""An LSTM whose units are updated only while a rhythm of their own holds them open.

    .. math::
        t &= t_{-} + \Delta_t, \quad
            \varphi = ((t - s) \bmod \tau) / \tau \\
        k &= 2 \varphi / r \text{ for } \varphi < r / 2, \quad
            2 - 2 \varphi / r \text{ for } \varphi < r, \quad
            \alpha \varphi \text{ from there on} \\
        \tilde c, \tilde h &= \mathrm{LSTM}(x_t, h_{t-1}, c_{t-1}) \\
        c_t &= k \odot \tilde c + (1 - k) \odot c_{t-1} \\
        h_t &= k \odot \tilde h + (1 - k) \odot h_{t-1}

    where :math:`\tilde h = o \odot \tanh(\tilde c)`, as in the implementations that are in use.
    The time is part of the carry, which a reset sets to 0. The input is the features
    ``(*batch, D)``, 1 after each other, or a pair of them and of the times between each step and
    the one before, ``(*batch,)``.

    Args:
      leak: α, for the gradient's sake; 0 is meant for evaluation.
      max_period: of the periods that ``init`` draws, log-uniformly from 1 on.
      peepholes: ``"diagonal"`` for gates that see the cell, as those of the paper; o sees the
        new one.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `PhasedLSTMParams` and `PhasedLSTMCarry`, whose output is h. Its ``init``
      takes ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros),
      ``forget_bias`` (1.0, added to the block f) and ``use_bias``; s is drawn uniformly from
      0 to τ, r is 0.05, peepholes are 0.

    Raises:
      TypeError: for a leak or a period that is not a number.
      ValueError: for a negative leak, a largest period below 1, or unknown peepholes.

    Source: Neil, Pfeiffer and Liu (2016), Phased LSTM: accelerating recurrent network training
    for long or event-based sequences, arXiv:1610.09513.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_phased_lstm(max_period=8.0)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 3)), jax.numpy.full(7, 0.5)
      >>> carry, ys = jaxrnn.scan(cell, params, xs)
      >>> carry.t.tolist(), ys.shape
      ([3.5], (7, 5))
    """
    check_real("leak", leak, least=0)
    check_real("max_period", max_period, least=1)
    check_choice("peepholes", peepholes, (None, "diagonal"))
    check_bool("use_bias", use_bias)
    spec = PhasedLSTMSpec(float(leak), float(max_period), peepholes, use_bias)
    inner = make_lstm(peepholes=peepholes)

    def complete(draw: Draw) -> PhasedLSTMParams:
        size, dtype = draw.hidden_size, draw.dtype
        long, late = (jax.random.uniform(key, (size,), dtype) for key in split(draw.key, 2))
        period = jnp.exp(long * math.log(max_period))
        ratio = jnp.full(size, 0.05, dtype)
        peephole_kernel = jnp.zeros(3 * size, dtype) if peepholes else None
        return PhasedLSTMParams(*draw.kernels, period, late * period, ratio, peephole_kernel)

    def carry(params: PhasedLSTMParams, batch_shape: tuple[int, ...] = ()) -> PhasedLSTMCarry:
        h, c = inner.carry(params, batch_shape)
        return PhasedLSTMCarry(h, c, zeros(batch_shape, 1, c.dtype))

    def project(params: PhasedLSTMParams, x: Any) -> PhasedLSTMPreActivations:
        x, gap = split_gaps(x)
        return PhasedLSTMPreActivations(linear(x, params.input_kernel, params.bias), gap)

    def recurrent(params: PhasedLSTMParams, s: PhasedLSTMCarry) -> PhasedLSTMPreActivations:
        return PhasedLSTMPreActivations(inner.recurrent(params, LSTMCarry(s.h, s.c)))

    def time_gate(
        params: PhasedLSTMParams, s: PhasedLSTMCarry, z: PhasedLSTMPreActivations
    ) -> tuple[Array, Array]:
        t = s.t + (1 if z.gap is None else z.gap)
        wanted = s.c
        cycles = (t - like(params.shift, wanted)) / like(params.period, wanted)
        ratio = like(params.open_ratio, wanted)
        return openness(cycles - jnp.floor(cycles), ratio, leak), t

    def gated(
        params: PhasedLSTMParams, s: PhasedLSTMCarry, z: PhasedLSTMPreActivations
    ) -> PhasedLSTMGates:
        i, f, g, o = inner.gates(params, LSTMCarry(s.h, s.c), z.gates)  # type: ignore[misc]
        return PhasedLSTMGates(i, f, g, o, time_gate(params, s, z)[0])

    def update(
        params: PhasedLSTMParams, s: PhasedLSTMCarry, z: PhasedLSTMPreActivations
    ) -> PhasedLSTMCarry:
        new = inner.update(params, LSTMCarry(s.h.astype(s.c.dtype), s.c), z.gates)
        k, t = time_gate(params, s, z)
        h = k * new.h + (1 - k) * s.h.astype(k.dtype)
        return PhasedLSTMCarry(h.astype(s.h.dtype), k * new.c + (1 - k) * s.c, t)

    def output(params: PhasedLSTMParams, s: PhasedLSTMCarry, z: PhasedLSTMPreActivations) -> Array:
        return s.h

    def bounds(params: PhasedLSTMParams, start: PhasedLSTMCarry, count: Any) -> PhasedLSTMCarry:
        free = jnp.full_like(start.t, jnp.inf)
        return lstm_bounds(params, start, count)._replace(t=free)  # type: ignore[arg-type]

    return Cell(
        name_of("phased_lstm", spec),
        fused(4, complete, forget=1, forget_bias=1.0, use_bias=use_bias),
        carry,
        project,
        recurrent,
        update,
        output,
        gates=gated,
        bounds=bounds if leak <= 1 else None,
        spec=spec,
    )


phased_lstm: Cell[PhasedLSTMParams, PhasedLSTMCarry] = make_phased_lstm()
r"""The phased LSTM without peepholes; see `make_phased_lstm`.

.. math:: c_t = k \odot \tilde c + (1 - k) \odot c_{t-1}, \quad
    h_t = k \odot \tilde h + (1 - k) \odot h_{t-1}

Source: Neil, Pfeiffer and Liu (2016), Phased LSTM: accelerating recurrent network training for
long or event-based sequences, arXiv:1610.09513.
"""
