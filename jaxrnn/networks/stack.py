"""Networks out of cells: `stack`, and the whole `rnn`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params, PyTree, once
from jaxrnn.checks import check_parts, check_positive
from jaxrnn.networks import directions
from jaxrnn.unroll import Options, check_cell, run

__all__ = ["StackProjection", "rnn", "stack"]


class StackProjection(NamedTuple):
    """The projected input of a stack that is run step by step.

    Attributes:
      first: the projected input of the first layer.
      noise: for each layer the key of its own randomness, and the dropout mask of its output
        or None; or None for a deterministic step.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.stack(jaxrnn.gru, jaxrnn.gru)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.project(params, jax.numpy.ones(3)).first.n.shape
      (5,)
    """

    first: PyTree
    noise: tuple[Any, ...] | None


def _check_rate(dropout: float) -> float:
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise ValueError(f"dropout: expected a rate in [0, 1), got {dropout!r}")
    return float(dropout)


def _output_size(cell: Cell | Layer, params: Params, input_size: int, dtype: DType) -> int:
    xs = jax.ShapeDtypeStruct((1, input_size), dtype)
    ys = jax.eval_shape(lambda p, xs: run(cell, p, xs, None, Options())[1], params, xs)
    return ys.shape[-1]


def _mask(rate: float, shape: tuple[int, ...], dtype: DType, key: Array) -> Array:
    """Inverted dropout: 0 with probability ``rate``, else 1 / (1 - rate)."""
    return jax.random.bernoulli(key, 1 - rate, shape).astype(dtype) / (1 - rate)


@once
def stack(*cells: Any, dropout: float = 0.0) -> Any:
    r"""Cells on top of each other: the output of each is the input of the next.

    .. math:: h^{(k)}_t = \mathrm{cell}_k(m^{(k-1)}_t \odot h^{(k-1)}_t,\; h^{(k)}_{t-1})

    with dropout masks m on every layer's output but the last, drawn anew at every time step
    from (key, layer, absolute time), and 1 without a key. The stack of cells is a cell: it
    streams step by step, with a tuple of carries, and `jaxrnn.scan` still runs it layer by
    layer at full speed.

    Args:
      *cells: cells, or layers such as `bidirectional` gives; with any of these the result is
        a `Layer`.
      dropout: the rate in [0, 1).

    Returns:
      A `Cell` (or `Layer`) whose params and carry are tuples, one entry per layer. Its
      ``init`` takes a `hidden_size` for all layers or a tuple of one per layer, and hands
      further options to the ``init`` of each.

    Raises:
      TypeError: for something that is neither a cell nor a layer.
      ValueError: for no cells, or a rate outside [0, 1).

    Source: Zaremba, Sutskever and Vinyals (2014), Recurrent neural network regularization,
    arXiv:1409.2329, for the place of the dropout.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru, dropout=0.1)
      >>> params = net.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3))
      >>> (lstm_carry, h), ys = jaxrnn.scan(net, params, xs, key=jax.random.key(1))
      >>> lstm_carry.c.shape, h.shape, ys.shape
      ((2, 5), (2, 5), (7, 2, 5))
    """
    if not cells:
        raise ValueError("cells: expected at least one Cell or Layer, got none")
    for k, cell in enumerate(cells):
        check_cell(f"cells[{k}]", cell)
    rate = _check_rate(dropout)
    count = len(cells)
    stochastic = (rate > 0 and count > 1) or any(cell.stochastic for cell in cells)
    name = f"stack({', '.join(cell.name for cell in cells)})"

    def init(
        key: Array,
        input_size: int,
        hidden_size: int | tuple[int, ...],
        *,
        dtype: DType = jnp.float32,
        **options: Any,
    ) -> tuple[Params, ...]:
        sizes = hidden_size if isinstance(hidden_size, tuple) else (hidden_size,) * count
        if len(sizes) != count:
            raise ValueError(f"hidden_size: expected one or {count} sizes, got {len(sizes)}")
        for k, size in enumerate(sizes):
            if not isinstance(size, tuple):  # a stack within this one may have its own
                each = isinstance(hidden_size, tuple)
                check_positive(f"hidden_size[{k}]" if each else "hidden_size", size)
        params = []
        for cell, k, size in zip(cells, jax.random.split(key, count), sizes, strict=True):
            params.append(cell.init(k, input_size, size, dtype=dtype, **options))
            input_size = _output_size(cell, params[-1], input_size, dtype)
        return tuple(params)

    def carry(params: tuple[Params, ...], batch_shape: tuple[int, ...] = ()) -> tuple[Carry, ...]:
        check_parts(name, cells, params)
        return tuple(cell.carry(p, batch_shape) for cell, p in zip(cells, params, strict=True))

    def sequence(
        params: tuple[Params, ...], xs: Array, carry: tuple[Carry, ...], options: Options
    ) -> tuple[Carry, Array, Carry]:
        paths = check_parts(name, cells, params, argument=options.path)
        last, every, ys = [], [], xs
        for k, cell in enumerate(cells):
            mine = options._replace(keys=options.fold(2 * k), path=paths[k])
            final, ys, carries = run(cell, params[k], ys, carry[k], mine)
            last.append(final)
            every.append(carries)
            if rate and options.keys is not None and k < count - 1:
                masks = jax.vmap(partial(_mask, rate, ys.shape[1:], ys.dtype))
                ys = ys * masks(options.fold(2 * k + 1))
        return tuple(last), ys, tuple(every) if options.return_carries else None

    if any(isinstance(cell, Layer) for cell in cells):
        return Layer(name, init, carry, sequence, stochastic, parts=cells)

    def project(params: tuple[Params, ...], x: Array) -> StackProjection:
        return StackProjection(cells[0].project(params[0], x), None)

    def recurrent(params: tuple[Params, ...], carry: tuple[Carry, ...]) -> tuple[PyTree, ...]:
        return tuple(c.recurrent(p, s) for c, p, s in zip(cells, params, carry, strict=True))

    def outputs(params: tuple[Params, ...], zx: StackProjection) -> list[Array]:
        batch = jax.tree.leaves(zx.first)[0].shape[:-1]
        state = carry(params, batch)
        return _climb(cells, params, state, zx, recurrent(params, state))[1]

    def randomize(params: tuple[Params, ...], zx: StackProjection, key: Array) -> StackProjection:
        keys = [jax.random.fold_in(key, n) for n in range(2 * count)]
        ys = jax.eval_shape(outputs, params, zx)
        masks = [_mask(rate, y.shape, y.dtype, k) for y, k in zip(ys, keys[1::2], strict=True)]
        masks = [*masks[:-1], None] if rate else [None] * count
        first = zx.first
        if cells[0].randomize is not None:
            first = cells[0].randomize(params[0], first, keys[0])
        return StackProjection(first, tuple(zip(keys[::2], masks, strict=True)))

    def update(
        params: tuple[Params, ...],
        carry: tuple[Carry, ...],
        zx: StackProjection,
        zh: tuple[PyTree, ...],
    ) -> tuple[tuple[Carry, ...], Array]:
        new, ys = _climb(cells, params, carry, zx, zh)
        return new, ys[-1]

    noise = randomize if stochastic else None
    return Cell(name, init, carry, project, recurrent, update, None, noise, sequence, parts=cells)


def _climb(
    cells: tuple[Any, ...],
    params: tuple[Params, ...],
    carry: tuple[Carry, ...],
    zx: StackProjection,
    zh: tuple[PyTree, ...],
) -> tuple[tuple[Carry, ...], list[Array]]:
    """One step through all layers: the new carries and the output of each layer."""
    new, ys, mine = [], [], zx.first
    for k, cell in enumerate(cells):
        key, mask = (None, None) if zx.noise is None else zx.noise[k]
        if k:
            mine = cell.project(params[k], ys[-1])
            if key is not None and cell.randomize is not None:
                mine = cell.randomize(params[k], mine, key)
        state, y = cell.update(params[k], carry[k], mine, zh[k])
        new.append(state)
        ys.append(y if mask is None else y * mask)
    return tuple(new), ys


def rnn(
    cell: Cell,
    num_layers: int = 1,
    *,
    bidirectional: bool = False,
    dropout: float = 0.0,
    merge: str | Callable[[Array, Array], Array] = "concat",
) -> Any:
    """A whole recurrent network of equal layers, as ``torch.nn.LSTM`` and its kin are.

    Args:
      cell: the cell of every layer.
      num_layers: how many layers.
      bidirectional: whether every layer runs both ways; layers above the first then see the
        merged outputs of both.
      dropout: the rate in [0, 1), on every layer's output but the last.
      merge: how the directions are joined, as in `jaxrnn.bidirectional`.

    Returns:
      A `Cell` (one direction) or a `Layer` (two); its params and carry are tuples, one entry
      per layer.

    Raises:
      TypeError: if `num_layers` is not an int, or the cell is not one.
      ValueError: for fewer than one layer, a rate outside [0, 1) or an unknown merge.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True, dropout=0.2)
      >>> params = net.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(net, params, jax.numpy.ones((7, 2, 3)))
      >>> len(carry), ys.shape
      (2, (7, 2, 10))
    """
    check_positive("num_layers", num_layers)
    layer = directions.bidirectional(cell, merge=merge) if bidirectional else cell
    return stack(*(layer,) * num_layers, dropout=dropout)
