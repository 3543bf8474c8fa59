r"""The influence of the parameters on the state: exact, or approximated more cheaply.

What `jaxrnn.rtrl` carries forward in time is the matrix :math:`M_t = J_t M_{t-1} + I_t`, with
:math:`J_t = \partial s_t / \partial s_{t-1}` and :math:`I_t = \partial s_t / \partial\theta` at
fixed :math:`s_{t-1}`. For each row of the batch, for n state variables and P parameters, of which
a cell of one layer has about n²,

- `exact` keeps all n P numbers, and a step costs n² P operations;
- `snap1` keeps P numbers for each part of the carry (h, or h and c); a step costs about n³. It is
  biased, and exact for a cell whose state variables do not see each other;
- `uoro` keeps n + P numbers, and a step costs about as much as the cell's own. It is unbiased, and
  noisy.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Array, Carry, Cell, Params, PyTree
from jaxrnn.cells.blocks import wide
from jaxrnn.loops import vary

__all__ = ["Influence", "exact", "snap1", "uoro"]


class FlatCell(NamedTuple):
    """A cell whose carry is one vector s ``(*batch, n)``.

    Attributes:
      cell: the cell.
      like: the carry of one row, leaves with shape and dtype.
    """

    cell: Cell
    like: Carry

    @property
    def dtype(self) -> Any:
        """The dtype of s, which holds that of every leaf."""
        kinds = [leaf.dtype for leaf in jax.tree.leaves(self.like)]
        return np.result_type(np.float32, *(k for k in kinds if jnp.issubdtype(k, np.float64)))

    def flatten(self, carry: Carry) -> Array:
        """From a carry, leaves ``(*batch, ...)``, to s ``(*batch, n)``."""
        leaves, shapes = jax.tree.leaves(carry), jax.tree.leaves(self.like)
        flat = [
            leaf.reshape(*leaf.shape[: leaf.ndim - len(one.shape)], -1).astype(self.dtype)
            for leaf, one in zip(leaves, shapes, strict=True)
        ]
        return jnp.concatenate(flat, axis=-1)

    def unflatten(self, s: Array) -> Carry:
        """The inverse of `flatten`."""
        shapes, structure = jax.tree.flatten(self.like)
        ends = np.cumsum([prod(one.shape) for one in shapes])[:-1]
        leaves = [
            part.reshape(*s.shape[:-1], *one.shape).astype(one.dtype)
            for part, one in zip(jnp.split(s, ends, axis=-1), shapes, strict=True)
        ]
        return structure.unflatten(leaves)

    def start(self, params: Params) -> Array:
        """s_0 of one row."""
        return self.flatten(self.cell.carry(params))

    def step(self, params: Params, s: Array, x: Array) -> Array:
        """s_t from s_{t-1}."""
        return self.flatten(self.cell.step(params, self.unflatten(s), x)[0])


def flat_cell(cell: Cell, params: Params) -> FlatCell:
    """The cell with a flat carry."""
    return FlatCell(cell, jax.eval_shape(cell.carry, params))


class Influence(NamedTuple):
    """How the influence of the parameters on the state is kept: a choice for `jaxrnn.rtrl`.

    Attributes:
      name: how errors call it.
      start: ``start(flat, params, key) -> M_0`` of one row.
      advance: ``advance(flat, params, s, x, M, key) -> M_t`` of one row, from s_{t-1}.
      pull: ``pull(g, M) -> grads``, the product g M of one row.
      random: whether it needs a key.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.uoro.random
      True
    """

    name: str
    start: Callable[..., PyTree]
    advance: Callable[..., PyTree]
    pull: Callable[[Array, PyTree], Params]
    random: bool = False


def _widened(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.astype(wide(leaf.dtype)), tree)


# Exact: M has the structure of params, leaves (n, *shape).


def _exact_start(flat: FlatCell, params: Params, key: Array | None) -> PyTree:
    return _widened(jax.jacrev(flat.start)(params))


def _exact_advance(
    flat: FlatCell, params: Params, s: Array, x: Array, influence: PyTree, key: Array | None
) -> PyTree:
    immediate, jacobian = jax.jacrev(flat.step, argnums=(0, 1))(params, s, x)
    add = lambda i, m: i.astype(m.dtype) + jnp.tensordot(jacobian.astype(m.dtype), m, 1)  # noqa: E731
    return jax.tree.map(add, immediate, influence)


def _exact_pull(g: Array, influence: PyTree) -> Params:
    return jax.tree.map(lambda m: jnp.tensordot(g.astype(m.dtype), m, 1), influence)


exact = Influence("exact", _exact_start, _exact_advance, _exact_pull)
r"""The whole influence, :math:`M_t = J_t M_{t-1} + I_t`, so that the gradient is exact.

