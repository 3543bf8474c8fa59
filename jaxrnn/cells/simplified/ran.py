"""The recurrent additive network: a state that only adds up what the inputs say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of, zeros
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import gates, limit, named
from jaxrnn.cells.lstm_records import LSTMCarry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import mixed, project_apart, recurrent_apart, wide_carry
from jaxrnn.checks import check_bool

__all__ = ["RANSpec", "make_ran", "ran"]


class RANSpec(NamedTuple):
    """What `make_ran` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.ran.spec.activation
      'tanh'
    """

    activation: str | Callable[[Array], Array] = "tanh"
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, LSTMCarry]:
        """The cell."""
        return make_ran(**self._asdict())


@documented
def make_ran(
    *, activation: str | Callable[[Array], Array] = "tanh", use_bias: bool = True
) -> Cell[SimplifiedParams, LSTMCarry]:
    r"""A recurrent additive network.

    .. math::
        i, f &= \sigma(W_{i,f}\, x_t + R_{i,f}\, h_{t-1} + b_{i,f}) \\
        c_t &= f \odot c_{t-1} + i \odot (W_c x_t) \\
        h_t &= \varphi(c_t)

    The state is a weighted sum of the inputs, seen through W_c. The carry is (h, c), the output h.

    Args:
      activation: φ, ``"tanh"`` or ``"identity"`` in the paper, another name of
        `jaxrnn.cells.ACTIVATIONS` or an elementwise function.
      use_bias: whether ``init`` gives biases by default; the content has none.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order i, f, c: three of W, two of the
      others. Its ``init`` takes ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal),
      ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      ValueError: for an unknown activation.

    Source: Lee, Levy and Zettlemoyer (2017), Recurrent additive networks, arXiv:1705.07393.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_ran(activation="identity")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> bool((y == carry.c).all())
      True
    """
    check_bool("use_bias", use_bias)
    phi = resolve(activation, "activation")
    spec = RANSpec(named(activation, "activation"), use_bias)

    def carry(params: SimplifiedParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        kernel = params.recurrent_kernel
        return LSTMCarry(
            zeros(batch_shape, kernel.shape[0], kernel.dtype), wide_carry(params, batch_shape)
        )

    def recurrent(params: SimplifiedParams, s: LSTMCarry) -> SimplifiedPreActivations:
        return recurrent_apart(params, s.h)

    def mixture(params: SimplifiedParams, s: LSTMCarry, z: SimplifiedPreActivations) -> Mixture:
        i, f = gates(z.a, "ss")
        return Mixture(f, i, z.x)

    accumulate = mixed(lambda params, c, mixture: mixture)

    def update(params: SimplifiedParams, s: LSTMCarry, z: SimplifiedPreActivations) -> LSTMCarry:
        c = accumulate(params, s.c, mixture(params, s, z))
        return LSTMCarry(phi(c).astype(s.h.dtype), c)

    def bounds(params: SimplifiedParams, start: LSTMCarry, count: Any) -> LSTMCarry:
        return LSTMCarry(jnp.maximum(start.h, 1), jnp.full_like(start.c, jnp.inf))

    squashed = limit(spec.activation) == 1
    return Cell(
        name_of("ran", spec),
        drawn(SimplifiedParams, (3, 2, 2), biases=use_bias),
        carry,
        project_apart,
        recurrent,
        update,
        lambda params, s, z: s.h,
        gates=mixture,
        bounds=bounds if squashed else None,
        spec=spec,
    )


ran = make_ran()
r"""The recurrent additive network with tanh.

.. math::
    i, f &= \sigma(W_{i,f}\, x_t + R_{i,f}\, h_{t-1} + b_{i,f}) \\
    c_t &= f \odot c_{t-1} + i \odot (W_c x_t), \quad h_t = \tanh(c_t)

Params `SimplifiedParams`, carry `LSTMCarry`, output h. Source: Lee, Levy and Zettlemoyer (2017),
arXiv:1705.07393.
"""
