"""Layouts as tables: which gate's block stands where in which array.

Every array of every library is a table of *pieces*, one per tensor and gate, put together
along its axes. A piece is named by its tensor's letter and its gate's: ``"Wi"``, ``"Rf"``.

======  ==========  =================================================================
letter  shape       tensor
======  ==========  =================================================================
``W``   ``(D, H)``  input kernel
``R``   ``(P, H)``  recurrent kernel, P the output size: H without a projection
``b``   ``(H,)``    bias
``s``   ``(H,)``    second bias, on the recurrent side
``p``   ``(H,)``    diagonal peephole
``Q``   ``(H, P)``  projection, without a gate
======  ==========  =================================================================

The gates are h of an Elman cell, i, f, g, o of an LSTM, r, z, n of a GRU and f, n of a minimal
gated unit. A layout is a tuple of `Entry`, and to convert is to cut arrays by one layout and to
join them by another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

__all__ = ["Entry", "Layout", "Sizes", "cut", "entry", "join", "shape"]


class Sizes(NamedTuple):
    """The sizes of one cell.

    Attributes:
      input: D.
      hidden: H.
      output: P, equal to H without a projection.
    """

    input: int
    hidden: int
    output: int


class Entry(NamedTuple):
    """One array of a library, as a table of pieces.

    Attributes:
      name: the array's whole name.
      rows: rows of pieces; kernels are stacked along the input axis, biases along a new one.
      transposed: whether the kernel is stored (out, in).
      optional: the name of the group of arrays that may be absent together; "" for an array
        that must be there.
    """

    name: str
    rows: tuple[tuple[str, ...], ...]
    transposed: bool = False
    optional: str = ""


class Layout(NamedTuple):
    """How one cell of a library is stored.

    Attributes:
      entries: its arrays.
      update: what z = 1 does in a GRU, ``"keep"`` or ``"write"``.
      offsets: what the library adds at run time to a piece, by its name.
      tied: pairs of gates that share their parameters: the first stands for the second.
    """

    entries: tuple[Entry, ...]
    update: str = "keep"
    offsets: tuple[tuple[str, float], ...] = ()
    tied: tuple[tuple[str, str], ...] = ()

    @property
    def pieces(self) -> set[str]:
        """The names of all pieces."""
        return {piece for one in self.entries for row in one.rows for piece in row}

    def at(self, start: str) -> Layout:
        """The same, with something put before all names."""
        named = [
            one._replace(name=start + one.name, optional=one.optional and start + one.optional)
            for one in self.entries
        ]
        return self._replace(entries=tuple(named))


def entry(
    name: str, tensors: str, gates: str, *, transposed: bool = False, optional: str = ""
) -> Entry:
    """An entry with a row for each tensor's letter and a column for each gate's.

    Example:
      >>> from jaxrnn.interop.layout import entry
      >>> entry("bias", "bs", "zrn").rows
      (('bz', 'br', 'bn'), ('sz', 'sr', 'sn'))
    """
    rows = tuple(tuple(tensor + gate for gate in gates or ("",)) for tensor in tensors)
    return Entry(name, rows, transposed, optional)


def _piece_shape(piece: str, sizes: Sizes) -> tuple[int, ...]:
    d, h, p = sizes
    return {"W": (d, h), "R": (p, h), "Q": (h, p)}.get(piece[0], (h,))


def shape(entry: Entry, sizes: Sizes) -> tuple[int, ...]:
    """The shape of an entry's array in a cell of these sizes."""
    shapes = [_piece_shape(row[0], sizes) for row in entry.rows]
    columns = shapes[0][-1] * len(entry.rows[0])
    if len(shapes[0]) == 1:
        return (columns,) if len(shapes) == 1 else (len(shapes), columns)
    rows = sum(one[0] for one in shapes)
    return (columns, rows) if entry.transposed else (rows, columns)


def cut(entry: Entry, array: np.ndarray, sizes: Sizes) -> dict[str, np.ndarray]:
    """The pieces of an entry's array, which has the shape that `shape` says.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop.layout import Sizes, cut, entry
      >>> pieces = cut(entry("bias", "b", "zr"), np.array([1., 2., 3., 4.]), Sizes(3, 2, 2))
      >>> pieces["br"].tolist()
      [3.0, 4.0]
    """
    vectors = len(_piece_shape(entry.rows[0][0], sizes)) == 1
    heights = [1 if vectors else _piece_shape(row[0], sizes)[0] for row in entry.rows]
    table = np.atleast_2d(array.T if entry.transposed else array)
    pieces: dict[str, np.ndarray] = {}
    for row, band in zip(entry.rows, np.split(table, np.cumsum(heights)[:-1]), strict=True):
        blocks = np.split(band, len(row), axis=1)
        pieces |= {p: block[0] if vectors else block for p, block in zip(row, blocks, strict=True)}
    return pieces


def join(entry: Entry, pieces: Mapping[str, np.ndarray]) -> np.ndarray:
    """The array of an entry out of its pieces, the inverse of `cut`."""
    rows = [np.concatenate([pieces[piece] for piece in row], axis=-1) for row in entry.rows]
    if rows[0].ndim == 1:
        return rows[0] if len(rows) == 1 else np.stack(rows)
    whole = np.concatenate(rows, axis=0)
    return np.ascontiguousarray(whole.T if entry.transposed else whole)
