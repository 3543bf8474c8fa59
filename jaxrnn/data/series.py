"""Long series: windows for forecasting, streams for truncated backpropagation through time."""

from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from jaxrnn.checks import check_array, check_size

__all__ = ["Streams", "Windows", "streams", "windows"]


class Windows(NamedTuple):
    """Inputs (length, B, D) and the steps that follow them, targets (horizon, B, D)."""

    inputs: NDArray
    targets: NDArray


class Streams(NamedTuple):
    """Inputs and next-step targets (W, T, B, *features): W windows to go through in order."""

    inputs: NDArray
    targets: NDArray


def windows(series: ArrayLike, length: int, horizon: int = 1, *, stride: int = 1) -> Windows:
    """Cut a series into overlapping windows, each with the steps that follow it.

    inputs[:, b] = series[b·stride : b·stride + length], and targets[:, b] the ``horizon`` steps
    after it. To forecast without peeking, split the series into training and test parts first.

    Args:
      series: (L,) or (L, D).
      length: steps of an input.
      horizon: steps of a target.
      stride: steps from one window to the next.

    Returns:
      Inputs (length, B, D) and targets (horizon, B, D), time-major; D = 1 for a plain series.

    Raises:
      ValueError: sizes below 1, a series of another rank or too short for one window.

    Example:
      >>> from jaxrnn.data import windows
      >>> inputs, targets = windows([0, 1, 2, 3, 4, 5], 3, 2)
      >>> inputs[:, :, 0].T.tolist(), targets[:, :, 0].T.tolist()
      ([[0, 1, 2], [1, 2, 3]], [[3, 4], [4, 5]])
    """
    array = check_array("series", series)
    for name, value in (("length", length), ("horizon", horizon), ("stride", stride)):
        check_size(name, value)
    if array.ndim not in (1, 2) or len(array) < length + horizon:
        raise ValueError(
            f"series: expected (L,) or (L, D) with L >= {length + horizon}, got shape {array.shape}"
        )
    array = array.reshape(len(array), -1)
    # (B, D, length + horizon) -> (length + horizon, B, D)
    cut = np.moveaxis(sliding_window_view(array, length + horizon, axis=0)[::stride], -1, 0)
    return Windows(cut[:length].copy(), cut[length:].copy())


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
