"""What is built on a scan, on two CPU devices against one: ``python -m tests.sharding_uses reset``.

Its own process, since the number of devices cannot change once JAX has started.
"""

import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import jaxrnn
from jaxrnn import analysis
from jaxrnn.cells import CELLS
from tests.reference import KINDS, assert_close, quick

V, B, T = 4, 4, 5  # H = D = V
NAMES = (*KINDS, "gru", "lstm_projected", "lstm_prototype_normalized", "lstm_reference")
ROWS, STEPS, BEAMS = P("batch"), P(None, "batch"), P(None, None, "batch")
RANDOM = np.random.default_rng(0)
TOKENS = RANDOM.integers(V, size=(3, B)).astype(np.int32)
LENGTHS = np.asarray([3, 1, 2, 3], np.int32)
XS = RANDOM.normal(size=(T, B, V))
RESET = np.zeros((T, B), bool)
RESET[2, 1] = RESET[3, 3] = True
KEY = np.asarray([0, 3], np.uint32)  # what `jax.random.PRNGKey(3)` is, before JAX starts
EMBED = {"embed": partial(jax.nn.one_hot, num_classes=V, dtype=float)}


def loss(params, y, target):
    return jnp.sum(y**2, axis=-1)


def total(gradient):
    """Gradients by what all devices share are summed over them, what else there is not yet."""
    value, grads, weight = gradient
    return jax.lax.psum((value, weight), "batch"), grads


def generated(params, tokens, lengths, **options):
    found = jaxrnn.generate(
        jaxrnn.gru, params, tokens, steps=4, end=2, lengths=lengths, **EMBED, **options
    )
    return found.carry, found.sequence, found.log_probs, found.lengths


def decoded(probability, params, tokens):
    return jaxrnn.decode(
        jaxrnn.gru, params, tokens, probability=probability, key=KEY, **EMBED,
        choose=jaxrnn.sampler() if probability < 1 else None,
    )  # fmt: skip


def searched(params, tokens, lengths):
    options = {"length_penalty": 0.5, "early_stop": True, "lengths": lengths, **EMBED}
    return tuple(jaxrnn.beam_search(jaxrnn.gru, params, tokens, steps=4, beams=3, end=2, **options))


def learned(function, params, xs, reset):
    carry, gradient = function(params=params, xs=xs, reset=reset, loss=loss)
    return carry, gradient


def reset_only(params, reset):
    """Where new sequences begin is all that varies."""
    xs = jnp.broadcast_to(XS[:, :1], (T, reset.shape[1], V))
    return jaxrnn.scan(jaxrnn.gru, params, xs, reset=reset)


def solved(solver, params, xs, reset):
    """The scan, and the gradient of what varies over devices."""
    run = partial(jaxrnn.scan, jaxrnn.gru, reset=reset, solver=solver)
    slope = jax.jit(jax.grad(lambda xs: jnp.sum(run(params, xs)[1] ** 2)))(xs)
    return *run(params, xs), slope


def rtrl(influence):
    return partial(jaxrnn.rtrl, jaxrnn.elman, influence=influence, key=KEY)


