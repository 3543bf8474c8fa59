"""Being asked to stop: SIGTERM and Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

__all__ = ["Cancelled", "Interrupted", "Signals", "stop_signals"]


class Interrupted(SystemExit):
    """A run was asked to stop, has finished its step and saved a checkpoint.

    Left uncaught it ends the process with exit code 75 (``EX_TEMPFAIL``: try again later), which
    no crash has.

    Attributes:
      signal: SIGTERM or SIGINT.
      step: the number of steps taken, all in the checkpoint.
      result: as `fit` would have returned it.
    """

    def __init__(self, received: int, step: int, result: Any):
        super().__init__(75)
        self.signal, self.step, self.result = signal.Signals(received), step, result


class Cancelled(KeyboardInterrupt):
    """Ctrl-C ended a run that has no checkpoints; what was reached before is in ``result``.

    Attributes:
      result: as `fit` would have returned it after the last step whose figures were read.
    """

    def __init__(self, result: Any):
        super().__init__(f"stopped after step {int(result.state.step)}; see the result attribute")
        self.result = result


class Signals:
    """The signals that a run was sent.

    Args:
      enabled: whether to heed them.

    Attributes:
      received: their numbers, in order.
    """

    def __init__(self, enabled: bool):
        self.received: list[int] = []
        self._shared = enabled and jax.process_count() > 1

    def asked(self, step: int) -> bool:
        """Whether to stop before a step. Several processes agree on one, as if by SIGTERM."""
        if self._shared and multihost_utils.reached_preemption_sync_point(step):
            self.received.append(signal.SIGTERM)
        return bool(self.received)


@contextlib.contextmanager
def stop_signals(enabled: bool = True) -> Iterator[Signals]:
    """Note SIGTERM and SIGINT instead of dying of them.

    Only the main thread can: elsewhere signals do what they did before. A second signal is noted
    like the first and changes nothing, for terminals and ``make`` like to send two. Of several
    processes JAX notes the SIGTERM itself, for `Signals.asked` to tell all of them.

    Yields:
      The signals so far.
    """
    signals = Signals(enabled)
    main = threading.current_thread() is threading.main_thread()
    if not enabled or not main or jax.process_count() > 1:
        yield signals
        return

    def note(number: int, frame: FrameType | None) -> None:
        signals.received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
