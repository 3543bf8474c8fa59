"""The loop: optimizers, guards, the best, accumulation, carried state, history, progress."""

import csv
import gc
import io
import itertools
import json
import struct
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

import jaxrnn
from jaxrnn import data, training
from jaxrnn.data import Batches
from jaxrnn.training import Aux, Checkpoints, fit
from jaxrnn.training.progress import Clock, duration, progress_line

WEIGHTS = np.array([1.5, -2.0, 0.5], np.float32)


def regression(rows=64, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(x @ WEIGHTS + 0.3)


def square(params, batch):
    x, y = batch
    return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


def start():
    return {"w": jnp.zeros(3), "b": 0.0}


def rosenbrock(params, batch):
    return (1 - params["x"]) ** 2 + 100 * (params["y"] - params["x"] ** 2) ** 2


def rnn(params, xs, h):
    """A tiny recurrent network: xs (T, B, 1), h (B, H); the prediction is of the same shape."""

    def step(h, x):
        h = jnp.tanh(x @ params["in"] + h @ params["rec"] + params["bias"])
        return h, h @ params["out"]

    return jax.lax.scan(step, h, xs)


def rnn_params(hidden=4, seed=0):
    shapes = {"in": (1, hidden), "rec": (hidden, hidden), "bias": (hidden,), "out": (hidden, 1)}
    random = np.random.default_rng(seed)
    return {k: jnp.asarray(random.normal(size=s, scale=0.4), "float32") for k, s in shapes.items()}


def assert_close(a, b, rtol=1e-5, atol=1e-6):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=rtol, atol=atol), a, b)


