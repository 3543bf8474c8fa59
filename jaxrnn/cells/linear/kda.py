"""Kimi delta attention: the delta rule on a state each of whose rows decays by itself."""

from __future__ import annotations

from typing import NamedTuple

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import gates, named
from jaxrnn.cells.linear.common import InputParams
from jaxrnn.cells.linear.delta_net import Activation
from jaxrnn.cells.linear.matrices import delta_cell
from jaxrnn.cells.linear.start import input_init
from jaxrnn.checks import check_bool, check_positive

__all__ = ["KDASpec", "kda", "make_kda"]


class KDASpec(NamedTuple):
    """What `make_kda` was given.

    Example:
      >>> from jaxrnn.cells.linear import kda
      >>> kda.spec.num_heads
      1
    """

    num_heads: int = 1
    activation: Activation = "identity"
    use_bias: bool = False

    def make(self) -> Cell[InputParams, Array]:
        """The cell."""
        return make_kda(**self._asdict())


@documented
def make_kda(
    *, num_heads: int = 1, activation: Activation = "identity", use_bias: bool = False
) -> Cell[InputParams, Array]:
    r"""Kimi delta attention: a gated DeltaNet with a decay for each key.

    .. math::
        \alpha &= \sigma(W_\alpha x_t) \\
        S' &= \mathrm{diag}(\alpha)\, S_{t-1} \\
        S_t &= S' + \beta\, k\, (v - {S'}^\top k)^\top \\
        o_t &= S_t^\top q / \sqrt K

    with q, k, v, β as in `make_delta_net`, for each head, K = H / heads. The input kernel is
    ``(D, 4H + heads)``, blocks q, k, v, α and a column of β for each head. The carry is S,
    ``(*batch, heads, K, K)``, float32 at least; the output ``(*batch, H)`` is o, the heads side by
    side. α is a plain logistic of one full product: the published model has a thin one and the
    rate and the shift of a gated DeltaNet, which are this at a rate of 1, up to signs.

    Args:
      num_heads: how many heads; H must be a multiple.
      activation: of q and k before they are normalized, a name of `jaxrnn.cells.ACTIVATIONS` or a
        function such as ``jax.nn.silu``, which the paper takes.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `InputParams` and coefficients, a `jaxrnn.base.Matrix` among them. Its ``init``
      takes ``kernel_init`` (glorot), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a number of heads that is not an int.
      ValueError: for one below 1, or an unknown activation; from ``init``, for an H that is no
        multiple.

    Source: Kimi Team (2025), Kimi Linear: an expressive, efficient attention architecture,
    arXiv:2510.26692.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_kda
      >>> cell = make_kda(num_heads=2)
      >>> params = cell.init(jax.random.key(0), 3, 8)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (8,)
    """
    check_positive("num_heads", num_heads)
    check_bool("use_bias", use_bias)
    phi = resolve(activation, "activation")
    spec = KDASpec(num_heads, named(phi, "activation"), use_bias)
    init = input_init(
        4, kernel_init=initializers.glorot, use_bias=use_bias, heads=num_heads, extra=1
    )
    return delta_cell(
        name_of("kda", spec),
        init,
        blocks=4,
        extra=1,
        heads=num_heads,
        activation=phi,
        decay=lambda params, block, more: gates(block, "s")[0],
        spec=spec,
    )


kda = make_kda()
r"""Kimi delta attention with one head:
:math:`S' = \mathrm{diag}(\alpha) S_{t-1}`, :math:`S_t = S' + \beta\, k\, (v - {S'}^\top k)^\top`.

Params `InputParams`, blocks q, k, v, α, β; carry S, output :math:`S_t^\top q / \sqrt H`. Source:
Kimi Team (2025), Kimi Linear: an expressive, efficient attention architecture, arXiv:2510.26692.
"""
