"""What goes around a cell: its equations, its randomness, and that all of it composes."""

import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.base import Matrix, add
from jaxrnn.cells import CELLS, linear
from jaxrnn.networks import (
    HighwayParams,
    ProjectOutputParams,
    dilated,
    highway,
    normalize,
    project_output,
    recurrent_dropout,
    residual,
    variational_dropout,
    weight_drop,
    zoneout,
)
from tests.reference import assert_close, loop, quick, random_like, some, with_gradients

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 3, 2, 4, 4
KEY = jax.random.key(7)
LSTM, GRU, LINEAR = jaxrnn.lstm, jaxrnn.gru, linear.min_gru


MATRIX = linear.delta_net
CASES = {
    "zoneout": zoneout(LSTM, (0.2, 0.5)),
    "zoneout of a linear cell": zoneout(LINEAR, 0.3),
    "zoneout of a matrix": zoneout(MATRIX, 0.4),
    "variational dropout": variational_dropout(LSTM, inputs=0.3, state=0.5),
    "weight drop": weight_drop(GRU, 0.4, ("recurrent_kernel", "bias")),
    "recurrent dropout": recurrent_dropout(CELLS["lstm_peephole"], 0.4),
    "recurrent dropout of a GRU": recurrent_dropout(CELLS["gru_reset_before"], 0.4),
    "residual": residual(GRU),
    "highway": highway(LSTM),
    "project output": project_output(LSTM, 3),
    "normalize": normalize(GRU),
    "dilated": dilated(LSTM, 2),
    "all": residual(
        zoneout(
            normalize(
                highway(
                    weight_drop(
                        variational_dropout(recurrent_dropout(LSTM, 0.3), inputs=0.2, state=0.3),
                        0.3,
                    )
                )
            ),
            0.2,
        )
    ),
}
ALONE = {  # with nothing random, and the cell within
    "zoneout": (zoneout(LSTM, 0.0), LSTM),
    "variational": (variational_dropout(LSTM), LSTM),
    "weight": (weight_drop(LSTM, 0.0), LSTM),
    "recurrent": (recurrent_dropout(GRU, 0.0), GRU),
}


def example(cell, size=D):
    """Random parameters, inputs and a carry, in float64."""
    init = lambda key: cell.init(key, D, size, dtype=jnp.float64)  # noqa: E731
    params = random_like(jax.eval_shape(init, KEY), 1, 0.6)
    xs = random_like(jax.ShapeDtypeStruct((T, B, D), jnp.float64), 2)
    carry = jax.eval_shape(lambda params: cell.carry(params, (B,)), params)
    return params, xs, random_like(carry, 3, 0.4)


def begun(cell):
    """What ``init`` gives, with and without biases."""
    return quick(lambda key: [cell.init(key, D, D, use_bias=use) for use in (True, False)])(KEY)


# All of them.


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_whole_is_steps(name):
    """With a key, lengths and resets, by chunks, against the loop."""
    cell = CASES[name]
    params, xs, carry = example(cell)
    lengths, reset = np.array([T, 2]), np.zeros((T, B), bool)
    reset[1, 0] = True
    valid = np.arange(T)[:, None] < lengths

    @quick
    def both(params, xs, carry):
        flags = {"lengths": lengths, "reset": reset, "return_carries": True, "chunk": 2}
        got = jaxrnn.scan(cell, params, xs, carry, key=KEY, **flags)
        return got, loop(cell, params, xs, carry, valid, reset, KEY)

    assert_close(*both(params, xs, carry), name)


@pytest.mark.parametrize(
    "name", some(CASES, ("zoneout of a linear cell", "recurrent dropout of a GRU"))
)
def test_pieces_and_gradients(name):
    cell = CASES[name]
    params, xs, carry = example(cell)
    weights = random_like(jax.eval_shape(partial(loop, cell), params, xs, carry), 4)

    @quick
    def derivatives(params, xs, carry):
        scan = partial(jaxrnn.scan, cell, return_carries=True, key=KEY)
        plain = partial(loop, cell, key=KEY)
        return [with_gradients(run)(weights, params, xs, carry) for run in (scan, plain)]

    assert_close(*derivatives(params, xs, carry), name)

    @quick
    def pieces(params, xs, carry):
        whole = jaxrnn.scan(cell, params, xs, carry, key=KEY)
        middle, first = jaxrnn.scan(cell, params, xs[:1], carry, key=KEY)
        last, rest = jaxrnn.scan(cell, params, xs[1:], middle, key=KEY, start=1)
        return whole, (last, jnp.concatenate([first, rest]))

    assert_close(*pieces(params, xs, carry), name)


