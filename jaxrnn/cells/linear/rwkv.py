"""The time mixing of RWKV-4: attention that decays, as a recurrence."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import gates, like, linear, wide
from jaxrnn.cells.linear.common import LinearGates
from jaxrnn.checks import sized

__all__ = ["RWKVCarry", "RWKVInput", "RWKVParams", "RWKVSpec", "make_rwkv", "rwkv"]


class RWKVParams(NamedTuple):
    """Parameters of the time mixing of RWKV-4.

    Attributes:
      input_kernel: W, ``(D, 3H)``, blocks r, k, v.
      mix: μ, ``(D, 3)``: how much of the present input each block reads, against the one before.
      decay_log: ω, ``(H,)``: the logarithm of how fast each unit decays.
      bonus: u, ``(H,)``: what the present key has more than those before.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import rwkv
      >>> rwkv.init(jax.random.key(0), 3, 5).mix.shape
      (3, 3)
    """

    input_kernel: Array
    mix: Array
    decay_log: Array
    bonus: Array


class RWKVCarry(NamedTuple):
    """State of the time mixing of RWKV-4.

    Attributes:
      x: the input before, ``(*batch, D)``.
      num: the weighted sum of the values, ``(*batch, H)``, float32 at least; so are the others.
      den: the sum of the weights; 0 before a sequence.
      max: the logarithm of what both were divided by.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import rwkv
      >>> rwkv.carry(rwkv.init(jax.random.key(0), 3, 5)).num.shape
      (5,)
    """

    x: Any
    num: Any
    den: Any
    max: Any


class RWKVInput(NamedTuple):
    """What the time mixing of RWKV-4 makes of its input and of the state before.

    Attributes:
      rkv: the three blocks, ``(..., 3H)``.
      x: the input to keep, ``(..., D)``.
      past: num, den and max as they were before the step, which the output reads.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import rwkv
      >>> rwkv.project(rwkv.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).rkv.shape
      (15,)
    """

    rkv: Any
    x: Any = None
    past: Any = None


class RWKVSpec(NamedTuple):
    """What `make_rwkv` was given: nothing.

    Example:
      >>> from jaxrnn.cells.linear import rwkv
      >>> rwkv.spec
      RWKVSpec()
    """

    def make(self) -> Cell[RWKVParams, RWKVCarry]:
        """The cell."""
        return make_rwkv()


@documented
def make_rwkv() -> Cell[RWKVParams, RWKVCarry]:
    r"""The time mixing of RWKV-4.

    .. math::
        r, k, v &= W_{r,k,v}\, (\mu \odot x_t + (1 - \mu) \odot x_{t-1}) \\
        y_t &= \sigma(r) \odot \frac{\sum_{j<t} e^{-(t-1-j) w + k_j} \odot v_j + e^{u + k_t} v_t}
            {\sum_{j<t} e^{-(t-1-j) w + k_j} + e^{u + k_t}},\qquad w = e^{\omega}

    Both sums are carried divided by their greatest exponential, and its logarithm with them, so
    that nothing overflows: the carry is `RWKVCarry`. It begins with zeros, den = 0 meaning that
    nothing was seen; other code begins with a very negative maximum, which comes to the same. The
    output is ``(*batch, H)``; the product that follows in the paper is not part of the cell.

    The sums are linear in what is carried, but the maximum is not, so the cell has no coefficients.

    Returns:
      A `Cell` with `RWKVParams`. Its ``init`` takes ``kernel_init``, by default zeros for r and k
      and orthogonal for v. ω, u and μ start as in the first layer of the published model: ω from
      -5 to 3, u a zigzag around log 0.3, μ from 0 to 1 over the inputs, for r its root.

    Source: Peng et al. (2023), RWKV: reinventing RNNs for the transformer era, arXiv:2305.13048.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_rwkv
      >>> cell = make_rwkv()
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    spec = RWKVSpec()
    zero, orthogonal = initializers.zeros, initializers.orthogonal

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: Any = (zero, zero, orthogonal),
    ) -> RWKVParams:
        shape = (input_size, hidden_size)
        kernel = initializers.blocks(kernel_init, split(key, 1)[0], shape, 3, dtype)
        ramp, unit = np.arange(input_size) / input_size, np.arange(hidden_size)
        mix = np.stack([np.sqrt(ramp), ramp, ramp], axis=1)
        decay = -5 + 8 * (unit / max(1, hidden_size - 1)) ** 0.7
        bonus = np.log(0.3) + 0.5 * ((unit + 1) % 3 - 1)
        return RWKVParams(kernel, *(jnp.asarray(row, dtype) for row in (mix, decay, bonus)))

    def carry(params: RWKVParams, batch_shape: tuple[int, ...] = ()) -> RWKVCarry:
        kernel = params.input_kernel
        part = zeros(batch_shape, kernel.shape[1] // 3, wide(kernel.dtype))
        return RWKVCarry(zeros(batch_shape, kernel.shape[0], kernel.dtype), part, part, part)

    def mixed(params: RWKVParams, mix: Array) -> Array:
        """The kernel with its rows scaled, block by block."""
        kernel = params.input_kernel
        blocks = kernel.reshape(kernel.shape[0], 3, -1)
        return (blocks * jnp.broadcast_to(mix[..., None], blocks.shape)).reshape(kernel.shape)

    def project(params: RWKVParams, x: Array) -> RWKVInput:
        return RWKVInput(linear(x, mixed(params, params.mix)), x)

    def recurrent(params: RWKVParams, s: RWKVCarry) -> RWKVInput:
        return RWKVInput(linear(s.x, mixed(params, 1 - params.mix)), past=(s.num, s.den, s.max))

    def begun(den: Array, top: Array) -> Array:
        """The maximum, or one that weighs nothing where nothing was seen."""
        return jnp.where(den == 0, jnp.asarray(np.finfo(top.dtype).min / 2, top.dtype), top)

    def update(params: RWKVParams, s: RWKVCarry, z: RWKVInput) -> RWKVCarry:
        _, k, v = jnp.split(z.rkv, 3, axis=-1)
        faded = begun(s.den, s.max) - like(jnp.exp(params.decay_log.astype(k.dtype)), k)
        top = jnp.maximum(faded, k)
        past, now = jnp.exp(faded - top), jnp.exp(k - top)
        return RWKVCarry(z.x.astype(s.x.dtype), past * s.num + now * v, past * s.den + now, top)

    def output(params: RWKVParams, s: RWKVCarry, z: RWKVInput) -> Array:
        r, k, v = jnp.split(z.rkv, 3, axis=-1)
        num, den, top = z.past
        lifted, top = k + like(params.bonus, k), begun(den, top)
        most = jnp.maximum(top, lifted)
        past, now = jnp.exp(top - most), jnp.exp(lifted - most)
        y = gates(r, "s")[0] * (past * num + now * v) / (past * den + now)
        return y.astype(params.input_kernel.dtype)

    def gated(params: RWKVParams, s: RWKVCarry, z: RWKVInput) -> LinearGates:
        return LinearGates(read=gates(jnp.split(z.rkv, 3, axis=-1)[0], "s")[0])

    name = name_of("rwkv", spec)
    return Cell(name, init, carry, project, recurrent, update, output, gates=gated, spec=spec)


rwkv = make_rwkv()
r"""The time mixing of RWKV-4, a weighted mean of the values so far, whose weights decay.

Params `RWKVParams`, carry `RWKVCarry`, output y. Source: Peng et al. (2023), RWKV: reinventing RNNs
for the transformer era, arXiv:2305.13048.
"""
