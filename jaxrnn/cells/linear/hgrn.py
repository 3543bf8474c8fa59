"""The hierarchically gated recurrent network, in its real form."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates
from jaxrnn.cells.linear.common import (
    InputParams,
    LinearGates,
    linear_cell,
    project_blocks,
    read_state,
    state,
)
from jaxrnn.cells.linear.start import input_init
from jaxrnn.checks import check_bool

__all__ = ["HGRNSpec", "check_lower_bound", "hgrn", "make_hgrn"]


class HGRNSpec(NamedTuple):
    """What `make_hgrn` was given.

    Example:
      >>> from jaxrnn.cells.linear import hgrn
      >>> hgrn.spec.lower_bound
      0.0
    """

    lower_bound: float = 0.0
    use_bias: bool = True

    def make(self) -> Cell[InputParams, Array]:
        """The cell."""
        return make_hgrn(**self._asdict())


@documented
def make_hgrn(*, lower_bound: float = 0.0, use_bias: bool = True) -> Cell[InputParams, Array]:
    r"""A layer of a hierarchically gated recurrent network.

    .. math::
        f &= \gamma + (1 - \gamma)\, \sigma(W_f x_t + b_f) \\
        h_t &= f \odot h_{t-1} + (1 - f) \odot \mathrm{SiLU}(W_i x_t + b_i)

    The blocks of W are in the order i, f. The carry is h, ``(*batch, H)``, float32 at least, and so
    is the output, in the parameters' dtype. The state is real, as flash-linear-attention has it;
    in the paper it is complex and turns at each step. The gated normalisation of the output is not
    part of the cell.

    Args:
      lower_bound: γ, below which no forget gate of this layer goes; higher from layer to layer, in
        the paper by a cumulative sum of a softmax over the layers.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `InputParams` and coefficients. Its ``init`` takes ``kernel_init`` (glorot),
      ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a bound that is not a number.
      ValueError: for one outside of [0, 1).

    Source: Qin, Yang and Zhong (2023), Hierarchically gated recurrent neural network for sequence
    modeling, arXiv:2311.04823.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.linear import make_hgrn
      >>> cell = make_hgrn(lower_bound=0.9)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> gates = jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3)))
      >>> bool((gates.keep >= 0.9).all())
      True
    """
    check_lower_bound(lower_bound)
    check_bool("use_bias", use_bias)
    spec = HGRNSpec(lower_bound, use_bias)

    def carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return state(params, params.input_kernel.shape[1] // 2, batch_shape)

    def gated(params: InputParams, z: Array) -> LinearGates:
        write = (1 - lower_bound) * gates(-jnp.split(z, 2, axis=-1)[1], "s")[0]
        return LinearGates(1 - write, write)

    def coefficients(params: InputParams, z: Array) -> tuple[Any, Any]:
        gate: Any = gated(params, z)
        return gate.keep, gate.write * jax.nn.silu(jnp.split(z, 2, axis=-1)[0])

    init = input_init(2, kernel_init=initializers.glorot, use_bias=use_bias)
    name = name_of("hgrn", spec)
    return linear_cell(
        name, init, carry, project_blocks, coefficients, read_state, gates=gated, spec=spec
    )


def check_lower_bound(value: Any) -> None:
    """Raise TypeError or ValueError unless it is a number from 0 to below 1.

    Args:
      value: what came.

    Example:
      >>> from jaxrnn.cells.linear.hgrn import check_lower_bound
      >>> check_lower_bound(0.5)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"lower_bound: expected a number in [0, 1), got {value!r}")
    if not 0 <= value < 1:
        raise ValueError(f"lower_bound: expected a number in [0, 1), got {value}")


hgrn = make_hgrn()
r"""The hierarchically gated recurrent network without a lower bound:
:math:`h_t = f \odot h_{t-1} + (1 - f) \odot \mathrm{SiLU}(W_i x_t + b_i)`.

Params `InputParams`, blocks i, f; carry and output h. Source: Qin, Yang and Zhong (2023),
Hierarchically gated recurrent neural network for sequence modeling, arXiv:2311.04823.
"""
