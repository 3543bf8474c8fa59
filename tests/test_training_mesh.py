"""Training on several devices and in several processes; `tests/mesh.py` is what runs there."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxrnn.training import fit

ROOT = Path(__file__).parent.parent
FOREVER = 1_000_000


STARTED = []


@pytest.fixture(autouse=True)
def none_left():
    """A test that fails leaves no process behind."""
    yield
    while STARTED:
        with STARTED.pop() as process:  # closes its pipes
            process.kill()


def start(*words, **more):
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "tests.mesh", *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    STARTED.append(process)
    return process


def finish(process, code=0):
    out, err = process.communicate(timeout=600)
    assert process.returncode == code, err[-4000:]
    return [line for line in out.splitlines() if not line.startswith("[Gloo]")], err


def equal(*names):
    assert finish(start("equal", *names))[0] == list(names)


def same(a, b, **tolerances):
    """All that two runs kept; without tolerances to the last bit."""
    a, b = np.load(f"{a}.npz"), np.load(f"{b}.npz")
    assert a.files == b.files
    for name in a.files:
        if tolerances:
            np.testing.assert_allclose(a[name], b[name], **tolerances)
        else:
            np.testing.assert_array_equal(a[name], b[name])


class TestEqualsOneDevice:
    """Parameters, optimizer, carry and history; one program; nothing moves."""

    @pytest.mark.slow
    def test_however_batch_and_units_are_split(self):
        equal("data", "columns")
        equal("rows", "both", "accumulate", "lbfgs", "carried", "carried whole", "explicit")

    @pytest.mark.slow
    def test_checkpoints_on_other_numbers_of_devices(self, tmp_path):
        """8, then 1 without a mesh, then 8 again."""
        finish(start("devices", 1, 12, tmp_path / "one"))
        for count, steps in ((8, 4), (1, 8), (8, 12)):
            finish(start("devices", count, steps, tmp_path / "run"))
        same(tmp_path / "run", tmp_path / "one", rtol=1e-8, atol=1e-11)


class TestRefuses:
    @pytest.mark.slow
    def test_what_the_mesh_does_not_divide(self, tmp_path):
        assert finish(start("faults", tmp_path / "run"))[0]

    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"batch_spec": P("data")}, ValueError, "mesh: expected one for batch_spec"),
            ({"mesh": 8}, TypeError, "mesh: expected a jax.sharding.Mesh, got int"),
            (
                {"mesh": ("rows",)},
                ValueError,
                r"batch_spec: expected axes of the mesh, \('rows',\), got P\(None, 'data'\)",
            ),
            (
                {"mesh": ("data",), "batch_spec": {"x": P(("data", "rows"))}},
                ValueError,
                r"batch_spec: expected axes of the mesh, \('data',\), got",
            ),
            (
                {"mesh": ("data",), "batch_spec": ("data",)},
                TypeError,
                "batch_spec: expected PartitionSpecs, got 'data'",
            ),
        ],
    )
    def test_nonsense(self, options, error, match):
        def loss(params, batch):
            raise NotImplementedError

        if isinstance(options.get("mesh"), tuple):
            options = options | {"mesh": Mesh(jax.devices()[:1], options["mesh"])}
        with pytest.raises(error, match=match):
            fit(loss, jnp.zeros(3), optax.sgd(0.1), [jnp.ones((2, 2))], **options)


def test_mesh_of_one_device():
    """The same bits with it as without."""

    def loss(params, batch):
        return jnp.mean((batch["x"] @ params - batch["scale"]) ** 2)

    random = np.random.default_rng(0)
    batch = {"x": random.normal(size=(4, 6, 3)).astype(np.float32), "scale": 2.0}
    run = [fit, loss, jnp.ones(3), optax.adam(0.1), [batch]]
    want = run[0](*run[1:], steps=5)
    got = run[0](*run[1:], steps=5, mesh=Mesh(jax.devices()[:1], ("data",)))
    np.testing.assert_array_equal(got.params, want.params)


def together(steps, folder, **more):
    """Two processes on one machine, each with half of every batch."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    return [start("process", number, 2, port, steps, folder, **more) for number in range(2)]


@pytest.mark.slow
class TestProcesses:
    def whole(self, steps, folder):
        first, second = map(finish, together(steps, folder))
        assert first[0] == second[0] == [str(step + 1) for step in range(steps)]
        assert f"{steps}/{steps}" in first[1]
        assert f"{steps}/{steps}" not in second[1]  # one of them shows the progress, and writes
        assert len(Path(f"{folder}-0.csv").read_text().splitlines()) == 1 + steps
        assert not Path(f"{folder}-1.csv").exists()

    def test_equal_one_device(self, tmp_path):
        """Two, one that goes on from their checkpoint, and two again."""
        finish(start("devices", 1, 12, tmp_path / "one"))
        self.whole(4, tmp_path / "run")
        finish(start("devices", 1, 8, tmp_path / "run"))
        first, second = (finish(process)[0] for process in together(12, tmp_path / "run"))
        assert first == second == ["9", "10", "11", "12"]
        same(tmp_path / "run", tmp_path / "one", rtol=1e-9, atol=1e-11)

    def test_kill_one(self, tmp_path):
        """Kill -9 of one, then both again from the checkpoint: the same bits as undisturbed."""
        first, second = together(FOREVER, tmp_path / "run")
        while second.stdout.readline() != "23\n":
            pass
        second.kill()
        second.communicate()
        try:  # the other cannot go on alone: it fails, or waits for what will not come
            out, _ = first.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            first.kill()
            out, _ = first.communicate()
        assert first.returncode
        steps = max(int(line) for line in out.splitlines() if line.isdigit()) + 10
        again = [finish(process)[0] for process in together(steps, tmp_path / "run")]
        assert again[0] == again[1]
        assert int(again[0][0]) > 15  # not from the start
        assert again[0][-1] == str(steps)
        self.whole(steps, tmp_path / "whole")
        same(tmp_path / "run", tmp_path / "whole")

    def test_ask_one_to_stop(self, tmp_path):
        """SIGTERM to one: both stop after the same step, and go on from there."""
        processes = together(FOREVER, tmp_path / "run", TERMINATE="3")
        first, second = (finish(process, code=75)[0] for process in processes)
        assert first == second
        word, step = first[-1].split()
        assert word == "stopped"
        steps = int(step) + 5
        again = [finish(process)[0] for process in together(steps, tmp_path / "run")]
        assert again[0] == again[1] == [str(int(step) + n) for n in range(1, 6)]
        self.whole(steps, tmp_path / "whole")
        same(tmp_path / "run", tmp_path / "whole")
