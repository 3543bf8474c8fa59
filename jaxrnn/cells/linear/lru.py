"""The linear recurrent unit: a complex diagonal state."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.base import Array, Cell, DType, documented, name_of, split
from jaxrnn.cells.blocks import like, wide
from jaxrnn.cells.linear.common import linear_cell
from jaxrnn.cells.linear.complex_parts import (
    ComplexInput,
    check_square,
    complex_product,
    complex_read,
    complex_state,
    normal,
)
from jaxrnn.checks import check_bool, check_positive, sized

__all__ = ["LRUParams", "LRUSpec", "lru", "make_lru"]


class LRUParams(NamedTuple):
    r"""Parameters of a linear recurrent unit, all real.

    Attributes:
      nu_log: ν, ``(N,)``: the logarithm of how fast each unit decays.
      theta_log: θ, ``(N,)``: that of how far it turns at a step.
      gamma_log: log γ, ``(N,)``, of what the input is multiplied by.
      input_kernel: the real and the imaginary part of B side by side, ``(D, 2N)``.
      output_kernel: those of C, ``(N, 2H)``.
      skip: d, ``(H,)``, or None.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import lru
      >>> lru.init(jax.random.key(0), 4, 4).output_kernel.shape
      (4, 8)
    """

    nu_log: Array
    theta_log: Array
    gamma_log: Array
    input_kernel: Array
    output_kernel: Array
    skip: Array | None = None


class LRUSpec(NamedTuple):
    """What `make_lru` was given.

    Example:
      >>> from jaxrnn.cells.linear import lru
      >>> lru.spec.skip
      True
    """

    state_size: int | None = None
    skip: bool = True

    def make(self) -> Cell[LRUParams, Array]:
        """The cell."""
        return make_lru(**self._asdict())


@documented
def make_lru(*, state_size: int | None = None, skip: bool = True) -> Cell[LRUParams, Array]:
    r"""A linear recurrent unit.

    .. math::
        \lambda &= \exp(-e^{\nu} + i e^{\theta}) \\
        s_t &= \lambda \odot s_{t-1} + \gamma \odot (x_t B) \\
        y_t &= \mathrm{Re}(s_t C) + d \odot x_t

    The carry is s, ``(*batch, N)``, complex, complex64 at least; the output ``(*batch, H)`` is
    real. :math:`|\lambda| < 1` whatever the parameters.

    Args:
      state_size: N, H if None.
      skip: whether the input goes past the state too, which needs D = H.

    Returns:
      A `Cell` with `LRUParams` and coefficients. Its ``init`` takes ``min_radius`` (0.0) and
      ``max_radius`` (1.0), between which λ is drawn uniformly on the ring, and ``max_phase`` (2π).
      It starts with :math:`\gamma = \sqrt{1 - |\lambda|^2}`, B and C normal of variance 1 / (2D)
      and 1 / N in each part, d standard normal.

    Raises:
      TypeError: for a state size that is not an int.
      ValueError: for one below 1; from ``init``, for D ≠ H where there is a skip.

    Source: Orvieto et al. (2023), Resurrecting recurrent neural networks for long sequences,
    arXiv:2303.06349.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_lru
      >>> cell = make_lru(state_size=8)
      >>> params = cell.init(jax.random.key(0), 4, 4)
      >>> s, y = cell.step(params, cell.carry(params), jax.numpy.ones(4))
      >>> s.shape, y.shape, str(y.dtype)
      ((8,), (4,), 'float32')
    """
    if state_size is not None:
        check_positive("state_size", state_size)
    check_bool("skip", skip)
    spec = LRUSpec(state_size, skip)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        min_radius: float = 0.0,
        max_radius: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> LRUParams:
        check_square("an LRU", skip, input_size, hidden_size)
        size, keys = state_size or hidden_size, split(key, 5)
        draw = lambda key: jax.random.uniform(key, (size,), wide(dtype), 1e-6, 1 - 1e-6)  # noqa: E731
        squared = draw(keys[0]) * (max_radius**2 - min_radius**2) + min_radius**2
        decay = -0.5 * jnp.log(squared)
        theta = max_phase * draw(keys[1])
        return LRUParams(
            jnp.log(decay).astype(dtype),
            jnp.log(theta).astype(dtype),
            (0.5 * jnp.log1p(-squared)).astype(dtype),
            normal(keys[2], (input_size, 2 * size), 0.5 / input_size, dtype),
            normal(keys[3], (size, 2 * hidden_size), 1 / size, dtype),
            normal(keys[4], (hidden_size,), 1, dtype) if skip else None,
        )

    def project(params: LRUParams, x: Array) -> ComplexInput:
        gamma = jnp.exp(params.gamma_log.astype(wide(x.dtype)))
        return ComplexInput(complex_product(x, params.input_kernel, gamma), x)

    def coefficients(params: LRUParams, z: ComplexInput) -> tuple[Array, Array]:
        real = z.state.real.dtype
        nu, theta = (jnp.exp(row.astype(real)) for row in (params.nu_log, params.theta_log))
        return like(jnp.exp(lax.complex(-nu, theta)), z.state), z.state

    def output(params: LRUParams, s: Array, z: ComplexInput) -> Array:
        return complex_read(s, params.output_kernel, params.skip, z.x)

    name = name_of("lru", spec)
    return linear_cell(name, init, complex_state, project, coefficients, output, spec=spec)


lru = make_lru()
r"""The linear recurrent unit, :math:`s_t = \lambda \odot s_{t-1} + \gamma \odot (x_t B)` with a
complex λ within the unit circle, :math:`y_t = \mathrm{Re}(s_t C) + d \odot x_t`; D = H.

Params `LRUParams`, carry s, complex. Source: Orvieto et al. (2023), Resurrecting recurrent neural
networks for long sequences, arXiv:2303.06349.
"""
