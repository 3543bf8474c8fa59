"""The liquid time-constant network, LTC."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import like, wide
from jaxrnn.cells.continuous.gaps import split_gaps
from jaxrnn.checks import check_positive, check_real, sized

__all__ = ["LTCParams", "LTCPreActivations", "LTCSpec", "ltc", "make_ltc"]


class LTCParams(NamedTuple):
    """Parameters of an LTC: synapses from every input and unit to every unit, and membranes.

    Attributes:
      input_kernel: w of the inputs, ``(D, H)``, whose magnitudes are conductances.
      input_slope: γ of the inputs, ``(D, H)``.
      input_center: μ of the inputs, ``(D, H)``.
      input_reversal: E of the inputs, ``(D, H)``.
      recurrent_kernel: w of the units, ``(H, H)``.
      recurrent_slope: γ of the units, ``(H, H)``.
      recurrent_center: μ of the units, ``(H, H)``.
      recurrent_reversal: E of the units, ``(H, H)``.
      leak: g, ``(H,)``, whose magnitude is a conductance.
      rest: v_l, ``(H,)``, the potential that leaks lead to.
      capacitance: c, ``(H,)``, by its magnitude.
      input_scale: of the inputs, ``(D,)``.
      input_bias: of the inputs, ``(D,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.ltc.init(jax.random.key(0), 3, 5).input_slope.shape
      (3, 5)
    """

    input_kernel: Array
    input_slope: Array
    input_center: Array
    input_reversal: Array
    recurrent_kernel: Array
    recurrent_slope: Array
    recurrent_center: Array
    recurrent_reversal: Array
    leak: Array
    rest: Array
    capacitance: Array
    input_scale: Array
    input_bias: Array | None = None


class LTCPreActivations(NamedTuple):
    """What the inputs do during a step, ``(..., H)`` each.

    Attributes:
      current: the sum of their conductances, each times its reversal potential.
      conductance: the sum of their conductances.
      gaps: time since the step before, ``(..., 1)``, or None for 1.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.ltc
      >>> cell.project(cell.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).current.shape
      (5,)
    """

    current: Array
    conductance: Array
    gaps: Any = None


class LTCSpec(NamedTuple):
    """What `make_ltc` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.ltc.spec.steps
      6
    """

    steps: int = 6
    epsilon: float = 1e-8

    def make(self) -> Cell[LTCParams, Array]:
        """The cell."""
        return make_ltc(**self._asdict())


def _uniform(low: float, high: float) -> initializers.Initializer:
    return partial(jax.random.uniform, minval=low, maxval=high)


@documented
def make_ltc(*, steps: int = 6, epsilon: float = 1e-8) -> Cell[LTCParams, Array]:
    r"""An LTC: leaky units joined by synapses whose conductance depends on what is before them.

    .. math::
        c_j\, \dot v_j = g_j (v^l_j - v_j) + \sum_i w_{ij}\, \sigma(\gamma_{ij} (s_i - \mu_{ij}))
        (E_{ij} - v_j)

    over the inputs s = x and the units s = v, solved over each gap Δ by K fused steps, which are
    implicit in v but for the conductances and so stable for any gap:

    .. math::
        v_j \leftarrow \frac{c_j v_j + \frac{\Delta_t}{K} \left( g_j v^l_j + \sum_i w_{ij}
        \sigma_{ij} E_{ij} \right)}{c_j + \frac{\Delta_t}{K} \left( g_j + \sum_i w_{ij}
        \sigma_{ij} + \epsilon \right)}

    The sums over the inputs are done for all time steps at once; those over the units are inside
    the loop's update. w, g and c count by their magnitudes, where the authors' package ncps
    clips them at 0 after every step of training. The input is ``(T, *batch, D)``, or a pair of
    it and time gaps ``(T, *batch, 1)``. The carry is v, ``(*batch, H)``, float32 for the half
    types, and so is the output, in the dtype of the parameters.

    Args:
      steps: K, fused steps in a time step.
      epsilon: ε, added to the denominator.

    Returns:
      A `Cell` with `LTCParams`. Its ``init`` draws w and g uniformly on [0.001, 1], v_l on
      ±0.2, c on [0.4, 0.6], γ on [3, 8], μ on [0.3, 0.8] and E out of −1 and 1, as ncps does;
      ``use_bias=False`` leaves out the bias of the affine map of the inputs, which starts as
      the identity.

    Raises:
      TypeError: for a number of steps that is no int, or an epsilon that is no number.
      ValueError: for fewer than one step, or a negative epsilon.

    Source: Hasani, Lechner, Amini, Rus and Grosu (2021), Liquid time-constant networks,
    arXiv:2006.04439.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_ltc(steps=3)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3)), jax.numpy.full((7, 2, 1), 0.5)
      >>> jaxrnn.scan(cell, params, xs)[1].shape
      (7, 2, 5)
    """
    check_positive("steps", steps)
    check_real("epsilon", epsilon, least=0)
    spec = LTCSpec(int(steps), float(epsilon))

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = _uniform(0.001, 1.0),
        use_bias: bool = True,
    ) -> LTCParams:
        keys = split(key, 11)

        unit = (hidden_size,)
        draws = kernel_init, _uniform(3.0, 8.0), _uniform(0.3, 0.8), jax.random.rademacher
        drawn = {
            f"{who}_{part}": draw(keys[4 * k + n], (rows, hidden_size), dtype)
            for k, (who, rows) in enumerate((("input", input_size), ("recurrent", hidden_size)))
            for n, (part, draw) in enumerate(zip(_PARTS, draws, strict=True))
        }
        return LTCParams(
            **drawn,
            leak=_uniform(0.001, 1.0)(keys[8], unit, dtype),
            rest=_uniform(-0.2, 0.2)(keys[9], unit, dtype),
            capacitance=_uniform(0.4, 0.6)(keys[10], unit, dtype),
            input_scale=jnp.ones(input_size, dtype),
            input_bias=jnp.zeros(input_size, dtype) if use_bias else None,
        )

    def carry(params: LTCParams, batch_shape: tuple[int, ...] = ()) -> Array:
        kernel = params.recurrent_kernel
        return zeros(batch_shape, kernel.shape[0], wide(kernel.dtype))

    def project(params: LTCParams, x: Any) -> LTCPreActivations:
        x, gaps = split_gaps(x)
        x = x * like(params.input_scale, x)
        if params.input_bias is not None:
            x = x + like(params.input_bias, x)
        return LTCPreActivations(*_sums(params, "input", x), gaps)

    def nothing(params: LTCParams, v: Array) -> None:
        """What the units do to each other is not affine in their state."""

    def update(params: LTCParams, v: Array, z: LTCPreActivations) -> Array:
        leak, rest, c = abs(like(params.leak, v)), like(params.rest, v), params.capacitance
        c = abs(like(c, v))
        step = (1.0 if z.gaps is None else z.gaps) / spec.steps
        current, conductance = z.current + leak * rest, z.conductance + leak + spec.epsilon
        for _ in range(spec.steps):
            inner, total = _sums(params, "recurrent", v)
            v = (c * v + step * (current + inner)) / (c + step * (conductance + total))
        return v

    def output(params: LTCParams, v: Array, z: LTCPreActivations) -> Array:
        return v.astype(params.recurrent_kernel.dtype)

    def bounds(params: LTCParams, start: Array, count: Any) -> Array:
        """Each step takes a mean of v and the potentials of leaks and synapses."""
        ends = [abs(params.rest)]
        ends += [abs(e).max(axis=0) for e in (params.input_reversal, params.recurrent_reversal)]
        furthest = ends[0]
        for end in ends[1:]:
            furthest = jnp.maximum(furthest, end)
        return jnp.maximum(start, like(furthest, start))

    name = name_of("ltc", spec)
    return Cell(name, init, carry, project, nothing, update, output, bounds=bounds, spec=spec)


_PARTS = "kernel", "slope", "center", "reversal"


def _sums(params: LTCParams, who: str, s: Array) -> tuple[Array, Array]:
    """Currents and conductances of the synapses from inputs or units, summed at each unit."""
    dtype = wide(s.dtype)
    wider = tuple(range(s.ndim - 1))  # spelled out for who forbids implicit promotion
    leaves = (jnp.expand_dims(getattr(params, f"{who}_{part}"), wider) for part in _PARTS)
    kernel, slope, center, reversal = (leaf.astype(dtype) for leaf in leaves)
    open_ = jax.nn.sigmoid(slope * (s.astype(dtype)[..., None] - center)) * abs(kernel)
    return (open_ * reversal).sum(axis=-2), open_.sum(axis=-2)


ltc = make_ltc()
r"""The liquid time-constant network with 6 fused steps in a time step.

.. math::
    c_j\, \dot v_j = g_j (v^l_j - v_j) + \sum_i w_{ij}\, \sigma(\gamma_{ij} (s_i - \mu_{ij}))
    (E_{ij} - v_j)

Params `LTCParams`, carry and output v. See `make_ltc`.
"""
