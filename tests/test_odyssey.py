"""The study of cells: sizes, targets by a computation of their own, what is done stays done."""

import importlib.util
import pathlib
from functools import partial

import jax
import numpy as np
import pytest

import jaxrnn

pytestmark = pytest.mark.slow
EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


@pytest.fixture
def load(monkeypatch):
    """``load(name)``: an example as a module."""
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name):
        spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


SIZES = [
    (jaxrnn.lstm, 1, False),
    (jaxrnn.cells.mut1, 1, True),  # needs as many inputs as units
    (jaxrnn.cells.min_gru, 1, True),  # has no recurrent kernel
    (jaxrnn.cells.make_mlstm(num_heads=4), 4, True),
]


class TestNetworks:
    @pytest.mark.parametrize(("cell", "grain", "embedded"), SIZES)
    def test_no_other_size_is_nearer_to_the_budget(self, load, cell, grain, embedded):
        networks = load("_odyssey_networks")
        network = networks.sized(cell, 2, 3, 900)
        assert network.embedded == embedded
        away = {}
        for hidden in range(grain, 41, grain):
            init = partial(cell.init, jax.random.key(0), hidden if embedded else 2, hidden)
            leaves = jax.tree.leaves(jax.eval_shape(init))
            size = sum(leaf.size for leaf in leaves) + 2 * hidden * embedded + 3 * (hidden + 1)
            away[hidden] = abs(size - 900)
        assert away[network.hidden] == min(away.values()) == abs(networks.count(network) - 900)

    def test_what_diverged_is_not_chosen(self, load):
        networks, tasks = load("_odyssey_networks"), load("_odyssey_tasks")
        task = tasks.TASKS["adding"]()
        network = networks.sized(jaxrnn.elman_relu, task.inputs, task.outputs, 40)
        options = {"steps": 4, "checks": 2, "seeds": 2}
        told = networks.measure(network, task, rates=[1e36, 1e-3], **options)
        assert np.shape(told["valid"]) == (2, 2)
        assert told["rate"] == 1e-3
        assert np.isfinite(told["test"]).all()
        assert not np.isfinite(np.array(told["valid"])[:, 0]).all()


class TestTasks:
    def test_adding(self, load):
        xs, targets, asked = map(np.asarray, drawn(load, "adding"))
        for b in range(xs.shape[1]):
            places = [t for t in range(len(xs)) if xs[t, b, 1]]
            assert len(places) == 2
            assert places[0] < len(xs) // 2 <= places[1]
            expected = xs[places[0], b, 0] + xs[places[1], b, 0]
            np.testing.assert_allclose(targets[:, b], expected, rtol=1e-6)
        assert asked.all(1).tolist() == [False] * (len(xs) - 1) + [True]

    @pytest.mark.parametrize("name", ["copy", "selective"])
    def test_copying(self, load, name):
        xs, targets, asked = map(np.asarray, drawn(load, name))
        for b in range(xs.shape[1]):
            shown = [(t, int(x[:-1].argmax())) for t, x in enumerate(xs[:, b]) if x[:-1].any()]
            assert len(shown) == 5
            assert name == "selective" or [t for t, _ in shown] == [0, 1, 2, 3, 4]
            assert max(t for t, _ in shown) < 15 == xs[:, b, -1].argmax()
            assert targets[asked[:, b], b].tolist() == [symbol for _, symbol in shown]

    def test_parity(self, load):
        xs, targets, asked = map(np.asarray, drawn(load, "parity"))
        assert asked.all()
        for b in range(xs.shape[1]):
            odd = False
            for bit, target in zip(xs[:, b, 0], targets[:, b], strict=True):
                odd ^= bool(bit)
                assert target == odd

    def test_forecast(self, load):
        tasks = load("_odyssey_tasks")
        xs, targets, asked = map(np.asarray, drawn(load, "forecast"))
        np.testing.assert_array_equal(targets[: -tasks.AHEAD], xs[tasks.AHEAD :, :, 0])
        assert not asked[: tasks.WARM].any()
        assert asked[tasks.WARM :].all()
        # A third of the step gives the same series for as long as chaos lets it.
        coarse, fine = (tasks.mackey_glass(20, fine=n, skip=0) for n in (20, 60))
        np.testing.assert_allclose(coarse, fine, atol=1e-3)
        assert coarse.std() > 0.1


def drawn(load, name):
    return load("_odyssey_tasks").TASKS[name]().draw(jax.random.key(3), 8)


class TestRun:
    def test_goes_on_where_it_stopped(self, load, monkeypatch, tmp_path):
        odyssey, done = load("odyssey"), []

        def measure(network, task, **options):
            done.append((network.cell.name, options["steps"]))
            if len(done) == 2:
                raise KeyboardInterrupt
            return {"test": [0.5, 0.7], "seconds": 1.0}

        monkeypatch.setattr(odyssey, "measure", measure)
        monkeypatch.setattr(jax, "clear_caches", lambda: None)  # they are other tests' too
        settings = {"budget": 100, "steps": 4, "checks": 1, "seeds": 2, "rates": [0.1]}
        asked = ["elman", "gru"], ["parity"], settings, tmp_path
        with pytest.raises(KeyboardInterrupt):
            odyssey.run(*asked)
        results = odyssey.run(*asked)
        assert done == [("elman", 4), ("gru", 4), ("gru", 4)]
        assert [result["cell"] for result in results] == ["elman", "gru"]
        assert odyssey.run(*asked) == results
        assert len(done) == 3
        settings["steps"] = 5  # others: not what is there
        odyssey.run(*asked)
        assert done[3:] == [("elman", 5), ("gru", 5)]

    def test_cells_by_name_and_by_family(self, load):
        odyssey = load("odyssey")
        assert odyssey.chosen(["all"]) == list(jaxrnn.CELLS)
        assert odyssey.chosen(["lstm", "GRU"]) == ["lstm", "gru", "gru_reset_before", "gru_write"]
        with pytest.raises(SystemExit, match="no cell or family gra"):
            odyssey.chosen(["gra", "gru"])
