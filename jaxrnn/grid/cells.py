"""The cells of a grid: one predecessor along each axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks, initializers
from jaxrnn.base import (
    Array,
    Carry,
    DType,
    Made,
    Params,
    PyTree,
    Spec,
    add,
    documented,
    name_of,
    split,
    zeros,
)
from jaxrnn.cells import LSTMCarry
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import gates, linear, named, wide

__all__ = [
    "GridCell",
    "MDLSTMParams",
    "MDLSTMSpec",
    "MDRNNParams",
    "MDRNNSpec",
    "make_md_lstm",
    "make_md_rnn",
]


class _GridCellFields(NamedTuple):
    name: str
    axes: int
    init: Callable[..., Params]
    carry: Callable[..., Carry]
    project: Callable[[Params, Any], PyTree]
    recurrent: Callable[[Params, tuple[Carry, ...]], PyTree]
    update: Callable[[Params, tuple[Carry, ...], PyTree], Carry]
    output: Callable[[Params, Carry, PyTree], Any]
    spec: Spec | None = None


class GridCell(Made, _GridCellFields):
    r"""A cell with one predecessor along each of N axes; a `jaxrnn.Cell` has N = 1.

    .. math::
        z_p &= \mathrm{project}(\theta, x_p) +
            \mathrm{recurrent}(\theta, (s_{p - e_1}, \dots, s_{p - e_N})) \\
        s_p &= \mathrm{update}(\theta, (s_{p - e_1}, \dots, s_{p - e_N}), z_p) \\
        y_p &= \mathrm{output}(\theta, s_p, z_p)

    Attributes:
      name: how errors call it.
      axes: N.
      init: ``init(key, input_size, hidden_size, *, dtype, ...) -> params``.
      carry: ``carry(params, batch_shape=()) -> carry``, zeros, leaves ``(*batch_shape, H)``.
      project: ``project(params, x) -> z``, affine in x.
      recurrent: ``recurrent(params, before) -> z``, affine in the tuple of N carries.
      update: ``update(params, before, z) -> carry``.
      output: ``output(params, carry, z) -> y``.
      spec: what its constructor was given, as in `jaxrnn.Cell`.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.grid.make_md_rnn(2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> left = up = cell.carry(params)
      >>> carry, y = cell.step(params, (up, left), jax.numpy.ones(3))
      >>> y.shape
      (5,)
    """

    def step(self, params: Params, before: tuple[Carry, ...], x: Array) -> tuple[Carry, Array]:
        """One position.

        Args:
          params: the cell's parameters.
          before: the carry of the predecessor along each axis, leaves ``(*batch, H)``.
          x: ``(*batch, D)``.

        Returns:
          ``(carry, y)``, of the position.

        Example:
          >>> import jax, jaxrnn
          >>> cell = jaxrnn.grid.make_md_lstm(3)
          >>> params = cell.init(jax.random.key(0), 3, 5)
          >>> cell.step(params, (cell.carry(params),) * 3, jax.numpy.ones(3))[1].shape
          (5,)
        """
        z = add(self.project(params, x), self.recurrent(params, before))
        carry = self.update(params, before, z)
        return carry, self.output(params, carry, z)


class MDRNNParams(NamedTuple):
    """Parameters of a multi-dimensional RNN.

    Attributes:
      input_kernel: W, ``(D, H)``.
      recurrent_kernel: R^d for each axis, ``(N, H, H)``.
      bias: b, ``(H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.grid.make_md_rnn(2)
      >>> cell.init(jax.random.key(0), 3, 5).recurrent_kernel.shape
      (2, 5, 5)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class MDLSTMParams(NamedTuple):
    """Parameters of a multi-dimensional LSTM; the blocks are i, f of each axis, g, o.

    Attributes:
      input_kernel: W, ``(D, (N+3)H)``.
      recurrent_kernel: R^d for each axis, ``(N, H, (N+3)H)``.
      bias: b, ``((N+3)H,)``, or None.
      peepholes: p for i, f of each axis, o, ``((N+2)H,)``; None without peepholes.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.grid.make_md_lstm(2, peepholes="diagonal")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> params.recurrent_kernel.shape, params.peepholes.shape
      ((2, 5, 25), (20,))
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    peepholes: Array | None = None


def _recurrent(params: MDRNNParams | MDLSTMParams, hs: Sequence[Array]) -> Array:
    """Σ_d R^d h^d as one product."""
    kernel = params.recurrent_kernel
    return linear(jnp.concatenate(hs, axis=-1), kernel.reshape(-1, kernel.shape[-1]))


def _project(params: MDRNNParams | MDLSTMParams, x: Array) -> Array:
    return linear(x, params.input_kernel, params.bias)


def _hidden_size(params: MDRNNParams | MDLSTMParams) -> int:
    return params.recurrent_kernel.shape[1]


class MDRNNSpec(NamedTuple):
    """What `make_md_rnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.grid.make_md_rnn(3).spec.axes
      3
    """

    axes: int = 2
    activation: str | Callable[[Array], Array] = "tanh"

    def make(self) -> GridCell:
        """The cell."""
        return make_md_rnn(self.axes, activation=self.activation)


@documented
def make_md_rnn(axes: int = 2, *, activation: str | Callable[[Array], Array] = "tanh") -> GridCell:
    r"""A multi-dimensional RNN, :math:`h_p = \varphi(W x_p + \sum_d R^d h_{p-e_d} + b)`.

    The carry is h, ``(*batch, H)``, and so is the output. N = 1 is `jaxrnn.elman`.

    Args:
      axes: N.
      activation: φ, a name of `jaxrnn.cells.ACTIVATIONS` or an elementwise function.

    Returns:
      A `GridCell` with `MDRNNParams`.

    Raises:
      TypeError: if `axes` is not an int.
      ValueError: for fewer than one axis or an unknown activation.

    Source: Graves, Fernández and Schmidhuber (2007), Multi-dimensional recurrent neural
    networks, arXiv:0705.2011.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.grid.make_md_rnn(2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.grid.scan(cell, params, jax.numpy.ones((4, 6, 3)))[1].shape
      (4, 6, 5)
    """
    checks.check_positive("axes", axes)
    phi = resolve(activation, "activation")

    @checks.sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = initializers.orthogonal,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = True,
    ) -> MDRNNParams:
        k1, k2, k3 = split(key, 3)
        square = (hidden_size, hidden_size)
        return MDRNNParams(
            kernel_init(k1, (input_size, hidden_size), dtype),
            jnp.stack([recurrent_init(k, square, dtype) for k in split(k2, axes)]),
            bias_init(k3, (hidden_size,), dtype) if use_bias else None,
        )

    def carry(params: MDRNNParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return zeros(batch_shape, _hidden_size(params), params.recurrent_kernel.dtype)

    def update(params: MDRNNParams, before: tuple[Array, ...], z: Array) -> Array:
        return phi(z).astype(before[0].dtype)

    def output(params: MDRNNParams, h: Array, z: Array) -> Array:
        return h

    spec = MDRNNSpec(axes, named(activation, "activation"))
    name = name_of("md_rnn", spec)
    return GridCell(name, axes, init, carry, _project, _recurrent, update, output, spec)


class MDLSTMSpec(NamedTuple):
    """What `make_md_lstm` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.grid.make_md_lstm(form="stable").spec.form
      'stable'
    """

    axes: int = 2
    peepholes: Literal["diagonal"] | None = None
    form: Literal["plain", "stable"] = "plain"

    def make(self) -> GridCell:
        """The cell."""
        return make_md_lstm(self.axes, peepholes=self.peepholes, form=self.form)


@documented
def make_md_lstm(
    axes: int = 2,
    *,
    peepholes: Literal["diagonal"] | None = None,
    form: Literal["plain", "stable"] = "plain",
) -> GridCell:
    r"""A multi-dimensional LSTM: one forget gate for each axis.

    With :math:`a = W x_p + \sum_d R^d h^d + b` split between the gates, and h^d, c^d the state
    of the predecessor along axis d,

    .. math::
        i &= \sigma(a_i + p_i \odot \textstyle\sum_d c^d) \\
        f_d &= \sigma(a_{f,d} + p_{f,d} \odot c^d) \\
        g &= \tanh(a_g) \\
        c &= i \odot g + \textstyle\sum_d f_d \odot c^d && \text{plain} \\
        c &= i \odot g + (1 - i) \odot \textstyle\sum_d f_d \odot c^d \,/ \sum_d f_d
            && \text{stable} \\
        o &= \sigma(a_o + p_o \odot c) \\
        h &= o \odot \tanh(c)

    The forget gates of the plain form may sum to more than one, and then c grows
    exponentially along the diagonal. The stable form takes a convex combination, so that
    :math:`|c| \le 1` everywhere. Its forget gates only share out the past between the axes:
    with N = 1 it is the LSTM whose forget gate is 1 − i. The plain N = 1 is `jaxrnn.lstm`.

    The carry is `LSTMCarry`, the output h. ``init`` takes ``kernel_init``, ``recurrent_init``
    ``bias_init`` and ``use_bias`` as ``jaxrnn.lstm.init`` does, ``peephole_init`` (zeros) and
    ``forget_bias``: by default 1 for N = 1 as there, otherwise −log(N − 1), with which forget
    gates that see nothing else sum to one.

    Args:
      axes: N.
      peepholes: ``"diagonal"`` for the terms in p, or None without.
      form: ``"plain"`` or ``"stable"``.

    Returns:
      A `GridCell` with `MDLSTMParams`.

    Raises:
      TypeError: if `axes` is not an int.
      ValueError: for fewer than one axis or an unknown option.

    Source: Graves, Fernández and Schmidhuber (2007), Multi-dimensional recurrent neural
    networks, arXiv:0705.2011, for the plain form. The stable form normalizes the forget gates
    in the way of the bounded cells of Leifert et al. (2016), Cells in multidimensional
    recurrent neural networks, JMLR 17(97), which have further gates.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.grid.make_md_lstm(2, form="stable")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.grid.scan(cell, params, jax.numpy.ones((4, 6, 3)))
      >>> bool((carry.h == ys[-1, -1]).all())
      True
    """
    checks.check_positive("axes", axes)
    checks.check_choice("peepholes", peepholes, (None, "diagonal"))
    checks.check_choice("form", form, ("plain", "stable"))

    @checks.sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = initializers.orthogonal,
        bias_init: initializers.Initializer = initializers.zeros,
        peephole_init: initializers.Initializer = initializers.zeros,
        forget_bias: float | None = None,
        use_bias: bool = True,
    ) -> MDLSTMParams:
        k1, k2, k3, k4 = split(key, 4)
        if forget_bias is None:
            forget_bias = 1.0 if axes == 1 else -math.log(axes - 1)
        blocks = partial(initializers.blocks, gates=axes + 3, dtype=dtype)
        square, one = (hidden_size, hidden_size), (hidden_size,)
        forget = slice(hidden_size, (axes + 1) * hidden_size)
        bias = None
        if use_bias:
            bias = blocks(bias_init, k3, one).at[forget].add(forget_bias)
        return MDLSTMParams(
            blocks(kernel_init, k1, (input_size, hidden_size)),
            jnp.stack([blocks(recurrent_init, k, square) for k in split(k2, axes)]),
            bias,
            initializers.blocks(peephole_init, k4, one, axes + 2, dtype) if peepholes else None,
        )

    def carry(params: MDLSTMParams, batch_shape: tuple[int, ...] = ()) -> LSTMCarry:
        dtype, size = params.recurrent_kernel.dtype, _hidden_size(params)
        return LSTMCarry(zeros(batch_shape, size, dtype), zeros(batch_shape, size, wide(dtype)))

    def recurrent(params: MDLSTMParams, before: tuple[LSTMCarry, ...]) -> Array:
        return _recurrent(params, [each.h for each in before])

    def update(params: MDLSTMParams, before: tuple[LSTMCarry, ...], z: Array) -> LSTMCarry:
        h, cs = before[0].h, [each.c for each in before]
        size = h.shape[-1]
        p = params.peepholes
        if p is not None:
            p = jnp.split(p.astype(z.dtype), axes + 2)
            seen = [sum(cs[1:], cs[0]), *cs]
            terms = [weight * past for weight, past in zip(p[:-1], seen, strict=True)]
            z = z + jnp.concatenate([*terms, *[jnp.zeros_like(terms[0])] * 2], axis=-1)
        i, *f, g, o = gates(z, "s" * (axes + 1) + "ts")
        if form == "stable":  # the softmax of log f is f / Σ f, also where every f underflows
            log_f = jax.nn.log_sigmoid(z[..., size : (axes + 1) * size])
            shares = jax.nn.softmax(log_f.reshape(*h.shape[:-1], axes, size), axis=-2)
            f = [(1 - i) * shares[..., d, :] for d in range(axes)]
        c = sum((gate * past for gate, past in zip(f, cs, strict=True)), i * g)
        if p is not None:
            (o,) = gates(z[..., -size:] + p[-1] * c, "s")
        return LSTMCarry((o * jnp.tanh(c)).astype(h.dtype), c)

    def output(params: MDLSTMParams, s: LSTMCarry, z: Array) -> Array:
        return s.h

    spec = MDLSTMSpec(axes, peepholes, form)
    name = name_of("md_lstm", spec)
    return GridCell(name, axes, init, carry, _project, recurrent, update, output, spec)
