"""Zoneout: units that now and then keep their old state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Matrix, Params, PyTree, documented
from jaxrnn.networks.around.shared import Beside, beside, changed, check_rate, check_wrapped

__all__ = ["ZoneoutSpec", "zoneout"]


class ZoneoutSpec(NamedTuple):
    """What `zoneout` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.zoneout(jaxrnn.lstm, (0.05, 0.5)).spec.rate
      (0.05, 0.5)
    """

    cell: Cell
    rate: float | tuple[float, ...]

    def make(self) -> Cell:
        """The cell."""
        return zoneout(self.cell, self.rate)


class _Held(NamedTuple):
    """What travels beside z: where the batch is, or which units keep their state."""

    batch: Array | None = None
    keep: PyTree = None


@documented
def zoneout(cell: Cell, rate: float | Sequence[float]) -> Cell:
    r"""The same cell, each of whose units keeps its old state with a probability.

    .. math::
        s_t &= d_t \odot s_{t-1} + (1 - d_t) \odot \mathrm{update}(s_{t-1}, z_t),
            \qquad d_t \sim \mathrm{Bernoulli}(p) \\
        s_t &= p\, s_{t-1} + (1 - p)\, \mathrm{update}(s_{t-1}, z_t) && \text{without a key}

    d is drawn anew for every step, row and unit from (key, absolute time); without a key it is
    its expectation. Counters in the carry always count. A cell that is linear in its state stays
    one: where its map is a matrix, d is drawn for each of its rows.

    Args:
      cell: a `Cell`.
      rate: p in [0, 1), or one for each leaf of the carry: ``(0.05, 0.5)`` are those of h and c
        of an LSTM.

    Returns:
      A `Cell` with the parameters, carry and output of the cell.

    Raises:
      TypeError: for something that is not a cell, or a rate that is no number.
      ValueError: for a rate outside of [0, 1); from ``init`` and a run, for another number of
        rates than leaves of the carry.

    Source: Krueger et al. (2017), Zoneout: regularizing RNNs by randomly preserving hidden
    activations, arXiv:1606.01305. Its new h is made of the new c, whether c keeps its old value
    or not, and so it is here.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.zoneout(jaxrnn.lstm, (0.05, 0.5))
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3))
      >>> jaxrnn.scan(cell, params, xs, key=jax.random.key(1))[1].shape
      (7, 2, 5)
    """
    check_wrapped(cell)
    each = isinstance(rate, tuple | list)
    given = tuple(check_rate(f"rate[{k}]", p) for k, p in enumerate(rate)) if each else None
    spec = ZoneoutSpec(cell, check_rate("rate", rate) if given is None else given)

    def rates(carry: Carry) -> PyTree:
        """The rate of each leaf of a carry; None of what is no floating-point number."""
        leaves, structure = jax.tree.flatten(carry)
        many = (spec.rate,) * len(leaves) if given is None else given
        if len(many) != len(leaves):
            raise ValueError(
                f"rate: expected one, or {len(leaves)}, one for each leaf of the carry of "
                f"{cell.name!r}, got {len(many)}"
            )
        pairs = zip(many, leaves, strict=True)
        return structure.unflatten(
            [p if jnp.issubdtype(leaf.dtype, jnp.inexact) else None for p, leaf in pairs]
        )

    def mixed(z: _Held, carry: Carry, old: PyTree, new: PyTree) -> PyTree:
        """Of each leaf the old where it is kept."""

        def one(p: float | None, old: Any, new: Any, keep: Any) -> Any:
            if p is None:
                return new
            if isinstance(new, Matrix):
                eye = jnp.eye(new.entries.shape[-1], dtype=new.entries.dtype)
                return Matrix(one(p, eye, new.entries, keep))
            if z.keep is None:
                return p * old + (1 - p) * new
            return jnp.where(keep, old, new)

        keep = carry if z.keep is None else z.keep
        return jax.tree.map(one, rates(carry), old, new, keep, is_leaf=lambda p: p is None)

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> Params:
        params = cell.init(key, input_size, hidden_size, **options)
        rates(jax.eval_shape(cell.carry, params))
        return params

    def batch(params: Params, x: PyTree) -> _Held:
        lead = jax.tree.leaves(x)[0]
        return _Held(jnp.zeros(lead.shape[: lead.ndim - cell.axes], bool))

    def like(params: Params, batch: Array) -> Carry:
        return jax.eval_shape(lambda params: cell.carry(params, batch.shape), params)

    def randomize(params: Params, z: Beside, key: Array) -> Beside:
        inner, own = jax.random.split(key)
        carry = like(params, z.more.batch)
        leaves, structure = jax.tree.flatten(carry)
        matrices = [False] * len(leaves)
        if cell.coefficients is not None:
            a, _ = jax.eval_shape(cell.coefficients, params, z.z)
            is_matrix = lambda node: isinstance(node, Matrix)  # noqa: E731
            matrices = [is_matrix(node) for node in jax.tree.leaves(a, is_leaf=is_matrix)]
        many = jax.tree.leaves(rates(carry), is_leaf=lambda p: p is None)
        keep = []
        for k, leaf, p, rows in zip(
            jax.random.split(own, len(leaves)), leaves, many, matrices, strict=True
        ):
            shape = (*leaf.shape[:-1], 1) if rows else leaf.shape
            keep.append(jax.random.bernoulli(k, 0.0 if p is None else p, shape))
        drawn = z.z if cell.randomize is None else cell.randomize(params, z.z, inner)
        return Beside(drawn, _Held(keep=structure.unflatten(keep)))

    def update(params: Params, carry: Carry, z: Beside) -> Carry:
        new = mixed(z.more, carry, carry, cell.update(params, carry, z.z))
        return jax.tree.map(lambda leaf, old: leaf.astype(old.dtype), new, carry)

    def coefficients(params: Params, z: Beside) -> tuple[PyTree, PyTree]:
        a, b = cell.coefficients(params, z.z)  # type: ignore[misc]
        is_matrix = lambda node: isinstance(node, Matrix)  # noqa: E731
        ones = jax.tree.map(lambda leaf: 1, a, is_leaf=is_matrix)
        zeros = jax.tree.map(lambda leaf: 0, b)
        carry = jax.eval_shape(cell.carry, params)
        return mixed(z.more, carry, ones, a), mixed(z.more, carry, zeros, b)

    def bounds(params: Params, start: Carry, count: Any) -> Carry:
        new = cell.bounds(params, start, count)  # type: ignore[misc]
        return jax.tree.map(jnp.maximum, start, new)

    changes = beside(cell, batch) | {"init": init, "update": update, "randomize": randomize}
    if cell.coefficients is not None:
        changes["coefficients"] = coefficients
    if cell.bounds is not None:
        changes["bounds"] = bounds
    return changed(cell, name=f"zoneout({cell.name}, {spec.rate})", **changes, spec=spec)
