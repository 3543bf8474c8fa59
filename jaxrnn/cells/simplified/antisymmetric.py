"""The antisymmetric network: Euler steps along a flow that neither grows nor decays."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, linear, tanh
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams
from jaxrnn.cells.simplified.shared import check_number, mixed, narrow, project_all, wide_carry
from jaxrnn.checks import check_bool

__all__ = ["AntisymmetricSpec", "antisymmetric_rnn", "make_antisymmetric_rnn"]


class AntisymmetricSpec(NamedTuple):
    """What `make_antisymmetric_rnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.antisymmetric_rnn.spec.step
      0.1
    """

    step: float = 0.1
    diffusion: float = 0.05
    gated: bool = False
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_antisymmetric_rnn(**self._asdict())


@documented
def make_antisymmetric_rnn(
    *, step: float = 0.1, diffusion: float = 0.05, gated: bool = False, use_bias: bool = True
) -> Cell[SimplifiedParams, Array]:
    r"""An antisymmetric network.

    .. math::
        q &= (M - M^\top - \gamma I)\, h_{t-1} \\
        n &= \tanh(W_n x_t + q + b_n) \\
        h_t &= h_{t-1} + \epsilon\, n
            \quad \text{or, gated, } h_{t-1} + \epsilon\, \sigma(W_z x_t + q + b_z) \odot n

    The eigenvalues of :math:`M - M^\top` are imaginary, so that the flow, without diffusion,
    neither grows nor decays. The carry is h, ``(*batch, H)``, float32 for the half types; the
    output is h. The state is a row, :math:`q = h (M - M^\top - \gamma I)` in code.

    Args:
      step: ε, the length of a step.
      diffusion: γ, which makes up for what Euler's method adds.
      gated: whether a gate scales what is added; it sees the state through the same q.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `SimplifiedParams`: `recurrent_kernel` is M, ``(H, H)``; the other blocks are
      n, or n and z in that order. Its ``init`` takes ``kernel_init`` (glorot), ``recurrent_init``
      (normal of variance 1/H), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      ValueError: for a step that is not positive or a negative diffusion.
      TypeError: for what is no number.

    Source: Chang et al. (2019), AntisymmetricRNN: a dynamical system view on recurrent neural
    networks, arXiv:1902.09689.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_antisymmetric_rnn(step=0.01, gated=True)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.recurrent_kernel.shape
      ((3, 10), (5, 5))
    """
    check_bool("gated", gated)
    check_bool("use_bias", use_bias)
    step = check_number("step", step, above=0)
    diffusion = check_number("diffusion", diffusion)
    if diffusion < 0:
        raise ValueError(f"diffusion: expected a number of at least 0, got {diffusion}")
    spec, count = AntisymmetricSpec(step, diffusion, gated, use_bias), 2 if gated else 1

    def recurrent(params: SimplifiedParams, h: Array) -> Array:
        m = params.recurrent_kernel
        s = m - m.T - diffusion * jnp.eye(m.shape[0], dtype=m.dtype)
        return jnp.concatenate([linear(h.astype(m.dtype), s)] * count, axis=-1)

    def mixture(params: SimplifiedParams, h: Array, a: Array) -> Mixture:
        n, *z = gates(a, "ts") if gated else [tanh(a)]
        return Mixture(jnp.ones_like(n), step * (z[0] if z else jnp.ones_like(n)), n)

    def bounds(params: SimplifiedParams, start: Array, count: Any) -> Array:
        return start + step * count

    normal = jax.nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    return Cell(
        name_of("antisymmetric_rnn", spec),
        drawn(SimplifiedParams, (count, 1, count), recurrent=normal, biases=use_bias),
        wide_carry,
        project_all,
        recurrent,
        mixed(mixture),
        narrow,
        gates=mixture if gated else None,
        bounds=bounds,
        spec=spec,
    )


antisymmetric_rnn = make_antisymmetric_rnn()
r"""The antisymmetric network with ε = 0.1 and γ = 0.05, not gated.

.. math:: h_t = h_{t-1} + \epsilon \tanh(W x_t + (M - M^\top - \gamma I)\, h_{t-1} + b)

Params `SimplifiedParams`, carry and output h. Source: Chang et al. (2019), arXiv:1902.09689.
"""
