"""Dropout with one mask for a whole sequence."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, documented
from jaxrnn.networks.around.shared import check_rate, check_wrapped, sequence_keys
from jaxrnn.networks.wrappers import lift

__all__ = ["VariationalDropoutParams", "VariationalDropoutSpec", "variational_dropout"]


class VariationalDropoutParams(NamedTuple):
    """Parameters of a cell under variational dropout; the masks are those of a run with a key.

    Attributes:
      cell: those of the cell itself.
      inputs: of the mask of the inputs, what it is drawn from, else None.
      state: the masks of the state, like the carry, else None.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.variational_dropout(jaxrnn.gru, state=0.5)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> params.state is None
      True
      >>> cell.sample(params, jax.random.key(1), (2,)).state.shape
      (2, 5)
    """

    cell: Params
    inputs: tuple[Array, Array] | None = None
    state: Carry | None = None


class VariationalDropoutSpec(NamedTuple):
    """What `variational_dropout` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.variational_dropout(jaxrnn.gru, state=0.5).spec.state
      0.5
    """

    cell: Cell
    inputs: float = 0.0
    state: float = 0.0

    def make(self) -> Cell:
        """The cell."""
        return variational_dropout(**self._asdict())


@documented
def variational_dropout(cell: Cell, *, inputs: float = 0.0, state: float = 0.0) -> Cell:
    r"""The same cell with dropout on its inputs and on its state, the same at every step.

    .. math::
        z_t = \mathrm{project}(m_x \odot x_t) + \mathrm{recurrent}(m_s \odot s_{t-1})

    The masks are 0 with probability p and else 1 / (1 − p). They are drawn once for each row and
    feature, from the key alone, and kept beside the parameters; without a key they are 1. Of the
    state that is masked which the recurrent map reads: h of an LSTM, not the c that is carried
    on, and not what an update reads by itself, as the candidate of a GRU with the reset before
    the product. A sequence that begins in the middle of a row has the masks of the row.

    Args:
      cell: a `Cell`.
      inputs: p of the inputs, in [0, 1); of a pair of inputs, of the first of it.
      state: p of the state, in [0, 1).

    Returns:
      A `Cell` with `VariationalDropoutParams`, and the carry and output of the cell.

    Raises:
      TypeError: for something that is not a cell, or a rate that is no number.
      ValueError: for a rate outside of [0, 1); for a rate of the state where the cell is linear
        in it or, from ``init``, where its recurrent map reads nothing.

    Source: Gal and Ghahramani (2016), A theoretically grounded application of dropout in
    recurrent neural networks, arXiv:1512.05287, with masks that all gates share.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.variational_dropout(jaxrnn.lstm, inputs=0.2, state=0.4)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3))
      >>> jaxrnn.scan(cell, params, xs, key=jax.random.key(1))[1].shape
      (7, 2, 5)
    """
    check_wrapped(cell)
    spec = VariationalDropoutSpec(cell, check_rate("inputs", inputs), check_rate("state", state))
    unread = (
        f"state: expected 0 for {cell.name!r}, which has no recurrent map to drop from, got {state}"
    )
    if spec.state and cell.coefficients is not None:
        raise ValueError(unread)

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> Any:
        params = cell.init(key, input_size, hidden_size, **options)
        if spec.state:
            read = lambda params: cell.recurrent(params, cell.carry(params))  # noqa: E731
            if not jax.tree.leaves(jax.eval_shape(read, params)):
                raise ValueError(unread)
        return VariationalDropoutParams(params)

    def sample(params: VariationalDropoutParams, key: Array, batch: tuple[int, ...]) -> Any:
        within, of_inputs, of_state = sequence_keys(key, 3)
        mine = params.cell if cell.sample is None else cell.sample(params.cell, within, batch)
        masks = VariationalDropoutParams(mine)
        if spec.inputs:  # whose features are not known here
            masks = masks._replace(inputs=(jax.random.key_data(of_inputs), jnp.zeros(batch, bool)))
        if spec.state:
            carry = jax.eval_shape(lambda params: cell.carry(params, batch), mine)
            leaves, structure = jax.tree.flatten(carry)
            drawn = [
                mask(jax.random.fold_in(of_state, k), spec.state, leaf.shape, leaf.dtype)
                for k, leaf in enumerate(leaves)
            ]
            masks = masks._replace(state=structure.unflatten(drawn))
        return masks

    def project(params: VariationalDropoutParams, x: PyTree) -> PyTree:
        if params.inputs is not None:
            data, batch = params.inputs
            (lead, *others), structure = jax.tree.flatten(x)
            key = jax.random.wrap_key_data(data, impl="threefry2x32")
            shape = (*batch.shape, *(1,) * (cell.axes - 1), lead.shape[-1])
            drawn = mask(key, spec.inputs, shape, lead.dtype)
            x = structure.unflatten([lead * jnp.broadcast_to(drawn, lead.shape), *others])
        return cell.project(params.cell, x)

    def recurrent(params: VariationalDropoutParams, carry: Carry) -> PyTree:
        if params.state is not None:
            carry = jax.tree.map(_masked, carry, params.state)
        return cell.recurrent(params.cell, carry)

    rates = ", ".join(f"{k}={p}" for k, p in (("inputs", inputs), ("state", state)) if p)
    return lift(
        cell,
        name=f"variational_dropout({', '.join(filter(None, (cell.name, rates)))})",
        init=init,
        project=project,
        recurrent=recurrent,
        sample=sample,
        spec=spec,
    )


def _masked(s: Array, m: Array) -> Array:
    """The state of rows with their masks; one without rows, of which a solver guesses, as it is."""
    return s if s.ndim < m.ndim else s * jnp.broadcast_to(m, s.shape)


def mask(key: Array, rate: float, shape: tuple[int, ...], dtype: Any) -> Array:
    """0 with probability `rate`, else 1 / (1 - rate); of what is no floating-point number 1.

    Args:
      key: a PRNG key.
      rate: in [0, 1).
      shape: of the mask.
      dtype: of what it is multiplied with.

    Example:
      >>> import jax
      >>> from jaxrnn.networks.around.variational import mask
      >>> sorted(set(mask(jax.random.key(0), 0.5, (20,), "float32").tolist()))
      [0.0, 2.0]
    """
    if not jnp.issubdtype(dtype, jnp.inexact):
        return jnp.ones(shape, dtype)
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return kept.astype(dtype) / (1 - rate)
