"""The Elman network, the plain recurrent layer."""

from __future__ import annotations

from collections.abc import Callable
from math import isinf
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, documented, name_of, split, zeros
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import kernels, limit, linear, named
from jaxrnn.checks import check_bool, sized

__all__ = ["ElmanParams", "ElmanSpec", "elman", "elman_relu", "irnn", "make_elman", "zero_carry"]


class ElmanParams(NamedTuple):
    """Parameters of an Elman cell.

    Attributes:
      input_kernel: W, ``(D, H)``.
      recurrent_kernel: R, ``(H, H)``.
      bias: b, ``(H,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.elman.init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 5)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class ElmanSpec(NamedTuple):
    """What `make_elman` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.irnn.spec.activation
      'relu'
    """

    activation: str | Callable[[Array], Array] = "tanh"
    recurrent_init: initializers.Initializer = initializers.orthogonal
    use_bias: bool = True

    def make(self) -> Cell[ElmanParams, Array]:
        """The cell."""
        return make_elman(**self._asdict())


@documented
def make_elman(
    *,
    activation: str | Callable[[Array], Array] = "tanh",
    recurrent_init: initializers.Initializer = initializers.orthogonal,
    use_bias: bool = True,
) -> Cell[ElmanParams, Array]:
    r"""An Elman cell, :math:`h_t = \varphi(W x_t + R h_{t-1} + b)`.

    The carry is h, ``(*batch, H)``, and so is the output.

    Args:
      activation: φ, ``"tanh"``, ``"relu"``, another name of `jaxrnn.cells.ACTIVATIONS` or
        an elementwise function.
      recurrent_init: the default initialiser of R.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `ElmanParams`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init``, ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      ValueError: for an unknown activation.

    Source: Elman (1990), Finding structure in time.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.make_elman(activation="relu")
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> carry, y = cell.step(params, cell.carry(params), jax.numpy.ones(3))
      >>> bool((y >= 0).all())
      True
    """
    check_bool("use_bias", use_bias)
    spec = ElmanSpec(named(activation, "activation"), recurrent_init, use_bias)
    phi = resolve(activation, "activation")

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = spec.recurrent_init,
        bias_init: initializers.Initializer = initializers.zeros,
        use_bias: bool = spec.use_bias,
    ) -> ElmanParams:
        drawn = kernels(
            split(key, 3),
            (input_size, hidden_size),
            1,
            dtype=dtype,
            kernel_init=kernel_init,
            recurrent_init=recurrent_init,
            bias_init=bias_init,
            use_bias=use_bias,
        )
        return ElmanParams(*drawn)

    def update(params: ElmanParams, h: Array, z: Array) -> Array:
        return phi(z).astype(h.dtype)

    most = limit(spec.activation)

    def bounds(params: ElmanParams, start: Array, count: Any) -> Array:
        return jnp.maximum(start, most)

    name = name_of("elman", spec)
    kept = None if isinf(most) else bounds
    return Cell(name, init, zero_carry, _project, _recurrent, update, bounds=kept, spec=spec)


def zero_carry(params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> Array:
    """The state h of zeros, of the size and dtype of what ``params.recurrent_kernel`` reads.

    Args:
      params: with a field `recurrent_kernel`.
      batch_shape: the batch axes.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.elman.carry(jaxrnn.elman.init(jax.random.key(0), 3, 5), (2,)).shape
      (2, 5)
    """
    kernel = params.recurrent_kernel
    return zeros(batch_shape, kernel.shape[0], kernel.dtype)


def _project(params: ElmanParams, x: Array) -> Array:
    return linear(x, params.input_kernel, params.bias)


def _recurrent(params: ElmanParams, h: Array) -> Array:
    return linear(h, params.recurrent_kernel)


elman = make_elman()
r"""The Elman network, :math:`h_t = \tanh(W x_t + R h_{t-1} + b)`.

Params `ElmanParams`, carry and output h. Source: Elman (1990), Finding structure in time.
"""

elman_relu = make_elman(activation="relu")
r"""The Elman network of rectified linear units, :math:`h_t = \max(0,\, W x_t + R h_{t-1} + b)`."""

irnn = make_elman(activation="relu", recurrent_init=initializers.identity)
r"""The Elman network of rectified linear units that starts as a perfect memory, R = I.

.. math:: h_t = \max(0,\, W x_t + R h_{t-1} + b)

Source: Le, Jaitly and Hinton (2015), A simple way to initialize recurrent networks of
rectified linear units, arXiv:1504.00941.
"""
