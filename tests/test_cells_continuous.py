"""Cells of continuous time: values by hand, gaps, and what the equations promise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxrnn
from jaxrnn.cells import continuous as cells
from jaxrnn.networks import Directions
from tests.reference import assert_close, loop, quick, random_like
from tests.vectors import K, V, fused

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 4, 2, 3, 4
X, S, C = [1.0, -0.5, 0.25], [0.2, -0.3], [0.3, 0.1]
W = lambda *ks: fused(K(2 * k, 3, 2) for k in ks)  # noqa: E731
R = lambda *ks: fused(K(2 * k + 1, 2, 2) for k in ks)  # noqa: E731
b = lambda *ks: fused(V(k) for k in ks)  # noqa: E731
STATE = cells.OscillatorCarry(S, C)
TAKING_GAPS = {
    "cfc": cells.cfc,
    "cfc_no_gate": cells.make_cfc(mode="no_gate", backbone=(5, 3)),
    "cfc_pure": cells.make_cfc(mode="pure", backbone=(5,), activation="relu"),
    "ltc": cells.make_ltc(steps=2),
    "lem": cells.make_lem(dt=0.5),
    "cornn": cells.cornn,
    "unicornn": cells.unicornn,
}
ALL = {**TAKING_GAPS, "lmu": cells.lmu}
SQUARE = {"input_size": D, "hidden_size": D}


def array(values):
    return jnp.asarray(values, jnp.float64)


def example(cell, time=T):
    """Random parameters, features and a carry, in float64."""
    init = lambda key: cell.init(key, D, H, dtype=jnp.float64)  # noqa: E731
    params = random_like(jax.eval_shape(init, jax.random.key(0)), 1, 0.6)
    xs = random_like(jax.ShapeDtypeStruct((time, B, D), jnp.float64), 2)
    carry = jax.eval_shape(lambda params: cell.carry(params, (B,)), params)
    return params, xs, random_like(carry, 3, 0.4)


def gaps_of(shape):
    return array(np.random.default_rng(4).uniform(0.2, 1.8, shape))


# Values with distinct weights: D = 3, H = 2.

LTC_KERNELS = {
    f"{who}_{what}": array
    for who, first, rows in (("input", 0, 3), ("recurrent", 4, 2))
    for what, array in (
        ("kernel", np.abs(K(first, rows, 2))),
        ("center", K(first + 1, rows, 2)),
        ("slope", 3 + K(first + 2, rows, 2)),
        ("reversal", np.sign(K(first + 3, rows, 2))),
    )
}
CFC_ROWS = [[K(k, 5, 2)[rows] for k in range(4)] for rows in (slice(3), slice(3, None))]


def vectors():
    """``(cell, params, carry, x, carry after, output)`` of one step of each."""
    cornn = cells.CoRNNParams(W(0), R(0), fused([K(20, 2, 2)]), b(0))
    y, z = [0.232038556, -0.283792920], [0.320385557, 0.162070799]
    yield cells.make_cornn(dt=0.1, gamma=1.0, epsilon=0.5), cornn, STATE, X, (y, z), y

    unicornn = cells.UnICORNNParams(W(0), b(21), b(20), b(0))
    y, z = [0.214014617, -0.295593369], [0.269308438, 0.093234241]
    yield cells.make_unicornn(dt=0.1, alpha=0.9), unicornn, STATE, X, (y, z), y

    lem = cells.LEMParams(W(0, 1, 2, 3), R(0, 1, 2), fused([K(20, 2, 2)]), b(0, 1, 2, 3))
    y, z = [0.147075068, -0.158274939], [0.084433634, 0.023186542]
    yield cells.make_lem(dt=0.5), lem, cells.LEMCarry(S, C), X, (y, z), y

    encoders = [fused([K(20 + k, rows, 1)]) for k, rows in enumerate((3, 2, 2))]
    lmu = cells.LMUParams(W(0), R(0), fused([K(23, 2, 2)]), *encoders)
    h, m = [0.147908888, 0.397755143], [0.261752528, 0.078950424]
    yield cells.make_lmu(2, 4.0), lmu, cells.LMUCarry(S, C), X, (h, m), h

    values = {
        "default": [0.485272044, 0.227058289],
        "no_gate": [0.672032929, 0.353209825],
        "pure": [0.597257690, 0.675814918],
    }
    for mode, h in values.items():
        heads = 1 if mode == "pure" else 4
        kernels = (fused(rows[:heads]) for rows in CFC_ROWS)
        cfc = cells.CfCParams(*kernels, b(*range(heads)))
        if mode == "pure":
            cfc = cfc._replace(rate=b(20), asymptote=jnp.ones(2, jnp.float64))
        yield cells.make_cfc(mode=mode), cfc, S, (X, [0.5]), h, h

    rows = {"leak": [0.3, 0.5], "rest": [0.1, -0.1], "capacitance": [0.5, 0.45]}
    rows |= {"input_scale": [1.0, 1.0, 1.0]}
    ltc = cells.LTCParams(**{name: array(leaf) for name, leaf in (LTC_KERNELS | rows).items()})
    h = [-0.087244058, -0.227060232]
    yield cells.make_ltc(epsilon=0.0), ltc, S, (X, [0.5]), h, h


@pytest.mark.parametrize("number", range(8))
def test_values_with_distinct_weights(number):
    cell, params, carry, x, after, y = list(vectors())[number]
    is_leaf = lambda node: isinstance(node, list)  # noqa: E731
    carry, x = jax.tree.map(array, (carry, x), is_leaf=is_leaf)
    got, out = quick(cell.step)(params, carry, x)
    after = jax.tree.map(array, after, is_leaf=is_leaf)
    np.testing.assert_allclose(out, y, rtol=0, atol=1e-8)
    for have, want in zip(jax.tree.leaves(got), jax.tree.leaves(after), strict=True):
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-8)


def scalar(cell, **others):
    """D = H = 1, every weight 0.5, every bias 0.1."""
    shapes = jax.eval_shape(lambda key: cell.init(key, 1, 1, dtype=jnp.float64), jax.random.key(0))
    params = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.full(leaf.shape, 0.1 if "bias" in str(path) else 0.5), shapes
    )
    return params._replace(**others)


@pytest.mark.parametrize(
    ("cell", "y", "z"),
    [
        (cells.make_cornn(dt=0.1, gamma=1.0, epsilon=0.5), 0.233410695, 0.334106947),
        (cells.make_lem(dt=1.0), 0.528714965, 0.503374827),
    ],
)
def test_hand_worked_numbers(cell, y, z):
    carry = jax.tree.map(lambda value: array([value]), (0.2, 0.3))
    got, out = quick(cell.step)(scalar(cell), carry, array([1.0]))
    np.testing.assert_allclose([out[0], *got.y, *got.z], [y, y, z], rtol=0, atol=1e-8)


# Every cell against the plain loop.


@pytest.mark.parametrize("name", ALL)
@pytest.mark.slow
def test_scan_is_the_loop(name):
    """With gaps, lengths and resets; NaN in the padding reaches neither values nor gradients."""
    cell = ALL[name]
    params, xs, carry = example(cell)
    xs = (xs, gaps_of((T, B, 1))) if name in TAKING_GAPS else xs
    lengths, reset = np.array([T, 3]), np.zeros((T, B), bool)
    reset[2, 0] = reset[1, 1] = True
    valid = np.arange(T)[:, None] < lengths
    dirty = jax.tree.map(lambda leaf: jnp.where(valid[..., None], leaf, jnp.nan), xs)

    def loss(run, params, xs, carry):
        last, ys, carries = run(params, xs, carry)
        total = sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((last, ys, carries)))
        return total, (last, ys, carries)

    scan = partial(jaxrnn.scan, cell, lengths=lengths, reset=reset, return_carries=True, chunk=3)
    plain = lambda params, xs, carry: loop(cell, params, xs, carry, valid, reset)  # noqa: E731
    got, want = (
        quick(jax.value_and_grad(partial(loss, run), (0, 2), has_aux=True))(params, inputs, carry)
        for run, inputs in ((scan, dirty), (plain, xs))
    )
    assert_close(got, want, name)


@pytest.mark.parametrize("name", TAKING_GAPS)
@pytest.mark.slow
def test_gaps_of_one_are_no_gaps(name):
    """In both shapes; and other gaps change the result."""
    cell = TAKING_GAPS[name]
    params, xs, carry = example(cell, 3)
    run = quick(partial(jaxrnn.scan, cell))
    want = run(params, xs, carry)
    for shape in ((3, B, 1), (3, B)):
        assert_close(run(params, (xs, jnp.ones(shape, jnp.float64)), carry), want, name, 1e-14)
    both = [run(params, (xs, gaps), carry)[1] for gaps in (gaps_of((3, B, 1)), gaps_of((3, B)))]
    assert_close(*both, "the same gaps in two shapes", 1e-14)
    assert float(abs(both[0] - want[1]).max()) > 1e-3


@pytest.mark.parametrize(
    ("make", "options"),
    [(cells.make_lem, {}), (cells.make_cornn, {}), (cells.make_unicornn, {"alpha": 2.0})],
)
@pytest.mark.slow
def test_a_gap_scales_the_step_size(make, options):
    cell, half = make(dt=0.4, **options), make(dt=0.2, **options)
    params, xs, carry = example(cell, 3)
    gaps = jnp.full((3, B, 1), 0.5, jnp.float64)
    got = quick(partial(jaxrnn.scan, cell))(params, (xs, gaps), carry)
    assert_close(got, quick(partial(jaxrnn.scan, half))(params, xs, carry), "", 1e-14)


@pytest.mark.slow
def test_an_ltc_integrates_its_equation():
    """Many fused steps against many explicit ones; and no time, no change."""
    looped = cells.make_ltc(steps=1, epsilon=0.0)  # one fused step of a small gap, many times
    params, xs, v = example(looped, 1)

    def slope(v, x):
        x = x * params.input_scale + params.input_bias
        total = abs(params.leak) * (params.rest - v)
        for s, kernel, rate, center, reversal in ((x, *params[:4]), (v, *params[4:8])):
            open_ = abs(kernel) * jax.nn.sigmoid(rate * (s[:, None] - center))
            total = total + (open_ * (reversal - v)).sum(0)
        return total / abs(params.capacitance)

    count = 4000
    euler = lambda k, v: v + 0.7 / count * jax.vmap(slope)(v, xs[0])  # noqa: E731
    want = quick(lambda v: jax.lax.fori_loop(0, count, euler, v))(v)
    x, gap = xs[0], jnp.full((B, 1), 0.7 / count, jnp.float64)
    fused_step = lambda k, v: looped.advance(params, v, (x, gap))[0]  # noqa: E731
    got = quick(lambda v: jax.lax.fori_loop(0, count, fused_step, v))(v)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-3)
    still = looped.step(params, v, (x, jnp.zeros((B, 1), jnp.float64)))[0]
    np.testing.assert_allclose(still, v, rtol=0, atol=1e-15)


@pytest.mark.slow
def test_fused_steps_are_steps_of_a_part_of_the_gap():
    params, xs, v = example(cells.ltc, 1)
    x, part = xs[0], jnp.full((B, 1), 0.5 / 6, jnp.float64)
    want = v
    for _ in range(6):
        want = cells.make_ltc(steps=1).advance(params, want, (x, part))[0]
    assert_close(cells.ltc.advance(params, v, (x, 6 * part))[0], want, "", 1e-13)


@pytest.mark.slow
def test_a_unicornn_step_can_be_undone():
    cell = cells.unicornn
    params, xs, carry = example(cell, 1)
    (y, z), _ = cell.step(params, carry, xs[0])
    step = cell.spec.dt * jax.nn.sigmoid(params.step_logit)
    y = y - step * z
    force = jnp.tanh(params.recurrent_weight * y + xs[0] @ params.input_kernel + params.bias)
    z = z + step * (force + cell.spec.alpha * y)
    assert_close(cells.OscillatorCarry(y, z), carry, "", 1e-13)


@pytest.mark.parametrize("name", ["cfc", "cfc_no_gate", "ltc", "lmu"])
@pytest.mark.slow
def test_states_keep_to_their_bounds(name):
    cell = ALL[name]
    params, xs, carry = jax.tree.map(lambda leaf: 5 * leaf, example(cell))
    start = jax.tree.map(abs, carry)
    carries = quick(partial(jaxrnn.scan, cell, return_carries=True))(params, xs, carry)[2]
    for t in range(T):
        limits = cell.bounds(params, start, t + 1)
        pairs = zip(*map(jax.tree.leaves, (carries, limits)), strict=True)
        assert all(bool((abs(leaf[t]) <= limit + 1e-12).all()) for leaf, limit in pairs)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(limits)[:1])


@pytest.mark.slow
def test_the_gates_shown_are_those_that_are_gone_by():
    for name in ("cfc", "lem"):
        cell = ALL[name]
        params, xs, carry = example(cell, 1)
        traces = quick(partial(jaxrnn.analysis.gate_traces, cell))(params, xs, carry)
        gate = jax.tree.map(lambda leaf: leaf[0], traces)
        got = quick(cell.step)(params, carry, xs[0])[0]
        if name == "cfc":
            want = (1 - gate.t) * gate.f1 + gate.t * gate.f2
        else:
            y = (1 - gate.step_y) * carry.y + gate.step_y * gate.y
            want = cells.LEMCarry(y, (1 - gate.step_z) * carry.z + gate.step_z * gate.z)
        assert_close(got, want, name, 1e-14)


# The memory of an LMU.


@pytest.mark.parametrize(("order", "theta"), [(1, 0.5), (6, 10.0), (40, 784.0), (100, 100.0)])
@pytest.mark.slow
def test_the_memory_matrices_are_the_zero_order_hold(order, theta):
    a = np.array(
        [
            [(2 * i + 1) / theta * (-1 if i < j else (-1) ** (i - j + 1)) for j in range(order)]
            for i in range(order)
        ]
    )
    b = np.array([(2 * i + 1) * (-1) ** i / theta for i in range(order)])
    held, written = cells.legendre_delay(order, theta)
    want = scipy.linalg.expm(a)
    np.testing.assert_allclose(held, want, rtol=0, atol=1e-10)
    exact = np.linalg.solve(a, (want - np.eye(order)) @ b)
    np.testing.assert_allclose(written, exact, rtol=0, atol=1e-8)


def test_the_memory_matrices_of_two_polynomials():
    a, b = cells.legendre_delay(2, 4.0)
    want = [0.717509065, -0.148493336, 0.445480009, 0.420522392]
    np.testing.assert_allclose(a.reshape(-1), want, rtol=0, atol=1e-8)
    np.testing.assert_allclose(b, [0.282490935, -0.445480009], rtol=0, atol=1e-8)


@pytest.mark.slow
def test_the_memory_holds_the_window():
    """A slow sine of theta steps ago is read out by Legendre polynomials at the window's end."""
    order, theta, time = 6, 20.0, 100
    cell = cells.make_lmu(order, theta)
    params = jax.tree.map(jnp.zeros_like, scalar(cell))
    params = params._replace(input_encoder=jnp.ones((1, 1), jnp.float64))
    signal = np.sin(np.arange(time) * 2 * np.pi / 50)
    run = quick(partial(jaxrnn.scan, cell, return_carries=True))
    carries = run(params, array(signal[:, None]))[2]
    oldest = np.asarray(carries.m).sum(-1)  # P_n(1) = 1
    np.testing.assert_allclose(oldest[60:], signal[40:80], rtol=0, atol=0.1)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.slow
