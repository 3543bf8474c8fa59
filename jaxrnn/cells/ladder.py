"""The ladder from a first idea of gates to the LSTM: what to write, to read and to forget.

Each rung reads its state through one gate, writes to it through another and forgets through a
third. They differ in what keeps the state bounded; see `make_prototype`. The rungs above are
`jaxrnn.cells.gru_reset_before`, which bounds it by forget = 1 − write, and `jaxrnn.lstm`, which
writes before it reads and so needs the shadow state h.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import gates, kernels, linear, tanh, wide
from jaxrnn.cells.lstm_records import LSTMGates
from jaxrnn.checks import check_bool, check_choice, sized

__all__ = [
    "PrototypeParams",
    "PrototypePreActivations",
    "PrototypeSpec",
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
      bias: b, ``(4H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.lstm_prototype.init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 20)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class PrototypePreActivations(NamedTuple):
    """Pre-activations of a prototype.

    Attributes:
      ifo: of the three gates together, ``(..., 3H)``.
      g: the candidate's part from the input, ``(..., H)``.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.lstm_prototype
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.project(params, jax.numpy.ones(3)).ifo.shape
      (15,)
    """

    ifo: Any
    g: Any = None


class PrototypeSpec(NamedTuple):
    """What `make_prototype` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.lstm_pseudo.spec.bound
      'squash'
    """

    bound: Literal["normalize", "squash"] | None = None
    axis: int = -1
    use_bias: bool = True

    def make(self) -> Cell[PrototypeParams, Array]:
        """The cell."""
        return make_prototype(**self._asdict())


@documented
def make_prototype(
    *,
    bound: Literal["normalize", "squash"] | None = None,
    axis: int = -1,
    use_bias: bool = True,
) -> Cell[PrototypeParams, Array]:
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
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `PrototypeParams`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (orthogonal), ``bias_init`` (zeros), ``forget_bias`` (1.0, added to
      the block f) and ``use_bias``.

    Raises:
      ValueError: for an unknown bound, an axis that is not counted from the end, or one where
        nothing is normalized.

    Source: R2RT (2016), Written memories: understanding, deriving and extending the LSTM.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_prototype(bound="squash")
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

    check_bool("use_bias", use_bias)
    spec = PrototypeSpec(bound, axis, use_bias)

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
        use_bias: bool = spec.use_bias,
    ) -> PrototypeParams:
        drawn = kernels(
            split(key, 3),
            (input_size, hidden_size),
            4,
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            use_bias=use_bias,
            shifts=[(1, forget_bias)],
        )
        return PrototypeParams(*drawn)

    def carry(params: PrototypeParams, batch_shape: tuple[int, ...] = ()) -> Array:
        kernel = params.recurrent_kernel
        return zeros(batch_shape, kernel.shape[0], wide(kernel.dtype))

    def read(s: Array) -> Array:
        return tanh(s) if bound == "squash" else s

    def project(params: PrototypeParams, x: Array) -> PrototypePreActivations:
        z = linear(x, params.input_kernel, params.bias)
        return PrototypePreActivations(*jnp.split(z, (3 * (z.shape[-1] // 4),), axis=-1))

    def gate_product(params: PrototypeParams, q: Array) -> PrototypePreActivations:
        kernel = params.recurrent_kernel[:, : 3 * q.shape[-1]]
        return PrototypePreActivations(linear(q.astype(kernel.dtype), kernel))

    def nothing(params: PrototypeParams, s: Array) -> None:
        """What is read of a squashed state is not affine in it."""

    def gated(params: PrototypeParams, s: Array, a: PrototypePreActivations) -> LSTMGates:
        q, kernel, ifo = read(s), params.recurrent_kernel, a.ifo
        if bound == "squash":
            ifo = ifo + gate_product(params, q).ifo
        i, f, o = gates(ifo, "sss")
        g = tanh(a.g + linear((o * q).astype(kernel.dtype), kernel[:, 3 * s.shape[-1] :]))
        return LSTMGates(i, f, g, o)

    def update(params: PrototypeParams, s: Array, a: PrototypePreActivations) -> Array:
        i, f, g, _ = gated(params, s, a)
        s = f * s + i * g
        if bound == "normalize":
            s = s / jnp.sqrt(jnp.var(s, axis=axis, keepdims=True) + 1)
        return s

    def output(params: PrototypeParams, s: Array, a: PrototypePreActivations) -> Array:
        return read(s).astype(params.recurrent_kernel.dtype)

    def bounds(params: PrototypeParams, start: Array, count: Any) -> Array:
        return start + count

    recurrent = nothing if bound == "squash" else gate_product
    return Cell(
        name_of("prototype", spec),
        init,
        carry,
        project,
        recurrent,
        update,
        output,
        gates=gated,
        bounds=bounds,
        spec=spec,
    )


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
