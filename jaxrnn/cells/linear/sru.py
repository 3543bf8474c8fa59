"""The simple recurrent unit."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split
from jaxrnn.cells.blocks import gates, like, linear
from jaxrnn.cells.linear.common import LinearGates, linear_cell, state
from jaxrnn.cells.linear.start import input_kernels
from jaxrnn.checks import check_bool, sized

__all__ = ["SRUInput", "SRUParams", "SRUSpec", "make_sru", "sru"]


class SRUParams(NamedTuple):
    """Parameters of a simple recurrent unit.

    Attributes:
      input_kernel: W, ``(D, 3H)``, blocks x̃, f, r.
      bias: b of f and r, ``(2H,)``, or None.
      peephole_kernel: v of f and r, ``(2H,)``, or None.
      skip_kernel: what the input goes past the state through, ``(D, H)``; None where D = H.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import sru
      >>> sru.init(jax.random.key(0), 3, 5).skip_kernel.shape
      (3, 5)
    """

    input_kernel: Array
    bias: Array | None = None
    peephole_kernel: Array | None = None
    skip_kernel: Array | None = None


class SRUInput(NamedTuple):
    """What a simple recurrent unit makes of its input.

    Attributes:
      gates: the pre-activations of f and r, ``(..., 2H)``.
      content: x̃, ``(..., H)``.
      skip: what goes past the state, ``(..., H)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import sru
      >>> sru.project(sru.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).gates.shape
      (10,)
    """

    gates: Any
    content: Any = None
    skip: Any = None


class SRUSpec(NamedTuple):
    """What `make_sru` was given.

    Example:
      >>> from jaxrnn.cells.linear import sru
      >>> sru.spec.peephole
      True
    """

    peephole: bool = True
    rescale: bool = False
    highway_bias: float = 0.0
    use_bias: bool = True

    def make(self) -> Cell[SRUParams, Array]:
        """The cell."""
        return make_sru(**self._asdict())


@documented
def make_sru(
    *,
    peephole: bool = True,
    rescale: bool = False,
    highway_bias: float = 0.0,
    use_bias: bool = True,
) -> Cell[SRUParams, Array]:
    r"""A simple recurrent unit.

    .. math::
        f, r &= \sigma(W_{f,r}\, x_t + v_{f,r} \odot c_{t-1} + b_{f,r}) \\
        c_t &= f \odot c_{t-1} + (1 - f) \odot W x_t \\
        h_t &= r \odot c_t + (1 - r) \odot \alpha x_t

    Both gates see the old c. Where D and H differ, another product :math:`W_s x_t` is in the place
    of :math:`\alpha x_t`. The carry is c, ``(*batch, H)``, float32 at least; the output is h. With
    v the cell is elementwise, but not linear in its state; without, it has coefficients.

    Args:
      peephole: whether there is a v.
      rescale: whether :math:`\alpha = \sqrt{1 + 2 e^{b}}`, b the highway bias, which keeps the
        variance, or 1.
      highway_bias: what the bias of r starts at.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `SRUParams`. Its ``init`` takes ``kernel_init`` (uniform on ±√(3/D)),
      ``bias_init`` (zeros) and ``use_bias``; the blocks of the gates and v, which is uniform on
      ±√3, start √½ as large, and :math:`W_s` α times as large.

    Raises:
      TypeError: for an option that is not of its type.

    Source: Lei et al. (2018), Simple recurrent units for highly parallelizable recurrence,
    arXiv:1709.02755.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_sru
      >>> cell = make_sru(peephole=False)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    for argument, value in (("peephole", peephole), ("rescale", rescale), ("use_bias", use_bias)):
        check_bool(argument, value)
    if isinstance(highway_bias, bool) or not isinstance(highway_bias, int | float):
        raise TypeError(f"highway_bias: expected a number, got {highway_bias!r}")
    spec = SRUSpec(peephole, rescale, highway_bias, use_bias)
    alpha = math.sqrt(1 + 2 * math.exp(highway_bias)) if rescale else 1.0

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = jax.nn.initializers.lecun_uniform(),
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
    ) -> SRUParams:
        k1, k2, k3 = split(key, 3)
        gate_init = initializers.scaled(kernel_init, math.sqrt(0.5))
        kernel, _ = input_kernels(
            k1,
            (input_size, hidden_size),
            3,
            dtype=dtype,
            kernel_init=[kernel_init, gate_init, gate_init],
            bias_init=bias_init,
            use_bias=False,
        )
        bias = v = skip = None
        if use_bias:
            bias = initializers.blocks(bias_init, k2, (hidden_size,), 2, dtype)
            bias = bias.at[hidden_size:].add(highway_bias)
        if peephole:
            v = jax.random.uniform(k3, (2 * hidden_size,), dtype, -1, 1) * math.sqrt(1.5)
        if input_size != hidden_size:
            again = jax.random.fold_in(k1, 1)
            skip = kernel_init(again, (input_size, hidden_size), dtype) * alpha
        return SRUParams(kernel, bias, v, skip)

    def carry(params: SRUParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return state(params, params.input_kernel.shape[1] // 3, batch_shape)

    def project(params: SRUParams, x: Array) -> SRUInput:
        z = linear(x, params.input_kernel)
        content, gate = jnp.split(z, (z.shape[-1] // 3,), axis=-1)
        if params.bias is not None:
            gate = gate + like(params.bias, gate)
        if params.skip_kernel is None:
            return SRUInput(gate, content, alpha * x.astype(z.dtype))
        return SRUInput(gate, content, linear(x, params.skip_kernel))

    def recurrent(params: SRUParams, c: Array) -> SRUInput:
        both = jnp.concatenate([c, c], axis=-1)
        return SRUInput(like(params.peephole_kernel, both) * both)

    def gated(params: SRUParams, z: SRUInput) -> LinearGates:
        f, r = gates(z.gates, "ss")
        return LinearGates(f, 1 - f, r)

    def coefficients(params: SRUParams, z: SRUInput) -> tuple[Any, Any]:
        gate: Any = gated(params, z)
        return gate.keep, gate.write * z.content

    def output(params: SRUParams, c: Array, z: SRUInput) -> Array:
        r: Any = gated(params, z).read
        return (r * c + (1 - r) * z.skip).astype(params.input_kernel.dtype)

    name = name_of("sru", spec)
    cell = linear_cell(name, init, carry, project, coefficients, output, gates=gated, spec=spec)
    if not peephole:
        return cell
    return Cell(**(cell._asdict() | {"recurrent": recurrent, "coefficients": None}))


sru = make_sru()
r"""The simple recurrent unit, whose gates see the old c through v:
:math:`c_t = f \odot c_{t-1} + (1 - f) \odot W x_t`,
:math:`h_t = r \odot c_t + (1 - r) \odot x_t`.

Params `SRUParams`, carry c, output h. Source: Lei et al. (2018), Simple recurrent units for highly
parallelizable recurrence, arXiv:1709.02755.
"""
