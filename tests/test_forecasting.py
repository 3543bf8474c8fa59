"""Forecasting: scalers, windows of many series, backtests, and paths that are sampled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import data

RNG = np.random.default_rng(0)


def gappy(*shape, share=0.3, seed=0):
    """Random values, some of them NaN."""
    random = np.random.default_rng(seed)
    return np.where(random.random(shape) < share, np.nan, 3 + 2 * random.normal(size=shape))


def assert_statistics(found, expected):
    for name in found._fields:
        one, two = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(one, two, rtol=1e-12, err_msg=name)


class TestStatistics:
    def test_are_those_of_numpy(self):
        values = gappy(50, 4, 3)
        found = data.statistics(values)
        assert found.mean.shape == (4, 3)
        assert found.mean.dtype == np.float64
        np.testing.assert_array_equal(found.number, (~np.isnan(values)).sum(0))
        np.testing.assert_allclose(found.mean, np.nanmean(values, 0))
        np.testing.assert_allclose(found.squares, np.nanvar(values, 0) * found.number)
        np.testing.assert_allclose(found.mean_abs, np.nanmean(np.abs(values), 0))
        np.testing.assert_array_equal(found.least, np.nanmin(values, 0))
        np.testing.assert_array_equal(found.greatest, np.nanmax(values, 0))

    @pytest.mark.parametrize("cuts", [[10], [0, 1, 30], [3, 3, 50], range(50)])
    def test_pieces_are_the_whole(self, cuts):
        values = gappy(50, 4, 3)
        values[:12, 1] = np.nan  # nothing in the first pieces
        values[:, 2, 0] = np.nan  # nothing at all
        found = None
        for piece in np.split(values, cuts):
            found = data.statistics(piece, before=found)
        assert_statistics(found, data.statistics(values))

    def test_lengths_and_masks_are_nan(self):
        values, lengths = RNG.normal(size=(20, 4, 2)), np.array([20, 0, 7, 13])
        mask = RNG.random((20, 4)) < 0.7
        each = RNG.random((20, 4, 2)) < 0.7
        inside = np.arange(20)[:, None] < lengths
        seen = np.where((inside & mask)[..., None], values, np.nan)
        assert_statistics(data.statistics(values, lengths, mask), data.statistics(seen))
        seen = np.where(inside[..., None] & each, values, np.nan)
        assert_statistics(data.statistics(values, lengths, each), data.statistics(seen))

    def test_far_from_zero(self):
        """The reason for the sums of squares about the mean: 1e8 ± 1 in pieces of one."""
        values = 1e8 + np.tile([-1.0, 1.0], 500)
        found = None
        for value in values:
            found = data.statistics([value], before=found)
        scale = data.scaler(found)
        np.testing.assert_allclose(scale.scale, 1.0, rtol=1e-9)
        values = values.astype(np.float32)[:, None]
        assert data.statistics(values).mean.item() == 1e8

    @pytest.mark.parametrize(
        ("error", "call", "message"),
        [
            (ValueError, lambda: data.statistics(3.0), r"values: expected \(T, .*got a scalar"),
            (ValueError, lambda: data.statistics([1.0, np.inf]), "values: expected finite .*inf"),
            (TypeError, lambda: data.statistics([True]), "values: .* real numbers, got dtype bool"),
            (TypeError, lambda: data.statistics([1j]), "values: expected real numbers"),
            (TypeError, lambda: data.statistics([1.0], mask=[1]), "mask: expected booleans, got"),
            (
                ValueError,
                lambda: data.statistics(np.ones((3, 2)), mask=np.ones(2, bool)),
                r"mask: expected the leading axes of values \(3, 2\), got shape \(2,\)",
            ),
            (
                ValueError,
                lambda: data.statistics(np.ones((3, 2)), [1, 2, 3]),
                r"lengths: expected whole numbers for each series .*\(3, 2\), got int64\[3\]",
            ),
            (ValueError, lambda: data.statistics(np.ones((3, 2)), [0.5, 1]), "lengths: expected"),
            (
                ValueError,
                lambda: data.statistics(np.ones((3, 2)), before=data.statistics([1.0])),
                r"before: expected statistics of shape \(2,\), got \(\)",
            ),
            (
                ValueError,
                lambda: data.scaler(data.statistics([1.0]), "robust"),
                "kind: expected one of .*'min_max'.*, got 'robust'",
            ),
            (
                ValueError,
                lambda: data.scaler(data.statistics(np.ones((3, 2, 4)))).transform(np.ones((3, 4))),
                r"values: expected last axes that fit the scaler's \(2, 4\), got shape \(3, 4\)",
            ),
        ],
    )
    def test_errors(self, error, call, message):
        with pytest.raises(error, match=message):
            call()


class TestScaler:
    def test_kinds(self):
        values = gappy(50, 4, 3)
        found = data.statistics(values)
        z = data.scaler(found).transform(values)
        np.testing.assert_allclose(np.nanmean(z, 0), 0, atol=1e-12)
        np.testing.assert_allclose(np.nanstd(z, 0), 1)
        z = data.scaler(found, "mean_abs").transform(values)
        np.testing.assert_allclose(np.nanmean(np.abs(z), 0), 1)
        np.testing.assert_array_equal(np.sign(z), np.sign(values))
        z = data.scaler(found, "min_max").transform(values)
        np.testing.assert_allclose(
            [np.nanmin(z, 0), np.nanmax(z, 0)], [[[0] * 3] * 4, [[1] * 3] * 4]
        )

    @pytest.mark.parametrize("kind", ["standard", "mean_abs", "min_max"])
    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_there_and_back(self, kind, dtype):
        values = gappy(50, 4, 3).astype(dtype)
        scale = data.scaler(data.statistics(values), kind)
        z = scale.transform(values)
        assert z.dtype == dtype
        np.testing.assert_array_equal(np.isnan(z), np.isnan(values))
        np.testing.assert_allclose(scale.inverse_transform(z), values, rtol=1e-5)
        rows = [3, 0, 0]
        np.testing.assert_array_equal(scale.take(rows).transform(values[:, rows]), z[:, rows])

    def test_in_compiled_functions(self):
        """As an argument and as a constant, of jax's arrays, with the derivative 1 / scale."""
        values = RNG.normal(2, 3, size=(9, 4, 1)).astype(np.float32)
        scale = data.scaler(data.statistics(values))
        z = scale.transform(values)
        for got in (
            jax.jit(lambda s, x: s.transform(x))(scale, values),
            jax.jit(scale.transform)(values),
        ):
            assert got.dtype == jnp.float32
            np.testing.assert_allclose(got, z, atol=1e-6)
        back = jax.jit(scale.inverse_transform)(jnp.stack([z, z]))
        np.testing.assert_allclose(back[1], values, rtol=1e-5, atol=1e-5)
        slope = jax.grad(lambda x: scale.transform(x).sum())(jnp.asarray(values))
        np.testing.assert_allclose(slope, np.broadcast_to(1 / scale.scale, slope.shape), rtol=1e-6)
        assert scale.transform(jnp.ones((9, 4, 1), int)).dtype == jnp.float32

    def test_exported(self):
        scale = data.scaler(data.statistics(np.array([[1.0], [3.0]])))
        run = jax.jit(lambda scale, x: scale.transform(x))
        made = jax.export.export(run)(scale, jnp.ones((2, 1))).serialize()
        np.testing.assert_allclose(jax.export.deserialize(made).call(scale, jnp.ones((2, 1))), -1)

    def test_constant_and_empty_series(self):
        """A scale of 1: what was seen goes to 0 or stays, and a new value is not blown up."""
        values = np.stack([np.full(30, 0.1), np.full(30, np.nan), np.zeros(30)], 1)
        for kind in ("standard", "mean_abs", "min_max"):
            scale = data.scaler(data.statistics(values), kind)
            expected = [0.1 if kind == "mean_abs" else 1.0, 1.0, 1.0]
            np.testing.assert_allclose(scale.scale, expected)
            np.testing.assert_allclose(scale.loc, [0.0 if kind == "mean_abs" else 0.1, 0, 0])

    def test_whole_numbers(self):
        values = np.array([[1], [3]])
        scale = data.scaler(data.statistics(values))
        assert scale.transform(values).tolist() == [[-1.0], [1.0]]


