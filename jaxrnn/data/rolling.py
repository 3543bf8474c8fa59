"""A forecast judged over time: made again and again, each time from what came before."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxrnn.checks import check_array, check_size

from .series import check_panel

__all__ = ["Backtest", "Past", "backtest"]


class Past(NamedTuple):
    """What is there when a forecast is made.

    Attributes:
      history: the steps before the origin: (origin, *features) of one series. Of many
        (T, N, *features), of the same T at every origin, so that it is compiled once, and zero
        where a series has not come yet. What is missing is NaN.
      lengths: the origin, how many steps have come; of many series (N,).
      known: what is known ahead, from the first step to the last that is asked for, ``horizon``
        steps more than the history; None if nothing is.
      number: that of the origin, from 0.
    """

    history: NDArray
    lengths: Any
    known: Any
    number: int


class Backtest(NamedTuple):
    """Forecasts of K origins, and what came; the second axis is how many steps ahead.

    Attributes:
      predictions: what the forecasts were, each leaf (K, horizon, …).
      targets: what came, (K, horizon, *features) or (K, horizon, N, *features).
      mask: of that shape, False where a target is missing; it is NaN there.
      origins: (K,) or (K, N) the step of the series that is each forecast's first.
    """

    predictions: Any
    targets: NDArray
    mask: NDArray[np.bool_]
    origins: NDArray[np.intp]


def backtest(
    forecast: Callable[[Any, Past], Any],
    series: ArrayLike,
    horizon: int,
    *,
    origins: int = 1,
    stride: int | None = None,
    lengths: ArrayLike | None = None,
    known: Any = None,
    model: Any = None,
    refit: Callable[[Any, Past], Any] | None = None,
    refit_every: int = 1,
) -> Backtest:
    """Forecast from several origins, each time from what came before, and compare.

    As a Python loop, for one series of L steps::

        for k in range(origins):
            origin = L - horizon - (origins - 1 - k) * stride
            past = Past(series[:origin], origin, known[: origin + horizon], k)
            if refit is not None and k % refit_every == 0:
                model = refit(model, past)
            predictions[k] = forecast(model, past)
            targets[k] = series[origin : origin + horizon]

    With ``lengths`` there are many series, as `jaxrnn.data.pad` lays them side by side. The
    origins of each are counted from its own end, and all are forecast together. What comes after
    an origin is not in what the functions are given, but for what is known ahead; what a model
    learned before `backtest` saw it is the caller's care.

    Args:
      forecast: ``forecast(model, past) -> predictions``, an array (horizon, …) or a pytree of
        them, such as medians and quantiles.
      series: (L, *features); of many (L, N, *features). NaN is missing.
      horizon: how many steps are forecast.
      origins: K, how many forecasts.
      stride: steps from one origin to the next; ``horizon`` if None, so that every step is forecast
        once.
      lengths: (N,) the steps of each series.
      known: what is known ahead, a pytree of arrays (L, …), or (L, N, …).
      model: what is handed to the two functions, such as parameters and scalers.
      refit: ``refit(model, past) -> model``, called before the first forecast.
      refit_every: and again after so many.

    Returns:
      `Backtest`.

    Raises:
      TypeError: for something that is no function or no array.
      ValueError: for a series too short for the origins, or predictions of another horizon.

    Example:
      The season before, as a forecast:

      >>> import numpy as np
      >>> from jaxrnn.data import backtest
      >>> series = np.array([1.0, 2, 3, 1, 2, 4, 1, 2, 5])
      >>> told = backtest(lambda _, past: past.history[-3:], series, 3, origins=2)
      >>> told.origins.tolist(), told.predictions.tolist()
      ([3, 6], [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]])
      >>> np.abs(told.predictions - told.targets).mean(0).tolist()  # by steps ahead
      [0.0, 0.0, 1.0]

    Source: Tashman (2000), Out-of-sample tests of forecasting accuracy: an analysis and review,
    calls it a rolling origin.
    """
    stride = horizon if stride is None else stride
    sizes = {"horizon": horizon, "origins": origins, "stride": stride, "refit_every": refit_every}
    for name, value in sizes.items():
        check_size(name, value)
    for name, function in (("forecast", forecast), ("refit", refit)):
        if not callable(function) and not (name == "refit" and function is None):
            raise TypeError(f"{name}: expected a function, got {type(function).__name__}")
    ends: Any
    if lengths is None:
        array = check_array("series", series)
        if not array.ndim:
            raise ValueError("series: expected (L, *features), got a scalar")
        ends = np.array(len(array))
    else:
        array, ends = check_panel("series", check_array("series", series), lengths)
    known = jax.tree.map(lambda leaf: check_array("known", leaf), known)
    lead = array.shape[: 1 + ends.ndim]
    for leaf in jax.tree.leaves(known):
        if leaf.shape[: len(lead)] != lead:
            raise ValueError(
                f"known: expected leading axes {lead} as of series, got shape {leaf.shape}"
            )
    starts = (
        ends - horizon - np.arange(origins)[::-1].reshape(-1, *(1 for _ in ends.shape)) * stride
    )
    if not starts.size or starts.min() < 1:
        argument, got = ("series", len(array)) if lengths is None else ("lengths", ends.tolist())
        need = 1 + horizon + (origins - 1) * stride
        raise ValueError(
            f"{argument}: expected at least {need} steps for {origins} origins, got {got}"
        )
    last = int(starts.max())

    def until(leaf: NDArray, end: NDArray, size: int) -> NDArray:
        """The steps before the end of each row; of many, `size` steps with zeros after it."""
        if lengths is None:
            return leaf[: int(end)].copy()
        inside = np.arange(size)[:, None] < end
        inside = inside.reshape(*inside.shape, *(1 for _ in leaf.shape[2:]))
        return np.where(inside, leaf[:size], np.zeros((), leaf.dtype))

    told, came = [], []
    for number, start in enumerate(starts):
        past = Past(
            until(array, start, last),
            int(start) if lengths is None else start.astype(np.int32),
            jax.tree.map(lambda leaf, at=start: until(leaf, at + horizon, last + horizon), known),
            number,
        )
        if refit is not None and number % refit_every == 0:
            model = refit(model, past)
        made = jax.tree.map(np.asarray, forecast(model, past))
        shapes = [leaf.shape for leaf in jax.tree.leaves(made)]
        if not shapes or any(shape[:1] != (horizon,) for shape in shapes):
            raise ValueError(
                f"forecast: expected arrays ({horizon}, …), the horizon first, got shapes {shapes}"
            )
        told.append(made)
        steps = start + np.arange(horizon).reshape(-1, *(1 for _ in ends.shape))
        came.append(array[steps] if lengths is None else array[steps, np.arange(len(ends))])
    targets = np.stack(came)
    floating = np.issubdtype(targets.dtype, np.inexact)
    mask = ~np.isnan(targets) if floating else np.ones(targets.shape, bool)
    return Backtest(jax.tree.map(lambda *all: np.stack(all), *told), targets, mask, starts)
