"""The update gate network: between a plain network and a GRU, with one gate."""

from __future__ import annotations

from typing import NamedTuple

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams
from jaxrnn.cells.simplified.shared import (
    at_most_one,
    check_number,
    mixed,
    project_all,
    recurrent_all,
    shifted,
)
from jaxrnn.checks import check_bool

__all__ = ["UGRNNSpec", "make_ugrnn", "ugrnn"]


class UGRNNSpec(NamedTuple):
    """What `make_ugrnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.ugrnn.spec.forget_bias
      1.0
    """

    forget_bias: float = 1.0
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_ugrnn(**self._asdict())


@documented
def make_ugrnn(*, forget_bias: float = 1.0, use_bias: bool = True) -> Cell[SimplifiedParams, Array]:
    r"""An update gate network.

    .. math::
        g &= \sigma(W_g x_t + R_g h_{t-1} + b_g + \beta) \\
        n &= \tanh(W_n x_t + R_n h_{t-1} + b_n) \\
        h_t &= g \odot h_{t-1} + (1 - g) \odot n

    The carry is h, ``(*batch, H)``, and so is the output.

    Args:
      forget_bias: β, part of the equation as in TensorFlow, and so there without biases too.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order g, n. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and
      ``use_bias``.

    Raises:
      TypeError: for a β that is no number.
      ValueError: for one that is not finite.

    Source: Collins, Sohl-Dickstein and Sussillo (2017), Capacity and trainability in recurrent
    neural networks, arXiv:1611.09913.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_ugrnn(forget_bias=0.0)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    forget_bias = check_number("forget_bias", forget_bias)
    spec = UGRNNSpec(forget_bias, use_bias)

    def project(params: SimplifiedParams, x: Array) -> Array:
        return shifted(project_all(params, x), (forget_bias, 0.0))

    def mixture(params: SimplifiedParams, h: Array, z: Array) -> Mixture:
        g, n = gates(z, "st")
        return Mixture(g, 1 - g, n)

    return Cell(
        name_of("ugrnn", spec),
        drawn(SimplifiedParams, (2, 2, 2), biases=use_bias),
        zero_carry,
        project,
        recurrent_all,
        mixed(mixture),
        gates=mixture,
        bounds=at_most_one,
        spec=spec,
    )


ugrnn = make_ugrnn()
r"""The update gate network with β = 1.

.. math::
    g &= \sigma(W_g x_t + R_g h_{t-1} + b_g + 1) \\
    h_t &= g \odot h_{t-1} + (1 - g) \odot \tanh(W_n x_t + R_n h_{t-1} + b_n)

Params `SimplifiedParams`, carry and output h. Source: Collins, Sohl-Dickstein and Sussillo
(2017), arXiv:1611.09913.
"""
