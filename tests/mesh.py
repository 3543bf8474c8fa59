"""`fit` on a mesh, in processes of its own: the number of devices cannot change once JAX runs.

python -m tests.mesh equal NAME…               8 devices against one
python -m tests.mesh faults FOLDER             what a mesh does not divide
python -m tests.mesh devices COUNT STEPS FOLDER
python -m tests.mesh process NUMBER OF PORT STEPS FOLDER
"""

import itertools
import os
import signal
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from jaxrnn.data import Batches
from jaxrnn.training import Aux, Checkpoints, Interrupted, fit, log_csv

T, B, D, H, ROWS = 5, 8, 3, 8, 24
NET = jaxrnn.stack(jaxrnn.lstm, jaxrnn.lstm)
RANDOM = np.random.default_rng(0)
SPEC = {"xs": P(None, "data"), "ys": P(None, "data"), "lengths": P("data"), "scale": P("data")}
COLUMNS = jaxrnn.LSTMParams(P(None, "model"), P(None, "model"), P("model"))
ROWWISE = jaxrnn.LSTMParams(P(), P("model", None), P())
DATA = {
    "xs": RANDOM.normal(size=(T, ROWS, D)),
    "ys": RANDOM.normal(size=(T, ROWS, H)),
    "lengths": np.concatenate([[0, T], RANDOM.integers(0, T + 1, ROWS - 2)]),
}


def part(rows):
    time_major = {name: DATA[name][:, rows] for name in ("xs", "ys")}
    return time_major | {"lengths": DATA["lengths"][rows], "scale": 0.5}


def params():
    drawn = NET.init(jax.random.key(1), D, H, dtype=jnp.float64)
    leaves, tree = jax.tree.flatten(drawn)
    random = np.random.default_rng(2)
    return jax.tree.unflatten(tree, [jnp.asarray(random.normal(size=p.shape) / 2) for p in leaves])


def loss(params, batch, key=None, state=None):
    """Squares over the valid steps; the carry is handed on where there is one."""
    carry, ys = jaxrnn.scan(NET, params, batch["xs"], state, lengths=batch["lengths"])
    if key is not None:
        ys = ys + 0.1 * jax.random.normal(key, ys.shape, ys.dtype)
    valid = jnp.arange(T)[:, None] < batch["lengths"]
    squares = jnp.where(valid, jnp.mean((ys - batch["ys"]) ** 2, -1), 0)
    weight = jnp.sum(valid).astype(ys.dtype)
    value = batch["scale"] * jnp.sum(squares) / weight
    return value, Aux(weight, state if state is None else carry, {"valid": weight})


def batches():
    return Batches(part, ROWS, B, seed=3)


def train(steps=7, batches=batches, **options):
    options = {"params": params(), "optimizer": optax.adam(0.05)} | options
    return fit(loss, batches=batches(), steps=steps, epochs=None, **options)


def close(got, want, rtol=1e-9):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-11), got, want)


def alike(result, want):
    close(result.params, want.params)
    close(result.best.params, want.best.params)
    close(result.state.opt_state, want.state.opt_state)
    close(result.state.carried, want.state.carried)
    for name in ("loss", "grad_norm", "valid"):
        close(result.history[name], want.history[name])


def placed(tree, specs, mesh):
    return jax.tree.map(lambda x, s: jax.device_put(x, NamedSharding(mesh, s)), tree, specs)


# 8 devices against one.


def carried():
    """A carry that is not zero."""
    random = np.random.default_rng(5)
    zero = NET.carry(params(), (B,))
    return jax.tree.map(lambda c: jnp.asarray(random.normal(size=c.shape), c.dtype), zero)


def case(name, devices):
    """A mesh, where the batch goes, and what else differs from a run on one device."""
    line = Mesh(devices, ("data",))
    model = Mesh(devices, ("model",))
    square = Mesh(devices.reshape(4, 2), ("data", "model"))
    by_row = jax.tree.map(lambda _: P("data"), carried())
    sharded = {
        "columns": (model, P(), COLUMNS),
        "rows": (model, P(), ROWWISE),
        "both": (square, SPEC, COLUMNS),
    }
    if name in sharded:
        mesh, spec, kernels = sharded[name]
        return mesh, spec, {}, {"params": placed(params(), (kernels, kernels), mesh)}
    same = {
        "data": {"key": jax.random.key(4)},
        "accumulate": {"accumulate": 2},
        "lbfgs": {"optimizer": optax.lbfgs(), "batches": lambda: itertools.repeat(part(slice(B)))},
        "carried": {"state": carried()},
        "carried whole": {"state": carried()},
        "explicit": {"state": carried()},
    }[name]
    if name == "explicit":
        line = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Explicit,))
    split = name in ("carried", "explicit")
    return line, SPEC, same, {"state": placed(same["state"], by_row, line)} if split else {}