@pytest.mark.parametrize("name", CASES)
def test_a_wrapped_cell_is_what_made_it(name):
    cell = CASES[name]
    for again in (cell.spec.make(), pickle.loads(pickle.dumps(cell))):
        assert again == cell
        assert hash(again) == hash(cell)
    assert cell not in [CASES[other] for other in CASES if other != name]
    assert cell.__doc__.startswith("The same ")


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.slow
def test_of_rate_zero_it_is_the_cell(name):
    cell, inner = ALONE[name]
    params, xs, carry = example(cell)
    within = params.cell if hasattr(params, "cell") else params
    want = quick(partial(jaxrnn.scan, inner))(within, xs, carry)
    for key in (None, KEY):
        assert_close(quick(partial(jaxrnn.scan, cell, key=key))(params, xs, carry), want, name)


@pytest.mark.parametrize("name", ["variational dropout", "weight drop", "recurrent dropout"])
@pytest.mark.slow
def test_without_a_key_nothing_is_dropped(name):
    cell = CASES[name]
    params, xs, carry = example(cell)
    within = params.cell if hasattr(params, "cell") else params
    got = quick(partial(jaxrnn.scan, cell))(params, xs, carry)
    assert_close(got, quick(partial(jaxrnn.scan, cell.spec.cell))(within, xs, carry), name)
    run = lambda key: jaxrnn.scan(cell, params, xs, carry, key=key)  # noqa: E731
    random = [quick(run)(jax.random.key(k)) for k in (1, 2)]
    assert float(abs(random[0][1] - random[1][1]).max()) > 1e-3
    assert float(abs(random[0][1] - got[1]).max()) > 1e-3


def linear_cases():
    cells = LINEAR, MATRIX, linear.lru, linear.qrnn
    yield from ((zoneout(cell, 0.3), key) for cell in cells for key in (None, KEY))
    yield from ((wrap(LINEAR), None) for wrap in (normalize, residual, highway))
    yield weight_drop(zoneout(normalize(LINEAR), 0.5), 0.5, ("input_kernel",)), KEY


@pytest.mark.parametrize("number", range(12))
@pytest.mark.slow
def test_a_linear_cell_stays_linear(number):
    cell, key = list(linear_cases())[number]
    params, xs, s = example(cell)

    @quick
    def both(params, x, s):
        if key is not None and cell.sample is not None:
            params = cell.sample(params, key, (B,))
        z = cell.project(params, x)
        if key is not None:
            z = cell.randomize(params, z, key)
        assert not jax.tree.leaves(cell.recurrent(params, s))
        a, b = cell.coefficients(params, z)
        is_matrix = lambda node: isinstance(node, Matrix)  # noqa: E731
        act = lambda a, s: a.entries @ s if is_matrix(a) else a * s  # noqa: E731
        moved = jax.tree.map(act, a, s, is_leaf=is_matrix)
        return cell.update(params, s, z), jax.tree.map(jnp.add, moved, b)

    assert_close(*both(params, xs[0], s), cell.name, 1e-14)


@pytest.mark.parametrize(
    ("cell", "solver"),
    [
        (zoneout(LINEAR, 0.3), jaxrnn.associative()),
        (zoneout(MATRIX, 0.3), jaxrnn.associative()),
        (variational_dropout(GRU, state=0.3), jaxrnn.newton(jacobian="units")),
    ],
)
@pytest.mark.slow
def test_solvers_know_what_was_drawn(cell, solver):
    params, xs, carry = example(cell)
    run = partial(jaxrnn.scan, cell, key=KEY)
    got, want = (
        quick(partial(run, solver=one))(params, xs, carry) for one in (solver, jaxrnn.sequential())
    )
    assert_close(got, want, cell.name, 1e-9)


