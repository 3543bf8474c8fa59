"""The gated recurrent unit, in all its conventions."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, once
from jaxrnn.cells.blocks import gates, linear, tanh, together
from jaxrnn.checks import check_choice, sized

__all__ = ["GRUGates", "GRUParams", "GRUProjection", "gru", "gru_reset_before", "make_gru"]


class GRUParams(NamedTuple):
    """Parameters of a GRU; the blocks are in the order r, z, n.

    Attributes:
      input_kernel: W, ``(D, 3H)``.
      recurrent_kernel: R, ``(H, 3H)``.
      bias: b, ``(3H,)``.
      recurrent_bias: the candidate's bias inside the reset product, ``(H,)``; None where the
        reset comes before the product.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.gru.init(jax.random.key(0), 3, 5).recurrent_bias.shape
      (5,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array
    recurrent_bias: Array | None = None


class GRUProjection(NamedTuple):
    """Pre-activations of a GRU: the two gates together, and the candidate.

    Attributes:
      rz: ``(..., 2H)``.
      n: ``(..., H)``.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.gru.project(params, jax.numpy.ones(3)).rz.shape
      (10,)
    """

    rz: Array
    n: Array


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


@once
def make_gru(
    *,
    reset: Literal["after", "before"] = "after",
    update: Literal["keep", "write"] = "keep",
) -> Cell:
    r"""A GRU, with the convention chosen.

    .. math::
        r, z &= \sigma(W_{r,z}\, x_t + R_{r,z}\, h_{t-1} + b_{r,z}) \\
        n &= \tanh(W_n x_t + b_n + r \odot (R_n h_{t-1} + b_R)) && \text{reset after} \\
        n &= \tanh(W_n x_t + b_n + R_n (r \odot h_{t-1})) && \text{reset before} \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot n && \text{keep} \\
        h_t &= (1 - z) \odot h_{t-1} + z \odot n && \text{write}

    The carry is h, ``(*batch, H)``, and so is the output. With "before", the candidate's
    product stays inside the loop's update, which is slower.

    Args:
      reset: ``"after"`` the product as torch, cuDNN and Keras do, or ``"before"`` it as Cho
        et al. wrote it.
      update: what z = 1 does: ``"keep"`` the old state (torch, cuDNN, Keras) or ``"write"``
        the new one (haiku, Sonnet).

    Returns:
      A `Cell` with `GRUParams`.

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
    ) -> GRUParams:
        k1, k2, k3, k4 = jax.random.split(key, 4)
        bias = initializers.blocks(bias_init, k3, (hidden_size,), 3, dtype)
        recurrent_bias = initializers.blocks(bias_init, k4, (hidden_size,), 3, dtype)
        return GRUParams(
            initializers.blocks(kernel_init, k1, (input_size, hidden_size), 3, dtype),
            initializers.blocks(recurrent_init, k2, (hidden_size, hidden_size), 3, dtype),
            bias.at[:hidden_size].add(reset_bias),
            recurrent_bias[2 * hidden_size :] if reset == "after" else None,
        )

    def carry(params: GRUParams, batch_shape: tuple[int, ...] = ()) -> Array:
        kernel = params.recurrent_kernel
        return jnp.zeros((*batch_shape, kernel.shape[0]), kernel.dtype)

    def split(z: Array) -> GRUProjection:
        return GRUProjection(*jnp.split(z, (2 * (z.shape[-1] // 3),), axis=-1))

    def project(params: GRUParams, x: Array) -> GRUProjection:
        return split(linear(x, params.input_kernel, params.bias))

    def recurrent_after(params: GRUParams, h: Array) -> GRUProjection:
        bias = jnp.pad(params.recurrent_bias, (2 * h.shape[-1], 0))  # type: ignore[arg-type]
        return split(linear(h, params.recurrent_kernel, bias))

    def recurrent_before(params: GRUParams, h: Array) -> Array:
        return linear(h, params.recurrent_kernel[:, : 2 * h.shape[-1]])

    def gates_after(params: GRUParams, h: Array, zx: GRUProjection, zh: GRUProjection) -> GRUGates:
        r, z, zx_n, zh_n = together(*gates(zx.rz + zh.rz, "ss"), zx.n, zh.n)
        return GRUGates(r, z, tanh(zx_n + r * zh_n))

    def gates_before(params: GRUParams, h: Array, zx: GRUProjection, zh: Array) -> GRUGates:
        r, z = gates(zx.rz + zh, "ss")
        reset_h = (r * h.astype(r.dtype)).astype(h.dtype)
        kernel = params.recurrent_kernel[:, 2 * h.shape[-1] :]
        return GRUGates(r, z, tanh(zx.n + linear(reset_h, kernel)))

    gated = gates_after if reset == "after" else gates_before

    def advance(params: GRUParams, h: Array, zx: GRUProjection, zh: Any) -> tuple[Array, Array]:
        _, z, n = gated(params, h, zx, zh)
        old = h.astype(n.dtype)
        new = z * old + (1 - z) * n if update == "keep" else (1 - z) * old + z * n
        return (new := new.astype(h.dtype)), new

    name = "gru" if reset == "after" else "gru_reset_before"
    pairs = (("reset", reset, "after"), ("update", update, "keep"))
    options = tuple((option, value) for option, value, default in pairs if value != default)
    recurrent = recurrent_after if reset == "after" else recurrent_before
    return Cell(name, init, carry, project, recurrent, advance, options=options, gates=gated)


gru = make_gru()
r"""The GRU as torch, cuDNN and Keras have it: the reset after the product, z keeps.

.. math::
    r, z &= \sigma(W_{r,z}\, x_t + R_{r,z}\, h_{t-1} + b_{r,z}) \\
    n &= \tanh(W_n x_t + b_n + r \odot (R_n h_{t-1} + b_R)) \\
    h_t &= z \odot h_{t-1} + (1 - z) \odot n
"""

gru_reset_before = make_gru(reset="before")
r"""The GRU of Cho et al. (2014): the reset before the product, :math:`R_n (r \odot h_{t-1})`."""
