"""Checkpoints: bit-for-bit resume, damage, strangers, full disks, signals, kills, devices."""

import gc
import itertools
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from jaxrnn import training
from jaxrnn.data import Batches
from jaxrnn.training import Aux, Checkpoints, Interrupted, fit
from jaxrnn.training.signals import stop_signals
from jaxrnn.training.source import Place, Source


@pytest.fixture(autouse=True, scope="module")
def compile_once(tmp_path_factory):
    """Most runs here are the same program: compile it once."""
    options = {
        "jax_compilation_cache_dir": str(tmp_path_factory.mktemp("compiled")),
        "jax_persistent_cache_min_compile_time_secs": 0.05,
    }
    before = {name: getattr(jax.config, name) for name in options}
    for values in (options, before):
        for name, value in values.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()
        if values is options:
            yield


XS = np.random.default_rng(0).normal(size=(3, 12, 2)).astype(np.float32)  # (T, N, D)


def loss(params, batch, key, state):
    """A noisy little network whose carried state lives on from batch to batch."""
    noise = jax.random.normal(key, (4,)) * 0.1
    ys = []
    for x in batch[:-1]:
        state = jnp.tanh(x @ params["in"] + state @ params["rec"] + noise)
        ys.append(state @ params["out"])
    size = jnp.abs(ys[-1]).max()
    return jnp.mean((jnp.stack(ys) - batch[1:]) ** 2), Aux(state=state, metrics={"size": size})


def setup(seed=0):
    draw = np.random.default_rng(seed)
    shapes = {"in": (2, 4), "rec": (4, 4), "out": (4, 2)}
    return {
        "params": {k: jnp.asarray(draw.normal(size=s), jnp.float32) for k, s in shapes.items()},
        "batches": Batches(lambda rows: XS[:, rows], 12, 5, seed=seed, drop_last=True),
        "optimizer": optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-2)),
        "key": jax.random.key(7),
        "state": jnp.zeros((5, 4)),
    }


def run(steps, **options):
    return fit(loss, steps=steps, **(setup() | options))


def plain(leaf):
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return leaf.dtype, leaf.shape, np.asarray(leaf).tobytes()


def bits(tree):
    return [plain(jnp.asarray(leaf)) for leaf in jax.tree.leaves(tree)]


def assert_same_run(a, b):
    """Bit for bit: parameters, optimizer, key, steps, carried state and the best."""
    assert bits(a.state) == bits(b.state)
    assert bits(a.best.params) == bits(b.best.params)
    assert a.best[1:] == b.best[1:]