def panel(seed=0):
    """Three series of unequal length: values with gaps, and the day of the week."""
    random = np.random.default_rng(seed)
    rows = [gappy(n, 2, seed=seed + n) for n in (12, 3, 7)]
    days = [np.arange(n) % 7 + random.integers(7) for n in (12, 3, 7)]
    values, lengths = data.pad(rows)
    return rows, days, {"y": values, "day": data.pad(days).values}, lengths


class TestWindows:
    @pytest.mark.parametrize("stride", [1, 2, 5])
    def test_of_many_are_those_of_each(self, stride):
        rows, days, series, lengths = panel()
        cut = data.windows(series, 4, 2, stride=stride, lengths=lengths)
        at = 0
        for n, (row, day) in enumerate(zip(rows, days, strict=True)):
            if len(row) < 6:
                continue
            alone, same = (data.windows(x, 4, 2, stride=stride) for x in (row, day))
            size = alone.inputs.shape[1]
            mine = slice(at, at + size)
            for got, mask, want in (
                (cut.inputs, cut.input_mask, (alone.inputs, same.inputs)),
                (cut.targets, cut.target_mask, (alone.targets, same.targets)),
            ):
                np.testing.assert_array_equal(got["y"][:, mine], np.nan_to_num(want[0], nan=0))
                np.testing.assert_array_equal(got["day"][:, mine], want[1][..., 0])
                np.testing.assert_array_equal(mask[:, mine], ~np.isnan(want[0]).any(-1))
            assert (cut.row[mine] == n).all()
            np.testing.assert_array_equal(cut.origin[mine], 4 + stride * np.arange(size))
            at += size
        assert at == len(cut.row)
        assert cut.inputs["day"].dtype == series["day"].dtype

    def test_dtype_and_mask(self):
        values = np.ones((6, 2), np.float32)
        mask = RNG.random((6, 2)) < 0.5
        cut = data.windows(values, 3, 2, lengths=[6, 6], mask=mask)
        assert cut.inputs.dtype == np.float32
        assert cut.inputs.all()
        for b, (n, t) in enumerate(zip(cut.row, cut.origin, strict=True)):
            np.testing.assert_array_equal(cut.input_mask[:, b], mask[t - 3 : t, n])
            np.testing.assert_array_equal(cut.target_mask[:, b], mask[t : t + 2, n])
        cut.inputs[:] = 5
        assert (values == 1).all()

    @pytest.mark.slow
    def test_short_histories(self):
        """What stands before a series is masked: a scan gives what it gives the series alone."""
        rows, _, series, lengths = panel()
        cut = data.windows(series, 8, 1, lengths=lengths, min_length=1)
        assert sorted(zip(cut.row, cut.origin, strict=True)) == [
            *((0, t) for t in range(1, 12)),
            *((1, t) for t in range(1, 3)),
            *((2, t) for t in range(1, 7)),
        ]
        params = jaxrnn.gru.init(jax.random.key(0), 2, 5)
        xs, mask = cut.inputs["y"].astype(np.float32), cut.input_mask
        carry, ys = jaxrnn.scan(jaxrnn.gru, params, xs, mask=mask, gaps="hold")
        np.testing.assert_allclose(ys[-1], jaxrnn.last(ys, mask=mask), atol=1e-7)
        alone = []
        for b, (n, origin) in enumerate(zip(cut.row, cut.origin, strict=True)):
            row = rows[n][max(0, origin - 8) : origin]
            alone.append(row[~np.isnan(row).any(-1)].astype(np.float32))
            assert not xs[: 8 - len(row), b].any()
        xs, steps = data.pad(alone, 8)
        expected, _ = jaxrnn.scan(jaxrnn.gru, params, xs, lengths=steps)
        np.testing.assert_allclose(carry, expected, rtol=1e-5, atol=1e-6)

    def test_lists_are_arrays(self):
        cut = data.windows([[1.0, 2.0], [3.0, 4.0]], 1, lengths=[2, 2])
        assert cut.inputs.tolist() == [[1.0, 2.0]]
        assert cut.targets.tolist() == [[3.0, 4.0]]

    @pytest.mark.parametrize(
        ("error", "options", "message"),
        [
            (ValueError, {"mask": np.ones((6, 2), bool)}, "mask: expected it only with lengths"),
            (ValueError, {"min_length": 1}, "min_length: expected it only with lengths"),
            (ValueError, {}, r"series: .* got shape \(6, 2, 1\); of many series give their leng"),
            (ValueError, {"lengths": [6]}, r"lengths: expected 2 in 0\.\.6 \(L\), got \[6\]"),
            (ValueError, {"lengths": [6, 7]}, r"lengths: expected 2 in 0\.\.6 \(L\), got \[6, 7\]"),
            (ValueError, {"lengths": [6, -1]}, "lengths: expected 2 in 0"),
            (TypeError, {"lengths": [6.0, 2.0]}, "lengths: expected whole numbers .*float64"),
            (ValueError, {"lengths": [3, 2]}, "lengths: expected one of at least 4, got at most 3"),
            (ValueError, {"lengths": [6, 6], "min_length": 4}, "min_length: .*most length, 3, got"),
            (ValueError, {"lengths": [6, 6], "min_length": 0}, "min_length: expected at least 1"),
            (TypeError, {"lengths": [6, 6], "mask": np.ones((6, 2))}, "mask: expected booleans"),
            (
                ValueError,
                {"lengths": [6, 6], "mask": np.ones(6, bool)},
                r"mask: expected shape \(6, 2\) \(L, N\), got \(6,\)",
            ),
        ],
    )
    def test_errors(self, error, options, message):
        with pytest.raises(error, match=message):
            data.windows(np.ones((6, 2, 1)), 3, **options)

    def test_shapes_of_a_tree(self):
        for series in ({"a": np.ones((6, 2)), "b": np.ones((6, 3))}, np.ones(6), {}):
            with pytest.raises(ValueError, match=r"series: expected arrays \(L, N, \*features\)"):
                data.windows(series, 3, lengths=[6, 6])


