"""What a cell or network is made of: its layers, directions, options and own layout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.base import Cell, Layer, Params, PyTree
from jaxrnn.cells.blocks import ACTIVATIONS
from jaxrnn.checks import check_matches, expected_params
from jaxrnn.interop.layout import Layout, Sizes, cut, entry, join
from jaxrnn.networks.directions import Directions

__all__ = [
    "DEFAULTS",
    "Unit",
    "family",
    "gather",
    "merges",
    "option",
    "output_size",
    "own",
    "read",
    "spread",
    "units",
    "write",
]

FAMILIES = {
    "elman": "elman",
    "gru": "gru",
    "gru_reset_before": "gru",
    "lstm": "lstm",
    "lstm_haiku": "lstm",
    "lstm_reference": "lstm",
}

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "elman": {"activation": "tanh"},
    "gru": {
        "reset": "after",
        "update": "keep",
        "gate_activation": "sigmoid",
        "candidate_activation": "tanh",
    },
    "lstm": {
        "gate_activation": "sigmoid",
        "peepholes": None,
        "input_gate": True,
        "forget_gate": True,
        "output_gate": True,
        "candidate_activation": "tanh",
        "output_activation": "tanh",
        "gate_recurrence": False,
        "cell_clip": None,
        "proj_size": None,
        "projection_clip": None,
    },
}
"""The options that change a family's function, with their defaults.

