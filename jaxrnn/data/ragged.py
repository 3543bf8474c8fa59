"""Sequences of unequal length: padded, in buckets, or packed end to end.

Every padded length is a shape, and every shape is compiled. `bucket` chooses the few lengths that
waste least; no other choice of as many does better. (So it is known what buckets can do: all
lengths from 7 to 361, equally often, waste 10.5 % in 8 of them and 9.5 % in 9.) `pack` puts several
sequences into one row and wastes a few percent in a single shape; it needs a model that can be
reset within a row. `unpack` gives them back, and `spans` says where each begins and ends.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxrnn.checks import check_array, check_size

__all__ = ["Buckets", "Packed", "Padded", "Spans", "bucket", "pack", "pad", "spans", "unpack"]


class Padded(NamedTuple):
    """A batch of sequences: values (T, B, *features) and lengths (B,)."""

    values: NDArray
    lengths: NDArray[np.int32]


class Buckets(NamedTuple):
    """Rows grouped by the length they are padded to.

    Attributes:
      bounds: (K,) the padded lengths, rising.
      groups: for every bound the numbers of its rows, for `jaxrnn.data.Batches`.
      padded: (N,) the length that each row is padded to.
      waste: the share of padding among all steps.
    """

    bounds: NDArray[np.int64]
    groups: list[NDArray[np.intp]]
    padded: NDArray[np.int64]
    waste: float


class Packed(NamedTuple):
    """Sequences end to end in rows.

    Attributes:
      values: (T, B, *features), zero where there is no sequence.
      lengths: (B,) the steps of a row that hold sequences.
      reset: (T, B), True at the first step of each sequence.
      segment: (T, B), the number of the step's sequence, -1 in the padding at the end; see `spans`
        and `unpack`.
      waste: the share of padding among all steps.
    """

    values: NDArray
    lengths: NDArray[np.int32]
    reset: NDArray[np.bool_]
    segment: NDArray[np.int32]
    waste: float


class Spans(NamedTuple):
    """Where each of N sequences lies in a packed batch.

    Attributes:
      row: (N,) the row that it is in.
      first: (N,) its first step there.
      last: (N,) its last one.
    """

    row: NDArray[np.intp]
    first: NDArray[np.intp]
    last: NDArray[np.intp]


def pad(
    sequences: Sequence[ArrayLike], length: int | None = None, *, rows: int | None = None
) -> Padded:
    """Pad sequences with zeros into one time-major array.

    Args:
      sequences: B arrays (T_i, *features); their features and dtype agree, T_i = 0 is a length.
      length: T; by default the longest T_i.
      rows: B of the result; empty rows fill up a smaller batch, to spare a shape.

    Returns:
      Values (T, B, *features) and lengths (B,).

    Raises:
      ValueError: no sequence, features that differ, a sequence longer than ``length``, more
        sequences than ``rows``.

    Example:
      >>> from jaxrnn.data import pad
      >>> values, lengths = pad([[1, 2, 3], [4]])
      >>> values.T.tolist(), lengths.tolist()
      ([[1, 2, 3], [4, 0, 0]], [3, 1])
    """
    arrays = _arrays(sequences)
    lengths = np.array([len(array) for array in arrays], np.int32)
    length = int(lengths.max()) if length is None else length
    rows = len(arrays) if rows is None else rows
    check_size("length", length, 0)
    check_size("rows", rows)
    if lengths.max() > length:
        raise ValueError(f"length: expected at least {lengths.max()}, got {length}")
    if len(arrays) > rows:
        raise ValueError(f"rows: expected at least {len(arrays)}, got {rows}")
    values = np.zeros((length, rows, *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in enumerate(arrays):
        values[: len(array), row] = array
    return Padded(values, np.pad(lengths, (0, rows - len(arrays))))


def bucket(lengths: ArrayLike, shapes: int = 8, *, multiple: int = 1) -> Buckets:
    """Choose the padded lengths b_1 < … < b_K that waste least, and group rows by them.

    Minimises Σ_n min {b_k : b_k ≥ length_n} exactly, by dynamic programming over the sorted
    lengths: the least total of the i shortest with k bounds is min_m (total_{k-1}(m) + the rest
    padded to the i-th).

    Args:
      lengths: (N,) of the sequences.
      shapes: K, the most bounds. Fewer are used where fewer do as well.
      multiple: bounds are multiples of this.

    Returns:
      `Buckets`; ``Batches(get, buckets.groups, batch_size)`` keeps each batch in one bucket, and
      ``pad(…, length=buckets.padded[rows[0]], rows=batch_size)`` gives it one of K shapes.

    Raises:
      ValueError: no lengths, negative ones, ``shapes`` or ``multiple`` below 1.

    Example:
      >>> from jaxrnn.data import bucket
      >>> buckets = bucket([3, 10, 4, 9, 10], shapes=2)
      >>> buckets.bounds.tolist(), [rows.tolist() for rows in buckets.groups], buckets.waste
      ([4, 10], [[0, 2], [1, 3, 4]], 0.05263)
    """
    given = check_array("lengths", lengths)
    if given.ndim != 1 or not given.size or given.dtype.kind not in "iu" or given.min() < 0:
        raise ValueError(f"lengths: expected (N,) whole numbers from 0, N > 0, got {lengths!r}")
    for name, value in (("shapes", shapes), ("multiple", multiple)):
        check_size(name, value)
    rounded = -(-given.astype(np.int64) // multiple) * multiple
    sizes, counts = np.unique(rounded, return_counts=True)
    below = np.concatenate([[0], np.cumsum(counts)])  # rows shorter than sizes[i]

    # totals[i]: least padded steps of the rows up to sizes[i - 1] with so many bounds as yet.
    totals = np.full(len(sizes) + 1, np.inf)
    totals[0] = 0.0
    splits: list[NDArray[np.intp]] = []
    for _ in range(min(shapes, len(sizes))):
        choices = [totals[:i] + sizes[i - 1] * (below[i] - below[:i]) for i in range(1, len(below))]
        split = np.array([0, *(int(np.argmin(choice)) for choice in choices)])
        totals = np.array([0.0, *(choice.min() for choice in choices)])
        splits.append(split)
    bounds, end = [], len(sizes)
    for split in reversed(splits):
        if end:
            bounds.append(int(sizes[end - 1]))
            end = int(split[end])
    edges = np.array(bounds[::-1], np.int64)
    which = np.searchsorted(edges, given)
    padded = edges[which]
    groups = [np.flatnonzero(which == k) for k in range(len(edges))]
    return Buckets(edges, groups, padded, _waste(int(given.sum()), int(padded.sum())))


def pack(sequences: Sequence[ArrayLike], length: int | None = None) -> Packed:
    """Lay sequences end to end into rows of one length, with a reset where each begins.

    Longest first, each into the fullest row that still has room (best fit decreasing: at most
    11/9 of the fewest rows possible, and a few more). A sequence stays whole. A scan with the
    ``reset`` gives every sequence what it would give it alone, in reverse and in both directions
    too; `unpack` gives the outputs back by sequence.

    Args:
      sequences: N arrays (T_i, *features) with T_i ≥ 1.
      length: T of a row; by default that of the longest. A multiple of it wastes less.

    Returns:
      `Packed`, time-major with one row or more.

    Raises:
      ValueError: no sequence, an empty one, features that differ, one longer than ``length``.

    Example:
      >>> from jaxrnn.data import pack
      >>> packed = pack([[1, 1], [2, 2, 2, 2], [3]], length=4)
      >>> packed.values.T.tolist(), packed.reset.T.astype(int).tolist()
      ([[2, 2, 2, 2], [1, 1, 3, 0]], [[1, 0, 0, 0], [1, 0, 1, 0]])

    Source: Krell et al. 2021, arXiv:2107.02027, packs sequences for transformers in this way.
    """
    arrays = _arrays(sequences)
    sizes = [len(array) for array in arrays]
    length = max(sizes) if length is None else length
    check_size("length", length, 0)
    if min(sizes) < 1 or max(sizes) > length:
        raise ValueError(
            f"sequences: expected lengths from 1 to {length}, got {min(sizes)} to {max(sizes)}"
        )
    rows: list[list[int]] = []
    room: list[tuple[int, int]] = []  # (steps left, row), rising
    for number in sorted(range(len(arrays)), key=lambda n: -sizes[n]):
        at = bisect_left(room, (sizes[number], 0))
        left, row = room.pop(at) if at < len(room) else (length, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(number)
        insort(room, (left - sizes[number], row))

    values = np.zeros((length, len(rows), *arrays[0].shape[1:]), arrays[0].dtype)
    segment = np.full((length, len(rows)), -1, np.int32)
    reset = np.zeros((length, len(rows)), bool)
    for row, numbers in enumerate(rows):
        start = 0
        for number in numbers:
            stop = start + sizes[number]
            values[start:stop, row] = arrays[number]
            segment[start:stop, row] = number
            reset[start, row] = True
            start = stop
    lengths = (segment >= 0).sum(0).astype(np.int32)
    return Packed(values, lengths, reset, segment, _waste(sum(sizes), segment.size))


def spans(segment: ArrayLike) -> Spans:
    """Where each sequence of a packed batch begins and ends.

    The three are indices of arrays, jax's too: ``ys[where.last, where.row]`` are the N last
    outputs, of a backward direction ``ys[where.first, where.row]``.

    Args:
      segment: (T, B), of `Packed`: the number of the step's sequence, -1 where there is none.

    Returns:
      `Spans`, by the numbers of the sequences, which is their order in `pack`.

    Raises:
      ValueError: another shape or dtype; numbers that are not 0 to N - 1, each at adjacent steps
        of one row, as in a batch that was cut.

    Example:
      >>> from jaxrnn.data import pack, spans
      >>> packed = pack([[1, 1], [2, 2, 2, 2], [3]], length=4)
      >>> row, first, last = spans(packed.segment)
      >>> row.tolist(), first.tolist(), last.tolist()
      ([1, 0, 1], [0, 0, 2], [1, 3, 2])
      >>> packed.values[last, row].tolist()
      [1, 2, 3]
    """
    numbers = check_array("segment", segment)
    if numbers.ndim != 2 or numbers.dtype.kind not in "iu":
        raise ValueError(
            f"segment: expected integers (T, B), got {numbers.dtype}{list(numbers.shape)}"
        )
    rows, steps = np.nonzero(numbers.T >= 0)
    found, begin, counts = np.unique(numbers[steps, rows], return_index=True, return_counts=True)
    row, first = rows[begin], steps[begin]
    last = first + counts - 1
    inside = last < len(numbers)
    whole = inside & (numbers[np.where(inside, last, 0), row] == found)
    broken = (found != np.arange(len(found))) | ~whole
    if broken.any():
        raise ValueError(
            "segment: expected the numbers 0 to N - 1, each at adjacent steps of one row, got "
            f"another order at {found[broken][0]}"
        )
    return Spans(row, first, last)


def unpack(values: ArrayLike, segment: ArrayLike) -> list[NDArray]:
    """Take sequences out of the rows they were packed into: the inverse of `pack`.

    Args:
      values: (T, B, *features), such as the outputs of a scan over a packed batch.
      segment: (T, B), of `Packed`.

    Returns:
      N arrays (T_i, *features) of numpy, in the order of the sequences in `pack`. Their shapes
      depend on `segment`, so it is not for functions under `jax.jit`; the indices of `spans` are.

    Raises:
      ValueError: as `spans`, or leading axes of `values` that are not those of `segment`.

    Example:
      >>> from jaxrnn.data import pack, unpack
      >>> packed = pack([[1, 1], [2, 2, 2, 2], [3]], length=4)
      >>> [sequence.tolist() for sequence in unpack(10 * packed.values, packed.segment)]
      [[10, 10], [20, 20, 20, 20], [30]]
    """
    row, first, last = spans(segment)
    array, shape = check_array("values", values), np.shape(segment)
    if array.shape[:2] != shape:
        raise ValueError(
            f"values: expected leading axes {shape} (T, B) as of segment, got shape {array.shape}"
        )
    places = zip(row, first, last, strict=True)
    return [array[begin : end + 1, b].copy() for b, begin, end in places]


def _arrays(sequences: Sequence[ArrayLike]) -> list[NDArray]:
    if not isinstance(sequences, Iterable):
        raise TypeError(f"sequences: expected arrays (T, *features), got {sequences!r}")
    arrays = [check_array(f"sequences[{n}]", sequence) for n, sequence in enumerate(sequences)]
    if not arrays:
        raise ValueError("sequences: expected at least one, got none")
    for number, array in enumerate(arrays):
        if not array.ndim:
            raise ValueError(f"sequences: expected (T, *features), got a scalar at {number}")
        if array.shape[1:] != arrays[0].shape[1:]:
            raise ValueError(
                f"sequences: expected features {arrays[0].shape[1:]} as in the first, got "
                f"{array.shape[1:]} at {number}"
            )
    dtype = np.result_type(*arrays)
    return [array.astype(dtype, copy=False) for array in arrays]


def _waste(valid: int, padded: int) -> float:
    return 1 - valid / padded if padded else 0.0
