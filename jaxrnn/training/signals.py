"""Being asked to stop: SIGTERM and Ctrl-C."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

__all__ = ["Interrupted", "asked_to_stop", "stop_signals"]


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


@contextlib.contextmanager
def stop_signals(enabled: bool = True) -> Iterator[list[int]]:
    """Note SIGTERM and SIGINT instead of dying of them.

    Only the main thread can: elsewhere signals do what they did before. A second signal is noted
    like the first and changes nothing, for terminals and ``make`` like to send two. Of several
    processes JAX notes the SIGTERM itself, for `asked_to_stop` to tell all of them.

    Yields:
      The signals so far.
    """
    received: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    if not enabled or not main or jax.process_count() > 1:
        yield received
        return

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def asked_to_stop(received: list[int], step: int) -> bool:
    """Whether to stop before a step. Several processes agree on one, and it is noted as SIGTERM."""
    if jax.process_count() > 1 and multihost_utils.reached_preemption_sync_point(step):
        received.append(signal.SIGTERM)
    return bool(received)
