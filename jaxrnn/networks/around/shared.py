"""What the wrappers of a cell share: something beside its z, and keys of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Array, Cell, PyTree, check_cell
from jaxrnn.checks import check_real

__all__ = [
    "Beside",
    "beside",
    "changed",
    "check_rate",
    "check_wrapped",
    "output_of",
    "sequence_keys",
]

_SEQUENCE = np.uint32(2**32 - 1)  # no time step is at this index, whose key would be the same


class Beside(NamedTuple):
    """What a cell updates its state with, and beside it what a wrapper needs.

    Attributes:
      z: the cell's own.
      more: the wrapper's.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.residual(jaxrnn.gru)
      >>> params = cell.init(jax.random.key(0), 5, 5)
      >>> cell.project(params, jax.numpy.ones(5)).more.shape
      (5,)
    """

    z: PyTree
    more: Any = None


def beside(cell: Cell, more: Callable[[Any, PyTree], Any]) -> dict[str, Any]:
    """The functions of a cell that is handed something beside its z, and looks at z alone.

    Args:
      cell: a `Cell`.
      more: ``more(params, x)``, what is beside the projected input, with its leading axes.

    Returns:
      Functions by the fields of `Cell`, for `changed`.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.networks.around.shared import beside
      >>> functions = beside(jaxrnn.gru, lambda params, x: x)
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> functions["project"](params, jax.numpy.ones(3)).more.shape
      (3,)
    """

    def project(params: Any, x: PyTree) -> Beside:
        return Beside(cell.project(params, x), more(params, x))

    def recurrent(params: Any, carry: PyTree) -> Beside | None:
        z = cell.recurrent(params, carry)
        return None if z is None else Beside(z)

    def randomize(params: Any, z: Beside, key: Array) -> Beside:
        return z._replace(z=cell.randomize(params, z.z, key))  # type: ignore[misc]

    def looks_at_z(function: Callable[..., Any] | None) -> Any:
        if function is None:
            return None
        return lambda params, *at: function(params, *at[:-1], at[-1].z)

    names = "update", "output", "coefficients", "gates"
    return {
        "project": project,
        "recurrent": recurrent,
        "randomize": None if cell.randomize is None else randomize,
        **{name: looks_at_z(getattr(cell, name)) for name in names},
    }


def changed(cell: Cell, **changes: Any) -> Cell:
    """The cell with other fields, of the same parameters.

    Args:
      cell: a `Cell`.
      **changes: what is other.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.networks.around.shared import changed
      >>> changed(jaxrnn.gru, name="mine")
      Cell('mine')
    """
    fields: Any = dict(zip(cell._fields, cell, strict=True)) | {"spec": None} | changes
    return Cell(**fields)


def check_wrapped(cell: Any) -> None:
    """Raise TypeError unless this is a `Cell`.

    Args:
      cell: what should be one.

    Raises:
      TypeError: for something else, a layer included.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.networks.around.shared import check_wrapped
      >>> check_wrapped(jaxrnn.gru)
    """
    check_cell("cell", cell)
    if not isinstance(cell, Cell):
        raise TypeError(
            f"cell: expected a Cell, got the Layer {cell.name!r}; what it is made of can be wrapped"
        )


def check_rate(argument: str, rate: Any) -> float:
    """The rate as a float, or an error unless it is a number in [0, 1).

    Args:
      argument: what it is called.
      rate: what came.

    Raises:
      TypeError: for something else than a number.
      ValueError: for one outside of [0, 1).

    Example:
      >>> from jaxrnn.networks.around.shared import check_rate
      >>> check_rate("rate", 0)
      0.0
    """
    check_real(argument, rate, least=0, below=1)
    return float(rate)


def sequence_keys(key: Array, count: int) -> Array:
    """Keys for what is drawn once a sequence, apart from those of all steps.

    Args:
      key: that of the sequence.
      count: how many.

    Example:
      >>> import jax
      >>> from jaxrnn.networks.around.shared import sequence_keys
      >>> sequence_keys(jax.random.key(0), 2).shape
      (2,)
    """
    return jax.random.split(jax.random.fold_in(key, _SEQUENCE), count)


def output_of(cell: Cell, params: Any, input_size: int) -> Any:
    """The shape and dtype of one output without batch axes.

    Args:
      cell: a `Cell`.
      params: its parameters.
      input_size: D.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.networks.around.shared import output_of
      >>> output_of(jaxrnn.gru, jaxrnn.gru.init(jax.random.key(0), 3, 5), 3).shape
      (5,)
    """

    def step(params: Any) -> Any:
        dtype = jax.tree.leaves(params)[0].dtype
        x = jnp.zeros((*(1,) * (cell.axes - 1), input_size), dtype)
        return cell.advance(params, cell.carry(params), x)[1]

    return jax.eval_shape(step, params)
