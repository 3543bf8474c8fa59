"""The gated recurrent unit, in all its conventions."""

from __future__ import annotations

from collections.abc import Callable
from math import inf, isinf
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import between, gates, kernels, limit, linear, named, together
from jaxrnn.cells.elman import zero_carry
from jaxrnn.checks import check_bool, check_choice, sized

__all__ = [
    "GRUGates",
    "GRUParams",
    "GRUPreActivations",
    "GRUSpec",
    "gru",
    "gru_reset_before",
    "gru_write",
    "make_gru",
]

Activation = str | Callable[[Array], Array]


class GRUParams(NamedTuple):
    """Parameters of a GRU; the blocks are in the order r, z, n.

    Attributes:
      input_kernel: W, ``(D, 3H)``.
      recurrent_kernel: R, ``(H, 3H)``.
      bias: b, ``(3H,)``, or None.
      recurrent_bias: the candidate's bias inside the reset product, ``(H,)``; None where the
        reset comes before the product, or without biases.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.gru.init(jax.random.key(0), 3, 5).recurrent_bias.shape
      (5,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    recurrent_bias: Array | None = None


class GRUPreActivations(NamedTuple):
    """Pre-activations of a GRU.

    Attributes:
      rz: of the two gates together, ``(..., 2H)``.
      nx: the candidate's part from the input, ``(..., H)``.
      nh: its part from the state, ``(..., H)``; None where the reset comes before the product.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.gru.project(params, jax.numpy.ones(3)).rz.shape
      (10,)
    """

    rz: Any
    nx: Any = None
    nh: Any = None


class GRUGates(NamedTuple):
    """Activations of a GRU, ``(*batch, H)`` each.

    Attributes:
      r: reset gate.
      z: update gate.
      n: candidate.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.analysis.gate_traces(jaxrnn.gru, params, jax.numpy.ones((7, 3))).z.shape
      (7, 5)
    """

    r: Array
    z: Array
    n: Array


class GRUSpec(NamedTuple):
    """What `make_gru` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.gru.spec.reset
      'after'
    """

    reset: Literal["after", "before"] = "after"
    update: Literal["keep", "write"] = "keep"
    gate_activation: Activation = "sigmoid"
    candidate_activation: Activation = "tanh"
    use_bias: bool = True

    def make(self) -> Cell[GRUParams, Array]:
        """The cell."""
        return make_gru(**self._asdict())


@documented
def make_gru(
    *,
    reset: Literal["after", "before"] = "after",
    update: Literal["keep", "write"] = "keep",
    gate_activation: Activation = "sigmoid",
    candidate_activation: Activation = "tanh",
    use_bias: bool = True,
) -> Cell[GRUParams, Array]:
    r"""A GRU, with the convention chosen.

    .. math::
        r, z &= \varphi(W_{r,z}\, x_t + R_{r,z}\, h_{t-1} + b_{r,z}) \\
        n &= \varphi_n(W_n x_t + b_n + r \odot (R_n h_{t-1} + b_R)) && \text{reset after} \\
        n &= \varphi_n(W_n x_t + b_n + R_n (r \odot h_{t-1})) && \text{reset before} \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot n && \text{keep} \\
        h_t &= (1 - z) \odot h_{t-1} + z \odot n && \text{write}

    The carry is h, ``(*batch, H)``, and so is the output. With "before", the candidate's
    product stays inside the loop's update, which is slower.

    Args:
      reset: ``"after"`` the product as torch, cuDNN and Keras do, or ``"before"`` it as Cho
        et al. wrote it.
      update: what z = 1 does: ``"keep"`` the old state (torch, cuDNN, Keras) or ``"write"``
        the new one (haiku, Sonnet).
      gate_activation: φ of the gates, a name of `jaxrnn.cells.ACTIVATIONS` or an elementwise
        function.
      candidate_activation: φ_n, alike.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `GRUParams`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (orthogonal), ``bias_init`` (zeros), ``reset_bias`` (0.0, added to the
      block r) and ``use_bias``.

    Raises:
      ValueError: for an unknown option.

    Source: Cho et al. (2014), Learning phrase representations using RNN encoder-decoder,
    arXiv:1406.1078, whose third version has the reset before the product.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.make_gru(reset="before")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_choice("reset", reset, ("after", "before"))
    check_choice("update", update, ("keep", "write"))
    check_bool("use_bias", use_bias)
    phi = resolve(gate_activation, "gate_activation")
    phi_n = resolve(candidate_activation, "candidate_activation")
    names = named(phi, "gate_activation"), named(phi_n, "candidate_activation")
    spec, after = GRUSpec(reset, update, *names, use_bias), reset == "after"

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
        reset_bias: float = 0.0,
        use_bias: bool = spec.use_bias,
    ) -> GRUParams:
        keys = split(key, 4)
        drawn = kernels(
            keys[:3],
            (input_size, hidden_size),
            3,
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            use_bias=use_bias,
            shifts=[(0, reset_bias)],
        )
        if not (after and use_bias):
            return GRUParams(*drawn)
        inner = initializers.blocks(bias_init, keys[3], (hidden_size,), 3, dtype)
        return GRUParams(*drawn, inner[2 * hidden_size :])

    def project(params: GRUParams, x: Array) -> GRUPreActivations:
        rz, n = _split(linear(x, params.input_kernel, params.bias))
        return GRUPreActivations(rz, nx=n)

    def recurrent(params: GRUParams, h: Array) -> GRUPreActivations:
        size = h.shape[-1]
        if not after:
            z = linear(h, params.recurrent_kernel[:, : 2 * size])
            return GRUPreActivations(z)
        bias = params.recurrent_bias
        bias = None if bias is None else jnp.pad(bias, (2 * size, 0))
        rz, n = _split(linear(h, params.recurrent_kernel, bias))
        return GRUPreActivations(rz, nh=n)

    def gated(params: GRUParams, h: Array, a: GRUPreActivations) -> GRUGates:
        smooth = spec.gate_activation == "sigmoid"
        r, z = gates(a.rz, "ss") if smooth else jnp.split(phi(a.rz), 2, axis=-1)
        if after:
            r, z, nx, nh = together(r, z, a.nx, a.nh)
            return GRUGates(r, z, phi_n(nx + r * nh))
        reset_h = (r * h.astype(r.dtype)).astype(h.dtype)
        kernel = params.recurrent_kernel[:, 2 * h.shape[-1] :]
        return GRUGates(r, z, phi_n(a.nx + linear(reset_h, kernel)))

    def advance(params: GRUParams, h: Array, a: GRUPreActivations) -> Array:
        _, z, n = gated(params, h, a)
        old = h.astype(n.dtype)
        new = z * old + (1 - z) * n if update == "keep" else (1 - z) * old + z * n
        return new.astype(h.dtype)

    most = limit(spec.candidate_activation) if between(spec.gate_activation) else inf

    def bounds(params: GRUParams, start: Array, count: Any) -> Array:
        return jnp.maximum(start, most)

    kept = None if isinf(most) else bounds
    name = name_of("gru", spec)
    return Cell(
        name,
        init,
        zero_carry,
        project,
        recurrent,
        advance,
        gates=gated,
        bounds=kept,
        spec=spec,
    )


def _split(z: Array) -> list[Array]:
    """The gates' blocks and the candidate's: not slices, whose gradients would be padded."""
    return jnp.split(z, (2 * (z.shape[-1] // 3),), axis=-1)


gru = make_gru()
r"""The GRU as torch, cuDNN and Keras have it: the reset after the product, z keeps.

.. math::
    r, z &= \sigma(W_{r,z}\, x_t + R_{r,z}\, h_{t-1} + b_{r,z}) \\
    n &= \tanh(W_n x_t + b_n + r \odot (R_n h_{t-1} + b_R)) \\
    h_t &= z \odot h_{t-1} + (1 - z) \odot n

Params `GRUParams`, carry and output h.
"""

gru_reset_before = make_gru(reset="before")
r"""The GRU of Cho et al. (2014): the reset before the product, :math:`R_n (r \odot h_{t-1})`."""

gru_write = make_gru(update="write")
r"""`gru` with the other meaning of z: :math:`h_t = (1 - z) \odot h_{t-1} + z \odot n`.

Source: Chung, Gulcehre, Cho and Bengio (2014), Empirical evaluation of gated recurrent neural
networks on sequence modeling, arXiv:1412.3555.
"""
