"""The chaos-free network: without input its state always comes to rest at zero."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, tanh
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import mixed, project_apart, recurrent_apart
from jaxrnn.checks import check_bool

__all__ = ["CFNSpec", "cfn", "make_cfn"]


class CFNSpec(NamedTuple):
    """What `make_cfn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.cfn.spec.use_bias
      True
    """

    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_cfn(**self._asdict())


@documented
def make_cfn(*, use_bias: bool = True) -> Cell[SimplifiedParams, Array]:
    r"""A chaos-free network.

    .. math::
        \theta &= \sigma(W_\theta x_t + R_\theta h_{t-1} + b_\theta) \\
        \eta &= \sigma(W_\eta x_t + R_\eta h_{t-1} + b_\eta) \\
        h_t &= \theta \odot \tanh(h_{t-1}) + \eta \odot \tanh(W_n x_t)

    The carry is h, ``(*batch, H)``, and so is the output; after one step no part of it exceeds 2.

    Args:
      use_bias: whether ``init`` gives biases by default; the candidate has none.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order θ (keeps), η (writes), n: three of
      W, two of the others. Its ``init`` takes ``kernel_init`` (glorot), ``recurrent_init``
      (orthogonal), ``bias_init`` (1 for θ, −1 for η) and ``use_bias``.

    Source: Laurent and von Brecht (2017), A recurrent neural network without chaos,
    arXiv:1612.06212.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_cfn()
      >>> cell.init(jax.random.key(0), 3, 2).bias.tolist()
      [1.0, 1.0, -1.0, -1.0]
    """
    check_bool("use_bias", use_bias)
    spec = CFNSpec(use_bias)

    def mixture(params: SimplifiedParams, h: Array, z: SimplifiedPreActivations) -> Mixture:
        keep, write = gates(z.a, "ss")
        return Mixture(keep, write, tanh(z.x))

    def bounds(params: SimplifiedParams, start: Array, count: Any) -> Array:
        return jnp.maximum(start, 2)

    return Cell(
        name_of("cfn", spec),
        drawn(
            SimplifiedParams,
            (3, 2, 2),
            bias=(initializers.constant(1.0), initializers.constant(-1.0)),
            biases=use_bias,
        ),
        zero_carry,
        project_apart,
        recurrent_apart,
        mixed(mixture, read=tanh),
        gates=mixture,
        bounds=bounds,
        spec=spec,
    )


cfn = make_cfn()
r"""The chaos-free network.

.. math::
    \theta &= \sigma(W_\theta x_t + R_\theta h_{t-1} + b_\theta) \\
    \eta &= \sigma(W_\eta x_t + R_\eta h_{t-1} + b_\eta) \\
    h_t &= \theta \odot \tanh(h_{t-1}) + \eta \odot \tanh(W_n x_t)

Params `SimplifiedParams`, carry and output h. Source: Laurent and von Brecht (2017),
arXiv:1612.06212.
"""
