"""The long expressive memory, LEM."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import gates, kernels, linear, tanh, wide
from jaxrnn.cells.continuous.gaps import scaled_step, split_gaps
from jaxrnn.checks import check_bool, check_real, sized

__all__ = [
    "LEMCarry",
    "LEMGates",
    "LEMParams",
    "LEMPreActivations",
    "LEMSpec",
    "lem",
    "make_lem",
]


class LEMParams(NamedTuple):
    """Parameters of a LEM; the blocks are in the order step of y, step of z, z, y.

    Attributes:
      input_kernel: W, ``(D, 4H)``.
      recurrent_kernel: R, of the first three blocks, which read y, ``(H, 3H)``.
      state_kernel: R_y, of the last block, which reads the new z, ``(H, H)``.
      bias: b, ``(4H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.lem.init(jax.random.key(0), 3, 5).recurrent_kernel.shape
      (5, 15)
    """

    input_kernel: Array
    recurrent_kernel: Array
    state_kernel: Array
    bias: Array | None = None


class LEMCarry(NamedTuple):
    """State of a LEM, ``(*batch, H)`` each, float32 for the half types.

    Attributes:
      y: the output.
      z: the state that y is driven by.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.lem
      >>> cell.carry(cell.init(jax.random.key(0), 3, 5), (2,)).z.shape
      (2, 5)
    """

    y: Array
    z: Array


class LEMPreActivations(NamedTuple):
    """Pre-activations of a LEM.

    Attributes:
      a: of both step sizes and z, ``(..., 3H)``.
      y: the part of y from the input, ``(..., H)``.
      gaps: time since the step before, ``(..., 1)``, or None for 1.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.lem
      >>> cell.project(cell.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).a.shape
      (15,)
    """

    a: Any
    y: Any = None
    gaps: Any = None


class LEMGates(NamedTuple):
    """Activations of a LEM, ``(*batch, H)`` each.

    Attributes:
      step_y: the step size of y.
      step_z: the step size of z.
      z: what z moves to.
      y: what y moves to.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.lem
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3))).step_y.shape
      (7, 5)
    """

    step_y: Array
    step_z: Array
    z: Array
    y: Array


class LEMSpec(NamedTuple):
    """What `make_lem` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.lem.spec.dt
      1.0
    """

    dt: float = 1.0
    use_bias: bool = True

    def make(self) -> Cell[LEMParams, LEMCarry]:
        """The cell."""
        return make_lem(**self._asdict())


@documented
def make_lem(*, dt: float = 1.0, use_bias: bool = True) -> Cell[LEMParams, LEMCarry]:
    r"""A LEM: two states, each of whose units chooses its step size anew at every step.

    .. math::
        \Delta^y, \Delta^z &= \Delta_t\, \sigma(W_{1,2} x_t + R_{1,2}\, y_{t-1} + b_{1,2}) \\
        z_t &= (1 - \Delta^z) \odot z_{t-1}
               + \Delta^z \odot \tanh(W_z x_t + R_z y_{t-1} + b_z) \\
        y_t &= (1 - \Delta^y) \odot y_{t-1}
               + \Delta^y \odot \tanh(W_y x_t + R_y z_t + b_y)

    y moves by the new z, as in the paper and its authors' code; some libraries take the old
    one. The input is ``(T, *batch, D)``, or a pair of it and time gaps ``(T, *batch, 1)``, by
    which Δ is multiplied. Both states stay within ±1 as long as :math:`\Delta_t \le 1`. The
    carry is `LEMCarry`, the output y. The product with the new z stays inside the loop's
    update.

    Args:
      dt: Δ of a gap of 1, the longest step.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `LEMParams`. Its ``init`` takes ``kernel_init``, ``recurrent_init`` (of R
      and R_y), ``bias_init`` (all of them `jaxrnn.initializers.torch_uniform`, ±1/√H) and
      ``use_bias``.

    Raises:
      TypeError: for a step size that is no number.
      ValueError: for one that is not positive.

    Source: Rusch, Mishra, Erichson and Mahoney (2022), Long expressive memory for sequence
    modeling, arXiv:2110.04744.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_lem(dt=0.5)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3)), jax.numpy.full((7, 2, 1), 0.5)
      >>> jaxrnn.scan(cell, params, xs)[1].shape
      (7, 2, 5)
    """
    check_bool("use_bias", use_bias)
    check_real("dt", dt, above=0)
    spec = LEMSpec(float(dt), use_bias)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.torch_uniform,
        recurrent_init: initializers.Initializer = initializers.torch_uniform,
        bias_init: initializers.Initializer = initializers.torch_uniform,
        use_bias: bool = spec.use_bias,
    ) -> LEMParams:
        w, r, b = kernels(
            split(key, 3),
            (input_size, hidden_size),
            4,
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            use_bias=use_bias,
        )
        return LEMParams(w, r[:, : 3 * hidden_size], r[:, 3 * hidden_size :], b)

    def carry(params: LEMParams, batch_shape: tuple[int, ...] = ()) -> LEMCarry:
        kernel = params.state_kernel
        zero = zeros(batch_shape, kernel.shape[0], wide(kernel.dtype))
        return LEMCarry(zero, zero)

    def project(params: LEMParams, x: Any) -> LEMPreActivations:
        x, gaps = split_gaps(x)
        z = linear(x, params.input_kernel, params.bias)
        a, y = jnp.split(z, (3 * (z.shape[-1] // 4),), axis=-1)
        return LEMPreActivations(a, y, gaps)

    def recurrent(params: LEMParams, carry: LEMCarry) -> LEMPreActivations:
        kernel = params.recurrent_kernel
        return LEMPreActivations(linear(carry.y.astype(kernel.dtype), kernel))

    def moved(
        params: LEMParams, carry: LEMCarry, a: LEMPreActivations
    ) -> tuple[LEMGates, LEMCarry]:
        kernel, step = params.state_kernel, scaled_step(spec.dt, a.gaps)
        sy, sz, gz = gates(a.a, "sst")
        sy, sz = step * sy, step * sz
        z = (1 - sz) * carry.z + sz * gz
        gy = tanh(a.y + linear(z.astype(kernel.dtype), kernel))
        y = (1 - sy) * carry.y + sy * gy
        return LEMGates(sy, sz, gz, gy), LEMCarry(y, z)

    def update(params: LEMParams, carry: LEMCarry, a: LEMPreActivations) -> LEMCarry:
        return moved(params, carry, a)[1]

    def gated(params: LEMParams, carry: LEMCarry, a: LEMPreActivations) -> LEMGates:
        return moved(params, carry, a)[0]

    def output(params: LEMParams, carry: LEMCarry, a: LEMPreActivations) -> Array:
        return carry.y.astype(params.state_kernel.dtype)

    name = name_of("lem", spec)
    return Cell(name, init, carry, project, recurrent, update, output, gates=gated, spec=spec)


lem = make_lem()
r"""The long expressive memory with :math:`\Delta = 1`.

.. math::
    \Delta^y, \Delta^z &= \Delta_t\, \sigma(W_{1,2} x_t + R_{1,2}\, y_{t-1} + b_{1,2}) \\
    z_t &= (1 - \Delta^z) \odot z_{t-1} + \Delta^z \odot \tanh(W_z x_t + R_z y_{t-1} + b_z) \\
    y_t &= (1 - \Delta^y) \odot y_{t-1} + \Delta^y \odot \tanh(W_y x_t + R_y z_t + b_y)

Params `LEMParams`, carry `LEMCarry`, output y. See `make_lem`.
"""
