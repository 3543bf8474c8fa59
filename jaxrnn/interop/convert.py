"""The conversion itself, the same for every library: check everything, cut, adapt, join."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.checks import describe
from jaxrnn.interop import structure
from jaxrnn.interop.layout import Entry, Layout, Sizes, cut, join, shape
from jaxrnn.interop.names import base, to_numpy
from jaxrnn.interop.structure import Unit
from jaxrnn.networks.directions import Directions

if TYPE_CHECKING:
    from jaxrnn.interop.format import Format

__all__ = ["Prefix", "by_layer", "check_array", "common_dtype", "dump", "load"]

Prefix = str | Directions | Sequence[str | Directions]
"""What stands before the names: one for the network, or one for each of its layers.

One for each direction of a layer is `jaxrnn.Directions` of two.
"""


def by_layer(prefix: Any) -> str | list[str | Directions]:
    """A prefix, or a list with one for each layer."""
    if isinstance(prefix, str):
        return prefix
    if not isinstance(prefix, Sequence):
        raise TypeError(f"prefix: expected a string, or one for each layer, got {prefix!r}")
    return [prefix] if isinstance(prefix, Directions) else list(prefix)


_Placed = tuple[Unit, Layout]
"""A cell with the layout of its arrays, whole names."""


def _place(
    library: Format,
    net: Cell | Layer,
    prefix: str | list[str | Directions],
    names: Iterable[str],
    options: dict[str, Any],
) -> tuple[list[list[_Placed]], list[str]]:
    """Every cell with its layout, and the prefixes that belong to the network."""
    grid, known = structure.units(net), set(names)
    _refuse(library, net, grid)
    if isinstance(prefix, str):
        starts: list[Any] = [prefix] * len(grid)
    elif len(starts := prefix) != len(grid):
        raise ValueError(
            f"prefix: expected one, or one for each of {len(grid)} layers, got {len(starts)}"
        )

    def place(unit: Unit, start: str) -> _Placed:
        layout = library.layout(unit, lambda name: start + name in known, **options)
        return unit, layout.at(start)

    placed, prefixes = [], []
    for k, (row, start) in enumerate(zip(grid, starts, strict=True)):
        apart = isinstance(start, Directions)
        if apart and len(row) == 1:
            raise ValueError(
                f"prefix: expected a string for layer {k} of one direction, got {start}"
            )
        bases = [base(one, library.separator) for one in (start if apart else [start] * len(row))]
        if not isinstance(prefix, str):
            row = [unit._replace(layer=None, layers=1, named=True) for unit in row]
        if apart:
            row = [unit._replace(direction=0, directions=1) for unit in row]
        placed.append([place(*one) for one in zip(row, bases, strict=True)])
        prefixes += bases
    return placed, prefixes


def _refuse(library: Format, net: Cell | Layer, grid: list[list[Unit]]) -> None:
    """Raise one error with every option of the network that the library lacks."""
    problems = []
    for unit in chain.from_iterable(grid):
        has, name = library.has.get(unit.kind), unit.cell.name
        if has is None:
            problems.append(f"the cell {name!r}: {library.name} has none")
            continue
        for option, (value, default) in unit.options.items():
            values = has.get(option, (default,))
            if values is not None and value not in values:
                problems.append(
                    f"the cell {name!r}: {option} is {value!r}, and in {library.name} "
                    f"{' or '.join(map(repr, values))}, which is another function"
                )
    if any(merge != "concat" for merge in structure.merges(net)) and "merge" not in library.has:
        problems.append(f"merge: in {library.name} 'concat' only")
    if problems:
        raise ValueError("net: no exact counterpart:\n  " + "\n  ".join(dict.fromkeys(problems)))


def _alike(library: Format, rows: list[list[tuple[Unit, int | None]]]) -> None:
    """Raise unless cells that share a module of the library are alike, in their sizes too."""
    if library.holds == "network" and not rows[0][0][0].named:
        rows = [[*chain.from_iterable(rows)]]
    for row in rows if library.holds != "cell" else []:
        if row[0][0].directions < len(row) and row[0][0].named:
            continue  # a prefix for each direction
        kinds = [(library.alike(unit), unit.directions, size) for unit, size in row]
        if any(kind != kinds[0] for kind in kinds):
            got = [f"{u.cell.name}{'' if size is None else f' of size {size}'}" for u, size in row]
            hint = "; or give a prefix for each layer" if library.holds == "network" else ""
            raise ValueError(
                f"net: expected the same cell in all directions and layers that share a module of "
                f"{library.name}, got {', '.join(got)}{hint}"
            )


def _sizes(
    unit: Unit, layout: Layout, arrays: Mapping[str, Any], before: int | None, beside: Sizes | None
) -> Sizes | None:
    """The sizes of a cell: its hidden size from its own arrays, its input from the layer below."""
    rows, widths = {}, []
    for one in layout.entries:
        shape = getattr(arrays.get(one.name), "shape", ())
        if len(shape) == 2:
            height, width = shape[::-1] if one.transposed else shape
            rows.setdefault("".join(dict.fromkeys(row[0][0] for row in one.rows)), height)
            widths.append(width // len(one.rows[0]))
    hidden = rows.get("Q") or (rows.get("R") if "Q" not in layout.pieces else None)
    hidden = beside.hidden if beside else hidden or next((one for one in widths if one), None)
    if not hidden:
        return None
    sizes = unit.sizes(0, hidden)
    own = rows.get("W", rows.get("WR", 0) - sizes.output)
    return sizes._replace(
        input=max(before or (beside and beside.input) or own, 0)
    )  # 0 is not known


class _Found(NamedTuple):
    """What a cell's arrays hold."""

    at: _Placed
    pieces: dict[str, np.ndarray]
    sizes: Sizes | None


