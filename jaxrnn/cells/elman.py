"""The Elman network, the plain recurrent layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, DType, once
from jaxrnn.cells.blocks import activation as resolve
from jaxrnn.cells.blocks import linear, tanh
from jaxrnn.checks import sized

__all__ = ["ElmanParams", "elman", "irnn", "make_elman"]


class ElmanParams(NamedTuple):
    """Parameters of an Elman cell.

    Attributes:
      input_kernel: W, ``(D, H)``.
      recurrent_kernel: R, ``(H, H)``.
      bias: b, ``(H,)``.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.elman.init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 5)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array


@once
def make_elman(
    *,
    activation: str | Callable[[Array], Array] = "tanh",
    recurrent_init: initializers.Initializer = initializers.orthogonal,
) -> Cell:
    r"""An Elman cell, :math:`h_t = \varphi(W x_t + R h_{t-1} + b)`.

    The carry is h, ``(*batch, H)``, and so is the output.

    Args:
      activation: φ, ``"tanh"``, ``"relu"``, another name of `jaxrnn.cells.ACTIVATIONS` or
        an elementwise function.
      recurrent_init: the default initialiser of R.

    Returns:
      A `Cell` with `ElmanParams`.

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
    phi = resolve(activation, "activation")
    default_recurrent_init = recurrent_init

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        kernel_init: initializers.Initializer = initializers.glorot,
        recurrent_init: initializers.Initializer = default_recurrent_init,
        bias_init: initializers.Initializer = initializers.zeros,
    ) -> ElmanParams:
        k1, k2, k3 = jax.random.split(key, 3)
        return ElmanParams(
            kernel_init(k1, (input_size, hidden_size), dtype),
            recurrent_init(k2, (hidden_size, hidden_size), dtype),
            bias_init(k3, (hidden_size,), dtype),
        )

    def carry(params: ElmanParams, batch_shape: tuple[int, ...] = ()) -> Array:
        kernel = params.recurrent_kernel
        return jnp.zeros((*batch_shape, kernel.shape[0]), kernel.dtype)

    def project(params: ElmanParams, x: Array) -> Array:
        return linear(x, params.input_kernel, params.bias)

    def recurrent(params: ElmanParams, h: Array) -> Array:
        return linear(h, params.recurrent_kernel)

    def update(params: ElmanParams, h: Array, zx: Array, zh: Array) -> tuple[Array, Array]:
        h = phi(zx + zh).astype(h.dtype)
        return h, h

    options = () if phi is tanh else (("activation", activation),)
    return Cell("elman", init, carry, project, recurrent, update, options=options)


elman = make_elman()
r"""The Elman network, :math:`h_t = \tanh(W x_t + R h_{t-1} + b)`.

Params `ElmanParams`, carry and output h. Source: Elman (1990), Finding structure in time.
"""

irnn = make_elman(activation="relu", recurrent_init=initializers.identity)
r"""The Elman network of rectified linear units that starts as a perfect memory, R = I.

.. math:: h_t = \max(0,\, W x_t + R h_{t-1} + b)

Source: Le, Jaitly and Hinton (2015), A simple way to initialize recurrent networks of
rectified linear units, arXiv:1504.00941.
"""