@pytest.mark.slow
def test_around_cells_of_a_stack_and_in_both_directions():
    cell = zoneout(variational_dropout(LSTM, inputs=0.3, state=0.3), 0.2)
    net = jaxrnn.stack(cell, residual(recurrent_dropout(GRU, 0.3)), dropout=0.2)
    params, xs, carry = example(net)
    got = quick(partial(jaxrnn.scan, net, key=KEY, return_carries=True))(params, xs, carry)
    assert_close(got, quick(partial(loop, net, key=KEY))(params, xs, carry), "stack")
    both = jaxrnn.bidirectional(cell)
    params, xs, carry = example(both)
    ys = quick(partial(jaxrnn.scan, both, key=KEY))(params, xs, carry)[1]
    alone = quick(partial(jaxrnn.scan, both))(params, xs, carry)[1]
    assert ys.shape == (T, B, 2 * H)
    assert float(abs(ys - alone).max(axis=(0, 1)).min()) > 0


# Zoneout.


def test_zoneout_keeps_at_its_rates():
    cell = zoneout(LSTM, (0.2, 0.6))
    params, _, carry = example(cell)
    many = random_like(jax.ShapeDtypeStruct((4000, D), jnp.float64), 4)
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[0], (4000, H)), carry)
    step = quick(cell.step)
    new, _ = step(params, state, many, key=KEY, time=3)
    want, _ = quick(LSTM.step)(params, state, many)
    for leaf, old, fresh, rate in zip(new, state, want, (0.2, 0.6), strict=True):
        kept = np.asarray(leaf == old)
        np.testing.assert_allclose(np.asarray(leaf)[~kept], np.asarray(fresh)[~kept], atol=1e-14)
        np.testing.assert_allclose(kept.mean(0), rate, atol=0.05)
    mean, _ = step(params, state, many)
    expected = [r * a + (1 - r) * b for r, a, b in zip((0.2, 0.6), state, want, strict=True)]
    assert_close(mean, type(mean)(*expected), "without a key", 1e-14)
    other, _ = step(params, state, many, key=KEY, time=4)
    assert float((other.c == new.c).mean()) < 0.9


@pytest.mark.slow
def test_zoneout_lets_counters_count():
    def carry(params, batch=()):
        return jnp.zeros((*batch, H), jnp.float64), jnp.zeros(batch, jnp.int32)

    counting = jaxrnn.elman._replace(
        carry=carry,
        recurrent=lambda params, s: jaxrnn.elman.recurrent(params, s[0]),
        update=lambda params, s, z: (jaxrnn.elman.update(params, s[0], z), s[1] + 1),
        output=lambda params, s, z: s[0],
    )
    cell = zoneout(counting, 0.9)
    params = random_like(jax.eval_shape(partial(jaxrnn.elman.init, **SIZES), KEY), 1)
    xs = random_like(jax.ShapeDtypeStruct((T, B, D), jnp.float64), 2)
    for key in (None, KEY):
        last, _ = quick(partial(jaxrnn.scan, cell, key=key))(params, xs)
        assert last[1].tolist() == [T] * B


SIZES = {"input_size": D, "hidden_size": H, "dtype": "float64"}


# Dropout.


@pytest.mark.slow
def test_variational_masks_are_those_of_a_row_at_every_step():
    """A linear map with one mask a row: outputs are in proportion to constant inputs."""
    cell = variational_dropout(jaxrnn.make_elman(activation="identity"), inputs=0.5)
    params, _, _ = example(cell)
    inner = params.cell._replace(
        input_kernel=jnp.eye(D, dtype=jnp.float64),
        recurrent_kernel=jnp.zeros((H, H), jnp.float64),
        bias=jnp.zeros(H, jnp.float64),
    )
    xs = jnp.ones((T, 200, D), jnp.float64)
    ys = quick(partial(jaxrnn.scan, cell, key=KEY))(params._replace(cell=inner), xs)[1]
    assert bool((ys == ys[0]).all())
    assert set(np.unique(ys)) == {0.0, 2.0}
    np.testing.assert_allclose(ys[0].mean(0), 1, atol=0.25)


