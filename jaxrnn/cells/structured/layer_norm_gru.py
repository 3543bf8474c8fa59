"""The GRU with layer normalization inside."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, tanh
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.gru import GRUGates
from jaxrnn.cells.structured.fused import Draw, fused
from jaxrnn.cells.structured.layer_norm import (
    LayerNormPreActivations,
    normalize,
    product,
    project,
)
from jaxrnn.checks import check_bool, check_choice, check_real

__all__ = ["LayerNormGRUParams", "LayerNormGRUSpec", "gru_layer_norm", "make_gru_layer_norm"]


class LayerNormGRUParams(NamedTuple):
    """Parameters of a GRU with layer normalization; the blocks are in the order r, z, n.

    Attributes:
      input_kernel: W, ``(D, 3H)``.
      recurrent_kernel: R, ``(H, 3H)``.
      bias: b, ``(3H,)``, or None.
      recurrent_bias: the candidate's bias inside the reset product, ``(H,)``, or None.
      input_scale: gains of the normalized W x, ``(3H,)``.
      recurrent_scale: gains of the normalized R h, ``(3H,)``.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.gru_layer_norm
      >>> cell.init(jax.random.key(0), 3, 5).input_scale.shape
      (15,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    recurrent_bias: Array | None
    input_scale: Array
    recurrent_scale: Array


class LayerNormGRUSpec(NamedTuple):
    """What `make_gru_layer_norm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.gru_layer_norm.spec.update
      'write'
    """

    update: Literal["keep", "write"] = "write"
    eps: float = 1e-5
    use_bias: bool = True

    def make(self) -> Cell[LayerNormGRUParams, Array]:
        """The cell."""
        return make_gru_layer_norm(**self._asdict())


@documented
def make_gru_layer_norm(
    *, update: Literal["keep", "write"] = "write", eps: float = 1e-5, use_bias: bool = True
) -> Cell[LayerNormGRUParams, Array]:
    r"""A GRU whose products are normalized over their features.

    .. math::
        r, z &= \sigma(\mathrm{LN}(W_{r,z}\, x_t;\, \alpha_1)
            + \mathrm{LN}(R_{r,z}\, h_{t-1};\, \alpha_2) + b_{r,z}) \\
        n &= \tanh(\mathrm{LN}(W_n x_t;\, \alpha_3) + b_n
            + r \odot (\mathrm{LN}(R_n h_{t-1};\, \alpha_4) + b_R)) \\
        h_t &= (1 - z) \odot h_{t-1} + z \odot n && \text{write} \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot n && \text{keep}

    with LN as in `make_lstm_layer_norm`: one for the two gates together, one for the candidate.

    Args:
      update: what z = 1 does: ``"write"`` the new state, as the paper has it, or ``"keep"`` the
        old one, as `jaxrnn.gru` does.
      eps: ε.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `LayerNormGRUParams`; its carry is h, ``(*batch, H)``, and so is its output.
      Its ``init`` takes ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init``
      (zeros) and ``use_bias``; gains are 1.

    Raises:
      TypeError: for an ε that is not a number.
      ValueError: for an ε that is not positive, or an unknown update.

    Source: Ba, Kiros and Hinton (2016), Layer normalization, arXiv:1607.06450.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_gru_layer_norm(update="keep")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_choice("update", update, ("keep", "write"))
    check_real("eps", eps, above=0)
    check_bool("use_bias", use_bias)
    spec = LayerNormGRUSpec(update, float(eps), use_bias)

    def complete(draw: Draw) -> LayerNormGRUParams:
        w, r, b = draw.kernels
        scale, inner = jnp.ones(w.shape[-1], draw.dtype), None
        if draw.use_bias:
            shape = (draw.hidden_size,)
            inner = initializers.blocks(draw.bias_init, draw.key, shape, 3, draw.dtype)[
                2 * shape[0] :
            ]
        return LayerNormGRUParams(w, r, b, inner, scale, scale)

    def gated(params: LayerNormGRUParams, h: Array, z: LayerNormPreActivations) -> GRUGates:
        size = 2 * h.shape[-1]
        bias = params.bias
        early, late = (None, None) if bias is None else (bias[:size], bias[size:])
        scale, inner = params.input_scale, params.recurrent_scale
        a = normalize(z.x[..., :size], scale[:size], eps, early)
        r, u = gates(a + normalize(z.h[..., :size], inner[:size], eps), "ss")
        past = normalize(z.h[..., size:], inner[size:], eps, params.recurrent_bias)
        return GRUGates(r, u, tanh(normalize(z.x[..., size:], scale[size:], eps, late) + r * past))

    def advance(params: LayerNormGRUParams, h: Array, z: LayerNormPreActivations) -> Array:
        _, u, n = gated(params, h, z)
        keep = u if update == "keep" else 1 - u
        return (keep * h.astype(n.dtype) + (1 - keep) * n).astype(h.dtype)

    def bounds(params: LayerNormGRUParams, start: Array, count: Any) -> Array:
        return jnp.maximum(1, start)

    return Cell(
        name_of("gru_layer_norm", spec),
        fused(3, complete, use_bias=use_bias),
        zero_carry,
        project,
        product,
        advance,
        gates=gated,
        bounds=bounds,
        spec=spec,
    )


gru_layer_norm: Cell[LayerNormGRUParams, Array] = make_gru_layer_norm()
r"""The GRU with layer normalization of its products, z writes; see `make_gru_layer_norm`.

Source: Ba, Kiros and Hinton (2016), Layer normalization, arXiv:1607.06450.
"""