def _find(
    library: Format, net: Cell | Layer, placed: list[list[_Placed]], arrays: Mapping[str, Any]
) -> tuple[list[list[_Found]], list[str]]:
    """The pieces of every cell, and all that is wrong with the arrays."""
    entries = [one for row in placed for _, layout in row for one in layout.entries]
    there = {one.optional for one in entries if one.name in arrays} | {""}
    grid: list[list[_Found]] = []
    problems, used, before = [], set(), None
    for row, merge in zip(placed, structure.merges(net), strict=True):
        beside, outputs = None, []
        grid.append([])
        for unit, layout in row:
            sizes = beside = _sizes(unit, layout, arrays, before, beside)
            pieces: dict[str, np.ndarray] = {}
            for item in (one for one in layout.entries if one.optional in there):
                used.add(item.name)
                problem, array = _check(item, arrays.get(item.name), sizes)
                if problem:
                    problems.append(problem)
                elif array is not None and sizes is not None:
                    pieces |= cut(item, array, sizes)
            grid[-1].append(_Found((unit, layout), pieces, sizes))
            outputs.append(sizes.output if sizes else None)
        known = None not in outputs
        before = (sum(outputs) if merge == "concat" else outputs[0]) if known else None
    surplus = [name for name in arrays if name not in used and not library.ignored(name)]
    return grid, problems + [f"{name}: unexpected {describe(arrays[name])}" for name in surplus]


def _check(item: Entry, leaf: Any, sizes: Sizes | None) -> tuple[str, np.ndarray | None]:
    """What is wrong with an array, or the array."""
    known = [size or "?" for size in shape(item, sizes)] if sizes else []
    kernel = item.rows[0][0][0] in "WRQ"
    expected = f"[{', '.join(map(str, known))}]" if known else "a matrix" if kernel else "an array"
    fits = hasattr(leaf, "shape") and (list(leaf.shape) == known if known else not kernel)
    return check_array(item.name, leaf, expected, fits)  # no size is known if there is no matrix