class TestBacktest:
    def test_of_one_series_is_the_loop(self):
        series, price = gappy(30, 2), RNG.normal(size=30)
        pasts = []

        def forecast(model, past):
            pasts.append(past)
            mean = np.nanmean(past.history, 0) + model
            return {"mean": np.tile(mean, (4, 1)), "price": past.known[-4:]}

        told = data.backtest(forecast, series, 4, origins=3, stride=5, known=price, model=7.0)
        assert told.origins.tolist() == [16, 21, 26]
        assert told.predictions["mean"].shape == told.targets.shape == (3, 4, 2)
        for k, origin in enumerate(told.origins):
            np.testing.assert_array_equal(pasts[k].history, series[:origin])
            np.testing.assert_array_equal(pasts[k].known, price[: origin + 4])
            assert (pasts[k].lengths, pasts[k].number) == (origin, k)
            np.testing.assert_array_equal(told.targets[k], series[origin : origin + 4])
            np.testing.assert_array_equal(told.predictions["price"][k], price[origin : origin + 4])
        np.testing.assert_array_equal(told.mask, ~np.isnan(told.targets))

    def test_of_many_is_that_of_each(self):
        random = np.random.default_rng(3)
        rows = [gappy(n, seed=n) for n in (10, 17, 12)]
        prices = [random.normal(size=len(row)) for row in rows]
        flags = [random.random(len(row)) < 0.5 for row in rows]
        series, lengths = data.pad(rows)
        known = {"price": data.pad(prices).values, "sale": data.pad(flags).values}

        def forecast(shapes, past):
            shapes.add((past.history.shape, past.known["price"].shape, past.known["sale"].dtype))
            steps = past.lengths + np.arange(-2, 0)[:, None]
            season = np.take_along_axis(past.history, steps, 0)
            ahead = past.lengths + np.arange(2)[:, None]
            return season + np.take_along_axis(past.known["price"], ahead, 0)

        shapes = set()
        options = {"origins": 3, "stride": 3}
        many = {"lengths": lengths, "known": known, "model": shapes}
        told = data.backtest(forecast, series, 2, **many, **options)
        assert shapes == {((15, 3), (17, 3), np.dtype(bool))}
        assert told.targets.shape == (3, 2, 3)
        for n, (row, price) in enumerate(zip(rows, prices, strict=True)):
            one = data.backtest(
                lambda _, past: past.history[-2:] + past.known[-2:], row, 2, known=price, **options
            )
            np.testing.assert_array_equal(told.predictions[:, :, n], one.predictions)
            np.testing.assert_array_equal(told.targets[:, :, n], one.targets)
            np.testing.assert_array_equal(told.mask[:, :, n], one.mask)
            np.testing.assert_array_equal(told.origins[:, n], one.origins)

    @pytest.mark.parametrize("lengths", [None, [20, 14, 17]])
    def test_foresees_nothing(self, lengths):
        """What comes after an origin is not in what is given, but for what is known ahead."""
        series = np.arange(60.0).reshape(20, 3)
        at = np.array([20] * 3 if lengths is None else lengths)

        def forecast(_, past):
            origin = np.broadcast_to(past.lengths, 3)
            assert past.history.max() == series[origin - 1, [0, 1, 2]].max()
            assert past.known.max() == series[origin + 1, [0, 1, 2]].max()
            past.history[:] = past.known[:] = -1  # these are copies
            return np.zeros((2, 3))

        kept = series.copy()
        told = data.backtest(forecast, series, 2, origins=4, lengths=lengths, known=series)
        np.testing.assert_array_equal(series, kept)
        last = told.origins[-1] + 2
        np.testing.assert_array_equal(np.broadcast_to(last, 3), at)

    def test_refits(self):
        calls = []

        def refit(model, past):
            calls.append((model, past.number))
            return len(past.history)

        for every, expected in ((1, [4, 6, 8, 10]), (2, [4, 4, 8, 8]), (9, [4] * 4)):
            calls.clear()
            told = data.backtest(
                lambda model, past: np.full(2, model),
                np.arange(12),
                2,
                origins=4,
                model="first",
                refit=refit,
                refit_every=every,
            )
            assert told.predictions[:, 0].tolist() == expected
            assert calls[0] == ("first", 0)
            assert [number for _, number in calls] == list(range(0, 4, every))
            assert told.mask.all()

    @pytest.mark.parametrize(
        ("error", "change", "message"),
        [
            (
                ValueError,
                {"origins": 5},
                "series: expected at least 11 steps for 5 .*got 10",
            ),
            (ValueError, {"horizon": 0}, "horizon: expected at least 1, got 0"),
            (TypeError, {"origins": 1.5}, "origins: expected a whole number, got 1.5"),
            (ValueError, {"stride": 0}, "stride: expected at least 1, got 0"),
            (ValueError, {"refit_every": 0}, "refit_every: expected at least 1, got 0"),
            (TypeError, {"forecast": 3}, "forecast: expected a function, got int"),
            (TypeError, {"refit": 3}, "refit: expected a function, got int"),
            (ValueError, {"series": 3.0}, r"series: expected \(L, \*features\), got a scalar"),
            (ValueError, {"known": np.ones(9)}, r"known: expected leading axes \(10,\) .*\(9,\)"),
            (
                ValueError,
                {"forecast": lambda _, past: np.ones(3)},
                r"forecast: expected arrays \(2, …\), the horizon first, got shapes \[\(3,\)\]",
            ),
            (
                ValueError,
                {"forecast": lambda _, past: None},
                r"forecast: expected .*got shapes \[\]",
            ),
            (ValueError, {"lengths": [10]}, r"series: expected arrays \(L, N, \*features\)"),
            (
                ValueError,
                {"series": np.ones((10, 2)), "lengths": [10, 4], "origins": 2},
                r"lengths: expected at least 5 steps for 2 origins, got \[10, 4\]",
            ),
            (
                ValueError,
                {"series": np.ones((10, 2)), "lengths": [9, 9], "known": np.ones(10)},
                r"known: expected leading axes \(10, 2\) as of series, got shape \(10,\)",
            ),
        ],
    )
    def test_errors(self, error, change, message):
        given = {"forecast": lambda _, past: np.ones(2), "series": np.ones(10), "horizon": 2}
        with pytest.raises(error, match=message):
            data.backtest(**{**given, **change})


