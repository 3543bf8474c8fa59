"""The long short-term memory, with options that combine; `lstm_variants` names some of them.

Every block of its fused kernels has a name, i, f, g or o, and what a cell lacks is None.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from numbers import Real
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import between, gates, kernels, limit, linear, named, wide
from jaxrnn.cells.lstm_records import (
    LSTMCarry,
    LSTMGateCarry,
    LSTMGates,
    LSTMParams,
    LSTMVariantParams,
)
from jaxrnn.checks import check_bool, check_choice, check_positive

__all__ = ["LSTMSpec", "lstm", "make_lstm"]

Activation = str | Callable[[Array], Array]


class LSTMSpec(NamedTuple):
    """What `make_lstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.lstm_cifg.spec.forget_gate
      'coupled'
    """

    peepholes: Literal["diagonal", "full"] | None = None
    input_gate: bool = True
    forget_gate: bool | Literal["coupled"] = True
    output_gate: bool = True
    gate_activation: Activation = "sigmoid"
    candidate_activation: Activation = "tanh"
    output_activation: Activation = "tanh"
    gate_recurrence: bool = False
    cell_clip: float | None = None
    proj_size: int | float | None = None
    projection_clip: float | None = None
    forget_bias: float | None = None
    use_bias: bool = True

    def make(self) -> Cell[Any, Any]:
        """The cell."""
        return make_lstm(**self._asdict())

    @property
    def gates(self) -> tuple[str, ...]:
        """The gates that have a block of their own, by name."""
        forget = self.forget_gate is True
        there = {"i": self.input_gate, "f": forget, "o": self.output_gate}
        return tuple(name for name, own in there.items() if own)

    @property
    def blocks(self) -> tuple[str, ...]:
        """The blocks of the fused kernels, in order: those of the gates, and the candidate."""
        early = tuple(name for name in self.gates if name != "o")
        return (*early, "g", *self.gates[len(early) :])

    @property
    def plain(self) -> bool:
        """Whether the parameters are `LSTMParams`: all four blocks, and no further kernels."""
        more = self.peepholes or self.proj_size or self.gate_recurrence
        return len(self.blocks) == 4 and not more


@documented
def make_lstm(
    *,
    peepholes: Literal["diagonal", "full"] | None = None,
    input_gate: bool = True,
    forget_gate: bool | Literal["coupled"] = True,
    output_gate: bool = True,
    gate_activation: Activation = "sigmoid",
    candidate_activation: Activation = "tanh",
    output_activation: Activation = "tanh",
    gate_recurrence: bool = False,
    cell_clip: float | None = None,
    proj_size: int | float | None = None,
    projection_clip: float | None = None,
    forget_bias: float | None = None,
    use_bias: bool = True,
) -> Cell[Any, Any]:
    r"""An LSTM, with the options chosen.

    .. math::
        a &= W x_t + R h_{t-1} + b
            && {} + G\,[i_{t-1}, f_{t-1}, o_{t-1}] \text{ for } i, f, o
            \text{ with gate recurrence} \\
        i &= \varphi(a_i + p_i\, c_{t-1}) && \text{or } 1 \\
        f &= \varphi(a_f + p_f\, c_{t-1}) && \text{or } 1 \text{, or } 1 - i \text{ if coupled} \\
        g &= \varphi_g(a_g) \\
        c_t &= f \odot c_{t-1} + i \odot g && \text{clipped to} \pm \text{the cell's clip} \\
        o &= \varphi(a_o + p_o\, c_t) && \text{or } 1 \\
        m &= o \odot \varphi_h(c_t) \\
        h_t &= m && \text{or } W_r\, m \text{, clipped to} \pm \text{the projection's clip}

    The peephole term :math:`p\,c` is absent, a product by element (diagonal) or by a matrix
    (full).

    ``init`` takes ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal, also for the
    projection and the gate kernel), ``bias_init`` (zeros), ``peephole_init`` (zeros, so that
    the cell starts as one without), ``forget_bias`` and ``use_bias``.

    Args:
      peepholes: whether the gates see the cell: None, ``"diagonal"`` or ``"full"``.
      input_gate: False for i = 1.
      forget_gate: False for f = 1, ``"coupled"`` for f = 1 − i. (The coupling i = 1 − f is
        this one with the gate's parameters negated, since 1 − σ(a) = σ(−a).)
      output_gate: False for o = 1.
      gate_activation: φ, a name of `jaxrnn.cells.ACTIVATIONS` or an elementwise function.
      candidate_activation: φ_g, alike.
      output_activation: φ_h, alike.
      gate_recurrence: whether each gate also sees all gates of the last step; the carry is
        then `LSTMGateCarry`.
      cell_clip: a bound on c, or None.
      proj_size: P, the size of a projected output: a positive int, or a fraction of H in
        (0, 1); None for no projection.
      projection_clip: a bound on the projected output, or None.
      forget_bias: what ``init`` adds to the bias of f by default: 1 if None and there is a
        forget gate and a bias. If it is coupled, it is subtracted from the bias of i, which
        does the same to f.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `LSTMParams` where there are all four blocks and no further kernels, else
      with `LSTMVariantParams`; its carry is `LSTMCarry` or `LSTMGateCarry`, its output h.

    Raises:
      TypeError: for a clip or a `proj_size` that is not a number.
      ValueError: for an unknown option, or two that exclude each other.

    Source: Greff et al. (2017), LSTM: a search space odyssey, arXiv:1503.04069, for the gates
    and the gate recurrence; Gers and Schmidhuber (2000), Recurrent nets that time and count,
    for the peepholes; Graves (2013), arXiv:1308.0850, whose notation suggests the full ones;
    Sak, Senior and Beaufays (2014), arXiv:1402.1128, for the projection.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.make_lstm(peepholes="diagonal", forget_gate="coupled", proj_size=2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 3)))
      >>> carry.c.shape, ys.shape
      ((5,), (7, 2))
      >>> jaxrnn.make_lstm() == jaxrnn.lstm
      True
    """
    spec = _checked(
        LSTMSpec(
            peepholes,
            input_gate,
            forget_gate,
            output_gate,
            named(gate_activation, "gate_activation"),
            named(candidate_activation, "candidate_activation"),
            named(output_activation, "output_activation"),
            gate_recurrence,
            cell_clip,
            proj_size,
            projection_clip,
            None if forget_bias == (1.0 if forget_gate and use_bias else 0.0) else forget_bias,
            use_bias,
        )
    )
    names, coupled = spec.blocks, forget_gate == "coupled"
    early = tuple(name for name in spec.gates if name != "o")
    late_o = peepholes is not None and output_gate
    phi = resolve(gate_activation, "gate_activation")
    phi_g = resolve(candidate_activation, "candidate_activation")
    phi_h = resolve(output_activation, "output_activation")

    def init(key: Array, input_size: int, hidden_size: int, **options: Any) -> Any:
        return _init(spec, key, input_size, hidden_size, **options)

    def carry(params: Any, batch_shape: tuple[int, ...] = ()) -> Any:
        kernel = params.recurrent_kernel
        h = zeros(batch_shape, kernel.shape[0], kernel.dtype)
        c = zeros(batch_shape, kernel.shape[1] // len(names), wide(kernel.dtype))
        if not gate_recurrence:
            return LSTMCarry(h, c)
        return LSTMGateCarry(h, c, **{name: jnp.zeros(c.shape, h.dtype) for name in spec.gates})

    def project(params: Any, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def peep(kernel: Array, c: Array) -> Array:
        """P c, for as many gates as there are blocks in p."""
        if peepholes == "full":
            return linear(c.astype(kernel.dtype), kernel)
        c = jnp.tile(c, kernel.shape[-1] // c.shape[-1])
        return jnp.broadcast_to(kernel.astype(c.dtype), c.shape) * c

    def recurrent(params: Any, s: Any) -> Array:
        z, size = linear(s.h, params.recurrent_kernel), s.c.shape[-1]
        if peepholes and early:
            kernel = params.peephole_kernel[..., : len(early) * size]
            z = _plus(z, names, peep(kernel, s.c), early)
        if gate_recurrence:
            last = jnp.concatenate([getattr(s, name) for name in spec.gates], axis=-1)
            z = _plus(z, names, linear(last, params.gate_kernel), spec.gates)
        return z

    def gated(params: Any, s: Any, z: Array) -> tuple[LSTMGates, Array]:
        """The gates, None where there is none, and c, which the last of them sees."""
        size = s.c.shape[-1]
        now = names[: len(names) - late_o]
        if spec.gate_activation == "sigmoid":
            kinds = "".join("t" if name == "g" else "s" for name in now)
            gate = dict(zip(now, gates(z[..., : len(now) * size], kinds), strict=True))
        else:
            gate = {name: phi(block) for name, block in _split(z, names).items() if name in now}
        if (spec.gate_activation, spec.candidate_activation) != ("sigmoid", "tanh"):
            gate["g"] = phi_g(_split(z, names)["g"])
        i = gate.get("i")
        f = 1 - gate["i"] if coupled else gate.get("f")
        c = _clip(_times(f, s.c) + _times(i, gate["g"]), cell_clip)
        if late_o:
            kernel = params.peephole_kernel[..., -size:]
            gate["o"] = phi(z[..., -size:] + peep(kernel, c))
        return LSTMGates(i, f, gate["g"], gate.get("o")), c

    def update(params: Any, s: Any, z: Array) -> Any:
        gate, c = gated(params, s, z)
        h = _times(gate.o, phi_h(c))
        if proj_size is not None:
            h = linear(h.astype(s.h.dtype), params.projection_kernel)
            h = _clip(h, projection_clip)
        h = h.astype(s.h.dtype)
        last = {k: getattr(gate, k).astype(h.dtype) for k in spec.gates if gate_recurrence}
        return s._replace(h=h, c=c, **last)

    most_g, most_h = limit(spec.candidate_activation), limit(spec.output_activation)

    def bounds(params: Any, start: Any, count: Any) -> Any:
        c = start.c + count * most_g
        h = jnp.full_like(start.h, inf)
        if proj_size is None:
            h = jnp.maximum(start.h, jnp.minimum(c, most_h))
        return start._replace(
            h=h, c=c, **{k: jnp.maximum(getattr(start, k), 1) for k in start._fields[2:]}
        )

    return Cell(
        name_of("lstm", spec),
        init,
        carry,
        project,
        recurrent,
        update,
        _h,
        gates=lambda *at: gated(*at)[0],
        bounds=bounds if between(spec.gate_activation) else None,
        spec=spec,
    )


def _h(params: Any, s: Any, z: Array) -> Array:
    return s.h


def _split(z: Array, names: tuple[str, ...]) -> dict[str, Array]:
    """The blocks of a fused leaf by name."""
    return dict(zip(names, jnp.split(z, len(names), axis=-1), strict=True))


def _plus(z: Array, names: tuple[str, ...], more: Array, of: tuple[str, ...]) -> Array:
    """A fused leaf with something added to some of its blocks."""
    blocks = _split(z, names)
    blocks |= {name: blocks[name] + block for name, block in _split(more, of).items()}
    return jnp.concatenate(list(blocks.values()), axis=-1)


def _times(gate: Array | None, z: Array) -> Array:
    return z if gate is None else gate * z


def _clip(z: Array, bound: float | None) -> Array:
    return z if bound is None else jnp.clip(z, -bound, bound)


def _init(
    spec: LSTMSpec,
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    dtype: DType = jnp.float32,
    kernel_init: initializers.Initializer = initializers.glorot,
    recurrent_init: initializers.Initializer = initializers.orthogonal,
    bias_init: initializers.Initializer = initializers.zeros,
    peephole_init: initializers.Initializer = initializers.zeros,
    forget_bias: float | None = None,
    use_bias: bool | None = None,
) -> LSTMParams | LSTMVariantParams:
    check_positive("input_size", input_size)
    check_positive("hidden_size", hidden_size)
    use_bias = spec.use_bias if use_bias is None else use_bias
    if forget_bias is None:
        forget_bias = spec.forget_bias
    if forget_bias is None:
        forget_bias = 1.0 if spec.forget_gate and use_bias else 0.0
    _check_forget_bias(forget_bias, spec.forget_gate, use_bias)
    coupled, size = spec.forget_gate == "coupled", hidden_size
    shifts = []
    if spec.forget_gate:
        at = spec.blocks.index("i" if coupled else "f")
        shifts.append((at, -forget_bias if coupled else forget_bias))
    out = _output_size(spec.proj_size, size)
    drawn = kernels(
        split(key, 3),
        (input_size, size),
        len(spec.blocks),
        dtype=dtype,
        kernel_init=kernel_init,
        recurrent_init=recurrent_init,
        bias_init=bias_init,
        use_bias=use_bias,
        shifts=shifts,
        output_size=out,
    )
    if spec.plain:
        return LSTMParams(*drawn)
    params, count = LSTMVariantParams(*drawn), len(spec.gates)
    k4, k5, k6 = (jax.random.fold_in(key, number) for number in range(3))
    if spec.peepholes:
        shape = (size, size) if spec.peepholes == "full" else (size,)
        peephole_kernel = initializers.blocks(peephole_init, k4, shape, count, dtype)
        params = params._replace(peephole_kernel=peephole_kernel)
    if spec.proj_size:
        params = params._replace(projection_kernel=recurrent_init(k5, (size, out), dtype))
    if spec.gate_recurrence:
        keys = split(k6, count)
        rows = [initializers.blocks(recurrent_init, k, (size, size), count, dtype) for k in keys]
        params = params._replace(gate_kernel=jnp.concatenate(rows))
    return params


def _output_size(proj_size: int | float | None, hidden_size: int) -> int:
    if isinstance(proj_size, float):
        return max(1, round(proj_size * hidden_size))
    return proj_size or hidden_size


def _checked(spec: LSTMSpec) -> LSTMSpec:
    """The arguments of `make_lstm`, or the error that says which of them is wrong."""
    check_choice("peepholes", spec.peepholes, (None, "diagonal", "full"))
    check_choice("forget_gate", spec.forget_gate, (True, False, "coupled"))
    for name in ("input_gate", "output_gate", "gate_recurrence"):
        check_choice(name, getattr(spec, name), (True, False))
    check_bool("use_bias", spec.use_bias)
    _check_bound("cell_clip", spec.cell_clip)
    _check_bound("projection_clip", spec.projection_clip)
    _check_size("proj_size", spec.proj_size)
    if spec.forget_gate == "coupled" and not spec.input_gate:
        raise ValueError("forget_gate='coupled' is 1 - i: it excludes input_gate=False")
    if spec.projection_clip is not None and spec.proj_size is None:
        raise ValueError("projection_clip bounds the projection: it excludes proj_size=None")
    _check_forget_bias(spec.forget_bias or 0.0, spec.forget_gate, spec.use_bias)
    if not spec.gates:
        for name in ("peepholes", "gate_recurrence"):
            if value := getattr(spec, name):
                raise ValueError(
                    f"{name}={value!r} needs a gate: it excludes input_gate=False, "
                    "forget_gate=False and output_gate=False together"
                )
    return spec


def _check_bound(argument: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument}: expected a positive number or None, got {value!r}")
    if not float(value) > 0:
        raise ValueError(f"{argument}: expected a positive number or None, got {value!r}")


def _check_size(argument: str, value: Any) -> None:
    if value is not None and not (isinstance(value, float) and 0 < value < 1):
        if isinstance(value, float):
            raise ValueError(f"{argument}: expected an int or a fraction in (0, 1), got {value}")
        check_positive(argument, value)


def _check_forget_bias(forget_bias: float, forget_gate: Any, use_bias: bool) -> None:
    if forget_bias and not forget_gate:
        raise ValueError(
            f"forget_bias={forget_bias} needs a forget gate: it excludes forget_gate=False"
        )
    if forget_bias and not use_bias:
        raise ValueError(f"forget_bias={forget_bias} needs a bias: it excludes use_bias=False")


lstm: Cell[LSTMParams, LSTMCarry] = make_lstm()
r"""The LSTM with a forget gate, its four gates in one kernel.

.. math::
    i, f, o &= \sigma(W_{i,f,o}\, x_t + R_{i,f,o}\, h_{t-1} + b_{i,f,o}) \\
    g &= \tanh(W_g x_t + R_g h_{t-1} + b_g) \\
    c_t &= f \odot c_{t-1} + i \odot g \\
    h_t &= o \odot \tanh(c_t)

Params `LSTMParams`, carry `LSTMCarry`, output h. ``lstm.init`` takes ``kernel_init``
(glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros), ``forget_bias`` (1.0,
added to the block f) and ``use_bias``.

Source: Hochreiter and Schmidhuber (1997), Long short-term memory; Gers, Schmidhuber and
Cummins (2000), Learning to forget.
"""