def test_half_types_keep_wide_states(name):
    cell = ALL[name]

    def run(key):
        params = cell.init(key, D, H, dtype=jnp.bfloat16)
        carry = cell.carry(params)
        return carry, *cell.step(params, carry, jnp.ones(D, jnp.bfloat16))

    carry, new, y = jax.eval_shape(run, jax.random.key(0))
    assert y.dtype == jnp.bfloat16
    kinds = [leaf.dtype for leaf in jax.tree.leaves(new)]
    assert kinds == [leaf.dtype for leaf in jax.tree.leaves(carry)]
    assert (kinds[-1] == jnp.float32) == (not name.startswith("cfc"))


# Initialisation.


@pytest.mark.slow
def test_initial_parameters():
    key, d, h = jax.random.key(0), 30, 200
    within = lambda leaf, low, high: (  # noqa: E731
        low <= float(leaf.min()) < low + 0.1 * (high - low)
        and high - 0.1 * (high - low) < float(leaf.max()) <= high
    )
    made = cells.lem, cells.cornn, cells.unicornn, cells.lmu, cells.cfc, cells.ltc
    made = *made, cells.make_cfc(mode="pure")
    drawn = quick(lambda key: [cell.init(key, d, h) for cell in made])(key)
    lem, cornn, unicornn, lmu, cfc, ltc, pure = drawn
    assert all(within(leaf, -(h**-0.5), h**-0.5) for leaf in lem)
    bound = (d + 2 * h) ** -0.5
    assert all(within(leaf, -bound, bound) for leaf in cornn)
    bound = (6 / (65 * d)) ** 0.5
    assert within(unicornn.input_kernel, -bound, bound)
    assert within(unicornn.recurrent_weight, 0, 1)
    assert within(unicornn.step_logit, -0.1, 0.1)
    assert not unicornn.bias.any()
    assert within(lmu.recurrent_encoder, -((3 / h) ** 0.5), (3 / h) ** 0.5)
    assert not lmu.memory_encoder.any()
    assert lmu.bias is None
    np.testing.assert_allclose(float(lmu.recurrent_kernel.std()), h**-0.5, rtol=0.02)
    bound = (6 / (d + 2 * h)) ** 0.5
    assert within(cfc.input_kernel, -bound, bound)
    assert within(cfc.recurrent_kernel, -bound, bound)
    assert bool((pure.rate == 0).all())
    assert bool((pure.asymptote == 1).all())
    ranges = [(0.001, 1), (3, 8), (0.3, 0.8)]
    for leaves in (ltc[:3], ltc[4:7]):
        assert all(within(leaf, *r) for leaf, r in zip(leaves, ranges, strict=True))
    assert {-1.0, 1.0} == set(np.unique(ltc.input_reversal))
    assert within(ltc.leak, 0.001, 1)
    assert within(ltc.rest, -0.2, 0.2)
    assert within(ltc.capacitance, 0.4, 0.6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.slow
def test_without_biases(name):
    cell = ALL[name]
    bare = jax.eval_shape(partial(cell.init, use_bias=False, **SQUARE), jax.random.key(0))
    assert "bias" not in str(jax.tree_util.tree_leaves_with_path(bare))
    step = lambda bare: cell.step(bare, cell.carry(bare), jnp.ones(D, jnp.float32))[1]  # noqa: E731
    assert jax.eval_shape(step, bare).shape == (D,)


# Refusals.


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: cells.make_cfc(mode="other"), ValueError, "mode"),
        (lambda: cells.make_cfc(backbone=16), TypeError, "backbone"),
        (lambda: cells.make_cfc(backbone=(0,)), ValueError, r"backbone\[0\]"),
        (lambda: cells.make_cfc(activation="other"), ValueError, "activation"),
        (lambda: cells.make_ltc(steps=0), ValueError, "steps"),
        (lambda: cells.make_ltc(epsilon=-1.0), ValueError, "epsilon"),
        (lambda: cells.make_lem(dt=0.0), ValueError, "dt"),
        (lambda: cells.make_lem(dt="1"), TypeError, "dt"),
        (lambda: cells.make_cornn(gamma=-1.0), ValueError, "gamma"),
        (lambda: cells.make_cornn(epsilon=float("nan")), ValueError, "epsilon"),
        (lambda: cells.make_unicornn(alpha=None), TypeError, "alpha"),
        (lambda: cells.make_unicornn(dt=float("inf")), ValueError, "dt"),
        (lambda: cells.make_lmu(order=2.5), TypeError, "order"),
        (lambda: cells.make_lmu(theta=0.0), ValueError, "theta"),
    ],
)
def test_what_makes_no_sense_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_gaps_that_do_not_fit_are_refused():
    params, xs, carry = example(cells.lem)
    for gaps in (jnp.ones((T, B, 2)), jnp.ones((T, B, 1, 1))):
        with pytest.raises(ValueError, match="one gap beside each row"):
            jaxrnn.scan(cells.lem, params, (xs, gaps), carry)
    with pytest.raises(ValueError, match=r"a pair \(features, gaps\), got 3 parts"):
        jaxrnn.scan(cells.lem, params, (xs, xs, xs), carry)


@pytest.mark.slow
def test_gaps_in_both_directions():
    layer = jaxrnn.bidirectional(cells.cfc)
    mine, xs, _ = example(cells.cfc)
    params = Directions(jax.tree.map(lambda leaf: -leaf, mine), mine)
    gaps = gaps_of((T, B))
    ys = quick(partial(jaxrnn.scan, layer))(params, (xs, gaps))[1]
    flipped = (xs[::-1], gaps[::-1])
    back = quick(partial(jaxrnn.scan, cells.cfc))(params.backward, flipped)[1]
    assert_close(ys[..., H:], back[::-1], "", 1e-14)
