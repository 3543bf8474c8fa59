"""The intersection network: one gate in time, for the state, and one in depth, for the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import gates, named
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import (
    at_most_one,
    check_number,
    mixed,
    project_all,
    recurrent_apart,
    shifted,
)
from jaxrnn.checks import check_bool

__all__ = ["IntersectionSpec", "intersection_rnn", "make_intersection_rnn"]


class IntersectionSpec(NamedTuple):
    """What `make_intersection_rnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.intersection_rnn.spec.output_activation
      'relu'
    """

    forget_bias: float = 1.0
    output_activation: str | Callable[[Array], Array] = "relu"
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_intersection_rnn(**self._asdict())


@documented
def make_intersection_rnn(
    *,
    forget_bias: float = 1.0,
    output_activation: str | Callable[[Array], Array] = "relu",
    use_bias: bool = True,
) -> Cell[SimplifiedParams, Array]:
    r"""An intersection network (+RNN).

    .. math::
        a_k &= W_k x_t + R_k h_{t-1} + b_k, \quad k \in \{g_y, g_h, y, h\} \\
        g_y &= \sigma(a_{g_y} + \beta), \quad g_h = \sigma(a_{g_h} + \beta) \\
        h_t &= g_h \odot h_{t-1} + (1 - g_h) \odot \tanh(a_h) \\
        y_t &= g_y \odot x_t + (1 - g_y) \odot \varphi(a_y)

    The carry is h, ``(*batch, H)``; the output is y, which carries the input on, so D = H. Where
    they differ, TensorFlow's cell projects its input first.

    Args:
      forget_bias: β, part of the equation as in TensorFlow, and so there without biases too.
      output_activation: φ, a name of `jaxrnn.cells.ACTIVATIONS` or an elementwise function.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order g_y, g_h, y, h. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and
      ``use_bias``, and refuses D ≠ H.

    Raises:
      TypeError: for a β that is no number.
      ValueError: for one that is not finite, or an unknown activation.

    Source: Collins, Sohl-Dickstein and Sussillo (2017), Capacity and trainability in recurrent
    neural networks, arXiv:1611.09913.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.intersection_rnn
      >>> cell.init(jax.random.key(0), 3, 5)
      Traceback (most recent call last):
      ValueError: hidden_size: expected 3, the input size, got 5: the cell adds the input itself to
      its units
    """
    check_bool("use_bias", use_bias)
    forget_bias = check_number("forget_bias", forget_bias)
    phi = resolve(output_activation, "output_activation")
    spec = IntersectionSpec(forget_bias, named(output_activation, "output_activation"), use_bias)

    def project(params: SimplifiedParams, x: Array) -> SimplifiedPreActivations:
        a = shifted(project_all(params, x), (forget_bias, forget_bias, 0.0, 0.0))
        return SimplifiedPreActivations(a, x)

    def mixture(params: SimplifiedParams, h: Array, z: SimplifiedPreActivations) -> Mixture:
        _, g, _, n = jnp.split(z.a, 4, axis=-1)
        g, n = gates(jnp.concatenate([g, n], axis=-1), "st")
        return Mixture(g, 1 - g, n)

    def output(params: SimplifiedParams, h: Array, z: SimplifiedPreActivations) -> Array:
        g, _, y, _ = jnp.split(z.a, 4, axis=-1)
        (g,) = gates(g, "s")
        return (g * z.x.astype(g.dtype) + (1 - g) * phi(y)).astype(h.dtype)

    return Cell(
        name_of("intersection_rnn", spec),
        drawn(SimplifiedParams, (4, 4, 4), biases=use_bias, square=True),
        zero_carry,
        project,
        recurrent_apart,
        mixed(mixture),
        output,
        gates=mixture,
        bounds=at_most_one,
        spec=spec,
    )


intersection_rnn = make_intersection_rnn()
r"""The intersection network with β = 1 and relu; D = H.

.. math::
    h_t &= g_h \odot h_{t-1} + (1 - g_h) \odot \tanh(a_h) \\
    y_t &= g_y \odot x_t + (1 - g_y) \odot \max(0, a_y)

with :math:`a = W x_t + R h_{t-1} + b` and :math:`g = \sigma(a + 1)`. Params `SimplifiedParams`,
carry h, output y. Source: Collins, Sohl-Dickstein and Sussillo (2017), arXiv:1611.09913.
"""
