"""Long series: windows for forecasting, streams for truncated backpropagation through time."""

from typing import Any, NamedTuple, overload

import jax
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from jaxrnn.checks import check_array, check_size

__all__ = ["PanelWindows", "Streams", "Windows", "streams", "windows"]


class Windows(NamedTuple):
    """Inputs (length, B, D) and the steps that follow them, targets (horizon, B, D)."""

    inputs: NDArray
    targets: NDArray


class PanelWindows(NamedTuple):
    """Windows of many series: (length, B, …) and the steps that follow, (horizon, B, …).

    Attributes:
      inputs: what a window sees, of the structure of the series; 0 where it is NaN.
      targets: the steps that follow, of the same structure; 0 where it is NaN.
      input_mask: (length, B), False before the series begins and where something is missing.
      target_mask: (horizon, B), False where something is missing.
      row: (B,) the series that each window is of: ``static[row]`` is what is known of it.
      origin: (B,) the step of that series which is the first of the targets.
    """

    inputs: Any
    targets: Any
    input_mask: NDArray[np.bool_]
    target_mask: NDArray[np.bool_]
    row: NDArray[np.intp]
    origin: NDArray[np.intp]


class Streams(NamedTuple):
    """Inputs and next-step targets (W, T, B, *features): W windows to go through in order."""

    inputs: NDArray
    targets: NDArray


@overload
def windows(
    series: ArrayLike, length: int, horizon: int = 1, *, stride: int = 1, lengths: None = None
) -> Windows: ...


@overload
def windows(
    series: Any,
    length: int,
    horizon: int = 1,
    *,
    stride: int = 1,
    lengths: ArrayLike,
    mask: ArrayLike | None = None,
    min_length: int | None = None,
) -> PanelWindows: ...


def windows(
    series: Any,
    length: int,
    horizon: int = 1,
    *,
    stride: int = 1,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    min_length: int | None = None,
) -> Windows | PanelWindows:
    """Cut series into overlapping windows, each with the steps that follow it.

    inputs[:, b] = series[b·stride : b·stride + length], and targets[:, b] the ``horizon`` steps
    after it. To forecast without peeking, split the series into training and test parts first.

    With ``lengths`` there are many series, as `jaxrnn.data.pad` lays them side by side, and what
    goes with their steps may be a pytree: values, prices, the day of the week. Each is cut by
    itself, one after the other, and those too short for a window are left out. NaN is missing.

    Args:
      series: (L,) or (L, D); of many, a pytree of arrays (L, N, *features).
      length: steps of an input.
      horizon: steps of a target.
      stride: steps from one window to the next.
      lengths: (N,) the steps of each series.
      mask: booleans (L, N), False at steps where something is missing that is not NaN.
      min_length: the fewest steps of a series that a window may see, ``length`` if None. What it
        lacks stands before the series: zeros, where the mask is False.

    Returns:
      Inputs (length, B, D) and targets (horizon, B, D), time-major; D = 1 for a plain series.
      Of many series `PanelWindows`, with masks and with where each window is from.

    Raises:
      TypeError: lengths that are not whole numbers, or a mask that is not of booleans.
      ValueError: sizes below 1, a series of another rank or too short for one window, lengths or a
        mask that do not fit, or `mask` or `min_length` without lengths.

    Example:
      >>> from jaxrnn.data import pad, windows
      >>> inputs, targets = windows([0, 1, 2, 3, 4, 5], 3, 2)
      >>> inputs[:, :, 0].T.tolist(), targets[:, :, 0].T.tolist()
      ([[0, 1, 2], [1, 2, 3]], [[3, 4], [4, 5]])
      >>> values, lengths = pad([[1.0, float("nan"), 3.0, 4.0], [7.0, 8.0]])
      >>> cut = windows(values, 2, 1, lengths=lengths, min_length=1)
      >>> for window in zip(cut.row, cut.origin, cut.inputs.T, cut.input_mask.T, cut.targets.T):
      ...     print(*window)
      0 1 [0. 1.] [False  True] [0.]
      0 2 [1. 0.] [ True False] [3.]
      0 3 [0. 3.] [False  True] [4.]
      1 1 [0. 7.] [False  True] [8.]
      >>> cut.target_mask.tolist()
      [[False, True, True, True]]
    """
    for name, value in (("length", length), ("horizon", horizon), ("stride", stride)):
        check_size(name, value)
    if lengths is not None:
        return _panel(series, length, horizon, stride, lengths, mask, min_length)
    for name, value in (("mask", mask), ("min_length", min_length)):
        if value is not None:
            raise ValueError(f"{name}: expected it only with lengths, got lengths=None")
    array = check_array("series", series)
    if array.ndim not in (1, 2) or len(array) < length + horizon:
        many = "; of many series give their lengths" if array.ndim > 2 else ""
        raise ValueError(
            f"series: expected (L,) or (L, D) with L >= {length + horizon}, got shape "
            f"{array.shape}{many}"
        )
    array = array.reshape(len(array), -1)
    # (B, D, length + horizon) -> (length + horizon, B, D)
    cut = np.moveaxis(sliding_window_view(array, length + horizon, axis=0)[::stride], -1, 0)
    return Windows(cut[:length].copy(), cut[length:].copy())


