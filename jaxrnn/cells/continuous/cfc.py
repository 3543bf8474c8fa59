"""The closed-form continuous-time network, CfC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import like, linear, named, tanh
from jaxrnn.cells.continuous.gaps import joint, scaled_step, split_gaps
from jaxrnn.checks import check_bool, check_choice, check_positive, sized

__all__ = ["CfCGates", "CfCParams", "CfCPreActivations", "CfCSpec", "cfc", "lecun_tanh", "make_cfc"]

Mode = Literal["default", "no_gate", "pure"]
Activation = str | Callable[[Array], Array]


def lecun_tanh(z: Array) -> Array:
    """LeCun's tanh, 1.7159 tanh(0.666 z), whose gain at its working range is about 1.

    Args:
      z: any shape.

    Example:
      >>> from jaxrnn.cells.continuous import lecun_tanh
      >>> round(float(lecun_tanh(1.0)), 3)
      1.0
    """
    return 1.7159 * tanh(0.666 * z)


class CfCParams(NamedTuple):
    """Parameters of a CfC; the heads are in the order f₁, f₂, a, b, of pure mode f₁ alone.

    Attributes:
      input_kernel: W of all k heads, ``(D, kH)``, or of the backbone's first layer, ``(D, U)``.
      recurrent_kernel: R, ``(H, kH)`` or ``(H, U)``.
      bias: β, ``(kH,)`` or ``(U,)``, or None.
      dense_kernels: those of the backbone's further layers and, last, of the heads; None
        without a backbone.
      dense_biases: the same of their biases.
      rate: w of pure mode, ``(H,)``, else None.
      asymptote: A of pure mode, ``(H,)``, else None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.cfc.init(jax.random.key(0), 3, 5).recurrent_kernel.shape
      (5, 20)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    dense_kernels: tuple[Array, ...] | None = None
    dense_biases: tuple[Array, ...] | None = None
    rate: Array | None = None
    asymptote: Array | None = None


class CfCPreActivations(NamedTuple):
    """Pre-activations of a CfC.

    Attributes:
      a: of the heads, or of the backbone's first layer.
      gaps: time since the step before, ``(..., 1)``, or None for 1.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.cfc
      >>> cell.project(cell.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).a.shape
      (20,)
    """

    a: Any
    gaps: Any = None


class CfCGates(NamedTuple):
    """Activations of a CfC, ``(*batch, H)`` each.

    Attributes:
      t: the time gate; of pure mode what is left of the distance to A.
      f1: the first head.
      f2: the second head, None in pure mode.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.cfc
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3))).t.shape
      (7, 5)
    """

    t: Array
    f1: Array
    f2: Any = None


class CfCSpec(NamedTuple):
    """What `make_cfc` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.cfc.spec.mode
      'default'
    """

    mode: Mode = "default"
    backbone: tuple[int, ...] = ()
    activation: Activation = lecun_tanh
    use_bias: bool = True

    def make(self) -> Cell[CfCParams, Array]:
        """The cell."""
        return make_cfc(**self._asdict())


