"""The addition-subtraction twin-gated network: both gates out of the same two products."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import mixed, narrow, project_all, recurrent_all, wide_carry
from jaxrnn.checks import check_bool

__all__ = ["ATRSpec", "atr", "make_atr"]


class ATRSpec(NamedTuple):
    """What `make_atr` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.atr.spec.use_bias
      False
    """

    use_bias: bool = False

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_atr(**self._asdict())


@documented
def make_atr(*, use_bias: bool = False) -> Cell[SimplifiedParams, Array]:
    r"""An addition-subtraction twin-gated network.

    .. math::
        p &= W x_t + b, \quad q = R h_{t-1} \\
        h_t &= \sigma(p + q) \odot p + \sigma(p - q) \odot h_{t-1}

    The carry is h, ``(*batch, H)``, float32 for the half types; the output is h.

    Args:
      use_bias: whether ``init`` gives a b by default; published without.

    Returns:
      A `Cell` with `SimplifiedParams`, one block each. Its ``init`` takes ``kernel_init``
      (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and ``use_bias``.

    Source: Zhang et al. (2018), Simplifying neural machine translation with addition-subtraction
    twin-gated recurrent networks, arXiv:1810.12546.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_atr(use_bias=True)
      >>> cell.init(jax.random.key(0), 3, 5).bias.shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    spec = ATRSpec(use_bias)

    def project(params: SimplifiedParams, x: Array) -> SimplifiedPreActivations:
        return SimplifiedPreActivations(x=project_all(params, x))

    def recurrent(params: SimplifiedParams, h: Array) -> SimplifiedPreActivations:
        return SimplifiedPreActivations(h=recurrent_all(params, h))

    def mixture(params: SimplifiedParams, h: Array, z: SimplifiedPreActivations) -> Mixture:
        p, q = z.x, z.h
        keep, write = gates(jnp.concatenate([p - q, p + q], axis=-1), "ss")
        return Mixture(keep, write, p)

    return Cell(
        name_of("atr", spec),
        drawn(SimplifiedParams, (1, 1, 1), biases=use_bias),
        wide_carry,
        project,
        recurrent,
        mixed(mixture),
        narrow,
        gates=mixture,
        spec=spec,
    )


atr = make_atr()
r"""The addition-subtraction twin-gated network, without a bias.

.. math::
    p = W x_t, \quad q = R h_{t-1}, \quad
    h_t = \sigma(p + q) \odot p + \sigma(p - q) \odot h_{t-1}

Params `SimplifiedParams`, carry and output h. Source: Zhang et al. (2018), arXiv:1810.12546.
"""
