"""Two cells with one gate and a candidate of the input alone: STAR and the light recurrent unit."""

from __future__ import annotations

from typing import NamedTuple

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, tanh
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import at_most_one, mixed, project_apart, recurrent_apart
from jaxrnn.checks import check_bool

__all__ = ["StarSpec", "light_ru", "make_star", "star"]


class StarSpec(NamedTuple):
    """What `make_star` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.star.spec.squash, jaxrnn.cells.light_ru.spec.squash
      (True, False)
    """

    squash: bool = True
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_star(**self._asdict())


@documented
def make_star(*, squash: bool = True, use_bias: bool = True) -> Cell[SimplifiedParams, Array]:
    r"""A stackable recurrent cell, or without its outer tanh a light recurrent unit.

    .. math::
        k &= \sigma(W_k x_t + R_k h_{t-1} + b_k), \quad n = \tanh(W_n x_t + b_n) \\
        h_t &= \tanh((1 - k) \odot h_{t-1} + k \odot n)
            \quad \text{or, not squashed, } (1 - k) \odot h_{t-1} + k \odot n

    The carry is h, ``(*batch, H)``, and so is the output. This is the paper of STAR; the code of
    its authors writes with :math:`1 - \sigma(s - 1)` where it keeps with σ(s), as `janet` does.

    Args:
      squash: whether the new state passes through tanh: STAR; else the light recurrent unit.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order k, n: two of W and b, one of R.
      Its ``init`` takes ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init``
      (zeros; ``jaxrnn.initializers.chrono(t_max, gates="in")`` for memories of t_max steps) and
      ``use_bias``.

    Source: Turkoglu et al. (2021), Gating revisited: deep multi-layer RNNs that can be trained,
    arXiv:1911.11033; Ye et al. (2024), Light recurrent unit: towards an interpretable recurrent
    neural network for modeling long-range dependency.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_star()
      >>> chrono = jaxrnn.initializers.chrono(100, gates="in")
      >>> params = cell.init(jax.random.key(0), 3, 5, bias_init=chrono)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("squash", squash)
    check_bool("use_bias", use_bias)
    spec = StarSpec(squash, use_bias)

    def mixture(params: SimplifiedParams, h: Array, z: SimplifiedPreActivations) -> Mixture:
        (k,) = gates(z.a, "s")
        return Mixture(1 - k, k, tanh(z.x))

    return Cell(
        name_of("star", spec),
        drawn(SimplifiedParams, (2, 1, 2), biases=use_bias),
        zero_carry,
        project_apart,
        recurrent_apart,
        mixed(mixture, squash=tanh) if squash else mixed(mixture),
        gates=mixture,
        bounds=at_most_one,
        spec=spec,
    )


star = make_star()
r"""The stackable recurrent cell.

.. math::
    k &= \sigma(W_k x_t + R_k h_{t-1} + b_k) \\
    h_t &= \tanh((1 - k) \odot h_{t-1} + k \odot \tanh(W_n x_t + b_n))

Params `SimplifiedParams`, carry and output h. Source: Turkoglu et al. (2021), arXiv:1911.11033.
"""

light_ru = make_star(squash=False)
r"""The light recurrent unit, `star` without its outer tanh.

.. math:: h_t = (1 - f) \odot h_{t-1} + f \odot \tanh(W_n x_t + b_n)

with :math:`f = \sigma(W_f x_t + R_f h_{t-1} + b_f)`. Source: Ye et al. (2024), Light recurrent
unit.
"""
