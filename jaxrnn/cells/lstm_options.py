"""The long short-term memory with options that combine; see `lstm_variants` for named ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Carry, Cell, DType, Params
from jaxrnn.cells.blocks import ACTIVATIONS, gates, linear, tanh, wide
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.lstm import LSTMCarry, LSTMGates, LSTMParams, lstm
from jaxrnn.checks import check_choice, check_positive, sized

__all__ = ["LSTMGateCarry", "LSTMVariantParams", "make_lstm"]


class LSTMVariantParams(NamedTuple):
    """Parameters of an LSTM that has fewer gates, or more kernels, than the plain one.

    The blocks are in the order i, f, g, o without the gates that the cell lacks: K of them,
    and without the candidate g: M.

    Attributes:
      input_kernel: W, ``(D, KH)``.
      recurrent_kernel: R, ``(P, KH)``, P the output size: H without a projection.
      bias: b, ``(KH,)``.
      peephole_kernel: p, ``(MH,)`` if diagonal, ``(H, MH)`` if full; None without peepholes.
      projection_kernel: ``(H, P)``; None without a projection.
      gate_kernel: of the gates of the last step, ``(MH, MH)``; None without gate recurrence.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm_cifg.init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.peephole_kernel.shape
      ((3, 15), (10,))
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array
    peephole_kernel: Array | None = None
    projection_kernel: Array | None = None
    gate_kernel: Array | None = None


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
      >>> params = jaxrnn.lstm_fgr.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.lstm_fgr.carry(params, (2,)).o.shape
      (2, 5)
    """

    h: Array
    c: Array
    i: Array | None = None
    f: Array | None = None
    o: Array | None = None


class _Options(NamedTuple):
    """The checked arguments of `make_lstm`; equal functions have equal options."""

    peepholes: Literal["diagonal", "full"] | None = None
    input_gate: bool = True
    forget_gate: bool | Literal["coupled"] = True
    output_gate: bool = True
    candidate_activation: str | Callable[[Array], Array] = "tanh"
    output_activation: str | Callable[[Array], Array] = "tanh"
    gate_recurrence: bool = False
    cell_clip: float | None = None
    proj_size: int | float | None = None
    projection_clip: float | None = None
    forget_bias: float = 1.0


def make_lstm(
    *,
    peepholes: Literal["diagonal", "full"] | None = None,
    input_gate: bool = True,
    forget_gate: bool | Literal["coupled"] = True,
    output_gate: bool = True,
    candidate_activation: str | Callable[[Array], Array] = "tanh",
    output_activation: str | Callable[[Array], Array] = "tanh",
    gate_recurrence: bool = False,
    cell_clip: float | None = None,
    proj_size: int | float | None = None,
    projection_clip: float | None = None,
    forget_bias: float | None = None,
) -> Cell:
    r"""An LSTM, with the options chosen.

    .. math::
        a &= W x_t + R h_{t-1} + b
            && {} + G\,[i_{t-1}, f_{t-1}, o_{t-1}] \text{ for } i, f, o
            \text{ with gate recurrence} \\
        i &= \sigma(a_i + p_i\, c_{t-1}) && \text{or } 1 \\
        f &= \sigma(a_f + p_f\, c_{t-1}) && \text{or } 1 \text{, or } 1 - i \text{ if coupled} \\
        g &= \varphi_g(a_g) \\
        c_t &= f \odot c_{t-1} + i \odot g && \text{clipped to} \pm \text{cell\_clip} \\
        o &= \sigma(a_o + p_o\, c_t) && \text{or } 1 \\
        m &= o \odot \varphi_h(c_t) \\
        h_t &= m && \text{or } W_r\, m \text{, clipped to} \pm \text{projection\_clip}

    The peephole term :math:`p\,c` is absent, a product by element (diagonal) or by a matrix
    (full). Equal options give the same `Cell`; without any it is `jaxrnn.lstm` itself.

    ``init`` takes ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal, also for the
    projection and the gate kernel), ``bias_init`` (zeros), ``peephole_init`` (zeros, so that
    the cell starts as one without) and ``forget_bias``.

    Args:
      peepholes: whether the gates see the cell: None, ``"diagonal"`` or ``"full"``.
      input_gate: False for i = 1.
      forget_gate: False for f = 1, ``"coupled"`` for f = 1 − i. (The coupling i = 1 − f is
        this one with the gate's parameters negated, since 1 − σ(a) = σ(−a).)
      output_gate: False for o = 1.
      candidate_activation: φ_g, a name of `jaxrnn.cells.ACTIVATIONS` or an elementwise
        function.
      output_activation: φ_h, alike.
      gate_recurrence: whether each gate also sees all gates of the last step; the carry is
        then `LSTMGateCarry`.
      cell_clip: a bound on c, or None.
      proj_size: P, the size of a projected output: a positive int, or a fraction of H in
        (0, 1); None for no projection.
      projection_clip: a bound on the projected output, or None.
      forget_bias: what ``init`` adds to the bias of f by default: 1 if None and there is a
        forget gate. If it is coupled, it is subtracted from the bias of i, which does the
        same to f.

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
      >>> jaxrnn.make_lstm() is jaxrnn.lstm
      True
    """
    check_choice("peepholes", peepholes, (None, "diagonal", "full"))
    check_choice("input_gate", input_gate, (True, False))
    check_choice("forget_gate", forget_gate, (True, False, "coupled"))
    check_choice("output_gate", output_gate, (True, False))
    check_choice("gate_recurrence", gate_recurrence, (True, False))
    _check_bound("cell_clip", cell_clip)
    _check_bound("projection_clip", projection_clip)
    _check_size("proj_size", proj_size)
    if forget_gate == "coupled" and not input_gate:
        raise ValueError("forget_gate='coupled' is 1 - i: it excludes input_gate=False")
    if projection_clip is not None and proj_size is None:
        raise ValueError("projection_clip bounds the projection: it excludes proj_size=None")
    if forget_bias is None:
        forget_bias = 1.0 if forget_gate else 0.0
    _check_forget_bias(forget_bias, forget_gate)
    if not (input_gate or forget_gate or output_gate):
        for name, value in (("peepholes", peepholes), ("gate_recurrence", gate_recurrence)):
            if value:
                raise ValueError(
                    f"{name}={value!r} needs a gate: it excludes input_gate=False, "
                    "forget_gate=False and output_gate=False together"
                )
    return _make(
        _Options(
            peepholes,
            input_gate,
            forget_gate,
            output_gate,
            _named(candidate_activation, "candidate_activation"),
            _named(output_activation, "output_activation"),
            gate_recurrence,
            cell_clip,
            proj_size,
            projection_clip,
            forget_bias,
        )
    )


def _check_bound(argument: str, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument}: expected a positive number or None, got {value!r}")
    if not value > 0:
        raise ValueError(f"{argument}: expected a positive number or None, got {value!r}")


def _check_size(argument: str, value: Any) -> None:
    if value is not None and not (isinstance(value, float) and 0 < value < 1):
        if isinstance(value, float):
            raise ValueError(f"{argument}: expected an int or a fraction in (0, 1), got {value}")
        check_positive(argument, value)


def _check_forget_bias(forget_bias: float, forget_gate: Any) -> None:
    if forget_bias and not forget_gate:
        raise ValueError(
            f"forget_bias={forget_bias} needs a forget gate: it excludes forget_gate=False"
        )


def _named(phi: str | Callable[[Array], Array], argument: str) -> str | Callable[[Array], Array]:
    """The activation's name where it has one, so that equal options compare equal."""
    known = {function: name for name, function in ACTIVATIONS.items()}
    return known.get(function := resolve(phi, argument), function)


@cache
def _make(options: _Options) -> Cell:
    if options == _Options():
        return lstm
    peepholes, coupled = options.peepholes, options.forget_gate == "coupled"
    own = (options.input_gate, options.forget_gate and not coupled, options.output_gate)
    gate_names = "".join(name for name, there in zip("ifo", own, strict=True) if there)
    early = gate_names.replace("o", "")  # the gates that see the cell before its update
    names = early + "g" + gate_names[len(early) :]  # the blocks
    kinds = "".join("t" if name == "g" else "s" for name in names)
    late_o = bool(peepholes) and options.output_gate
    plain = names == "ifgo" and not (peepholes or options.proj_size or options.gate_recurrence)
    phi_g = resolve(options.candidate_activation, "candidate_activation")
    phi_h = resolve(options.output_activation, "output_activation")

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = initializers.orthogonal,
        bias_init: initializers.Initializer = initializers.zeros,
        peephole_init: initializers.Initializer = initializers.zeros,
        forget_bias: float = options.forget_bias,
    ) -> LSTMParams | LSTMVariantParams:
        _check_forget_bias(forget_bias, options.forget_gate)
        k1, k2, k3 = jax.random.split(key, 3)  # as in the plain LSTM: the same draws
        k4, k5, k6 = (jax.random.fold_in(key, number) for number in range(3))
        size, square, further = hidden_size, (hidden_size, hidden_size), len(gate_names)
        out = _output_size(options.proj_size, size)
        bias = initializers.blocks(bias_init, k3, (size,), len(names), dtype)
        if options.forget_gate:
            at = names.index("i" if coupled else "f") * size
            bias = bias.at[at : at + size].add(-forget_bias if coupled else forget_bias)
        params = LSTMVariantParams(
            initializers.blocks(kernel_init, k1, (input_size, size), len(names), dtype),
            initializers.blocks(recurrent_init, k2, (out, size), len(names), dtype),
            bias,
        )
        if peepholes:
            shape = square if peepholes == "full" else (size,)
            peephole_kernel = initializers.blocks(peephole_init, k4, shape, further, dtype)
            params = params._replace(peephole_kernel=peephole_kernel)
        if options.proj_size:
            params = params._replace(projection_kernel=recurrent_init(k5, (size, out), dtype))
        if options.gate_recurrence:
            keys = jax.random.split(k6, further)
            rows = [initializers.blocks(recurrent_init, k, square, further, dtype) for k in keys]
            params = params._replace(gate_kernel=jnp.concatenate(rows))
        return LSTMParams(*params[:3]) if plain else params

    def hidden(params: Params) -> int:
        return params.bias.shape[0] // len(names)

    def carry(params: Params, batch_shape: tuple[int, ...] = ()) -> Carry:
        size, dtype = hidden(params), params.recurrent_kernel.dtype
        h = jnp.zeros((*batch_shape, params.recurrent_kernel.shape[0]), dtype)
        c = jnp.zeros((*batch_shape, size), wide(dtype))
        if not options.gate_recurrence:
            return LSTMCarry(h, c)
        return LSTMGateCarry(h, c, **{k: jnp.zeros(c.shape, dtype) for k in gate_names})

    def project(params: Params, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def peep(kernel: Array, c: Array) -> Array:
        if peepholes == "full":
            return linear(c.astype(kernel.dtype), kernel)
        return kernel.astype(c.dtype) * jnp.tile(c, kernel.shape[-1] // c.shape[-1])

    def add(z: Array, to: str, what: Array) -> Array:
        blocks = dict(zip(names, jnp.split(z, len(names), axis=-1), strict=True))
        for name, block in zip(to, jnp.split(what, len(to), axis=-1), strict=True):
            blocks[name] += block
        return jnp.concatenate(list(blocks.values()), axis=-1)

    def recurrent(params: Params, carry: Carry) -> Array:
        z = linear(carry.h, params.recurrent_kernel)
        if peepholes and early:
            kernel = params.peephole_kernel[..., : len(early) * carry.c.shape[-1]]
            z = add(z, early, peep(kernel, carry.c))
        if options.gate_recurrence:
            last = jnp.concatenate([getattr(carry, name) for name in gate_names], axis=-1)
            z = add(z, gate_names, linear(last, params.gate_kernel))
        return z

    def gated(params: Params, carry: Carry, zx: Array, zh: Array) -> tuple[LSTMGates, Array]:
        """The gates, None where there is none, and c, which the last of them sees."""
        z, size = zx + zh, carry.c.shape[-1]
        count = len(names) - late_o
        gate = dict(zip(names[:count], gates(z[..., : count * size], kinds[:count]), strict=True))
        i = gate.get("i")
        f = 1 - gate["i"] if coupled else gate.get("f")
        g = gate["g"]
        if phi_g is not tanh:
            g = phi_g(z[..., len(early) * size :][..., :size])
        c = _clip(_times(f, carry.c) + _times(i, g), options.cell_clip)
        if late_o:
            kernel = params.peephole_kernel[..., -size:]
            gate["o"] = jax.nn.sigmoid(z[..., -size:] + peep(kernel, c))
        return LSTMGates(i, f, g, gate.get("o")), c

    def update(params: Params, carry: Carry, zx: Array, zh: Array) -> tuple[Carry, Array]:
        gate, c = gated(params, carry, zx, zh)
        h = _times(gate.o, phi_h(c))
        if options.proj_size:
            h = linear(h.astype(carry.h.dtype), params.projection_kernel)
            h = _clip(h, options.projection_clip)
        h = h.astype(carry.h.dtype)
        if not options.gate_recurrence:
            return LSTMCarry(h, c), h
        last = {k: getattr(gate, k).astype(h.dtype) for k in gate_names}
        return LSTMGateCarry(h, c, **last), h

    function = options._replace(forget_bias=1.0)  # which changes no function
    values = zip(options._fields, function, _Options(), strict=True)
    chosen = tuple((name, value) for name, value, default in values if value != default)
    name = f"lstm({', '.join(f'{option}={value!r}' for option, value in chosen)})"
    return Cell(
        name,
        init,
        carry,
        project,
        recurrent,
        update,
        hidden_size=hidden,
        options=chosen,
        gates=lambda *args: gated(*args)[0],
    )


def _output_size(proj_size: int | float | None, hidden_size: int) -> int:
    if isinstance(proj_size, float):
        return max(1, round(proj_size * hidden_size))
    return proj_size or hidden_size


def _times(gate: Array | None, z: Array) -> Array:
    return z if gate is None else gate * z


def _clip(z: Array, bound: float | None) -> Array:
    return z if bound is None else jnp.clip(z, -bound, bound)
