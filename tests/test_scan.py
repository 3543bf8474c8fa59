"""What `jaxrnn.scan` owes every cell, shown on a few: options, transforms, traces, memory."""

import inspect
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.base import Cell
from jaxrnn.cells import CELLS
from tests.reference import (
    KINDS,
    B,
    T,
    assert_close,
    assert_same,
    inner,
    loop,
    make,
    quick,
    random_like,
    reference,
    scan,
    some,
    with_gradients,
)

exact = pytest.mark.usefixtures("x64", "strict")
kinds = pytest.mark.parametrize("name", KINDS)
one_of_each = pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n == "lstm" else pytest.mark.slow) for n in KINDS]
)


@exact
@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS[1:])
@pytest.mark.parametrize(
    ("given", "reverse"),
    [
        ("lengths", False),
        ("mask", True),
        ("reset", False),
        ("reset", True),
        ("lengths and mask", False),
    ],
)
def test_each_option_by_itself(name, given, reverse):
    case, rng = make(name), np.random.default_rng(1)
    lengths, ones = np.array([3, 5]), np.ones((T, B), bool)
    mask, reset = rng.random((T, B)) < 0.6, rng.random((T, B)) < 0.4
    options, valid = {}, ones
    if "lengths" in given:
        options["lengths"], valid = lengths, valid & (np.arange(T)[:, None] < lengths)
    if "mask" in given:
        options["mask"], valid = mask, valid & mask
    if given == "reset":
        options["reset"] = reset
    else:
        reset = ~ones
    want = reference(name, reverse)(case.weights, *case.inputs, valid=valid, reset=reset)
    run = quick(with_gradients(partial(scan, case.cell, reverse=reverse, chunk=3, **options)))
    assert_close(run(case.weights, *case.inputs), want, given)


@pytest.mark.slow
@exact
@one_of_each
def test_derivatives_by_one_argument_alone(name):
    """What has no tangent is not computed, and must not be needed."""
    case = make(name)
    _, wanted = reference(name)(case.weights, *case.inputs)

    def f(*inputs):
        return inner(scan(case.cell, *inputs), case.weights)

    tangents = random_like(case.inputs, 9)
    kept = ("params", "xs", "carry")

    def alone(inputs):
        found = {}
        for at, label in enumerate(kept):
            one = lambda x, at=at: f(*inputs[:at], x, *inputs[at + 1 :])  # noqa: E731
            _, pushed = jax.jvp(one, inputs[at : at + 1], tangents[at : at + 1])
            found[label] = jax.grad(one)(inputs[at]), pushed
        bias = lambda b: f(inputs[0]._replace(bias=b), *inputs[1:])  # noqa: E731
        found["bias"] = jax.grad(bias)(inputs[0].bias), None
        return found

    found = quick(alone)(case.inputs)
    for label, gradient, tangent in zip(kept, wanted, tangents, strict=True):
        assert_close(found[label][0], gradient, f"gradient by {label}")
        assert_close(found[label][1], inner(gradient, tangent), f"tangent by {label}", 1e-11)
    assert_close(found["bias"][0], wanted[0].bias, "gradient by the bias")


@exact
@kinds
def test_defaults(name):
    """No carry is the zero carry, and `return_carries` adds nothing but the carries."""
    case = make(name)
    zero = case.cell.carry(case.params, (B,))
    want = jaxrnn.scan(case.cell, case.params, case.xs, zero, return_carries=True)
    assert_same(jaxrnn.scan(case.cell, case.params, case.xs), want[:2], "defaults")
    as_lists = jaxrnn.scan(
        case.cell, case.params, case.xs, lengths=[T] * B, mask=np.ones((T, B), bool).tolist()
    )
    assert_close(as_lists, want[:2], "lists")


@exact
def test_any_batch_shape():
    """No batch axis, and three of them with every option."""
    rng, shape = np.random.default_rng(2), (2, 1, 3)
    case = make("lstm")
    xs = jnp.asarray(rng.normal(size=(T, *shape, 3)))
    carry = random_like(case.cell.carry(case.params, shape), 3)
    lengths, mask = rng.integers(0, T + 1, shape), rng.random((T, *shape)) < 0.7
    reset = rng.random((T, *shape)) < 0.3
    got = jax.jit(partial(scan, case.cell))(case.params, xs, carry, lengths, mask, reset)
    one = quick(partial(loop, case.cell))
    for at in np.ndindex(shape):
        row = (slice(None), *at)
        valid = mask[row] & (np.arange(T) < lengths[at])
        mine = jax.tree.map(lambda leaf, at=at: leaf[at], carry)
        within = reset[row] & (np.arange(T) < lengths[at])
        last, ys, carries = one(case.params, xs[row], mine, valid, within)
        assert_close(jax.tree.map(lambda leaf, at=at: leaf[at], got[0]), last, f"row {at}")
        rows = jax.tree.map(lambda leaf, row=row: leaf[row], got[1:])
        assert_close(rows, (ys, carries), f"row {at}")


