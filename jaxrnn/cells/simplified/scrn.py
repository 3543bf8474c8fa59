"""The structurally constrained network: some of its units are made to be slow."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of, split, zeros
from jaxrnn.cells.blocks import linear, wide
from jaxrnn.cells.simplified.drawing import Asked, drawn
from jaxrnn.cells.simplified.shared import check_number
from jaxrnn.checks import check_bool, check_positive

__all__ = ["SCRNCarry", "SCRNParams", "SCRNPreActivations", "SCRNSpec", "make_scrn", "scrn"]


class SCRNParams(NamedTuple):
    """Parameters of a structurally constrained network with S slow units.

    Attributes:
      input_kernel: A, ``(D, H)``, from the input to h.
      recurrent_kernel: R, ``(H, H)``, from h to h.
      bias: of h, ``(H,)``, or None.
      slow_kernel: B, ``(D, S)``, from the input to s.
      context_kernel: P, ``(S, H)``, from s to h.
      output_kernel: U, ``(H, H)``, from h to y.
      slow_output_kernel: V, ``(S, H)``, from s to y.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.make_scrn(slow_size=2).init(jax.random.key(0), 3, 5).slow_kernel.shape
      (3, 2)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    slow_kernel: Array
    context_kernel: Array
    output_kernel: Array
    slow_output_kernel: Array


class SCRNCarry(NamedTuple):
    """The state of a structurally constrained network.

    Attributes:
      s: the slow units, ``(*batch, S)``; float32 where h is a half type.
      h: the quick ones, ``(*batch, H)``.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.scrn.carry(jaxrnn.cells.scrn.init(jax.random.key(0), 3, 5), (2,)).s.shape
      (2, 5)
    """

    s: Array
    h: Array


class SCRNPreActivations(NamedTuple):
    """Pre-activations of a structurally constrained network.

    Attributes:
      s: what the input adds to the slow units, ``(..., S)``.
      h: of the quick ones, ``(..., H)``.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.scrn.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.cells.scrn.project(params, jax.numpy.ones(3)).s.shape
      (5,)
    """

    s: Any = None
    h: Any = None


class SCRNSpec(NamedTuple):
    """What `make_scrn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.scrn.spec.alpha
      0.95
    """

    alpha: float = 0.95
    slow_size: int | None = None
    use_bias: bool = False

    def make(self) -> Cell[SCRNParams, SCRNCarry]:
        """The cell."""
        return make_scrn(**self._asdict())


@documented
def make_scrn(
    *, alpha: float = 0.95, slow_size: int | None = None, use_bias: bool = False
) -> Cell[SCRNParams, SCRNCarry]:
    r"""A structurally constrained network.

    .. math::
        s_t &= \alpha\, s_{t-1} + (1 - \alpha)\, B x_t \\
        h_t &= \sigma(P s_t + A x_t + R h_{t-1} + b) \\
        y_t &= U h_t + V s_t

    The carry is (s, h); the output is y, ``(*batch, H)``, which the paper puts through a softmax.
    Recurrent is h, as in the paper, not y. :math:`P s_t` is affine in what came before, so
    that nothing but one product with the carry is left inside the loop.

    Args:
      alpha: α, how slow the slow units are, between 0 and 1.
      slow_size: S, how many of them; None for as many as there are others.
      use_bias: whether ``init`` gives a b by default; published without.

    Returns:
      A `Cell` with `SCRNParams`. Its ``init`` takes ``kernel_init`` (glorot, for A, B, P, U and
      V), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      ValueError: for an α out of (0, 1) or a size below 1.
      TypeError: for an α that is no number or a size that is no int.

    Source: Mikolov et al. (2015), Learning longer memory in recurrent neural networks,
    arXiv:1412.7753.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_scrn(slow_size=2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> carry.s.shape, carry.h.shape, y.shape
      ((2,), (5,), (5,))
    """
    check_bool("use_bias", use_bias)
    alpha = check_number("alpha", alpha, above=0, below=1)
    if slow_size is not None:
        check_positive("slow_size", slow_size)
    spec = SCRNSpec(alpha, slow_size, use_bias)

    def others(asked: Asked) -> dict[str, Array]:
        size = asked.hidden_size
        slow = size if slow_size is None else slow_size
        shapes = {
            "slow_kernel": (asked.input_size, slow),
            "context_kernel": (slow, size),
            "output_kernel": (size, size),
            "slow_output_kernel": (slow, size),
        }
        keys = split(asked.key, len(shapes))
        return {
            name: asked.kernel_init(key, shape, asked.dtype)
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }

    def carry(params: SCRNParams, batch_shape: tuple[int, ...] = ()) -> SCRNCarry:
        kernel = params.context_kernel
        slow, size = kernel.shape
        h = zeros(batch_shape, size, kernel.dtype)
        return SCRNCarry(zeros(batch_shape, slow, wide(kernel.dtype)), h)

    def seen(params: SCRNParams, s: Array) -> Array:
        return linear(s.astype(params.context_kernel.dtype), params.context_kernel)

    def project(params: SCRNParams, x: Array) -> SCRNPreActivations:
        s = (1 - alpha) * linear(x, params.slow_kernel)
        return SCRNPreActivations(s, linear(x, params.input_kernel, params.bias) + seen(params, s))

    def recurrent(params: SCRNParams, carry: SCRNCarry) -> SCRNPreActivations:
        h = linear(carry.h, params.recurrent_kernel)
        return SCRNPreActivations(h=h + alpha * seen(params, carry.s))

    def update(params: SCRNParams, carry: SCRNCarry, z: SCRNPreActivations) -> SCRNCarry:
        s = alpha * carry.s + z.s
        return SCRNCarry(s, jax.nn.sigmoid(z.h).astype(carry.h.dtype))

    def output(params: SCRNParams, carry: SCRNCarry, z: SCRNPreActivations) -> Array:
        s = carry.s.astype(carry.h.dtype)
        y = linear(carry.h, params.output_kernel) + linear(s, params.slow_output_kernel)
        return y.astype(carry.h.dtype)

    def bounds(params: SCRNParams, start: SCRNCarry, count: Any) -> SCRNCarry:
        return SCRNCarry(jnp.full_like(start.s, jnp.inf), jnp.maximum(start.h, 1))

    return Cell(
        name_of("scrn", spec),
        drawn(SCRNParams, (1, 1, 1), biases=use_bias, more=others),
        carry,
        project,
        recurrent,
        update,
        output,
        bounds=bounds,
        spec=spec,
    )


scrn = make_scrn()
r"""The structurally constrained network with α = 0.95 and as many slow units as others.

.. math::
    s_t = \alpha\, s_{t-1} + (1 - \alpha)\, B x_t, \quad
    h_t = \sigma(P s_t + A x_t + R h_{t-1}), \quad
    y_t = U h_t + V s_t

Params `SCRNParams`, carry `SCRNCarry`, output y. Source: Mikolov et al. (2015), arXiv:1412.7753.
"""
