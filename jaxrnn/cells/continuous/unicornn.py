"""The UnICORNN, independent oscillators."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split
from jaxrnn.cells.blocks import like, tanh
from jaxrnn.cells.continuous.gaps import scaled_step, uniform
from jaxrnn.cells.continuous.oscillators import (
    OscillatorCarry,
    OscillatorPreActivations,
    output,
    project,
    rest,
)
from jaxrnn.checks import check_bool, check_real, sized

__all__ = ["UnICORNNParams", "UnICORNNSpec", "make_unicornn", "unicornn"]


class UnICORNNParams(NamedTuple):
    """Parameters of a UnICORNN.

    Attributes:
      input_kernel: V, ``(D, H)``.
      recurrent_weight: w, of each unit's own position, ``(H,)``.
      step_logit: c, by which a unit chooses its step size, ``(H,)``.
      bias: b, ``(H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.unicornn.init(jax.random.key(0), 3, 5).step_logit.shape
      (5,)
    """

    input_kernel: Array
    recurrent_weight: Array
    step_logit: Array
    bias: Array | None = None


class UnICORNNSpec(NamedTuple):
    """What `make_unicornn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.unicornn.spec.dt
      0.19
    """

    dt: float = 0.19
    alpha: float = 30.65
    use_bias: bool = True

    def make(self) -> Cell[UnICORNNParams, OscillatorCarry]:
        """The cell."""
        return make_unicornn(**self._asdict())


@documented
def make_unicornn(
    *, dt: float = 0.19, alpha: float = 30.65, use_bias: bool = True
) -> Cell[UnICORNNParams, OscillatorCarry]:
    r"""A UnICORNN: undamped oscillators, each by itself and with a step size of its own.

    .. math::
        z_t &= z_{t-1} - \Delta_t\, \sigma(c) \odot
               \left( \tanh(w \odot y_{t-1} + V x_t + b) + \alpha y_{t-1} \right) \\
        y_t &= y_{t-1} + \Delta_t\, \sigma(c) \odot z_t

    The step is symplectic and can be undone: y and z before it follow from those after it. Its
    linear part is stable as long as :math:`\Delta_t\, \sigma(c) \sqrt{\alpha} < 2`. The input
    is ``(T, *batch, D)``, or a pair of it and time gaps ``(T, *batch, 1)``, by which Δ is
    multiplied. The carry is `OscillatorCarry`, the output y. Units mix only between the layers
    of a stack.

    Args:
      dt: Δ of a gap of 1; the defaults are those of the authors' permuted sequential MNIST.
      alpha: α, the stiffness of every unit.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `UnICORNNParams`. Its ``init`` takes ``kernel_init`` (He's uniform for a
      slope of 8: ±√(6 / 65 D)), ``recurrent_init`` (of w, uniform on [0, 1]), ``step_init``
      (of c, uniform on ±0.1), ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for an option that is no number.
      ValueError: for a step size that is not positive, or a negative α.

    Source: Rusch and Mishra (2021), UnICORNN: a recurrent model for learning very long time
    dependencies, arXiv:2103.05487.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_unicornn(dt=0.1, alpha=0.9)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.scan(cell, params, jax.numpy.ones((7, 2, 3)))[1].shape
      (7, 2, 5)
    """
    check_bool("use_bias", use_bias)
    check_real("dt", dt, above=0)
    check_real("alpha", alpha, least=0)
    spec = UnICORNNSpec(float(dt), float(alpha), use_bias)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer | None = None,
        recurrent_init: initializers.Initializer = jax.random.uniform,
        step_init: initializers.Initializer = uniform(0.1),
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
    ) -> UnICORNNParams:
        keys, unit = split(key, 4), (hidden_size,)
        he = uniform(math.sqrt(6 / (65 * input_size)))
        return UnICORNNParams(
            (kernel_init or he)(keys[0], (input_size, hidden_size), dtype),
            recurrent_init(keys[1], unit, dtype),
            step_init(keys[2], unit, dtype),
            bias_init(keys[3], unit, dtype) if use_bias else None,
        )

    def recurrent(params: UnICORNNParams, carry: OscillatorCarry) -> OscillatorPreActivations:
        return OscillatorPreActivations(like(params.recurrent_weight, carry.y) * carry.y)

    def update(
        params: UnICORNNParams, carry: OscillatorCarry, a: OscillatorPreActivations
    ) -> OscillatorCarry:
        y, z = carry
        step = scaled_step(spec.dt, a.gaps) * jax.nn.sigmoid(like(params.step_logit, y))
        z = z - step * (tanh(a.a) + spec.alpha * y)
        return OscillatorCarry(y + step * z, z)

    name = name_of("unicornn", spec)
    return Cell(name, init, rest, project, recurrent, update, output, spec=spec)


unicornn = make_unicornn()
r"""Independent undamped oscillators with the options of the authors' permuted sequential MNIST.

.. math::
    z_t &= z_{t-1} - \Delta_t\, \sigma(c) \odot
           \left( \tanh(w \odot y_{t-1} + V x_t + b) + \alpha y_{t-1} \right) \\
    y_t &= y_{t-1} + \Delta_t\, \sigma(c) \odot z_t

Params `UnICORNNParams`, carry `OscillatorCarry`, output y. See `make_unicornn`.
"""