class TestOptimizers:
    @pytest.mark.parametrize(
        "optimizer",
        [
            optax.adam(0.1),
            optax.sgd(0.2, momentum=0.5),
            optax.chain(
                optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(0.3, 200))
            ),
            optax.chain(optax.sgd(0.2), optax.contrib.reduce_on_plateau()),
            optax.MultiSteps(optax.sgd(0.2), 2),
            optax.polyak_sgd(),
            optax.chain(optax.add_noise(1e-3, 2.0, jax.random.key(0)), optax.sgd(0.2)),
            optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(15)),
            optax.lbfgs(),
        ],
    )
    def test_any(self, optimizer):
        batch = regression()
        result = fit(square, start(), optimizer, itertools.repeat(batch), steps=200)
        np.testing.assert_allclose(result.params["w"], WEIGHTS, atol=2e-3)
        np.testing.assert_allclose(result.params["b"], 0.3, atol=2e-3)
        assert result.reason == "steps"
        assert result.best.value <= result.history["loss"].min()

    def test_equals_a_plain_loop(self):
        batch, optimizer = regression(), optax.adam(0.05)
        result = fit(square, start(), optimizer, itertools.repeat(batch), steps=20)
        params = jax.tree.map(jnp.asarray, start())
        state = optimizer.init(params)
        losses = []
        for _ in range(20):
            loss, grads = jax.value_and_grad(square)(params, batch)
            updates, state = optimizer.update(grads, state, params)
            params = optax.apply_updates(params, updates)
            losses.append(loss)
        assert_close(result.params, params)
        np.testing.assert_allclose(result.history["loss"], losses, rtol=1e-4)

    @pytest.mark.parametrize("fixed_batch", [False, True])
    def test_lbfgs_on_rosenbrock(self, fixed_batch):
        result = fit(
            rosenbrock,
            {"x": jnp.float32(-1.2), "y": jnp.float32(1.0)},
            optax.lbfgs(),
            itertools.repeat(None),
            steps=60,
            fixed_batch=fixed_batch,
        )
        assert result.best.value < 1e-9
        np.testing.assert_allclose([result.params["x"], result.params["y"]], 1.0, atol=1e-4)

    @pytest.mark.slow
    def test_fixed_batch_takes_what_the_line_search_left(self):
        runs = []

        def counted(params, batch):
            jax.debug.callback(lambda: runs.append(1))
            return square(params, batch)

        def count(fixed):
            runs.clear()
            result = fit(
                counted,
                start(),
                optax.lbfgs(),
                itertools.repeat(regression()),
                steps=6,
                fixed_batch=fixed,
            )
            jax.effects_barrier()
            return len(runs), result.params

        fit(square, start(), optax.adam(0.1), [regression()], steps=3, fixed_batch=True)
        (many, a), (few, b) = count(False), count(True)
        assert few == many - 5
        assert_close(a, b)

    @pytest.mark.parametrize(
        ("optimizer", "fixed_batch"),
        [
            (optax.adamw(0.1), True),
            (optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1)), False),
            (optax.MultiSteps(optax.adam(0.3), 2), False),
            (optax.lbfgs(), True),
        ],
    )
    def test_parameters_may_be_called_value_and_grad(self, optimizer, fixed_batch):
        def loss(params, batch):
            return sum(jnp.mean((leaf - 1) ** 2) for leaf in jax.tree.leaves(params))

        params = {"value": jnp.zeros(2), "grad": {"value": jnp.zeros(3)}}
        batches = itertools.repeat(None)
        result = fit(loss, params, optimizer, batches, steps=60, fixed_batch=fixed_batch)
        assert result.history["loss"][-1] < 0.1

    @pytest.mark.parametrize(
        "optimizer",
        [
            optax.contrib.sam(optax.sgd(0.2), optax.sgd(0.01)),
            optax.contrib.sam(optax.sgd(0.2), optax.sgd(0.01), opaque_mode=True),
            optax.contrib.sophia(0.05),
        ],
    )
    def test_that_want_more_than_a_gradient(self, optimizer):
        batch = regression()
        result = fit(square, start(), optimizer, itertools.repeat(batch), steps=100)
        assert result.history["loss"][-1] < result.history["loss"][0] / 20

    def test_that_cannot_be_given_what_they_want(self):
        optimizer = optax.chain(optax.clip(1.0), optax.contrib.sam(optax.sgd(0.2), optax.sgd(0.01)))
        with pytest.raises(TypeError, match=r"optimizer: .* of float32 .* unexpected keyword"):
            fit(square, start(), optimizer, [regression()])

    @pytest.mark.parametrize("optimizer", [optax.sgd(0.2), optax.adam(0.2), optax.lbfgs()])
    def test_complex_parameters_go_down(self, optimizer):
        def loss(params, batch):
            error = params["z"] - (1 + 2j)
            return jnp.sum(error.real**2 + 3 * error.imag**2) + (params["r"] - 1) ** 2

        params = {"z": jnp.zeros(2, jnp.complex64), "r": jnp.zeros(())}
        batches = itertools.repeat(None)
        result = fit(loss, params, optimizer, batches, steps=60, fixed_batch=True)
        np.testing.assert_allclose(result.params["z"], 1 + 2j, atol=0.2)
        assert result.history["loss"][-1] < 0.05

    def test_complex_parameters_and_backtracking(self):
        optimizer = optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(9))
        with pytest.raises(ValueError, match=r"optimizer: expected one without .* complex"):
            fit(distance, jnp.zeros(2, jnp.complex64), optimizer, [jnp.ones(2)])

    @pytest.mark.usefixtures("x64")
    @pytest.mark.parametrize("dtypes", [("float32", "float32"), ("bfloat16", "float16")])
    def test_lbfgs_of_less_than_float64_under_x64(self, dtypes):
        def loss(params, batch):
            return sum(jnp.sum((p.astype(jnp.float64) - 1) ** 2) for p in params)

        params = [jnp.zeros(2, dtype) for dtype in dtypes]
        batches = itertools.repeat(None)
        result = fit(loss, params, optax.lbfgs(), batches, steps=9, fixed_batch=True)
        assert [leaf.dtype for leaf in result.params] == [*map(jnp.dtype, dtypes)]
        assert result.history["loss"][-1] < 1e-6

    def test_backtracking_that_optax_cannot_do(self):
        search = optax.scale_by_backtracking_linesearch(9, store_grad=True)
        with pytest.raises(TypeError, match=r"optimizer: .* gradients of float16 .* raises"):
            fit(
                lambda p, b: jnp.sum((p - 1) ** 2),
                jnp.zeros(2, jnp.float16),
                optax.chain(optax.sgd(1.0), search),
                [None],
            )

    def test_mixed_precision(self):
        def half(params, batch):
            low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, batch))
            return square(*low).astype(jnp.float32)

        result = fit(half, start(), optax.adam(0.1), itertools.repeat(regression()), steps=100)
        assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {jnp.dtype("float32")}
        np.testing.assert_allclose(result.best.params["w"], WEIGHTS, atol=0.05)

    @pytest.mark.slow
    def test_mixed_precision_of_a_network(self):
        """Computed in bfloat16 from masters in float32, it learns what float32 learns."""
        key = jax.random.key(0)
        params = {
            "rnn": jaxrnn.lstm.init(key, 1, 16),
            "out": jax.random.normal(key, (16, 1)) / 4,
        }
        split = data.next_step(data.sine_waves(8, 40), test=2)

        def loss_in(dtype):
            def loss(params, batch):
                params, (xs, ys) = jax.tree.map(lambda a: a.astype(dtype), (params, batch))
                _, h = jaxrnn.scan(jaxrnn.lstm, params["rnn"], xs)
                return jnp.mean((h @ params["out"] - ys).astype(jnp.float32) ** 2)

            return loss

        optimizer = optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adam(optax.warmup_cosine_decay_schedule(0.0, 0.03, 10, 100)),
        )
        batches = itertools.repeat((split.train_inputs, split.train_targets))
        results = {
            dtype: fit(loss_in(dtype), params, optimizer, batches, steps=100)
            for dtype in (jnp.float32, jnp.bfloat16)
        }
        losses = {
            dtype: float(loss_in(jnp.float32)(result.params, next(batches)))
            for dtype, result in results.items()
        }
        begun = results[jnp.float32].history["loss"][0]
        assert losses[jnp.float32] < begun / 20
        assert abs(losses[jnp.bfloat16] - losses[jnp.float32]) < begun / 100
        leaves = jax.tree.leaves((results[jnp.bfloat16].params, results[jnp.bfloat16].best.params))
        assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}

    @pytest.mark.usefixtures("x64", "strict")
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_float64_without_implicit_promotion(self, accumulate):
        def loss(params, batch):
            x, y = batch
            error = x @ params["w"] + params["b"] - y
            return jnp.mean(error**2), {"worst": jnp.abs(error).max()}

        batch = tuple(np.asarray(a, np.float64) for a in regression())
        params = {"w": jnp.zeros(3, jnp.float64), "b": jnp.zeros((), jnp.float64)}
        result = fit(
            loss,
            params,
            optax.sgd(0.2),  # adam is not written for strict promotion
            itertools.repeat(batch),
            steps=100,
            accumulate=accumulate,
            evaluate=lambda params: loss(params, batch)[0],
        )
        assert {leaf.dtype for leaf in jax.tree.leaves(result.params)} == {jnp.dtype("float64")}
        np.testing.assert_allclose(result.params["w"], WEIGHTS, atol=0.02)