SAID = (ROWS, STEPS, STEPS, ROWS)
USES = {
    "generate": (generated, (TOKENS, LENGTHS), (STEPS, ROWS), SAID),
    "early stop": (partial(generated, early_stop=True), (TOKENS, LENGTHS), (STEPS, ROWS), SAID),
    "sampled": (
        partial(generated, key=KEY, choose=jaxrnn.sampler()),
        (TOKENS, LENGTHS), (STEPS, ROWS), SAID,
    ),
    "free": (partial(decoded, 1.0), (TOKENS,), (STEPS,), (ROWS, STEPS)),
    "scheduled": (partial(decoded, 0.5), (TOKENS,), (STEPS,), (ROWS, STEPS)),
    "beam_search": (
        searched, (TOKENS, LENGTHS), (STEPS, ROWS), (STEPS, BEAMS, STEPS, STEPS, STEPS)
    ),
    "reset": (reset_only, (RESET,), (STEPS,), (ROWS, STEPS)),
    "last": (lambda _, *given: jaxrnn.last(*given), (XS, LENGTHS), (STEPS, ROWS), ROWS),
    "gradient_norms": (
        lambda params, xs: tuple(analysis.gradient_norms(jaxrnn.gru, params, xs)),
        (XS,), (STEPS,), STEPS,
    ),
    "newton": (
        partial(solved, jaxrnn.newton(window=3)), (XS, RESET), (STEPS, STEPS), (ROWS, STEPS, STEPS)
    ),
    "units": (
        partial(solved, jaxrnn.newton(jacobian="units")),
        (XS, RESET), (STEPS, STEPS), (ROWS, STEPS, STEPS),
    ),
    **{
        name: (partial(learned, function), (XS, RESET), (STEPS, STEPS), "gradient")
        for name, function in {
            "truncated": partial(jaxrnn.truncated, jaxrnn.elman, k1=2, k2=3),
            "rtrl": rtrl(jaxrnn.learning.exact),
            "snap1": rtrl(jaxrnn.snap1),
            "uoro": rtrl(jaxrnn.uoro),
        }.items()
    },
}  # fmt: skip
NOISY = ("sampled", "scheduled", "uoro")
"""Within `jax.shard_map` the number of a row is local, so every device draws the same."""


def check(name, kind):
    f, arguments, specs, out = USES[name]
    cell = jaxrnn.elman if out == "gradient" else jaxrnn.gru
    arguments = cell.init(jax.random.key(0), V, V, dtype=float), *arguments
    want = quick(f)(*arguments)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(kind,))
    placed = jax.tree.map(
        lambda spec, tree: jax.device_put(tree, NamedSharding(mesh, spec)), (P(), *specs), arguments
    )
    assert_close(quick(f)(*placed), want, f"{name}, {kind.name}: ")
    assert_close(f(*placed), want, f"{name}, {kind.name}, without jit: ")

    learns = out == "gradient"

    def local(*arguments):
        found = f(*arguments)
        return (found[0], total(found[1])) if learns else found

    specs, out = (P(), *specs), (ROWS, P()) if learns else out
    got = quick(jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=out))(*placed)
    if name in NOISY:
        return
    if learns:
        value, grads, weight = want[1]
        want = want[0], ((value, weight), grads)
    assert_close(got, want, f"{name}, shard_map: ")


def recipe():
    """Noise of its own for each device: its number folded into the key."""
    params = jaxrnn.gru.init(jax.random.key(0), V, V, dtype=float)
    tokens = np.zeros((1, 8), np.int32)
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))

    def sample(fold, tokens):
        key = jax.random.fold_in(KEY, jax.lax.axis_index("batch")) if fold else KEY
        return jaxrnn.generate(
            jaxrnn.gru, params, tokens, steps=12, key=key, choose=jaxrnn.sampler(),
            **EMBED,
        ).sequence  # fmt: skip

    for fold in (False, True):
        run = jax.shard_map(partial(sample, fold), mesh=mesh, in_specs=STEPS, out_specs=STEPS)
        first, second = np.split(np.asarray(quick(run)(tokens)), 2, axis=1)
        assert np.array_equal(first, second) != fold


def cells():
    """Cells from their own carry on a mesh of explicit axes, and their gradients."""
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Explicit,))
    for name in NAMES:
        cell = CELLS[name]
        params = cell.init(jax.random.key(0), 3, V, dtype=float)
        xs = XS[..., :3]

        def f(params, xs, cell=cell):
            total = lambda p, xs: jnp.sum(jaxrnn.scan(cell, p, xs)[1] ** 2)  # noqa: E731
            return jaxrnn.scan(cell, params, xs), jax.grad(total, argnums=(0, 1))(params, xs)

        placed = (
            jax.device_put(params, NamedSharding(mesh, P())),
            jax.device_put(xs, NamedSharding(mesh, STEPS)),
        )
        assert_close(quick(f)(*placed), quick(f)(params, xs), name)


def main():
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_enable_x64", True)
    for name in sys.argv[1:]:
        if name in USES:
            for kind in (AxisType.Auto, AxisType.Explicit):
                check(name, kind)
        else:
            {"recipe": recipe, "cells": cells}[name]()
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
