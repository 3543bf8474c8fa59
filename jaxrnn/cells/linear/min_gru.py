"""The minimal GRU, whose gate sees the input alone."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates
from jaxrnn.cells.linear.common import (
    InputParams,
    LinearGates,
    linear_cell,
    project_blocks,
    read_state,
    state,
)
from jaxrnn.cells.linear.start import fan_in, input_init
from jaxrnn.checks import check_bool, check_choice

__all__ = ["MinGRUSpec", "content", "make_min_gru", "min_gru"]

Candidate = Literal["linear", "positive"]


class MinGRUSpec(NamedTuple):
    """What `make_min_gru` was given.

    Example:
      >>> from jaxrnn.cells.linear import min_gru
      >>> min_gru.spec.candidate
      'linear'
    """

    candidate: Candidate = "linear"
    use_bias: bool = True

    def make(self) -> Cell[InputParams, Array]:
        """The cell."""
        return make_min_gru(**self._asdict())


@documented
def make_min_gru(
    *, candidate: Candidate = "linear", use_bias: bool = True
) -> Cell[InputParams, Array]:
    r"""A minimal GRU, linear in its state.

    .. math::
        z &= \sigma(W_z x_t + b_z) \\
        h_t &= (1 - z) \odot h_{t-1} + z \odot g(W_h x_t + b_h)

    with g the identity, or positive, :math:`g(a) = a + \tfrac12` for :math:`a \ge 0` and
    :math:`\sigma(a)` below: the function that the log-space form of the paper computes. The blocks
    of W are in the order z, h. The carry is h, ``(*batch, H)``, float32 at least, and so is the
    output, in the parameters' dtype.

    Args:
      candidate: g, ``"linear"`` or ``"positive"``.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `InputParams` and coefficients. Its ``init`` takes ``kernel_init`` (uniform on
      ±1/√D, that of the linear layers of the paper's code), ``bias_init`` (zeros) and
      ``use_bias``.

    Raises:
      ValueError: for another candidate.

    Source: Feng et al. (2024), Were RNNs all we needed?, arXiv:2410.01201.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_min_gru
      >>> cell = make_min_gru(candidate="positive")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> bool((y > 0).all())
      True
    """
    check_choice("candidate", candidate, ("linear", "positive"))
    check_bool("use_bias", use_bias)
    spec = MinGRUSpec(candidate, use_bias)

    def carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return state(params, params.input_kernel.shape[1] // 2, batch_shape)

    def gated(params: InputParams, z: Array) -> LinearGates:
        write = gates(jnp.split(z, 2, axis=-1)[0], "s")[0]
        return LinearGates(1 - write, write)

    def coefficients(params: InputParams, z: Array) -> tuple[Any, Any]:
        gate = gated(params, z)
        return gate.keep, gate.write * content(jnp.split(z, 2, axis=-1)[1], candidate)

    init = input_init(2, kernel_init=fan_in, use_bias=use_bias)
    name = name_of("min_gru", spec)
    return linear_cell(
        name, init, carry, project_blocks, coefficients, read_state, gates=gated, spec=spec
    )


def content(a: Array, candidate: Candidate) -> Array:
    r"""g(a): a itself, or :math:`a + \tfrac12` from 0 on and :math:`\sigma(a)` below.

    Args:
      a: any shape.
      candidate: ``"linear"`` or ``"positive"``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.min_gru import content
      >>> content(jnp.array([0.0, 2.0]), "positive").tolist()
      [0.5, 2.5]
    """
    if candidate == "linear":
        return a
    return jnp.where(a >= 0, a + 0.5, jax.nn.sigmoid(jnp.minimum(a, 0)))


min_gru = make_min_gru()
r"""The minimal GRU, :math:`h_t = (1 - z) \odot h_{t-1} + z \odot (W_h x_t + b_h)` with
:math:`z = \sigma(W_z x_t + b_z)`.

Params `InputParams`, blocks z, h; carry and output h. Source: Feng et al. (2024), Were RNNs all we
needed?, arXiv:2410.01201.
"""
