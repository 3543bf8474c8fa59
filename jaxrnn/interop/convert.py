"""The conversion itself, the same for every library: check everything, cut, adapt, join.

A library is a `Library`: which options of which cells it has, and the `Layout` of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import structure
from jaxrnn.interop.layout import Entry, Layout, Sizes, cut, join, shape
from jaxrnn.interop.names import base, flatten, to_numpy
from jaxrnn.interop.structure import Unit

__all__ = ["Library", "Prefix", "dump", "load"]

Prefix = str | Sequence[str]
"""What stands before the names: one for the network, or one for each of its layers."""


class Library(NamedTuple):
    """What the conversion must know of a library.

    Attributes:
      name: how errors call it.
      options: for each family of cells the options it has, and their values; None for any.
        Options that are not named must have their default. A library that joins directions
        otherwise than by concatenation too has ``"merge"`` among the families.
      layout: ``layout(unit, has) -> Layout``, the entries named from the prefix on;
        ``has(name)`` says whether the source has a name, and is never true in a `dump`.
      separator: what joins the parts of a name.
      ignored: whether a name is none of the conversion's business, such as a PRNG state.

    Example:
      >>> from jaxrnn.interop.torch import TORCH
      >>> TORCH.options["gru"]
      {'reset': ('after',), 'update': None}
    """

    name: str
    options: Mapping[str, Mapping[str, tuple[Any, ...] | None]]
    layout: Callable[[Unit, Callable[[str], bool]], Layout]
    separator: str = "."
    ignored: Callable[[str], bool] = lambda name: False


class _Placed(NamedTuple):
    """A cell with the layout of its arrays, whole names."""

    unit: Unit
    layout: Layout


def _place(
    library: Library, net: Cell | Layer, prefix: Prefix, names: Iterable[str]
) -> tuple[list[list[_Placed]], list[str]]:
    """Every cell with its layout, and the prefixes that belong to the network."""
    grid, known = structure.units(net), set(names)
    alone = not isinstance(prefix, str)
    prefixes = [base(one, library.separator) for one in ([prefix] if not alone else prefix)]
    if alone and len(prefixes) != len(grid):
        raise ValueError(
            f"prefix: expected one, or one for each of {len(grid)} layers, got {len(prefixes)}"
        )

    def place(unit: Unit, start: str) -> _Placed:
        unit = unit._replace(layer=None, layers=1, named=True) if alone else unit
        layout = library.layout(unit, lambda name: start + name in known)
        entries = tuple(one._replace(name=start + one.name) for one in layout.entries)
        return _Placed(unit, layout._replace(entries=entries))

    starts = prefixes if alone else prefixes * len(grid)
    placed = [[place(unit, start) for unit in row] for row, start in zip(grid, starts, strict=True)]
    return placed, prefixes


def _refuse(library: Library, net: Cell | Layer) -> None:
    """Raise one error with every option of the network that the library lacks."""
    problems = []
    for row in structure.units(net):
        for unit in row:
            kind = structure.family(unit.cell)
            has = library.options.get(kind)
            if has is None:
                problems.append(f"the cell {unit.cell.name!r}: {library.name} has none")
                continue
            for name, default in structure.DEFAULTS[kind].items():
                value, values = structure.option(unit.cell, name), has.get(name, (default,))
                if values is not None and value not in values:
                    problems.append(
                        f"the cell {unit.cell.name!r}: {name} is {value!r}, and in {library.name} "
                        f"{' or '.join(map(repr, values))}, which is another function"
                    )
    if any(merge != "concat" for merge in structure.merges(net)) and "merge" not in library.options:
        problems.append(f"merge: in {library.name} 'concat' only")
    if problems:
        raise ValueError("net: no exact counterpart:\n  " + "\n  ".join(dict.fromkeys(problems)))


def _describe(leaf: Any) -> str:
    if hasattr(leaf, "shape"):
        return f"{leaf.dtype}{list(leaf.shape)}"
    return type(leaf).__name__


def _sizes(
    placed: _Placed, arrays: Mapping[str, Any], before: int | None, beside: Sizes | None
) -> Sizes | None:
    """The sizes of a cell: its hidden size from its own arrays, its input from the layer below."""
    hidden = input_size = None
    found = {}
    for one in placed.layout.entries:
        array = arrays.get(one.name)
        if array is not None and len(getattr(array, "shape", ())) == 2:
            rows, columns = array.shape[::-1] if one.transposed else array.shape
            tensors = "".join(dict.fromkeys(row[0][0] for row in one.rows))
            found.setdefault(tensors, (rows, columns, columns // len(one.rows[0])))
    if "Q" in found:
        hidden = found["Q"][0]
    elif "R" in found and not any(one.rows == (("Q",),) for one in placed.layout.entries):
        hidden = found["R"][0]
    hidden = hidden or next((one[2] for one in found.values() if one[2]), None)
    hidden = beside.hidden if beside else hidden
    if not hidden:
        return None
    output = structure.output_size(placed.unit.cell, hidden)
    if "W" in found:
        input_size = found["W"][0]
    elif "WR" in found:
        input_size = found["WR"][0] - output
    input_size = before or (beside.input if beside else None) or input_size
    return Sizes(max(input_size or 0, 0), hidden, output)  # 0 is not known


def _absent(placed: list[list[_Placed]], arrays: Mapping[str, Any]) -> set[str]:
    """The groups of optional arrays of which there is none."""
    groups: dict[str, bool] = {}
    for one in (e for row in placed for p in row for e in p.layout.entries if e.optional):
        groups[one.optional] = groups.get(one.optional, False) or one.name in arrays
    return {name for name, there in groups.items() if not there}


def load(
    library: Library,
    net: Cell | Layer,
    source: Any,
    prefix: Prefix = "",
    *,
    dtype: DType | None = None,
) -> PyTree:
    """The parameters of a network out of a library's arrays.

    Args:
      library: the library.
      net: the network.
      source: names and arrays.
      prefix: what stands before the names.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      The parameters, as ``net.init`` gives them.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells the library lacks, and with one line for each array that is
        missing, surplus, of the wrong shape or dtype.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import convert
      >>> from jaxrnn.interop.torch import TORCH
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> arrays = convert.dump(TORCH, jaxrnn.gru, params)
      >>> bool((convert.load(TORCH, jaxrnn.gru, arrays).bias == params.bias).all())
      True
    """
    _refuse(library, net)
    arrays = flatten(source, library.separator)
    placed, prefixes = _place(library, net, prefix, arrays)
    arrays = {name: leaf for name, leaf in arrays.items() if name.startswith(tuple(prefixes))}
    absent, problems, used = _absent(placed, arrays), [], set()
    grid: list[list[tuple[Unit, Layout, dict[str, np.ndarray], Sizes | None]]] = []
    before = None
    for row, merge in zip(placed, structure.merges(net), strict=True):
        beside, outputs = None, []
        grid.append([])
        for one in row:
            sizes = beside = _sizes(one, arrays, before, beside)
            pieces: dict[str, np.ndarray] = {}
            for item in one.layout.entries:
                if item.optional in absent:
                    continue
                used.add(item.name)
                problem, array = _check(item, arrays.get(item.name), sizes)
                if problem:
                    problems.append(problem)
                elif array is not None and sizes is not None:
                    pieces |= cut(item, array, sizes)
            grid[-1].append((one.unit, one.layout, pieces, sizes))
            outputs.append(sizes.output if sizes else None)
        known = None not in outputs
        before = (sum(outputs) if merge == "concat" else outputs[0]) if known else None
    surplus = [name for name in arrays if name not in used and not library.ignored(name)]
    problems += [f"{name}: unexpected {_describe(arrays[name])}" for name in surplus]
    dtypes = {str(piece.dtype) for row in grid for cell in row for piece in cell[2].values()}
    wanted = jnp.dtype(dtype or min(dtypes, default="float32"))
    if dtype is None and len(dtypes) > 1:
        problems.append(f"dtypes: expected one, got {sorted(dtypes)}; or give dtype")
    elif jax.dtypes.canonicalize_dtype(wanted) != wanted:
        problems.append(f"dtypes: {wanted} needs jax_enable_x64, or give dtype='float32'")
    filled = []
    if not problems:
        for row in grid:
            filled.append([])
            for unit, layout, pieces, sizes in row:
                if sizes is None:  # then there was a problem
                    continue
                pieces = {name: piece.astype(wanted) for name, piece in pieces.items()}
                fitted, lost = _fit(unit.cell, pieces, layout, structure.own(unit.cell), sizes)
                problems += [f"{layout.entries[0].name}: {line}" for line in lost]
                filled[-1].append((unit.cell, fitted, sizes))
    if problems:
        raise ValueError(
            f"source: the arrays do not fit {net.name!r} as {library.name} stores it:\n  "
            + "\n  ".join(problems)
        )
    return structure.gather(net, [[structure.write(*one) for one in row] for row in filled])


def _check(item: Entry, leaf: Any, sizes: Sizes | None) -> tuple[str, np.ndarray | None]:
    """What is wrong with an array, or the array."""
    known = [size or "?" for size in shape(item, sizes)] if sizes else []
    kernel = item.rows[0][0][0] in "WRQ"
    expected = f"[{', '.join(map(str, known))}]" if known else "a matrix" if kernel else "an array"
    if leaf is None:
        return f"{item.name}: expected {expected}, missing", None
    if not hasattr(leaf, "shape"):
        return f"{item.name}: expected {expected}, got {type(leaf).__name__}", None
    if list(leaf.shape) != known if known else kernel:  # no size is known if there is no matrix
        return f"{item.name}: expected {expected}, got {_describe(leaf)}", None
    array = to_numpy(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return f"{item.name}: expected floating-point numbers, got {_describe(leaf)}", None
    return "", array


def _fit(
    cell: Cell,
    pieces: dict[str, np.ndarray],
    given: Layout,
    wanted: Layout,
    sizes: Sizes,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The pieces of one layout as those of another, and what would be lost by it."""
    lost: list[str] = []
    pieces = dict(pieces)
    for one, other in given.tied:
        pieces |= {t + other: pieces[t + one] for t in "WRbs" if t + one in pieces}
    for sign, layout, other in ((1, given, wanted), (-1, wanted, given)):
        for name, offset in set(layout.offsets) - set(other.offsets):
            pieces[name] = pieces[name] + np.asarray(sign * offset, pieces[name].dtype)
    if given.update != wanted.update:  # sigma(-a) = 1 - sigma(a)
        pieces |= {t + "z": -pieces[t + "z"] for t in "WRbs" if t + "z" in pieces}
    names = {piece for one in wanted.entries for row in one.rows for piece in row}
    for one, other in wanted.tied:
        for t in "WRbs":
            if t + other in pieces and not _same(pieces[t + one], pieces.pop(t + other)):
                lost.append(f"the gates {one} and {other} share {t}, and these differ")
    kind, apart = structure.family(cell), set()
    if kind == "gru" and structure.option(cell, "reset") == "after":
        apart = {"sn"}  # inside the reset product, it cannot join the other bias
    for name in [name for name in pieces if name[0] == "s" and name not in names | apart]:
        piece, bias = pieces.pop(name), "b" + name[1:]
        # Where it is zero the other bias stays as it is, to the sign of its own zeros.
        pieces[bias] = np.where(piece == 0, pieces.get(bias, 0), pieces.get(bias, 0) + piece)
    unused = "f" if kind == "lstm" and structure.option(cell, "forget_gate") == "coupled" else ()
    for name in pieces.keys() - names:
        if np.any(pieces.pop(name) != 0) and name[-1] not in unused:
            what = {"s": "bias inside the reset product", "b": "bias"}.get(name[0], "array")
            lost.append(f"a non-zero {what} of the gate {name[1:]} has no place")
    dtype = next(iter(pieces.values())).dtype
    for name in names - pieces.keys():
        height = {"W": [sizes.input], "R": [sizes.output]}.get(name[0], [])
        pieces[name] = np.zeros((*height, sizes.hidden), dtype)
    return pieces, lost


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.tobytes() == other.tobytes()


