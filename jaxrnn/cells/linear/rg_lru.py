"""The real-gated linear recurrent unit of Griffin and RecurrentGemma."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import gates, like, wide
from jaxrnn.cells.linear.common import LinearGates, linear_cell, read_state
from jaxrnn.cells.linear.start import check_heads
from jaxrnn.checks import check_bool, check_positive, sized

__all__ = ["RGLRUInput", "RGLRUParams", "RGLRUSpec", "bounded_sqrt", "make_rg_lru", "rg_lru"]

_POWER = 8
_STEEPEST = 1000.0


class RGLRUParams(NamedTuple):
    """Parameters of a real-gated linear recurrent unit.

    Attributes:
      input_kernel: W, ``(heads, H/heads, 2H/heads)``: for each head the block of the input gate
        beside that of the recurrence gate.
      bias: b, ``(2H,)``, all of the input gate's before the other's, or None.
      decay: Λ, ``(H,)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_rg_lru
      >>> make_rg_lru(num_heads=2).init(jax.random.key(0), 4, 4).input_kernel.shape
      (2, 2, 4)
    """

    input_kernel: Array
    bias: Array | None
    decay: Array


class RGLRUInput(NamedTuple):
    """What a real-gated linear recurrent unit makes of its input.

    Attributes:
      gates: the pre-activations of the two gates, ``(..., 2H)``.
      x: the input itself, ``(..., H)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import rg_lru
      >>> rg_lru.project(rg_lru.init(jax.random.key(0), 4, 4), jax.numpy.ones(4)).gates.shape
      (8,)
    """

    gates: Any
    x: Any


class RGLRUSpec(NamedTuple):
    """What `make_rg_lru` was given.

    Example:
      >>> from jaxrnn.cells.linear import rg_lru
      >>> rg_lru.spec.num_heads
      1
    """

    num_heads: int = 1
    use_bias: bool = True

    def make(self) -> Cell[RGLRUParams, Array]:
        """The cell."""
        return make_rg_lru(**self._asdict())


@documented
def make_rg_lru(*, num_heads: int = 1, use_bias: bool = True) -> Cell[RGLRUParams, Array]:
    r"""A real-gated linear recurrent unit.

    .. math::
        i, r &= \sigma(W_{i,r}\, x_t + b_{i,r}) \\
        a &= \exp(-8\, r \odot \mathrm{softplus}(\Lambda)) \\
        h_t &= a \odot h_{t-1} + \sqrt{1 - a^2} \odot (i \odot x_t)

    The carry is h, ``(*batch, H)``, float32 at least, and so is the output, in the parameters'
    dtype; D = H. The gates are maps within each head. :math:`1 - a^2` is computed without
    cancellation, and the slope of its root is at most 1000, as in RecurrentGemma. Λ has the sign
    of that code, the opposite of the paper's :math:`a = \sigma(\Lambda)^{8 r}`, and is drawn as
    there. That code also leaves out the root at the first step of a sequence; here, as in the
    paper, every step has it. The convolution over time before is not part of the cell.

    Args:
      num_heads: how many blocks the gates' maps have; H must be a multiple.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `RGLRUParams` and coefficients. Its ``init`` takes ``kernel_init`` (normal of
      variance heads / H, a block at a time), ``bias_init`` (zeros), ``use_bias``, and
      ``min_radius`` (0.9) and ``max_radius`` (0.999), between which :math:`e^{-softplus(\Lambda)}`
      is drawn uniformly on the ring.

    Raises:
      TypeError: for a number of heads that is not an int.
      ValueError: for one below 1; from ``init``, for D ≠ H or an H that is no multiple.

    Source: De et al. (2024), Griffin: mixing gated linear recurrences with local attention for
    efficient language models, arXiv:2402.19427.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_rg_lru
      >>> cell = make_rg_lru(num_heads=2)
      >>> params = cell.init(jax.random.key(0), 4, 4)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(4))[1].shape
      (4,)
    """
    check_positive("num_heads", num_heads)
    check_bool("use_bias", use_bias)
    spec = RGLRUSpec(num_heads, use_bias)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = _normal,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
        min_radius: float = 0.9,
        max_radius: float = 0.999,
    ) -> RGLRUParams:
        if input_size != hidden_size:
            raise ValueError(
                f"hidden_size: expected the input size {input_size} for an RG-LRU, "
                f"got {hidden_size}"
            )
        check_heads(hidden_size, num_heads)
        size, (k1, k2, k3) = hidden_size // num_heads, split(key, 3)
        draw = lambda key: initializers.blocks(kernel_init, key, (size, size), 2, dtype)  # noqa: E731
        kernel = jnp.stack([draw(k) for k in split(k1, num_heads)])
        bias = initializers.blocks(bias_init, k2, (hidden_size,), 2, dtype) if use_bias else None
        u = jax.random.uniform(k3, (hidden_size,), wide(dtype), min_radius**2 + 1e-8, max_radius**2)
        decay = jnp.log(jnp.expm1(-0.5 * jnp.log(u)))
        return RGLRUParams(kernel, bias, decay.astype(dtype))

    def carry(params: RGLRUParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(batch_shape, params.decay.shape[0], wide(params.decay.dtype))

    def project(params: RGLRUParams, x: Array) -> RGLRUInput:
        size = params.decay.shape[0]
        if x.shape[-1] != size:
            raise ValueError(f"x: expected a last axis of {size} for an RG-LRU, got {x.shape}")
        kernel = params.input_kernel
        heads = x.reshape(*x.shape[:-1], *kernel.shape[:2])
        z = jnp.einsum("...nd,ndk->...nk", heads, kernel, preferred_element_type=wide(x.dtype))
        z = jnp.concatenate([_flat(part) for part in jnp.split(z, 2, axis=-1)], axis=-1)
        bias = params.bias
        return RGLRUInput(z if bias is None else z + like(bias, z), x)

    def gated(params: RGLRUParams, z: RGLRUInput) -> LinearGates:
        i, r = gates(z.gates, "ss")
        log_a = -_POWER * r * like(jax.nn.softplus(params.decay.astype(r.dtype)), r)
        return LinearGates(jnp.exp(log_a), bounded_sqrt(-jnp.expm1(2 * log_a)) * i)

    def coefficients(params: RGLRUParams, z: RGLRUInput) -> tuple[Array, Array]:
        gate: Any = gated(params, z)
        return gate.keep, gate.write * z.x.astype(gate.write.dtype)

    name = name_of("rg_lru", spec)
    return linear_cell(name, init, carry, project, coefficients, read_state, gates=gated, spec=spec)


_normal: initializers.Initializer = jax.nn.initializers.variance_scaling(1, "fan_in", "normal")


def _flat(z: Array) -> Array:
    return z.reshape(*z.shape[:-2], z.shape[-2] * z.shape[-1])


@jax.custom_jvp
def bounded_sqrt(x: Array) -> Array:
    """The square root, whose derivative is at most 1000.

    Args:
      x: 0 or above.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear.rg_lru import bounded_sqrt
      >>> float(jax.grad(bounded_sqrt)(0.0)), float(jax.grad(bounded_sqrt)(0.25))
      (1000.0, 1.0)
    """
    return jnp.sqrt(x)


@bounded_sqrt.defjvp
def _bounded_sqrt_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return jnp.sqrt(x), dx * 0.5 * jax.lax.rsqrt(jnp.maximum(x, 0.25 / _STEEPEST**2))


rg_lru = make_rg_lru()
r"""The real-gated linear recurrent unit,
:math:`h_t = a \odot h_{t-1} + \sqrt{1 - a^2} \odot (i \odot x_t)`; D = H.

Params `RGLRUParams`, carry and output h. Source: De et al. (2024), Griffin, arXiv:2402.19427.
"""
