"""The host's side of a run: what it has seen of it, and what it does about that."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .checkpoints import Checkpoints
from .history import History
from .monitor import Monitor
from .progress import Clock
from .results import Best, Diverged, Report, Result, Taken
from .source import Place
from .step import TrainState

__all__ = ["Run"]


class Run:
    """How far the host has looked at a run.

    Args:
      state: before the first step.
      place: where the first batch is.
      monitor: says what is best.

    Attributes:
      state: after the last step looked at.
      place: where the batch after it is.
      number: its number.
      row: its figures.
      best: the best so far.
      history: all figures.
      reason: why the run ended, once it has.
      clock: of the steps.
    """

    def __init__(self, state: TrainState, place: Place, monitor: Monitor):
        self.state, self.place, self.number = state, place, 0
        self.row: dict[str, float] = {}
        self.best: Best = monitor.start(state.params)
        self.history = History()
        self.reason = ""
        self.clock = Clock()
        self.monitor = monitor
        self._saved = -1
        self._seconds = 0.0  # of the run before it was resumed

    def record(self, taken: Taken, *, last: bool) -> None:
        """Fetch a step's figures, evaluate where that is due, and note both and the best."""
        figures = {name: value.item() for name, value in jax.device_get(taken.figures).items()}
        self.clock.steps += 1
        row: dict[str, float] = {"step": taken.number}
        row |= {name: figures.pop(name) for name in ("loss", "grad_norm", "skipped")}
        row |= {"seconds": self._seconds + self.clock.seconds} | figures
        scores: dict[str, float] = {}
        if self.monitor.due(taken.number, last=last):
            with self.clock.pause():
                scores = self.monitor.scores(taken.state.params, row)
        row |= scores
        best = self.monitor.better(self.best, row, scores, taken)
        self.history.append(row)
        self.row, self.best = row, best
        self.state, self.place, self.number = taken.state, taken.place, taken.number

    def tell(self, callbacks: Sequence[Callable[[Report], Any]]) -> bool:
        """Tell every callback of the step; whether one asks to stop."""
        report = Report(self.number, self.row, self.state, self.best)
        with self.clock.pause():
            told = [callback(report) for callback in callbacks]
        return any(_is_true(answer) for answer in told)

    def check(self, max_skips: int) -> None:
        """Raise `Diverged` after more than so many steps in a row that were not finite."""
        if self.row["skipped"] > max_skips:
            raise Diverged(self.row, self.result("diverged"))

    def is_stale(self, patience: int | None) -> bool:
        """Whether there was no new best for too long."""
        return patience is not None and self.number - self.best.step >= patience

    def save(self, checkpoints: Checkpoints) -> None:
        """Save all that the rest of the run depends on."""
        if self.number == self._saved:
            return
        tree = {"state": self.state, "best": self.best.params}
        notes = {
            "best": {"value": self.best.value, "step": self.best.step},
            "place": self.place._asdict(),
            "reason": self.reason,
            "history": self.history.pack(),
        }
        with self.clock.pause():
            checkpoints.save(self.number, tree, notes)
        self._saved = self.number

    def restore(self, checkpoints: Checkpoints) -> None:
        """Be the run that saved the newest checkpoint, if there is one."""
        saved = checkpoints.restore({"state": self.state, "best": self.best.params})
        if saved is None:
            return
        notes = saved.notes
        self.state = saved.tree["state"]
        self.best = Best(saved.tree["best"], **notes["best"])
        self.place = Place(**notes["place"])
        self.reason = notes["reason"]
        self.history = History.unpack(notes["history"])
        self._seconds = float(self.history["seconds"][-1]) if len(self.history) else 0.0
        self.number = self._saved = saved.step

    def result(self, reason: str) -> Result:
        """What the run leaves."""
        clock, params = self.clock, self.state.params
        return Result(
            params, self.best, self.state, self.history, reason, clock.rate, clock.compiling
        )


def _is_true(answer: Any) -> bool:
    """Whether a callback returned True, NumPy's or JAX's included, and not just something."""
    kind = getattr(answer, "dtype", type(answer))
    return np.ndim(answer) == 0 and kind in (bool,) and bool(answer)
