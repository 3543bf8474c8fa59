"""Networks out of cells: `stack`, and the whole `rnn`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import (
    Array,
    Carry,
    Cell,
    DType,
    Layer,
    Params,
    PyTree,
    check_cell,
    documented,
    split,
)
from jaxrnn.checks import check_bool, check_parts, check_positive
from jaxrnn.networks.around import dilated
from jaxrnn.networks.directions import Merge, bidirectional
from jaxrnn.options import Options
from jaxrnn.unroll import run

__all__ = ["SkipStackSpec", "StackSpec", "rnn", "stack"]

Rates = float | Sequence[float]
Around = Callable[[Any], Any]


class StackSpec(NamedTuple):
    """What `stack` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.stack(jaxrnn.gru, jaxrnn.gru, dropout=0.5).spec.dropout
      (0.5, 0.0)
    """

    cells: tuple[Cell | Layer, ...]
    dropout: tuple[float, ...] = ()

    def make(self) -> Layer:
        """The network."""
        return stack(*self.cells, dropout=self.dropout)


class SkipStackSpec(NamedTuple):
    """What `stack` was given, with skip connections.

    Example:
      >>> import jaxrnn
      >>> len(jaxrnn.stack(jaxrnn.gru, jaxrnn.gru, skip=True).spec.cells)
      2
    """

    cells: tuple[Cell | Layer, ...]
    dropout: tuple[float, ...] = ()
    skip: bool = True

    def make(self) -> Layer:
        """The network."""
        return stack(*self.cells, dropout=self.dropout, skip=True)


def _join(*parts: PyTree) -> Array:
    """Features side by side."""
    leaves = jax.tree.leaves(parts)
    if len(leaves) != len(parts):
        raise ValueError(
            f"skip: expected one array from each layer, and as the input, got {len(leaves)} for "
            f"{len(parts)}"
        )
    return jnp.concatenate(leaves, axis=-1)


def _rates(dropout: Rates, count: int) -> tuple[float, ...]:
    """A rate for the output of every layer, or an error that says what is wrong with them."""
    one = not isinstance(dropout, tuple | list)
    rates: tuple[Any, ...] = (dropout,) if one else tuple(dropout)
    for rate in rates:
        if isinstance(rate, bool) or not isinstance(rate, Real) or not 0 <= float(rate) < 1:
            raise ValueError(f"dropout: expected a rate in [0, 1), got {rate!r}")
    if one and dropout and count == 1:
        raise ValueError(
            f"dropout: expected 0 for a single layer, got {dropout!r}: one rate is of every "
            f"layer's output but the last; dropout=({dropout!r},) drops that of the last too"
        )
    if one:
        rates *= count - 1
    if len(rates) not in (count - 1, count):
        raise ValueError(
            f"dropout: expected one rate, or {count - 1} or {count} of them, got {len(rates)}"
        )
    return tuple(map(float, rates + (0.0,) * (count - len(rates))))


def _drop(rate: float, y: PyTree, key: Array) -> PyTree:
    """Inverted dropout: 0 with probability ``rate``, else divided by 1 - rate."""

    def one(leaf: Array, number: int) -> Array:
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            return leaf
        kept = jax.random.bernoulli(jax.random.fold_in(key, number), 1 - rate, leaf.shape)
        return leaf * (kept.astype(leaf.dtype) / (1 - rate))

    leaves, structure = jax.tree.flatten(y)
    return structure.unflatten([one(leaf, k) for k, leaf in enumerate(leaves)])


def _output_size(cell: Cell | Layer, params: Params, shape: tuple[int, ...], dtype: DType) -> Any:
    """The shape of one output for one input without batch axes."""
    xs = jax.ShapeDtypeStruct((1, *shape), dtype)
    ys = jax.eval_shape(lambda p, xs: run(cell, p, xs, None, Options())[1], params, xs)
    return jax.tree.leaves(ys)[0].shape[1:]


@documented
def stack(
    *cells: Any, dropout: Rates = 0.0, skip: bool = False
) -> Layer[tuple[Any, ...], tuple[Any, ...]]:
    r"""Cells on top of each other: the output of each is the input of the next.

    .. math:: h^{(k)}_t = \mathrm{cell}_k(m^{(k-1)}_t \odot h^{(k-1)}_t,\; h^{(k)}_{t-1})

    with dropout masks m, drawn anew at every time step from (key, layer, absolute time), and 1
    without a key. A stack of cells steps like a cell, with a tuple of carries, and
    `jaxrnn.scan` runs it layer by layer at full speed.

    Args:
      *cells: cells, or layers such as `bidirectional` gives; with one that cannot step the
        result cannot either.
      dropout: the rate in [0, 1) on every layer's output but the last, or a rate for each
        layer's, with or without the last.
      skip: whether every layer above the first sees the input too, beside the output of the layer
        below, and the output is that of all layers side by side.

    Returns:
      A `Layer` whose params and carry are tuples, one entry per layer. Its ``init`` takes a
      `hidden_size` for all layers or a tuple of one per layer, and hands further options to
      the ``init`` of each.

    Raises:
      TypeError: for something that is neither a cell nor a layer.
      ValueError: for no cells, a rate outside [0, 1), a wrong number of rates, or one rate
        for a single layer, which would drop nothing.

    Source: Zaremba, Sutskever and Vinyals (2014), Recurrent neural network regularization,
    arXiv:1409.2329, for the place of the dropout; Graves (2013), Generating sequences with
    recurrent neural networks, arXiv:1308.0850, for the skip connections.

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
    count = len(cells)
    rates = _rates(dropout, count)
    check_bool("skip", skip)
    said = (f", dropout={rates}" if any(rates) else "") + (", skip=True" if skip else "")
    name = f"stack({', '.join(cell.name for cell in cells)}{said})"

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
        params, seen = [], input_size
        for cell, k, size in zip(cells, split(key, count), sizes, strict=True):
            params.append(cell.init(k, seen, size, dtype=dtype, **options))
            if len(params) < count:
                shape = (*(1,) * (cell.axes - 1), seen)
                seen = _output_size(cell, params[-1], shape, dtype)[-1]
                seen += input_size if skip else 0
        return tuple(params)

    def carry(params: tuple[Params, ...], batch_shape: tuple[int, ...] = ()) -> tuple[Carry, ...]:
        check_parts(name, cells, params)
        return tuple(cell.carry(p, batch_shape) for cell, p in zip(cells, params, strict=True))

    def sequence(
        params: tuple[Params, ...], xs: PyTree, carry: tuple[Carry, ...], options: Options
    ) -> tuple[Carry, PyTree, PyTree]:
        paths = check_parts(name, cells, params, argument=options.path)
        last, kept, ys, every = [], [], xs, []
        for k, cell in enumerate(cells):
            ys = _join(ys, xs) if skip and k else ys
            called = "its input" if k else options.inputs
            mine = options.part(k, paths[k])._replace(key=options.fold(2 * k), inputs=called)
            final, ys, each = run(cell, params[k], ys, carry[k], mine)
            last.append(final)
            kept.append(each)
            if rates[k] and options.key is not None:
                keys = options.keys(2 * k + 1, jax.tree.leaves(ys)[0].shape[0])
                ys = jax.vmap(partial(_drop, rates[k]))(ys, keys)
            every.append(ys)
        return tuple(last), _join(*every) if skip else ys, tuple(kept)

    def advance(
        params: tuple[Params, ...],
        carry: tuple[Carry, ...],
        x: PyTree,
        key: Array | None = None,
        time: int | Array = 0,
    ) -> tuple[tuple[Carry, ...], PyTree]:
        new, y, every = [], x, []
        for k, cell in enumerate(cells):
            y = _join(y, x) if skip and k else y
            mine = None if key is None else jax.random.fold_in(key, 2 * k)
            state, y = cell.advance(params[k], carry[k], y, mine, time)
            if rates[k] and key is not None:
                again = jax.random.fold_in(jax.random.fold_in(key, 2 * k + 1), time)
                y = _drop(rates[k], y, again)
            new.append(state)
            every.append(y)
        return tuple(new), _join(*every) if skip else y

    return Layer(
        name,
        init,
        carry,
        sequence,
        None if any(cell.advance is None for cell in cells) else advance,
        any(rates) or any(cell.stochastic for cell in cells),
        cells,
        cells[0].axes,
        SkipStackSpec(cells, rates) if skip else StackSpec(cells, rates),
    )


