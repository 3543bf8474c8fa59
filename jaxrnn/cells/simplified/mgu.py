"""The minimal gated unit: a GRU with one gate for both its purposes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, linear, tanh
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import Asked, drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import at_most_one, mixed
from jaxrnn.checks import check_bool, check_choice

__all__ = ["MGUParams", "MGUSpec", "make_mgu", "mgu"]


class MGUParams(NamedTuple):
    """Parameters of a minimal gated unit; the blocks are in the order f, n.

    Attributes:
      input_kernel: W, ``(D, 2H)``.
      recurrent_kernel: R, ``(H, 2H)``.
      bias: b, ``(2H,)``, or None.
      recurrent_bias: the candidate's bias inside the gated product, ``(H,)``; None where the
        gate comes before the product, or without biases.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_mgu(reset="after")
      >>> cell.init(jax.random.key(0), 3, 5).recurrent_bias.shape
      (5,)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    recurrent_bias: Array | None = None


class MGUSpec(NamedTuple):
    """What `make_mgu` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.mgu.spec.reset
      'before'
    """

    reset: Literal["before", "after"] = "before"
    update: Literal["write", "keep"] = "write"
    use_bias: bool = True

    def make(self) -> Cell[MGUParams, Array]:
        """The cell."""
        return make_mgu(**self._asdict())


@documented
def make_mgu(
    *,
    reset: Literal["before", "after"] = "before",
    update: Literal["write", "keep"] = "write",
    use_bias: bool = True,
) -> Cell[MGUParams, Array]:
    r"""A minimal gated unit, with the convention chosen.

    .. math::
        f &= \sigma(W_f x_t + R_f h_{t-1} + b_f) \\
        n &= \tanh(W_n x_t + R_n (f \odot h_{t-1}) + b_n) && \text{reset before} \\
        n &= \tanh(W_n x_t + b_n + f \odot (R_n h_{t-1} + b_R)) && \text{reset after} \\
        h_t &= (1 - f) \odot h_{t-1} + f \odot n && \text{write} \\
        h_t &= f \odot h_{t-1} + (1 - f) \odot n && \text{keep}

    The carry is h, ``(*batch, H)``, and so is the output. With "before", the candidate's
    product stays inside the loop's update, which is slower.

    Args:
      reset: ``"before"`` the product, as published, or ``"after"`` it, as flax has it.
      update: what f = 1 does: ``"write"`` the new state, as published, or ``"keep"`` the old
        one, as flax has it.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `MGUParams`. Its ``init`` takes ``kernel_init`` (glorot), ``recurrent_init``
      (orthogonal), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      ValueError: for an unknown option.

    Source: Zhou et al. (2016), Minimal gated unit for recurrent neural networks,
    arXiv:1603.09420.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_mgu(reset="after", update="keep")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_choice("reset", reset, ("before", "after"))
    check_choice("update", update, ("write", "keep"))
    check_bool("use_bias", use_bias)
    spec, after = MGUSpec(reset, update, use_bias), reset == "after"

    def inner(asked: Asked) -> dict[str, Array]:
        if not (after and asked.use_bias):
            return {}
        size = asked.hidden_size
        both = initializers.blocks(asked.bias_init, asked.key, (size,), 2, asked.dtype)
        return {"recurrent_bias": both[size:]}

    def project(params: MGUParams, x: Array) -> SimplifiedPreActivations:
        z = linear(x, params.input_kernel, params.bias)
        return SimplifiedPreActivations(*jnp.split(z, 2, axis=-1))

    def recurrent(params: MGUParams, h: Array) -> SimplifiedPreActivations:
        kernel, bias = params.recurrent_kernel, params.recurrent_bias
        if not after:
            return SimplifiedPreActivations(linear(h, kernel[:, : h.shape[-1]]))
        bias = None if bias is None else jnp.pad(bias, (h.shape[-1], 0))
        f, n = jnp.split(linear(h, kernel, bias), 2, axis=-1)
        return SimplifiedPreActivations(f, h=n)

    def mixture(params: MGUParams, h: Array, z: Any) -> Mixture:
        (f,) = gates(z.a, "s")
        if after:
            n = tanh(z.x + f * z.h)
        else:
            reset_h = (f * h.astype(f.dtype)).astype(h.dtype)
            n = tanh(z.x + linear(reset_h, params.recurrent_kernel[:, h.shape[-1] :]))
        return Mixture(1 - f, f, n) if update == "write" else Mixture(f, 1 - f, n)

    return Cell(
        name_of("mgu", spec),
        drawn(MGUParams, (2, 2, 2), biases=use_bias, more=inner),
        zero_carry,
        project,
        recurrent,
        mixed(mixture),
        gates=mixture,
        bounds=at_most_one,
        spec=spec,
    )


mgu = make_mgu()
r"""The minimal gated unit as published: the gate before the product, f = 1 writes.

.. math::
    f &= \sigma(W_f x_t + R_f h_{t-1} + b_f) \\
    h_t &= (1 - f) \odot h_{t-1} + f \odot \tanh(W_n x_t + R_n (f \odot h_{t-1}) + b_n)

Params `MGUParams`, carry and output h. Source: Zhou et al. (2016), arXiv:1603.09420.
"""
