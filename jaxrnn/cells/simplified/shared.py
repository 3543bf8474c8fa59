"""What the cells with simplified gates share: their products, and how they mix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from numbers import Real
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Array, zeros
from jaxrnn.cells.blocks import like, linear, wide
from jaxrnn.cells.simplified.records import Mixture, SimplifiedPreActivations

__all__ = [
    "at_most_one",
    "check_number",
    "mixed",
    "narrow",
    "project_all",
    "project_apart",
    "recurrent_all",
    "recurrent_apart",
    "shifted",
    "wide_carry",
]


def project_all(params: Any, x: Array) -> Array:
    """The input's part of all blocks, :math:`W x + b`.

    Args:
      params: with an `input_kernel` and a `bias` of as many blocks.
      x: ``(..., D)``.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.simplified.shared import project_all
      >>> project_all(jaxrnn.cells.janet.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).shape
      (10,)
    """
    return linear(x, params.input_kernel, params.bias)


def recurrent_all(params: Any, h: Array) -> Array:
    """The state's part of all blocks, :math:`R h`.

    Args:
      params: with a `recurrent_kernel`.
      h: ``(..., H)``, of any dtype.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.simplified.shared import recurrent_all
      >>> recurrent_all(jaxrnn.cells.janet.init(jax.random.key(0), 3, 5), jax.numpy.ones(5)).shape
      (10,)
    """
    return linear(h.astype(params.recurrent_kernel.dtype), params.recurrent_kernel)


def project_apart(params: Any, x: Array) -> SimplifiedPreActivations:
    """The input's part where the state adds to the first blocks alone, and some lack a bias.

    Args:
      params: whose kernel or diagonals for the state have fewer blocks than the `input_kernel`.
      x: ``(..., D)``.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.simplified.shared import project_apart
      >>> z = project_apart(jaxrnn.cells.cfn.init(jax.random.key(0), 3, 5), jax.numpy.ones(3))
      >>> z.a.shape, z.x.shape
      ((10,), (5,))
    """
    kernel, bias = params.input_kernel, params.bias
    if bias is not None:
        bias = jnp.pad(bias, (0, kernel.shape[-1] - bias.shape[-1]))
    seen = getattr(params, "recurrent_diagonal", None)
    seen = params.recurrent_kernel if seen is None else seen
    z = linear(x, kernel, bias)
    return SimplifiedPreActivations(*jnp.split(z, (seen.shape[-1],), axis=-1))


def recurrent_apart(params: Any, h: Array) -> SimplifiedPreActivations:
    """The state's part of the first blocks, as `project_apart` has it.

    Args:
      params: with a `recurrent_kernel`.
      h: ``(..., H)``, of any dtype.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.simplified.shared import recurrent_apart
      >>> recurrent_apart(jaxrnn.cells.cfn.init(jax.random.key(0), 3, 5), jax.numpy.ones(5)).x
    """
    return SimplifiedPreActivations(recurrent_all(params, h))


def mixed(
    mixture: Callable[[Any, Array, Any], Mixture],
    *,
    read: Callable[[Array], Array] = lambda h: h,
    squash: Callable[[Array], Array] = lambda h: h,
) -> Callable[[Any, Array, Any], Array]:
    r"""The update :math:`h_t = \psi(k \odot \rho(h_{t-1}) + w \odot \tilde h)`.

    Args:
      mixture: the gates of a cell.
      read: ρ.
      squash: ψ.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells import Mixture
      >>> from jaxrnn.cells.simplified.shared import mixed
      >>> half = mixed(lambda params, h, z: Mixture(jnp.float32(0.5), jnp.float32(0.5), z))
      >>> float(half(None, jnp.float32(2.0), jnp.float32(1.0)))
      1.5
    """

    def update(params: Any, h: Array, z: Any) -> Array:
        keep, write, candidate = mixture(params, h, z)
        new = keep * read(h.astype(candidate.dtype)) + write * candidate
        return squash(new).astype(h.dtype)

    return update


def shifted(z: Array, shifts: Sequence[float]) -> Array:
    """A block of pre-activations with a number added to each part of it.

    Args:
      z: ``(..., len(shifts) * H)``.
      shifts: the numbers.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.simplified.shared import shifted
      >>> shifted(jnp.zeros(4), [1.0, 0.0]).tolist()
      [1.0, 1.0, 0.0, 0.0]
    """
    return z + like(np.repeat(np.array(shifts), z.shape[-1] // len(shifts)), z)


def wide_carry(params: Any, batch_shape: tuple[int, ...] = ()) -> Array:
    """The zero state of a cell that accumulates: float32 for the half types.

    Args:
      params: with a `recurrent_kernel`.
      batch_shape: the batch axes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.simplified.shared import wide_carry
      >>> params = jaxrnn.cells.janet.init(jax.random.key(0), 3, 5, dtype="bfloat16")
      >>> str(wide_carry(params).dtype)
      'float32'
    """
    kernel = params.recurrent_kernel
    return zeros(batch_shape, kernel.shape[0], wide(kernel.dtype))


def narrow(params: Any, h: Array, z: Any) -> Array:
    """The output of a cell that accumulates: its state in the dtype of its parameters.

    Args:
      params: with a `recurrent_kernel`.
      h: ``(..., H)``.
      z: unused.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.cells.simplified.shared import narrow
      >>> params = jaxrnn.cells.janet.init(jax.random.key(0), 3, 5, dtype="bfloat16")
      >>> str(narrow(params, jax.numpy.ones(5), None).dtype)
      'bfloat16'
    """
    return h.astype(params.recurrent_kernel.dtype)


def at_most_one(params: Any, start: Array, count: Any) -> Array:
    """The bound of a state that is mixed from itself and from what is at most 1.

    Args:
      params: unused.
      start: the magnitudes of the states before.
      count: unused.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.simplified.shared import at_most_one
      >>> at_most_one(None, jnp.array([0.5, 3.0]), 7).tolist()
      [1.0, 3.0]
    """
    return jnp.maximum(start, 1)


def check_number(
    argument: str, value: Any, *, above: float = -np.inf, below: float = np.inf
) -> float:
    """The value as a float, or an error unless it is a number between two others.

    Args:
      argument: the argument's name.
      value: what came.
      above: what it has to exceed.
      below: what has to exceed it.

    Raises:
      TypeError: for what is no real number.
      ValueError: for one out of the range.

    Example:
      >>> from jaxrnn.cells.simplified.shared import check_number
      >>> check_number("alpha", 1, above=0)
      1.0
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{argument}: expected a number, got {value!r}")
    if not above < float(value) < below:
        raise ValueError(f"{argument}: expected a number in ({above}, {below}), got {value!r}")
    return float(value)
