"""How far back an output still sees: measured of a recurrent network, counted of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.analysis.gradients import norm
from jaxrnn.base import Array, Carry, Cell, Layer, Params
from jaxrnn.checks import check_floating, check_positive
from jaxrnn.loops import once
from jaxrnn.unroll import scan

__all__ = ["MemoryHorizon", "memory_horizon", "receptive_field"]


class MemoryHorizon(NamedTuple):
    """How far back inputs change the last output.

    Attributes:
      steps: of how many latest inputs the furthest still counts, ``(*batch,)``: T where the
        memory is at least as long as the sequence, 0 where no input changes the output.
      influence: how much each input changes the output, ``(T, *batch)``.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((40, 2, 3))
      >>> jaxrnn.analysis.memory_horizon(jaxrnn.gru, params, xs).influence.shape
      (40, 2)
    """

    steps: Array
    influence: Array


def memory_horizon(
    cell: Cell | Layer,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    threshold: float = 0.01,
) -> MemoryHorizon:
    r"""How far back an input still changes the last output, along a trajectory.

    .. math:: I_t = \left\lVert \frac{\partial y_T}{\partial x_t} \right\rVert_F, \qquad
              \text{steps} = \max \{ T + 1 - t : I_t \ge \text{threshold} \cdot \max_u I_u \}

    It counts as `receptive_field` does, the last input included. Its cost is a forward and H
    backward passes.

    Args:
      cell: a `Cell` or a `Layer`.
      params: its parameters.
      xs: ``(T, *batch, D)``, T ≥ 1.
      carry: the initial carry, zeros if None.
      threshold: the share of the greatest influence that still counts, in (0, 1].

    Returns:
      `MemoryHorizon`.

    Raises:
      TypeError: for something that is neither a cell nor a layer, or a wrong dtype.
      ValueError: for a threshold outside (0, 1], a wrong shape, or no steps.

    Example:
      A leaky integrator of rate 1/2 forgets below 1 % after 7 steps, as 2⁻⁷ < 0.01 < 2⁻⁶:

      >>> import jax.numpy as jnp
      >>> import jaxrnn
      >>> cell = jaxrnn.make_elman(activation="identity")
      >>> params = jaxrnn.ElmanParams(jnp.array([[0.5]]), jnp.array([[0.5]]), jnp.zeros(1))
      >>> int(jaxrnn.analysis.memory_horizon(cell, params, jnp.ones((20, 1))).steps)
      7
    """
    xs = check_floating("xs", xs)
    if xs.ndim and xs.shape[0] == 0:
        raise ValueError(f"xs: expected at least one step, got shape {xs.shape} (T, *batch, D)")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold: expected a share in (0, 1], got {threshold}")

    run = partial(_memory_horizon, cell, threshold)
    return once(run, params, xs, carry)


def _memory_horizon(
    cell: Cell | Layer, threshold: float, params: Params, xs: Array, carry: Carry | None
) -> MemoryHorizon:
    y, pull = jax.vjp(lambda xs: scan(cell, params, xs, carry)[1][-1], xs)
    time, axes = xs.shape[0], xs.ndim - 1

    def of_feature(j: Array) -> Array:
        return norm(pull(jnp.zeros_like(y).at[..., j].set(1))[0], axes)

    each = lax.map(of_feature, jnp.arange(y.shape[-1]))
    influence = norm(jnp.moveaxis(each, 0, -1), axes)
    most = jnp.max(influence, axis=0)
    counts = (influence >= threshold * most) & (most > 0)
    steps = jnp.where(jnp.any(counts, axis=0), time - jnp.argmax(counts, axis=0), 0)
    return MemoryHorizon(steps.astype(jnp.int32), influence)


def receptive_field(
    kernel_sizes: Sequence[int],
    dilations: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> int:
    r"""How many inputs an output of a stack of convolutions sees, to compare a memory with.

    .. math:: 1 + \sum_l (k_l - 1)\, d_l \prod_{j < l} s_j

    Args:
      kernel_sizes: k, one for each layer, from the input up.
      dilations: d, 1 everywhere if None.
      strides: s, 1 everywhere if None.

    Returns:
      The number of steps from the first to the last input seen, both included. With strides
      beyond the kernels and dilations some between them may be unseen.

    Raises:
      TypeError: for sizes that are not ints.
      ValueError: for sizes below 1, or not as many of each.

    Source: Araujo, Norris and Sim (2019), Computing receptive fields of convolutional neural
    networks.

    Example:
      >>> from jaxrnn.analysis import receptive_field
      >>> receptive_field([2] * 8, [1, 2, 4, 8, 16, 32, 64, 128])
      256
      >>> receptive_field([3, 3], strides=[2, 1])
      7
    """
    ones = [1] * len(kernel_sizes)
    sizes = {
        "kernel_sizes": kernel_sizes,
        "dilations": ones if dilations is None else dilations,
        "strides": ones if strides is None else strides,
    }
    for argument, values in sizes.items():
        if len(values) != len(ones):
            raise ValueError(f"{argument}: expected {len(ones)}, one a layer, got {len(values)}")
        for layer, value in enumerate(values):
            check_positive(f"{argument}[{layer}]", value)
    field, spacing = 1, 1  # in inputs
    for size, dilation, stride in zip(*sizes.values(), strict=True):
        field += (size - 1) * dilation * spacing
        spacing *= stride
    return field
