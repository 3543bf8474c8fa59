"""One guarded optimizer step, for any loss and any optax optimizer.

``TrainState`` is all that changes from step to step; ``Step`` maps (state, batches) to the next.
A step whose loss, gradient or update is not finite leaves everything but its counters untouched,
and decides so on the device, without asking the host.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from . import optimizers
from .leaves import is_key

__all__ = ["Aux", "Loss", "Step", "TrainState"]

Loss = Callable[..., Any]
"""``loss(params, batch[, key=…][, state=…]) -> value`` or ``(value, aux)``."""


class Aux(NamedTuple):
    """What a loss may return beside its value: ``return value, Aux(weight=mask.sum())``.

    A loss with nothing but metrics may return a plain mapping instead.

    Attributes:
      weight: number of valid steps (or examples) that the value is the mean of; what
        micro-batches are weighted by when gradients accumulate. A step of weight 0 has nothing to
        learn from: it hands on the carried state and changes nothing else.
      state: the carried state for the next batch, where ``fit`` was given one.
      metrics: scalars for the history, by name.
    """

    weight: ArrayLike = 1.0
    state: Any = None
    metrics: Mapping[str, ArrayLike] = {}


class TrainState(NamedTuple):
    """Everything that a training step reads and replaces.

    Attributes:
      params: the parameters, any pytree.
      opt_state: the optimizer's state.
      step: int32, steps taken, skipped ones included.
      batches: int32, batches that those steps have seen; the next one's index.
      skips: int32, how many of the latest steps in a row were not finite and so skipped.
      key: PRNG key that every batch's key is folded from, or None.
      carried: the state that the loss hands from batch to batch, or None.
    """

    params: Any
    opt_state: Any
    step: jax.Array
    batches: jax.Array
    skips: jax.Array
    key: Any
    carried: Any


class _Sum(NamedTuple):
    """What the batches of a step come to."""

    batches: int
    weight: ArrayLike
    value: jax.Array
    grads: Any
    aux: Aux


class Step:
    """A jitted training step: ``step(state, batches) -> (state, figures)``.

    One mechanism for every optimizer: its update is offered, besides the gradient, ``value``,
    ``grad``, ``value_fn`` and optax's other names for the loss (``obj_fn``, ``grad_fn``), and given
    those that its signature takes. So line searches, Polyak's step, Sophia and SAM work as they
    are. The gradient of a complex parameter is conjugated, to point up the loss.

    Several batches make one step with the gradient of their weighted mean,

        g = Σ_i w_i g_i / Σ_i w_i,

    where w_i is ``Aux.weight``: with w_i the number of valid steps and each loss a mean over them,
    this is the gradient of the whole. The batches may differ in shape; the carried state is handed
    from one to the next.

    Args:
      loss: ``loss(params, batch)``, with ``key=`` and ``state=`` where the state holds them.
      optimizer: any optax transformation. Clipping, schedules and the like are chained into it.
      fixed_batch: promise that the loss is the same function at every step, so that a line
        search's last value and gradient are used instead of being computed again.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from jaxrnn.training.step import Step
      >>> step = Step(lambda w, batch: jnp.mean((w - batch) ** 2), optax.sgd(0.5))
      >>> state, figures = step(step.init(jnp.zeros(2)), [jnp.array([1.0, 3.0])])
      >>> state.params.tolist(), float(figures["loss"]), step.traces
      ([0.5, 1.5], 5.0, 1)
    """

    def __init__(
        self,
        loss: Loss,
        optimizer: optax.GradientTransformation,
        *,
        fixed_batch: bool = False,
    ):
        if not callable(loss):
            raise TypeError(f"loss: expected a function, got {type(loss).__name__}")
        self.loss = loss
        self.optimizer = optimizers.checked(optimizer)
        self.fixed_batch = fixed_batch
        self.traces = 0
        """How often a step has been traced, that is compiled: once per shape of batch."""
        self._whole = jax.jit(self._whole_step)
        self._part = jax.jit(self._add_part)
        self._finish = jax.jit(self._apply_parts)

    def init(self, params: Any, *, key: Any = None, state: Any = None) -> TrainState:
        """The state before the first step; ``params`` are copied."""
        if self.fixed_batch and (key is not None or state is not None):
            raise ValueError("fixed_batch: expected a loss without key and state, got one with")
        _check_key(key)
        _check_floating(params)
        params = _strong(params)
        opt_state = _strong(self.optimizer.init(params))
        optimizers.check_complex(params, opt_state)
        zero = jnp.zeros((), jnp.int32)
        return TrainState(params, opt_state, zero, zero, zero, key, _strong(state))

    def __call__(
        self, state: TrainState, batches: Sequence[Any]
    ) -> tuple[TrainState, dict[str, jax.Array]]:
        """Take one step with the gradient of one batch or of the weighted mean of several."""
        if not batches:
            raise ValueError("batches: expected at least one batch, got none")
        if len(batches) == 1:
            return self._whole(state, batches[0])
        total = jax.tree.map(lambda p: jnp.zeros(p.shape, _wide(p)), state.params)
        carried, parts = state.carried, []
        for i, batch in enumerate(batches):
            total, carried, part = self._part(state, total, carried, batch, i)
            parts.append(part)
        return self._finish(state, total, carried, parts)

    # One batch: gradient and update in one program.

    def _whole_step(self, state: TrainState, batch: Any):
        self.traces += 1
        run = partial(self._run, batch=batch, key=_key(state, 0), state=state.carried)

        def value_fn(params: Any) -> jax.Array:
            return run(params)[0]

        kept = None
        if self.fixed_batch:
            dtype = jax.eval_shape(value_fn, state.params).dtype
            kept = optimizers.kept(state.opt_state, state.params, dtype)
        if kept is None:
            value, aux, grads = _gradient(run, state.params)
        else:
            aux = Aux()
            value, grads = jax.lax.cond(
                jnp.isfinite(kept.value),
                lambda params: (kept.value, kept.grad),
                jax.value_and_grad(value_fn),
                state.params,
            )
        return self._update(state, _Sum(1, aux.weight, value, grads, aux), value_fn)

    # Several: one program per shape of micro-batch that adds w·g to the total, one that applies it.

    def _add_part(self, state: TrainState, total: Any, carried: Any, batch: Any, i: Any):
        self.traces += 1
        run = partial(self._run, batch=batch, key=_key(state, i), state=carried)
        value, aux, grads = _gradient(run, state.params)
        weight = jnp.asarray(aux.weight, _wide(value))
        some = weight > 0  # an empty micro-batch has a mean over nothing: NaN, and no say
        total = jax.tree.map(
            lambda t, g: t + jnp.where(some, g.astype(t.dtype) * weight.astype(t.dtype), 0),
            total,
            grads,
        )
        return total, aux.state, (weight, value, aux.metrics)

    def _apply_parts(self, state: TrainState, total: Any, carried: Any, parts: list[Any]):
        weights = jnp.stack([weight for weight, _, _ in parts])

        def mean(*values: jax.Array) -> jax.Array:
            stacked = jnp.stack(values).astype(weights.dtype)
            return jnp.sum(jnp.where(weights > 0, stacked * weights, 0)) / jnp.sum(weights)

        grads = jax.tree.map(lambda t: t / jnp.sum(weights).astype(t.dtype), total)
        grads = jax.tree.map(lambda g, p: g.astype(p.dtype), grads, state.params)
        value = mean(*(value for _, value, _ in parts))
        metrics = jax.tree.map(mean, *(metrics for _, _, metrics in parts))

        aux = Aux(state=carried, metrics=metrics)
        return self._update(state, _Sum(len(parts), jnp.sum(weights), value, grads, aux))

    # Shared.

    def _run(self, params: Any, batch: Any, key: Any, state: Any) -> tuple[jax.Array, Aux]:
        """Call the user's loss and bring what it returns to one form."""
        given = {"key": key, "state": state}
        out = self.loss(params, batch, **{k: v for k, v in given.items() if v is not None})
        value, aux = out if isinstance(out, tuple) and len(out) == 2 else (out, Aux())
        aux = aux if isinstance(aux, Aux) else Aux(metrics=aux)
        if not isinstance(aux.metrics, Mapping):
            raise TypeError(
                "loss: expected (value, Aux or a mapping of metrics), got "
                f"(value, {type(aux.metrics).__name__})"
            )
        value = jnp.asarray(value)
        if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(
                f"loss: expected a real scalar, got shape {value.shape} dtype {value.dtype}"
            )
        taken = {"step", "loss", "grad_norm", "skipped", "seconds"} & set(aux.metrics)
        if taken:
            raise ValueError(f"loss: expected other names for the metrics {sorted(taken)}")
        if self.fixed_batch and aux.metrics:
            raise ValueError("fixed_batch: expected a loss without metrics, got one with")
        same = _shapes(aux.state) == _shapes(state)
        if not same:
            raise ValueError(
                f"loss: expected Aux.state like the state it was given, {_shapes(state)}, "
                f"got {_shapes(aux.state)}"
            )
        return value, aux._replace(metrics=dict(aux.metrics))

    def _update(
        self, state: TrainState, of: _Sum, value_fn: Callable[[Any], jax.Array] | None = None
    ):
        """The next state, from the gradient of a step's batches."""
        updates, opt_state = optimizers.update(
            self.optimizer, of.grads, state.opt_state, state.params, of.value, value_fn
        )
        params = optax.apply_updates(state.params, updates)
        norm = _norm(of.grads)
        finite = jnp.isfinite(of.value) & jnp.isfinite(norm) & jnp.isfinite(_norm(updates))
        empty = jnp.asarray(of.weight) == 0
        learns = finite & ~empty

        def keep(ok: jax.Array, new: Any, old: Any) -> Any:
            return jax.tree.map(partial(_select, ok), new, old)

        skips = jnp.where(empty, state.skips, jnp.where(finite, 0, state.skips + 1))
        new = TrainState(
            keep(learns, params, state.params),
            keep(learns, opt_state, state.opt_state),
            state.step + 1,
            state.batches + of.batches,
            skips,
            state.key,
            keep(finite | empty, of.aux.state, state.carried),
        )
        loss = jnp.where(empty, jnp.nan, of.value)
        return new, {"loss": loss, "grad_norm": norm, "skipped": skips, **of.aux.metrics}