class TestCompilation:
    def test_once_for_every_shape(self):
        traces = []

        def loss(params, batch):
            traces.append(batch[0].shape)
            return square(params, batch)

        batches = [regression(n) for n in (4, 8, 4, 8, 8, 16)]
        fit(loss, start(), optax.adam(0.1), batches, epochs=3)
        assert sorted(traces) == [(4, 3), (8, 3), (16, 3)]

    @pytest.mark.parametrize("optimizer", [optax.adam(0.1), optax.lbfgs()])
    def test_weak_types_do_not_recompile(self, optimizer):
        step = training.Step(square, optimizer)
        state = step.init({"w": np.zeros(3, np.float32), "b": 0.0})
        for _ in range(3):
            state, _ = step(state, [regression()])
        assert step.traces == 1

    def test_accumulation_once_for_every_shape(self):
        step = training.Step(square, optax.adam(0.1))
        state = step.init(start())
        for sizes in ((4, 8), (8, 4), (4, 4), (8, 8)):
            state, _ = step(state, [regression(n) for n in sizes])
        assert step.traces == 2

    def test_compiling_is_not_in_the_rate(self):
        def slow(params, batch):
            time.sleep(0.5)  # while tracing only
            return square(params, batch)

        result = fit(
            slow,
            start(),
            optax.sgd(0.1),
            itertools.repeat(regression()),
            steps=50,
            evaluate=jax.jit(lambda params: slow(params, regression())),
        )
        assert 1.0 <= result.compiling < 20
        assert result.history["seconds"][-1] < 1.0
        assert result.rate > 50


class TestAccumulation:
    """Micro-batches, weighted by their valid steps, are the whole batch."""

    @staticmethod
    def loss(params, batch):
        xs, ys, mask = batch
        _, predicted = rnn(params, xs, jnp.zeros((xs.shape[1], 4)))
        valid = mask.sum()
        return jnp.where(mask[..., None], (predicted - ys) ** 2, 0).sum() / valid, Aux(
            weight=valid, metrics={"worst": jnp.abs(predicted - ys).max(), "one": 1.0}
        )

    def test_equals_the_whole(self):
        random = np.random.default_rng(0)
        xs, ys = jnp.asarray(random.normal(size=(2, 9, 8, 1)), "float32")
        mask = jnp.arange(9)[:, None] < jnp.array([9, 2, 5, 1, 0, 0, 0, 7])
        # Of unequal size, and one without a single valid step: a mean over nothing, NaN.
        parts = [(xs[:, s], ys[:, s], mask[:, s]) for s in map(slice, (0, 1, 4, 7), (1, 4, 7, 8))]
        optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(0.5))
        whole = fit(self.loss, rnn_params(), optimizer, [(xs, ys, mask)], epochs=4)
        micro = fit(self.loss, rnn_params(), optimizer, parts, epochs=4, accumulate=4)
        assert len(micro.history) == len(whole.history) == 4
        assert_close(micro.params, whole.params)
        for name in ("loss", "grad_norm"):
            np.testing.assert_allclose(micro.history[name], whole.history[name], rtol=1e-5)
        assert micro.history["one"].tolist() == [1.0] * 4
        assert not micro.history["skipped"].any()

    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_nothing_valid_at_all_changes_nothing(self, accumulate):
        batch = (jnp.ones((2, 1, 1)), jnp.ones((2, 1, 1)), jnp.zeros((2, 1), bool))
        options = {"accumulate": accumulate, "max_skips": 0}
        result = fit(self.loss, rnn_params(), optax.adam(0.5), [batch] * 6, **options)
        assert_close(result.params, rnn_params(), 0, 0)
        assert int(result.state.opt_state[0].count) == 0
        assert not result.history["skipped"].any()
        assert np.isnan(result.history["loss"]).all()

    def test_a_smaller_last_group(self):
        result = fit(square, start(), optax.sgd(0.1), [regression()] * 5, accumulate=2)
        assert len(result.history) == 3

    def test_line_search_is_refused(self):
        with pytest.raises(ValueError, match="accumulate: expected 1 for an optimizer with a line"):
            fit(square, start(), optax.lbfgs(), [regression()] * 2, accumulate=2)


class TestCarriedState:
    @staticmethod
    def loss(params, batch, state):
        xs, ys = batch
        state, predicted = rnn(params, xs, state)
        return jnp.mean((predicted - ys) ** 2), Aux(state=state)

    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_truncated_backpropagation(self, accumulate):
        random = np.random.default_rng(0)
        windows = [jnp.asarray(random.normal(size=(2, 5, 3, 1)), "float32") for _ in range(6)]
        h = jnp.asarray(random.normal(size=(3, 4)), "float32")
        result = fit(
            self.loss, rnn_params(), optax.sgd(0.3), windows, state=h, accumulate=accumulate
        )
        params = rnn_params()
        gradient = jax.jit(jax.value_and_grad(self.loss, has_aux=True))
        for i in range(0, 6, accumulate):
            grads = []
            for window in windows[i : i + accumulate]:
                (_, aux), grad = gradient(params, window, h)
                h = aux.state
                grads.append(grad)
            params = jax.tree.map(lambda p, *g: p - 0.3 * sum(g) / len(g), params, *grads)
        assert_close(result.params, params)
        assert_close(result.state.carried, h)

    def test_a_skipped_step_leaves_it(self):
        windows = [jnp.ones((2, 5, 3, 1)), jnp.full((2, 5, 3, 1), jnp.nan)]
        result = fit(self.loss, rnn_params(), optax.sgd(0.3), windows, state=jnp.zeros((3, 4)))
        assert jnp.isfinite(result.state.carried).all()
        assert result.history["skipped"].tolist() == [0, 1]

    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_an_empty_window_hands_it_on(self, accumulate):
        """A loss over nothing is NaN or 0: neither counts, as a fault or as the best."""

        def loss(params, batch, state):
            number, weight, value = batch
            aux = Aux(weight=weight, state=jnp.full_like(state, number))
            return value * params["w"].sum() ** 2, aux

        windows = [(n, n % 3 == 0, [1.0, jnp.nan, 0.0][n % 3]) for n in range(6)]
        windows = [w for w in windows for _ in range(accumulate)]
        result = fit(
            loss,
            {"w": jnp.ones(2)},
            optax.sgd(0.1),
            windows,
            state=jnp.zeros(1),
            accumulate=accumulate,
            max_skips=0,
        )
        assert result.state.carried == 5
        assert result.history["skipped"].tolist() == [0] * 6
        assert np.isnan(result.history["loss"]).tolist() == [False, True, True] * 2
        assert result.best.step == 3
        assert result.best.value > 0

    def test_of_another_shape(self):
        def loss(params, batch, state):
            return square(params, batch), Aux(state=jnp.zeros(3))

        with pytest.raises(ValueError, match=r"loss: expected Aux.state like .*\(2,\).*\(3,\)"):
            fit(loss, start(), optax.sgd(0.1), [regression()], state=jnp.zeros(2))


