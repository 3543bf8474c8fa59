"""The mLSTM: a matrix for a state, written with keys and read with queries."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import linear, wide
from jaxrnn.cells.structured.fused import check_heads
from jaxrnn.checks import check_bool, check_positive, check_real, sized

__all__ = [
    "MLSTMCarry",
    "MLSTMGates",
    "MLSTMParams",
    "MLSTMPreActivations",
    "MLSTMSpec",
    "make_mlstm",
    "mlstm",
]


class MLSTMParams(NamedTuple):
    """Parameters of an mLSTM of N heads.

    Attributes:
      input_kernel: of q, k, v and o, in this order, ``(D, 4H)``; ``(D, 3H)`` without o.
      gate_kernel: of the gates i and f, one number a head, ``(D, 2N)``.
      bias: of q, k, v and o, ``(4H,)``, or None.
      gate_bias: of i and f, ``(2N,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.structured.mlstm.init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.gate_kernel.shape
      ((3, 20), (3, 2))
    """

    input_kernel: Array
    gate_kernel: Array
    bias: Array | None = None
    gate_bias: Array | None = None


class MLSTMPreActivations(NamedTuple):
    """What an mLSTM makes of its input.

    Attributes:
      q: queries, ``(..., N, H / N)``.
      k: keys, divided by √(H / N), alike.
      v: values, alike.
      i: of the input gates, ``(..., N)``.
      f: of the forget gates, ``(..., N)``.
      o: of the output gates, ``(..., H)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.mlstm
      >>> cell.project(cell.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).q.shape
      (1, 5)
    """

    q: Array
    k: Array
    v: Array
    i: Array
    f: Array
    o: Array | None = None


class MLSTMCarry(NamedTuple):
    """The state of an mLSTM of N heads, d = H / N; float32 for the half types.

    Attributes:
      c: the memory, keys by values, divided by e^m, ``(*batch, N, d, d)``.
      n: the normalizer of all heads, divided by e^m, ``(*batch, H)``.
      m: the stabilizer, ``(*batch, N)``.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.mlstm
      >>> cell.carry(cell.init(jax.random.key(0), 3, 5), (2,)).c.shape
      (2, 1, 5, 5)
    """

    c: Array
    n: Array
    m: Array


class MLSTMGates(NamedTuple):
    """Activations of an mLSTM.

    Attributes:
      i: what is new in c, in units of e^m, ``(*batch, N)``: the stabilized input gate.
      f: what remains of it, in the same units, alike: the stabilized forget gate.
      o: output gate, ``(*batch, H)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.mlstm
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3))).f.shape
      (7, 1)
    """

    i: Array
    f: Array
    o: Array | None = None


class MLSTMSpec(NamedTuple):
    """What `make_mlstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.mlstm.spec.output_gate
      True
    """

    num_heads: int = 1
    output_gate: bool = True
    eps: float = 0.0
    use_bias: bool = True

    def make(self) -> Cell[MLSTMParams, MLSTMCarry]:
        """The cell."""
        return make_mlstm(**self._asdict())


@documented
def make_mlstm(
    *,
    num_heads: int = 1,
    output_gate: bool = True,
    eps: float = 0.0,
    use_bias: bool = True,
) -> Cell[MLSTMParams, MLSTMCarry]:
    r"""An mLSTM, whose state is a matrix that is written with keys and read with queries.

    .. math::
        q, v &= W_{q,v}\, x_t + b_{q,v}, \quad k = (W_k x_t + b_k) / \sqrt d \\
        a &= G x_t + b_G \\
        m_t &= \max(\log \sigma(a_f) + m_{t-1},\, a_i) \\
        C_t &= e^{\log \sigma(a_f) + m_{t-1} - m_t}\, C_{t-1} + e^{a_i - m_t}\, k v^\top \\
        n_t &= e^{\log \sigma(a_f) + m_{t-1} - m_t}\, n_{t-1} + e^{a_i - m_t}\, k \\
        y_t &= \sigma(W_o x_t + b_o) \odot
            \frac{C_t^\top q}{\max(|n_t^\top q|,\, e^{-m_t}) + \varepsilon}

    for each head of d = H / N units by itself. Nothing of the state enters the gates, so every
    product with x is done before the loop; the stabilizer m changes nothing of y.

    The gates are maps of x, as in the paper. In the authors' code they are maps of q, k and v
    together, which are maps of x themselves; ε is 1e-6 there, and so the forms that run in
    parallel agree with this one only up to it. The convolution before the cell and the
    normalization after it are the block's around it.

    Args:
      num_heads: N, of which H must be a multiple.
      output_gate: False for a cell without σ(W_o x + b_o).
      eps: ε.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `MLSTMParams` and `MLSTMCarry`, whose output is ``(*batch, H)``. Its ``init``
      takes ``kernel_init`` (glorot), ``gate_init`` (zeros, of the gates' kernel), ``bias_init``
      (zeros, of q, k, v and o), and ``use_bias``. The biases of i are drawn from a normal
      distribution of standard deviation 0.1, those of f are spread evenly over the heads from 3
      to 6.

    Raises:
      TypeError: for a number of heads that is not an int.
      ValueError: for a negative ε; from ``init``, if H is not a multiple of N.

    Source: Beck et al. (2024), xLSTM: extended long short-term memory, arXiv:2405.04517.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_mlstm(num_heads=2)
      >>> params = cell.init(jax.random.key(0), 3, 6)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 3)))
      >>> carry.c.shape, ys.shape
      ((2, 3, 3), (7, 6))
    """
    check_positive("num_heads", num_heads)
    check_bool("output_gate", output_gate)
    check_bool("use_bias", use_bias)
    check_real("eps", eps, least=0)
    spec, count = MLSTMSpec(num_heads, output_gate, float(eps), use_bias), 3 + output_gate

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        gate_init: initializers.Initializer = initializers.zeros,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
    ) -> MLSTMParams:
        check_heads(hidden_size, num_heads)
        keys = split(key, 4)
        draw = initializers.blocks
        w = draw(kernel_init, keys[0], (input_size, hidden_size), count, dtype)
        g = draw(gate_init, keys[1], (input_size, num_heads), 2, dtype)
        if not use_bias:
            return MLSTMParams(w, g)
        i = 0.1 * jax.random.normal(keys[3], (num_heads,), dtype)
        f = jnp.linspace(3, 6, num_heads, dtype=dtype)
        b = draw(bias_init, keys[2], (hidden_size,), count, dtype)
        return MLSTMParams(w, g, b, jnp.concatenate([i, f]))

    def carry(params: MLSTMParams, batch_shape: tuple[int, ...] = ()) -> MLSTMCarry:
        kernel = params.input_kernel
        size, dtype = kernel.shape[1] // count, wide(kernel.dtype)
        n, m = (zeros(batch_shape, k, dtype) for k in (size, num_heads))
        each = size // num_heads
        return MLSTMCarry(jnp.zeros((*m.shape, each, each), dtype), n, m)

    def by_head(a: Array) -> Array:
        return a.reshape(*a.shape[:-1], num_heads, a.shape[-1] // num_heads)

    def joined(a: Array) -> Array:
        return a.reshape(*a.shape[:-2], a.shape[-2] * a.shape[-1])

    def project(params: MLSTMParams, x: Array) -> MLSTMPreActivations:
        z = linear(x, params.input_kernel, params.bias)
        q, k, v, *o = jnp.split(z, count, axis=-1)
        q, k, v = map(by_head, (q, k, v))
        i, f = jnp.split(linear(x, params.gate_kernel, params.gate_bias), 2, axis=-1)
        return MLSTMPreActivations(q, k / math.sqrt(k.shape[-1]), v, i, f, *o)

    def recurrent(params: MLSTMParams, s: MLSTMCarry) -> None:
        """The gates do not look at the state."""

    def gated(s: MLSTMCarry, z: MLSTMPreActivations) -> tuple[Array, Array, Array]:
        kept = jax.nn.log_sigmoid(z.f) + s.m
        m = jnp.maximum(kept, z.i)
        return jnp.exp(z.i - m), jnp.exp(kept - m), m

    def update(params: MLSTMParams, s: MLSTMCarry, z: MLSTMPreActivations) -> MLSTMCarry:
        i, f, m = gated(s, z)
        new = i[..., None] * z.k
        c = f[..., None, None] * s.c + new[..., :, None] * z.v[..., None, :]
        return MLSTMCarry(c, joined(f[..., None] * by_head(s.n) + new), m)

    def output(params: MLSTMParams, s: MLSTMCarry, z: MLSTMPreActivations) -> Array:
        read = jnp.sum(z.q[..., None] * s.c, axis=-2)
        seen = jnp.sum(z.q * by_head(s.n), axis=-1)
        y = joined(read / (jnp.maximum(abs(seen), jnp.exp(-s.m)) + eps)[..., None])
        return (y if z.o is None else jax.nn.sigmoid(z.o) * y).astype(params.input_kernel.dtype)

    def gates(params: MLSTMParams, s: MLSTMCarry, z: MLSTMPreActivations) -> MLSTMGates:
        i, f, _ = gated(s, z)
        return MLSTMGates(i, f, None if z.o is None else jax.nn.sigmoid(z.o))

    name = name_of("mlstm", spec)
    return Cell(name, init, carry, project, recurrent, update, output, gates=gates, spec=spec)


mlstm: Cell[MLSTMParams, MLSTMCarry] = make_mlstm()
r"""The mLSTM of one head; see `make_mlstm`.

.. math::
    y_t = \sigma(W_o x_t + b_o) \odot \frac{C_t^\top q}{\max(|n_t^\top q|,\, e^{-m_t})}

Source: Beck et al. (2024), xLSTM: extended long short-term memory, arXiv:2405.04517.
"""
