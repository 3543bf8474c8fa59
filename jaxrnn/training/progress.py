"""What a run shows as it goes: steps, loss, gradient norm, speed, time left."""

import contextlib
import math
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Column

__all__ = ["Clock", "progress_line"]


class Clock:
    """Time spent in steps alone: compilation, evaluations and checkpoints are left out.

    As a context manager it listens to what JAX reports of its own tracing and compiling in this
    thread, whoever asks for it: the step, an evaluation, a callback.

    Attributes:
      steps: finished steps.
      compiling: seconds spent tracing and compiling.
    """

    def __init__(self) -> None:
        self.steps = 0
        self.compiling = 0.0
        self._start = time.perf_counter()
        self._paused = 0.0
        self._thread = threading.get_ident()
        self._spans: list[tuple[float, float]] = []

    def __enter__(self) -> Self:
        self._start = time.perf_counter()
        jax.monitoring.register_event_duration_secs_listener(self._listen)
        return self

    def __exit__(self, *_: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._listen)

    def _listen(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if not event.startswith("/jax/core/compile/") or threading.get_ident() != self._thread:
            return
        start = time.perf_counter() - duration_secs
        while self._spans and self._spans[-1][0] >= start:  # was inside this one
            self.compiling -= self._spans.pop()[1]
        self._spans.append((start, duration_secs))
        self.compiling += duration_secs

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Leave what happens inside out of the rate."""
        since = self.seconds
        try:
            yield
        finally:
            self._paused += self.seconds - since

    @property
    def seconds(self) -> float:
        """Seconds since the start, without compilation, with evaluations and all the rest."""
        return time.perf_counter() - self._start - self.compiling

    @property
    def rate(self) -> float:
        """Steps a second."""
        return self.steps / max(self.seconds - self._paused, 1e-9)

    def left(self, steps: int) -> float:
        """Seconds that so many more steps will take at the pace so far."""
        return steps * self.seconds / self.steps if self.steps else math.inf


class Show(Protocol):
    """Shows one step: its number, figures and the clock."""

    def __call__(self, step: int, row: Mapping[str, float], clock: Clock) -> None: ...


@contextlib.contextmanager
def progress_line(
    total: int | None, *, show: bool = True, console: Console | None = None, every: float = 30.0
) -> Iterator[Show]:
    """A live line on standard error; where that is no terminal, a printed line now and then.

    Args:
      total: the number of steps, where known.
      show: whether to show anything.
      console: where to write.
      every: seconds between printed lines; the first and the last step are printed in any case.

    Yields:
      A function that shows one step.
    """
    console = console or Console(stderr=True)
    if not show:
        yield lambda step, row, clock: None
    elif console.is_terminal or console.is_jupyter:
        with _live(total, console) as update:
            yield update
    else:
        with _printed(total, console, every) as update:
            yield update


@contextlib.contextmanager
def _live(total: int | None, console: Console) -> Iterator[Show]:
    bar = Progress(
        SpinnerColumn(),
        TextColumn(_count("{task.completed}", total)),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[text]}", table_column=Column(ratio=1, no_wrap=True)),
        console=console,
        refresh_per_second=4,
        redirect_stdout=sys.stdout.isatty(),
    )
    task: Any = bar.add_task("", total=total, text="compiling")
    latest: dict[str, float] = {}

    def update(step: int, row: Mapping[str, float], clock: Clock) -> None:
        latest.update(row)
        bar.update(task, completed=step, text=_words(step, latest, clock, total))

    with bar:
        yield update


@contextlib.contextmanager
def _printed(total: int | None, console: Console, every: float) -> Iterator[Show]:
    latest: dict[str, float] = {}
    line, printed, since = "", "", -math.inf

    def write() -> None:
        nonlocal printed, since
        printed, since = line, time.monotonic()
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    def update(step: int, row: Mapping[str, float], clock: Clock) -> None:
        nonlocal line
        latest.update(row)
        line = f"step {_count(step, total)}  {_words(step, latest, clock, total)}"
        if time.monotonic() - since >= every:
            write()

    try:
        yield update
    finally:
        if line != printed:
            write()


def _count(step: object, total: int | None) -> str:
    return str(step) if total is None else f"{step}/{total}"


def _words(step: int, figures: Mapping[str, float], clock: Clock, total: int | None) -> str:
    """Speed, time left and figures."""
    hidden = {"step", "seconds", "skipped"}
    words = [f"{clock.rate:.3g} steps/s"]
    if total is not None:
        words.append(f"{duration(clock.left(total - step))} left")
    words += [f"{name} {value:.3g}" for name, value in figures.items() if name not in hidden]
    return "  ".join(words)


def duration(seconds: float) -> str:
    """Seconds as people read them: 1:02:03, 4:05, 6 s."""
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}" if minutes else f"{rest} s"
