"""The ladder from a first idea of gates to the LSTM: what to write, to read and to forget.

Each rung reads its state through one gate, writes to it through another and forgets through a
third. They differ in what keeps the state bounded; see `make_prototype`. The rungs above are
`jaxrnn.gru_reset_before`, which bounds it by forget = 1 − write, and `jaxrnn.lstm`, which
writes before it reads and so needs the shadow state h.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, once
from jaxrnn.cells.blocks import gates, linear, tanh, wide
from jaxrnn.cells.lstm import LSTMGates
from jaxrnn.checks import check_choice, sized

__all__ = [
    "PrototypeParams",
    "lstm_prototype",
    "lstm_prototype_normalized",
    "lstm_pseudo",
    "make_prototype",
]


class PrototypeParams(NamedTuple):
    """Parameters of a prototype; the blocks are in the order i, f, o, g: the candidate last.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, ``(H, 4H)``.
      bias: b, ``(4H,)``.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.lstm_prototype.init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 20)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


@once
def make_prototype(*, bound: Literal["normalize", "squash"] | None = None, axis: int = -1) -> Cell:
    r"""A prototype of the LSTM, which reads its state before it writes.

    .. math::
        q &= s_{t-1} \quad \text{or } \tanh(s_{t-1}) \text{ to squash} \\
        i, f, o &= \sigma(W_{i,f,o}\, x_t + R_{i,f,o}\, q + b_{i,f,o}) \\
        g &= \tanh(W_g x_t + R_g (o \odot q) + b_g) \\
        s_t &= f \odot s_{t-1} + i \odot g
            \quad \text{and then} \div \sqrt{\mathrm{Var}(s_t) + 1} \text{ to normalize} \\
        y_t &= s_t \quad \text{or } \tanh(s_t) \text{ to squash}

    The carry is s, ``(*batch, H)``, float32 for the half types. Without a bound it can grow by
    up to 1 with every step. The candidate's product reads the gate o, so it stays inside the
    loop's update.

    Args:
      bound: None, ``"normalize"`` the state (by its biased variance, without subtracting the
        mean and without a gain), or ``"squash"`` it whenever it is read (the pseudo-LSTM).
      axis: the axis of the variance, counted from the end: −1 is the features, −2 the last
        batch axis, whose rows then depend on each other, padding included.

    Returns:
      A `Cell` with `PrototypeParams`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and ``forget_bias`` (1.0, added to
      the block f).

    Raises:
      ValueError: for an unknown bound, an axis that is not counted from the end, or one where
        nothing is normalized.

    Source: R2RT (2016), Written memories: understanding, deriving and extending the LSTM.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.make_prototype(bound="squash")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> s, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> bool(jax.numpy.allclose(y, jax.numpy.tanh(s)))
      True
    """
    check_choice("bound", bound, (None, "normalize", "squash"))
    if axis >= 0:
        raise ValueError(f"axis: expected a negative one, counted from the end, got {axis}")
    if axis != -1 and bound != "normalize":
        raise ValueError(f"axis={axis} is of the normalization: it excludes bound={bound!r}")

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
        forget_bias: float = 1.0,
    ) -> PrototypeParams:
        k1, k2, k3 = jax.random.split(key, 3)
        bias = initializers.blocks(bias_init, k3, (hidden_size,), 4, dtype)
        return PrototypeParams(
            initializers.blocks(kernel_init, k1, (input_size, hidden_size), 4, dtype),
            initializers.blocks(recurrent_init, k2, (hidden_size, hidden_size), 4, dtype),
            bias.at[hidden_size : 2 * hidden_size].add(forget_bias),
        )

    def carry(params: PrototypeParams, batch_shape: tuple[int, ...] = ()) -> Array:
        kernel = params.recurrent_kernel
        return jnp.zeros((*batch_shape, kernel.shape[0]), wide(kernel.dtype))

    def read(s: Array) -> Array:
        return tanh(s) if bound == "squash" else s

    def project(params: PrototypeParams, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def gate_product(params: PrototypeParams, q: Array) -> Array:
        kernel = params.recurrent_kernel[:, : 3 * q.shape[-1]]
        return linear(q.astype(kernel.dtype), kernel)

    def recurrent_nothing(params: PrototypeParams, s: Array) -> None:
        """What is read of a squashed state is not linear in it."""

    def gated(params: PrototypeParams, s: Array, zx: Array, zh: Array | None) -> LSTMGates:
        q, kernel, size = read(s), params.recurrent_kernel, s.shape[-1]
        zh = gate_product(params, q) if zh is None else zh
        i, f, o = gates(zx[..., : 3 * size] + zh, "sss")
        read_q = (o * q).astype(kernel.dtype)
        g = tanh(zx[..., 3 * size :] + linear(read_q, kernel[:, 3 * size :]))
        return LSTMGates(i, f, g, o)

    def update(
        params: PrototypeParams, s: Array, zx: Array, zh: Array | None
    ) -> tuple[Array, Array]:
        i, f, g, _ = gated(params, s, zx, zh)
        s = f * s + i * g
        if bound == "normalize":
            s = s / jnp.sqrt(jnp.var(s, axis=axis, keepdims=True) + 1)
        return s, read(s).astype(params.recurrent_kernel.dtype)

    name = {None: "lstm_prototype", "normalize": "lstm_prototype_normalized"}.get(
        bound, "lstm_pseudo"
    )
    recurrent = recurrent_nothing if bound == "squash" else gate_product
    pairs = (("bound", bound, None), ("axis", axis, -1))
    options = tuple((option, value) for option, value, default in pairs if value != default)
    return Cell(name, init, carry, project, recurrent, update, options=options, gates=gated)


lstm_prototype = make_prototype()
r"""The first rung, read then write: :math:`s_t = f \odot s_{t-1} + i \odot g` with
:math:`g = \tanh(W_g x_t + R_g (o \odot s_{t-1}) + b_g)`, and nothing to bound s.
"""

lstm_prototype_normalized = make_prototype(bound="normalize")
r"""`lstm_prototype` with its new state divided by :math:`\sqrt{\mathrm{Var}(s_t) + 1}` over the
features.
"""

lstm_pseudo = make_prototype(bound="squash")
r"""`lstm_prototype` with :math:`\tanh(s)` in place of s wherever the state is read, by the next
step or as the output: the pseudo-LSTM. The carry is the raw s.
"""
