"""The device's side of a run: it is given step after step, until there are no more."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from .mesh import Layout
from .results import Taken
from .source import Place, Source
from .step import Step, TrainState

__all__ = ["Steps"]


class Steps:
    """Draws batches and gives the device a step with them.

    Args:
      step: the step.
      source: of the batches.
      layout: where batches and states go.
      state: before the first step to give.
      number: of the steps before it.
      total: the number of steps at which to end, or None.
      accumulate: batches a step.
      asked: ``asked(number) -> bool``, whether to stop after so many steps.
      resumable: whether there are checkpoints: each step then knows its place among the batches,
        and a bad batch ends the run instead of costing it the steps before.

    Attributes:
      state: after the newest step; nobody waits for it.
      number: of the newest step.
      ending: why there are no more steps, once there are none: "steps", "batches", "signal" or
        "failure".
      failure: the error that there was.
    """

    def __init__(
        self,
        step: Step,
        source: Source,
        layout: Layout,
        *,
        state: TrainState,
        number: int,
        total: int | None,
        accumulate: int,
        asked: Callable[[int], bool],
        resumable: bool,
    ):
        self._step, self._source, self._layout = step, source, layout
        self._total, self._accumulate, self._asked = total, accumulate, asked
        self._resumable = resumable
        self._waiting: Taken | None = None
        self.state, self.number = state, number
        self.ending = ""
        self.failure: Exception | None = None

    def draw(self) -> list[Any]:
        """The batches of the next step; none when there is none."""
        if self._asked(self.number):
            self.ending = "signal"
        elif self._total is not None and self.number >= self._total:
            self.ending = "steps"
        else:
            with self._unless_it_fails():
                batches = [self._layout.split(b) for b in self._source.take(self._accumulate)]
                self.ending = "" if batches else "batches"
                return batches
        return []

    def give(self, batches: list[Any]) -> Taken | None:
        """Have the device take a step, and do not wait for it."""
        if not batches:
            return None
        with self._unless_it_fails():
            before = self.state
            state, figures = self._step(before, batches)
            self.state, self.number = self._layout.place(state), self.number + 1
            place = self._source.place if self._resumable else Place()
            return Taken(self.number, before.params, self.state, figures, place)
        return None

    def finished(self, newest: Taken | None, now: Callable[[int], bool]) -> Iterator[Taken]:
        """The step before the newest, with which the device is busy; that too where asked for."""
        waiting, self._waiting = self._waiting, newest
        if waiting is not None:
            yield waiting
        if newest is not None and now(newest.number):
            self._waiting = None
            yield newest

    @contextmanager
    def _unless_it_fails(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._resumable or jax.process_count() > 1:  # the others know of nothing
                raise
            self.ending, self.failure = "failure", error