NOTHING = ((0,), 2), ((2,), 0)


@exact
def test_traced_lengths_are_clipped():
    case = make("gru_reset_before")
    run = quick(partial(scan, case.cell))
    for lengths in ([-3, T + 4], [0, T]):
        got = run(case.params, case.xs, case.carry, np.array(lengths))
        want = run(case.params, case.xs, case.carry, np.clip(lengths, 0, T))
        assert_same(got, want, f"{lengths}")


@exact
@pytest.mark.parametrize(
    ("batch", "time"),
    [
        pytest.param(batch, time, marks=() if (batch, time) in NOTHING else pytest.mark.slow)
        for batch in [(), (0,), (2,), (2, 0)]
        for time in (0, 2)
    ],
)
def test_nothing_to_do(batch, time):
    """T = 0 and empty batches with every option, with gradients."""
    case = make("lstm")
    xs = jnp.zeros((time, *batch, 3), jnp.float64)
    carry = random_like(case.cell.carry(case.params, batch), 1)
    lengths = jnp.zeros(batch, jnp.int32)
    mask = jnp.ones((time, *batch), bool)
    for options in ({}, {"reverse": True}, {"chunk": 1}):
        f = with_gradients(partial(scan, case.cell, **options))
        shapes = jax.eval_shape(partial(scan, case.cell), case.params, xs, carry)
        outputs, (params, _, by_carry) = quick(f)(
            jax.tree.map(lambda s: jnp.ones(s.shape, s.dtype), (shapes[0], *shapes[1:])),
            *(case.params, xs, carry, lengths, mask, mask),
        )
        assert_same(outputs[0], carry, "carry")
        assert outputs[1].shape == (time, *batch, 4)
        assert not np.any(outputs[1])
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(params))
        # every carry that is handed out is the first one
        assert all((leaf == 1 + time).all() for leaf in jax.tree.leaves(by_carry))


def tracing(cell):
    """The cell, and a list that grows by one each time its update is traced."""
    traced = []

    def update(params, carry, z):
        traced.append(carry)
        return cell.update(params, carry, z)

    return cell._replace(update=update), traced


@kinds
def test_a_second_call_does_not_trace(name):
    """Outside of `jit` too, and with other values of every argument that is an array."""
    cell, traced = tracing(CELLS[name])
    params = cell.init(jax.random.key(0), 3, 4)
    xs = jax.random.normal(jax.random.key(1), (T, B, 3))
    carry, _ = jaxrnn.scan(cell, params, xs, lengths=[T, 2], key=jax.random.key(0))
    count = len(traced)
    assert count
    other = jax.tree.map(lambda leaf: 2 * leaf, params)
    jaxrnn.scan(cell, other, np.asarray(-xs), carry, lengths=[1, 3], key=jax.random.key(7), start=9)
    assert len(traced) == count, "the second call traced the cell again"
    jaxrnn.scan(cell, params, xs[:, :1], lengths=[T])
    assert len(traced) > count, "another shape must trace"


def noisy(cell):
    """The cell with its projected inputs disturbed at every step where a key is given."""

    def randomize(params, zx, key):
        return jax.tree.map(lambda z: z + jax.random.normal(key, z.shape, z.dtype), zx)

    return cell._replace(randomize=randomize)