def dump(
    library: Library, net: Cell | Layer, params: PyTree, prefix: Prefix = ""
) -> dict[str, np.ndarray]:
    """A library's arrays out of the parameters of a network, the inverse of `load`.

    Args:
      library: the library.
      net: the network.
      params: its parameters.
      prefix: what to put before the names.

    Returns:
      Numpy arrays by whole name, in the library's order.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells the library lacks, parameters that have no place in it, or
        wrong shapes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import convert
      >>> from jaxrnn.interop.torch import TORCH
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> list(convert.dump(TORCH, jaxrnn.gru, params, "cell"))
      ['cell.weight_ih', 'cell.weight_hh', 'cell.bias_ih', 'cell.bias_hh']
    """
    _refuse(library, net)
    placed, _ = _place(library, net, prefix, ())
    arrays: dict[str, np.ndarray] = {}
    problems = []
    for row, leaves in zip(placed, structure.spread(net, params), strict=True):
        for one, mine in zip(row, leaves, strict=True):
            cell = one.unit.cell
            pieces, sizes = structure.read(cell, mine, "params")
            fitted, lost = _fit(cell, pieces, structure.own(cell), one.layout, sizes)
            problems += [f"{one.layout.entries[0].name}: {line}" for line in lost]
            if not lost:
                arrays |= {item.name: join(item, fitted) for item in one.layout.entries}
    if problems:
        raise ValueError(
            f"params: {library.name} has no place for them:\n  " + "\n  ".join(problems)
        )
    return arrays