def check_array(name: str, leaf: Any, expected: str, fits: bool) -> tuple[str, np.ndarray | None]:
    """What is wrong with an array, or the array; None is a missing one."""
    if leaf is None:
        return f"{name}: expected {expected}, missing", None
    if not fits:
        return f"{name}: expected {expected}, got {describe(leaf)}", None
    array = to_numpy(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"{name}: expected floating-point numbers, got {describe(leaf)}", None
    return "", array


def common_dtype(arrays: Iterable[np.ndarray], dtype: DType | None) -> tuple[Any, list[str]]:
    """The dtype to convert to, and what is wrong with it."""
    dtypes = {str(array.dtype) for array in arrays}
    wanted = jnp.dtype(dtype or min(dtypes, default="float32"))
    if dtype is None and len(dtypes) > 1:
        return wanted, [f"dtypes: expected one, got {sorted(dtypes)}; or give dtype"]
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        return wanted, [f"dtypes: {wanted} needs jax_enable_x64, or give dtype='float32'"]
    return wanted, []


def load(
    library: Format, net: Cell | Layer, source: Any, prefix: Prefix, dtype: DType | None
) -> PyTree:
    """What `jaxrnn.interop.format.Format.load` does."""
    arrays, given = library.names(source, prefix, net)
    placed, prefixes = _place(library, net, by_layer(given), arrays, {})
    _alike(library, [[(unit, None) for unit, _ in row] for row in placed])
    arrays = {name: leaf for name, leaf in arrays.items() if name.startswith(tuple(prefixes))}
    grid, problems = _find(library, net, placed, arrays)
    cut_up = (piece for row in grid for one in row for piece in one.pieces.values())
    wanted, problem = common_dtype(cut_up, dtype)
    problems += problem
    filled: list[list[PyTree]] = []
    for row in grid if not problems else []:
        filled.append([])
        for (unit, layout), pieces, sizes in row:
            if sizes is None:  # then there was a problem
                continue
            own = unit.own(bias=unit.use_bias)
            pieces = {name: piece.astype(wanted) for name, piece in pieces.items()}
            pieces, lost = _fit(unit, pieces, layout, own, sizes)
            problems += [f"{layout.entries[0].name}: {line}" for line in lost]
            filled[-1].append(structure.write(unit, _fill(pieces, own, sizes)))
    if problems:
        entries = (one for row in placed for _, layout in row for one in layout.entries)
        lost = not any(one.name in arrays for one in entries)
        problems += library.hints(source, prefixes, elsewhere=lost)
        raise ValueError(
            f"source: the arrays do not fit {net.name!r} as {library.name} stores it:\n  "
            + "\n  ".join(problems)
        )
    return structure.gather(net, filled)


def _fit(
    unit: Unit, pieces: Mapping[str, np.ndarray], given: Layout, wanted: Layout, sizes: Sizes
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The pieces of one layout as those of another, and what would be lost by it."""
    lost: list[str] = []
    pieces = dict(pieces)
    zero = np.zeros(sizes.hidden, next(iter(pieces.values())).dtype)
    for one, other in given.tied:
        pieces |= {t + other: pieces[t + one] for t in "WRbs" if t + one in pieces}
    for sign, layout, other in ((1, given, wanted), (-1, wanted, given)):
        for name, offset in set(layout.offsets) - set(other.offsets):
            pieces[name] = pieces.get(name, zero) + np.asarray(sign * offset, zero.dtype)
    if given.update != wanted.update:  # sigma(-a) = 1 - sigma(a)
        pieces |= {t + "z": -pieces[t + "z"] for t in "WRbs" if t + "z" in pieces}
    for one, other in wanted.tied:
        for t in "WRbs":
            if t + other in pieces and pieces[t + one].tobytes() != pieces.pop(t + other).tobytes():
                lost.append(f"the gates {one} and {other} share {t}, and these differ")
    # Inside the reset product, a bias cannot join the other.
    stay = wanted.pieces | ({"sn"} if unit.option("reset") == "after" else set())
    for name in [name for name in pieces if name[0] == "s" and name not in stay]:
        piece, bias = pieces.pop(name), "b" + name[1:]
        # Where it is zero the other bias stays as it is, to the sign of its own zeros.
        pieces[bias] = np.where(piece == 0, pieces.get(bias, 0), pieces.get(bias, 0) + piece)
    unused = "f" if unit.option("forget_gate") == "coupled" else ()
    for name in pieces.keys() - wanted.pieces:
        if np.any(pieces.pop(name) != 0) and name[-1] not in unused:
            what = {"s": "bias inside the reset product", "b": "bias"}.get(name[0], "array")
            lost.append(f"a non-zero {what} of the gate {name[1:]} has no place")
    return pieces, lost


def _fill(pieces: Mapping[str, np.ndarray], layout: Layout, sizes: Sizes) -> dict[str, np.ndarray]:
    """With zeros for the pieces that are not there."""
    height = {"W": [sizes.input], "R": [sizes.output]}
    shapes = {name: (*height.get(name[0], []), sizes.hidden) for name in layout.pieces}
    dtype = next(iter(pieces.values())).dtype
    return {name: np.zeros(shape, dtype) for name, shape in shapes.items()} | dict(pieces)


def dump(
    library: Format,
    net: Cell | Layer,
    params: PyTree,
    prefix: Prefix,
    *,
    bias: bool | None,
    options: dict[str, Any],
) -> dict[str, np.ndarray]:
    """What `jaxrnn.interop.format.Format.dump` does, before the names are nested."""
    placed, _ = _place(library, net, by_layer(prefix), (), options)
    found, problems, kept = [], [], set()
    for row, leaves in zip(placed, structure.spread(net, params), strict=True):
        found.append([])
        for (unit, layout), mine in zip(row, leaves, strict=True):
            pieces, sizes = structure.read(unit, mine)
            if bias is False:
                entries = (one for one in layout.entries if one.rows[0][0][0] not in "bs")
                layout = layout._replace(entries=tuple(entries))
            own = unit.own(bias=any(name[0] == "b" for name in pieces))
            pieces, lost = _fit(unit, pieces, own, layout, sizes)
            problems += [f"{layout.entries[0].name}: {line}" for line in lost]
            whole = bias or not library.biasless
            there = [e for e in layout.entries if whole or Layout((e,)).pieces & pieces.keys()]
            kept |= {one.optional for one in there}
            found[-1].append((unit, layout, pieces, sizes))
    _alike(library, [[(unit, sizes.hidden) for unit, *_, sizes in row] for row in found])
    if problems:
        raise ValueError(
            f"params: {library.name} has no place for them:\n  " + "\n  ".join(problems)
        )
    arrays: dict[str, np.ndarray] = {}
    for _, layout, pieces, sizes in chain.from_iterable(found):
        pieces = _fill(pieces, layout, sizes)
        entries = [e for e in layout.entries if not e.optional or e.optional in kept]
        arrays |= {item.name: join(item, pieces) for item in entries}
    return arrays
