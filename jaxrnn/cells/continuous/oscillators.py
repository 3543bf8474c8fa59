"""What networks of oscillators share: their state, and what drives them."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxrnn.base import Array, zeros
from jaxrnn.cells.blocks import linear, wide
from jaxrnn.cells.continuous.gaps import split_gaps

__all__ = ["OscillatorCarry", "OscillatorPreActivations", "output", "project", "rest"]


class OscillatorCarry(NamedTuple):
    """State of a network of oscillators, ``(*batch, H)`` each, float32 for the half types.

    Attributes:
      y: positions, the output.
      z: velocities.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.cornn
      >>> cell.carry(cell.init(jax.random.key(0), 3, 5), (2,)).z.shape
      (2, 5)
    """

    y: Array
    z: Array


class OscillatorPreActivations(NamedTuple):
    """What an oscillator is driven by.

    Attributes:
      a: the argument of the tanh, ``(..., H)``.
      gaps: time since the step before, ``(..., 1)``, or None for 1.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.cornn
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.project(params, jax.numpy.ones(3)).a.shape
      (5,)
    """

    a: Any
    gaps: Any = None


def project(params: Any, x: Any) -> OscillatorPreActivations:
    """V x + b, and the gaps.

    Args:
      params: with the fields `input_kernel` and `bias`.
      x: features ``(..., D)``, or a pair of them and gaps.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.continuous.oscillators import project
      >>> params = jaxrnn.cells.cornn.init(jax.random.key(0), 3, 5)
      >>> project(params, (jax.numpy.ones((7, 3)), jax.numpy.ones((7, 1)))).gaps.shape
      (7, 1)
    """
    x, gaps = split_gaps(x)
    return OscillatorPreActivations(linear(x, params.input_kernel, params.bias), gaps)


def rest(params: Any, batch_shape: tuple[int, ...] = ()) -> OscillatorCarry:
    """Oscillators at rest.

    Args:
      params: with a field `input_kernel`.
      batch_shape: the batch axes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.continuous.oscillators import rest
      >>> rest(jaxrnn.cells.cornn.init(jax.random.key(0), 3, 5), (2,)).y.shape
      (2, 5)
    """
    _, size = params.input_kernel.shape
    zero = zeros(batch_shape, size, wide(params.input_kernel.dtype))
    return OscillatorCarry(zero, zero)


def output(params: Any, carry: OscillatorCarry, a: OscillatorPreActivations) -> Array:
    """The positions, in the dtype of the parameters.

    Args:
      params: with a field `input_kernel`.
      carry: the state after a step.
      a: unused.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.continuous.oscillators import output
      >>> cell = jaxrnn.cells.cornn
      >>> params = cell.init(jax.random.key(0), 3, 5, dtype="bfloat16")
      >>> str(output(params, cell.carry(params), None).dtype)
      'bfloat16'
    """
    return carry.y.astype(params.input_kernel.dtype)
