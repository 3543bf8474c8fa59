"""The cells of `jaxrnn.cells.structured` against numbers, other forms, and each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.cells import structured
from jaxrnn.cells.structured import (
    make_clockwork,
    make_conv_elman,
    make_conv_gru,
    make_conv_lstm,
    make_gru_layer_norm,
    make_lstm_layer_norm,
    make_mlstm,
    make_on_lstm,
    make_phased_lstm,
    make_slstm,
)
from jaxrnn.initializers import zeros
from tests.reference import assert_close, loop, quick, random_like, with_gradients
from tests.vectors import C, K, S, V, X, fused

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 5, 2, 3, 4
FOUR_H, FOUR_C = np.array([0.2, -0.3, 0.1, 0.4]), np.array([0.3, 0.1, -0.2, 0.4])
CELLS = {
    "slstm": make_slstm(num_heads=2, forget_gate="exp"),
    "mlstm": make_mlstm(num_heads=2, output_gate=False, eps=1e-6),
    "lstm_layer_norm": structured.lstm_layer_norm,
    "gru_layer_norm": structured.gru_layer_norm,
    "multiplicative_lstm": structured.multiplicative_lstm,
    "on_lstm": make_on_lstm(chunk_size=2),
    "phased_lstm": make_phased_lstm(peepholes="diagonal", max_period=8.0),
    "clockwork": structured.clockwork,
    "conv_elman": make_conv_elman((3,), (4,)),
    "conv_lstm": make_conv_lstm((3, 2), (3, 4), peepholes=True),
    "conv_gru": make_conv_gru((2, 3), (3, 4)),
    "conv_gru before": make_conv_gru((1, 3, 2), (2, 3, 2), reset="before", update="write"),
}


def arrays(tree):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), tree)


def blocks(*numbers, rows=3, size=2):
    """The numbered input kernels, recurrent kernels and biases side by side."""
    return (
        fused(K(2 * k, rows, size) for k in numbers),
        fused(K(2 * k + 1, size, size) for k in numbers),
        fused(V(k, size) for k in numbers),
    )


def example(cell, size=H, space=()):
    """Random parameters, inputs and a carry, in float64."""
    init = lambda key: cell.init(key, D, size, dtype=jnp.float64)  # noqa: E731
    params = jax.eval_shape(init, jax.random.key(0))
    carry = jax.eval_shape(lambda params: cell.carry(params, (B,)), params)
    xs = jax.ShapeDtypeStruct((T, B, *space, D), jnp.float64)
    params, xs, carry = random_like((params, xs, carry), 1, 0.6)
    if hasattr(carry, "n"):  # weights that were summed up
        carry = carry._replace(n=jnp.abs(carry.n) + 0.5)
    if hasattr(params, "period"):
        like = jnp.abs(params.period)
        params = params._replace(period=like + 2, open_ratio=0.3 * jnp.ones_like(like))
    if hasattr(carry, "t"):
        carry = carry._replace(t=jnp.round(jnp.abs(5 * carry.t)))
    return params, xs, carry


def space_of(cell):
    return getattr(cell.spec, "space", ())


def run(cell, params, xs, carry, **flags):
    return quick(partial(jaxrnn.scan, cell, **flags))(params, xs, carry)


def step(cell, params, carry, x=X):
    return quick(cell.step)(arrays(params), arrays(carry), jnp.asarray(x, jnp.float64))


def assert_numbers(got, *want):
    for leaf, numbers in zip(got, want, strict=True):
        np.testing.assert_allclose(np.ravel(leaf), numbers, rtol=0, atol=1e-8)


# Numbers, of distinct weights and of equal ones.


def test_slstm_numbers():
    cell = structured.slstm
    carry = structured.SLSTMCarry(S, C, np.array([1, 0.8]), np.array([0.1, -0.2]))
    carry, y = step(cell, structured.SLSTMParams(*blocks(0, 1, 2, 3)), carry)
    h = [-0.124117531, -0.129878302]
    c, n = [-0.345733188, -0.265269656], [1.385640041, 1.161969358]
    assert_numbers((y, *carry), h, h, c, n, [0.484074948, 0.477149353])
    half = np.full((1, 4), 0.5)
    carry = structured.SLSTMCarry(*(np.array([v]) for v in (0.2, 0.3, 1.0, 0.0)))
    carry, _ = step(cell, structured.SLSTMParams(half, half, np.full(4, 0.1)), carry, [1.0])
    assert_numbers(carry, 0.353161663, 0.703911445, 1.331812228, 0.7)


@pytest.mark.parametrize("output_gate", [False, True])
def test_mlstm_numbers(output_gate):
    """An output gate whose parameters are 0 halves the output."""
    shut = [np.zeros((3, 2))] if output_gate else []
    params = structured.MLSTMParams(
        fused([K(0, 3, 2), K(2, 3, 2), K(4, 3, 2), *shut]),
        fused([K(20, 3, 1), K(21, 3, 1)]),
        np.zeros(6 + 2 * output_gate),
        np.array([0.0, 1.0]),
    )
    carry = structured.MLSTMCarry(K(22, 2, 2)[None], np.array([0.3, -0.1]), np.array([0.1]))
    carry, y = step(make_mlstm(output_gate=output_gate), params, carry)
    c = [-0.275862750, -0.226079405, -0.233674454, -0.033540500]
    y = 2 * y if output_gate else y
    h = [-0.180816749, -0.090508332]
    assert_numbers((y, *carry), h, c, [0.241249896, -0.263673725], 0.296870196)


def test_lstm_layer_norm_numbers():
    ones = np.ones(8)
    params = structured.LayerNormLSTMParams(*blocks(0, 1, 2, 3), ones, ones, np.ones(2), None)
    params = params._replace(cell_bias=np.zeros(2))
    carry, y = step(structured.lstm_layer_norm, params, jaxrnn.LSTMCarry(S, C))
    h = [0.411742096, -0.682280233]
    assert_numbers((y, *carry), h, h, [-0.549138651, -0.838191714])


def test_multiplicative_lstm_numbers():
    cell = structured.multiplicative_lstm
    params = structured.MultiplicativeLSTMParams(*blocks(0, 1, 2, 3), K(20, 3, 2), K(21, 2, 2))
    carry, y = step(cell, params, jaxrnn.LSTMCarry(S, C))
    h = [-0.038983195, -0.047710433]
    assert_numbers((y, *carry), h, h, [-0.077981993, -0.087552878])
    half, one = np.full((1, 4), 0.5), np.full((1, 1), 0.5)
    params = structured.MultiplicativeLSTMParams(half, half, np.full(4, 0.1), one, one)
    carry, _ = step(cell, params, jaxrnn.LSTMCarry(np.array([0.2]), np.array([0.3])), [1.0])
    assert_numbers(carry, 0.329250713, 0.556647686)


def test_on_lstm_numbers():
    wide, masters = (0, 1, 2, 3), (8, 9)
    params = structured.ONLSTMParams(
        fused([*(K(2 * k, 3, 4) for k in wide), *(K(2 * k, 3, 2) for k in masters)]),
        fused([*(K(2 * k + 1, 4, 4) for k in wide), *(K(2 * k + 1, 4, 2) for k in masters)]),
        fused([*(V(k, 4) for k in wide), *(V(k, 2) for k in masters)]),
    )
    carry, y = step(make_on_lstm(chunk_size=2), params, jaxrnn.LSTMCarry(FOUR_H, FOUR_C))
    h = [0.005073206, -0.030661986, -0.102984508, 0.193000699]
    assert_numbers((y, *carry), h, h, [0.010874343, -0.060025993, -0.2, 0.4])


def test_phased_lstm_numbers():
    """At t = 3.7, a gap after the step before."""
    cell = structured.phased_lstm
    of_time = np.array([8.0, 5.0]), np.array([3.0, 1.0]), np.full(2, 0.3)
    params = arrays(structured.PhasedLSTMParams(*blocks(0, 1, 2, 3), *of_time))
    held = arrays(structured.PhasedLSTMCarry(S, C, np.array([3.5])))
    x = jnp.asarray(X, jnp.float64), jnp.asarray(0.2, jnp.float64)
    carry, y = cell.step(params, held, x)
    h = [0.049931259, -0.299879626]
    assert_numbers((y, *carry), h, h, [0.057553370, 0.099872379], 3.7)
    z = cell.project(params, x)
    z = z._replace(gates=z.gates + cell.recurrent(params, held).gates)
    assert_numbers([cell.gates(params, held, z).k], [0.583333333, 0.00054])


@pytest.mark.parametrize(
    ("t", "slow"), [(1.0, [0.1, 0.4]), (2.0, [-0.127614822, -0.281133965])], ids=["fast", "both"]
)
def test_clockwork_numbers(t, slow):
    params = jaxrnn.ElmanParams(K(0, 3, 4), K(1, 4, 4), V(0, 4))
    carry = structured.ClockworkCarry(FOUR_H, np.array([t]))
    carry, y = step(make_clockwork(periods=(1, 2)), params, carry)
    h = [0.298290848, 0.266042749, *slow]
    assert_numbers((y, *carry), h, h, (t + 1) % 2)


# A scan is the loop, and is differentiated as one.


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.slow
def test_scan_is_the_loop(name):
    """From a carry, with rows of unequal lengths and a second sequence in one of them."""
    cell = CELLS[name]
    params, xs, carry = example(cell, space=space_of(cell))
    xs, lengths, reset = xs[:3], np.array([3, 1]), np.zeros((3, B), bool)
    reset[1, 0] = True
    valid = np.arange(3)[:, None] < lengths
    scan = partial(jaxrnn.scan, cell, lengths=lengths, reset=reset, return_carries=True)
    each = partial(loop, cell, valid=valid, reset=reset)
    weights = random_like(jax.eval_shape(each, params, xs, carry), 2)
    got, want = (quick(with_gradients(f))(weights, params, xs, carry) for f in (scan, each))
    assert_close(got, want, name, 1e-11)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(got[1][0])), "all matter"


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.slow
def test_half_types_keep_what_accumulates_wide(name):
    cell = CELLS[name]
    init = lambda key: cell.init(key, D, H, dtype=jnp.bfloat16)  # noqa: E731
    params = jax.eval_shape(init, jax.random.key(0))
    xs = jnp.ones((T, B, *space_of(cell), D), jnp.bfloat16)

    def total(params):
        carry, ys = jaxrnn.scan(cell, params, xs)
        return jnp.sum(ys.astype(jnp.float32)), (carry, ys)

    gradient, (carry, ys) = jax.eval_shape(jax.grad(total, has_aux=True), params)
    assert {leaf.dtype for leaf in jax.tree.leaves((gradient, ys))} == {jnp.dtype(jnp.bfloat16)}
    kept = carry._asdict() if hasattr(carry, "_asdict") else {"h": carry}
    dtypes = {key: jnp.dtype(jnp.bfloat16 if key == "h" else jnp.float32) for key in kept}
    assert {key: leaf.dtype for key, leaf in kept.items()} == dtypes


@pytest.mark.parametrize("name", [name for name in CELLS if CELLS[name].bounds])
@pytest.mark.slow
def test_states_stay_within_their_bounds(name):
    cell = CELLS[name]
    params, xs, carry = example(cell, space=space_of(cell))
    params = jax.tree.map(lambda leaf: 5 * leaf, params)
    start = jax.tree.map(jnp.abs, carry)
    carries = run(cell, params, xs, carry, return_carries=True)[2]
    tight = False
    for t in range(T):
        most = cell.bounds(params, start, t + 1)
        now = jax.tree.map(lambda leaf, t=t: leaf[t], carries)
        for bound, leaf in zip(jax.tree.leaves(most), jax.tree.leaves(now), strict=True):
            assert bool((jnp.abs(leaf) <= bound + 1e-12).all())
            tight |= bool((bound < 10).any())
    assert tight, "a bound that says nothing"


# The sLSTM and the mLSTM.


@pytest.mark.slow
def test_slstm_heads_do_not_see_each_other():
    cell, one = make_slstm(num_heads=2), structured.slstm
    params, xs, carry = example(cell)
    dense = jnp.zeros((H, 4, H), jnp.float64)
    each = params.recurrent_kernel.reshape(2, 4, 2, 2)
    for head in range(2):
        units = slice(2 * head, 2 * head + 2)
        dense = dense.at[units, :, units].set(each[:, :, head])
    whole = params._replace(recurrent_kernel=dense.reshape(H, 4 * H))
    assert_close(run(cell, params, xs, carry), run(one, whole, xs, carry), "heads")


@pytest.mark.slow
def test_slstm_is_a_weighted_mean_of_what_it_saw():
    """Without the stabilizer, from nothing, and for gates that only it can hold."""
    params, xs, _ = example(structured.slstm)
    params = params._replace(recurrent_kernel=0 * params.recurrent_kernel)
    a = xs @ params.input_kernel + params.bias
    i, f, z, o = np.split(np.asarray(a), 4, axis=-1)
    c = n = np.zeros((B, H))
    ys = []
    for t in range(T):
        keep = 1 / (1 + np.exp(-f[t]))
        c, n = keep * c + np.exp(i[t]) * np.tanh(z[t]), keep * n + np.exp(i[t])
        ys.append(c / n / (1 + np.exp(-o[t])))
    got = run(structured.slstm, params, xs, None)[1]
    assert_close(got, np.stack(ys), "weighted mean")
    for shift in (-2000.0, 2000.0):
        far = params._replace(bias=params.bias.at[:H].add(shift))
        f = lambda params: jnp.sum(jaxrnn.scan(structured.slstm, params, xs)[1] ** 2)  # noqa: E731
        assert_close(run(structured.slstm, far, xs, None)[1], got, f"shifted by {shift}", 1e-11)
        (want, want_gradient), (value, gradient) = map(quick(jax.value_and_grad(f)), (params, far))
        assert_close((value, gradient), (want, want_gradient), "its gradient", 1e-11)


@pytest.mark.slow
def test_slstm_rows_that_are_reset_begin_as_the_first():
    """In a running batch, where the other row is not reset."""
    params, xs, _ = example(structured.slstm)
    reset = np.zeros((T, B), bool)
    reset[2, 0] = True
    carry, ys = run(structured.slstm, params, xs, None, reset=reset)
    alone, want = run(structured.slstm, params, xs[2:, 0], None)
    assert_close(ys[2:, 0], want, "outputs")
    assert_close(jax.tree.map(lambda leaf: leaf[0], carry), alone, "carry")


@pytest.mark.slow
def test_slstm_published_biases():
    params = make_slstm(num_heads=2).init(jax.random.key(0), D, 8, dtype=jnp.float64)
    i, f, z, o = np.split(np.asarray(params.bias), 4)
    head = 5 - 12 * (np.arange(4) / 3) ** 0.3
    np.testing.assert_allclose(f, np.tile(head, 2), atol=1e-12)
    assert not np.any([i, z, o])
    assert not np.any(params.recurrent_kernel)
    deep = structured.power_law(depth=1.0).draw(None, (4,), 4, jnp.float64)
    np.testing.assert_allclose(deep[4:8], 5 - 12 * (np.arange(4) / 3) ** 1.6, atol=1e-12)
    single = structured.power_law(num_heads=4).draw(None, (4,), 4, jnp.float64)
    np.testing.assert_array_equal(single[4:8], 5.0)


def parallel_mlstm(q, k, v, i, f):
    """All outputs of one head at once, ``(T, d)``, from :math:`q, k, v` and the gates ``(T,)``."""
    decay = jnp.cumsum(jax.nn.log_sigmoid(f))
    log_weight = decay[:, None] - decay[None, :] + i[None, :]
    log_weight = jnp.where(jnp.tril(jnp.ones((T, T), bool)), log_weight, -jnp.inf)
    m = jnp.max(log_weight, axis=1)
    weight = (q @ k.T) * jnp.exp(log_weight - m[:, None])
    return weight @ v / jnp.maximum(jnp.abs(weight.sum(1)), jnp.exp(-m))[:, None]


@pytest.mark.parametrize("shift", [0.0, 50.0])
@pytest.mark.slow
def test_mlstm_recurrent_is_parallel(shift):
    """With gates as they come, and with input gates of e^50."""
    cell = make_mlstm(num_heads=2)
    params, xs, _ = example(cell)
    params = params._replace(gate_bias=params.gate_bias.at[:2].add(shift))

    def parallel(params, xs):
        q, k, v, i, f, o = cell.project(params, xs)
        heads = jax.vmap(jax.vmap(parallel_mlstm, in_axes=1, out_axes=1), in_axes=1, out_axes=1)
        return jax.nn.sigmoid(o) * heads(q, k, v, i, f).reshape(T, B, H)

    recurrent = lambda params, xs: jaxrnn.scan(cell, params, xs)[1]  # noqa: E731
    weights = random_like(jax.ShapeDtypeStruct((T, B, H), jnp.float64), 3)

    def values(f):
        outputs, pull = jax.vjp(f, params, xs)
        return outputs, pull(weights)

    got, want = quick(partial(values, recurrent))(), quick(partial(values, parallel))()
    assert_close(got, want, "recurrent = parallel", 1e-10)


@pytest.mark.slow
def test_mlstm_published_biases():
    cell = make_mlstm(num_heads=4)
    params = cell.init(jax.random.key(0), D, 8, dtype=jnp.float64)
    np.testing.assert_allclose(params.gate_bias[4:], [3, 4, 5, 6], atol=1e-12)
    assert not np.any(params.gate_kernel)
    many = make_mlstm(num_heads=2048).init(jax.random.key(0), 1, 2048, dtype=jnp.float64)
    assert abs(float(jnp.std(many.gate_bias[:2048])) - 0.1) < 0.01


# Layer normalization.


def norm(z, scale):
    return scale * (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


@pytest.mark.slow
def test_lstm_layer_norm_is_its_equations():
    params, xs, (h, c) = jax.tree.map(np.asarray, example(structured.lstm_layer_norm))
    p, ys = params, []
    for x in xs:
        a = norm(x @ p.input_kernel, p.input_scale) + norm(
            h @ p.recurrent_kernel, p.recurrent_scale
        )
        i, f, g, o = np.split(a + p.bias, 4, axis=-1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(norm(c, p.cell_scale) + p.cell_bias)
        ys.append(h)
    _, xs, carry = example(structured.lstm_layer_norm)
    got = run(structured.lstm_layer_norm, arrays(params), xs, carry)
    assert_close(got, (jaxrnn.LSTMCarry(h, c), np.stack(ys)), "LN-LSTM")


@pytest.mark.parametrize("update", ["keep", "write"])
@pytest.mark.slow
def test_gru_layer_norm_is_its_equations(update):
    cell = make_gru_layer_norm(update=update)
    params, xs, h = example(cell)
    p, state, ys = jax.tree.map(np.asarray, params), np.asarray(h), []
    cut = lambda leaf: np.split(leaf, [2 * H], axis=-1)  # noqa: E731
    (ax, bx), (ah, bh), (c, d) = map(cut, (p.input_scale, p.recurrent_scale, p.bias))
    for x in np.asarray(xs):
        (gx, nx), (gh, nh) = cut(x @ p.input_kernel), cut(state @ p.recurrent_kernel)
        r, z = np.split(sigmoid(norm(gx, ax) + norm(gh, ah) + c), 2, axis=-1)
        n = np.tanh(norm(nx, bx) + d + r * (norm(nh, bh) + p.recurrent_bias))
        state = z * state + (1 - z) * n if update == "keep" else (1 - z) * state + z * n
        ys.append(state)
    assert_close(run(cell, params, xs, h), (state, np.stack(ys)), "LN-GRU")


@pytest.mark.slow
def test_layer_norm_starts_with_gains_of_one_and_forgets_little():
    params = structured.lstm_layer_norm.init(jax.random.key(0), D, H, recurrent_init=zeros)
    gains = params.input_scale, params.recurrent_scale, params.cell_scale
    assert all(bool((gain == 1).all()) for gain in gains)
    np.testing.assert_array_equal(params.bias, np.repeat([0.0, 1.0, 0.0, 0.0], H))


# Others that reduce to the LSTM, or to the Elman network.


@pytest.mark.slow
def test_on_lstm_with_open_masters_is_the_lstm():
    """Masters all of which are open at once: the first kept, the last written."""
    params, xs, carry = example(structured.on_lstm)
    plain = jaxrnn.LSTMParams(*(leaf[..., : 4 * H] for leaf in params))
    far = jnp.asarray([*[0] * 3, 800, 800, *[0] * 3], jnp.float64)
    masters = jnp.zeros((D, 2 * H), jnp.float64), jnp.zeros((H, 2 * H), jnp.float64), far
    joined = [jnp.concatenate(pair, axis=-1) for pair in zip(plain, masters, strict=True)]
    cell = structured.on_lstm
    got = run(cell, structured.ONLSTMParams(*joined), xs, carry)[1]
    want = run(jaxrnn.lstm, plain, xs, carry)[1]
    # The last unit's input gate is shut: cumax ends with 1.
    first = got[0][:, :-1], want[0][:, :-1]
    assert_close(*first, "open masters")


@pytest.mark.slow
def test_on_lstm_masters_are_ordered():
    cell = make_on_lstm(chunk_size=2)
    params, xs, carry = example(cell)
    traces = quick(partial(jaxrnn.analysis.gate_traces, cell))(params, xs, carry)
    assert bool((jnp.diff(traces.master_f, axis=-1) >= 0).all())
    assert bool((jnp.diff(traces.master_i, axis=-1) <= 0).all())
    np.testing.assert_allclose(traces.master_f[..., -1], 1, atol=1e-12)
    np.testing.assert_allclose(traces.master_i[..., -1], 0, atol=1e-12)


@pytest.mark.slow
def test_phased_lstm_that_is_always_open_is_the_lstm():
    """Half open and half shut for ever, at the height of its phase."""
    cell = structured.phased_lstm
    params, xs, carry = example(cell)
    one = jnp.ones(H, jnp.float64)
    params = params._replace(period=one, shift=0.5 * one, open_ratio=one)
    carry = carry._replace(t=0 * carry.t)
    (h, c, t), ys = run(cell, params, xs, carry)
    plain = jaxrnn.LSTMParams(*params[:3])
    want = run(jaxrnn.lstm, plain, xs, jaxrnn.LSTMCarry(carry.h, carry.c))
    assert_close((jaxrnn.LSTMCarry(h, c), ys), want, "open")
    np.testing.assert_array_equal(t, T)


@pytest.mark.slow
def test_phased_lstm_takes_gaps():
    """Gaps of 1 are none; both shapes; the time is their sum, and a skipped step has none."""
    cell = make_phased_lstm(max_period=8.0)
    params, xs, carry = example(cell)
    plain = run(cell, params, xs, carry)
    for shape in ((T, B), (T, B, 1)):
        gaps = jnp.ones(shape, jnp.float64)
        assert_close(run(cell, params, (xs, gaps), carry), plain, "gaps of 1")
    gaps = jnp.asarray(np.random.default_rng(0).random((T, B)), jnp.float64)
    mask = np.ones((T, B), bool)
    mask[1] = False
    last, ys = run(cell, params, (xs, gaps), carry, mask=mask)
    assert_close(
        last.t[:, 0], carry.t[:, 0] + jnp.sum(gaps, 0, where=jnp.asarray(mask)), "the time"
    )
    assert float(jnp.abs(ys - plain[1]).max()) > 1e-3
    with pytest.raises(ValueError, match="xs: expected features or a pair"):
        cell.step(params, carry, (xs[0], gaps[0], gaps[0]))


@pytest.mark.slow
def test_phased_lstm_published_rhythms():
    options = {"recurrent_init": zeros, "dtype": jnp.float64}
    params = structured.phased_lstm.init(jax.random.key(0), 1, 2048, **options)
    log = jnp.log(params.period) / jnp.log(1000.0).astype(jnp.float64)
    assert bool(((log >= 0) & (log <= 1)).all())
    assert abs(float(log.mean()) - 0.5) < 0.02
    phase = params.shift / params.period
    assert bool(((phase >= 0) & (phase <= 1)).all())
    assert abs(float(phase.mean()) - 0.5) < 0.02
    assert bool((params.open_ratio == 0.05).all())


@pytest.mark.slow
def test_clockwork_of_one_speed_is_the_elman_network():
    cell = make_clockwork(periods=(1, 1))
    params, xs, carry = example(cell)
    got = run(cell, params, xs, carry)
    assert_close(got[1], run(jaxrnn.elman, params, xs, carry.h)[1], "one speed")


@pytest.mark.slow
def test_clockwork_groups_run_by_their_periods():
    cell = make_clockwork(periods=(1, 2, 3))
    params, xs, _ = example(cell, size=5)
    carry, ys = run(cell, params, jnp.tile(xs, (3, 1, 1)), None)
    moved = np.any(np.diff(np.asarray(ys), axis=0) != 0, axis=1)
    for unit, period in enumerate((1, 1, 2, 2, 3)):
        runs = np.arange(1, 3 * T) % period == 0
        np.testing.assert_array_equal(moved[:, unit], runs)
    np.testing.assert_array_equal(carry.t, (3 * T) % 6)
    faster = params._replace(recurrent_kernel=params.recurrent_kernel.at[0, 2:].add(1.0))
    assert_close(
        run(cell, faster, xs, None), run(cell, params, xs, None), "fast does not feed slow"
    )
    drawn = quick(lambda key: cell.init(key, D, 5))(jax.random.key(0)).recurrent_kernel
    assert not np.any(drawn[:2, 2:])
    assert not np.any(drawn[2:4, 4:])
    assert np.all(np.any(np.asarray(drawn) != 0, axis=0))


# Convolutions.


def correlate(x, kernel):
    """The same by loops: ``(*space, in)`` with ``(*window, in, out)``."""
    window, space = kernel.shape[:-2], x.shape[:-1]
    before = [(w - 1) // 2 for w in window]
    pads = [(b, w - 1 - b) for b, w in zip(before, window, strict=True)]
    x = np.pad(x, (*pads, (0, 0)))
    y = np.zeros((*space, kernel.shape[-1]))
    for place in np.ndindex(*space):
        for offset in np.ndindex(*window):
            y[place] += x[tuple(np.add(place, offset))] @ kernel[offset]
    return y


@pytest.mark.parametrize(
    ("window", "space"), [((3,), (5,)), ((3, 2), (4, 3)), ((1, 3, 2), (2, 3, 2))], ids=str
)
@pytest.mark.slow
def test_conv_lstm_is_its_equations(window, space):
    """With peepholes for each place, the output gate's of the new cell."""
    cell = make_conv_lstm(window, space, peepholes=True)
    params, xs, carry = example(cell, 2, space)
    p, row, ys = jax.tree.map(np.asarray, params), 1, []
    h, c = (np.asarray(leaf[row]) for leaf in carry)
    p_i, p_f, p_o = np.split(p.peephole_kernel, 3, axis=-1)
    for x in np.asarray(xs[:2, row]):
        a = correlate(x, p.input_kernel) + correlate(h, p.recurrent_kernel) + p.bias
        i, f, g, o = np.split(a, 4, axis=-1)
        c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * np.tanh(g)
        h = sigmoid(o + p_o * c) * np.tanh(c)
        ys.append(h)
    got = run(cell, params, xs[:2], carry)[1][:, row]
    assert_close(got, np.stack(ys), "convolutional LSTM")