class TestPaths:
    """What `generate` samples, with what is known ahead, against what is known of the process."""

    @pytest.mark.slow
    def test_are_of_the_right_distribution(self):
        """y_t = 0.8 y_{t-1} + price_t + ε/2, by a cell without memory: its quantiles in numbers."""
        cell = jaxrnn.elman
        params = cell.init(jax.random.key(0), 1, 1)
        rows, steps = 3, 5
        price = RNG.normal(size=(steps, rows, 1)).astype(np.float32)
        start = jnp.asarray([[1.0], [-2.0], [0.5]])
        # Small numbers, of which a tanh is the number itself.
        embed = lambda fed, known: 1e-3 * (0.8 * fed + known)  # noqa: E731
        params = params._replace(
            input_kernel=jnp.ones_like(params.input_kernel),
            recurrent_kernel=jnp.zeros_like(params.recurrent_kernel),
        )

        def draw(key, loc):
            return loc + 0.5 * jax.random.normal(key, loc.shape)

        def sample(key):
            return jaxrnn.generate(
                cell,
                params,
                start[None],
                steps=steps,
                embed=embed,
                readout=lambda y: 1e3 * y,
                choose=draw,
                inputs=price,
                key=key,
            ).sequence

        paths = jax.vmap(sample)(jax.random.split(jax.random.key(1), 4000))
        mean, variance = np.asarray(start), 0.0
        for t in range(steps):
            mean, variance = 0.8 * mean + price[t], 0.64 * variance + 0.25
            np.testing.assert_allclose(paths[:, t].mean(0), mean, atol=5 * np.sqrt(variance / 4000))
            np.testing.assert_allclose(paths[:, t].var(0), variance, rtol=0.12)
            low, high = np.quantile(paths[:, t], [0.1, 0.9], axis=0)
            np.testing.assert_allclose((high - low) / 2, 1.2816 * np.sqrt(variance), rtol=0.08)
