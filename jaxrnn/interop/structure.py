"""What a cell or network is made of: its layers, directions, what it computes, its own layout.

It goes by the records that the constructors leave in ``spec``: a cell that was changed since has
none, and is refused, whatever it is called.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.base import Cell, Layer, Params, PyTree, check_cell
from jaxrnn.cells import LSTMParams, LSTMSpec, LSTMVariantParams
from jaxrnn.cells.elman import ElmanParams, ElmanSpec
from jaxrnn.cells.gru import GRUParams, GRUSpec
from jaxrnn.cells.lstm_reference import LSTMReferenceSpec, fuse, unfuse
from jaxrnn.cells.simplified.mgu import MGUParams, MGUSpec
from jaxrnn.checks import check_params, expected_params
from jaxrnn.interop.layout import Layout, Sizes, cut, entry, join
from jaxrnn.networks.directions import BidirectionalSpec, Directions
from jaxrnn.networks.stack import StackSpec

__all__ = [
    "HaikuLSTMSpec",
    "Unit",
    "gather",
    "layers",
    "merges",
    "read",
    "spread",
    "units",
    "write",
]

Spec = ElmanSpec | GRUSpec | LSTMSpec | MGUSpec


class HaikuLSTMSpec(NamedTuple):
    """What `jaxrnn.interop.haiku.lstm` was made with: what it adds to the forget gate's bias."""

    forget_offset: float = 1.0

    def make(self) -> Cell:
        """The cell."""
        from jaxrnn.interop.haiku import lstm

        return lstm


_KINDS = {ElmanSpec: "elman", GRUSpec: "gru", LSTMSpec: "lstm", MGUSpec: "mgu"}
_LSTMS = LSTMReferenceSpec | HaikuLSTMSpec
"""The specs of cells that compute what ``make_lstm()`` does."""
_INITIAL = ("recurrent_init", "forget_bias", "use_bias")
"""The options that only ``init`` goes by."""


class Unit(NamedTuple):
    """One cell of a network, and where it stands.

    Attributes:
      cell: the cell.
      layer: its layer, from 0, or None if the network is this one cell or layer.
      layers: how many layers there are.
      nth: how many layers before it are of its kind.
      direction: 0 forward, 1 backward.
      directions: how many directions its layer has.
      named: whether a prefix names its layer alone.
    """

    cell: Cell
    layer: int | None = None
    layers: int = 1
    nth: int = 0
    direction: int = 0
    directions: int = 1
    named: bool = False

    @property
    def spec(self) -> Spec:
        """What the cell computes."""
        spec = self.cell.spec
        return spec if isinstance(spec, Spec) else LSTMSpec()

    @property
    def kind(self) -> str:
        """Which of elman, gru, lstm and mgu it is."""
        return _KINDS[type(self.spec)]

    @property
    def options(self) -> dict[str, tuple[Any, Any]]:
        """The options that change what the cell computes: value and default by name."""
        spec, defaults = self.spec, type(self.spec)._field_defaults
        names = [name for name in spec._fields if name not in _INITIAL]
        return {name: (getattr(spec, name), defaults[name]) for name in names}

    def option(self, name: str) -> Any:
        """The value of an option, None for a kind of cell that has no such option."""
        return getattr(self.spec, name, None)

    @property
    def use_bias(self) -> bool:
        """Whether its ``init`` gives biases."""
        return getattr(self.cell.spec, "use_bias", True)

    def own(self, *, bias: bool = True) -> Layout:
        """The layout of its own parameters, the names those of the fields."""
        spec = self.spec
        gates = "".join(spec.blocks) if isinstance(spec, LSTMSpec) else _GATES[self.kind]
        entries = [entry("input_kernel", "W", gates), entry("recurrent_kernel", "R", gates)]
        entries += [entry("bias", "b", gates)] * bias
        entries += [entry("recurrent_bias", "s", "n")] * (bias and self.option("reset") == "after")
        if isinstance(spec, LSTMSpec) and spec.peepholes:
            entries.append(entry("peephole_kernel", "p", "".join(spec.gates)))
        entries += [entry("projection_kernel", "Q", "")] * bool(self.option("proj_size"))
        offset = getattr(self.cell.spec, "forget_offset", 0.0)
        offsets = (("bf", offset),) if offset else ()
        return Layout(tuple(entries), self.option("update") or "keep", offsets)

    def sizes(self, input_size: int, hidden_size: int) -> Sizes:
        """Its sizes; the output's is that of a projection if there is one."""
        if not self.option("proj_size"):
            return Sizes(input_size, hidden_size, hidden_size)
        expected = expected_params(self.cell, 1, hidden_size, np.dtype("float32"))
        return Sizes(input_size, hidden_size, expected.recurrent_kernel.shape[0])


_GATES = {"elman": "h", "gru": "rzn", "mgu": "fn"}


def layers(net: Cell | Layer) -> tuple[Cell | Layer, ...]:
    """The layers of a stack, or the cell or layer itself."""
    return net.spec.cells if isinstance(net.spec, StackSpec) else (net,)