@exact
@one_of_each
def test_randomness_depends_on_key_and_absolute_time_only(name):
    case = make(name)
    cell = noisy(case.cell)
    params, xs, carry = case.inputs
    run = partial(quick(partial(jaxrnn.scan, cell), static_argnames=("reverse", "chunk")), params)
    last, ys = run(xs, carry, key=case.key)
    steps = quick(partial(loop, cell))
    assert_close(steps(*case.inputs, key=case.key)[:2], (last, ys), "steps")

    middle, head = run(xs[:2], carry, key=case.key)
    end, tail = run(xs[2:], middle, key=case.key, start=2)
    assert_close((end, jnp.concatenate([head, tail])), (last, ys), "two pieces")
    assert_close(run(xs, carry, key=case.key, chunk=2), (last, ys), "chunks")

    plain = jaxrnn.scan(case.cell, params, xs, carry)
    assert_close(run(xs, carry), plain, "without a key it is deterministic")
    differences = [
        np.abs(ys - b).max() for b in (plain[1], run(xs, carry, key=jax.random.key(1))[1])
    ]
    assert min(differences) > 1e-3, "the key must matter"
    again = run(xs, carry, key=case.key, start=1)[1]
    assert np.abs(again - ys).max() > 1e-3, "the time must matter"

    turned = run(xs, carry, key=case.key, reverse=True)
    backward = jax.tree.map(lambda leaf: leaf[::-1], xs)
    want = steps(params, backward, carry, key=case.key, times=np.arange(T)[::-1])
    assert_close(turned, (want[0], want[1][::-1]), "reverse")


def zeros(batch_shape, *sizes, dtype=jnp.float64):
    parts = tuple(jnp.zeros((*batch_shape, n), dtype) for n in sizes)
    return parts if len(parts) > 1 else parts[0]


def odd_cell(**parts):
    """A cell of a stranger: its parameters are a dict, nothing is known of its sizes."""
    functions = {
        "name": "odd",
        "init": None,
        "carry": lambda params, batch_shape=(): zeros(batch_shape, 4),
        "project": lambda params, x: x @ params["w"],
        "recurrent": lambda params, h: h @ params["r"],
        "update": lambda params, h, z: jnp.sin(z),
    }
    return Cell(**{**functions, **parts})


def pair(params, batch_shape=()):
    return zeros(batch_shape, 4, 4)


def counted(params, batch_shape=()):
    """A state with a step counter, a flag and a key in it."""
    keys = jax.random.split(jax.random.key(1), batch_shape)
    return {
        "h": zeros(batch_shape, 4),
        "n": jnp.zeros(batch_shape, jnp.int32),
        "odd": jnp.zeros(batch_shape, bool),
        "key": keys,
    }


def count(params, s, z):
    gain = jnp.where(s["odd"], 0.5, 1.0)[..., None]
    return s | {"h": gain * jnp.sin(z), "n": s["n"] + 1, "odd": ~s["odd"]}


ODD = {
    "plain": odd_cell(),
    "output of the state and z": odd_cell(
        output=lambda p, h, z: h[..., :2] * jnp.cos(z[..., 2:]) @ p["r"][:2] + p["b"]
    ),
    "output of the state alone": odd_cell(output=lambda p, h, z: jnp.tanh(h @ p["r"])),
    "output of z alone": odd_cell(output=lambda p, h, z: z * p["b"]),
    "parameters in the update": odd_cell(update=lambda p, h, z: jnp.tanh(p["b"] * z + h) @ p["r"]),
    "parameters for a state": odd_cell(
        carry=pair,
        recurrent=lambda p, s: s[0] @ p["r"],
        update=lambda p, s, z: (jnp.sin(z), jnp.broadcast_to(p["b"], z.shape)),
    ),
    "no recurrent map": odd_cell(recurrent=lambda p, h: None, update=lambda p, h, z: 0.5 * h + z),
    "no input": odd_cell(
        project=lambda p, x: 0 * x @ p["w"], update=lambda p, h, z: jnp.sin(z + p["b"])
    ),
    "constant output": odd_cell(output=lambda p, h, z: jnp.ones_like(h)),
    "carry handed through": odd_cell(
        carry=pair,
        recurrent=lambda p, s: s[0] @ p["r"],
        update=lambda p, s, z: (jnp.sin(z * s[1]), s[1]),
        output=lambda p, s, z: s[0],
    ),
    "several outputs": odd_cell(output=lambda p, h, z: {"h": h, "z": z * p["b"]}),
    "affine maps": odd_cell(recurrent=lambda p, h: h @ p["r"] + p["b"]),
    "leaves of one map alone": odd_cell(
        project=lambda p, x: {"a": x @ p["w"], "b": -x @ p["w"], "c": None},
        recurrent=lambda p, h: {"a": h @ p["r"], "b": None, "c": h},
        update=lambda p, h, z: jnp.sin(z["a"]) * jnp.cos(z["b"]) + 0.1 * z["c"],
    ),
    "a flag in z": odd_cell(
        project=lambda p, x: {"z": x @ p["w"], "high": x[..., :1] > 0},
        recurrent=lambda p, h: {"z": h @ p["r"], "high": None},
        update=lambda p, h, z: jnp.sin(z["z"]) * jnp.where(z["high"], 1.0, p["b"]),
    ),
    "a counter, a flag and a key in the state": odd_cell(
        carry=counted,
        recurrent=lambda p, s: s["h"] @ p["r"] * jnp.where(s["n"] > 1, 1.0, 0.5)[..., None],
        update=count,
        output=lambda p, s, z: {"h": s["h"], "n": s["n"]},
    ),
    "complex": odd_cell(
        carry=lambda p, batch_shape=(): zeros(batch_shape, 4, dtype=jnp.complex128),
        project=lambda p, x: (x @ p["w"]).astype(jnp.complex128),
        recurrent=lambda p, h: None,
        update=lambda p, h, z: jnp.exp(1j * p["b"].astype(h.dtype)) * h + z,
        output=lambda p, h, z: h.real @ p["r"] + h.imag,
    ),
}


