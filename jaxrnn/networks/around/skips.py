"""Ways around a cell, within a step: residual and highway."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Carry, Cell, Params, PyTree, documented, split
from jaxrnn.cells.blocks import linear
from jaxrnn.checks import check_real
from jaxrnn.networks.around.shared import Beside, beside, changed, check_wrapped, output_of
from jaxrnn.networks.wrappers import lift

__all__ = ["HighwayParams", "HighwaySpec", "ResidualSpec", "highway", "residual"]


class ResidualSpec(NamedTuple):
    """What `residual` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.residual(jaxrnn.gru).spec.cell
      Cell('gru')
    """

    cell: Cell

    def make(self) -> Cell:
        """The cell."""
        return residual(self.cell)


@documented
def residual(cell: Cell) -> Cell:
    r"""The same cell, whose input is added to its output.

    .. math:: y_t = x_t + \mathrm{output}(s_t, z_t)

    Args:
      cell: a `Cell` whose outputs are of the size of its inputs.

    Returns:
      A `Cell` with the parameters and the carry of the cell. Of a pair of inputs the first is
      added.

    Raises:
      TypeError: for something that is not a cell.
      ValueError: from ``init`` and a run, for outputs of another size than the inputs.

    Source: He et al. (2016), Deep residual learning for image recognition, arXiv:1512.03385;
    between the layers of an LSTM, Wu et al. (2016), Google's neural machine translation system,
    arXiv:1609.08144.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.residual(jaxrnn.gru)
      >>> params = cell.init(jax.random.key(0), 5, 5)
      >>> jaxrnn.scan(cell, params, jax.numpy.ones((7, 2, 5)))[1].shape
      (7, 2, 5)
    """
    check_wrapped(cell)

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> Params:
        params = cell.init(key, input_size, hidden_size, **options)
        _check_sizes("residual", cell, params, input_size, hidden_size)
        return params

    def output(params: Params, carry: Carry, z: Beside) -> Array:
        y = cell.output(params, carry, z.z)
        _check_shapes("residual", z.more, y)
        return y + z.more.astype(y.dtype)

    changes = beside(cell, _first) | {"init": init, "output": output}
    return changed(cell, name=f"residual({cell.name})", **changes, spec=ResidualSpec(cell))


class HighwayParams(NamedTuple):
    """Parameters of a cell with a highway around it.

    Attributes:
      cell: those of the cell itself.
      gate_kernel: W, ``(D, D)``.
      gate_bias: b, ``(D,)``, or None.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.networks.highway(jaxrnn.gru).init(jax.random.key(0), 5, 5)
      >>> params.gate_bias.tolist()
      [-1.0, -1.0, -1.0, -1.0, -1.0]
    """

    cell: Params
    gate_kernel: Array
    gate_bias: Array | None = None


class HighwaySpec(NamedTuple):
    """What `highway` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.highway(jaxrnn.gru).spec.gate_bias
      -1.0
    """

    cell: Cell
    gate_bias: float = -1.0

    def make(self) -> Cell:
        """The cell."""
        return highway(self.cell, gate_bias=self.gate_bias)


class _Way(NamedTuple):
    """What travels beside z: the input, and the gate's pre-activation."""

    x: Array
    gate: Array


@documented
def highway(cell: Cell, *, gate_bias: float = -1.0) -> Cell:
    r"""The same cell, with a gate between its output and its input.

    .. math::
        t &= \sigma(W x_t + b) \\
        y_t &= t \odot \mathrm{output}(s_t, z_t) + (1 - t) \odot x_t

    Args:
      cell: a `Cell` whose outputs are of the size of its inputs.
      gate_bias: what b starts as: a negative one begins near the identity.

    Returns:
      A `Cell` with `HighwayParams`, and the carry of the cell. Its ``init`` hands its options on
      to that of the cell; W is drawn by glorot, and ``use_bias=False`` leaves out b too. Of a
      pair of inputs the first is meant.

    Raises:
      TypeError: for something that is not a cell, or a bias that is no number.
      ValueError: from ``init`` and a run, for outputs of another size than the inputs.

    Source: Srivastava, Greff and Schmidhuber (2015), Highway networks, arXiv:1505.00387.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.highway(jaxrnn.gru)
      >>> params = cell.init(jax.random.key(0), 5, 5)
      >>> jaxrnn.scan(cell, params, jax.numpy.ones((7, 2, 5)))[1].shape
      (7, 2, 5)
    """
    check_wrapped(cell)
    check_real("gate_bias", gate_bias)
    spec = HighwaySpec(cell, float(gate_bias))

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> HighwayParams:
        keys = split(key, 2)
        params = cell.init(keys[0], input_size, hidden_size, **options)
        _check_sizes("highway", cell, params, input_size, hidden_size)
        dtype = jax.tree.leaves(params)[0].dtype
        kernel = initializers.glorot(keys[1], (input_size, input_size), dtype)
        bias = jnp.full(input_size, spec.gate_bias, dtype)
        return HighwayParams(params, kernel, bias if options.get("use_bias", True) else None)

    def way(params: HighwayParams, x: PyTree) -> _Way:
        x = _first(params, x)
        return _Way(x, linear(x, params.gate_kernel, params.gate_bias))

    inner = lift(cell)

    def output(params: HighwayParams, carry: Carry, z: Beside) -> Array:
        y = inner.output(params, carry, z.z)
        _check_shapes("highway", z.more.x, y)
        t = jax.nn.sigmoid(z.more.gate).astype(y.dtype)
        return t * y + (1 - t) * z.more.x.astype(y.dtype)

    changes = beside(inner, way) | {"init": init, "output": output}
    return changed(inner, name=f"highway({cell.name})", **changes, spec=spec)


def _first(params: Params, x: PyTree) -> Array:
    """Of a pair of inputs the features."""
    return jax.tree.leaves(x)[0]


def _check_sizes(kind: str, cell: Cell, params: Params, input_size: int, hidden_size: Any) -> None:
    y = output_of(cell, params, input_size)
    if getattr(y, "shape", (None,))[-1] != input_size:
        raise ValueError(
            f"hidden_size: expected outputs of the size of the inputs, {input_size}, from the cell "
            f"{cell.name!r} within {kind}, got {y} from hidden_size {hidden_size}"
        )


def _check_shapes(kind: str, x: Array, y: Any) -> None:
    if getattr(y, "shape", None) != x.shape:
        raise ValueError(
            f"xs: expected inputs of the shape of the outputs for {kind}, got {x.shape}"
        )
