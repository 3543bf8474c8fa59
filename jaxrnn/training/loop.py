"""The training loop: steps, evaluation, the best so far, and when to stop."""

import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from .checkpoints import Checkpoints
from .history import History
from .mesh import Layout
from .progress import Clock, progress_line
from .signals import Interrupted, asked_to_stop, stop_signals
from .source import Place, Source
from .step import Loss, Step, TrainState

__all__ = ["Best", "Diverged", "Report", "Result", "fit"]


_log = logging.getLogger(__name__)


class Best(NamedTuple):
    """The parameters with the least monitored figure, that figure, and the steps behind them."""

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
      history: the figures of every step.
      reason: why it ended: "steps", "batches", "patience" or "callback"; with the exceptions,
        "diverged" or "signal".
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


class _Taken(NamedTuple):
    """A step that the device was given and the host has not looked at yet."""

    number: int
    before: Any
    state: TrainState
    figures: dict[str, jax.Array]
    place: Place


class _Run:
    """What the host knows of a run: the last step that it looked at, the best, the history."""

    def __init__(self, state: TrainState, place: Place, monitor: str | None):
        self.state = state
        self.place = place
        self.monitor = monitor
        self.best = Best(state.params, math.inf, 0)
        self.number = 0
        self.saved = -1
        self.row: dict[str, float] = {}
        self.history = History()
        self.clock = Clock()

    def look(self, item: _Taken, evaluate: Callable[[Any], Any] | None, due: bool) -> None:
        """Fetch a step's figures, evaluate if that is due, and note both and the best."""
        figures = {name: value.item() for name, value in jax.device_get(item.figures).items()}
        self.clock.steps += 1
        self.state, self.place, self.number = item.state, item.place, item.number
        first = ("loss", "grad_norm", "skipped")
        row: dict[str, float] = {"step": item.number}
        row |= {name: figures.pop(name) for name in first}
        self.row = row | {"seconds": self.clock.seconds} | figures
        if evaluate is None:
            self._compare(self.monitor or "loss", item.before, item.number - 1)
        elif due:
            with self.clock.pause():
                scores = _scores(evaluate(item.state.params))
            if scores.keys() & self.row.keys():
                raise ValueError(
                    f"evaluate: expected names other than {list(self.row)}, got {list(scores)}"
                )
            if self.monitor is None and len(scores) > 1:
                raise ValueError(f"monitor: expected one of {list(scores)}, got None")
            self.row |= scores
            self._compare(self.monitor or next(iter(scores)), item.state.params, item.number)
        self.history.append(self.row)

    def _compare(self, name: str, params: Any, step: int) -> None:
        if name not in self.row:
            raise ValueError(f"monitor: expected one of {list(self.row)}, got {name!r}")
        if self.row[name] < self.best.value:  # never true of NaN
            self.best = Best(params, self.row[name], step)

    def save(self, checkpoints: Checkpoints) -> None:
        """Save all that the rest of the run depends on."""
        if self.number == self.saved:
            return
        tree = {"state": self.state, "best": self.best.params}
        best = {"value": self.best.value, "step": self.best.step}
        with self.clock.pause():
            checkpoints.save(self.number, tree, {"best": best, "place": self.place._asdict()})
        self.saved = self.number

    def restore(self, checkpoints: Checkpoints) -> None:
        """Be the run that saved the newest checkpoint, if there is one."""
        saved = checkpoints.restore({"state": self.state, "best": self.best.params})
        if saved is not None:
            self.state = saved.tree["state"]
            self.best = Best(saved.tree["best"], **saved.notes["best"])
            self.place = Place(**saved.notes["place"])
            self.number = self.saved = saved.step

    def result(self, reason: str) -> Result:
        return Result(
            self.state.params,
            self.best,
            self.state,
            self.history,
            reason,
            self.clock.rate,
            self.clock.compiling,
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
    patience: int | None = None,
    max_skips: int = 10,
    callbacks: Sequence[Callable[[Report], Any]] = (),
    progress: bool | None = None,
    checkpoints: Checkpoints | None = None,
    resume: bool = False,
    mesh: Mesh | None = None,
    batch_spec: Any = None,
) -> Result:
    """Minimise any loss with any optax optimizer.

    θ ← θ + update(∇_θ loss(θ, batch)), once for every batch.

    The host works one step behind the device: while it reads the figures of a step, the next one
    runs. Nothing is decided late for it: what ends the run at a step returns that step's state.

    Args:
      loss: ``loss(params, batch) -> value``, a real scalar; called with ``key=`` and ``state=`` as
        well where ``fit`` is given those. May return ``(value, metrics)`` or
        ``(value, Aux(weight, state, metrics))``.
      params: initial parameters, any pytree of floating-point arrays, on the devices (or in the
        sharding) where they are to stay. Not modified.
      optimizer: from optax. Clipping and schedules are chained into it; line searches
        (``optax.lbfgs()``) are given what they need.
      batches: an iterable of pytrees, started again when it ends (an iterator ends the run).
        ``itertools.repeat(batch)`` for one batch. One compilation for every shape among them.
      steps: number of steps; by default as many as the batches give.
      epochs: number of passes over ``batches``; by default one, or without limit given ``steps``.
      key: PRNG key. The loss gets one of its own for every batch, folded from the batch's number.
      state: initial carried state for truncated backpropagation through time. The loss returns
        the next one in ``Aux.state``; no gradient flows through it from batch to batch.
      accumulate: number of batches that make one step, weighted by ``Aux.weight``.
      fixed_batch: promise that every batch is the same, so that L-BFGS reuses the value and
        gradient that its line search ended with. Saves one gradient a step.
      evaluate: ``evaluate(params) -> float`` or floats by name; the smaller the better.
      evaluate_every: steps between evaluations. The last step is always evaluated.
      monitor: column whose least value says what is best; by default the evaluation where there is
        one (required if it has several names), else the training loss.
      patience: stop after so many steps without a new best.
      max_skips: a step whose loss, gradient or update is not finite is skipped (the parameters,
        the optimizer's and the carried state stay); after more than so many in a row the run stops.
      callbacks: functions of a `Report`, called in order after every step; returning True ends the
        run.
      progress: show the live line; by default where standard error is a terminal.
      checkpoints: where to save, and how often. SIGTERM and Ctrl-C then finish the step, save and
        raise `Interrupted`.
        A batch that cannot be had or used costs no step before it: they are saved, then the error
        is raised.
      resume: go on from the newest checkpoint, if there is one, bit for bit as if the run had
        never stopped; ``steps`` and ``epochs`` count from its beginning.
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
      OSError: a checkpoint could not be written; the ones before it are whole.
      ValueError: no batch, a size below its least, a loss that is not a real scalar, checkpoints
        of another model, or of another run where ``resume`` is not asked for, a batch that the
        mesh does not divide.

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
    sizes = {"steps": (steps, 0), "epochs": (epochs, 1), "accumulate": (accumulate, 1)}
    sizes |= {"evaluate_every": (evaluate_every, 1), "patience": (patience, 1)}
    for name, (size, least) in (sizes | {"max_skips": (max_skips, 0)}).items():
        if size is not None and (not isinstance(size, int) or size < least):
            raise ValueError(f"{name}: expected a whole number of at least {least}, got {size!r}")
    if fixed_batch and accumulate > 1:
        raise ValueError(f"accumulate: expected 1 with fixed_batch, got {accumulate}")
    if resume and checkpoints is None:
        raise ValueError("checkpoints: expected some to resume from, got None")

    step = Step(loss, optimizer, fixed_batch=fixed_batch)
    source = Source(batches, 1 if steps is None and epochs is None else epochs)
    layout = Layout(mesh, batch_spec)
    run = _Run(layout.place(step.init(params, key=key, state=state)), source.place, monitor)
    with ExitStack() as stack:
        if checkpoints is not None:
            stack.enter_context(checkpoints)
            if resume:
                run.restore(checkpoints)
                source.move(run.place)
            elif checkpoints.steps():
                raise ValueError(
                    f"checkpoints: expected an empty folder or resume=True, got steps "
                    f"{checkpoints.steps()} in {checkpoints.directory}"
                )
        signals = stack.enter_context(stop_signals(checkpoints is not None))
        first = jax.process_index() == 0  # of several processes one talks
        show = stack.enter_context(progress_line(steps, show=progress if first else False))
        run.clock = stack.enter_context(Clock())
        latest, taken, reason, queue = run.state, run.number, "", deque[_Taken]()
        failure: Exception | None = None

        while not reason:
            stopping = checkpoints is not None and asked_to_stop(signals, taken)
            going = not stopping and (steps is None or taken < steps)
            before, group = latest, []
            try:
                group = [layout.split(b) for b in source.take(accumulate)] if going else []
                latest, figures = step(before, group) if group else (before, {})
            except Exception as error:  # a bad batch must not cost the steps before it
                if checkpoints is None or jax.process_count() > 1:  # the others know of nothing
                    raise
                failure, group, figures = error, [], {}
            if group:
                latest = layout.place(latest)
                taken += 1
                place = source.place if checkpoints is not None else run.place
                queue.append(_Taken(taken, before.params, latest, figures, place))
            elif failure is not None:
                reason = "failure"
            else:
                reason = "signal" if signals else "batches" if going else "steps"

            # The device is busy with the newest step: time to look at the one before it.
            behind = 0 if not group or (evaluate and taken % evaluate_every == 0) else 1
            while len(queue) > behind:
                item = queue.popleft()
                final = not queue and reason in ("steps", "batches")
                run.look(item, evaluate, final or item.number % evaluate_every == 0)
                show(run.number, run.row, run.clock)
                if run.row["skipped"] > max_skips:
                    raise Diverged(run.row, run.result("diverged"))
                report = Report(run.number, run.row, run.state, run.best)
                with run.clock.pause():
                    told = [callback(report) for callback in callbacks]
                if any(_is_true(answer) for answer in told):
                    reason = "callback"
                    break
                if patience is not None and run.number - run.best.step >= patience:
                    reason = "patience"
                    break
                if checkpoints is not None and run.number % checkpoints.every == 0:
                    run.save(checkpoints)

        if checkpoints is not None:
            if failure is None or run.number:
                run.save(checkpoints)
            checkpoints.wait()
    if failure is not None:
        raise failure
    if signals and checkpoints is not None:
        stopped = Interrupted(signals[0], run.number, run.result("signal"))
        _log.warning(
            "%s: stopped after step %d, saved in %s",
            *(stopped.signal.name, stopped.step, checkpoints.directory),
        )
        raise stopped
    return run.result(reason)


def _is_true(answer: Any) -> bool:
    """Whether a callback returned True, NumPy's or JAX's included, and not just something."""
    kind = getattr(answer, "dtype", type(answer))
    return np.ndim(answer) == 0 and kind in (bool,) and bool(answer)


def _scores(given: Any) -> dict[str, float]:
    """What an evaluation returned, by name."""
    scores = given if isinstance(given, Mapping) else {"eval": given}
    if not scores:
        raise ValueError("evaluate: expected a number or numbers by name, got an empty mapping")
    try:
        return {name: float(value) for name, value in jax.device_get(dict(scores)).items()}
    except (TypeError, ValueError) as error:
        raise TypeError(f"evaluate: expected a number or numbers by name, got {given!r}") from error
