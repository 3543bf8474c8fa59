"""Scales of series: statistics that are gathered in pieces, and an affine map that they give.

NaN is what is missing, here as in `windows` and `backtest`. Statistics are taken along time, of
each series and feature by itself; ``values.reshape(-1, D)`` makes one series of all.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from numpy.typing import ArrayLike, NDArray

from jaxrnn.checks import check_array, check_choice

__all__ = ["Scaler", "Statistics", "scaler", "statistics"]

KINDS = ("standard", "mean_abs", "min_max")


class Statistics(NamedTuple):
    """What was seen of each series and feature, of float64, each (*series, *features).

    Attributes:
      number: how many values.
      mean: their mean, 0 of none.
      squares: the sum of the squares of their differences from the mean.
      mean_abs: the mean of their absolute values, 0 of none.
      least: the least, inf of none.
      greatest: the greatest, -inf of none.
    """

    number: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]
    mean_abs: NDArray[np.float64]
    least: NDArray[np.float64]
    greatest: NDArray[np.float64]


class Scaler(NamedTuple):
    """An affine map of each series and feature, z = (x - loc) / scale, and back.

    It is a pytree of two arrays: it can be saved, and go into compiled functions.

    Attributes:
      loc: (*series, *features).
      scale: of the same shape, above 0.
    """

    loc: Any
    scale: Any

    def transform(self, values: Any) -> Any:
        """Z = (x - loc) / scale; NaN stays NaN.

        Args:
          values: x, (…, *series, *features), of numpy or of jax, floating or whole numbers.

        Returns:
          z, an array of the same kind, floating.

        Raises:
          ValueError: for a shape that the scaler's does not broadcast to.
        """
        return self._apply(values, lambda x, loc, scale: (x - loc) / scale)

    def inverse_transform(self, values: Any) -> Any:
        """X = loc + scale · z: see `transform`.

        A difference or a standard deviation has no location: multiply it by `scale`.
        """
        return self._apply(values, lambda z, loc, scale: loc + scale * z)

    def take(self, rows: ArrayLike) -> Scaler:
        """That of some of the series, such as those of a batch of windows, `PanelWindows.row`."""
        return Scaler(self.loc[rows], self.scale[rows])

    def _apply(self, values: Any, rule: Any) -> Any:
        ours = isinstance(values, jax.Array)
        array = values if ours else check_array("values", values)
        shape = np.shape(self.loc)
        try:
            fits = np.broadcast_shapes(array.shape, shape) == array.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"values: expected last axes that fit the scaler's {shape}, got shape {array.shape}"
            )
        floating = jnp.issubdtype(array.dtype, jnp.floating)
        if ours:
            array = array if floating else array.astype(jnp.result_type(float))
            return rule(array, *(jnp.asarray(part, array.dtype) for part in self))
        found = rule(array, *self)  # in float64
        return found.astype(array.dtype) if floating else found


# So that what `jax.export` makes of a function of a scaler can be written to a file.
export.register_namedtuple_serialization(Scaler, serialized_name="jaxrnn.Scaler")


def statistics(
    values: ArrayLike,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    *,
    before: Statistics | None = None,
) -> Statistics:
    r"""Statistics of each series along time, of what is there, in one piece or in several.

    Two pieces with n and m values, means a and b and sums of squares S and R have together

    .. math:: a + \tfrac{m}{n+m}(b-a), \qquad S + R + \tfrac{nm}{n+m}(b-a)^2

    Args:
      values: (T, *series, *features); NaN is missing.
      lengths: (*series,) the steps of each series, as `jaxrnn.data.pad` gives them.
      mask: booleans (T, *series) or of the shape of values, False where a value does not count.
      before: those of what came before, which are gone on from.

    Returns:
      `Statistics` of the shape of one step.

    Raises:
      TypeError: for values that are not real numbers, or a mask that is not of booleans.
      ValueError: for infinite values, lengths or a mask that do not fit, or a `before` of another
        shape.

    Example:
      >>> from jaxrnn.data import statistics
      >>> first = statistics([1.0, 2.0, float("nan"), 6.0])
      >>> both = statistics([7.0], before=first)
      >>> float(both.number), float(both.mean), float(both.squares)
      (4.0, 4.0, 26.0)

    Source: Welford (1962), Note on a method for calculating corrected sums of squares and products;
    Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, for the pieces.
    """
    array = check_array("values", values)
    if array.dtype.kind not in "iuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"values: expected real numbers, got dtype {array.dtype}")
    if not array.ndim:
        raise ValueError("values: expected (T, *series, *features), got a scalar")
    array = array.astype(np.float64)
    seen = ~np.isnan(array)
    if np.isinf(array).any():
        raise ValueError("values: expected finite numbers, or NaN for what is missing, got inf")
    if lengths is not None:
        seen &= _inside(lengths, array.shape)
    if mask is not None:
        flags = check_array("mask", mask)
        if flags.dtype != bool:
            raise TypeError(f"mask: expected booleans, got dtype {flags.dtype}")
        if flags.shape != array.shape[: flags.ndim]:
            raise ValueError(
                f"mask: expected the leading axes of values {array.shape}, got shape {flags.shape}"
            )
        seen &= _widened(flags, array.ndim)
    number = seen.sum(0).astype(np.float64)
    most = np.maximum(number, 1)
    filled = np.where(seen, array, 0.0)
    mean = filled.sum(0) / most
    squares = (np.where(seen, array - mean, 0.0) ** 2).sum(0)
    mean_abs = np.abs(filled).sum(0) / most
    least = np.where(seen, array, np.inf).min(0, initial=np.inf)
    greatest = np.where(seen, array, -np.inf).max(0, initial=-np.inf)
    new = Statistics(number, mean, squares, mean_abs, least, greatest)
    return new if before is None else _together(before, new)


def scaler(
    statistics: Statistics, kind: Literal["standard", "mean_abs", "min_max"] = "standard"
) -> Scaler:
    """The scaler that statistics give.

    - ``"standard"``: to mean 0 and standard deviation 1 (of the values: divided by n);
    - ``"mean_abs"``: to a mean absolute value of 1, keeping 0 where it is, for counts and sales;
    - ``"min_max"``: to 0 … 1.

    A series without values, or one whose values are all the same, has a scale of 1. To forecast
    without peeking, gather the statistics from what comes before the forecast.

    Args:
      statistics: of `jaxrnn.data.statistics`.
      kind: as above.

    Returns:
      `Scaler`.

    Raises:
      ValueError: for another kind.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.data import scaler, statistics
      >>> sales = np.array([[1.0, 300.0], [3.0, np.nan], [2.0, 100.0]])  # (T, series)
      >>> scale = scaler(statistics(sales), "mean_abs")
      >>> scale.transform(sales).tolist()
      [[0.5, 1.5], [1.5, nan], [1.0, 0.5]]
      >>> scale.take([1]).inverse_transform(np.array([[1.1]])).round(6).tolist()
      [[220.0]]

    Source: Salinas, Flunkert, Gasthaus and Januschowski (2020), DeepAR, arXiv:1704.04110, scale
    each series by its mean.
    """
    check_choice("kind", kind, KINDS)
    some = statistics.number > 0
    zero = np.zeros_like(statistics.mean)
    if kind == "standard":
        variance = statistics.squares / np.maximum(statistics.number, 1)
        loc, scale = statistics.mean, np.sqrt(variance)
    elif kind == "mean_abs":
        loc, scale = zero, statistics.mean_abs
    else:
        loc = np.where(some, statistics.least, zero)
        scale = np.where(some, statistics.greatest, zero) - loc
    # All the same but for rounding counts as the same.
    rounding = 8 * np.finfo(np.float64).eps * statistics.mean_abs
    return Scaler(loc, np.where(scale > rounding, scale, 1.0))


def _inside(lengths: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Whether a step is within its series."""
    given = check_array("lengths", lengths)
    if given.dtype.kind not in "iu" or given.shape != shape[1 : 1 + given.ndim]:
        raise ValueError(
            f"lengths: expected whole numbers for each series of values {shape}, got "
            f"{given.dtype}{list(given.shape)}"
        )
    steps = np.arange(shape[0]).reshape(-1, *(1 for _ in given.shape))
    return _widened(steps < given, len(shape))


def _widened(flags: NDArray, axes: int) -> NDArray:
    return flags.reshape(*flags.shape, *(1 for _ in range(axes - flags.ndim)))


def _together(one: Statistics, two: Statistics) -> Statistics:
    if np.shape(one.mean) != two.mean.shape:
        raise ValueError(
            f"before: expected statistics of shape {two.mean.shape}, got {np.shape(one.mean)}"
        )
    number = one.number + two.number
    share = two.number / np.maximum(number, 1)
    apart = two.mean - one.mean
    return Statistics(
        number,
        one.mean + share * apart,
        one.squares + two.squares + one.number * share * apart**2,
        one.mean_abs + share * (two.mean_abs - one.mean_abs),
        np.minimum(one.least, two.least),
        np.maximum(one.greatest, two.greatest),
    )