@pytest.mark.slow
def test_variational_state_masks_reach_the_recurrent_map_alone():
    cell = variational_dropout(LSTM, state=0.5)
    params, xs, carry = example(cell)
    drawn = cell.sample(params, KEY, (B,))
    assert set(np.unique(drawn.state.h)) == {0.0, 2.0}
    got, _ = quick(cell.step)(params, carry, xs[0], key=KEY)
    z = LSTM.project(params.cell, xs[0])
    masked = carry._replace(h=carry.h * drawn.state.h)
    want = LSTM.update(params.cell, carry, z + LSTM.recurrent(params.cell, masked))
    assert_close(got, want, "", 1e-14)


@pytest.mark.slow
def test_variational_dropout_of_a_pair_leaves_the_gaps():
    lem = CELLS["lem"]
    cell = variational_dropout(lem, inputs=0.5)
    params, xs, _ = example(cell)
    gaps = jnp.full((T, B, 1), 0.5, jnp.float64)
    z = cell.project(cell.sample(params, KEY, (B,)), (xs, gaps))
    assert bool((z.gaps == gaps).all())
    assert float(abs(z.y - lem.project(params.cell, (xs, gaps)).y).max()) > 0


@pytest.mark.slow
def test_dropped_weights_are_those_named():
    cell = weight_drop(variational_dropout(LSTM, inputs=0.2), 0.25)
    params, _, _ = example(cell, 64)
    drawn = cell.sample(params, KEY, (B,)).cell
    ratio = np.asarray(drawn.recurrent_kernel / params.cell.recurrent_kernel)
    kept = ratio != 0
    np.testing.assert_allclose(ratio[kept], 4 / 3, atol=1e-12)
    np.testing.assert_allclose(kept.mean(), 0.75, atol=0.02)
    assert bool((drawn.input_kernel == params.cell.input_kernel).all())


@pytest.mark.parametrize("name", ["lstm", "lstm_peephole", "lstm_projected", "lstm_cifg"])
@pytest.mark.slow
def test_recurrent_dropout_spares_the_memory(name):
    """What is added to the forgotten cell is 0 or 1 / (1 - p) of what it would be."""
    inner = CELLS[name]
    cell = recurrent_dropout(inner, 0.25)
    params, _, carry = example(cell, 4)
    many = random_like(jax.ShapeDtypeStruct((2000, D), jnp.float64), 4)
    state = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[0], (2000, *leaf.shape[1:])), carry)
    got, _ = quick(cell.step)(params, state, many, key=KEY)
    plain, _ = quick(inner.step)(params, state, many)
    z = add(inner.project(params, many), inner.recurrent(params, state))
    kept = inner.gates(params, state, z).f * state.c
    ratio = np.asarray((got.c - kept) / (plain.c - kept))
    np.testing.assert_allclose(np.minimum(abs(ratio), abs(ratio - 4 / 3)), 0, atol=1e-6)
    np.testing.assert_allclose((ratio > 0.5).mean(), 0.75, atol=0.03)


@pytest.mark.slow
def test_recurrent_dropout_of_a_gru_is_of_its_candidate():
    cell = recurrent_dropout(GRU, 0.5)
    params, xs, h = example(cell)

    @quick
    def step(params, x, h):
        z = cell.randomize(params, cell.project(params, x), KEY)
        z = add(z, cell.recurrent(params, h))
        return z.more.mask, GRU.gates(params, h, z.z), cell.update(params, h, z)

    mask, gate, new = step(params, xs[0], h)
    assert set(np.unique(mask)) == {0.0, 2.0}
    assert_close(new, gate.z * h + (1 - gate.z) * gate.n * mask, "", 1e-14)


# Ways around, readout, normalisation.


def test_residual_adds_the_input():
    cell = residual(CELLS["lem"])
    params, xs, carry = example(cell)
    gaps = jnp.full((T, B, 1), 0.5, jnp.float64)
    run = partial(jaxrnn.scan, return_carries=True)
    got = quick(partial(run, cell))(params, (xs, gaps), carry)
    last, ys, carries = quick(partial(run, CELLS["lem"]))(params, (xs, gaps), carry)
    assert_close(got, (last, ys + xs, carries), "", 1e-14)


