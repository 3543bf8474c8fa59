"""The clockwork RNN, whose groups of units run at speeds of their own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Array, Cell, documented, name_of, zeros
from jaxrnn.cells.blocks import linear, tanh, wide
from jaxrnn.cells.elman import ElmanParams
from jaxrnn.cells.structured.fused import Draw, fused
from jaxrnn.checks import check_bool, check_positive

__all__ = ["ClockworkCarry", "ClockworkSpec", "clockwork", "make_clockwork"]


class ClockworkCarry(NamedTuple):
    """The state of a clockwork RNN.

    Attributes:
      h: the output of the last step, ``(*batch, H)``.
      t: how many steps there were, modulo the least common multiple of the periods,
        ``(*batch, 1)``; float32 where h is a half type.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.clockwork
      >>> cell.carry(cell.init(jax.random.key(0), 3, 5), (2,)).t.shape
      (2, 1)
    """

    h: Array
    t: Array


class ClockworkSpec(NamedTuple):
    """What `make_clockwork` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.structured.clockwork.spec.periods
      (1, 2, 4, 8)
    """

    periods: tuple[int, ...] = (1, 2, 4, 8)
    use_bias: bool = True

    def make(self) -> Cell[ElmanParams, ClockworkCarry]:
        """The cell."""
        return make_clockwork(**self._asdict())


@documented
def make_clockwork(
    *, periods: Sequence[int] = (1, 2, 4, 8), use_bias: bool = True
) -> Cell[ElmanParams, ClockworkCarry]:
    r"""A clockwork RNN: a group of units of the period T runs at every T-th step.

    .. math::
        h_t^{(g)} = \begin{cases}
            \tanh(W^{(g)} x_t + \sum_{j:\, T_j \ge T_g} R^{(j, g)}\, h_{t-1}^{(j)} + b^{(g)})
                & \text{if } t \bmod T_g = 0 \\
            h_{t-1}^{(g)} & \text{else}
        \end{cases}

    with t = 0 the first step, in which all groups run. A group reads those that are at least as
    slow as itself; what of R would read faster ones is not looked at, and drawn as 0. H is
    divided among the groups as evenly as can be, in the order of the periods, the first ones the
    larger. The time is part of the carry, which a reset sets to 0.

    Args:
      periods: T of each group.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `ElmanParams` and `ClockworkCarry`, whose output is h. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and
      ``use_bias``.

    Raises:
      TypeError: for a period that is not an int.
      ValueError: for no periods, one below 1, or such as come together only after more than
        2**24 steps.

    Source: Koutník et al. (2014), A clockwork RNN, arXiv:1402.3511.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.structured.make_clockwork(periods=(1, 3))
      >>> params = cell.init(jax.random.key(0), 3, 4)
      >>> carry, ys = jaxrnn.scan(cell, params, jax.numpy.ones((3, 3)))
      >>> carry.t.tolist(), bool((ys[2, 2:] == ys[0, 2:]).all())
      ([0.0], True)
    """
    if not isinstance(periods, Sequence) or isinstance(periods, str):
        raise TypeError(f"periods: expected a sequence of positive ints, got {periods!r}")
    if not periods:
        raise ValueError("periods: expected at least one, got none")
    for k, period in enumerate(periods):
        check_positive(f"periods[{k}]", period)
    check_bool("use_bias", use_bias)
    spec = ClockworkSpec(tuple(int(period) for period in periods), use_bias)
    together = math.lcm(*spec.periods)
    if together > 2**24:
        raise ValueError(
            f"periods: expected a least common multiple of at most 2**24, which a float32 can "
            f"count to, got {spec.periods}"
        )

    def each(size: int) -> np.ndarray:
        """The period of each unit."""
        groups = np.array_split(np.arange(size), len(spec.periods))
        return np.repeat(spec.periods, [len(group) for group in groups])

    def reads(kernel: Array) -> Array:
        """The kernel without what would read faster units."""
        unit = each(kernel.shape[0])
        return jnp.where(unit[:, None] >= unit[None, :], kernel, jnp.zeros_like(kernel))

    def complete(draw: Draw) -> ElmanParams:
        w, r, b = draw.kernels
        return ElmanParams(w, reads(r), b)

    def carry(params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> ClockworkCarry:
        kernel = params.recurrent_kernel
        h = zeros(batch_shape, kernel.shape[0], kernel.dtype)
        return ClockworkCarry(h, zeros(batch_shape, 1, wide(kernel.dtype)))

    def project(params: ElmanParams, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def recurrent(params: ElmanParams, s: ClockworkCarry) -> Array:
        return linear(s.h, reads(params.recurrent_kernel))

    def update(params: ElmanParams, s: ClockworkCarry, z: Array) -> ClockworkCarry:
        unit = jnp.asarray(each(s.h.shape[-1]), s.t.dtype)
        runs = jnp.round(s.t) % jnp.broadcast_to(unit, z.shape) == 0
        return ClockworkCarry(jnp.where(runs, tanh(z).astype(s.h.dtype), s.h), (s.t + 1) % together)

    def output(params: ElmanParams, s: ClockworkCarry, z: Array) -> Array:
        return s.h

    def bounds(params: ElmanParams, start: ClockworkCarry, count: Any) -> ClockworkCarry:
        return ClockworkCarry(jnp.maximum(1, start.h), jnp.maximum(together, start.t))

    return Cell(
        name_of("clockwork", spec),
        fused(1, complete, use_bias=use_bias),
        carry,
        project,
        recurrent,
        update,
        output,
        bounds=bounds,
        spec=spec,
    )


clockwork: Cell[ElmanParams, ClockworkCarry] = make_clockwork()
r"""The clockwork RNN of four groups with the periods 1, 2, 4 and 8; see `make_clockwork`.

Source: Koutník et al. (2014), A clockwork RNN, arXiv:1402.3511.
"""