@pytest.mark.parametrize("reset", ["after", "before"])
@pytest.mark.slow
def test_conv_gru_is_its_equations(reset):
    cell = make_conv_gru((3, 3), (3, 4), reset=reset)
    params, xs, carry = example(cell, 2, (3, 4))
    p, x, h = jax.tree.map(np.asarray, (params, xs[0, 0], carry[0]))
    r, z, n = np.split(correlate(x, p.input_kernel) + p.bias, 3, axis=-1)
    kernels = np.split(p.recurrent_kernel, 3, axis=-1)
    r, z = sigmoid(r + correlate(h, kernels[0])), sigmoid(z + correlate(h, kernels[1]))
    if reset == "after":
        n = n + r * (correlate(h, kernels[2]) + p.recurrent_bias)
    else:
        n = n + correlate(r * h, kernels[2])
    want = z * h + (1 - z) * np.tanh(n)
    assert_close(run(cell, params, xs[:1], carry)[1][0, 0], want, "convolutional GRU")


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.slow
def test_a_window_of_one_on_one_pixel_is_the_cell(axes):
    one, kinds = (1,) * axes, "relu"
    wide = lambda leaf: leaf.reshape(*one, *leaf.shape) if leaf.ndim == 2 else leaf  # noqa: E731
    pairs = [
        (make_conv_elman(one, one, activation=kinds), jaxrnn.make_elman(activation=kinds)),
        (make_conv_lstm(one, one), jaxrnn.lstm),
        (make_conv_gru(one, one), jaxrnn.gru),
        (make_conv_gru(one, one, reset="before", update="write"), None),
    ]
    for cell, plain in pairs:
        plain = plain or jaxrnn.make_gru(reset="before", update="write")
        params, xs, carry = example(plain)
        image = lambda leaf: leaf.reshape(*leaf.shape[:-1], *one, leaf.shape[-1])  # noqa: E731
        kept = jax.tree.map(wide, params)
        if plain is jaxrnn.lstm:
            kept = structured.ConvLSTMParams(*kept)
        got = run(cell, kept, image(xs), jax.tree.map(image, carry))
        want = jax.tree.map(image, run(plain, params, xs, carry))
        assert_close(got, want, cell.name)