class TestResume:
    @pytest.mark.parametrize("evaluated", [False, True])
    def test_is_bit_for_bit_the_run_that_never_stopped(self, tmp_path, evaluated):
        options = {}
        if evaluated:  # due at 8 and 16; what stops the run does not evaluate out of turn
            options = {"evaluate": lambda p: jnp.abs(p["in"]).sum(), "evaluate_every": 8}
        whole = run(20, **options)
        for stop in (7, 13):
            with pytest.raises(Interrupted):
                run(
                    20,
                    **options,
                    checkpoints=Checkpoints(tmp_path, every=100),
                    resume=True,
                    callbacks=[lambda r, stop=stop: r.step == stop and signal.raise_signal(15)],
                )
        rest = run(20, **options, checkpoints=Checkpoints(tmp_path), resume=True)
        assert_same_run(whole, rest)
        for name in ("step", "loss", "grad_norm", "skipped", "size"):
            np.testing.assert_array_equal(rest.history[name], whole.history[name])
        assert (np.diff(rest.history["seconds"]) > 0).all()

    @pytest.mark.parametrize(
        "batches",
        [lambda: [XS[:, :5], XS[:, 5:10], XS[:, 7:]], lambda: itertools.cycle([XS[:, :5]])],
    )
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_of_batches_without_a_cursor(self, tmp_path, batches, accumulate):
        options = {"accumulate": accumulate}
        whole = run(9, batches=batches(), **options)
        run(4, batches=batches(), checkpoints=Checkpoints(tmp_path), **options)
        rest = run(9, batches=batches(), checkpoints=Checkpoints(tmp_path), resume=True, **options)
        assert_same_run(whole, rest)

    @pytest.mark.parametrize("bad", ["cannot be read", "of other features"])
    def test_after_a_bad_batch(self, tmp_path, bad):
        """The steps before it are kept, and the run goes on once the data are mended."""

        def broken():
            yield from [XS[:, :5]] * 6
            if bad == "cannot be read":
                raise OSError(bad)
            yield XS[:, :5, :1]

        with pytest.raises((OSError, TypeError, ValueError)):
            run(9, batches=broken(), checkpoints=Checkpoints(tmp_path, every=100))
        assert Checkpoints(tmp_path).steps() == [6]
        mended = [XS[:, :5]] * 9
        rest = run(9, batches=mended, checkpoints=Checkpoints(tmp_path), resume=True)
        assert rest.history["step"].tolist() == list(range(1, 10))
        assert_same_run(run(9, batches=mended), rest)

    @pytest.mark.oracle
    def test_of_grain(self, tmp_path):
        """Its iterators are batches as they are, and their place is in the checkpoint."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what it imports
            grain = pytest.importorskip("grain.python")

        def batches():
            rows = grain.MapDataset.source(range(12)).shuffle(seed=3).repeat().batch(5)
            read = rows.map(lambda rows: XS[:, rows])
            return iter(read.to_iter_dataset(grain.ReadOptions(num_threads=0)))

        whole = run(9, batches=batches())
        run(4, batches=batches(), checkpoints=Checkpoints(tmp_path))
        rest = run(9, batches=batches(), checkpoints=Checkpoints(tmp_path), resume=True)
        assert_same_run(whole, rest)

    @pytest.mark.slow
    def test_of_a_line_search(self, tmp_path):
        def quiet(params, batch):
            return loss(params, batch, jax.random.key(0), jnp.zeros((5, 4)))[0]

        def lbfgs(steps, **options):
            batches = itertools.repeat(XS[:, :5])
            return fit(
                quiet,
                setup()["params"],
                optax.lbfgs(),
                batches,
                steps=steps,
                fixed_batch=True,
                **options,
            )

        whole = lbfgs(9)
        lbfgs(4, checkpoints=Checkpoints(tmp_path))
        assert_same_run(whole, lbfgs(9, checkpoints=Checkpoints(tmp_path), resume=True))

    def test_epochs_count_from_the_beginning(self, tmp_path):
        whole = run(None, epochs=4)
        run(3, checkpoints=Checkpoints(tmp_path))
        rest = run(None, epochs=4, checkpoints=Checkpoints(tmp_path), resume=True)
        assert int(rest.state.step) == 8
        assert_same_run(whole, rest)

    def test_of_a_finished_run_does_nothing(self, tmp_path):
        first = run(4, checkpoints=Checkpoints(tmp_path))
        again = run(4, checkpoints=Checkpoints(tmp_path), resume=True)
        assert_same_run(first, again)
        assert list(again.history) == list(first.history)

    @pytest.mark.parametrize("reason", ["patience", "callback"])
    def test_of_a_run_that_ended_of_itself(self, tmp_path, reason):
        """It stays ended, however often it is asked to go on, until that is let go of."""

        def again(**options):
            batches = itertools.chain([XS[:, :5]] * 2, itertools.repeat(99 * XS[:, :5]))
            with Checkpoints(tmp_path, every=1) as checkpoints:
                return run(9, batches=batches, checkpoints=checkpoints, resume=True, **options)

        ends = {"patience": 4} if reason == "patience" else {"callbacks": [lambda r: r.step == 4]}
        first, *others = [again(**ends) for _ in range(3)]
        assert first.reason == reason
        for other in others:
            assert other.reason == reason
            assert_same_run(first, other)
        longer = {"patience": 20} if reason == "patience" else {}
        assert again(**longer).reason == "steps"

    def test_of_an_empty_folder_begins(self, tmp_path):
        result = run(2, checkpoints=Checkpoints(tmp_path / "new"), resume=True)
        assert len(result.history) == 2

    def test_is_asked_for(self, tmp_path):
        run(2, checkpoints=Checkpoints(tmp_path))
        with pytest.raises(ValueError, match=r"checkpoints: expected an empty folder.*\[2\]"):
            run(3, checkpoints=Checkpoints(tmp_path))

    def test_every_and_keep(self, tmp_path):
        checkpoints = Checkpoints(tmp_path, every=3, keep=2)
        run(10, checkpoints=checkpoints)
        assert checkpoints.steps() == [9, 10]
        checkpoints.close()

    def test_divergence_leaves_the_last_good_checkpoint(self, tmp_path):
        batches = [XS[:, :5]] * 4 + [XS[:, :5] * np.nan] * 4
        with pytest.raises(training.Diverged):
            run(8, batches=batches, max_skips=1, checkpoints=Checkpoints(tmp_path, every=2))
        with Checkpoints(tmp_path) as checkpoints:
            assert checkpoints.steps() == [2, 4]


class TestSource:
    def test_place_of_a_shorter_iterable(self):
        source = Source(iter([1, 2]))
        with pytest.raises(ValueError, match=r"batches: expected at least the 3 .* got 2"):
            source.move(Place(3))

    def test_the_protocol_of_grain(self):
        class Loader:
            """Its own iterator, with bytes for a cursor."""

            position = 0

            def __iter__(self):
                return self

            def __next__(self):
                if self.position == 5:
                    raise StopIteration
                self.position += 1
                return self.position

            def get_state(self):
                return str(self.position).encode()

            def set_state(self, state):
                self.position = int(state)

        first, second = Source(Loader()), Source(Loader())
        assert first.take(3) == [1, 2, 3]
        second.move(first.place)
        assert second.place == first.place == Place(3, 0, b"3")
        assert second.take(3) == [4, 5]
        assert second.take(3) == []


def saved(path, *steps, keep=9):
    """Checkpoints of easily told trees, and such a tree."""
    tree = {
        "w": jnp.asarray(np.random.default_rng(0).normal(size=(40, 50)), jnp.float32),
        "half": jnp.arange(5, dtype=jnp.bfloat16),
        "count": jnp.int32(3),
        "flag": jnp.array(True),
        "key": jax.random.key(3),
        "empty": jnp.zeros((0, 3)),
    }
    with Checkpoints(path, keep=keep) as checkpoints:
        for step in steps:
            here = tree | {"count": jnp.int32(step)}
            checkpoints.save(step, here, {"bytes": b"\x00\xff", "list": [1, {"a": None}]})
    return tree


class TestCheckpoints:
    def test_round_trip(self, tmp_path):
        tree = saved(tmp_path, 1, 4)
        with Checkpoints(tmp_path) as checkpoints:
            found = checkpoints.restore(jax.tree.map(lambda leaf: leaf, tree))
        assert found.step == 4
        assert bits(found.tree) == bits(tree | {"count": jnp.int32(4)})
        assert found.notes == {"bytes": b"\x00\xff", "list": [1, {"a": None}]}
        assert not any(leaf.committed for leaf in jax.tree.leaves(found.tree))

    def test_into_shapes(self, tmp_path):
        tree = saved(tmp_path, 3)
        with Checkpoints(tmp_path) as checkpoints:
            found = checkpoints.restore(jax.eval_shape(lambda: tree))
        assert bits(found.tree) == bits(tree | {"count": jnp.int32(3)})
        assert not any(leaf.committed for leaf in jax.tree.leaves(found.tree))

    @pytest.mark.parametrize("ambiguous", [False, True])
    def test_parameters_alone(self, tmp_path, ambiguous):
        """Without the optimizer that they were trained with."""
        params = {"a": {"b": jnp.zeros(2)}, "c" if not ambiguous else "a.b": jnp.ones(1)}
        checkpoints = Checkpoints(tmp_path)

        def loss(params, batch):
            return sum(((leaf - batch) ** 2).mean() for leaf in jax.tree.leaves(params))

        result = fit(loss, params, optax.adam(0.1), [0.2, 9.0], checkpoints=checkpoints)
        shapes = jax.eval_shape(lambda: params)
        with Checkpoints(tmp_path) as checkpoints:
            assert bits(checkpoints.restore_params(shapes)) == bits(result.best.params)
            last = checkpoints.restore_params(params, best=False)
            assert bits(last) == bits(result.params) != bits(result.best.params)
            with pytest.raises(ValueError, match=r"missing .*d.*\n.*surplus .*b") as info:
                checkpoints.restore_params({"a": shapes["a"], "d": jnp.zeros(1)})
            assert "opt_state" not in str(info.value)
            assert checkpoints.steps() == [2]
        with (
            Checkpoints(tmp_path / "none") as checkpoints,
            pytest.raises(FileNotFoundError, match="expected a checkpoint, got none"),
        ):
            checkpoints.restore_params(shapes)

    def test_trees_that_are_not_of_arrays(self, tmp_path):
        with Checkpoints(tmp_path) as checkpoints:
            for tree in ({}, {"a": None}):
                with pytest.raises(ValueError, match="tree: expected at least one array, got"):
                    checkpoints.save(1, tree)
            with pytest.raises(TypeError, match=r"tree: expected arrays, got str for a\.0"):
                checkpoints.save(1, {"a": ["text"]})
            assert checkpoints.steps() == []
            checkpoints.save(1, {"a": jnp.zeros((0, 2))})
            checkpoints.wait()
            assert checkpoints.restore({"a": jnp.zeros((0, 2))}).tree["a"].shape == (0, 2)

    @pytest.mark.parametrize("address", ["gs://bucket/run", "s3://bucket"])
    def test_remote_directories(self, address):
        with pytest.raises(ValueError, match=f"directory: expected .* mounted .* got '{address}'"):
            Checkpoints(address)

    def test_none(self, tmp_path):
        with Checkpoints(tmp_path) as checkpoints:
            assert checkpoints.restore({}) is None

    def test_ambiguous_names(self, tmp_path):
        tree = {"a.b": jnp.ones(1), "a": {"b": jnp.zeros(2)}}
        with Checkpoints(tmp_path) as checkpoints:
            checkpoints.save(1, tree)
            checkpoints.wait()
            assert bits(checkpoints.restore(tree).tree) == bits(tree)

    def test_arguments(self, tmp_path):
        with pytest.raises(ValueError, match="every: expected a whole number of at least 1, got 0"):
            Checkpoints(tmp_path, every=0)
        with pytest.raises(ValueError, match="keep: expected"):
            Checkpoints(tmp_path, keep=0)
        saved(tmp_path, 1)
        with (
            Checkpoints(tmp_path) as checkpoints,
            pytest.raises(ValueError, match=r"step: expected one that .* lacks, got 1"),
        ):
            checkpoints.save(1, {})

    def test_of_another_model_names_every_leaf(self, tmp_path):
        tree = saved(tmp_path, 1)
        other = tree | {"w": jnp.zeros((40, 51)), "half": jnp.zeros(5), "more": jnp.zeros(2)}
        del other["flag"]
        with (
            Checkpoints(tmp_path) as checkpoints,
            pytest.raises(ValueError, match="this model") as e,
        ):
            checkpoints.restore(other)
        assert str(e.value).splitlines()[1:] == [
            "  half: expected float32[5], got bfloat16[5]",
            "  missing more: expected float32[2]",
            "  surplus flag: got bool[]",
            "  w: expected float32[40, 51], got float32[40, 50]",
        ]
        assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["1"]

    def test_of_another_model_through_fit(self, tmp_path):
        run(2, checkpoints=Checkpoints(tmp_path))
        other = setup() | {"params": {"in": jnp.zeros((2, 4))}, "optimizer": optax.sgd(0.1)}
        with pytest.raises(
            ValueError, match=r"surplus state\.opt_state\.1\.0\.mu\.rec: got"
        ) as info:
            fit(loss, **other, steps=4, checkpoints=Checkpoints(tmp_path), resume=True)
        assert "surplus state.params.rec: got float32[4, 4]" in str(info.value)

    def test_many_problems_are_cut_short(self, tmp_path):
        saved(tmp_path, 1)
        with Checkpoints(tmp_path) as checkpoints, pytest.raises(ValueError, match="and 16 more"):
            checkpoints.restore({str(i): jnp.zeros(()) for i in range(30)})

    def test_of_a_newer_format(self, tmp_path, monkeypatch):
        monkeypatch.setattr(training.checkpoints, "_VERSION", 99)
        tree = saved(tmp_path, 1)
        monkeypatch.undo()
        with (
            Checkpoints(tmp_path) as checkpoints,
            pytest.raises(ValueError, match="expected checkpoint format 2, got 99"),
        ):
            checkpoints.restore(tree)


def damage(path, how, draw):
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    else:
        content = content[: draw.randrange(len(content))]
    path.write_bytes(content)


# What orbax leaves behind of a read that fails half-way: coroutines that nobody waited for, whose
# event loop is gone.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestDamage:
    @pytest.fixture(autouse=True)
    def collect(self):
        """Have what is left behind complain here, where it is forgiven."""
        yield
        gc.collect()

    @pytest.mark.parametrize("how", ["flip", "cut"])
    @pytest.mark.parametrize("part", ["arrays/**/d/*", "notes/metadata"])
    def test_newest_falls_back_with_a_warning(self, tmp_path, how, part):
        """Every file that matters; the largest of those that hold arrays."""
        tree = saved(tmp_path, 1, 2)
        file = max((tmp_path / "2").glob(part), key=lambda path: path.stat().st_size)
        size = file.stat().st_size
        if how == "flip":
            content = bytearray(file.read_bytes())
            content[size // 2] ^= 4
            file.write_bytes(content)
        else:
            file.write_bytes(file.read_bytes()[: size // 2])
        with Checkpoints(tmp_path) as checkpoints:
            with pytest.warns(RuntimeWarning, match=r"2 is damaged and is now damaged-2"):
                found = checkpoints.restore(tree)
            assert found.step == 1
            assert bits(found.tree) == bits(tree | {"count": jnp.int32(1)})
            assert checkpoints.steps() == [1]
            checkpoints.save(2, tree)
        assert (tmp_path / "damaged-2").is_dir()

    @pytest.mark.slow
    def test_anywhere_is_never_believed(self, tmp_path):
        """Flip or cut at random: the newest exactly, or the one before with a warning."""
        draw = random.Random(0)
        tree = saved(tmp_path, 1)
        seen = set()
        for trial in range(25):
            step = trial + 2
            with Checkpoints(tmp_path, keep=9) as checkpoints:
                checkpoints.save(step, tree | {"count": jnp.int32(step)})
            files = [p for p in (tmp_path / str(step)).rglob("*") if p.is_file()]
            damage(draw.choice(files), draw.choice(["flip", "cut"]), draw)
            with Checkpoints(tmp_path, keep=9) as checkpoints, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = checkpoints.restore(tree)
            assert bits(found.tree) == bits(tree | {"count": jnp.int32(found.step)})
            assert found.step == step or (tmp_path / f"damaged-{step}").is_dir()
            seen.add(found.step == step)
        assert seen == {True, False}

    def test_all_is_an_error(self, tmp_path):
        tree = saved(tmp_path, 1, 2)
        for path in tmp_path.glob("*/notes/metadata"):
            path.write_text("{")
        with (
            Checkpoints(tmp_path) as checkpoints,
            pytest.warns(RuntimeWarning, match="damaged"),
            pytest.raises(OSError, match=r"damaged ones only \(steps \[1, 2\]\)") as info,
        ):
            checkpoints.restore(tree)
        assert info.value.filename == str(tmp_path)

    def test_twice_of_one_step(self, tmp_path):
        for _ in range(2):
            tree = saved(tmp_path, 1, 2)
            (tmp_path / "2" / "notes" / "metadata").unlink()
            with (
                Checkpoints(tmp_path) as checkpoints,
                pytest.warns(RuntimeWarning, match="damaged"),
            ):
                checkpoints.restore(tree)
            (tmp_path / "1").rename(tmp_path / f"gone-{time.time_ns()}")
        assert {p.name for p in tmp_path.glob("damaged*")} == {"damaged-2", "damaged-2-2"}

    def test_resume_takes_the_damaged_steps_again(self, tmp_path):
        whole = run(9)
        run(7, checkpoints=Checkpoints(tmp_path, every=4))
        (tmp_path / "7" / "notes" / "metadata").write_text("")
        with pytest.warns(RuntimeWarning, match="damaged"):
            rest = run(9, checkpoints=Checkpoints(tmp_path), resume=True)
        assert rest.history["step"].tolist() == list(range(1, 10))
        assert_same_run(whole, rest)


class TestFullDisk:
    def check(self, path):
        """Saving fails, in the background or at once; what was there is, and more can be saved."""
        tree = saved(path, 1)
        big = {"w": jnp.asarray(np.random.default_rng(0).normal(size=400_000), jnp.float32)}
        with Checkpoints(path, keep=1) as checkpoints:

            def fail():
                checkpoints.save(2, big)
                checkpoints.wait()

            for _ in range(2):
                with pytest.raises(OSError, match="expected to write a checkpoint") as info:
                    fail()
                assert info.value.filename == str(path)
                assert checkpoints.steps() == [1]
            found = checkpoints.restore(tree)
            assert bits(found.tree) == bits(tree | {"count": jnp.int32(1)})
            checkpoints.save(2, tree)
        with Checkpoints(path) as checkpoints:
            assert checkpoints.steps() == [2]
        return info.value

    def test_a_file_too_large(self, tmp_path):
        import resource

        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, before[1]))
        try:
            self.check(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    def test_no_space_left(self, tmp_path):
        command = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(tmp_path)]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("needs leave to mount a small file system")
        try:
            error = self.check(tmp_path / "run")
            assert "No space left on device" in str(error)
        finally:
            subprocess.run(["umount", str(tmp_path)], check=True)

    def test_stops_fit(self, tmp_path, monkeypatch):
        import orbax.checkpoint as ocp

        save = ocp.CheckpointManager.save

        def full(self, step, **options):
            if step == 4:
                raise OSError(28, "No space left on device")
            return save(self, step, **options)

        monkeypatch.setattr(ocp.CheckpointManager, "save", full)
        with pytest.raises(OSError, match="No space left on device") as info:
            run(6, checkpoints=Checkpoints(tmp_path, every=2))
        assert info.value.errno == 28
        monkeypatch.undo()
        whole = run(6)
        assert_same_run(whole, run(6, checkpoints=Checkpoints(tmp_path), resume=True))


class TestSignals:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_finish_the_step_save_and_say_so(self, tmp_path, number, caplog):
        whole = run(12)
        before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]

        def twice(report):
            if report.step == 5:
                signal.raise_signal(number)
                signal.raise_signal(signal.SIGINT)

        with pytest.raises(Interrupted) as info:
            run(12, checkpoints=Checkpoints(tmp_path), callbacks=[twice])
        assert (info.value.code, info.value.signal) == (75, number)
        assert info.value.step == int(info.value.result.state.step) == 6  # 6 was under way
        assert caplog.messages == [f"{number.name}: stopped after step 6, saved in {tmp_path}"]
        assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
        rest = run(12, checkpoints=Checkpoints(tmp_path), resume=True)
        assert rest.history["step"].tolist() == list(range(1, 13))
        assert_same_run(whole, rest)

    def test_during_the_last_save_is_not_lost(self, tmp_path):
        with pytest.raises(Interrupted) as info:
            run(
                4,
                checkpoints=Checkpoints(tmp_path),
                callbacks=[lambda r: r.step == 4 and signal.raise_signal(signal.SIGTERM)],
            )
        assert info.value.step == 4

    def test_are_left_alone_without_checkpoints(self, request):
        # A job that a shell started in the background begins with Ctrl-C ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
        with pytest.raises(training.Cancelled, match="stopped after step 3") as info:
            run(9, callbacks=[lambda r: r.step == 3 and signal.raise_signal(signal.SIGINT)])
        result = info.value.result
        assert isinstance(info.value, KeyboardInterrupt)
        assert result.reason == "cancelled"
        assert result.history["step"].tolist() == [1, 2, 3]
        assert bits(result.state) == bits(run(3).state)

    def test_are_left_alone_outside_the_main_thread(self):
        before = signal.getsignal(signal.SIGTERM)
        inside = []

        def work():
            with stop_signals() as signals:
                inside.append((signal.getsignal(signal.SIGTERM), signals.received))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert inside == [(before, [])]


CHILD = """
import sys, jax
sys.path.insert(0, {tests!r})
import test_training_checkpoints as t
from jaxrnn.training import Checkpoints
def tell(report):
    print(report.step, flush=True)