def equal(name):
    mesh, spec, same, different = case(name, np.array(jax.devices()))
    want = train(**same)
    given = same | different
    source, drawn, compiled = given.get("batches", batches)(), [], []

    class Counted:
        def __iter__(self):
            for batch in source:
                drawn.append(1)
                yield batch

    def listen(event, duration_secs, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(len(drawn))

    jax.monitoring.register_event_duration_secs_listener(listen)
    got = train(**given | {"batches": Counted}, mesh=mesh, batch_spec=spec)
    jax.monitoring.unregister_event_duration_listener(listen)
    alike(got, want)
    first = same.get("accumulate", 1)
    assert first in compiled
    assert max(compiled) == first, f"{name}: one program for all steps, compiled at {compiled}"
    # Everything is where it was given, or else on all devices.
    assert {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(got.state)} == {8}
    for what, after in (("params", got.params), ("state", got.state.carried)):
        for i, leaf in enumerate(jax.tree.leaves(after)):
            before = jax.tree.leaves(different[what])[i].sharding if what in different else None
            assert leaf.sharding.is_equivalent_to(before or NamedSharding(mesh, P()), leaf.ndim)


# What a mesh does not divide.


def faults(folder):
    mesh = Mesh(jax.devices(), ("data",))
    traced = []

    def seen(*arguments, **_):
        traced.append(arguments)
        return loss(*arguments)

    def refuse(match, batch, spec=SPEC):
        with pytest.raises(ValueError, match=match):
            fit(seen, params(), optax.adam(0.1), [batch], mesh=mesh, batch_spec=spec)

    good = part(slice(8))
    refuse(
        r"batches: expected a multiple of 8, the devices along 'data', in axis 1 of the batch's "
        r"\['xs'\], got shape \(5, 6, 3\)",
        good | {"xs": good["xs"][:, :6]},
    )
    refuse(
        r"axis 0 of the batch's \['lengths'\], got shape \(7,\)",
        good | {"lengths": good["lengths"][:7]},
    )
    refuse(r"batch_spec: expected at most 1 axes for the batch's \['lengths'\]", good, None)
    refuse("batch_spec: expected a prefix of the batch", good, {"xs": P()})
    assert not traced

    # A smaller last batch: the steps before it are saved, and the run goes on without it.
    def start(*sizes):
        return [part(slice(size)) for size in sizes]

    run = partial(train, mesh=mesh, batch_spec=SPEC, resume=True)
    checkpoints = Checkpoints(folder, every=1)
    with pytest.raises(ValueError, match="expected a multiple of 8"):
        run(batches=lambda: start(8, 16, 8, 8, 6), checkpoints=checkpoints)
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps()[-1] == 4
    got = run(batches=lambda: start(8, 16, 8, 8), checkpoints=Checkpoints(folder))
    want = train(batches=lambda: start(8, 16, 8, 8))
    close(got.params, want.params)


# Checkpoints on other numbers of devices.


def keep(result, folder):
    leaves = jax.tree.leaves((result.params, result.best.params, result.state.opt_state))
    np.savez(f"{folder}.npz", *map(np.asarray, leaves))


def devices(count, steps, folder):
    options = {"state": carried(), "key": jax.random.key(4)}
    if count > 1:
        mesh = Mesh(np.array(jax.devices()).reshape(-1, 2), ("data", "model"))
        options |= {"mesh": mesh, "batch_spec": SPEC}
        options["params"] = placed(params(), (COLUMNS, ROWWISE), mesh)
    keep(train(steps, checkpoints=Checkpoints(folder), resume=True, **options), folder)


# Several processes.


def process(number, count, port, steps, folder):
    jax.distributed.initialize(f"localhost:{port}", count, number)
    mesh = Mesh(jax.devices(), ("data",))
    mine = slice(number * B // count, (number + 1) * B // count)

    def share(rows):
        return part(rows[mine])

    def tell(report):
        sys.stdout.write(f"{report.step}\n")
        sys.stdout.flush()
        if report.step == int(os.environ.get("TERMINATE", "-1")) and number == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    zero = jax.tree.map(np.asarray, carried())
    state = jax.tree.map(
        lambda c: jax.make_array_from_process_local_data(NamedSharding(mesh, P("data")), c[mine]),
        zero,
    )
    try:
        result = train(
            steps,
            batches=lambda: Batches(share, ROWS, B, seed=3),
            mesh=mesh,
            batch_spec=SPEC,
            state=state,
            key=jax.random.key(4),
            checkpoints=Checkpoints(folder, every=5),
            resume=True,
            progress=True,
            callbacks=[tell, log_csv(f"{folder}-{number}.csv")],
        )
    except Interrupted as stopped:
        sys.stdout.write(f"stopped {stopped.step}\n")
        raise
    if number == 0:
        keep(result, folder)


def main():
    what, *words = sys.argv[1:]
    jax.config.update("jax_enable_x64", True)
    if what == "devices":
        count, steps, folder = words
        jax.config.update("jax_num_cpu_devices", int(count))
        devices(int(count), int(steps), folder)
    elif what == "process":
        *numbers, folder = words
        process(*map(int, numbers), folder)
    else:
        jax.config.update("jax_num_cpu_devices", 8)
        for word in words:
            equal(word) if what == "equal" else faults(Path(word))
            sys.stdout.write(f"{word}\n")


if __name__ == "__main__":
    main()