@pytest.mark.slow
def test_convolutional_peepholes_of_one_pixel_are_those_of_the_lstm():
    plain = jaxrnn.make_lstm(peepholes="diagonal")
    params, xs, carry = example(plain)
    image = lambda leaf: leaf[..., None, :]  # noqa: E731
    kept = structured.ConvLSTMParams(
        params.input_kernel[None],
        params.recurrent_kernel[None],
        params.bias,
        params.peephole_kernel[None],
    )
    got = run(
        make_conv_lstm((1,), (1,), peepholes=True), kept, image(xs), jax.tree.map(image, carry)
    )
    assert_close(got, jax.tree.map(image, run(plain, params, xs, carry)), "peepholes")


@pytest.mark.slow
def test_convolutional_kernels_are_drawn_as_windows():
    cell = make_conv_lstm((3, 3), (4, 4))
    params = quick(lambda key: cell.init(key, 2, 5, dtype=jnp.float64))(jax.random.key(0))
    for block in np.split(np.asarray(params.recurrent_kernel), 4, axis=-1):
        rows = block.reshape(45, 5)
        np.testing.assert_allclose(rows.T @ rows, np.eye(5), atol=1e-12)
    bound = np.sqrt(6 / (9 * 2 + 9 * 5))
    assert 0.9 * bound < float(jnp.abs(params.input_kernel).max()) <= bound
    np.testing.assert_array_equal(params.bias, np.repeat([0.0, 1.0, 0.0, 0.0], 5))


