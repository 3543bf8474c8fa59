"""The sine-wave task: predict the next value of a hundred sine waves of unknown phase."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from jaxrnn.checks import check_array, check_size

__all__ = ["Split", "next_step", "sine_waves"]


class Split(NamedTuple):
    """Inputs and next-step targets of two sets of series, time-major: each (T, B, 1)."""

    train_inputs: NDArray[np.floating]
    train_targets: NDArray[np.floating]
    test_inputs: NDArray[np.floating]
    test_targets: NDArray[np.floating]


def sine_waves(
    waves: int = 100, length: int = 1000, *, period: int = 20, seed: int = 2
) -> NDArray[np.float64]:
    """Sine waves of one frequency and random integer phase: data[n, t] = sin((t + s_n) / period).

    The shifts s_n are drawn from [-4 period, 4 period) by NumPy's legacy generator, whose stream
    never changes, so the defaults are the data of the well-known PyTorch example, bit for bit.

    Args:
      waves: N, the number of series.
      length: L, the number of steps.
      period: the divisor of time; one full wave takes 2π · period steps.
      seed: of the shifts.

    Returns:
      float64 (N, L), one series a row.

    Raises:
      ValueError: a size below 1.

    Example:
      >>> from jaxrnn.data import sine_waves
      >>> data = sine_waves()
      >>> data.shape, data[0, :3].round(8).tolist()
      ((100, 1000), [0.10819513, 0.05837414, 0.00840725])

    Source: pytorch/examples, ``time_sequence_prediction/generate_sine_wave.py``.
    """
    for name, value in (("waves", waves), ("length", length), ("period", period)):
        check_size(name, value)
    shifts = np.random.RandomState(seed).randint(-4 * period, 4 * period, waves)
    return np.sin((np.arange(length) + shifts[:, None]) / period)


def next_step(data: ArrayLike, *, test: int = 3, dtype: DTypeLike = np.float32) -> Split:
    """Split series into training and test rows, each as inputs and the same series one step on.

    Args:
      data: (N, L), one series a row.
      test: the first ``test`` rows are the test set, the others the training set.
      dtype: of the result.

    Returns:
      ``Split`` of arrays (L - 1, B, 1), time-major: B = N - test or test.

    Raises:
      ValueError: data that is not (N, L) with L ≥ 2, or test outside 0 … N.

    Example:
      >>> from jaxrnn.data import next_step, sine_waves
      >>> split = next_step(sine_waves())
      >>> split.train_inputs.shape, split.test_targets.shape
      ((999, 97, 1), (999, 3, 1))
    """
    series = check_array("data", data)
    check_size("test", test, 0)
    if series.ndim != 2 or series.shape[1] < 2:
        raise ValueError(f"data: expected (N, L) with L >= 2, got shape {series.shape}")
    if test > len(series):
        raise ValueError(f"test: expected 0 to {len(series)} rows, got {test}")
    moved = series.T[:, :, None].astype(dtype)
    train, held = moved[:, test:], moved[:, :test]
    return Split(*(np.ascontiguousarray(a) for a in (train[:-1], train[1:], held[:-1], held[1:])))