class TestKeys:
    @pytest.mark.parametrize("accumulate", [1, 2])
    @pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
    def test_one_for_every_batch(self, make, accumulate):
        def loss(params, batch, key):
            return params**2, {"draw": jax.random.uniform(key)}

        draws = [
            fit(
                loss, jnp.ones(()), optax.sgd(0.1), [0.0] * 6, key=make(seed), accumulate=accumulate
            ).history["draw"]
            for seed in (0, 0, 1)
        ]
        expected = [jax.random.uniform(jax.random.fold_in(make(0), i)) for i in range(6)]
        expected = np.reshape(expected, (-1, accumulate)).mean(1)
        np.testing.assert_allclose(draws[0], expected, rtol=1e-6)
        np.testing.assert_array_equal(draws[0], draws[1])
        assert not set(draws[0]) & set(draws[2])

    def test_a_smaller_last_group_and_another_accumulate(self, tmp_path):
        """A batch's key comes from its number, however the batches were grouped."""

        def drawn(numbers, **options):
            seen = []

            def loss(params, batch, key):
                jax.debug.callback(lambda d, b: seen.append((int(b), float(d))), draw(key), batch)
                return params**2

            batches = [jnp.int32(number) for number in numbers]
            fit(loss, jnp.ones(()), optax.sgd(0.1), batches, key=jax.random.key(0), **options)
            jax.effects_barrier()
            return dict(seen)

        draw = jax.random.uniform
        want = {i: float(draw(jax.random.fold_in(jax.random.key(0), i))) for i in range(8)}
        assert len(set(want.values())) == 8
        for group in (1, 3):
            assert drawn(range(8), accumulate=group) == pytest.approx(want)
        first = drawn(range(8), accumulate=3, steps=2, checkpoints=Checkpoints(tmp_path))
        options = {"checkpoints": Checkpoints(tmp_path), "resume": True, "epochs": 1}
        rest = drawn(range(8), accumulate=1, **options)
        assert first | rest == pytest.approx(want)
        assert not first.keys() & rest.keys()


def poisoned(good, *bad):
    """Batches of ones, and NaN at the numbers given."""
    return [jnp.full((2,), jnp.nan if i in bad else 1.0) for i in range(good)]


def distance(params, batch):
    return jnp.mean((params - batch) ** 2)


class TestNonFinite:
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_steps_are_skipped(self, accumulate):
        optimizer = optax.adam(0.1)
        bad = fit(distance, jnp.zeros(2), optimizer, poisoned(10, 2, 5, 6), accumulate=accumulate)
        good = fit(distance, jnp.zeros(2), optimizer, [jnp.ones(2)] * (7 if accumulate == 1 else 2))
        assert_close(bad.params, good.params)
        assert_close(bad.state.opt_state, good.state.opt_state)
        skipped = [0, 0, 1, 0, 0, 1, 2, 0, 0, 0] if accumulate == 1 else [0, 1, 2, 3, 0]
        assert bad.history["skipped"].tolist() == skipped
        assert int(bad.state.step) == len(skipped)
        assert np.isfinite(bad.best.value)

    def test_then_the_run_stops(self):
        with pytest.raises(training.Diverged, match="stopped at step 7: 3 steps in a row") as info:
            fit(distance, jnp.zeros(2), optax.sgd(0.1), poisoned(20, *range(4, 20)), max_skips=2)
        error = info.value
        assert error.step == 7
        assert np.isnan(error.loss)
        assert np.isnan(error.norm)
        assert error.result.best.step == 3
        assert error.result.best.value == error.result.history["loss"][3]
        assert int(error.result.state.step) == 7
        assert jnp.isfinite(error.result.params).all()
        assert len(error.result.history) == 7

    def test_infinite_gradient_of_a_finite_loss(self):
        result = fit(
            lambda p, b: jnp.sqrt(p) + b, jnp.zeros(()), optax.sgd(0.1), [0.0] * 3, max_skips=5
        )
        assert float(result.params) == 0.0
        assert result.history["skipped"].tolist() == [1, 2, 3]

    def test_infinite_update_of_a_finite_gradient(self):
        result = fit(distance, jnp.zeros(2), optax.sgd(3e38), [jnp.full(2, 9.0)])
        assert result.history["skipped"].tolist() == [1]
        assert jnp.isfinite(result.history["grad_norm"]).all()

    def test_explosion_keeps_the_best(self):
        with pytest.raises(training.Diverged) as info:
            fit(distance, jnp.ones(2) * 2, optax.sgd(1e6), itertools.repeat(jnp.ones(2)))
        assert info.value.result.best == (pytest.approx(np.full(2, 2.0)), 1.0, 0)