QUICK = (
    "output of the state and z",
    "parameters in the update",
    "leaves of one map alone",
    "a counter, a flag and a key in the state",
    "complex",
)


@pytest.mark.slow
@exact
@pytest.mark.parametrize("kind", some(ODD, QUICK))
def test_cells_of_strangers(kind):
    """The engine looks into the cell; whatever it finds there, the loop is right."""
    cell, rng = ODD[kind], np.random.default_rng(4)
    shapes = {"w": (3, 4), "r": (4, 4), "b": (4,)}
    params = {k: jnp.asarray(rng.normal(size=s)) for k, s in shapes.items()}
    params |= {"steps": jnp.int32(3), "on": True}  # what has no derivative may be there
    xs = jnp.asarray(rng.normal(size=(T, B, 3)))
    floating = lambda leaf: jnp.issubdtype(leaf.dtype, jnp.inexact)  # noqa: E731
    carry = jax.tree.map(
        lambda c: c + jnp.asarray(rng.normal(size=c.shape), c.dtype) if floating(c) else c,
        cell.carry(params, (B,)),
    )
    valid, reset = rng.random((T, B)) < 0.7, rng.random((T, B)) < 0.3

    def loss(run, params, xs, carry):
        rows = np.random.default_rng(6)
        outputs = run(cell, params, xs, carry)
        leaves = [leaf for leaf in jax.tree.leaves(outputs) if floating(leaf)]
        pairs = [(leaf, jnp.asarray(rows.normal(size=leaf.shape), leaf.dtype)) for leaf in leaves]
        return sum(jnp.sum(leaf * weight).real for leaf, weight in pairs), outputs

    def values(outputs):
        return [leaf for leaf in jax.tree.leaves(outputs) if jnp.issubdtype(leaf.dtype, np.number)]

    gradients = partial(jax.grad, argnums=(1, 2, 3), has_aux=True, allow_int=True)
    for chunk, flags, arguments in (
        (None, {}, ()),
        (2, {"mask": valid, "reset": reset}, (valid, reset)),
    ):
        want, plain = gradients(loss)(partial(_loop, arguments), params, xs, carry)
        run = partial(scan, chunk=chunk, **flags)
        got, outputs = quick(partial(gradients(loss), run))(params, xs, carry)
        assert_close(values(outputs), values(plain), f"{kind}, {sorted(flags)}: ")
        assert_close(values(got), values(want), f"{kind}, {sorted(flags)}: gradient ")


def _loop(arguments, cell, params, xs, carry):
    return loop(cell, params, xs, carry, *arguments)


TRANSFORMS = {
    "jit of grad": lambda f: jax.jit(jax.grad(f)),
    "in a scan": lambda f: jax.jit(jax.grad(lambda m: _summed(f, jnp.stack([m, -m])))),
    "grad of jit": lambda f: jax.grad(jax.jit(f)),
    "grad": jax.grad,
    "vmap of grad": lambda f: lambda m: jax.vmap(jax.grad(f))(jnp.stack([m, -m])),
    "hessian": lambda f: jax.jit(jax.hessian(f)),
    "checkpoint": lambda f: jax.grad(jax.checkpoint(f)),
}


def _summed(f, many):
    """A scan around it."""
    return jax.lax.scan(lambda total, m: (total + f(m), None), jnp.zeros((), many.dtype), many)[0]