def rnn(
    cell: Cell | Layer,
    num_layers: int = 1,
    *,
    bidirectional: bool = False,
    dropout: Rates = 0.0,
    merge: Merge = "concat",
    skip: bool = False,
    dilation: int | Sequence[int] = 1,
    around: Around | Sequence[Around] | None = None,
) -> Layer[tuple[Any, ...], tuple[Any, ...]]:
    """A whole recurrent network of equal layers, as ``torch.nn.LSTM`` and its kin are.

    Args:
      cell: the cell of every layer.
      num_layers: how many layers.
      bidirectional: whether every layer runs both ways; layers above the first then see the
        merged outputs of both.
      dropout: as in `jaxrnn.stack`.
      merge: how the directions are joined, as in `jaxrnn.bidirectional`.
      skip: as in `jaxrnn.stack`.
      dilation: how many steps back the state is that a layer sees (`jaxrnn.networks.dilated`), for
        all layers or each.
      around: what to put around the cell, from a cell to a cell, such as
        ``lambda cell: jaxrnn.networks.zoneout(cell, 0.1)``, for all layers or each.

    Returns:
      A `Layer`; its params and carry are tuples, one entry per layer. It steps if it has one
      direction.

    Raises:
      TypeError: if `num_layers` is not an int, or the cell is not one.
      ValueError: for fewer than one layer, a wrong rate, an unknown merge, or another number of
        dilations or wrappers than layers.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True, dropout=0.2)
      >>> params = net.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(net, params, jax.numpy.ones((7, 2, 3)))
      >>> len(carry), ys.shape
      (2, (7, 2, 10))
    """
    check_positive("num_layers", num_layers)
    steps = _each("dilation", dilation, num_layers)
    layers = []
    for number, wrap in zip(steps, _each("around", around, num_layers), strict=True):
        layer = cell if wrap is None else wrap(cell)
        layer = layer if number == 1 else dilated(layer, number)  # type: ignore[arg-type]
        layers.append(_both(layer, merge) if bidirectional else layer)
    return stack(*layers, dropout=dropout, skip=skip)


def _each(argument: str, value: Any, count: int) -> tuple[Any, ...]:
    """One for every layer."""
    if not isinstance(value, tuple | list):
        return (value,) * count
    if len(value) != count:
        raise ValueError(f"{argument}: expected one, or {count}, one a layer, got {len(value)}")
    return tuple(value)


def _both(cell: Cell | Layer, merge: Merge) -> Layer:
    return bidirectional(cell, merge=merge)
