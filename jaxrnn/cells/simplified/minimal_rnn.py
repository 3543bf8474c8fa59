"""MinimalRNN: a latent of each input, and one gate that mixes it into the state."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, linear, tanh
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import Asked, drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedPreActivations
from jaxrnn.cells.simplified.shared import at_most_one, mixed, recurrent_apart
from jaxrnn.checks import check_bool

__all__ = ["MinimalRNNParams", "MinimalRNNSpec", "make_minimal_rnn", "minimal_rnn"]


class MinimalRNNParams(NamedTuple):
    """Parameters of a MinimalRNN.

    Attributes:
      input_kernel: W, ``(D, H)``.
      recurrent_kernel: R, ``(H, H)``.
      bias: of z and of u, ``(2H,)``, or None.
      latent_kernel: U, ``(H, H)``, from the latent to the gate.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.minimal_rnn.init(jax.random.key(0), 3, 5).latent_kernel.shape
      (5, 5)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None
    latent_kernel: Array


class MinimalRNNSpec(NamedTuple):
    """What `make_minimal_rnn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.minimal_rnn.spec.use_bias
      True
    """

    use_bias: bool = True

    def make(self) -> Cell[MinimalRNNParams, Array]:
        """The cell."""
        return make_minimal_rnn(**self._asdict())


@documented
def make_minimal_rnn(*, use_bias: bool = True) -> Cell[MinimalRNNParams, Array]:
    r"""A MinimalRNN.

    .. math::
        z &= \tanh(W x_t + b_z) \\
        u &= \sigma(R h_{t-1} + U z + b_u) \\
        h_t &= u \odot h_{t-1} + (1 - u) \odot z

    The carry is h, ``(*batch, H)``, and so is the output. The latent z and its product are of
    the input alone, and made for all steps at once.

    Args:
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `MinimalRNNParams`. Its ``init`` takes ``kernel_init`` (glorot),
      ``recurrent_init`` (orthogonal, for R and U), ``bias_init`` (zeros) and ``use_bias``.

    Source: Chen (2017), MinimalRNN: toward more interpretable and trainable recurrent neural
    networks, arXiv:1711.06788.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_minimal_rnn(use_bias=False)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_bool("use_bias", use_bias)
    spec = MinimalRNNSpec(use_bias)

    def latent(asked: Asked) -> dict[str, Array]:
        shape = (asked.hidden_size, asked.hidden_size)
        kernel = initializers.blocks(asked.recurrent_init, asked.key, shape, 1, asked.dtype)
        return {"latent_kernel": kernel}

    def project(params: MinimalRNNParams, x: Array) -> SimplifiedPreActivations:
        b = (None, None) if params.bias is None else jnp.split(params.bias, 2)
        z, kernel = tanh(linear(x, params.input_kernel, b[0])), params.latent_kernel
        return SimplifiedPreActivations(linear(z.astype(kernel.dtype), kernel, b[1]), z)

    def mixture(params: MinimalRNNParams, h: Array, z: SimplifiedPreActivations) -> Mixture:
        (u,) = gates(z.a, "s")
        return Mixture(u, 1 - u, z.x)

    return Cell(
        name_of("minimal_rnn", spec),
        drawn(MinimalRNNParams, (1, 1, 2), biases=use_bias, more=latent),
        zero_carry,
        project,
        recurrent_apart,
        mixed(mixture),
        gates=mixture,
        bounds=at_most_one,
        spec=spec,
    )


minimal_rnn = make_minimal_rnn()
r"""The MinimalRNN.

.. math::
    z = \tanh(W x_t + b_z), \quad u = \sigma(R h_{t-1} + U z + b_u), \quad
    h_t = u \odot h_{t-1} + (1 - u) \odot z

Params `MinimalRNNParams`, carry and output h. Source: Chen (2017), arXiv:1711.06788.
"""