class TestBest:
    def test_by_training_loss_is_of_the_parameters_before_the_update(self):
        result = fit(
            distance, jnp.zeros(1), optax.sgd(0.9), [jnp.ones(1), jnp.ones(1), -jnp.ones(1)]
        )
        assert result.best.step == 1
        np.testing.assert_allclose(distance(result.best.params, jnp.ones(1)), result.best.value)

    def test_by_evaluation(self):
        seen = []

        def evaluate(params):
            seen.append(float(params[0]))
            return abs(seen[-1] - 0.5)

        result = fit(
            distance,
            jnp.zeros(1),
            optax.sgd(0.1),
            itertools.repeat(jnp.ones(1)),
            steps=11,
            evaluate=evaluate,
            evaluate_every=2,
        )
        assert len(seen) == 6  # every second step, and the last
        assert float(result.best.params[0]) == min(seen, key=lambda w: abs(w - 0.5))
        evaluated = np.isfinite(result.history["eval"])
        assert (np.flatnonzero(evaluated) + 1).tolist() == [2, 4, 6, 8, 10, 11]
        assert result.best.value == np.nanmin(result.history["eval"])

    def test_monitor_and_nan(self):
        values = iter([3.0, np.nan, 2.0, 2.5])
        result = fit(
            distance,
            jnp.zeros(1),
            optax.sgd(0.1),
            [jnp.ones(1)] * 4,
            evaluate=lambda p: {"a": -float(p[0]), "b": next(values)},
            evaluate_every=1,
            monitor="b",
        )
        assert (result.best.value, result.best.step) == (2.0, 3)

    def test_monitor_of_a_training_metric(self):
        result = fit(
            lambda p, b: (distance(p, b), {"far": -p[0]}),
            jnp.zeros(1),
            optax.sgd(0.1),
            [jnp.ones(1)] * 4,
            monitor="far",
        )
        assert result.best.step == 3

    @pytest.mark.parametrize("evaluated", [False, True])
    def test_the_greatest(self, evaluated):
        def loss(params, batch):
            return distance(params, batch), {"accuracy": 1 - (params[0] - 0.5) ** 2}

        options = {"monitor": "accuracy"}
        if evaluated:
            options = {"evaluate": lambda p: float(1 - (p[0] - 0.5) ** 2), "evaluate_every": 1}
        batches = itertools.repeat(jnp.ones(1))
        run = [loss, jnp.zeros(1), optax.sgd(0.1), batches]
        result = fit(*run, mode="max", patience=3, **options)
        assert result.reason == "patience"
        name = "eval" if evaluated else "accuracy"
        assert result.best.value == result.history[name].max()
        assert abs(result.best.params[0] - 0.5) < 0.1

    def test_patience(self):
        batches = itertools.chain([jnp.ones(1)] * 5, itertools.repeat(jnp.full(1, 100.0)))
        result = fit(distance, jnp.zeros(1), optax.sgd(1e-3), batches, patience=7)
        assert result.reason == "patience"
        assert (result.best.step, int(result.state.step)) == (4, 11)
        assert len(result.history) == 11

    def test_parameters_of_the_caller_stay(self):
        params = {"w": jnp.ones(3), "b": np.zeros(())}
        fit(square, params, optax.adam(0.1), [regression()], steps=3)
        assert params["w"].tolist() == [1, 1, 1]
        assert params["b"] == 0


class TestEnds:
    def test_steps_epochs_and_batches(self):
        def run(batches, **options):
            result = fit(distance, jnp.zeros(1), optax.sgd(0.1), batches, **options)
            return len(result.history), result.reason

        three = [jnp.ones(1)] * 3
        assert run(three) == (3, "batches")
        assert run(three, epochs=2) == (6, "batches")
        assert run(three, steps=7) == (7, "steps")
        assert run(three, steps=7, epochs=2) == (6, "batches")
        assert run(iter(three), steps=7) == (3, "batches")
        assert run(iter(three), epochs=7) == (3, "batches")
        assert run(three, steps=0) == (0, "steps")
        assert run(Batches(lambda rows: jnp.ones(len(rows)), 4, 2), epochs=2) == (4, "batches")

    def test_callback_stops_at_its_step(self):
        reports = []

        def stop(report):
            reports.append(report)
            return report.state.step == 4  # a JAX bool

        result = fit(
            distance, jnp.zeros(1), optax.sgd(0.1), [jnp.ones(1)] * 9, callbacks=[stop, lambda r: 1]
        )
        assert result.reason == "callback"
        assert len(result.history) == int(result.state.step) == 4
        assert [report.step for report in reports] == [1, 2, 3, 4]
        assert [int(report.state.step) for report in reports] == [1, 2, 3, 4]
        np.testing.assert_array_equal(reports[-1].state.params, result.params)
        assert {"step", "loss", "grad_norm", "skipped", "seconds"} == set(reports[0].row)

    def test_the_host_is_one_step_behind(self):
        """The next step is under way before the last one's figures are asked for."""
        events = []

        def batches():
            for number in range(1, 5):
                events.append(f"draw {number}")
                yield jnp.ones(1)

        fit(
            distance,
            jnp.zeros(1),
            optax.sgd(0.1),
            batches(),
            callbacks=[lambda r: events.append(f"see {r.step}")],
        )
        assert events == [
            *("draw 1", "draw 2", "see 1", "draw 3", "see 2", "draw 4", "see 3", "see 4")
        ]


