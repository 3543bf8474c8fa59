"""Carries to and from other libraries: one mechanism for both ways that they are kept.

A library keeps them stacked, (layers · dirs, ...) in the order of its cells, if one of its modules
holds a network, and otherwise nested as its modules are; an LSTM's parts in the library's order.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Cell, Layer, PyTree
from jaxrnn.cells import LSTMCarry
from jaxrnn.interop import structure
from jaxrnn.interop.names import to_numpy
from jaxrnn.interop.structure import Unit
from jaxrnn.networks.stack import StackSpec

if TYPE_CHECKING:
    from jaxrnn.interop.format import Format

__all__ = ["dump_carry", "load_carry"]


def load_carry(library: Format, net: Cell | Layer, source: Any) -> PyTree:
    """What `jaxrnn.interop.format.Format.load_carry` does."""
    grid = structure.units(net)
    units = [unit for row in grid for unit in row]
    if any(_is_carry(leaf) for leaf in jax.tree.leaves(source, is_leaf=_is_carry)):
        raise TypeError(f"source: expected a state of {library.name}, got a carry of jaxrnn")
    if library.holds == "network" and isinstance(net, Layer):
        if len({unit.kind for unit in units}) > 1:
            raise ValueError("net: expected the same kind of cell in all layers and directions")
        parts = _parts(units[0], source, "source")
        for name, part in zip(library.state, parts, strict=False):
            if part.shape[:1] != (len(units),):
                raise ValueError(
                    f"source: expected {name} of shape ({len(units)}, ...) for {len(grid)} layers "
                    f"of {len(grid[0])} directions, got {part.shape}"
                )
        leaves = iter(list(zip(*parts, strict=True)))
    else:
        leaves = iter(list(_leaves(net, grid, source)))
    return structure.gather(net, [[_carry(library, u, next(leaves)) for u in row] for row in grid])


def _is_carry(node: Any) -> bool:
    return isinstance(node, LSTMCarry)


def _leaves(net: Cell | Layer, grid: list[list[Unit]], source: Any) -> Iterator[Any]:
    """The states of the cells of nested modules."""
    rows = source if isinstance(net.spec, StackSpec) else (source,)
    if not isinstance(rows, tuple | list) or len(rows) != len(grid):
        raise ValueError(f"source: expected a state for each of {len(grid)} layers")
    for k, (row, mine) in enumerate(zip(grid, rows, strict=True)):
        pair = mine if len(row) == 2 else (mine,)
        if not isinstance(pair, tuple | list) or len(pair) != len(row):
            raise ValueError(f"source: expected a state for each of two directions in layer {k}")
        yield from (
            _parts(unit, one, f"source, layer {k}") for unit, one in zip(row, pair, strict=True)
        )


def _parts(unit: Unit, leaf: Any, name: str) -> tuple[Any, ...]:
    """The arrays of a state."""
    lstm, several = unit.kind == "lstm", isinstance(leaf, tuple | list)
    if lstm != several or (several and len(leaf) != 2):
        expected = "a pair of arrays" if lstm else "an array"
        got = type(leaf).__name__ + (f" of {len(leaf)}" if several else "")
        raise ValueError(f"{name}: expected {expected} for {unit.cell.name!r}, got {got}")
    leaves = leaf if lstm else (leaf,)
    return tuple(one if isinstance(one, jax.Array) else to_numpy(one) for one in leaves)


def _carry(library: Format, unit: Unit, parts: tuple[Any, ...]) -> Any:
    if unit.kind != "lstm":
        return jnp.asarray(parts[0])
    h, c = (jnp.asarray(parts[library.state.index(name)]) for name in "hc")
    same = h.shape == c.shape or (unit.option("proj_size") and h.shape[:-1] == c.shape[:-1])
    if not same:
        raise ValueError(f"source: expected h and c of one shape, got {h.shape} and {c.shape}")
    half = c.dtype in (jnp.bfloat16, jnp.float16)
    return LSTMCarry(h, c.astype(jnp.float32) if half else c)  # as cell.carry gives them


def dump_carry(library: Format, net: Cell | Layer, carry: PyTree) -> Any:
    """What `jaxrnn.interop.format.Format.dump_carry` does."""
    grid, states = structure.units(net), []
    for row, carries in zip(grid, structure.spread(net, carry, "carry"), strict=True):
        states.append([])
        for unit, one in zip(row, carries, strict=True):
            if (unit.kind == "lstm") != isinstance(one, tuple | list):
                expected = "LSTMCarry" if unit.kind == "lstm" else "an array"
                raise TypeError(
                    f"carry: expected {expected} of {unit.cell.name!r}, got {type(one)}"
                )
            if unit.kind != "lstm":
                states[-1].append(np.asarray(one))
                continue
            one = LSTMCarry(*one)
            dtype = jnp.asarray(one.h).dtype  # elsewhere both are of one
            parts = (np.asarray(getattr(one, name), dtype) for name in library.state)
            states[-1].append(tuple(parts))
    if library.holds == "network" and isinstance(net, Layer):
        flat = [*chain.from_iterable(states)]
        shapes = {str(jax.tree.map(np.shape, one)) for one in flat}
        if len(shapes) > 1:
            raise ValueError(
                f"carry: expected equal states, which {library.name} stacks, got {sorted(shapes)}"
            )
        return jax.tree.map(lambda *each: np.stack(each), *flat)
    rows = tuple(row[0] if len(row) == 1 else tuple(row) for row in states)
    return rows if isinstance(net.spec, StackSpec) else rows[0]