result = t.run({steps}, checkpoints=Checkpoints(sys.argv[1], every={every}), resume=True,
               callbacks=[tell])
print("done", hash(tuple(t.bits(result.state))), hash(tuple(t.bits(result.best.params))))
"""


def child(path, steps, every=1):
    here = pathlib.Path(__file__).parent
    code = CHILD.format(tests=str(here), steps=steps, every=every)
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        env=os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(here.parent)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(path, steps):
    process = child(path, steps, every=1000)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return [line for line in out.splitlines() if line.startswith("done")]


@pytest.mark.slow
class TestProcesses:
    def test_two_signals_from_outside(self, tmp_path):
        whole = finish(tmp_path / "whole", 5000)
        process = child(tmp_path / "run", 5000, every=1000)
        while process.stdout.readline().strip() != "20":
            pass
        process.send_signal(signal.SIGTERM)
        time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode == 75, err
        assert finish(tmp_path / "run", 5000) == whole

    def test_fifty_kills(self, tmp_path):
        """kill -9 while checkpoints are being written, every step: never a broken one."""
        steps, draw, kills, reached = 100_000, random.Random(0), 0, 0
        while kills < 50:
            process = child(tmp_path / "run", steps)
            first = int(process.stdout.readline())
            assert first >= reached - 3  # at most what was still being written is taken again
            time.sleep(draw.random() * 0.3)
            process.kill()
            kills += 1
            out, err = process.communicate(timeout=120)
            assert "damaged" not in err
            reached = max([first, *(int(line) for line in out.splitlines() if line.isdigit())])
        end = reached + 20
        assert finish(tmp_path / "run", end) == finish(tmp_path / "whole", end)


DEVICES = """
import sys
sys.path.insert(0, {tests!r})
import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from jaxrnn.training import Checkpoints, fit
def loss(params, batch):
    return jnp.mean((jnp.tanh(batch @ params["a"]) @ params["b"] - batch[:, :1]) ** 2)