@exact
@pytest.mark.parametrize(
    "transform",
    [pytest.param(t, marks=() if k == 1 else pytest.mark.slow) for k, t in enumerate(TRANSFORMS)],
)
def test_what_is_closed_over(transform):
    """A memory, a mask and a kernel that are being traced, under every transformation."""
    rng = np.random.default_rng(7)
    params = {"w": jnp.asarray(rng.normal(size=(3, 4))), "r": jnp.asarray(rng.normal(size=(4, 4)))}
    xs = jnp.asarray(rng.normal(size=(T, B, 3)))

    def value(run, memory):
        kept = jax.random.bernoulli(jax.random.key(3), 0.8, (4,)) & (memory != 0)
        cell = odd_cell(
            project=lambda p, x: x @ p["w"] + memory @ p["r"],
            recurrent=lambda p, h: h @ (p["r"] / jnp.linalg.norm(memory)),
            update=lambda p, h, z: jnp.where(kept, jnp.sin(z * memory), h),
            output=lambda p, h, z: h + z * memory,
        )
        carry, ys = run(cell, params, xs, jnp.zeros((B, 4), jnp.float64))[:2]
        return jnp.sum(jnp.cos(ys)) + jnp.sum(carry)

    memory = jnp.asarray(rng.normal(size=4))
    got = TRANSFORMS[transform](partial(value, partial(scan, chunk=2)))(memory)
    assert_close(got, TRANSFORMS[transform](partial(value, loop))(memory), transform)


@exact
def test_inputs_that_are_a_pytree():
    """Features and time gaps; the first leaf says which axes are the batch."""
    rng = np.random.default_rng(8)
    params = {"w": jnp.asarray(rng.normal(size=(3, 4))), "r": jnp.asarray(rng.normal(size=(4, 4)))}
    cell = odd_cell(
        project=lambda p, xs: (xs[0] @ p["w"], xs[1][..., None]),
        recurrent=lambda p, h: (h @ p["r"], None),
        update=lambda p, h, z: h + z[1] * jnp.tanh(z[0]),
    )
    xs = jnp.asarray(rng.normal(size=(T, B, 3))), jnp.asarray(rng.random((T, B)))
    carry, lengths = jnp.asarray(rng.normal(size=(B, 4))), np.array([T, 2])
    valid = np.arange(T)[:, None] < lengths
    weights = random_like(jax.eval_shape(partial(loop, cell), params, xs, carry), 9)
    run = with_gradients(partial(scan, cell, lengths=lengths, chunk=2))
    got = run(weights, params, xs, carry)
    want = with_gradients(partial(loop, cell, valid=valid))(weights, params, xs, carry)
    assert_close(got, want, "")
    broken = (np.where(valid[..., None], xs[0], np.nan), np.where(valid, xs[1], np.nan))
    assert_same(run(weights, params, broken, carry), got, "NaN in the padding")


@exact
def test_features_with_axes_of_their_own():
    """A convolution along one axis: features of x are its place and its channel."""
    rng = np.random.default_rng(9)
    params = {"w": jnp.asarray(rng.normal(size=(2, 4))), "r": jnp.asarray(rng.normal(size=(4, 4)))}

    def shifted(h):
        return jnp.concatenate([h[..., 1:, :], h[..., :1, :]], axis=-2)

    cell = odd_cell(
        axes=2,
        carry=lambda p, batch_shape=(): zeros((*batch_shape, 5), 4),
        recurrent=lambda p, h: (h + shifted(h)) @ p["r"],
    )
    xs = jnp.asarray(rng.normal(size=(T, B, 5, 2)))
    carry, lengths = jnp.asarray(rng.normal(size=(B, 5, 4))), np.array([T, 2])
    valid = np.arange(T)[:, None] < lengths
    weights = random_like(jax.eval_shape(partial(loop, cell), params, xs, carry), 9)
    net = jaxrnn.stack(cell)
    for run in (partial(scan, cell), lambda p, xs, c, n: tree_first(scan(net, (p,), xs, (c,), n))):
        got = with_gradients(lambda *a, run=run: run(*a, lengths))(weights, params, xs, carry)
        want = with_gradients(partial(loop, cell, valid=valid))(weights, params, xs, carry)
        assert_close(got, want, "")


def tree_first(outputs):
    return outputs[0][0], outputs[1], outputs[2][0]


