"""JANET: just another network, the LSTM with a forget gate and nothing else."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams
from jaxrnn.cells.simplified.shared import (
    check_number,
    mixed,
    narrow,
    project_all,
    recurrent_all,
    wide_carry,
)
from jaxrnn.checks import check_bool

__all__ = ["JANETSpec", "janet", "make_janet"]


class JANETSpec(NamedTuple):
    """What `make_janet` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.janet.spec.beta
      1.0
    """

    beta: float = 1.0
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_janet(**self._asdict())


@documented
def make_janet(*, beta: float = 1.0, use_bias: bool = True) -> Cell[SimplifiedParams, Array]:
    r"""A JANET.

    .. math::
        s &= W_s x_t + R_s c_{t-1} + b_s \\
        n &= \tanh(W_n x_t + R_n c_{t-1} + b_n) \\
        c_t &= \sigma(s) \odot c_{t-1} + (1 - \sigma(s - \beta)) \odot n

    The carry is c, ``(*batch, H)``, float32 for the half types; the output is c. No part of it
    exceeds :math:`e^{\beta}`, with β > 0: a unit that keeps everything still writes a little.

    Args:
      beta: β, by how much the gate that writes lags behind the one that forgets.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order s, n. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (1 for s, 0 for n;
      ``jaxrnn.initializers.chrono(t_max, gates="fn")`` is the one published, which has to know
      how long a memory is wanted) and ``use_bias``.

    Raises:
      TypeError: for a β that is no number.
      ValueError: for one that is not finite.

    Source: van der Westhuizen and Lasenby (2018), The unreasonable effectiveness of the forget
    gate, arXiv:1804.04849.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.janet
      >>> chrono = jaxrnn.initializers.chrono(100, gates="fn")
      >>> params = cell.init(jax.random.key(0), 3, 5, bias_init=chrono)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    beta = check_number("beta", beta)
    spec, most = JANETSpec(beta, use_bias), math.exp(max(beta, 0.0))

    def mixture(params: SimplifiedParams, c: Array, z: Array) -> Mixture:
        s, n = jnp.split(z, 2, axis=-1)
        return Mixture(*gates(jnp.concatenate([s, beta - s, n], axis=-1), "sst"))

    def bounds(params: SimplifiedParams, start: Array, count: Any) -> Array:
        return jnp.maximum(start, most)

    forget = initializers.constant(1.0), initializers.zeros
    return Cell(
        name_of("janet", spec),
        drawn(SimplifiedParams, (2, 2, 2), bias=forget, biases=use_bias),
        wide_carry,
        project_all,
        recurrent_all,
        mixed(mixture),
        narrow,
        gates=mixture,
        bounds=bounds,
        spec=spec,
    )


janet = make_janet()
r"""JANET with β = 1.

.. math::
    c_t = \sigma(s) \odot c_{t-1} + (1 - \sigma(s - 1)) \odot \tanh(W_n x_t + R_n c_{t-1} + b_n)

with :math:`s = W_s x_t + R_s c_{t-1} + b_s`. Params `SimplifiedParams`, carry and output c.
Source: van der Westhuizen and Lasenby (2018), arXiv:1804.04849.
"""