def _check_floating(params: Any) -> None:
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            at = jax.tree_util.keystr(path)
            raise TypeError(
                f"params: expected floating leaves, got {jnp.result_type(leaf)} at params{at}; of "
                "a Flax nnx module pass the parameters alone: graph, params, rest = "
                "nnx.split(module, nnx.Param, ...), and nnx.merge(graph, params, rest) in the loss"
            )


def _check_key(key: Any) -> None:
    if key is None or is_key(key) or getattr(key, "dtype", None) == np.uint32:
        return
    seed = key if isinstance(key, int) else 0
    raise TypeError(
        f"key: expected a PRNG key such as jax.random.key({seed}), got {type(key).__name__} {key!r}"
    )


def _gradient(run: Callable[[Any], tuple[jax.Array, Aux]], params: Any):
    """Value, aux and gradient; JAX's of a complex leaf is the conjugate of the way up."""
    (value, aux), grads = jax.value_and_grad(run, has_aux=True)(params)
    return value, aux, optax.tree.conj(grads)


def _key(state: TrainState, i: Any) -> Any:
    """The key of a step's batch i: folded from how many batches the run had before it."""
    return None if state.key is None else jax.random.fold_in(state.key, state.batches + i)


def _wide(x: jax.Array) -> np.dtype:
    return np.promote_types(x.dtype, np.float32)  # jnp's refuses under strict promotion


def _norm(tree: Any) -> jax.Array:
    """The global norm, squares summed in float32 at least."""
    return jnp.asarray(optax.tree.norm(jax.tree.map(lambda x: x.astype(_wide(x)), tree)))


def _strong(tree: Any) -> Any:
    """Copy leaves to arrays that are not weakly typed, so that step 2 looks like step 1."""
    return jax.tree.map(lambda x: jnp.array(x, dtype=jnp.result_type(x)), tree)


def _select(ok: jax.Array, new: Any, old: Any) -> Any:
    old = jnp.asarray(old)
    if is_key(old):
        return jnp.where(ok, new, old)
    return jnp.where(ok, jnp.asarray(new).astype(old.dtype), old)


def _shapes(tree: Any) -> Any:
    return jax.tree.map(lambda x: (jnp.shape(x), jnp.result_type(x).name), tree)
