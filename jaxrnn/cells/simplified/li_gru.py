"""The light gated recurrent unit: a GRU without a reset gate, of rectified linear units."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import gates, limit, named
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams
from jaxrnn.cells.simplified.shared import at_most_one, mixed, project_all, recurrent_all
from jaxrnn.checks import check_bool

__all__ = ["LiGRUSpec", "li_gru", "make_li_gru"]


class LiGRUSpec(NamedTuple):
    """What `make_li_gru` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.li_gru.spec.activation
      'relu'
    """

    activation: str | Callable[[Array], Array] = "relu"
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_li_gru(**self._asdict())


@documented
def make_li_gru(
    *, activation: str | Callable[[Array], Array] = "relu", use_bias: bool = True
) -> Cell[SimplifiedParams, Array]:
    r"""A light GRU.

    .. math::
        z &= \sigma(W_z x_t + R_z h_{t-1} + b_z) \\
        n &= \varphi(W_n x_t + R_n h_{t-1} + b_n) \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot n

    The carry is h, ``(*batch, H)``, and so is the output. The paper normalizes :math:`W x` over
    the batch, which keeps relu in bounds; a pure cell has no statistics of a batch, and this one
    is without.

    Args:
      activation: φ, ``"relu"`` as published, another name of `jaxrnn.cells.ACTIVATIONS` or an
        elementwise function.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order z, n. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and
      ``use_bias``.

    Raises:
      ValueError: for an unknown activation.

    Source: Ravanelli et al. (2018), Light gated recurrent units for speech recognition,
    arXiv:1803.10225.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_li_gru(activation="tanh")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    phi = resolve(activation, "activation")
    spec = LiGRUSpec(named(activation, "activation"), use_bias)

    def mixture(params: SimplifiedParams, h: Array, z: Array) -> Mixture:
        z, n = jnp.split(z, 2, axis=-1)
        (z,) = gates(z, "s")
        return Mixture(z, 1 - z, phi(n))

    squashed = limit(spec.activation) == 1
    return Cell(
        name_of("li_gru", spec),
        drawn(SimplifiedParams, (2, 2, 2), biases=use_bias),
        zero_carry,
        project_all,
        recurrent_all,
        mixed(mixture),
        gates=mixture,
        bounds=at_most_one if squashed else None,
        spec=spec,
    )


li_gru = make_li_gru()
r"""The light GRU, without the paper's batch normalization.

.. math::
    z &= \sigma(W_z x_t + R_z h_{t-1} + b_z) \\
    h_t &= z \odot h_{t-1} + (1 - z) \odot \max(0,\, W_n x_t + R_n h_{t-1} + b_n)

Params `SimplifiedParams`, carry and output h. Source: Ravanelli et al. (2018), arXiv:1803.10225.
"""
