"""What a run tells while it goes and leaves when it ends."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from .history import History
from .source import Place
from .step import TrainState

__all__ = ["Best", "Diverged", "Report", "Result", "Taken"]


class Taken(NamedTuple):
    """A step that the device was given and the host has not looked at yet."""

    number: int
    before: Any
    state: TrainState
    figures: dict[str, jax.Array]
    place: Place


class Best(NamedTuple):
    """The parameters with the best monitored figure, that figure, and the steps behind them."""

    params: Any
    value: float
    step: int


class Report(NamedTuple):
    """What a callback is told after a step.

    Attributes:
      step: number of the step, from 1.
      row: its figures by name: loss; grad_norm; skipped, 0 or how many steps in a row were by
        now; seconds since the start, compilation left out; metrics; evaluation, where it was due.
      state: everything after the step; ``state.params`` are the parameters.
      best: the best so far.
    """

    step: int
    row: Mapping[str, float]
    state: TrainState
    best: Best


class Result(NamedTuple):
    """What a run leaves.

    Attributes:
      params: the parameters after the last step.
      best: the best so far; ``best.params`` is what to use.
      state: everything after the last step.
      history: the figures of every step, those before a resume included.
      reason: why it ended: "steps", "batches", "patience" or "callback"; with the exceptions,
        "diverged", "signal" or "cancelled".
      rate: steps a second, compilation, evaluation and checkpoints left out.
      compiling: seconds spent tracing and compiling, for steps and evaluations alike.
    """

    params: Any
    best: Best
    state: TrainState
    history: History
    reason: str
    rate: float
    compiling: float


class Diverged(ArithmeticError):
    """Too many steps in a row were not finite; what was reached before is in ``result``.

    Attributes:
      step: number of the last step.
      loss: its loss.
      norm: its gradient's global norm.
      result: as `fit` would have returned it; the parameters are those of the last finite step.
    """

    def __init__(self, row: Mapping[str, float], result: Result):
        self.step = int(row["step"])
        self.loss = row["loss"]
        self.norm = row["grad_norm"]
        self.result = result
        super().__init__(
            f"stopped at step {self.step}: {row['skipped']:g} steps in a row were not finite "
            f"(loss {self.loss:g}, gradient norm {self.norm:g}); "
            f"best so far {result.best.value:g} at step {result.best.step}"
        )
