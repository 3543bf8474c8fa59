"""The systems of the LSTM's family against hand-worked numbers, and against each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import LSTMCarry, LSTMParams, make_elman, make_gru, make_lstm
from jaxrnn.cells import LSTMGateCarry, LSTMVariantParams, fuse, make_prototype, unfuse
from jaxrnn.cells import blocks as building
from tests.reference import assert_close, loop, quick, random_like, some, with_gradients

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 5, 2, 3, 4
FAR = 40.0  # a bias that saturates a gate to float64 rounding


def array(*values):
    return jnp.asarray(values, jnp.float64)


def example(cell, size=H):
    """Random parameters, inputs and carry, in float64."""
    init = lambda key: cell.init(key, D, size, dtype=jnp.float64)  # noqa: E731
    params = jax.eval_shape(init, jax.random.key(0))
    carry = jax.eval_shape(lambda params: cell.carry(params, (B,)), params)
    return random_like((params, jax.ShapeDtypeStruct((T, B, D), jnp.float64), carry), 1, 0.6)


def run(cell, params, xs, carry):
    return quick(partial(jaxrnn.scan, cell))(params, xs, carry)


def blocks(leaf, count=4):
    return jnp.split(leaf, count, axis=-1)


def joined(*parts):
    return jnp.concatenate(parts, axis=-1)


def assert_equal(got, want):
    assert_close(got, want, "", 1e-13)


# Hand-worked numbers: D = H = 1, W = R = 0.5, b = 0.1, p = 0.25, x = 1, h = s = 0.2, c = 0.3.


def scalar(cell):
    shapes = jax.eval_shape(lambda key: cell.init(key, 1, 1, dtype=jnp.float64), jax.random.key(0))

    def fill(path, leaf):
        name = path[-1].name
        value = 0.1 if "bias" in name else 0.25 if "peephole" in name else 0.5
        return jnp.full(leaf.shape, value, jnp.float64)

    return jax.tree_util.tree_map_with_path(fill, shapes)


PLAIN, GATED = LSTMCarry(0.2, 0.3), LSTMGateCarry(0.2, 0.3, 0.4, 0.6, 0.7)
NUMBERS = [
    (jaxrnn.elman, 0.2, 0.604367777, 0.604367777),
    (make_elman(activation="relu"), 0.2, 0.7, 0.7),
    (jaxrnn.lstm, PLAIN, 0.360883821, (0.360883821, 0.604287490)),
    (jaxrnn.cells.lstm_reference, PLAIN, 0.360883821, (0.360883821, 0.604287490)),
    (jaxrnn.cells.lstm_peephole, PLAIN, 0.386230190, (0.386230190, 0.619131537)),
    (jaxrnn.cells.lstm_peephole_full, PLAIN, 0.386230190, (0.386230190, 0.619131537)),
    (jaxrnn.cells.lstm_prototype, 0.2, 0.523113105, 0.523113105),
    (jaxrnn.cells.lstm_pseudo, 0.2, 0.479616203, 0.522485701),
    (jaxrnn.cells.gru_reset_before, 0.2, 0.327045389, 0.327045389),
    (make_gru(reset="before", update="write"), 0.2, 0.455837996, 0.455837996),
    (jaxrnn.cells.lstm_nig, PLAIN, 0.476281201, (0.476281201, 0.809748227)),
    (jaxrnn.cells.lstm_nfg, PLAIN, 0.433100221, (0.433100221, 0.713751087)),
    (jaxrnn.cells.lstm_nog, PLAIN, 0.550523065, (0.550523065, 0.619131537)),
    (jaxrnn.cells.lstm_niaf, PLAIN, 0.419115501, (0.419115501, 0.684601500)),
    (jaxrnn.cells.lstm_noaf, PLAIN, 0.434363802, (0.434363802, 0.619131537)),
    (jaxrnn.cells.lstm_cifg, PLAIN, 0.326075664, (0.326075664, 0.508370637)),
    (jaxrnn.cells.lstm_np, PLAIN, 0.360883821, (0.360883821, 0.604287490)),
    (jaxrnn.cells.lstm_fgr, GATED, 0.543047515, (0.543047515, 0.755584389)),
]


@pytest.mark.parametrize(("cell", "carry", "y", "after"), NUMBERS)
def test_hand_worked_numbers(cell, carry, y, after):
    carry = jax.tree.map(lambda value: jnp.full(1, value, jnp.float64), carry)
    got, out = quick(cell.step)(scalar(cell), carry, jnp.ones(1, jnp.float64))
    np.testing.assert_allclose(out[0], y, rtol=0, atol=1e-8)
    leaves = [float(leaf[0]) for leaf in jax.tree.leaves(got)[: len(np.atleast_1d(after))]]
    np.testing.assert_allclose(leaves, np.atleast_1d(after), rtol=0, atol=1e-8)


def test_hand_worked_lstm_with_forget_bias():
    params = scalar(jaxrnn.lstm)
    params = params._replace(bias=params.bias.at[1].add(1.0))
    carry, y = jaxrnn.lstm.step(params, LSTMCarry(array(0.2), array(0.3)), array(1.0))
    np.testing.assert_allclose([y[0], carry.c[0]], [0.385338307, 0.657491579], rtol=0, atol=1e-8)


def test_hand_worked_gru_with_two_biases():
    params = scalar(jaxrnn.gru)
    params = params._replace(bias=array(0.2, 0.2, 0.1))  # those of r and z folded into one
    _, y = jaxrnn.gru.step(params, array(0.2), array(1.0))
    np.testing.assert_allclose(y, [0.332669901], rtol=0, atol=1e-8)


def test_hand_worked_reset_before_and_after():
    r, swap = array(0.5, 0.25), array([0.0, 1.0], [1.0, 0.0])
    expected = {"before": [-0.1, 0.1], "after": [-0.2, 0.05]}  # R(r⊙h), r⊙(Rh)
    for reset, candidate in expected.items():
        cell = make_gru(reset=reset)
        params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1, 2, dtype=jnp.float64))
        params = params._replace(
            recurrent_kernel=params.recurrent_kernel.at[:, 4:].set(swap),
            bias=params.bias.at[:4].set(jnp.concatenate([jnp.log(r / (1 - r)), array(-FAR, -FAR)])),
        )
        _, y = cell.step(params, array(0.2, -0.4), array(0.0))
        np.testing.assert_allclose(jnp.arctanh(y), candidate, rtol=0, atol=1e-14)


def test_hand_worked_normalization():
    cell = jaxrnn.cells.lstm_prototype_normalized
    params = jax.tree.map(jnp.zeros_like, cell.init(jax.random.key(0), 1, 4, dtype=jnp.float64))
    keep = jnp.repeat(array(-FAR, FAR, 0.0, 0.0), 4)  # i = 0, f = 1
    s, y = cell.step(params._replace(bias=keep), array(1.0, 2.0, 3.0, 4.0), array(0.0))
    np.testing.assert_allclose(s, np.array([1, 2, 3, 4]) * 2 / 3, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(s, y)


# The ladder.


def test_prototype_can_grow_linearly_and_squashing_hides_it():
    xs = jnp.zeros((50, 1), jnp.float64)
    write_all = jnp.repeat(array(FAR, FAR, 0.0, FAR), 2)  # i = f = 1, g = 1

    def run(cell):
        params = cell.init(jax.random.key(0), 1, 2, dtype=jnp.float64)
        params = jax.tree.map(jnp.zeros_like, params)._replace(bias=write_all)
        return jaxrnn.scan(cell, params, xs, return_carries=True)[1:]

    ys, carries = run(jaxrnn.cells.lstm_prototype)
    np.testing.assert_allclose(ys[:, 0], np.arange(1, 51), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ys, carries)
    ys, carries = run(jaxrnn.cells.lstm_pseudo)
    np.testing.assert_allclose(carries[:, 0], np.arange(1, 51), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(ys, jnp.tanh(carries))


@pytest.mark.parametrize("cell", [jaxrnn.gru, jaxrnn.cells.gru_reset_before], ids=lambda c: c.name)
def test_gru_state_stays_in_the_unit_ball(cell):
    params, xs, h = example(cell)
    params, xs = jax.tree.map(lambda leaf: 10 * leaf, (params, jnp.tile(xs, (20, 1, 1))))
    assert bool((abs(run(cell, params, xs, jnp.clip(h, -1, 1))[1]) <= 1).all())


@pytest.mark.slow
def test_normalization_axis():
    cell = make_prototype(bound="normalize", axis=-2)
    params, xs, s = example(cell)
    plain = jaxrnn.cells.lstm_prototype.step(params, s, xs[0])[0]
    expected = plain / np.sqrt(np.var(plain, axis=0) + 1)
    assert_equal(cell.step(params, s, xs[0])[0], expected)

    def scanned(params, xs, s):
        return jaxrnn.scan(cell, params, xs, s, return_carries=True)

    weights = random_like(jax.eval_shape(scanned, params, xs, s), 2)
    got = quick(with_gradients(scanned))(weights, params, xs, s)
    want = quick(with_gradients(partial(loop, cell)))(weights, params, xs, s)
    assert_close(got, want, "", 1e-12)


def test_prototype_refuses_nonsense():
    with pytest.raises(ValueError, match="bound"):
        make_prototype(bound="tanh")
    with pytest.raises(ValueError, match="axis"):
        make_prototype(bound="normalize", axis=0)
    with pytest.raises(ValueError, match=r"axis=-2.*bound=None"):
        make_prototype(axis=-2)


# Identities between systems.


def test_no_peepholes_is_the_lstm():
    params, xs, carry = example(jaxrnn.lstm)
    expected = run(jaxrnn.lstm, params, xs, carry)
    for cell, shape in [
        (jaxrnn.cells.lstm_peephole, (3 * H,)),
        (jaxrnn.cells.lstm_peephole_full, (H, 3 * H)),
    ]:
        zero = LSTMVariantParams(*params, peephole_kernel=jnp.zeros(shape, jnp.float64))
        assert_equal(run(cell, zero, xs, carry), expected)


def test_full_peepholes_with_a_diagonal_are_diagonal():
    params, xs, carry = example(jaxrnn.cells.lstm_peephole)
    full = joined(*(jnp.diag(p) for p in blocks(params.peephole_kernel, 3)))
    got = run(jaxrnn.cells.lstm_peephole_full, params._replace(peephole_kernel=full), xs, carry)
    assert_equal(got, run(jaxrnn.cells.lstm_peephole, params, xs, carry))


def test_lstm_reference_is_the_lstm():
    params, xs, carry = example(jaxrnn.lstm)
    assert_equal(fuse(unfuse(params)), params)
    got = run(jaxrnn.cells.lstm_reference, unfuse(params), xs, carry)
    assert_equal(got, run(jaxrnn.lstm, params, xs, carry))


@pytest.mark.parametrize("order", ["ifog", "igfo", "iofg"])
def test_permuting_the_blocks_gives_the_other_gate_orders(order):
    params, xs, carry = example(jaxrnn.lstm)
    ours = [dict(zip("ifgo", blocks(leaf), strict=True)) for leaf in params]
    theirs = LSTMParams(*(joined(*(leaf[k] for k in order)) for leaf in ours))
    h, c, ys = carry.h, carry.c, []
    for x in xs:
        z = x @ theirs.input_kernel + h @ theirs.recurrent_kernel + theirs.bias
        z = dict(zip(order, blocks(z), strict=True))
        c = jax.nn.sigmoid(z["f"]) * c + jax.nn.sigmoid(z["i"]) * jnp.tanh(z["g"])
        h = jax.nn.sigmoid(z["o"]) * jnp.tanh(c)
        ys.append(h)
    assert_equal(run(jaxrnn.lstm, params, xs, carry), (LSTMCarry(h, c), jnp.stack(ys)))


def test_coupled_gates_are_a_forget_gate_with_the_input_gate_negated():
    params, xs, carry = example(jaxrnn.cells.lstm_cifg)

    def four(leaf):
        i, g, o = blocks(leaf, 3)
        return joined(i, -i, g, o)

    p_i, p_o = blocks(params.peephole_kernel, 2)
    kernels = (four(leaf) for leaf in params[:3])
    both = LSTMVariantParams(*kernels, peephole_kernel=joined(p_i, -p_i, p_o))
    assert_equal(
        run(jaxrnn.cells.lstm_peephole, both, xs, carry),
        run(jaxrnn.cells.lstm_cifg, params, xs, carry),
    )


@pytest.mark.parametrize(("option", "gate"), [("input", 0), ("forget", 1), ("output", 3)])
def test_a_missing_gate_is_one_that_is_always_open(option, gate):
    cell = make_lstm(**{f"{option}_gate": False})
    params, xs, carry = example(cell)

    def insert(leaf, value):
        parts = blocks(leaf, 3)
        return joined(*parts[:gate], jnp.full_like(parts[0], value), *parts[gate:])

    opened = LSTMParams(*(insert(leaf, FAR if leaf.ndim == 1 else 0.0) for leaf in params[:3]))
    assert_equal(run(cell, params, xs, carry), run(jaxrnn.lstm, opened, xs, carry))


def test_the_1997_lstm_accumulates():
    params, xs, carry = example(jaxrnn.cells.lstm_1997)
    h, c = carry
    for x in xs:
        i, g, o = blocks(x @ params.input_kernel + h @ params.recurrent_kernel + params.bias, 3)
        c = c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
    assert_equal(run(jaxrnn.cells.lstm_1997, params, xs, carry)[0], LSTMCarry(h, c))


def test_gate_recurrence_without_its_kernel_is_the_vanilla_lstm():
    params, xs, carry = example(jaxrnn.cells.lstm_fgr)
    zero = params._replace(gate_kernel=jnp.zeros_like(params.gate_kernel))
    got, ys = run(jaxrnn.cells.lstm_fgr, zero, xs, carry)
    plain = params._replace(gate_kernel=None)
    expected = run(jaxrnn.cells.lstm_peephole, plain, xs, LSTMCarry(carry.h, carry.c))
    assert_equal((LSTMCarry(got.h, got.c), ys), expected)


def test_projection_by_the_identity_is_none():
    params, xs, carry = example(jaxrnn.lstm)
    projected = LSTMVariantParams(*params, projection_kernel=jnp.eye(H, dtype=jnp.float64))
    got = run(make_lstm(proj_size=H), projected, xs, carry)
    assert_equal(got, run(jaxrnn.lstm, params, xs, carry))


def test_an_inactive_clip_is_none():
    params, xs, carry = example(jaxrnn.lstm)
    expected = run(jaxrnn.lstm, params, xs, carry)
    assert_equal(run(make_lstm(cell_clip=100.0), params, xs, carry), expected)
    assert bool((abs(run(make_lstm(cell_clip=0.1), params, xs, carry)[0].c) <= 0.1).all())


@pytest.mark.parametrize("reset", ["before", "after"])
def test_gru_write_is_keep_with_the_gate_negated(reset):
    keep, write = make_gru(reset=reset), make_gru(reset=reset, update="write")
    params, xs, h = example(keep)

    def negated(leaf):
        r, z, n = blocks(leaf, 3)
        return joined(r, -z, n)

    other = params._replace(
        input_kernel=negated(params.input_kernel),
        recurrent_kernel=negated(params.recurrent_kernel),
        bias=negated(params.bias),
    )
    assert_equal(run(write, other, xs, h), run(keep, params, xs, h))


def test_gru_reset_before_and_after_differ_unless_nothing_is_reset():
    params, xs, h = example(jaxrnn.gru)
    params = params._replace(recurrent_bias=jnp.zeros(H, jnp.float64))
    before = params._replace(recurrent_bias=None)
    ys = run(jaxrnn.gru, params, xs, h)[1]
    assert float(abs(ys - run(jaxrnn.cells.gru_reset_before, before, xs, h)[1]).max()) > 1e-3
    bias = params.bias.at[:H].set(FAR)
    weights = {"bias": bias, "input_kernel": params.input_kernel.at[:, :H].set(0.0)}
    weights["recurrent_kernel"] = params.recurrent_kernel.at[:, :H].set(0.0)
    got = run(jaxrnn.cells.gru_reset_before, before._replace(**weights), xs, h)
    assert_equal(got, run(jaxrnn.gru, params._replace(**weights), xs, h))


@pytest.mark.slow
def test_a_shut_gate_can_open():
    """The slope of a saturated gate, as `jax.nn.sigmoid`'s: 1/2 + tanh(z/2)/2 is 0 below -16."""
    zs = jnp.array([-60.0, -20.0, -12.0, -1.0, 0.0, 3.0, 20.0], jnp.float64)

    def slopes(f, zs):
        one = jax.vmap(jax.grad(f))(zs), jax.vmap(jax.grad(jax.grad(f)))(zs)
        return *one, jax.vmap(jax.grad(jax.grad(jax.grad(f))))(zs)

    gate = lambda z: building.gates(z[None], "s")[0][0]  # noqa: E731
    want = slopes(jax.nn.sigmoid, zs)
    for got, exact in zip(slopes(gate, zs.astype(jnp.float32)), want, strict=True):
        got, exact = np.asarray(got, np.float64), np.asarray(exact)
        bound = 3e-5 * np.abs(exact) + 1e-7 * np.equal(exact, 0)
        assert np.all(np.abs(got - exact) <= bound), (got, exact)
    got, want = slopes(building.tanh, zs)[:1], 1 / jnp.cosh(zs) ** 2
    np.testing.assert_allclose(got[0], want, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "z", "tolerance"), [(jnp.float32, -20.0, 1e-5), (jnp.bfloat16, -8.0, 2e-2)]
)
@pytest.mark.parametrize(
    "cell", some([jaxrnn.lstm, jaxrnn.gru, jaxrnn.cells.lstm_peephole], (jaxrnn.lstm,))
)
def test_the_gradient_of_a_shut_gate(cell, dtype, z, tolerance):
    """By the bias, through a scan, against the same in float64."""
    params = cell.init(jax.random.key(0), 3, 4, dtype=jnp.float64)
    params = params._replace(bias=params.bias.at[:4].set(z))
    xs = 0.1 * jax.random.normal(jax.random.key(1), (3, 3), jnp.float64)
    carry = jax.tree.map(lambda leaf: leaf + 0.5, cell.carry(params))

    def gradient(dtype):
        low, x = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, xs))
        held = jax.tree.map(lambda a, like: a.astype(like.dtype), carry, cell.carry(low))
        loss = lambda p: jnp.sum(jaxrnn.scan(cell, p, x, held)[1].astype(jnp.float64))  # noqa: E731
        return jax.grad(loss)(low).bias[:4].astype(jnp.float64)

    got, want = gradient(dtype), gradient(jnp.float64)
    assert bool((want != 0).all())
    np.testing.assert_allclose(got, want, rtol=4 * tolerance)
