"""The training loop: batches, step, record, the work that is due, and when to stop."""

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import jax
import optax
from jax.sharding import Mesh

from .checkpoints import Checkpoints
from .mesh import Layout
from .monitor import Monitor
from .progress import Show, progress_line
from .results import Report, Result
from .run import Run
from .signals import Cancelled, Interrupted, stop_signals
from .source import Source
from .step import Loss, Step
from .steps import Steps

__all__ = ["fit"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Limits:
    """The sizes that a run is held to."""

    steps: int | None
    epochs: int | None
    accumulate: int
    evaluate_every: int
    patience: int | None
    max_skips: int

    def __post_init__(self) -> None:
        for name, size in vars(self).items():
            least = 0 if name in ("steps", "max_skips") else 1
            if size is not None and (not isinstance(size, int) or size < least):
                raise ValueError(
                    f"{name}: expected a whole number of at least {least}, got {size!r}"
                )


def fit(
    loss: Loss,
    params: Any,
    optimizer: optax.GradientTransformation,
    batches: Iterable[Any],
    *,
    steps: int | None = None,
    epochs: int | None = None,
    key: Any = None,
    state: Any = None,
    accumulate: int = 1,
    fixed_batch: bool = False,
    evaluate: Callable[[Any], Any] | None = None,
    evaluate_every: int = 100,
    monitor: str | None = None,
    mode: Literal["min", "max"] = "min",
    patience: int | None = None,
    max_skips: int = 10,
    callbacks: Sequence[Callable[[Report], Any]] = (),
    progress: bool = True,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    mesh: Mesh | None = None,
    batch_spec: Any = None,
) -> Result:
    """Minimise any loss with any optax optimizer.

    θ ← θ + update(∇_θ loss(θ, batch)), once for every batch.

    The host works one step behind the device: while it reads the figures of a step, the next one
    runs. Nothing is decided late for it: what ends the run at a step returns that step's state.
    Without checkpoints Ctrl-C raises `Cancelled`, with the result so far.

    Args:
      loss: ``loss(params, batch) -> value``, a real scalar; called with ``key=`` and ``state=`` as
        well where ``fit`` is given those. May return ``(value, metrics)`` or
        ``(value, Aux(weight, state, metrics))``.
      params: initial parameters, any pytree of floating-point or complex arrays, on the devices
        (or in the sharding) where they are to stay. Not modified.
      optimizer: from optax. Clipping and schedules are chained into it; line searches
        (``optax.lbfgs()``), Sophia and SAM (not in a chain; best with ``opaque_mode=True``) are
        given what they need.
      batches: an iterable of pytrees, started again when it ends (an iterator ends the run).
        ``itertools.repeat(batch)`` for one batch. One compilation for every shape among them. What
        is one batch itself, an array or a tuple of arrays, is refused.
      steps: number of steps; by default as many as the batches give.
      epochs: number of passes over ``batches``; by default one, or without limit given ``steps``.
      key: PRNG key. The loss gets one of its own for every batch, folded from the number of
        batches that the run has had before it.
      state: initial carried state for truncated backpropagation through time. The loss returns
        the next one in ``Aux.state``; no gradient flows through it from batch to batch.
      accumulate: number of batches that make one step, weighted by ``Aux.weight``.
      fixed_batch: promise that every batch is the same, so that L-BFGS reuses the value and
        gradient that its line search ended with. Saves one gradient a step.
      evaluate: ``evaluate(params) -> float`` or floats by name.
      evaluate_every: steps between evaluations. The last step is always evaluated.
      monitor: column that says what is best; by default the evaluation where there is one
        (required if it has several names), else the training loss.
      mode: "min" or "max": whether its least or its greatest value is best.
      patience: stop after so many steps without a new best.
      max_skips: a step whose loss, gradient or update is not finite is skipped (the parameters,
        the optimizer's and the carried state stay); after more than so many in a row the run stops.
        A step of weight 0 is not one of them, whatever its loss (see `Aux`).
      callbacks: functions of a `Report`, called in order after every step; returning True ends the
        run.
      progress: show a live line on standard error; where that is no terminal, print the first
        step, the last one, and one every 30 seconds.
      checkpoints: where to save, and how often. SIGTERM and Ctrl-C then finish the step, save and
        raise `Interrupted`.
        A batch that cannot be had or used costs no step before it: they are saved, then the error
        is raised.
      resume: go on from the newest checkpoint, if there is one, bit for bit as if the run had
        never stopped; ``steps`` and ``epochs`` count from its beginning. A run that ``patience`` or
        a callback ended stays ended, and is returned at once: unless ``patience`` is longer now,
        or no callbacks are given.
      mesh: devices to train on, those of several processes included. Parameters, key and carried
        state stay in their sharding where that is over the mesh's devices, else each device has
        all of them; so do the optimizer's state and whatever a step returns.
      batch_spec: how batches are split over the mesh: a `jax.sharding.PartitionSpec`, or a pytree
        of them that is a prefix of the batch. By default ``PartitionSpec(None, "data")``: the
        second axis of every array, the first being time. Scalars go to every device. Of several
        processes each draws what belongs on its own devices.

    Returns:
      `Result`: last and best parameters, history, reason. The training loss of a step is that of
      the parameters before its update, and the best by training loss are those; an evaluation is
      of the parameters after it.

    Raises:
      Diverged: more than ``max_skips`` steps in a row were not finite; carries the result so far.
      Interrupted: SIGTERM or Ctrl-C, after saving; a SystemExit with code 75.
      Cancelled: Ctrl-C without checkpoints; a KeyboardInterrupt that carries the result so far.
      OSError: a checkpoint could not be written; the ones before it are whole.
      ValueError: no batch, a size below its least, a loss that is not a real scalar, checkpoints
        of another model, or of another run where ``resume`` is not asked for, a batch that the
        mesh does not divide.
      TypeError: an optimizer, key or batches of another kind; a loss or an evaluation that returns
        something else; an optimizer that cannot take these parameters.

    Example:
      >>> import itertools, jax.numpy as jnp, optax
      >>> from jaxrnn import training
      >>> def loss(params, batch):
      ...     x, y = batch
      ...     return jnp.mean((params["w"] * x - y) ** 2)
      >>> x = jnp.linspace(-1.0, 1.0, 50)
      >>> batches = itertools.repeat((x, 3 * x))
      >>> params = {"w": jnp.zeros(())}
      >>> result = training.fit(loss, params, optax.lbfgs(), batches, steps=5, fixed_batch=True)
      >>> round(float(result.params["w"]), 3), len(result.history)
      (3.0, 5)
    """
    limits = _Limits(steps, epochs, accumulate, evaluate_every, patience, max_skips)
    if fixed_batch and accumulate > 1:
        raise ValueError(f"accumulate: expected 1 with fixed_batch, got {accumulate}")
    if resume and checkpoints is None:
        raise ValueError("checkpoints: expected some to resume from, got None")
    step = Step(loss, optimizer, fixed_batch=fixed_batch)
    source = Source(batches, 1 if steps is None and epochs is None else epochs)
    layout = Layout(mesh, batch_spec)
    start = layout.place(step.init(params, key=key, state=state))
    run = Run(start, source.place, Monitor(evaluate, evaluate_every, monitor, mode))
    with ExitStack() as stack:
        if checkpoints is not None:
            stack.enter_context(checkpoints)
            _open(run, source, checkpoints, resume)
        signals = stack.enter_context(stop_signals(checkpoints is not None))
        show = stack.enter_context(progress_line(steps, show=progress and not jax.process_index()))
        stack.enter_context(run.clock)
        ahead = Steps(
            step,
            source,
            layout,
            state=run.state,
            number=run.number,
            total=steps,
            accumulate=accumulate,
            asked=signals.asked,
            resumable=checkpoints is not None,
        )
        try:
            run.reason = _ended(run, limits, callbacks) or _loop(
                ahead, run, limits, show, callbacks, checkpoints
            )
        except KeyboardInterrupt as error:
            raise Cancelled(run.result("cancelled")) from error
        if checkpoints is not None:
            _close(run, ahead, checkpoints)
    if ahead.failure is not None:
        raise ahead.failure
    if checkpoints is not None and signals.received:
        raise _interrupted(run, signals.received[0], checkpoints)
    return run.result(run.reason)


def _loop(
    ahead: Steps,
    run: Run,
    limits: _Limits,
    show: Show,
    callbacks: Sequence[Callable[[Report], Any]],
    checkpoints: Checkpoints | None,
) -> str:
    """Take steps until something ends the run, and say what; the host is one step behind."""
    while True:
        batches = ahead.draw()
        newest = ahead.give(batches)
        for taken in ahead.finished(newest, now=run.monitor.due):
            run.record(taken, last=ahead.ending in ("steps", "batches"))
            show(run.number, run.row, run.clock)
            run.check(limits.max_skips)
            if run.tell(callbacks):
                return "callback"
            if run.is_stale(limits.patience):
                return "patience"
            if checkpoints is not None and run.number % checkpoints.every == 0:
                run.save(checkpoints)
        if newest is None:
            return ahead.ending


def _open(run: Run, source: Source, checkpoints: Checkpoints, resume: bool) -> None:
    """Go to where the newest checkpoint is, or make sure that there is none."""
    if resume:
        run.restore(checkpoints)
        source.move(run.place)
    elif checkpoints.steps():
        raise ValueError(
            f"checkpoints: expected an empty folder or resume=True, got steps "
            f"{checkpoints.steps()} in {checkpoints.directory}"
        )


def _ended(run: Run, limits: _Limits, callbacks: Sequence[Any]) -> str:
    """Why a restored run goes no further: what ended it, if that still would."""
    if run.reason == "callback" and callbacks:
        return "callback"
    return "patience" if run.is_stale(limits.patience) else ""


def _close(run: Run, ahead: Steps, checkpoints: Checkpoints) -> None:
    """Save the last step, unless the first one failed, and wait until that is done."""
    if ahead.failure is None or run.number:
        run.save(checkpoints)
    checkpoints.wait()


def _interrupted(run: Run, received: int, checkpoints: Checkpoints) -> Interrupted:
    stopped = Interrupted(received, run.number, run.result("signal"))
    _log.warning(
        "%s: stopped after step %d, saved in %s",
        *(stopped.signal.name, stopped.step, checkpoints.directory),
    )
    return stopped
