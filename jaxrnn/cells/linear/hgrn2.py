"""HGRN2: the hierarchically gated network with its state expanded to a matrix."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates
from jaxrnn.cells.linear.common import InputParams, LinearGates, linear_cell, project_blocks
from jaxrnn.cells.linear.hgrn import check_lower_bound
from jaxrnn.cells.linear.matrices import heads_of, matrix_carry, read_matrix, write
from jaxrnn.cells.linear.start import input_init
from jaxrnn.checks import check_bool, check_positive

__all__ = ["HGRN2Spec", "hgrn2", "make_hgrn2"]


class HGRN2Spec(NamedTuple):
    """What `make_hgrn2` was given.

    Example:
      >>> from jaxrnn.cells.linear import hgrn2
      >>> hgrn2.spec.num_heads
      1
    """

    num_heads: int = 1
    lower_bound: float = 0.0
    use_bias: bool = False

    def make(self) -> Cell[InputParams, Array]:
        """The cell."""
        return make_hgrn2(**self._asdict())


@documented
def make_hgrn2(
    *, num_heads: int = 1, lower_bound: float = 0.0, use_bias: bool = False
) -> Cell[InputParams, Array]:
    r"""A layer of HGRN2, whose keys are what its forget gate lets go.

    .. math::
        f &= \gamma + (1 - \gamma)\, \sigma(W_f x_t),\quad q, v = W_{q,v}\, x_t \\
        S_t &= \mathrm{diag}(f)\, S_{t-1} + (1 - f)\, v^\top \\
        o_t &= S_t^\top q / \sqrt K

    for each head, K = H / heads. The blocks of W are in the order q, v, f. The carry is S,
    ``(*batch, heads, K, K)``, float32 at least; the output ``(*batch, H)`` is o, the heads side by
    side. The factor :math:`1/\sqrt K` is that of the implementations of gated linear attention,
    which compute this cell as one of theirs.

    Args:
      num_heads: how many heads; H must be a multiple.
      lower_bound: γ, as in `make_hgrn`.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `InputParams` and coefficients. Its ``init`` takes ``kernel_init`` (glorot),
      ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a number of heads that is not an int, or a γ that is not a number.
      ValueError: for a number of heads below 1 or a γ outside of [0, 1); from ``init``, for an H
        that is no multiple.

    Source: Qin et al. (2024), HGRN2: gated linear RNNs with state expansion, arXiv:2404.07904.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_hgrn2
      >>> cell = make_hgrn2(num_heads=2)
      >>> params = cell.init(jax.random.key(0), 3, 8)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (8,)
    """
    check_positive("num_heads", num_heads)
    check_lower_bound(lower_bound)
    check_bool("use_bias", use_bias)
    spec = HGRN2Spec(num_heads, lower_bound, use_bias)

    def carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return matrix_carry(params, params.input_kernel.shape[1] // 3, num_heads, batch_shape)

    def parts(z: Array) -> list[Array]:
        return [heads_of(part, num_heads) for part in jnp.split(z, 3, axis=-1)]

    def gated(params: InputParams, z: Array) -> LinearGates:
        write = (1 - lower_bound) * gates(-parts(z)[2], "s")[0]
        return LinearGates(1 - write, write)

    def coefficients(params: InputParams, z: Array) -> tuple[Array, Array]:
        gate: Any = gated(params, z)
        return gate.keep[..., None], write(gate.write, parts(z)[1])

    def output(params: InputParams, s: Array, z: Array) -> Array:
        return read_matrix(params, s, parts(z)[0])

    init = input_init(3, kernel_init=initializers.glorot, use_bias=use_bias, heads=num_heads)
    name = name_of("hgrn2", spec)
    return linear_cell(
        name, init, carry, project_blocks, coefficients, output, gates=gated, spec=spec
    )


hgrn2 = make_hgrn2()
r"""HGRN2 with one head: :math:`S_t = \mathrm{diag}(f)\, S_{t-1} + (1 - f)\, v^\top`,
:math:`o_t = S_t^\top q / \sqrt H`.

Params `InputParams`, blocks q, v, f; carry S, output o. Source: Qin et al. (2024), HGRN2: gated
linear RNNs with state expansion, arXiv:2404.07904.
"""
