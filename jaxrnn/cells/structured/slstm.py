"""The sLSTM: exponential gates, a normalizer, and heads that do not see each other."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import kernels, linear, tanh, wide
from jaxrnn.cells.structured.fused import check_heads
from jaxrnn.checks import check_bool, check_choice, check_positive, sized

__all__ = [
    "SLSTMCarry",
    "SLSTMGates",
    "SLSTMParams",
    "SLSTMSpec",
    "make_slstm",
    "power_law",
    "slstm",
]


class SLSTMParams(NamedTuple):
    """Parameters of an sLSTM of N heads; the blocks are in the order i, f, z, o.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, ``(H / N, 4H)``: the column of a unit reads the units of its own head.
      bias: b, ``(4H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_slstm(num_heads=2)
      >>> cell.init(jax.random.key(0), 3, 6).recurrent_kernel.shape
      (3, 24)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class SLSTMCarry(NamedTuple):
    """The state of an sLSTM; c, n and m are float32 where h is a half type.

    Attributes:
      h: the output of the last step, ``(*batch, H)``.
      c: the cell, divided by e^m, ``(*batch, H)``.
      n: the normalizer, divided by e^m, ``(*batch, H)``.
      m: the stabilizer, ``(*batch, H)``.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.slstm
      >>> cell.carry(cell.init(jax.random.key(0), 3, 5), (2,)).n.shape
      (2, 5)
    """

    h: Array
    c: Array
    n: Array
    m: Array


class SLSTMGates(NamedTuple):
    """Activations of an sLSTM, ``(*batch, H)`` each.

    Attributes:
      i: what is new in c, in units of e^m: the stabilized input gate.
      f: what remains of it, in the same units: the stabilized forget gate.
      z: candidate.
      o: output gate.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.slstm
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3))).f.shape
      (7, 5)
    """

    i: Array
    f: Array
    z: Array
    o: Array


class SLSTMSpec(NamedTuple):
    """What `make_slstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.slstm.spec.forget_gate
      'sigmoid'
    """

    num_heads: int = 1
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid"
    use_bias: bool = True

    def make(self) -> Cell[SLSTMParams, SLSTMCarry]:
        """The cell."""
        return make_slstm(**self._asdict())


def power_law(num_heads: int = 1, depth: float = 0.0) -> initializers.Joint:
    r"""Biases of an sLSTM whose forget gates are spread from long memory to short.

    .. math:: b_{f,j} = 5 - 12\, \left(\frac{j}{d - 1}\right)^{0.3 + 1.3\,\mathrm{depth}}

    for the unit j = 0 … d − 1 of each head, d = H / N; the other biases are 0.

    Args:
      num_heads: N.
      depth: where the layer is, 0 for the first of a network, 1 for the last.

    Returns:
      A `jaxrnn.initializers.Joint`, for ``bias_init``.

    Source: Beck et al. (2024), arXiv:2405.04517, by the authors' code.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.structured import power_law
      >>> power_law().draw(None, (3,), 4, "float32")[3:6].tolist()
      [5.0, -4.75, -7.0]
    """

    def draw(key: Any, shape: tuple[int, ...], gates: int, dtype: DType) -> Array:
        size = shape[-1] // num_heads
        place = jnp.arange(size, dtype=wide(dtype)) / max(size - 1, 1)
        forget = jnp.tile(5 - 12 * place ** (0.3 + 1.3 * depth), num_heads).astype(dtype)
        return jnp.zeros(gates * shape[-1], dtype).at[shape[-1] : 2 * shape[-1]].set(forget)

    return initializers.Joint(draw)


@documented
def make_slstm(
    *,
    num_heads: int = 1,
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid",
    use_bias: bool = True,
) -> Cell[SLSTMParams, SLSTMCarry]:
    r"""An sLSTM, an LSTM whose input gate is an exponential and whose output is normalized.

    .. math::
        a &= W x_t + R h_{t-1} + b \\
        \ell &= \log \sigma(a_f) \quad \text{or } a_f \\
        m_t &= \max(\ell + m_{t-1},\, a_i) \\
        c_t &= e^{\ell + m_{t-1} - m_t} \odot c_{t-1} + e^{a_i - m_t} \odot \tanh(a_z) \\
        n_t &= e^{\ell + m_{t-1} - m_t} \odot n_{t-1} + e^{a_i - m_t} \\
        h_t &= \sigma(a_o) \odot c_t / n_t

    R is block-diagonal, a block for each head. The stabilizer m changes nothing of h, only what
    can be held of it in floating point. A unit that has seen nothing, n = 0, begins with
    :math:`m_t = a_i`, as in the authors' code, which asks the whole batch for it at once; here
    each unit is asked, so a row that is reset within a running batch begins alike.

    This is the cell alone: the convolution before it, and the normalization and the projections
    after it, are the block's around it.

    Args:
      num_heads: N, of which H must be a multiple.
      forget_gate: ``"sigmoid"``, or ``"exp"`` for :math:`\ell = a_f`.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `SLSTMParams` and `SLSTMCarry`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (zeros; called for each block of each head), ``bias_init``
      (`power_law`) and ``use_bias``.

    Raises:
      TypeError: for a number of heads that is not an int.
      ValueError: for an unknown gate; from ``init``, if H is not a multiple of N.

    Source: Beck et al. (2024), xLSTM: extended long short-term memory, arXiv:2405.04517.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_slstm(num_heads=2)
      >>> params = cell.init(jax.random.key(0), 3, 6)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 3)))
      >>> ys.shape, bool((carry.n >= 1).all())
      ((7, 6), True)
    """
    check_positive("num_heads", num_heads)
    check_choice("forget_gate", forget_gate, ("sigmoid", "exp"))
    check_bool("use_bias", use_bias)
    spec = SLSTMSpec(num_heads, forget_gate, use_bias)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = initializers.zeros,
        bias_init: initializers.Initializer | initializers.Joint | None = None,
        use_bias: bool = spec.use_bias,
    ) -> SLSTMParams:
        size, keys = check_heads(hidden_size, num_heads), split(key, 4)
        w, _, b = kernels(
            keys[:3],
            (input_size, hidden_size),
            4,
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=initializers.zeros,
            bias_init=power_law(num_heads) if bias_init is None else bias_init,  # type: ignore[arg-type]
            use_bias=use_bias,
            output_size=size,
        )
        r = initializers.blocks(recurrent_init, keys[3], (size, size), 4 * num_heads, dtype)
        return SLSTMParams(w, r, b)

    def carry(params: SLSTMParams, batch_shape: tuple[int, ...] = ()) -> SLSTMCarry:
        kernel = params.recurrent_kernel
        h = zeros(batch_shape, kernel.shape[1] // 4, kernel.dtype)
        c = h.astype(wide(kernel.dtype))
        return SLSTMCarry(h, c, c, c)

    def project(params: SLSTMParams, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def recurrent(params: SLSTMParams, s: SLSTMCarry) -> Array:
        kernel = params.recurrent_kernel
        if num_heads == 1:
            return linear(s.h, kernel)
        size = kernel.shape[0]
        h = s.h.reshape(*s.h.shape[:-1], num_heads, size)
        each = kernel.reshape(size, 4, num_heads, size)
        z = jnp.einsum("...nd,dkne->...kne", h, each, preferred_element_type=wide(h.dtype))
        return z.reshape(*s.h.shape[:-1], kernel.shape[1])

    def gated(params: SLSTMParams, s: SLSTMCarry, z: Array) -> tuple[SLSTMGates, Array]:
        i, f, g, o = jnp.split(z, 4, axis=-1)
        kept = s.m + (jax.nn.log_sigmoid(f) if forget_gate == "sigmoid" else f)
        m = jnp.where(s.n == 0, i, jnp.maximum(kept, i))
        # Only where n = 0 is the kept part above m, and there it is 0 in any units.
        f = jnp.exp(jnp.minimum(kept - m, 0))
        return SLSTMGates(jnp.exp(i - m), f, tanh(g), jax.nn.sigmoid(o)), m

    def update(params: SLSTMParams, s: SLSTMCarry, z: Array) -> SLSTMCarry:
        (i, f, g, o), m = gated(params, s, z)
        c, n = f * s.c + i * g, f * s.n + i
        return SLSTMCarry((o * c / n).astype(s.h.dtype), c, n, m)

    def output(params: SLSTMParams, s: SLSTMCarry, z: Array) -> Array:
        return s.h

    def bounds(params: SLSTMParams, start: SLSTMCarry, count: Any) -> SLSTMCarry:
        free = jnp.full_like(start.h, jnp.inf), jnp.full_like(start.m, jnp.inf)
        return SLSTMCarry(free[0], start.c + count, start.n + count, free[1])

    return Cell(
        name_of("slstm", spec),
        init,
        carry,
        project,
        recurrent,
        update,
        output,
        gates=lambda *at: gated(*at)[0],
        bounds=bounds,
        spec=spec,
    )


slstm: Cell[SLSTMParams, SLSTMCarry] = make_slstm()
r"""The sLSTM of one head, its forget gate a logistic; see `make_slstm`.

.. math::
    m_t = \max(\log \sigma(a_f) + m_{t-1},\, a_i), \quad
    h_t = \sigma(a_o) \odot c_t / n_t

Source: Beck et al. (2024), xLSTM: extended long short-term memory, arXiv:2405.04517.
"""