def units(net: Cell | Layer) -> list[list[Unit]]:
    """The cells of a network: for each layer, those of its directions.

    Raises:
      TypeError: unless it is a cell of make_elman, make_lstm, make_gru or make_mgu, or what
        `jaxrnn.rnn`, `jaxrnn.stack` or `jaxrnn.bidirectional` make of such.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.interop.structure import units
      >>> len(units(jaxrnn.rnn(jaxrnn.lstm, 3, bidirectional=True))[2])
      2
    """
    check_cell("net", net)
    rows = layers(net)
    count: Counter[str] = Counter()
    grid = []
    for k, layer in enumerate(rows):
        spec = layer.spec
        both = isinstance(spec, BidirectionalSpec)
        cells: Any = (spec.cell, spec.backward) if both else (layer,)
        for cell in cells:
            if isinstance(cell, Layer):
                name = repr(cell.name)
                raise TypeError(f"net: expected a cell or both directions of one, got {name}")
            if not isinstance(cell.spec, Spec | _LSTMS):
                raise TypeError(
                    "net: expected a cell of make_elman, make_lstm, make_gru or make_mgu, got "
                    f"{cell.name!r}, which was changed or is not one of these"
                )
        number = k if isinstance(net.spec, StackSpec) else None
        row = [Unit(c, number, len(rows), 0, d, len(cells)) for d, c in enumerate(cells)]
        grid.append([unit._replace(nth=count[row[0].kind]) for unit in row])
        count[row[0].kind] += 1
    return grid


def merges(net: Cell | Layer) -> list[Any]:
    """How each layer of a network joins its directions."""
    return [getattr(layer.spec, "merge", "concat") for layer in layers(net)]


def gather(net: Cell | Layer, grid: list[list[Params]]) -> PyTree:
    """The parameters of a network out of those of its cells, ordered as in `units`."""
    rows = [row[0] if len(row) == 1 else Directions(*row) for row in grid]
    return tuple(rows) if isinstance(net.spec, StackSpec) else rows[0]


def spread(net: Cell | Layer, params: PyTree, name: str = "params") -> list[list[Params]]:
    """The parameters of every cell of a network, the inverse of `gather`; or its carries.

    Raises:
      TypeError: if their structure is not the network's.
    """
    grid = units(net)
    rows = params if isinstance(net.spec, StackSpec) else [params]
    if not isinstance(rows, tuple | list) or len(rows) != len(grid):
        raise TypeError(f"{name}: expected a tuple of {len(grid)} for {net.name!r}")
    for k, (row, mine) in enumerate(zip(grid, rows, strict=True)):
        if len(row) == 2 and not isinstance(mine, Directions):
            raise TypeError(f"{name}: expected Directions in layer {k}, got {type(mine).__name__}")
    return [list(mine) if len(row) == 2 else [mine] for row, mine in zip(grid, rows, strict=True)]


def read(unit: Unit, params: Params) -> tuple[dict[str, np.ndarray], Sizes]:
    """The pieces of a cell's parameters, and its sizes; without biases there are no b and s.

    Raises:
      TypeError: for parameters of another cell.
      ValueError: for a wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop.structure import Unit, read
      >>> pieces, sizes = read(Unit(jaxrnn.elman), jaxrnn.elman.init(jax.random.key(0), 3, 5))
      >>> sorted(pieces), sizes.input
      (['Rh', 'Wh', 'bh'], 3)
    """
    apart = isinstance(unit.cell.spec, LSTMReferenceSpec)
    first: Any = getattr(params, "i", None) if apart else params  # a gate stands for all four
    kernel = getattr(first, "input_kernel", None)
    like = jax.ShapeDtypeStruct((1, 1), np.dtype("float32"))
    if kernel is not None and np.ndim(kernel) == 2:
        like = jax.ShapeDtypeStruct((1, kernel.shape[0]), kernel.dtype)
    check_params(unit.cell, params, like, inputs="input_kernel")
    params = fuse(params) if apart else params
    entries = unit.own(bias=params.bias is not None).entries
    hidden = params.input_kernel.shape[1] // len(entries[0].rows[0])
    sizes, pieces = unit.sizes(like.shape[1], hidden), {}
    for one in entries:
        pieces |= cut(one, np.asarray(getattr(params, one.name)), sizes)
    return pieces, sizes


def write(unit: Unit, pieces: Mapping[str, np.ndarray]) -> Params:
    """A cell's parameters out of their pieces, the inverse of `read`."""
    spec = unit.spec
    records = {"elman": ElmanParams, "gru": GRUParams, "lstm": LSTMVariantParams, "mgu": MGUParams}
    record: Any = records[unit.kind]
    if isinstance(spec, LSTMSpec) and spec.plain:
        record = LSTMParams
    entries = unit.own(bias=any(name[0] == "b" for name in pieces)).entries
    params = record(**{one.name: jax.numpy.asarray(join(one, pieces)) for one in entries})
    return unfuse(params) if isinstance(unit.cell.spec, LSTMReferenceSpec) else params