count = len(jax.devices())
assert count == int(sys.argv[3]), count
mesh = Mesh(jax.devices(), ("d",))
x = np.random.default_rng(0).normal(size=(16, 8)).astype("float32")
batch = jax.device_put(x, NamedSharding(mesh, P("d")))
params = {{"a": jnp.eye(8), "b": jnp.ones((8, 1))}}
if sys.argv[4] == "sharded":
    params = {{"a": jax.device_put(params["a"], NamedSharding(mesh, P(None, "d"))),
               "b": jax.device_put(params["b"], NamedSharding(mesh, P("d")))}}
result = fit(loss, params, optax.adam(0.1), [batch], steps=int(sys.argv[2]),
             checkpoints=Checkpoints(sys.argv[1]), resume=True)
assert result.compiling < 60
np.save(sys.argv[1] + ".npy", np.concatenate([np.ravel(p) for p in
        jax.tree.leaves((result.params, result.best.params))]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_other_numbers_of_devices(tmp_path, layout):
    """8 devices, then 1, then 8 again: within rounding what 1 does throughout."""

    def train(name, steps, count):
        code = DEVICES.format(tests=str(pathlib.Path(__file__).parent))
        flags = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={count}"}
        path = tmp_path / name
        subprocess.run(
            [sys.executable, "-W", "error", "-c", code, str(path), str(steps), str(count), layout],
            env=os.environ | flags | {"PYTHONPATH": str(pathlib.Path(__file__).parent.parent)},
            check=True,
        )
        return np.load(f"{path}.npy")

    one = train("one", 30, 1)
    for steps, count in ((10, 8), (20, 1), (30, 8)):
        mixed = train("mixed", steps, count)
    np.testing.assert_allclose(mixed, one, rtol=1e-4, atol=1e-5)