@pytest.mark.slow
def test_highway_mixes_output_and_input():
    cell = highway(GRU, gate_bias=-2.0)
    params, xs, h = example(cell)
    assert isinstance(params, HighwayParams)
    last, ys = quick(partial(jaxrnn.scan, GRU))(params.cell, xs, h)
    t = jax.nn.sigmoid(xs @ params.gate_kernel + params.gate_bias)
    got = quick(partial(jaxrnn.scan, cell))(params, xs, h)
    assert_close(got, (last, t * ys + (1 - t) * xs), "", 1e-14)
    made, bare = begun(cell)
    assert bool((made.gate_bias == -2).all())
    assert bare.gate_bias is None


@pytest.mark.slow
def test_a_readout_is_a_product_with_the_outputs():
    cell = project_output(GRU, 3)
    params, xs, h = example(cell, 5)
    assert isinstance(params, ProjectOutputParams)
    last, ys = quick(partial(jaxrnn.scan, GRU))(params.cell, xs, h)
    got = quick(partial(jaxrnn.scan, cell))(params, xs, h)
    assert_close(got, (last, ys @ params.output_kernel + params.output_bias), "", 1e-14)
    made, bare = begun(cell)
    assert not made.output_bias.any()
    assert bare.output_bias is None

    def half(key):
        params = cell.init(key, D, 5, dtype=jnp.bfloat16)
        return cell.step(params, cell.carry(params), jnp.ones(D, jnp.bfloat16))[1]

    y = jax.eval_shape(half, KEY)
    assert (y.dtype, y.shape) == (jnp.bfloat16, (3,))


@pytest.mark.slow
def test_normalized_pre_activations():
    cell = normalize(jaxrnn.elman, epsilon=1e-3)
    params, xs, h = example(cell, 6)
    a = xs[0] @ params.cell.input_kernel + h @ params.cell.recurrent_kernel + params.cell.bias
    a = (a - a.mean(-1, keepdims=True)) / np.sqrt(np.var(a, -1, keepdims=True) + 1e-3)
    want = jnp.tanh(a * params.gain + params.shift)
    assert_close(quick(cell.step)(params, h, xs[0])[0], want, "", 1e-14)
    made, bare = begun(cell)
    assert bool((made.gain == 1).all())
    assert not made.shift.any()
    assert bare.shift is None


@pytest.mark.slow
def test_normalisation_goes_part_by_part_and_leaves_gaps():
    cell = normalize(CELLS["lem"])
    params, xs, carry = example(cell)
    assert (params.gain.a.shape, params.gain.y.shape, params.gain.gaps) == ((3 * H,), (H,), None)
    gaps = jnp.full((T, B, 1), 0.5, jnp.float64)
    run = quick(partial(jaxrnn.scan, cell))
    one, half = (run(params, (xs, scale * gaps), carry)[1] for scale in (2.0, 1.0))
    assert_close(one, run(params, xs, carry)[1], "gaps of one", 1e-14)
    assert float(abs(one - half).max()) > 1e-2


