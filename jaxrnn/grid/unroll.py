"""`scan` over a grid: anti-diagonals as the time steps of `jaxrnn.scan`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxrnn import checks
from jaxrnn.base import Array, Carry, Cell, Made, Params, PyTree, Spec, documented, select, split
from jaxrnn.checks import check_params
from jaxrnn.grid.cells import GridCell
from jaxrnn.unroll import scan as scan_sequence

__all__ = ["GridLayer", "multidirectional", "scan"]

tree_map = jax.tree.map


class _GridLayerFields(NamedTuple):
    name: str
    cell: GridCell
    directions: tuple[tuple[bool, ...], ...]
    merge: Callable[[list[Array]], Array]
    spec: Spec | None = None


class GridLayer(Made, _GridLayerFields):
    """A grid cell run from every corner, each direction with its own parameters.

    Attributes:
      name: how errors call it.
      cell: the `GridCell` of every direction.
      directions: for each direction, whether each axis runs backward.
      merge: how the outputs of the directions become one.
      spec: what its constructor was given, as in `jaxrnn.Cell`.

    Example:
      >>> import jaxrnn
      >>> layer = jaxrnn.grid.multidirectional(jaxrnn.grid.make_md_rnn(2))
      >>> layer.directions
      ((False, False), (False, True), (True, False), (True, True))
    """

    def init(
        self, key: Array, input_size: int, hidden_size: int, **options: Any
    ) -> tuple[Params, ...]:
        """Parameters for every direction, in the order of `directions`.

        Args:
          key: a PRNG key, split between the directions.
          input_size: D.
          hidden_size: H of each direction.
          **options: as the ``init`` of the cell takes them.

        Returns:
          A tuple of the cell's parameters.

        Example:
          >>> import jax, jaxrnn
          >>> layer = jaxrnn.grid.multidirectional(jaxrnn.grid.make_md_rnn(2))
          >>> len(layer.init(jax.random.key(0), 3, 5))
          4
        """
        keys = split(key, len(self.directions))
        return tuple(self.cell.init(key, input_size, hidden_size, **options) for key in keys)


_MERGES: dict[str, Callable[[list[Array]], Array]] = {
    "concat": lambda ys: jnp.concatenate(ys, axis=-1),
    "sum": lambda ys: sum(ys[1:], ys[0]),
    "mean": lambda ys: sum(ys[1:], ys[0]) / len(ys),
}


class MultidirectionalSpec(NamedTuple):
    """What `multidirectional` was given.

    Example:
      >>> import jaxrnn
      >>> layer = jaxrnn.grid.multidirectional(jaxrnn.grid.make_md_rnn(2), merge="sum")
      >>> layer.spec.merge
      'sum'
    """

    cell: GridCell
    merge: str | Callable[[list[Array]], Array] = "concat"

    def make(self) -> GridLayer:
        """The layer."""
        return multidirectional(self.cell, merge=self.merge)


@documented
def multidirectional(
    cell: GridCell, *, merge: str | Callable[[list[Array]], Array] = "concat"
) -> GridLayer:
    r"""A layer that runs a grid cell from each of the :math:`2^N` corners of the grid.

    .. math:: y_p = \mathrm{merge}(h^{(1)}_p, \dots, h^{(2^N)}_p)

    so that every output sees the whole grid. With N = 1 it is `jaxrnn.bidirectional`.

    Args:
      cell: what runs in every direction.
      merge: ``"concat"`` (:math:`2^N H` features), ``"sum"``, ``"mean"``, or a function of the
        list of outputs.

    Returns:
      A `GridLayer`, run by `scan`; its params and carry are tuples, one entry per direction.

    Raises:
      TypeError: for something that is not a grid cell.
      ValueError: for an unknown merge.

    Source: Graves, Fernández and Schmidhuber (2007), Multi-dimensional recurrent neural
    networks, arXiv:0705.2011.

    Example:
      >>> import jax, jaxrnn
      >>> layer = jaxrnn.grid.multidirectional(jaxrnn.grid.make_md_lstm(2))
      >>> params = layer.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.grid.scan(layer, params, jax.numpy.ones((4, 6, 3)))[1].shape
      (4, 6, 20)
    """
    if not isinstance(cell, GridCell):
        raise TypeError(f"cell: expected a GridCell, got {type(cell).__name__}")
    if not callable(merge):
        checks.check_choice("merge", merge, tuple(_MERGES))
    join = merge if callable(merge) else _MERGES[merge]
    directions = tuple(product((False, True), repeat=cell.axes))
    spec = MultidirectionalSpec(cell, merge)
    return GridLayer(f"multidirectional({cell.name})", cell, directions, join, spec)


def scan(
    cell: GridCell | GridLayer,
    params: Params,
    xs: Array,
    *,
    sizes: Array | None = None,
    mask: Array | None = None,
    reverse: bool | Sequence[bool] = False,
    return_carries: bool = False,
    chunk: int | None = None,
    unroll: int = 1,
) -> Any:
    r"""Run a grid cell over a grid: :math:`s_p, y_p = \mathrm{step}(\theta, (s_{p-e_d})_d, x_p)`.

    For two axes it is this loop, with the anti-diagonals i + j in parallel::

        for i in range(height):
            for j in range(width):
                before = carries[i - 1, j], carries[i, j - 1]  # zero outside the grid
                carries[i, j], ys[i, j] = cell.step(params, before, xs[i, j])

    It is `jaxrnn.scan` over :math:`1 + \sum_d (n_d - 1)` anti-diagonals, and like it composes
    with `jit`, `vmap`, `grad`, `jvp` in any order.

    Args:
      cell: a `GridCell`, or a `GridLayer` such as `multidirectional` gives.
      params: its parameters.
      xs: ``(*grid, *batch, D)``, N grid axes, floating, of the dtype of the parameters.
      sizes: integers ``(*batch, N)``, each row's own sides. Every direction runs inside them,
        so a padded batch equals its rows run alone; outputs past them are zero. Traced sizes
        are clipped to the grid.
      mask: booleans ``(*grid, *batch)``: where False, output and carry are zero, as beyond the
        border. What is masked or past the sizes, NaN included, reaches neither values nor
        gradients.
      reverse: whether to run backward, for each axis or for all.
      return_carries: also return the carry of every position.
      chunk: anti-diagonals per chunk, as in `jaxrnn.scan`.
      unroll: anti-diagonals per loop iteration.

    Returns:
      ``(carry, ys)``: the carry of each row's last corner in the direction of the run, and the
      outputs ``(*grid, *batch, H)``; with `return_carries`, ``(carry, ys, carries)``. For a
      `GridLayer` the carries are tuples, one entry per direction.

    Raises:
      TypeError: for a wrong dtype, or parameters of another structure.
      ValueError: for a wrong shape or number of axes, or sizes beyond the grid.

    Source: Graves, Fernández and Schmidhuber (2007), Multi-dimensional recurrent neural
    networks, arXiv:0705.2011; anti-diagonals in parallel as in Voigtlaender, Doetsch and Ney
    (2016), Handwriting recognition with large multidimensional long short-term memory
    recurrent neural networks.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.grid.make_md_lstm(2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> images = jax.random.normal(jax.random.key(1), (8, 6, 2, 3))
      >>> sizes = jax.numpy.array([[8, 6], [3, 4]])
      >>> carry, ys = jaxrnn.grid.scan(cell, params, images, sizes=sizes)
      >>> ys.shape, bool((carry.h[1] == ys[2, 3, 1]).all()), bool((ys[3:, :, 1] == 0).all())
      ((8, 6, 2, 5), True, True)
    """
    if not isinstance(cell, GridCell | GridLayer):
        raise TypeError(f"cell: expected a GridCell or a GridLayer, got {type(cell).__name__}")
    layer, one = (cell, cell.cell) if isinstance(cell, GridLayer) else (None, cell)
    axes = one.axes
    xs = checks.check_floating("xs", xs)
    if xs.ndim <= axes:
        raise ValueError(f"xs: expected (*grid, *batch, D), {axes} grid axes, got {xs.shape}")
    grid, batch = xs.shape[:axes], xs.shape[axes:-1]
    if sizes is not None:
        sizes = _check_sizes(sizes, grid, batch).reshape(math.prod(batch), axes)
    if mask is not None:
        mask = jnp.asarray(mask)
        mask = checks.check_flags("mask", mask, (*grid, *batch)).reshape(*grid, math.prod(batch))
    backward = _check_reverse(reverse, axes)
    if layer and (not isinstance(params, tuple | list) or len(params) != len(layer.directions)):
        got = len(params) if isinstance(params, tuple | list) else type(params).__name__
        raise TypeError(
            f"params: expected a tuple of {len(layer.directions)} for {layer.name!r}, got {got}"
        )
    checks.check_positive("unroll", unroll)
    if chunk is not None:
        checks.check_positive("chunk", chunk)

    def run(params: Params, flips: tuple[bool, ...]) -> tuple[Carry, Array, Carry]:
        check_params(Diagonal(one, 0).make(), params, xs)
        options = (flips, bool(return_carries), chunk, unroll)
        return _run(one, options, params, xs, sizes, mask)

    if layer is None:
        carry, ys, carries = run(params, backward)
    else:
        flips = [tuple(np.logical_xor(way, backward).tolist()) for way in layer.directions]
        runs = [run(p, way) for p, way in zip(params, flips, strict=True)]
        carry, ys, carries = zip(*runs, strict=True)
        ys = layer.merge(list(ys))
    return (carry, ys, carries) if return_carries else (carry, ys)


def _check_sizes(sizes: Any, grid: tuple[int, ...], batch: tuple[int, ...]) -> Array:
    sizes = sizes if isinstance(sizes, Tracer) else np.asarray(sizes)
    shape = (*batch, len(grid))
    if sizes.shape != shape:
        raise ValueError(f"sizes: expected shape {shape} (*batch, N), got {sizes.shape}")
    each = [
        checks.check_lengths(sizes[..., d], side, batch, argument=f"sizes[..., {d}]")
        for d, side in enumerate(grid)
    ]
    return jnp.stack(each, axis=-1)


def _check_reverse(reverse: bool | Sequence[bool], axes: int) -> tuple[bool, ...]:
    ways = (reverse,) * axes if isinstance(reverse, bool) else tuple(reverse)
    if len(ways) != axes or not all(isinstance(way, bool | np.bool_) for way in ways):
        raise ValueError(f"reverse: expected a bool or one for each of {axes} axes, got {reverse}")
    return tuple(bool(way) for way in ways)


@partial(jax.jit, static_argnums=(0, 1))
def _run(
    cell: GridCell,
    options: tuple[tuple[bool, ...], bool, int | None, int],
    params: Params,
    xs: Array,
    sizes: Array | None,
    mask: Array | None,
) -> tuple[Carry, Array, Carry]:
    """One direction. Inside, the batch is one axis and the run is forward along every axis."""
    flips, return_carries, chunk, unroll = options
    grid, batch = xs.shape[: cell.axes], xs.shape[cell.axes : -1]
    if 0 in grid:
        return _empty(cell, params, xs, return_carries)
    flip = partial(jnp.flip, axis=[d for d, way in enumerate(flips) if way])
    longest = grid.index(max(grid))

    xs = flip(xs.reshape(*grid, math.prod(batch), xs.shape[-1]))
    inside = _inside(grid, sizes)
    valid = flip(inside if mask is None else inside & mask)
    rows = xs.shape[-2]
    every = _skew(jnp.broadcast_to(valid, (*grid, rows)), longest, cell.axes)
    # Past its last position a row of the diagonal is held, which nothing reads; a hole in the
    # mask is read, as zero.
    holes = None
    if mask is not None:
        hole = jnp.broadcast_to(flip(inside & ~mask), (*grid, rows))
        after = _skew(hole, longest, cell.axes)[:-1]
        holes = jnp.concatenate([jnp.zeros_like(every[:1]), after])
    diagonal = Diagonal(cell, longest).make()
    last, ys, *carries = scan_sequence(
        diagonal,
        params,
        _skew(xs, longest, cell.axes),
        mask=every,
        reset=holes,
        return_carries=return_carries,
        chunk=chunk,
        unroll=unroll,
    )

    def restore(leaf: Array) -> Array:
        leaf = flip(_unskew(leaf, longest, cell.axes))
        return leaf.reshape(*grid, *batch, *leaf.shape[cell.axes + 1 :])

    # A row of the batch ends where it is anchored: at its own size, or flipped at the grid's.
    sides = jnp.array(grid, jnp.int32)
    ends = jnp.broadcast_to(sides if sizes is None else sizes, (rows, cell.axes))
    ends = jnp.where(jnp.array(flips), sides, ends).T
    corner = [jnp.maximum(end - 1, 0) for end in ends]
    at = (*corner[:longest], *corner[longest + 1 :], jnp.arange(rows))
    carry = tree_map(lambda leaf: leaf[at], last)
    if mask is not None:
        there = valid[(*corner, jnp.arange(rows))]
        carry = select(there, carry, tree_map(jnp.zeros_like, carry))
    carry = tree_map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), carry)
    if not return_carries:
        return carry, restore(ys), None
    carries = select(every, carries[0], tree_map(jnp.zeros_like, carries[0]))
    return carry, restore(ys), tree_map(restore, carries)


def _empty(
    cell: GridCell, params: Params, xs: Array, return_carries: bool
) -> tuple[Carry, Array, Carry]:
    """A grid without positions."""
    grid, batch = xs.shape[: cell.axes], xs.shape[cell.axes : -1]
    carry = cell.carry(params, batch)
    x = jnp.zeros((*batch, xs.shape[-1]), xs.dtype)
    y = jax.eval_shape(cell.step, params, (carry,) * cell.axes, x)[1]
    ys = jnp.zeros((*grid, *y.shape), y.dtype)
    none = tree_map(lambda leaf: jnp.zeros((*grid, *leaf.shape), leaf.dtype), carry)
    return carry, ys, none if return_carries else None


def _inside(grid: tuple[int, ...], sizes: Array | None) -> Array:
    """Which positions lie inside each row's own sizes, ``(*grid, B)``, or ``(*grid, 1)``."""
    if sizes is None:
        return jnp.ones((*grid, 1), bool)
    positions = jnp.stack(
        jnp.meshgrid(*(jnp.arange(n, dtype=jnp.int32) for n in grid), indexing="ij"), axis=-1
    )
    return (positions[..., None, :] < sizes).all(-1)


class Diagonal(NamedTuple):
    """The spec of the cell of a whole anti-diagonal.

    Its batch axes are the grid's without the longest, then the batch: a position is where its
    other indices say, so its predecessor along the longest axis was at the same place, and
    that along another axis one place before.

    Attributes:
      cell: the cell of a position.
      longest: which axis is the longest.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.grid.unroll import Diagonal
      >>> Diagonal(jaxrnn.grid.make_md_rnn(2), 0).make()
      Cell('md_rnn')
    """

    cell: GridCell
    longest: int

    def make(self) -> Cell:
        """The cell."""
        cell, longest = self

        def before(carry: Carry) -> tuple[Carry, ...]:
            others = [
                tree_map(partial(_delay, places=cell.axes - d), carry) for d in range(1, cell.axes)
            ]
            return (*others[:longest], carry, *others[longest:])

        def recurrent(params: Params, carry: Carry) -> PyTree:
            return cell.recurrent(params, before(carry))

        def update(params: Params, carry: Carry, z: PyTree) -> Carry:
            return cell.update(params, before(carry), z)

        return Cell(
            cell.name,
            cell.init,
            cell.carry,
            cell.project,
            recurrent,
            update,
            cell.output,
            spec=self,
        )


def _delay(leaf: Array, places: int) -> Array:
    """Move by one along the axis that is so many places before batch and features."""
    pads = [(0, 0, 0)] * leaf.ndim
    pads[leaf.ndim - 2 - places] = (1, -1, 0)
    return lax.pad(leaf, jnp.zeros((), leaf.dtype), pads)


def _skew(leaf: Array, longest: int, axes: int) -> Array:
    """Anti-diagonals first: ``[k, *others]`` is position k − Σ others of the longest axis.

    A row of n entries padded to n + 1, read on in rows of n, moves by one from row to row.
    """
    leaf = jnp.moveaxis(leaf, longest, 0)
    for axis in range(1, axes):
        leaf = jnp.moveaxis(leaf, axis, 0)
        n, time, *rest = leaf.shape
        leaf = jnp.pad(leaf, ((0, 0), (0, n), *[(0, 0)] * len(rest)))
        leaf = leaf.reshape(n * (time + n), *rest)[: n * (time + n - 1)]
        leaf = jnp.moveaxis(leaf.reshape(n, time + n - 1, *rest), 0, axis)
    return leaf


def _unskew(leaf: Array, longest: int, axes: int) -> Array:
    """The inverse of `_skew`."""
    for axis in reversed(range(1, axes)):
        leaf = jnp.moveaxis(leaf, axis, 0)
        n, steps, *rest = leaf.shape
        leaf = leaf.reshape(n * steps, *rest)
        leaf = jnp.pad(leaf, ((0, n), *[(0, 0)] * len(rest)))
        leaf = leaf.reshape(n, steps + 1, *rest)[:, : steps - n + 1]
        leaf = jnp.moveaxis(leaf, 0, axis)
    return jnp.moveaxis(leaf, 0, longest)
