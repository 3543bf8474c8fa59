"""What the cells with simplified gates hold: parameters, pre-activations, gates."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxrnn.base import Array

__all__ = ["DiagonalParams", "Mixture", "SimplifiedParams", "SimplifiedPreActivations"]


class SimplifiedParams(NamedTuple):
    """Parameters of a cell that keeps its blocks side by side, in the order its page says.

    Attributes:
      input_kernel: W, ``(D, kH)``, the blocks that see the input.
      recurrent_kernel: R, ``(H, mH)``, the blocks that see the state.
      bias: b, ``(nH,)``, the blocks that have one; or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.janet.init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 10)
    """

    input_kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None


class DiagonalParams(NamedTuple):
    """Parameters of a cell each of whose units sees its own state alone.

    Attributes:
      input_kernel: W, ``(D, kH)``, the blocks that see the input.
      recurrent_diagonal: the diagonals of R, ``(mH,)``, of the blocks that see the state.
      bias: b, ``(nH,)``, the blocks that have one; or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.cells.ind_rnn.init(jax.random.key(0), 3, 5).recurrent_diagonal.shape
      (5,)
    """

    input_kernel: Array
    recurrent_diagonal: Array
    bias: Array | None = None


class SimplifiedPreActivations(NamedTuple):
    """Pre-activations of a cell whose state does not add to all of them.

    Attributes:
      a: those to which input and state add, ``(..., mH)``.
      x: those of the input alone.
      h: those of the state alone.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.star.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.cells.star.project(params, jax.numpy.ones(3)).x.shape
      (5,)
    """

    a: Any = None
    x: Any = None
    h: Any = None


class Mixture(NamedTuple):
    r"""What a new state is mixed from, :math:`h_t = k \odot h_{t-1} + w \odot \tilde h`.

    Attributes:
      keep: k, how much of the old state is kept, ``(*batch, H)``.
      write: w, how much of the candidate is written.
      candidate: :math:`\tilde h`.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.mgu.init(jax.random.key(0), 3, 5)
      >>> gates = jaxrnn.analysis.gate_traces(jaxrnn.cells.mgu, params, jax.numpy.ones((7, 3)))
      >>> bool(jax.numpy.allclose(gates.keep + gates.write, 1))
      True
    """

    keep: Array
    write: Array
    candidate: Array
