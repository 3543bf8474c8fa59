"""The minimal LSTM, whose gates see the input alone."""

from __future__ import annotations

from typing import Any, NamedTuple

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
from jaxrnn.cells.linear.min_gru import Candidate, content
from jaxrnn.cells.linear.start import fan_in, input_init
from jaxrnn.checks import check_bool, check_choice

__all__ = ["MinLSTMSpec", "make_min_lstm", "min_lstm"]


class MinLSTMSpec(NamedTuple):
    """What `make_min_lstm` was given.

    Example:
      >>> from jaxrnn.cells.linear import min_lstm
      >>> min_lstm.spec.candidate
      'linear'
    """

    candidate: Candidate = "linear"
    use_bias: bool = True

    def make(self) -> Cell[InputParams, Array]:
        """The cell."""
        return make_min_lstm(**self._asdict())


@documented
def make_min_lstm(
    *, candidate: Candidate = "linear", use_bias: bool = True
) -> Cell[InputParams, Array]:
    r"""A minimal LSTM, linear in its state, its two gates made to add up to one.

    .. math::
        f, i &= \sigma(W_{f,i}\, x_t + b_{f,i}) \\
        h_t &= \frac{f}{f + i} \odot h_{t-1} + \frac{i}{f + i} \odot g(W_h x_t + b_h)

    with g as in `make_min_gru`. The quotients are computed as :math:`\sigma(\mp d)`,
    :math:`d = \log(i / f)`, which has no 0/0 where both gates are shut. The blocks of W are in the
    order f, i, h. The carry is h, ``(*batch, H)``, float32 at least, in the positive form too: a
    sequence continued from its own state is the whole sequence.

    Args:
      candidate: g, ``"linear"`` or ``"positive"``.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `InputParams` and coefficients. Its ``init`` takes ``kernel_init`` (uniform on
      ±1/√D), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      ValueError: for another candidate.

    Source: Feng et al. (2024), Were RNNs all we needed?, arXiv:2410.01201.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_min_lstm
      >>> cell = make_min_lstm(candidate="positive")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_choice("candidate", candidate, ("linear", "positive"))
    check_bool("use_bias", use_bias)
    spec = MinLSTMSpec(candidate, use_bias)

    def carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return state(params, params.input_kernel.shape[1] // 3, batch_shape)

    def gated(params: InputParams, z: Array) -> LinearGates:
        f, i, _ = jnp.split(z, 3, axis=-1)
        write = gates(jax.nn.softplus(-f) - jax.nn.softplus(-i), "s")[0]
        return LinearGates(1 - write, write)

    def coefficients(params: InputParams, z: Array) -> tuple[Any, Any]:
        gate = gated(params, z)
        return gate.keep, gate.write * content(jnp.split(z, 3, axis=-1)[2], candidate)

    init = input_init(3, kernel_init=fan_in, use_bias=use_bias)
    name = name_of("min_lstm", spec)
    return linear_cell(
        name, init, carry, project_blocks, coefficients, read_state, gates=gated, spec=spec
    )


min_lstm = make_min_lstm()
r"""The minimal LSTM, :math:`h_t = f' \odot h_{t-1} + i' \odot (W_h x_t + b_h)` with two gates of
the input that are divided by their sum.

Params `InputParams`, blocks f, i, h; carry and output h. Source: Feng et al. (2024), Were RNNs all
we needed?, arXiv:2410.01201.
"""