def _panel(
    series: Any,
    length: int,
    horizon: int,
    stride: int,
    lengths: ArrayLike,
    mask: ArrayLike | None,
    min_length: int | None,
) -> PanelWindows:
    tree, sizes = check_panel("series", series, lengths)
    leaves = jax.tree.leaves(tree)
    least = length if min_length is None else min_length
    check_size("min_length", least)
    if least > length:
        raise ValueError(f"min_length: expected at most length, {length}, got {least}")
    shape = leaves[0].shape[:2]
    seen = np.ones(shape, bool)
    if mask is not None:
        seen = check_array("mask", mask)
        if seen.dtype != bool:
            raise TypeError(f"mask: expected booleans (L, N), got dtype {seen.dtype}")
        if seen.shape != shape:
            raise ValueError(f"mask: expected shape {shape} (L, N), got {seen.shape}")
    for leaf in leaves:
        if np.issubdtype(leaf.dtype, np.inexact):
            seen = seen & ~np.isnan(leaf).any(axis=tuple(range(2, leaf.ndim)))
    starts = [np.arange(least, size - horizon + 1, stride) for size in sizes]
    origin = np.concatenate(starts)
    row = np.repeat(np.arange(len(sizes)), [len(each) for each in starts])
    if not len(origin):
        raise ValueError(
            f"lengths: expected one of at least {least + horizon}, got at most {sizes.max()}"
        )
    steps = origin + np.arange(-length, horizon)[:, None]  # (length + horizon, B)
    there = steps >= 0
    at = np.maximum(steps, 0), row

    def cut(leaf: NDArray) -> NDArray:
        found = leaf[at]
        found[~there] = 0
        if np.issubdtype(leaf.dtype, np.inexact):
            found[np.isnan(found)] = 0
        return found

    made = jax.tree.map(cut, tree)
    flags = there & seen[at]
    return PanelWindows(
        jax.tree.map(lambda leaf: leaf[:length], made),
        jax.tree.map(lambda leaf: leaf[length:], made),
        flags[:length],
        flags[length:],
        row,
        origin,
    )


def check_panel(argument: str, series: Any, lengths: ArrayLike) -> tuple[Any, NDArray[np.intp]]:
    """A pytree of arrays (L, N, *features) and the lengths (N,), both of numpy, or an error.

    Args:
      argument: the name of what the pytree is.
      series: what came.
      lengths: what came.
    """
    is_leaf = lambda node: isinstance(node, list)  # noqa: E731  an array, not a tree
    tree = jax.tree.map(lambda leaf: check_array(argument, leaf), series, is_leaf=is_leaf)
    sizes = check_array("lengths", lengths)
    if sizes.dtype.kind not in "iu":
        raise TypeError(f"lengths: expected whole numbers (N,), got dtype {sizes.dtype}")
    shapes = [leaf.shape for leaf in jax.tree.leaves(tree)]
    first = shapes[0][:2] if shapes else ()
    if len(first) < 2 or any(shape[:2] != first for shape in shapes):
        raise ValueError(
            f"{argument}: expected arrays (L, N, *features) of one L and N, got shapes {shapes}"
        )
    time, count = first
    if sizes.shape != (count,) or (count and not 0 <= sizes.min() <= sizes.max() <= time):
        raise ValueError(f"lengths: expected {count} in 0..{time} (L), got {sizes.tolist()}")
    return tree, sizes.astype(np.intp)


def streams(series: ArrayLike, batch_size: int, length: int) -> Streams:
    """Cut one long series into parallel streams, and those into windows with next-step targets.

    Row b of window w + 1 goes on where row b of window w ended, so a carried state fits it; only
    before the first window, and again at every new pass, must it start from zero. Steps that do
    not fill a window are left out, at the end of each stream.

    Args:
      series: (L, *features), such as the characters of a text.
      batch_size: B, the number of streams.
      length: T, the steps of a window.

    Returns:
      Inputs and targets (W, T, B, *features), W = ((L - 1) // B) // T.

    Raises:
      ValueError: sizes below 1 or a series too short for one window.

    Example:
      Batches in order, with a flag that says where to start from zero:

      >>> from jaxrnn.data import Batches, streams
      >>> inputs, targets = streams(range(13), 2, 3)
      >>> def get(w):
      ...     return inputs[w[0]], targets[w[0]], w[0] == 0
      >>> for xs, ys, start in Batches(get, len(inputs), 1, shuffle=False):
      ...     print(xs.T.tolist(), ys.T.tolist(), bool(start))
      [[0, 1, 2], [6, 7, 8]] [[1, 2, 3], [7, 8, 9]] True
      [[3, 4, 5], [9, 10, 11]] [[4, 5, 6], [10, 11, 12]] False
    """
    array = check_array("series", series)
    for name, value in (("batch_size", batch_size), ("length", length)):
        check_size(name, value)
    if not array.ndim or len(array) < batch_size * length + 1:
        raise ValueError(
            f"series: expected (L, *features) with L >= {batch_size * length + 1}, got shape "
            f"{array.shape}"
        )
    each = (len(array) - 1) // batch_size
    count = each // length
    starts = np.arange(count)[:, None, None] * length + np.arange(batch_size) * each
    index = starts + np.arange(length)[:, None]  # (W, T, B)
    return Streams(array[index], array[index + 1])
