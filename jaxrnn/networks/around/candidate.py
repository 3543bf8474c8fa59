"""Dropout of what is written into a memory, not of the memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, add, documented
from jaxrnn.cells.blocks import activation
from jaxrnn.networks.around.shared import Beside, beside, changed, check_rate, check_wrapped
from jaxrnn.networks.around.variational import mask

__all__ = ["RecurrentDropoutSpec", "recurrent_dropout"]


class RecurrentDropoutSpec(NamedTuple):
    """What `recurrent_dropout` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.recurrent_dropout(jaxrnn.lstm, 0.25).spec.rate
      0.25
    """

    cell: Cell
    rate: float

    def make(self) -> Cell:
        """The cell."""
        return recurrent_dropout(self.cell, self.rate)


class _Drawn(NamedTuple):
    """What travels beside z: where the batch is, or the mask of the candidate."""

    batch: Array | None = None
    mask: Array | None = None


@documented
def recurrent_dropout(cell: Cell, rate: float) -> Cell:
    r"""The same LSTM or GRU with dropout of its candidate alone: recurrent dropout.

    .. math::
        c_t &= f \odot c_{t-1} + i \odot m_t \odot g && \text{of an LSTM} \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot m_t \odot n && \text{of a GRU}

    What was written before is never dropped, so memories last. The masks are 0 with probability
    p and else 1 / (1 − p), drawn anew for every step, row and unit from (key, absolute time);
    without a key they are 1.

    Args:
      cell: a `Cell` whose constructor has an option ``candidate_activation``, as `make_lstm` and
        `make_gru` have; other wrappers go around this one.
      rate: p in [0, 1).

    Returns:
      A `Cell` with the parameters, carry and output of the cell.

    Raises:
      TypeError: for something that is not a cell, a cell without that option, or a rate that is
        no number.
      ValueError: for a rate outside of [0, 1).

    Source: Semeniuta, Severyn and Barth (2016), Recurrent dropout without memory loss,
    arXiv:1603.05118.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.recurrent_dropout(jaxrnn.lstm, 0.25)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3))
      >>> jaxrnn.scan(cell, params, xs, key=jax.random.key(1))[1].shape
      (7, 2, 5)
    """
    check_wrapped(cell)
    rate = check_rate("rate", rate)
    inner: Any = cell.spec
    if "candidate_activation" not in getattr(inner, "_fields", ()):
        raise TypeError(
            "cell: expected one whose candidate can be dropped, of make_lstm, make_gru or another "
            f"constructor with a candidate_activation, got {cell.name!r}"
        )
    phi = activation(inner.candidate_activation, "candidate_activation")

    def with_candidate(f: Any) -> Cell:
        """The cell with another activation of its candidate."""
        return inner._replace(candidate_activation=f).make()

    def batch(params: Params, x: PyTree) -> _Drawn:
        lead = jax.tree.leaves(x)[0]
        return _Drawn(jnp.zeros(lead.shape[: lead.ndim - cell.axes], bool))

    def candidate(params: Params, z: PyTree, batch: tuple[int, ...]) -> Any:
        """The shape and dtype of the candidate."""
        seen = []

        def step(params: Params, z: PyTree) -> Carry:
            carry = cell.carry(params, batch)
            looks = with_candidate(lambda a: seen.append(a) or phi(a))
            return looks.update(params, carry, add(z, cell.recurrent(params, carry)))

        jax.eval_shape(step, params, z)
        return jax.ShapeDtypeStruct(seen[0].shape, seen[0].dtype)

    def randomize(params: Params, z: Beside, key: Array) -> Beside:
        inside, own = jax.random.split(key)
        drawn = z.z if cell.randomize is None else cell.randomize(params, z.z, inside)
        like = candidate(params, drawn, z.more.batch.shape)
        return Beside(drawn, _Drawn(mask=mask(own, rate, like.shape, like.dtype)))

    def chosen(z: Beside) -> Cell:
        kept = z.more.mask
        return cell if kept is None else with_candidate(lambda a: phi(a) * kept)

    def update(params: Params, carry: Carry, z: Beside) -> Carry:
        return chosen(z).update(params, carry, z.z)

    changes = beside(cell, batch) | {"update": update, "randomize": randomize}
    if cell.gates is not None:

        def gates(params: Params, carry: Carry, z: Beside) -> PyTree:
            return chosen(z).gates(params, carry, z.z)  # type: ignore[misc]

        changes["gates"] = gates
    # A mask above 1 lifts a candidate above what an activation is known not to exceed.
    changes["bounds"] = with_candidate(lambda a: phi(a)).bounds
    spec = RecurrentDropoutSpec(cell, rate)
    return changed(cell, name=f"recurrent_dropout({cell.name}, {rate})", **changes, spec=spec)
