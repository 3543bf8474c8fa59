"""Layer normalisation of what a cell updates its state with."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.base import Array, Cell, Params, PyTree, add, documented
from jaxrnn.cells.blocks import like
from jaxrnn.checks import check_real
from jaxrnn.networks.around.shared import check_wrapped
from jaxrnn.networks.wrappers import lift

__all__ = ["NormalizeParams", "NormalizeSpec", "normalize"]


class NormalizeParams(NamedTuple):
    """Parameters of a cell whose z is normalised.

    Attributes:
      cell: those of the cell itself.
      gain: γ, a tree like z, ``(F,)`` for each part that is normalised and None for others.
      shift: β, alike, or None.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.networks.normalize(jaxrnn.lstm).init(jax.random.key(0), 3, 5)
      >>> params.gain.shape
      (20,)
    """

    cell: Params
    gain: PyTree
    shift: PyTree = None


class NormalizeSpec(NamedTuple):
    """What `normalize` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.normalize(jaxrnn.gru).spec.epsilon
      1e-05
    """

    cell: Cell
    epsilon: float = 1e-5

    def make(self) -> Cell:
        """The cell."""
        return normalize(self.cell, epsilon=self.epsilon)


@documented
def normalize(cell: Cell, *, epsilon: float = 1e-5) -> Cell:
    r"""The same cell with layer normalisation of z, the sum of its input and recurrent maps.

    .. math::
        \hat z = \gamma \odot \frac{z - \mathrm{mean}(z)}{\sqrt{\mathrm{Var}(z) + \epsilon}} + \beta

    over the features of each part of z by itself: all four blocks of an LSTM together, those of
    r and z of a GRU together and its candidate's two parts apart. Parts of one number, such as
    time gaps, stay as they are. A cell that is linear in its state stays one.
    `jaxrnn.cells` has cells that normalise the two maps apart.

    Args:
      cell: a `Cell`.
      epsilon: ε.

    Returns:
      A `Cell` with `NormalizeParams`, and the carry and output of the cell. Its ``init`` hands
      its options on to that of the cell; γ is 1, β is 0, and ``use_bias=False`` leaves it out
      too.

    Raises:
      TypeError: for something that is not a cell, or an epsilon that is no number.
      ValueError: for an epsilon that is not positive.

    Source: Ba, Kiros and Hinton (2016), Layer normalization, arXiv:1607.06450, equation 4.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.normalize(jaxrnn.lstm)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.scan(cell, params, jax.numpy.ones((7, 2, 3)))[1].shape
      (7, 2, 5)
    """
    check_wrapped(cell)
    check_real("epsilon", epsilon, above=0)
    spec = NormalizeSpec(cell, float(epsilon))

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> NormalizeParams:
        params = cell.init(key, input_size, hidden_size, **options)
        dtype = jax.tree.leaves(params)[0].dtype

        def step(params: Params) -> PyTree:
            x = jnp.zeros((*(1,) * (cell.axes - 1), input_size), dtype)
            return add(cell.project(params, x), cell.recurrent(params, cell.carry(params)))

        def filled(value: float) -> PyTree:
            def one(leaf: Any) -> Array | None:
                real = jnp.issubdtype(leaf.dtype, jnp.floating)
                many = real and leaf.ndim > 0 and leaf.shape[-1] > 1
                return jnp.full(leaf.shape[-1], value, dtype) if many else None

            return jax.tree.map(one, jax.eval_shape(step, params))

        use_bias = options.get("use_bias", True)
        return NormalizeParams(params, filled(1), filled(0) if use_bias else None)

    def normalized(params: NormalizeParams, z: PyTree) -> PyTree:
        def one(gain: Array | None, part: PyTree, shift: Array | None = None) -> PyTree:
            if gain is None:
                return part
            part = part - part.mean(axis=-1, keepdims=True)
            scale = lax.rsqrt((part * part).mean(axis=-1, keepdims=True) + spec.epsilon)
            part = part * scale * like(gain, part)
            return part if shift is None else part + like(shift, part)

        rest = () if params.shift is None else (params.shift,)
        return jax.tree.map(one, params.gain, z, *rest, is_leaf=lambda leaf: leaf is None)

    def on_z(name: str) -> Any:
        function = getattr(cell, name)
        if function is None:
            return None
        return lambda params, *at: function(params.cell, *at[:-1], normalized(params, at[-1]))

    names = "update", "output", "coefficients", "gates"
    changes = {name: on_z(name) for name in names}
    return lift(cell, name=f"normalize({cell.name})", init=init, **changes, spec=spec)
