"""The cell that an architecture search found."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of, zeros
from jaxrnn.cells.blocks import gates, linear, tanh
from jaxrnn.cells.lstm_records import LSTMCarry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import SimplifiedParams, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import wide_carry
from jaxrnn.checks import check_bool

__all__ = ["NASSpec", "make_nas", "nas"]


class NASSpec(NamedTuple):
    """What `make_nas` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.nas.spec.use_bias
      False
    """

    use_bias: bool = False

    def make(self) -> Cell[SimplifiedParams, LSTMCarry]:
        """The cell."""
        return make_nas(**self._asdict())


@documented
def make_nas(*, use_bias: bool = False) -> Cell[SimplifiedParams, LSTMCarry]:
    r"""The cell of the neural architecture search, as TensorFlow has it.

    .. math::
        x_k &= W_k x_t, \quad m_k = R_k h_{t-1} + b_k, \quad k = 0 \dots 7 \\
        l_{0,2,5,7} &= \sigma(x_k + m_k), \quad l_{4,6} = \tanh(x_k + m_k) \\
        l_1 &= \max(0, x_1 + m_1), \quad l_3 = \max(0, x_3 \odot m_3) \\
        c_t &= \tanh(\tanh(l_0 \odot l_1) + c_{t-1}) \odot \tanh(l_2 + l_3) \\
        h_t &= \tanh(c_t \odot \tanh(\tanh(l_4 \odot l_5) + \sigma(l_6 + l_7)))

    The carry is (h, c), `LSTMCarry`; the output is h, which TensorFlow calls m. Of the fourth
    block input and state are multiplied, as there.

    Args:
      use_bias: whether ``init`` gives a b by default; it is the state's, as in TensorFlow.

    Returns:
      A `Cell` with `SimplifiedParams`, eight blocks in the order above. Its ``init`` takes
      ``kernel_init`` and ``recurrent_init`` (glorot), ``bias_init`` (zeros) and ``use_bias``.

    Source: Zoph and Le (2017), Neural architecture search with reinforcement learning,
    arXiv:1611.01578.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_nas(use_bias=True)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    spec = NASSpec(use_bias)

    def carry(params: SimplifiedParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        kernel = params.recurrent_kernel
        h = zeros(batch_shape, kernel.shape[0], kernel.dtype)
        return LSTMCarry(h, wide_carry(params, batch_shape))

    def project(params: SimplifiedParams, x: Array) -> SimplifiedPreActivations:
        return SimplifiedPreActivations(x=linear(x, params.input_kernel))

    def recurrent(params: SimplifiedParams, s: LSTMCarry) -> SimplifiedPreActivations:
        return SimplifiedPreActivations(h=linear(s.h, params.recurrent_kernel, params.bias))

    def update(params: SimplifiedParams, s: LSTMCarry, z: SimplifiedPreActivations) -> LSTMCarry:
        a = jnp.split(z.x + z.h, 8, axis=-1)
        x, m = (jnp.split(part, 8, axis=-1)[3] for part in (z.x, z.h))
        smooth = jnp.concatenate([a[k] for k in (0, 2, 4, 5, 6, 7)], axis=-1)
        l0, l2, l4, l5, l6, l7 = gates(smooth, "sststs")
        l1, l3 = jax.nn.relu(a[1]), jax.nn.relu(x * m)
        c = tanh(tanh(l0 * l1) + s.c) * tanh(l2 + l3)
        h = tanh(c * tanh(tanh(l4 * l5) + jax.nn.sigmoid(l6 + l7)))
        return LSTMCarry(h.astype(s.h.dtype), c)

    def bounds(params: SimplifiedParams, start: LSTMCarry, count: int) -> LSTMCarry:
        return LSTMCarry(jnp.maximum(start.h, 1), jnp.maximum(start.c, 1))

    return Cell(
        name_of("nas", spec),
        drawn(SimplifiedParams, (8, 8, 8), recurrent=initializers.glorot, biases=use_bias),
        carry,
        project,
        recurrent,
        update,
        lambda params, s, z: s.h,
        bounds=bounds,
        spec=spec,
    )


nas = make_nas()
r"""The cell of the neural architecture search, without biases; see `make_nas`.

Params `SimplifiedParams`, carry `LSTMCarry`, output h. Source: Zoph and Le (2017),
arXiv:1611.01578.
"""