# Refusals.


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: zoneout("lstm", 0.1), TypeError, "cell: expected a Cell"),
        (lambda: residual(jaxrnn.stack(GRU)), TypeError, r"got the Layer 'stack\(gru\)'"),
        (lambda: zoneout(LSTM, 1.0), ValueError, "rate"),
        (lambda: zoneout(LSTM, (0.1, "b")), TypeError, r"rate\[1\]"),
        (lambda: zoneout(LSTM, (0.1,)).init(KEY, D, H), ValueError, "rate: expected one, or 2"),
        (lambda: variational_dropout(LSTM, inputs=-0.1), ValueError, "inputs"),
        (
            lambda: variational_dropout(LINEAR, state=0.1),
            ValueError,
            "state: expected 0 for 'min_gru",
        ),
        (
            lambda: variational_dropout(CELLS["ltc"], state=0.1).init(KEY, D, H),
            ValueError,
            "state: expected 0 for 'ltc'",
        ),
        (lambda: weight_drop(LSTM, None), TypeError, "rate"),
        (lambda: weight_drop(LSTM, 0.1, "bias"), TypeError, "names"),
        (lambda: weight_drop(LSTM, 0.1, ()), ValueError, "names"),
        (
            lambda: weight_drop(LSTM, 0.1, ("kernel",)).init(KEY, D, H),
            ValueError,
            "input_kernel, recurrent_kernel, bias, got 'kernel'",
        ),
        (lambda: recurrent_dropout(jaxrnn.elman, 0.1), TypeError, "candidate.*got 'elman'"),
        (lambda: recurrent_dropout(LSTM, 2), ValueError, "rate"),
        (lambda: residual(GRU).init(KEY, 3, 5), ValueError, "hidden_size.*, 3, .*'gru'"),
        (lambda: highway(GRU).init(KEY, 3, 5), ValueError, "hidden_size.*, 3, .*'gru'"),
        (lambda: highway(GRU, gate_bias="1"), TypeError, "gate_bias"),
        (lambda: project_output(GRU, 0), ValueError, "size"),
        (lambda: normalize(GRU, epsilon=0), ValueError, "epsilon"),
    ],
)
def test_what_makes_no_sense_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.slow
def test_wrong_parameters_are_named():
    cell = highway(GRU)
    params, xs, carry = example(cell)
    with pytest.raises(ValueError, match=r"params\.gate_bias: expected float64\[4\], got"):
        jaxrnn.scan(cell, params._replace(gate_bias=jnp.zeros(3, jnp.float64)), xs, carry)
    own = residual(GRU)._replace(name="own")  # whose parameters are not checked
    params, _, _ = example(GRU, 5)
    with pytest.raises(ValueError, match="inputs of the shape of the outputs"):
        jaxrnn.scan(own, params, jnp.ones((T, D), jnp.float64))


@pytest.mark.slow
def test_a_dilated_cell_is_as_many_sequences_as_it_is_dilated():
    """Each by itself, of every d-th input."""
    cell = dilated(LSTM, 3)
    params = cell.init(jax.random.key(0), D, H, dtype=jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (7, B, D), jnp.float64)
    carry, ys = jaxrnn.scan(cell, params, xs)
    for k in range(3):
        last, alone = jaxrnn.scan(LSTM, params, xs[k::3])
        assert_close(ys[k::3], alone, f"from step {k}")
        assert_close(carry[(k - 7) % 3], last, f"the carry from step {k}")


@pytest.mark.slow
def test_skips_between_layers():
    """Every layer sees the input, and all are seen; scan = steps; not what another stack is."""
    net = jaxrnn.rnn(GRU, 3, skip=True, dilation=(1, 2, 1), around=[None, zoneout_a_little, None])
    assert pickle.loads(pickle.dumps(jaxrnn.stack(GRU, LSTM, skip=True))) != jaxrnn.stack(GRU, LSTM)
    params = net.init(jax.random.key(0), D, (3, 4, 5), dtype=jnp.float64)
    assert [p.input_kernel.shape[0] for p in params] == [D, D + 3, D + 4]
    xs = jax.random.normal(jax.random.key(1), (T, B, D), jnp.float64)
    carry, ys = jaxrnn.scan(net, params, xs)
    assert ys.shape == (T, B, 12)
    below = jaxrnn.scan(GRU, params[0], xs)[1]
    middle = dilated(zoneout_a_little(GRU), 2)
    above = jaxrnn.scan(middle, params[1], jnp.concatenate([below, xs], -1))[1]
    top = jaxrnn.scan(GRU, params[2], jnp.concatenate([above, xs], -1))[1]
    assert_close(ys, jnp.concatenate([below, above, top], -1), "layer by layer")
    held = net.carry(params, (B,))
    for t in range(T):
        held, y = net.step(params, held, xs[t])
        assert_close(y, ys[t], f"step {t}")
    assert_close(held, carry, "the carry")
    with pytest.raises(ValueError, match="dilation: expected one, or 3, one a layer, got 2"):
        jaxrnn.rnn(GRU, 3, dilation=(1, 2))


def zoneout_a_little(cell):
    return zoneout(cell, 0.1)
