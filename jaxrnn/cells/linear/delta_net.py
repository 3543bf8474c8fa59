"""DeltaNet: a matrix in which what is held at a key is replaced."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import named
from jaxrnn.cells.linear.common import InputParams
from jaxrnn.cells.linear.matrices import delta_cell
from jaxrnn.cells.linear.start import input_init
from jaxrnn.checks import check_bool, check_positive

__all__ = ["Activation", "DeltaNetSpec", "delta_net", "make_delta_net"]

Activation = str | Callable[[Array], Array]


class DeltaNetSpec(NamedTuple):
    """What `make_delta_net` was given.

    Example:
      >>> from jaxrnn.cells.linear import delta_net
      >>> delta_net.spec.activation
      'identity'
    """

    num_heads: int = 1
    activation: Activation = "identity"
    use_bias: bool = False

    def make(self) -> Cell[InputParams, Array]:
        """The cell."""
        return make_delta_net(**self._asdict())


@documented
def make_delta_net(
    *, num_heads: int = 1, activation: Activation = "identity", use_bias: bool = False
) -> Cell[InputParams, Array]:
    r"""A DeltaNet: linear attention that writes by the delta rule.

    .. math::
        q, k &= \frac{\varphi(W_{q,k}\, x_t)}{\lVert \varphi(W_{q,k}\, x_t) \rVert},\quad
            v = W_v x_t,\quad \beta = \sigma(w_\beta x_t) \\
        S_t &= S_{t-1} + \beta\, k\, (v - S_{t-1}^\top k)^\top
            = (I - \beta k k^\top) S_{t-1} + \beta k v^\top \\
        o_t &= S_t^\top q / \sqrt K

    for each head, K = H / heads. The input kernel is ``(D, 3H + heads)``, blocks q, k, v and a
    column of β for each head. The carry is S, ``(*batch, heads, K, K)``, float32 at least; the
    output ``(*batch, H)`` is o, the heads side by side. The short convolutions over time that go
    before q, k and v are not part of the cell.

    Args:
      num_heads: how many heads; H must be a multiple.
      activation: φ, a name of `jaxrnn.cells.ACTIVATIONS` or a function such as ``jax.nn.silu``,
        which the paper takes.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `InputParams` and coefficients, a `jaxrnn.base.Matrix` among them. Its ``init``
      takes ``kernel_init`` (glorot), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a number of heads that is not an int.
      ValueError: for one below 1, or an unknown activation; from ``init``, for an H that is no
        multiple.

    Source: Yang et al. (2024), Parallelizing linear transformers with the delta rule over sequence
    length, arXiv:2406.06484.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_delta_net
      >>> cell = make_delta_net(num_heads=2, activation=jax.nn.silu)
      >>> params = cell.init(jax.random.key(0), 3, 8)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (8,)
    """
    check_positive("num_heads", num_heads)
    check_bool("use_bias", use_bias)
    phi = resolve(activation, "activation")
    spec = DeltaNetSpec(num_heads, named(phi, "activation"), use_bias)
    init = input_init(
        3, kernel_init=initializers.glorot, use_bias=use_bias, heads=num_heads, extra=1
    )
    return delta_cell(
        name_of("delta_net", spec),
        init,
        blocks=3,
        extra=1,
        heads=num_heads,
        activation=phi,
        decay=None,
        spec=spec,
    )


delta_net = make_delta_net()
r"""DeltaNet with one head, :math:`S_t = S_{t-1} + \beta\, k\, (v - S_{t-1}^\top k)^\top`.

Params `InputParams`, blocks q, k, v, β; carry S, output :math:`S_t^\top q / \sqrt H`. Source: Yang
et al. (2024), Parallelizing linear transformers with the delta rule over sequence length,
arXiv:2406.06484.
"""
