"""What the cells that are linear in their state share: records, the step, what is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Matrix, Params, PyTree, Spec, zeros
from jaxrnn.cells.blocks import linear, wide

__all__ = [
    "InputParams",
    "LinearGates",
    "advance",
    "linear_cell",
    "nothing",
    "project_blocks",
    "read_state",
    "state",
]


class InputParams(NamedTuple):
    """Parameters of a cell whose only products are with the input.

    Attributes:
      input_kernel: W, ``(D, kH)``, the blocks in the order that the cell states.
      bias: b, ``(kH,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> jaxrnn.CELLS["min_gru"].init(jax.random.key(0), 3, 5).input_kernel.shape
      (3, 10)
    """

    input_kernel: Array
    bias: Array | None = None


class LinearGates(NamedTuple):
    """Activations of a cell that is linear in its state; None for what it lacks.

    Attributes:
      keep: what the old state is multiplied by.
      write: what the new content is multiplied by.
      read: what the state is multiplied by on its way out.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.CELLS["min_gru"]
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> gates = jaxrnn.analysis.gate_traces(cell, params, jax.numpy.ones((7, 3)))
      >>> gates.keep.shape, gates.read is None
      ((7, 5), True)
    """

    keep: Any = None
    write: Any = None
    read: Any = None


def nothing(params: Params, carry: Carry) -> None:
    """The recurrent map of a cell whose gates do not see the state.

    Args:
      params: any.
      carry: any.

    Example:
      >>> from jaxrnn.cells.linear.common import nothing
      >>> nothing(None, None) is None
      True
    """


def state(params: Params, size: int, batch_shape: tuple[int, ...]) -> Array:
    """A state of zeros, of float32 at least: what accumulates.

    Args:
      params: with a field `input_kernel`.
      size: H.
      batch_shape: the batch axes.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.common import InputParams, state
      >>> str(state(InputParams(jnp.ones((3, 4), jnp.bfloat16)), 4, (2,)).dtype)
      'float32'
    """
    return zeros(batch_shape, size, wide(params.input_kernel.dtype))


def advance(carry: Carry, a: PyTree, b: PyTree) -> Carry:
    r"""One step of :math:`s_t = a_t s_{t-1} + b_t`, leaf by leaf.

    Args:
      carry: s.
      a: a tree alike, of factors or of `Matrix`.
      b: a tree alike.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.base import Matrix
      >>> from jaxrnn.cells.linear.common import advance
      >>> swap = Matrix(jnp.array([[0.0, 1.0], [1.0, 0.0]]))
      >>> advance(jnp.array([[1.0], [2.0]]), swap, jnp.ones((2, 1))).tolist()
      [[3.0], [2.0]]
    """

    def one(s: Array, a: Any, b: Array) -> Array:
        kept = jnp.matmul(a.entries, s) if isinstance(a, Matrix) else a * s
        return (kept + b).astype(s.dtype)

    return jax.tree.map(one, carry, a, b)


def linear_cell(
    name: str,
    init: Callable[..., Any],
    carry: Callable[..., Any],
    project: Callable[..., PyTree],
    coefficients: Callable[..., tuple[PyTree, PyTree]],
    output: Callable[..., Any],
    *,
    update: Callable[..., Any] | None = None,
    gates: Callable[..., PyTree] | None = None,
    bounds: Callable[..., Any] | None = None,
    spec: Spec | None = None,
) -> Cell[Any, Any]:
    r"""A cell that is said by the coefficients of :math:`s_t = a_t s_{t-1} + b_t`.

    Args:
      name: as in `Cell`; so are the others.
      init: the parameters.
      carry: the initial state.
      project: the input map.
      coefficients: ``(params, z) -> (a, b)``.
      output: what is read of the state.
      update: a cheaper way to say the same step; by default that of the coefficients.
      gates: ``(params, z) -> gates``.
      bounds: of the state.
      spec: the constructor's arguments.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.cells.linear.common import linear_cell
      >>> cell = linear_cell("sum", lambda *_: (), lambda params, batch_shape=(): jnp.zeros(2),
      ...                    lambda params, x: x, lambda params, z: (jnp.ones_like(z), z),
      ...                    lambda params, s, z: s)
      >>> cell.update((), jnp.ones(2), jnp.ones(2)).tolist()
      [2.0, 2.0]
    """

    def solved(params: Any, carry: Any, z: Any) -> Any:
        return advance(carry, *coefficients(params, z))

    return Cell(
        name,
        init,
        carry,
        project,
        nothing,
        solved if update is None else update,
        output,
        coefficients,
        gates=gates and (lambda params, carry, z: gates(params, z)),
        bounds=bounds,
        spec=spec,
    )


def project_blocks(params: InputParams, x: Array) -> Array:
    """All blocks of the input's products.

    Args:
      params: the parameters.
      x: ``(..., D)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import min_gru
      >>> min_gru.project(min_gru.init(jax.random.key(0), 3, 5), jax.numpy.ones(3)).shape
      (10,)
    """
    return linear(x, params.input_kernel, params.bias)


def read_state(params: Params, h: Array, z: Array) -> Array:
    """The state in the parameters' dtype.

    Args:
      params: the parameters.
      h: the state.
      z: unused.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import min_gru
      >>> params = min_gru.init(jax.random.key(0), 3, 5, dtype=jax.numpy.bfloat16)
      >>> str(min_gru.output(params, min_gru.carry(params), None).dtype)
      'bfloat16'
    """
    return h.astype(params.input_kernel.dtype)
