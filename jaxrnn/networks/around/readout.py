"""A linear readout that is part of the cell."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Carry, Cell, Params, PyTree, documented, split
from jaxrnn.cells.blocks import linear
from jaxrnn.checks import check_positive
from jaxrnn.networks.around.shared import check_wrapped, output_of
from jaxrnn.networks.wrappers import lift

__all__ = ["ProjectOutputParams", "ProjectOutputSpec", "project_output"]


class ProjectOutputParams(NamedTuple):
    """Parameters of a cell with a readout.

    Attributes:
      cell: those of the cell itself.
      output_kernel: W, ``(H, size)``.
      output_bias: b, ``(size,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.project_output(jaxrnn.gru, 2)
      >>> cell.init(jax.random.key(0), 3, 5).output_kernel.shape
      (5, 2)
    """

    cell: Params
    output_kernel: Array
    output_bias: Array | None = None


class ProjectOutputSpec(NamedTuple):
    """What `project_output` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.project_output(jaxrnn.gru, 2).spec.size
      2
    """

    cell: Cell
    size: int

    def make(self) -> Cell:
        """The cell."""
        return project_output(self.cell, self.size)


@documented
def project_output(cell: Cell, size: int) -> Cell:
    r"""The same cell, with a linear readout of its output.

    .. math:: y_t = W\, \mathrm{output}(s_t, z_t) + b

    The state is that of the cell, so the product is done for all time steps at once; the
    projection of `make_lstm`, which the next step reads, is another.

    Args:
      cell: a `Cell`.
      size: how many outputs.

    Returns:
      A `Cell` with `ProjectOutputParams`, and the carry of the cell. Its ``init`` hands its
      options on to that of the cell; W is drawn by glorot, b is 0, and ``use_bias=False`` leaves
      it out too.

    Raises:
      TypeError: for something that is not a cell, or a size that is no int.
      ValueError: for a size below 1.

    Source: Elman (1990), Finding structure in time, whose outputs are read from the state.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.project_output(jaxrnn.gru, 2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> h, ys = jaxrnn.scan(cell, params, jax.numpy.ones((7, 4, 3)))
      >>> h.shape, ys.shape
      ((4, 5), (7, 4, 2))
    """
    check_wrapped(cell)
    check_positive("size", size)
    spec = ProjectOutputSpec(cell, int(size))

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> Any:
        keys = split(key, 2)
        params = cell.init(keys[0], input_size, hidden_size, **options)
        y = output_of(cell, params, input_size)
        if not hasattr(y, "shape"):
            raise TypeError(f"cell: expected one whose output is an array, got {cell.name!r}: {y}")
        dtype = jax.tree.leaves(params)[0].dtype
        kernel = initializers.glorot(keys[1], (y.shape[-1], spec.size), dtype)
        bias = jnp.zeros(spec.size, dtype) if options.get("use_bias", True) else None
        return ProjectOutputParams(params, kernel, bias)

    def output(params: ProjectOutputParams, carry: Carry, z: PyTree) -> Array:
        y = cell.output(params.cell, carry, z)
        read = linear(y.astype(params.output_kernel.dtype), params.output_kernel)
        if params.output_bias is not None:
            read = read + params.output_bias.astype(read.dtype)
        return read.astype(params.output_kernel.dtype)

    name = f"project_output({cell.name}, {spec.size})"
    return lift(cell, name=name, init=init, output=output, spec=spec)