Source: Williams and Zipser (1989), A learning algorithm for continually running fully recurrent
neural networks.
"""


# SnAp-1. Of the m parts of a carry, all of H units, and a parameter whose last index is k H + u,
# only the influence on unit u is kept: M has the structure of params, leaves (m, *shape).


def _units(flat: FlatCell) -> tuple[int, int]:
    """How many parts a carry has, m, of how many units, H."""
    shapes = [one.shape for one in jax.tree.leaves(flat.like)]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1:
        raise ValueError(
            f"influence: expected for snap1 a cell whose carries are all (H,), got {shapes} from "
            f"the cell {flat.cell.name!r}"
        )
    return len(shapes), shapes[0][0]


def _tile(part: Array, leaf: Array) -> Array:
    """From units ``(m, H)`` to the last axis of a leaf ``(m, *shape)``."""
    tiled = jnp.tile(part, leaf.shape[-1] // part.shape[-1])
    return tiled.reshape(*part.shape[:-1], *(1 for _ in leaf.shape[2:]), -1)


def _of_each_part(f: Callable[[Params], Array], params: Params, units: Array) -> PyTree:
    """Derivatives of the m parts of f by params, units weighted: leaves ``(m, *shape)``."""
    count, size = units.shape
    weights = (jnp.eye(count, dtype=units.dtype)[..., None] * units).reshape(count, count * size)
    value, back = jax.vjp(f, params)
    return _widened(jax.vmap(back)(vary(weights.astype(value.dtype), value))[0])


def _snap1_start(flat: FlatCell, params: Params, key: Array | None) -> PyTree:
    return _of_each_part(flat.start, params, jnp.ones(_units(flat), flat.dtype))


def _snap1_advance(
    flat: FlatCell, params: Params, s: Array, x: Array, influence: PyTree, key: Array | None
) -> PyTree:
    count, size = _units(flat)
    leaves, structure = jax.tree.flatten(params)
    if not hasattr(x, "shape"):
        raise ValueError(
            f"influence: expected for snap1 a cell of one input, got {jax.tree.structure(x)} for "
            f"the cell {flat.cell.name!r}"
        )
    avals = tuple((leaf.shape, str(wide(leaf.dtype))) for leaf in leaves)
    with jax.ensure_compile_time_eval():  # it is of the cell, not of what is traced
        fits = _acts_on_units(flat.cell, structure, avals, x.shape, str(wide(x.dtype)))
    if not fits:
        raise ValueError(
            f"influence: expected for snap1 a cell each of whose parameters, with last index "
            f"k H + u, reaches only unit u in one step, got {flat.cell.name!r}"
        )
    ones = jnp.ones((count, size), flat.dtype)
    immediate = _of_each_part(lambda params: flat.step(params, s, x), params, ones)
    jacobian = jax.jacfwd(lambda s: flat.step(params, s, x))(s)
    blocks = jnp.einsum("ahbh->bah", jacobian.reshape(count, size, count, size))

    def one(i: Array, m: Array) -> Array:
        # New part a gets J_ab times part b, summed over b.
        return i + sum(_tile(blocks[b].astype(m.dtype), m) * m[b] for b in range(count))

    return jax.tree.map(one, immediate, influence)


def _snap1_pull(g: Array, influence: PyTree) -> Params:
    def one(m: Array) -> Array:
        return jnp.sum(_tile(g.astype(m.dtype).reshape(m.shape[0], -1), m) * m, axis=0)

    return jax.tree.map(one, influence)


@lru_cache(maxsize=64)
def _acts_on_units(
    cell: Cell, structure: Any, avals: tuple[Any, ...], shape: tuple[int, ...], dtype: str
) -> bool:
    """Whether snap1's pattern is that of ∂s_t/∂θ, told by weighting the units at random."""
    rng = np.random.default_rng(0)
    count = 4  # draws, for where an activation is flat nothing is seen

    def draw(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        # Weights small enough that no gate saturates: that too would hide what is reached.
        return (rng.normal(size=(count, *shape)) / np.sqrt(prod(shape[:-1]))).astype(dtype)

    params = structure.unflatten([draw(*aval) for aval in avals])
    flat = flat_cell(cell, structure.unflatten([jax.ShapeDtypeStruct(*aval) for aval in avals]))
    parts, size = _units(flat)
    if any(not aval[0] or aval[0][-1] % size for aval in avals):
        return False

    def agree(params: Params, s: Array, x: Array, units: Array) -> list[Array]:
        f = lambda params: flat.step(params, s, x)  # noqa: E731
        plain = jax.tree.leaves(_of_each_part(f, params, jnp.ones_like(units)))
        weighted = jax.tree.leaves(_of_each_part(f, params, units))
        pairs = [
            (b, _tile(units.astype(a.dtype), a) * a) for a, b in zip(plain, weighted, strict=True)
        ]
        return [jnp.all(jnp.abs(b - a) <= 1e-4 * jnp.max(jnp.abs(a))) for b, a in pairs]

    s, units = draw((parts * size,), flat.dtype), draw((parts, size), flat.dtype)
    same = jax.jit(jax.vmap(agree))(params, s, draw(shape, dtype), units)
    return all(np.asarray(leaf).all() for leaf in same)


snap1 = Influence("snap1", _snap1_start, _snap1_advance, _snap1_pull)
r"""Of the influence of a parameter only that on the unit which it reaches within one step.

.. math:: M_t[(a, u), p] = \textstyle\sum_b J_t[(a, u), (b, u)]\, M_{t-1}[(b, u), p]
          + I_t[(a, u), p]

with p a parameter of unit u, and a and b the parts of the carry: h alone, where this is the
diagonal of J, or h and c. It is exact for a cell whose units do not see each other's state. For
cells of one layer whose gates are elementwise (Elman, LSTM, GRU with reset after); others are a
ValueError.

Source: Menick, Elsen, Evci, Osindero, Simonyan and Graves (2021), Practical real time recurrent
learning with a sparse approximation to the Jacobian, arXiv:2006.07232. For a cell with one state
variable per unit the pattern kept is the paper's; of an LSTM it also keeps the influence on c of
the parameters of the output gate, which reach c only one step later. The diagonal of J is taken
from all of J.
"""


# UORO: M is the outer product of a vector over the state and one over the parameters.


class RankOne(NamedTuple):
    """An estimate of the influence, the outer product of its two parts.

    Attributes:
      state: s̃, ``(n,)``.
      params: θ̃, like params.
    """

    state: Array
    params: Params


def _norm(tree: PyTree) -> Array:
    return jnp.sqrt(sum(jnp.sum(leaf * leaf) for leaf in jax.tree.leaves(tree)))


def _reduce(moved: Array, params: PyTree, noise: Array, immediate: PyTree) -> RankOne:
    """One product whose mean is ``moved ⊗ params + I``, with immediate = noise I."""
    tiny = 1e-7
    r0 = jnp.sqrt(_norm(params) / (_norm(moved) + tiny)) + tiny
    r1 = jnp.sqrt(_norm(immediate) / (_norm(noise) + tiny)) + tiny
    add = lambda w, i: w / r0.astype(w.dtype) + i.astype(w.dtype) / r1.astype(w.dtype)  # noqa: E731
    return RankOne(r0 * moved + r1 * noise, jax.tree.map(add, params, immediate))


def _uoro_start(flat: FlatCell, params: Params, key: Array) -> RankOne:
    value, back = jax.vjp(flat.start, params)
    noise = vary(jax.random.rademacher(key, value.shape, value.dtype), value)
    immediate = _widened(back(noise)[0])
    nothing = jax.tree.map(jnp.zeros_like, immediate)
    return _reduce(jnp.zeros_like(value), nothing, noise, immediate)


def _uoro_advance(
    flat: FlatCell, params: Params, s: Array, x: Array, influence: RankOne, key: Array
) -> RankOne:
    noise = vary(jax.random.rademacher(key, s.shape, s.dtype), s)
    moved = jax.jvp(lambda s: flat.step(params, s, x), (s,), (influence.state,))[1]
    immediate = _widened(jax.vjp(lambda params: flat.step(params, s, x), params)[1](noise)[0])
    return _reduce(moved, influence.params, noise, immediate)


def _uoro_pull(g: Array, influence: RankOne) -> Params:
    weight = jnp.sum(g * influence.state)
    return jax.tree.map(lambda w: weight.astype(w.dtype) * w, influence.params)


uoro = Influence("uoro", _uoro_start, _uoro_advance, _uoro_pull, random=True)
r"""An unbiased estimate of rank one, :math:`\mathbb{E}[\tilde s_t \otimes \tilde\theta_t] = M_t`.

.. math::
    \tilde s_t &= \rho_0 J_t \tilde s_{t-1} + \rho_1 \nu, \qquad \nu \in \{-1, 1\}^n \\
    \tilde\theta_t &= \tilde\theta_{t-1} / \rho_0 + \nu^\top I_t / \rho_1

with ρ₀ and ρ₁ the square roots of the ratios of the norms of what they balance.

Source: Tallec and Ollivier (2018), Unbiased online recurrent optimization, arXiv:1702.05043.
"""