@documented
def make_cfc(
    *,
    mode: Mode = "default",
    backbone: tuple[int, ...] = (),
    activation: Activation = lecun_tanh,
    use_bias: bool = True,
) -> Cell[CfCParams, Array]:
    r"""A CfC: the solution of a liquid network's equation in closed form, not integrated.

    .. math::
        f_1, f_2, a, b &= W x_t + R h_{t-1} + \beta
            \quad \text{or affine maps of a backbone of } x_t, h_{t-1} \\
        \tau &= \sigma(a\, \Delta_t + b) \\
        h_t &= (1 - \tau) \odot \tanh(f_1) + \tau \odot \tanh(f_2) && \text{default} \\
        h_t &= \tanh(f_1) + \tau \odot \tanh(f_2) && \text{no gate} \\
        h_t &= A - A \odot e^{-\Delta_t (|w| + |f_1|)} \odot f_1 && \text{pure}

    Δ is the time since the step before: the input is ``(T, *batch, D)``, or a pair of it and
    gaps ``(T, *batch, 1)``. The carry is h, ``(*batch, H)``, and so is the output. The forms and
    the sign of a are those of the authors' package ncps. A backbone's products after its first
    stay inside the loop's update.

    Args:
      mode: ``"default"``, ``"no_gate"`` or ``"pure"``.
      backbone: the sizes of the layers between [x; h] and the heads; ncps has ``(128,)``.
      activation: of the backbone's layers, a name of `jaxrnn.cells.ACTIVATIONS` or an
        elementwise function.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `CfCParams`. Its ``init`` takes ``kernel_init`` (glorot, of W and R
      together, and of the further kernels), ``bias_init`` (zeros) and ``use_bias``; w starts
      at 0 and A at 1.

    Raises:
      TypeError: for a backbone that is no tuple of ints.
      ValueError: for an unknown mode or activation, or a layer of no units.

    Source: Hasani et al. (2022), Closed-form continuous-time neural networks, arXiv:2106.13898.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_cfc(backbone=(16,))
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3)), jax.numpy.full((7, 2, 1), 0.5)
      >>> jaxrnn.scan(cell, params, xs)[1].shape
      (7, 2, 5)
    """
    check_choice("mode", mode, ("default", "no_gate", "pure"))
    check_bool("use_bias", use_bias)
    if not isinstance(backbone, tuple | list):
        raise TypeError(f"backbone: expected a tuple of layer sizes, got {backbone!r}")
    for k, units in enumerate(backbone):
        check_positive(f"backbone[{k}]", units)
    phi = resolve(activation, "activation")
    layers = tuple(map(int, backbone))
    spec = CfCSpec(mode, layers, named(activation, "activation"), use_bias)
    heads = 1 if mode == "pure" else 4

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
    ) -> CfCParams:
        widths = [*((units, 1) for units in layers), (hidden_size, heads)]
        keys, kernels, biases = split(key, 2 * len(widths)), [], []
        rows = [input_size, hidden_size]
        for k, (size, count) in enumerate(widths):
            kernels += joint(kernel_init, keys[2 * k], rows, size, count, dtype)
            biases.append(initializers.blocks(bias_init, keys[2 * k + 1], (size,), count, dtype))
            rows = [size]
        pure = mode == "pure"
        return CfCParams(
            kernels[0],
            kernels[1],
            biases[0] if use_bias else None,
            tuple(kernels[2:]) if layers else None,
            tuple(biases[1:]) if layers and use_bias else None,
            jnp.zeros(hidden_size, dtype) if pure else None,
            jnp.ones(hidden_size, dtype) if pure else None,
        )

    def carry(params: CfCParams, batch_shape: tuple[int, ...] = ()) -> Array:
        kernel = params.recurrent_kernel
        return zeros(batch_shape, kernel.shape[0], kernel.dtype)

    def project(params: CfCParams, x: Any) -> CfCPreActivations:
        x, gaps = split_gaps(x)
        return CfCPreActivations(linear(x, params.input_kernel, params.bias), gaps)

    def recurrent(params: CfCParams, h: Array) -> CfCPreActivations:
        return CfCPreActivations(linear(h, params.recurrent_kernel))

    def gated(params: CfCParams, h: Array, z: CfCPreActivations) -> CfCGates:
        a, biases = z.a, params.dense_biases
        for k, kernel in enumerate(params.dense_kernels or ()):
            a = linear(phi(a).astype(kernel.dtype), kernel, None if biases is None else biases[k])
        if params.rate is not None:
            speed = abs(like(params.rate, a)) + abs(a)
            return CfCGates(jnp.exp(-scaled_step(1.0, z.gaps) * speed), a)
        f1, f2, slope, start = jnp.split(a, 4, axis=-1)
        time = 0.5 * (slope if z.gaps is None else slope * z.gaps) + 0.5 * start
        return CfCGates(0.5 + 0.5 * tanh(time), tanh(f1), tanh(f2))

    def update(params: CfCParams, h: Array, z: CfCPreActivations) -> Array:
        t, f1, f2 = gated(params, h, z)
        if params.asymptote is not None:
            a = like(params.asymptote, f1)
            return (a - a * t * f1).astype(h.dtype)
        first = f1 if mode == "no_gate" else (1 - t) * f1
        return (first + t * f2).astype(h.dtype)

    def bounds(params: CfCParams, start: Array, count: Any) -> Array:
        return jnp.maximum(start, 2 if mode == "no_gate" else 1)

    name = name_of("cfc", spec)
    limits = None if mode == "pure" else bounds
    return Cell(
        name, init, carry, project, recurrent, update, gates=gated, bounds=limits, spec=spec
    )


cfc = make_cfc()
r"""The closed-form continuous-time network with its gate, and without a backbone.

.. math::
    h_t = (1 - \tau) \odot \tanh(f_1) + \tau \odot \tanh(f_2), \qquad
    \tau = \sigma(a\, \Delta_t + b)

where :math:`f_1, f_2, a, b = W x_t + R h_{t-1} + \beta`. Params `CfCParams`, carry and output
h. See `make_cfc`.
"""
