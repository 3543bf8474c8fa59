"""The bistable recurrent cells, whose units can hold a value for ever."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of, zeros
from jaxrnn.cells.blocks import gates, like, tanh, wide
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import (
    DiagonalParams,
    Mixture,
    SimplifiedParams,
    SimplifiedPreActivations,
)
from jaxrnn.cells.simplified.shared import at_most_one, mixed, project_apart, recurrent_apart
from jaxrnn.checks import check_bool

__all__ = ["BRCSpec", "brc", "make_brc", "nbrc"]


class BRCSpec(NamedTuple):
    """What `make_brc` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.nbrc.spec.neuromodulated
      True
    """

    neuromodulated: bool = False
    use_bias: bool = True

    def make(self) -> Cell[Any, Array]:
        """The cell."""
        return make_brc(**self._asdict())


@documented
def make_brc(*, neuromodulated: bool = False, use_bias: bool = True) -> Cell[Any, Array]:
    r"""A bistable recurrent cell.

    .. math::
        a &= 1 + \tanh(W_a x_t + w_a \odot h_{t-1} + b_a) \\
        c &= \sigma(W_c x_t + w_c \odot h_{t-1} + b_c) \\
        h_t &= c \odot h_{t-1} + (1 - c) \odot \tanh(W_n x_t + a \odot h_{t-1})

    and, neuromodulated, :math:`R_a h_{t-1}` and :math:`R_c h_{t-1}` in the place of the diagonal
    terms. Where a is above 1, a unit has two stable states. The carry is h, ``(*batch, H)``, and
    so is the output. Not neuromodulated, there is no product inside the loop.

    Args:
      neuromodulated: whether the gates of a unit see all units (nBRC) or that one alone (BRC).
      use_bias: whether ``init`` gives biases by default; the candidate has none.

    Returns:
      A `Cell` with `DiagonalParams`, or neuromodulated `SimplifiedParams`, the blocks in the
      order a, c, n: three of W, two of the others. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (ones, or neuromodulated glorot), ``bias_init`` (zeros) and ``use_bias``;
      the defaults are those of the authors' code.

    Source: Vecoven, Ernst and Drion (2021), A bio-inspired bistable recurrent cell allows for
    long-lasting memory, arXiv:2006.05252.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_brc(neuromodulated=True)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.recurrent_kernel.shape
      ((3, 15), (5, 10))
    """
    check_bool("neuromodulated", neuromodulated)
    check_bool("use_bias", use_bias)
    spec = BRCSpec(neuromodulated, use_bias)

    def carry(params: DiagonalParams, batch_shape: tuple[int, ...] = ()) -> Array:
        w = params.recurrent_diagonal
        return zeros(batch_shape, w.shape[0] // 2, w.dtype)

    def recurrent(params: DiagonalParams, h: Array) -> SimplifiedPreActivations:
        both = jnp.concatenate([h, h], axis=-1).astype(wide(h.dtype))
        return SimplifiedPreActivations(both * like(params.recurrent_diagonal, both))

    def mixture(params: Any, h: Array, z: SimplifiedPreActivations) -> Mixture:
        a, c = gates(z.a, "ts")
        return Mixture(c, 1 - c, tanh(z.x + (1 + a) * h.astype(a.dtype)))

    record, ones = DiagonalParams, initializers.constant(1.0)
    if neuromodulated:
        record, ones = SimplifiedParams, initializers.glorot
    return Cell(
        name_of("brc", spec),
        drawn(record, (3, 2, 2), recurrent=ones, biases=use_bias),
        zero_carry if neuromodulated else carry,
        project_apart,
        recurrent_apart if neuromodulated else recurrent,
        mixed(mixture),
        gates=mixture,
        bounds=at_most_one,
        spec=spec,
    )


brc = make_brc()
r"""The bistable recurrent cell, each of whose units sees its own state alone.

.. math::
    a &= 1 + \tanh(W_a x_t + w_a \odot h_{t-1} + b_a), \quad
    c = \sigma(W_c x_t + w_c \odot h_{t-1} + b_c) \\
    h_t &= c \odot h_{t-1} + (1 - c) \odot \tanh(W_n x_t + a \odot h_{t-1})

Params `DiagonalParams`, carry and output h. Source: Vecoven, Ernst and Drion (2021),
arXiv:2006.05252.
"""

nbrc = make_brc(neuromodulated=True)
r"""`brc` whose gates see all units: :math:`R_a h_{t-1}` and :math:`R_c h_{t-1}` in the place of
:math:`w_a \odot h_{t-1}` and :math:`w_c \odot h_{t-1}`. Params `SimplifiedParams`.
"""