@exact
@pytest.mark.parametrize("reverse", [False, True])
def test_gaps_are_held(reverse):
    """The last valid output of the same sequence stands in a gap, zero before the first."""
    case = make("gru_reset_before")
    mask = np.array([[0, 1], [1, 0], [0, 0], [0, 1], [1, 0]], bool)
    reset = np.zeros((T, B), bool)
    reset[3, 0] = True
    run = partial(jaxrnn.scan, case.cell, case.params, case.xs, case.carry, mask=mask, reset=reset)
    zero, hold = (run(gaps=gaps, reverse=reverse)[1] for gaps in ("zero", "hold"))
    want = np.array(zero)
    for row in range(B):
        held = np.zeros(want.shape[-1])
        for t in reversed(range(T)) if reverse else range(T):
            if not reverse and reset[t, row]:
                held = 0 * held
            held = want[t, row] if mask[t, row] else held
            want[t, row] = held
            if reverse and reset[t, row]:
                held = 0 * held
    assert_same(np.asarray(hold), want, "")


@pytest.mark.slow
def test_by_function_is_by_record():
    for name in ("elman", "gru", "lstm"):
        cell = getattr(jaxrnn, name)
        init, carry, step, run = (
            getattr(jaxrnn, f"{name}_{verb}") for verb in ("init", "carry", "step", "scan")
        )
        params = init(jax.random.key(0), 3, 4)
        assert_same(params, cell.init(jax.random.key(0), 3, 4), name)
        assert init(jax.random.key(0), 3, 4, use_bias=False).bias is None
        assert_same(carry(params, (2,)), cell.carry(params, (2,)), name)
        xs = jax.random.normal(jax.random.key(1), (T, B, 3))
        options = {"lengths": np.array([2, 5]), "reverse": True, "return_carries": True}
        state = jaxrnn.scan(cell, params, xs)[0]
        assert_same(step(params, state, xs[0]), cell.step(params, state, xs[0]), name)
        want = jaxrnn.scan(cell, params, xs, state, **options)
        assert_same(run(params, xs, state, **options), want, name)
        given = inspect.signature(jaxrnn.scan).parameters.keys() - {"cell"}
        assert inspect.signature(run).parameters.keys() == given, "every option of scan"
        options = inspect.signature(init).parameters.keys() - {"key", "input_size", "hidden_size"}
        own = inspect.signature(cell.init).parameters
        assert options <= own.keys() or any(p.kind is p.VAR_KEYWORD for p in own.values())


# Memory: what XLA says it will allocate. Nothing is run.

TIME, BATCH, D, H = 999, 97, 1, 51
CARRIES = 2 * BATCH * H * 4
"""Bytes of the carries of one step, h and c."""


def temporaries(loss, time=TIME, *, vmap=False):
    """Bytes of temporaries of the gradient of an LSTM by its parameters."""

    def total(params, xs):
        run = lambda xs: loss(jaxrnn.lstm_scan(params, xs))  # noqa: E731
        return jnp.sum(jax.vmap(run, 1)(xs)) if vmap else run(xs)

    params = jax.eval_shape(lambda: jaxrnn.lstm_init(jax.random.key(0), D, H))
    xs = jax.ShapeDtypeStruct((time, BATCH, D), jnp.float32)
    compiled = jax.jit(jax.grad(total)).lower(params, xs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


def squares(outputs):
    return jnp.sum(outputs[1] ** 2)


def last(outputs):
    return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(outputs[0]))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [squares, pytest.param(last, marks=pytest.mark.slow)])
def test_memory_of_a_gradient(loss):
    """The sine task's in 100 MB, and not much more where `vmap` adds the batch."""
    native = temporaries(loss)
    assert native <= 100e6
    assert temporaries(loss, vmap=True) <= 1.3 * native


@pytest.mark.slow
def test_memory_grows_by_the_carries():
    """One step more stores one carry more, its output is a part of it; a loss, its cotangent."""
    for loss, kept in ((last, CARRIES), (squares, 1.5 * CARRIES)):
        growth = temporaries(loss, 2048) - temporaries(loss, 1024)
        assert growth <= 1.1 * 1024 * kept


@pytest.mark.slow
def test_two_devices():
    """Run `tests/sharding.py`, which asks for two devices, in a process of its own.

    Some cells: how a batch is spread is the engine's business, and takes long to compile.
    """
    root = Path(__file__).parent.parent
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}
    names = [*KINDS, "gru", "lstm_peephole", "lstm_prototype_normalized"]
    command = [sys.executable, "-W", "error", "-m", "tests.sharding", *names]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.split() == names
