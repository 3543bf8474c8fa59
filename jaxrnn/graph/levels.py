"""One cell per level of a graph's unfolding: the multi-level sequence learner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxrnn import checks
from jaxrnn.base import Array, Cell, Params, split
from jaxrnn.cells import lstm
from jaxrnn.graph.structure import Neighbours
from jaxrnn.unroll import scan

__all__ = ["neighbourhood", "neighbourhood_init"]


def neighbourhood_init(
    key: Array,
    feature_size: int,
    hidden_sizes: Sequence[int],
    *,
    cell: Cell = lstm,
    **options: Any,
) -> tuple[Params, ...]:
    """Parameters for `neighbourhood`: one cell per level, the root's first.

    Args:
      key: a PRNG key.
      feature_size: F, the features of an edge.
      hidden_sizes: H of each level, the root's first; how many there are is the depth L.
      cell: the cell of every level.
      **options: as the ``init`` of the cell takes them.

    Returns:
      A tuple of L parameters. The deepest reads F features, each other one F + H of the next.

    Raises:
      ValueError: for no levels.

    Example:
      >>> import jax
      >>> from jaxrnn import graph
      >>> params = graph.neighbourhood_init(jax.random.key(0), 3, (6, 5))
      >>> [level.input_kernel.shape for level in params]
      [(8, 24), (3, 20)]
    """
    if not hidden_sizes:
        raise ValueError("hidden_sizes: expected one for each of at least one level, got none")
    params, size = [], feature_size
    keys = split(key, len(hidden_sizes))
    for key, hidden_size in zip(keys[::-1], reversed(hidden_sizes), strict=True):
        level = cell.init(key, size, hidden_size, **options)
        dtype = jax.tree.leaves(level)[0].dtype
        x = jax.ShapeDtypeStruct((size,), dtype)
        y = jax.eval_shape(lambda p, x: cell.step(p, cell.carry(p), x)[1], level, x)
        size = feature_size + y.shape[-1]
        params.append(level)
    return tuple(reversed(params))


def neighbourhood(
    params: Sequence[Params],
    neighbours: Neighbours,
    features: Array,
    *,
    cell: Cell = lstm,
    sentinel: float = -100.0,
    shuffle: Array | None = None,
    root: Array | None = None,
) -> Array:
    r"""What L cells make of every node's neighbourhood of radius L.

    The children :math:`u_1, \dots, u_k` of a node v are a sequence, which the cell of level l
    reads, each with what the cell of the next level made of that child's own children:

    .. math::
        z^{(L)}_v &= \mathrm{cell}_L(e_{v u_1}, \dots, e_{v u_k}) \\
        z^{(l)}_v &= \mathrm{cell}_l([z^{(l+1)}_{u_1}, e_{v u_1}], \dots,
            [z^{(l+1)}_{u_k}, e_{v u_k}])

    the last output each time, and a constant vector for a node without children. The value of
    a node in the tree that the graph unfolds into depends on the node and its level only, so
    all nodes are done together, level after level from the deepest: L scans over K children
    of n nodes, where the unfolded trees themselves grow as :math:`K^L`. An unfolding goes back
    along an edge where the graph has both directions of it.

    Args:
      params: one level's parameters each, the root's first, as `neighbourhood_init` gives.
      neighbours: `Neighbours`; indices out of range are an error where they are concrete, and
        are clipped where they are traced, lengths likewise.
      features: e, ``(n, K, F)``: of the edge, the child, or both joined. Padding reaches
        nothing, NaN included.
      cell: the cell of every level.
      sentinel: the value of a node without children.
      shuffle: a PRNG key to put the children of each node into random order, anew at each
        level; None keeps the order.
      root: ``(n, R)``, the nodes' own features, joined behind the result for what comes next.

    Returns:
      :math:`z^{(1)}`, ``(n, H)``, or ``(n, H + R)`` with `root`.

    Raises:
      TypeError: for wrong dtypes or parameters.
      ValueError: for shapes that do not fit each other, no levels, or indices out of range.

    Source: Agrawal, de Alfaro and Polychronopoulos (2016), Learning from graph neighborhoods
    using LSTMs, arXiv:1611.06882; the constant −100 is their code's.

    Example:
      >>> import jax
      >>> from jaxrnn import graph
      >>> neighbours = graph.from_edges([(0, 1), (1, 2), (1, 0)], 3)
      >>> weights = jax.numpy.array([[0.3], [0.1], [0.7]])
      >>> params = graph.neighbourhood_init(jax.random.key(0), 1, (4, 4))
      >>> ys = graph.neighbourhood(params, neighbours, weights[neighbours.edges])
      >>> ys.shape, ys[2].tolist()
      ((3, 4), [-100.0, -100.0, -100.0, -100.0])
    """
    features = checks.check_floating("features", features)
    children, lengths = _check_neighbours(neighbours)
    if not params:
        raise ValueError("params: expected one for each of at least one level, got none")
    if features.ndim != 3 or features.shape[:2] != children.shape:
        raise ValueError(
            f"features: expected shape {(*children.shape, 'F')} as the children have, got "
            f"{features.shape}"
        )
    if root is not None and (root.ndim != 2 or len(root) != len(children)):
        raise ValueError(f"root: expected shape {(len(children), 'R')}, got {root.shape}")
    keys = (None,) * len(params) if shuffle is None else split(shuffle, len(params))
    *above, deepest = zip(params, keys, strict=True)
    empty, nodes = (lengths == 0)[:, None], jnp.arange(len(children))

    def read(xs: Array, level: Params, key: Array | None) -> Array:
        if key is not None:
            xs = jnp.take_along_axis(xs, _orders(key, children.shape, lengths)[..., None], axis=1)
        _, ys = scan(cell, level, jnp.swapaxes(xs, 0, 1), lengths=lengths)
        last = ys[jnp.maximum(lengths - 1, 0), nodes]
        return jnp.where(empty, jnp.array(sentinel, last.dtype), last)

    values = read(features, *deepest)
    for level in reversed(above):
        values = read(jnp.concatenate([values[children], features], axis=-1), *level)
    return values if root is None else jnp.concatenate([values, root.astype(values.dtype)], axis=-1)


def _orders(key: Array, shape: tuple[int, ...], lengths: Array) -> Array:
    """A random permutation of each row's valid places, the padding behind them."""
    draws = jax.random.uniform(key, shape, jnp.float32)
    return jnp.argsort(
        jnp.where(jnp.arange(shape[1], dtype=jnp.int32) < lengths[:, None], draws, 2.0), axis=1
    )


def _check_neighbours(neighbours: Neighbours) -> tuple[Array, Array]:
    children, lengths = neighbours.children, neighbours.lengths
    if np.ndim(children) != 2 or np.shape(children)[1] < 1:
        raise ValueError(
            f"neighbours.children: expected shape (n, K), K >= 1, got {np.shape(children)}"
        )
    if not jnp.issubdtype(children.dtype, jnp.integer):
        raise TypeError(f"neighbours.children: expected integers, got dtype {children.dtype}")
    nodes, width = children.shape
    lengths = checks.check_lengths(lengths, width, (nodes,), argument="neighbours.lengths")
    if not isinstance(children, Tracer) and children.size:
        low, high = int(children.min()), int(children.max())
        if low < 0 or high >= nodes:
            raise ValueError(
                f"neighbours.children: expected node indices in 0..{nodes - 1}, got a minimum "
                f"of {low} and a maximum of {high}"
            )
    return jnp.clip(jnp.asarray(children, jnp.int32), 0, nodes - 1), lengths
