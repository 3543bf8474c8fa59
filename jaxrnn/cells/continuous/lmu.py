"""The Legendre memory unit, LMU."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import linear, tanh, wide
from jaxrnn.checks import check_bool, check_positive, check_real, sized

__all__ = [
    "LMUCarry",
    "LMUParams",
    "LMUPreActivations",
    "LMUSpec",
    "legendre_delay",
    "lmu",
    "make_lmu",
]

_lecun: initializers.Initializer = jax.nn.initializers.lecun_uniform()
_glorot_normal: initializers.Initializer = jax.nn.initializers.glorot_normal()


class LMUParams(NamedTuple):
    """Parameters of an LMU, whose memory has N coefficients.

    Attributes:
      input_kernel: W, ``(D, H)``.
      recurrent_kernel: R, ``(H, H)``.
      memory_kernel: M, ``(N, H)``.
      input_encoder: e_x, ``(D, 1)``.
      recurrent_encoder: e_h, ``(H, 1)``.
      memory_encoder: e_m, ``(N, 1)``.
      bias: b, ``(H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.lmu.init(jax.random.key(0), 3, 5).memory_kernel.shape
      (8, 5)
    """

    input_kernel: Array
    recurrent_kernel: Array
    memory_kernel: Array
    input_encoder: Array
    recurrent_encoder: Array
    memory_encoder: Array
    bias: Array | None = None


class LMUCarry(NamedTuple):
    """State of an LMU.

    Attributes:
      h: hidden state, ``(*batch, H)``, the output.
      m: the memory, ``(*batch, N)``, float32 for the half types.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.lmu
      >>> cell.carry(cell.init(jax.random.key(0), 3, 5), (2,)).m.shape
      (2, 8)
    """

    h: Array
    m: Array


class LMUPreActivations(NamedTuple):
    """What an LMU's next state is made of.

    Attributes:
      h: the argument of the tanh, ``(..., H)``.
      m: the new memory, ``(..., N)``.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.lmu
      >>> cell.project(cell.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).m.shape
      (8,)
    """

    h: Array
    m: Array


class LMUSpec(NamedTuple):
    """What `make_lmu` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.lmu.spec.theta
      32.0
    """

    order: int = 8
    theta: float = 32.0
    use_bias: bool = False

    def make(self) -> Cell[LMUParams, LMUCarry]:
        """The cell."""
        return make_lmu(**self._asdict())


def legendre_delay(order: int, theta: float) -> tuple[np.ndarray, np.ndarray]:
    r"""The linear system whose state holds the last theta steps of its input, for steps of 1.

    .. math::
        A_{ij} = \frac{2i + 1}{\theta} \begin{cases} -1 & i < j \\ (-1)^{i-j+1} & i \ge j
        \end{cases}, \qquad B_i = \frac{(2i + 1)(-1)^i}{\theta}

    held over each step (zero-order hold): :math:`\bar A = e^A` and
    :math:`\bar B = A^{-1}(e^A - I) B`, both out of one exponential.

    Args:
      order: N, how many Legendre polynomials.
      theta: θ, the length of the window in steps.

    Returns:
      Ā, ``(N, N)``, for columns: :math:`m_t = \bar A m_{t-1} + \bar B u_t`, and B̄, ``(N,)``,
      both float64.

    Source: Voelker, Kajić and Eliasmith (2019), Legendre memory units: continuous-time
    representation in recurrent neural networks.

    Example:
      >>> from jaxrnn.cells.continuous import legendre_delay
      >>> legendre_delay(2, 4.0)[1].round(6).tolist()
      [0.282491, -0.44548]
    """
    n = np.arange(order)
    scale = (2 * n + 1.0) / theta
    below = n[:, None] - n
    a = np.where(below < 0, -1.0, (-1.0) ** (below + 1)) * scale[:, None]
    system = np.zeros((order + 1, order + 1))
    system[:order, :order], system[:order, order] = a, (-1.0) ** n * scale
    exponential = _exponential(system)
    return exponential[:order, :order], exponential[:order, order]


def _exponential(a: np.ndarray) -> np.ndarray:
    """The matrix exponential: a Taylor series of a small part of it, squared back."""
    halvings = max(0, math.ceil(math.log2(np.abs(a).sum(axis=1).max())) + 1)
    term = total = np.eye(len(a))
    for k in range(1, 20):  # of at most 1/2 in norm: what is left out is below 1e-24
        term = term @ (a / 2**halvings) / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    return total


@documented
def make_lmu(
    order: int = 8, theta: float = 32.0, *, use_bias: bool = False
) -> Cell[LMUParams, LMUCarry]:
    r"""An LMU: a linear memory of the last theta steps of one signal, and a tanh that reads it.

    .. math::
        u_t &= e_x^\top x_t + e_h^\top h_{t-1} + e_m^\top m_{t-1} \\
        m_t &= \bar A\, m_{t-1} + \bar B\, u_t \\
        h_t &= \tanh(W x_t + R h_{t-1} + M m_t + b)

    m holds the last θ values of u by their first N Legendre polynomials; Ā and B̄ are constants,
    see `legendre_delay`. Everything under the tanh is affine in the state, so no product is left
    in the update. The carry is `LMUCarry`, the output h.

    Args:
      order: N, how many polynomials.
      theta: θ, the length of the window in steps.
      use_bias: whether ``init`` gives a b by default; the paper has none.

    Returns:
      A `Cell` with `LMUParams`. Its ``init`` takes ``kernel_init`` and ``recurrent_init`` (of
      W and M, and of R; Glorot's normal), ``encoder_init`` (of e_x and e_h, LeCun's uniform),
      ``memory_encoder_init`` (of e_m, zeros), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for an order that is no int, or a theta that is no number.
      ValueError: for one that is not positive.

    Source: Voelker, Kajić and Eliasmith (2019), Legendre memory units: continuous-time
    representation in recurrent neural networks.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_lmu(order=4, theta=10)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 2, 3)))
      >>> carry.m.shape, ys.shape
      ((2, 4), (7, 2, 5))
    """
    check_positive("order", order)
    check_bool("use_bias", use_bias)
    check_real("theta", theta, above=0)
    spec = LMUSpec(int(order), float(theta), use_bias)
    a, b = legendre_delay(spec.order, spec.theta)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = _glorot_normal,
        recurrent_init: initializers.Initializer = _glorot_normal,
        encoder_init: initializers.Initializer = _lecun,
        memory_encoder_init: initializers.Initializer = initializers.zeros,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
    ) -> LMUParams:
        keys = split(key, 7)
        return LMUParams(
            kernel_init(keys[0], (input_size, hidden_size), dtype),
            recurrent_init(keys[1], (hidden_size, hidden_size), dtype),
            kernel_init(keys[2], (spec.order, hidden_size), dtype),
            encoder_init(keys[3], (input_size, 1), dtype),
            encoder_init(keys[4], (hidden_size, 1), dtype),
            memory_encoder_init(keys[5], (spec.order, 1), dtype),
            bias_init(keys[6], (hidden_size,), dtype) if use_bias else None,
        )

    def carry(params: LMUParams, batch_shape: tuple[int, ...] = ()) -> LMUCarry:
        kernel = params.recurrent_kernel
        h = zeros(batch_shape, kernel.shape[0], kernel.dtype)
        return LMUCarry(h, zeros(batch_shape, spec.order, wide(kernel.dtype)))

    def read(params: LMUParams, h: Array, m: Array) -> LMUPreActivations:
        kernel = params.memory_kernel
        return LMUPreActivations(h + linear(m.astype(kernel.dtype), kernel), m)

    def written(u: Array) -> Array:
        row = jnp.asarray(b, u.dtype)
        return u * row.reshape((1,) * (u.ndim - 1) + row.shape)

    def project(params: LMUParams, x: Array) -> LMUPreActivations:
        h = linear(x, params.input_kernel, params.bias)
        return read(params, h, written(linear(x, params.input_encoder)))

    def recurrent(params: LMUParams, carry: LMUCarry) -> LMUPreActivations:
        h, m = carry
        kernel = params.memory_encoder
        u = linear(h, params.recurrent_encoder) + linear(m.astype(kernel.dtype), kernel)
        kept = linear(m, jnp.asarray(a.T, m.dtype))
        return read(params, linear(h, params.recurrent_kernel), kept + written(u))

    def update(params: LMUParams, carry: LMUCarry, z: LMUPreActivations) -> LMUCarry:
        return LMUCarry(tanh(z.h).astype(carry.h.dtype), z.m)

    def output(params: LMUParams, carry: LMUCarry, z: LMUPreActivations) -> Array:
        return carry.h

    def bounds(params: LMUParams, start: LMUCarry, count: Any) -> LMUCarry:
        return LMUCarry(jnp.maximum(start.h, 1), jnp.full_like(start.m, jnp.inf))

    name = name_of("lmu", spec)
    return Cell(name, init, carry, project, recurrent, update, output, bounds=bounds, spec=spec)


lmu = make_lmu()
r"""The Legendre memory unit of 8 polynomials over 32 steps; `make_lmu` has others.

.. math::
    u_t &= e_x^\top x_t + e_h^\top h_{t-1} + e_m^\top m_{t-1} \\
    m_t &= \bar A\, m_{t-1} + \bar B\, u_t \\
    h_t &= \tanh(W x_t + R h_{t-1} + M m_t)

Params `LMUParams`, carry `LMUCarry`, output h.
"""