@pytest.mark.slow
def test_convolutional_cells_stack():
    cells = make_conv_lstm((3,), (4,)), make_conv_gru((3,), (4,))
    net = jaxrnn.stack(*cells)
    params = jax.eval_shape(lambda key: net.init(key, D, (H, 2)), jax.random.key(0))
    xs = jax.ShapeDtypeStruct((T, B, 4, D), jnp.float32)
    ys = jax.eval_shape(lambda params, xs: jaxrnn.scan(net, params, xs)[1], params, xs)
    assert ys.shape == (T, B, 4, 2)


# What is refused, and what is alike.

REFUSED = [
    (make_slstm, {"num_heads": 0}, ValueError, "num_heads: expected a positive int, got 0"),
    (make_slstm, {"forget_gate": "tanh"}, ValueError, "forget_gate"),
    (make_mlstm, {"num_heads": 1.5}, TypeError, "num_heads"),
    (make_mlstm, {"eps": -1.0}, ValueError, "eps"),
    (make_mlstm, {"output_gate": "yes"}, TypeError, "output_gate"),
    (make_lstm_layer_norm, {"eps": 0.0}, ValueError, "eps"),
    (make_gru_layer_norm, {"update": "both"}, ValueError, "update"),
    (make_on_lstm, {"chunk_size": 0}, ValueError, "chunk_size"),
    (make_phased_lstm, {"leak": "much"}, TypeError, "leak"),
    (make_phased_lstm, {"max_period": 0.5}, ValueError, "max_period"),
    (make_phased_lstm, {"peepholes": "full"}, ValueError, "peepholes"),
    (make_clockwork, {"periods": ()}, ValueError, "periods: expected at least one, got none"),
    (make_clockwork, {"periods": 2}, TypeError, "periods"),
    (make_clockwork, {"periods": (1, 0)}, ValueError, r"periods\[1\]"),
    (make_clockwork, {"periods": (2**13, 3**8)}, ValueError, "least common multiple"),
    (make_conv_lstm, {"window": 3, "space": (4,)}, TypeError, "window"),
    (make_conv_lstm, {"window": (3,), "space": (4, 4)}, ValueError, "space: expected 1 axes"),
    (make_conv_gru, {"window": (3,) * 4, "space": (4,) * 4}, ValueError, "one to three axes"),
    (make_conv_gru, {"window": (3,), "space": (4,), "reset": "never"}, ValueError, "reset"),
    (make_conv_elman, {"window": (3,), "space": (4,), "activation": "?"}, ValueError, "activation"),
]