class TestErrors:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batches": []}, "batches: expected at least one batch, got none"),
            ({"batches": iter([])}, "batches: expected at least one batch, got none"),
            ({"steps": -1}, "steps: expected a whole number of at least 0, got -1"),
            ({"steps": 1.5}, "steps: expected a whole number of at least 0, got 1.5"),
            ({"epochs": 0}, "epochs: expected a whole number of at least 1, got 0"),
            ({"accumulate": 0}, "accumulate: expected"),
            ({"evaluate_every": 0}, "evaluate_every: expected"),
            ({"patience": 0}, "patience: expected"),
            ({"max_skips": -1}, "max_skips: expected"),
            (
                {"fixed_batch": True, "accumulate": 2, "optimizer": optax.lbfgs()},
                "accumulate: expected 1 with fixed_batch, got 2",
            ),
            (
                {"fixed_batch": True, "key": jax.random.key(0), "optimizer": optax.lbfgs()},
                "fixed_batch: expected a loss without key and state",
            ),
            ({"mode": "most"}, "mode: expected 'min' or 'max', got 'most'"),
            ({"resume": True}, "checkpoints: expected some to resume from, got None"),
            ({"monitor": "lost"}, r"monitor: expected one of \['step', 'loss'.*got 'lost'"),
            (
                {"evaluate": lambda p: {"a": 1.0, "b": 2.0}},
                r"monitor: expected one of \['a', 'b'\], got None",
            ),
            ({"evaluate": lambda p: {"loss": 1.0}}, r"evaluate: expected names other than .*loss"),
            ({"evaluate": lambda p: {}}, "evaluate: expected a number or numbers by name"),
            ({"loss": lambda p, b: p}, r"loss: expected a real scalar, got shape \(2,\)"),
            ({"loss": lambda p, b: jnp.int32(1)}, "loss: expected a real scalar, .* int32"),
            (
                {"loss": lambda p, b: (distance(p, b), {"step": 1})},
                r"loss: expected other names for the metrics \['step'\]",
            ),
            (
                {
                    "loss": lambda p, b: (distance(p, b), {"a": 1.0}),
                    "fixed_batch": True,
                    "optimizer": optax.lbfgs(),
                },
                "fixed_batch: expected a loss without metrics",
            ),
        ],
    )
    def test_values(self, options, message):
        given = {
            "loss": distance,
            "params": jnp.zeros(2),
            "optimizer": optax.sgd(0.1),
            "batches": [jnp.ones(2)],
        }
        with pytest.raises(ValueError, match=message):
            fit(**(given | options))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batches": 3}, "batches: expected an iterable, got int"),
            ({"loss": 3}, "loss: expected a function, got int"),
            (
                {"optimizer": "adam"},
                r"optimizer: expected an optax.GradientTransformation such as optax.adam\(1e-3\), "
                "got 'adam'",
            ),
            ({"optimizer": optax.adam}, "optimizer: .* got adam itself, not called"),
            ({"optimizer": optax.MultiSteps}, "optimizer: .* got MultiSteps itself, not called"),
            ({"key": 3}, r"key: expected a PRNG key such as jax.random.key\(3\), got int 3"),
            ({"key": jnp.zeros(2)}, "key: expected a PRNG key"),
            ({"batches": jnp.ones((4, 2))}, r"batches: .* of shape \(4, 2\) \(itertools.repeat"),
            ({"batches": np.ones((4, 2))}, "batches: .* ndarray .* jaxrnn.data.Batches"),
            (
                {"batches": regression()},
                r"batches: .* tuple of arrays of shapes \(64, 3\), \(64,\)",
            ),
            ({"batches": list(regression())}, "batches: .* got what looks like one batch, list of"),
            ({"batches": {"x": np.ones(2)}}, r"batches: .* dict with \['x'\]"),
            ({"evaluate": lambda p: "low"}, "evaluate: expected a number or numbers by name"),
            ({"loss": lambda p, b: (distance(p, b), 3)}, "loss: expected .value, Aux or a mapping"),
        ],
    )
    def test_types(self, options, message):
        given = {
            "loss": distance,
            "params": jnp.zeros(2),
            "optimizer": optax.sgd(0.1),
            "batches": [jnp.ones(2)],
        }
        with pytest.raises(TypeError, match=message):
            fit(**(given | options))

    def test_a_step_needs_a_batch(self):
        step = training.Step(distance, optax.sgd(0.1))
        with pytest.raises(ValueError, match="batches: expected at least one batch"):
            step(step.init(jnp.zeros(2)), [])

    def test_batches_that_run_dry(self):
        class Once:
            given = False

            def __iter__(self):
                if not self.given:
                    self.given = True
                    yield jnp.ones(2)

        with pytest.raises(ValueError, match="batches: expected at least one batch, got none"):
            fit(distance, jnp.zeros(2), optax.sgd(0.1), Once(), steps=3)


