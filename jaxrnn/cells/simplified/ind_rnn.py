"""The independently recurrent network: each unit sees its own state alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Cell, DType, documented, name_of, zeros
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import like, limit, named, wide
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import DiagonalParams
from jaxrnn.cells.simplified.shared import at_most_one, check_number, project_all
from jaxrnn.checks import check_bool

__all__ = ["IndRNNSpec", "ind_rnn", "make_ind_rnn", "unit_uniform"]


def unit_uniform(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    """Uniform on [0, 1): the paper's weights from a unit to itself.

    Args:
      key: a PRNG key.
      shape: any.
      dtype: the dtype returned.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.simplified.ind_rnn import unit_uniform
      >>> bool((unit_uniform(jax.random.key(0), (9,)) >= 0).all())
      True
    """
    return jax.random.uniform(key, shape, dtype)


class IndRNNSpec(NamedTuple):
    """What `make_ind_rnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.ind_rnn.spec.activation
      'relu'
    """

    activation: str | Callable[[Array], Array] = "relu"
    max_recurrent: float | None = None
    use_bias: bool = True

    def make(self) -> Cell[DiagonalParams, Array]:
        """The cell."""
        return make_ind_rnn(**self._asdict())


@documented
def make_ind_rnn(
    *,
    activation: str | Callable[[Array], Array] = "relu",
    max_recurrent: float | None = None,
    use_bias: bool = True,
) -> Cell[DiagonalParams, Array]:
    r"""An IndRNN, :math:`h_t = \varphi(W x_t + u \odot h_{t-1} + b)`.

    The carry is h, ``(*batch, H)``, and so is the output. There is no product inside the loop.

    Args:
      activation: φ, ``"relu"``, ``"tanh"``, another name of `jaxrnn.cells.ACTIVATIONS` or an
        elementwise function.
      max_recurrent: u is clipped to ± this wherever it is used; None for not at all. The paper
        has :math:`2^{1/T}` for relu and sequences of T steps, over which no state then more than
        doubles by itself.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `DiagonalParams`, one block each. Its ``init`` takes ``kernel_init``
      (glorot), ``recurrent_init`` (uniform on [0, 1)), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      ValueError: for an unknown activation or a bound that is not positive.
      TypeError: for a bound that is no number.

    Source: Li et al. (2018), Independently recurrent neural network (IndRNN): building a longer
    and deeper RNN, arXiv:1803.04831.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_ind_rnn(activation="tanh", max_recurrent=1.0)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    if max_recurrent is not None:
        max_recurrent = check_number("max_recurrent", max_recurrent, above=0)
    phi = resolve(activation, "activation")
    spec = IndRNNSpec(named(activation, "activation"), max_recurrent, use_bias)
    init = drawn(DiagonalParams, (1, 1, 1), recurrent=unit_uniform, biases=use_bias)

    def carry(params: DiagonalParams, batch_shape: tuple[int, ...] = ()) -> Array:
        u = params.recurrent_diagonal
        return zeros(batch_shape, u.shape[0], u.dtype)

    def recurrent(params: DiagonalParams, h: Array) -> Array:
        u = params.recurrent_diagonal
        if max_recurrent is not None:
            u = jnp.clip(u, -max_recurrent, max_recurrent)
        h = h.astype(wide(h.dtype))
        return h * like(u, h)

    def update(params: DiagonalParams, h: Array, z: Array) -> Array:
        return phi(z).astype(h.dtype)

    squashed = limit(spec.activation) == 1
    return Cell(
        name_of("ind_rnn", spec),
        init,
        carry,
        project_all,
        recurrent,
        update,
        bounds=at_most_one if squashed else None,
        spec=spec,
    )


ind_rnn = make_ind_rnn()
r"""The independently recurrent network of rectified linear units.

.. math:: h_t = \max(0,\, W x_t + u \odot h_{t-1} + b)

Params `DiagonalParams`, carry and output h. Source: Li et al. (2018), arXiv:1803.04831.
"""