The core's cells do not have all of them: those of `jaxrnn.interop.onnx` do.
"""


class Unit(NamedTuple):
    """One cell of a network, and where it stands.

    Attributes:
      cell: the cell.
      layer: its layer, from 0, or None if the network is this one cell or layer.
      layers: how many layers there are.
      nth: how many layers before it are of its family.
      direction: 0 forward, 1 backward.
      directions: how many directions its layer has.
      named: whether a prefix names its layer alone.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import units
      >>> [[unit.layer for unit in layer] for layer in units(jaxrnn.rnn(jaxrnn.gru, 2))]
      [[0], [1]]
    """

    cell: Cell
    layer: int | None = None
    layers: int = 1
    nth: int = 0
    direction: int = 0
    directions: int = 1
    named: bool = False


def units(net: Cell | Layer) -> list[list[Unit]]:
    """The cells of a network: for each layer, those of its directions.

    Args:
      net: a cell, or what `jaxrnn.rnn`, `jaxrnn.stack` or `jaxrnn.bidirectional` make of
        cells.

    Raises:
      TypeError: for anything else, such as a stack of stacks.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import units
      >>> len(units(jaxrnn.rnn(jaxrnn.lstm, 3, bidirectional=True))[2])
      2
    """
    if not isinstance(net, Cell | Layer):
        raise TypeError(f"net: expected a Cell or a Layer, got {type(net).__name__}")

    def directions(layer: Cell | Layer, k: int | None, layers: int = 1) -> list[Unit]:
        if isinstance(layer.parts, Directions):
            for cell in layer.parts:
                if not isinstance(cell, Cell) or cell.parts:
                    raise TypeError(f"net: expected cells in {layer.name!r}, got {cell.name!r}")
            return [
                Unit(cell, k, layers, direction=d, directions=2)
                for d, cell in enumerate(layer.parts)
            ]
        if layer.parts or not isinstance(layer, Cell):
            raise TypeError(f"net: expected a cell or both directions of one, got {layer.name!r}")
        return [Unit(layer, k, layers)]

    if isinstance(net.parts, Directions) or not net.parts:
        return [directions(net, None)]
    count: Counter[str] = Counter()
    grid = []
    for k, layer in enumerate(net.parts):
        row = directions(layer, k, len(net.parts))
        kind = family(row[0].cell)
        grid.append([unit._replace(nth=count[kind]) for unit in row])
        count[kind] += 1
    return grid


def merges(net: Cell | Layer) -> list[Any]:
    """How each layer of a network joins its directions.

    Args:
      net: as for `units`.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import merges
      >>> merges(jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True, merge="sum"))
      ['sum', 'sum']
    """
    plain = isinstance(net.parts, Directions) or not net.parts
    return [dict(layer.options).get("merge", "concat") for layer in ([net] if plain else net.parts)]


def gather(net: Cell | Layer, grid: list[list[Params]]) -> PyTree:
    """The parameters of a network out of those of its cells, ordered as in `units`.

    Args:
      net: the network.
      grid: the parameters of every cell.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import gather
      >>> gather(jaxrnn.rnn(jaxrnn.gru, 2), [["first"], ["second"]])
      ('first', 'second')
    """
    layers = [row[0] if len(row) == 1 else Directions(*row) for row in grid]
    plain = isinstance(net.parts, Directions) or not net.parts
    return layers[0] if plain else tuple(layers)


def spread(net: Cell | Layer, params: PyTree) -> list[list[Params]]:
    """The parameters of every cell of a network, the inverse of `gather`.

    Args:
      net: the network.
      params: its parameters.

    Raises:
      TypeError: if their structure is not the network's.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import spread
      >>> spread(jaxrnn.rnn(jaxrnn.gru, 2), ("first", "second"))
      [['first'], ['second']]
    """
    grid = units(net)
    plain = isinstance(net.parts, Directions) or not net.parts
    layers = [params] if plain else params
    if not isinstance(layers, tuple | list) or len(layers) != len(grid):
        raise TypeError(f"params: expected a tuple of {len(grid)} for {net.name!r}")
    for k, (row, layer) in enumerate(zip(grid, layers, strict=True)):
        if len(row) == 2 and not isinstance(layer, Directions):
            raise TypeError(f"params: expected Directions in layer {k}, got {type(layer).__name__}")
    return [
        list(layer) if len(row) == 2 else [layer] for row, layer in zip(grid, layers, strict=True)
    ]


def family(cell: Cell) -> str:
    """Which of elman, gru and lstm a cell is.

    Args:
      cell: the cell.

    Raises:
      TypeError: for a cell of another kind.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import family
      >>> family(jaxrnn.gru_reset_before)
      'gru'
    """
    kind = FAMILIES.get(cell.name if not cell.name.startswith("lstm(") else "lstm")
    if kind is None:
        raise TypeError(
            f"net: expected cells of make_elman, make_lstm or make_gru, got {cell.name!r}, "
            "which no other library has"
        )
    return kind


def option(cell: Cell, name: str) -> Any:
    """The value of an option that changes a cell's function; an activation by its name.

    Args:
      cell: the cell.
      name: the option.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import option
      >>> option(jaxrnn.gru_reset_before, "reset")
      'before'
    """
    value = dict(cell.options).get(name, DEFAULTS[family(cell)][name])
    return {phi: known for known, phi in ACTIVATIONS.items()}.get(value, value)


def own(cell: Cell) -> Layout:
    """The layout of a cell's own parameters, the names those of its fields.

    Args:
      cell: the cell.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import own
      >>> own(jaxrnn.gru).entries[3].rows
      (('sn',),)
    """
    kind = family(cell)
    if cell.name == "lstm_reference":
        fields = {"input_kernel": "W", "recurrent_kernel": "R", "bias": "b"}
        return Layout(
            tuple(entry(f"{g}.{name}", t, g) for g in "ifgo" for name, t in fields.items())
        )
    gates = {"elman": "h", "gru": "rzn", "lstm": "ifgo"}[kind]
    if kind == "lstm":
        lacks = [
            g
            for g, gate in zip("ifo", ("input", "forget", "output"), strict=True)
            if option(cell, f"{gate}_gate") is not True
        ]
        gates = "".join(g for g in gates if g not in lacks)
    entries = [
        entry("input_kernel", "W", gates),
        entry("recurrent_kernel", "R", gates),
        entry("bias", "b", gates),
    ]
    if kind == "gru":
        if option(cell, "reset") == "after":
            entries.append(entry("recurrent_bias", "s", "n"))
        return Layout(tuple(entries), update=option(cell, "update"))
    if kind == "lstm":
        if option(cell, "peepholes") == "diagonal":
            entries.append(entry("peephole_kernel", "p", gates.replace("g", "")))
        if option(cell, "proj_size"):
            entries.append(entry("projection_kernel", "Q", ""))
    return Layout(tuple(entries), offsets=(("bf", 1.0),) if cell.name == "lstm_haiku" else ())


def output_size(cell: Cell, hidden_size: int) -> int:
    """The size of a cell's output.

    Args:
      cell: the cell.
      hidden_size: H.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import output_size
      >>> output_size(jaxrnn.make_lstm(proj_size=2), 5)
      2
    """
    expected = expected_params(cell, 1, hidden_size, np.dtype("float32"))
    leaf = expected.i if cell.name == "lstm_reference" else expected
    return leaf.recurrent_kernel.shape[0]


def _names(tree: PyTree) -> tuple[list[str], list[Any], Any]:
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in leaves]
    return names, [leaf for _, leaf in leaves], structure


def read(cell: Cell, params: Params, where: str) -> tuple[dict[str, np.ndarray], Sizes]:
    """The pieces of a cell's parameters, and its sizes.

    Args:
      cell: the cell.
      params: its parameters.
      where: what errors call them.

    Raises:
      TypeError: for parameters of another structure.
      ValueError: for a wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop.structure import read
      >>> pieces, sizes = read(jaxrnn.elman, jaxrnn.elman.init(jax.random.key(0), 3, 5), "params")
      >>> sorted(pieces), sizes.input
      (['Rh', 'Wh', 'bh'], 3)
    """
    names, leaves, _ = _names(params)
    leaf = dict(zip(names, leaves, strict=True))
    first = leaf.get("input_kernel", leaf.get("i.input_kernel"))
    if first is None or np.ndim(first) != 2 or cell.hidden_size is None:
        raise TypeError(
            f"{where}: expected parameters of {cell.name!r}, got {type(params).__name__}"
        )
    hidden = cell.hidden_size(params)
    sizes = Sizes(first.shape[0], hidden, output_size(cell, hidden))
    expected = expected_params(cell, sizes.input, hidden, np.dtype(first.dtype))
    check_matches(where, params, expected, f"the cell {cell.name!r} with H = {hidden}")
    pieces = {}
    for one in own(cell).entries:
        pieces |= cut(one, np.asarray(leaf[one.name]), sizes)
    return pieces, sizes


def write(cell: Cell, pieces: Mapping[str, np.ndarray], sizes: Sizes) -> Params:
    """A cell's parameters out of their pieces, the inverse of `read`.

    Args:
      cell: the cell.
      pieces: arrays by piece.
      sizes: its sizes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop.structure import read, write
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> write(jaxrnn.lstm, *read(jaxrnn.lstm, params, "params")).bias.shape
      (20,)
    """
    arrays = {one.name: join(one, pieces) for one in own(cell).entries}
    dtype = next(iter(arrays.values())).dtype
    names, _, structure = _names(expected_params(cell, sizes.input, sizes.hidden, dtype))
    return jax.tree.unflatten(structure, [jax.numpy.asarray(arrays[name]) for name in names])