class TestHistory:
    def make(self):
        history = training.History()
        history.append({"step": 1, "loss": np.float32(0.1), "skipped": np.int32(0)})
        history.append({"step": 2, "loss": jnp.bfloat16(2.0), "eval": 1e-30})
        history.append({"step": 3, "loss": float("inf")})
        return history

    def test_arrays(self):
        arrays = self.make().arrays()
        assert list(arrays) == ["step", "loss", "skipped", "eval"]
        assert all(
            column.dtype == np.float64 and column.shape == (3,) for column in arrays.values()
        )
        np.testing.assert_array_equal(arrays["eval"], [np.nan, 1e-30, np.nan])
        assert arrays["loss"][0] == np.float32(0.1)
        assert list(self.make())[1] == {"step": 2, "loss": 2, "eval": 1e-30}
        with pytest.raises(KeyError, match="name: expected one of"):
            self.make()["nothing"]
        with pytest.raises(TypeError, match=r"loss: expected a real scalar, got .* shape"):
            self.make().append({"loss": np.zeros(2)})

    def test_pack(self):
        again = training.History.unpack(self.make().pack())
        assert again.columns == self.make().columns
        for name, column in self.make().arrays().items():
            np.testing.assert_array_equal(again[name], column)
        assert len(training.History.unpack({})) == 0

    def test_csv(self, tmp_path):
        path = self.make().to_csv(tmp_path / "new" / "history.csv")
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows[0] == {"step": "1", "loss": "0.10000000149011612", "skipped": "0", "eval": ""}
        assert [float(row["loss"]) for row in rows] == self.make()["loss"].tolist()

    def test_json_lines(self, tmp_path):
        path = self.make().to_jsonl(tmp_path / "history.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert rows[1] == {"step": 2, "loss": 2, "eval": 1e-30}
        assert rows[2] == {"step": 3, "loss": None}
        again = training.read_jsonl(path)
        np.testing.assert_array_equal(again["loss"][:2], self.make()["loss"][:2])
        assert np.isnan(again["loss"][2])

    def test_log_csv(self, tmp_path):
        """As it goes, an evaluation's column from the start; at the end it is the history's."""
        path, sizes = tmp_path / "new" / "log.csv", []
        result = fit(
            distance,
            jnp.zeros(2),
            optax.sgd(0.1),
            poisoned(7, 3),
            evaluate=lambda p: float(p[0]),
            evaluate_every=2,
            callbacks=[
                training.log_csv(path),
                lambda report: sizes.append(len(path.read_text().splitlines())),
            ],
        )
        assert sizes == [2, 3, 4, 5, 6, 7, 8], "a line of names, and one more with every step"
        assert path.read_text() == result.history.to_csv(tmp_path / "history.csv").read_text()
        assert sorted(file.name for file in path.parent.iterdir()) == ["log.csv"]

    def test_log_csv_of_a_run_that_was_killed_and_went_on(self, tmp_path):
        path = tmp_path / "log.csv"

        def run(*steps):
            log = training.log_csv(path)
            for step, loss in steps:
                row = {"step": step, "loss": loss} | ({"eval": 0.5} if step == 4 else {})
                log(training.Report(step, row, None, None))

        run((1, 0.25), (2, 0.5))
        run((2, 0.75), (3, float("nan")))
        assert path.read_text() == "step,loss\n1,0.25\n2,0.75\n3,\n"
        path.write_text(path.read_text() + "4,0.12")  # cut short
        run((4, 0.125))
        assert path.read_text() == "step,loss,eval\n1,0.25,\n2,0.75,\n3,,\n4,0.125,0.5\n"
        path.write_text("name,age\nsomebody,3\n")
        with pytest.raises(ValueError, match=r"path: .* a column of steps, got 'name,age' in"):
            run((1, 0.5))
        assert path.read_text() == "name,age\nsomebody,3\n"

    @pytest.mark.slow
    def test_log_tensorboard(self, tmp_path):
        event = pytest.importorskip("tensorboardX.proto.event_pb2").Event

        def read(path):
            left, found = path.read_bytes(), []
            while left:
                (size,) = struct.unpack("<Q", left[:8])
                found.append(event.FromString(left[12 : 12 + size]))
                left = left[16 + size :]
            return found

        def run(**options):
            log = training.log_tensorboard(tmp_path / "new")
            options |= {"evaluate": lambda p: float(p[0]), "evaluate_every": 2}
            with Checkpoints(tmp_path / "checkpoints") as checkpoints:
                options |= {"callbacks": [log], "checkpoints": checkpoints}
                return fit(distance, jnp.zeros(2), optax.sgd(0.1), [jnp.ones(2)] * 5, **options)

        def rows(events):
            found = {}
            for one in events:
                for value in one.summary.value:
                    found.setdefault(one.step, {"step": one.step})[value.tag] = value.simple_value
            return list(found.values())

        first = run(steps=3)
        gc.collect()
        time.sleep(1.1)  # a file's name is its second
        second = run(steps=5, resume=True)
        gc.collect()
        files = sorted((tmp_path / "new").iterdir())
        assert len(files) == 2
        for file, written in zip(
            files, (list(first.history), list(second.history)[3:]), strict=True
        ):
            for got, want in zip(rows(read(file)), written, strict=True):
                assert got.keys() == want.keys()
                np.testing.assert_allclose(list(got.values()), list(want.values()), rtol=1e-6)
        starts = [one.step for one in read(files[1]) if one.HasField("session_log")]
        assert starts == [4], "TensorBoard drops what it knew of these steps"

    def test_log_tensorboard_without_tensorboardx(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
        with pytest.raises(ImportError, match="log_tensorboard: expected tensorboardX"):
            training.log_tensorboard("nowhere")

    def test_log_of_a_run_that_was_killed_and_went_on(self, tmp_path):
        path = tmp_path / "log.jsonl"
        for loss in (1, 2):
            path.open("a").close()
            log = training.log_jsonl(path)
            for step in (loss, loss + 1):
                log(training.Report(step, {"step": step, "loss": loss}, None, None))
        assert len(path.read_text().splitlines()) == 4
        history = training.read_jsonl(path)
        assert history["step"].tolist() == [1, 2, 3]
        assert history["loss"].tolist() == [1, 2, 2]
        path.write_text(path.read_text()[:-9])
        assert training.read_jsonl(path)["step"].tolist() == [1, 2]
        path.write_text("{}\n" + path.read_text())
        with pytest.raises(ValueError, match="a JSON object with a step, got line 1"):
            training.read_jsonl(path)

    def test_plot(self, tmp_path):
        pytest.importorskip("matplotlib")
        result = fit(
            distance,
            jnp.zeros(1),
            optax.sgd(0.1),
            [jnp.ones(1)] * 30,
            evaluate=lambda p: abs(1 - p[0]),
            evaluate_every=10,
        )
        path = result.history.plot(tmp_path / "new" / "loss.png")
        assert path.read_bytes().startswith(b"\x89PNG")
        assert result.history.plot(tmp_path / "norm.svg", "grad_norm", log=False).stat().st_size
        with pytest.raises(ValueError, match="mode: expected 'min' or 'max', got 'least'"):
            result.history.plot(tmp_path / "x.png", mode="least")
        with pytest.raises(KeyError, match="nothing"):
            result.history.plot(tmp_path / "x.png", "nothing")

    @pytest.mark.parametrize(("mode", "best"), [("min", 400), ("max", 1)])
    def test_what_is_plotted(self, tmp_path, monkeypatch, mode, best):
        figure = pytest.importorskip("matplotlib.figure").Figure
        drawn = []
        save = figure.savefig
        monkeypatch.setattr(
            figure,
            "savefig",
            lambda self, *a, **k: (drawn.append(self.axes[0]), save(self, *a, **k)),
        )
        history = training.History()
        for step in range(1, 401):
            history.append({"step": step, "loss": 1 / step} | ({"eval": 2} if step == 9 else {}))
        history.plot(tmp_path / "loss.png", mode=mode)
        history.append({"step": 401, "loss": -1.0})
        history.plot(tmp_path / "loss.png", "loss")
        first, second = drawn
        assert (first.get_xlabel(), first.get_ylabel()) == ("step", "loss, eval")
        assert (first.get_yscale(), second.get_yscale()) == ("log", "linear")
        labels = [text.get_text() for text in first.get_legend().get_texts()]
        assert labels == [f"loss, best {1 / best:.4g} at step {best}", "eval, best 2 at step 9"]
        smooth, raw, star, *_ = first.lines
        np.testing.assert_array_equal(raw.get_ydata(), history["loss"][:-1])
        assert raw.get_alpha() < 0.5
        assert star.get_xdata() == [best]
        np.testing.assert_allclose(
            smooth.get_ydata()[200], history["loss"][196:204].mean(), rtol=1e-4
        )

    def test_plot_without_matplotlib(self, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match="plot: expected matplotlib"):
            self.make().plot(tmp_path / "x.png")


class TestProgress:
    def show(self, total, **options):
        file = io.StringIO()
        console = Console(file=file, width=100, **options)
        with progress_line(total, console=console) as show:
            clock = Clock()
            for step in (1, 2):
                clock.steps += 1
                show(step, {"step": step, "loss": 0.5, "grad_norm": 2.0, "seconds": 1.0}, clock)
        return file.getvalue()

    def test_line(self):
        text = self.show(10, force_terminal=True)
        for word in ("2/10", "steps/s", "left", "loss 0.5", "grad_norm 2"):
            assert word in text
        assert "left" not in self.show(None, force_terminal=True)

    def test_lines_where_there_is_no_terminal(self):
        def lines(steps, **options):
            file = io.StringIO()
            with progress_line(5, console=Console(file=file, width=20), **options) as show:
                for step in range(1, steps + 1):
                    show(step, {"loss": 0.5} | ({"eval": 2.0} if step == 1 else {}), Clock())
            return [line.split("  ") for line in file.getvalue().splitlines()]

        assert [line[0] for line in lines(4)] == ["step 1/5", "step 4/5"]
        assert lines(4)[1][-2:] == ["loss 0.5", "eval 2"]
        assert len(lines(1)) == 1
        assert len(lines(4, every=0)) == 4
        assert lines(0) == lines(4, show=False) == []

    def test_of_fit(self, capsys):
        fit(distance, jnp.zeros(1), optax.sgd(0.1), [jnp.ones(1)] * 3)
        out, err = capsys.readouterr()
        assert out == ""
        assert [line.split("  ")[0] for line in err.splitlines()] == ["step 1", "step 3"]
        fit(distance, jnp.zeros(1), optax.sgd(0.1), [jnp.ones(1)], progress=False)
        assert capsys.readouterr() == ("", "")

    def test_duration(self):
        times = [0.4, 59.6, 245, 3723, float("inf")]
        assert [duration(t) for t in times] == ["0 s", "1:00", "4:05", "1:02:03", "?"]

    def test_clock(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(time, "perf_counter", lambda: now[0])
        clock = Clock()
        assert clock.left(3) == float("inf")
        now[0] += 10
        clock.compiling += 6
        clock.steps += 4
        with clock.pause():
            now[0] += 8
        assert clock.rate == 1.0
        assert clock.seconds == 12.0
        assert clock.left(2) == 6.0

    def test_clock_counts_what_is_nested_once(self, monkeypatch):
        now = [100.0]
        monkeypatch.setattr(time, "perf_counter", lambda: now[0])
        with Clock() as clock:
            for at, seconds in ((2, 1), (4, 1), (5, 4), (6, 0.5)):
                now[0] = 100.0 + at
                jax.monitoring.record_event_duration_secs("/jax/core/compile/x", seconds)
                jax.monitoring.record_event_duration_secs("/jax/other", 50)
            assert clock.compiling == 4.5
            assert clock.seconds == 1.5
        jax.monitoring.record_event_duration_secs("/jax/core/compile/x", 3)  # no longer heard
        assert clock.compiling == 4.5
