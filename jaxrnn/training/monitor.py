"""What says how good parameters are: the figures of training, or an evaluation."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from .results import Best, Taken

__all__ = ["Monitor"]


class Monitor:
    """Evaluates every so many steps, and keeps the best by one column.

    Args:
      evaluate: ``evaluate(params) -> float`` or floats by name, or None.
      every: steps between evaluations.
      column: what to go by; by default the evaluation where there is one, else the loss.
      mode: "min" or "max", whether less or more is better.

    Raises:
      ValueError: another mode.
    """

    def __init__(
        self,
        evaluate: Callable[[Any], Any] | None,
        every: int,
        column: str | None,
        mode: str,
    ):
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', got {mode!r}")
        self._evaluate, self._every, self._column = evaluate, every, column
        self._sign = 1 if mode == "min" else -1

    def start(self, params: Any) -> Best:
        """The best before there is any."""
        return Best(params, self._sign * math.inf, 0)

    def due(self, number: int, *, last: bool = False) -> bool:
        """Whether to evaluate after a step."""
        return self._evaluate is not None and (last or number % self._every == 0)

    def scores(self, params: Any, row: Mapping[str, float]) -> dict[str, float]:
        """What the evaluation says of parameters, by names that the row does not have."""
        scores = {} if self._evaluate is None else _by_name(self._evaluate(params))
        if scores.keys() & row.keys():
            raise ValueError(f"evaluate: expected names other than {list(row)}, got {list(scores)}")
        if self._column is None and len(scores) > 1:
            raise ValueError(f"monitor: expected one of {list(scores)}, got None")
        return scores

    def better(
        self, best: Best, row: Mapping[str, float], scores: Mapping[str, float], taken: Taken
    ) -> Best:
        """The best after a step: figures of training are of the parameters before it."""
        if self._evaluate is None:
            name, params, step = self._column or "loss", taken.before, taken.number - 1
        elif scores:
            name, params, step = (
                self._column or next(iter(scores)),
                taken.state.params,
                taken.number,
            )
        else:
            return best
        if name not in row:
            raise ValueError(f"monitor: expected one of {list(row)}, got {name!r}")
        said = bool(scores) or not math.isnan(row["loss"])  # an empty batch says nothing
        if said and self._sign * row[name] < self._sign * best.value:  # never true of NaN
            return Best(params, row[name], step)
        return best


def _by_name(given: Any) -> dict[str, float]:
    """What an evaluation returned, by name."""
    scores = given if isinstance(given, Mapping) else {"eval": given}
    if not scores:
        raise ValueError("evaluate: expected a number or numbers by name, got an empty mapping")
    try:
        return {name: float(value) for name, value in jax.device_get(dict(scores)).items()}
    except (TypeError, ValueError) as error:
        raise TypeError(f"evaluate: expected a number or numbers by name, got {given!r}") from error