@pytest.mark.parametrize(("make", "options", "error", "told"), REFUSED)
def test_arguments_are_checked(make, options, error, told):
    with pytest.raises(error, match=told):
        make(**options)


def test_sizes_are_checked():
    for cell, told in [
        (make_slstm(num_heads=3), "hidden_size: expected a multiple of num_heads=3, got 4"),
        (make_mlstm(num_heads=3), "hidden_size: expected a multiple of num_heads=3, got 4"),
        (make_on_lstm(chunk_size=3), "hidden_size: expected a multiple of chunk_size=3, got 4"),
    ]:
        with pytest.raises(ValueError, match=told):
            jax.eval_shape(lambda key, cell=cell: cell.init(key, D, 4), jax.random.key(0))
    cell = make_conv_elman((3,), (4,))
    params = cell.init(jax.random.key(0), D, H, recurrent_init=zeros)
    with pytest.raises(ValueError, match=r"x: expected images of \(4,\) \(space\), got \(5,\)"):
        jaxrnn.scan(cell, params, jnp.ones((T, B, 5, D), jnp.float32))
    with pytest.raises(ValueError, match="forget_bias: expected 0"):
        cell.init(jax.random.key(0), D, H, forget_bias=1.0)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.slow
def test_a_cell_is_its_spec_and_can_do_without_biases(name):
    cell = CELLS[name]
    assert cell.spec.make() == cell
    key = jax.random.key(0)
    bare = jax.eval_shape(lambda key: cell.init(key, D, H, use_bias=False), key)
    paths = [jax.tree_util.keystr(at) for at, _ in jax.tree_util.tree_leaves_with_path(bare)]
    assert paths
    assert not any("bias" in path for path in paths)
    square = jax.eval_shape(lambda key: cell.init(key, H, H), key)
    carry = cell.carry(jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), square), (B,))
    assert all(not np.any(leaf) and leaf.shape[0] == B for leaf in jax.tree.leaves(carry))
