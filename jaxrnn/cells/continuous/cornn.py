"""The coRNN, coupled oscillators."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split
from jaxrnn.cells.blocks import linear, tanh
from jaxrnn.cells.continuous.gaps import joint, scaled_step, uniform
from jaxrnn.cells.continuous.oscillators import (
    OscillatorCarry,
    OscillatorPreActivations,
    output,
    project,
    rest,
)
from jaxrnn.checks import check_bool, check_real, sized

__all__ = ["CoRNNParams", "CoRNNSpec", "cornn", "make_cornn"]


class CoRNNParams(NamedTuple):
    """Parameters of a coRNN.

    Attributes:
      input_kernel: V, ``(D, H)``.
      recurrent_kernel: W_y, of the positions, ``(H, H)``.
      velocity_kernel: W_z, of the velocities, ``(H, H)``.
      bias: b, ``(H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.cornn.init(jax.random.key(0), 3, 5).velocity_kernel.shape
      (5, 5)
    """

    input_kernel: Array
    recurrent_kernel: Array
    velocity_kernel: Array
    bias: Array | None = None


class CoRNNSpec(NamedTuple):
    """What `make_cornn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.cornn.spec.gamma
      2.7
    """

    dt: float = 0.042
    gamma: float = 2.7
    epsilon: float = 4.7
    use_bias: bool = True

    def make(self) -> Cell[CoRNNParams, OscillatorCarry]:
        """The cell."""
        return make_cornn(**self._asdict())


@documented
def make_cornn(
    *, dt: float = 0.042, gamma: float = 2.7, epsilon: float = 4.7, use_bias: bool = True
) -> Cell[CoRNNParams, OscillatorCarry]:
    r"""A coRNN: damped oscillators, coupled and driven through a tanh.

    .. math::
        z_t &= z_{t-1} + \Delta_t \left( \tanh(W_y y_{t-1} + W_z z_{t-1} + V x_t + b)
               - \gamma y_{t-1} - \epsilon z_{t-1} \right) \\
        y_t &= y_{t-1} + \Delta_t z_t

    It is the explicit form of the authors' code; the paper also has one that takes the damping
    at the new z. The input is ``(T, *batch, D)``, or a pair of it and time gaps
    ``(T, *batch, 1)``, by which Δ is multiplied. The carry is `OscillatorCarry`, the output y.

    Args:
      dt: Δ of a gap of 1; the defaults are those of the paper for sequential MNIST.
      gamma: γ, the square of the frequency.
      epsilon: ε, the damping.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `CoRNNParams`. Its ``init`` takes ``kernel_init``, of V, W_y and W_z
      together, ``bias_init`` (both by default uniform on ±1/√(D + 2H), as torch's layer of
      their inputs joined) and ``use_bias``.

    Raises:
      TypeError: for an option that is no number.
      ValueError: for a step size that is not positive, or a negative γ or ε.

    Source: Rusch and Mishra (2021), Coupled oscillatory recurrent neural network (coRNN): an
    accurate and (gradient) stable architecture for learning long time dependencies,
    arXiv:2010.00951.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_cornn(dt=0.1, gamma=1.0, epsilon=0.5)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3)), jax.numpy.full((7, 2, 1), 0.5)
      >>> jaxrnn.scan(cell, params, xs)[1].shape
      (7, 2, 5)
    """
    check_bool("use_bias", use_bias)
    check_real("dt", dt, above=0)
    check_real("gamma", gamma, least=0)
    check_real("epsilon", epsilon, least=0)
    spec = CoRNNSpec(float(dt), float(gamma), float(epsilon), use_bias)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer | None = None,
        bias_init: initializers.Initializer | None = None,
        use_bias: bool = spec.use_bias,
    ) -> CoRNNParams:
        keys, bound = split(key, 2), (input_size + 2 * hidden_size) ** -0.5
        sizes = (input_size, hidden_size, hidden_size)
        v, w_y, w_z = joint(kernel_init or uniform(bound), keys[0], sizes, hidden_size, 1, dtype)
        bias = (bias_init or uniform(bound))(keys[1], (hidden_size,), dtype) if use_bias else None
        return CoRNNParams(v, w_y, w_z, bias)

    def recurrent(params: CoRNNParams, carry: OscillatorCarry) -> OscillatorPreActivations:
        kernel = params.recurrent_kernel
        y, z = (leaf.astype(kernel.dtype) for leaf in carry)
        return OscillatorPreActivations(linear(y, kernel) + linear(z, params.velocity_kernel))

    def update(
        params: CoRNNParams, carry: OscillatorCarry, a: OscillatorPreActivations
    ) -> OscillatorCarry:
        y, z = carry
        step = scaled_step(spec.dt, a.gaps)
        z = z + step * (tanh(a.a) - spec.gamma * y - spec.epsilon * z)
        return OscillatorCarry(y + step * z, z)

    name = name_of("cornn", spec)
    return Cell(name, init, rest, project, recurrent, update, output, spec=spec)


cornn = make_cornn()
r"""Coupled oscillators with the step size, frequency and damping of the paper's sequential MNIST.

.. math::
    z_t &= z_{t-1} + \Delta_t \left( \tanh(W_y y_{t-1} + W_z z_{t-1} + V x_t + b)
           - \gamma y_{t-1} - \epsilon z_{t-1} \right) \\
    y_t &= y_{t-1} + \Delta_t z_t

Params `CoRNNParams`, carry `OscillatorCarry`, output y. See `make_cornn`.
"""
