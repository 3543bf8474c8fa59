"""Cells linear in their state and diagonal ones: values by hand, coefficients, identities."""

from functools import cache, partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrnn
from jaxrnn.base import Matrix
from jaxrnn.cells import CELLS, diagonal, linear
from jaxrnn.cells.diagonal import make_para_gru, make_para_lstm
from jaxrnn.cells.linear import (
    InputParams,
    make_delta_net,
    make_gated_delta_net,
    make_gla,
    make_hgrn,
    make_hgrn2,
    make_kda,
    make_lru,
    make_min_gru,
    make_min_lstm,
    make_qrnn,
    make_rg_lru,
    make_s5,
    make_sru,
)
from jaxrnn.cells.linear.s5 import hippo
from tests.reference import assert_close, loop, quick, random_like, some
from tests.vectors import C, K, S, V, X, fused

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, H = 4, 2, 4
SOLVED = {
    "min_gru": linear.min_gru,
    "min_gru positive": make_min_gru(candidate="positive"),
    "min_lstm": linear.min_lstm,
    "min_lstm positive": make_min_lstm(candidate="positive", use_bias=False),
    "lru": make_lru(state_size=3),
    "lru without skip": make_lru(skip=False),
    "rg_lru": linear.rg_lru,
    "rg_lru of two heads": make_rg_lru(num_heads=2, use_bias=False),
    "sru without v": make_sru(peephole=False, rescale=True, highway_bias=-1.0),
    "qrnn f": make_qrnn(pooling="f"),
    "qrnn": linear.qrnn,
    "qrnn ifo": make_qrnn(pooling="ifo"),
    "s5": linear.s5,
    "s5 bilinear": make_s5(discretization="bilinear", state_size=6, blocks=2, clip=True),
    "s5 full": make_s5(conjugate=False, skip=False),
    "hgrn": make_hgrn(lower_bound=0.3),
    "gla": make_gla(num_heads=2, temperature=16.0),
    "hgrn2": make_hgrn2(num_heads=2, lower_bound=0.2),
    "delta_net": make_delta_net(num_heads=2, activation=jax.nn.silu),
    "gated_delta_net": make_gated_delta_net(num_heads=2, use_bias=True),
    "kda": make_kda(num_heads=2),
}
"""Cells with coefficients."""
OTHERS = {
    "sru": linear.sru,
    "qrnn of three inputs": make_qrnn(window=3),
    "rwkv": linear.rwkv,
    "para_gru": diagonal.para_gru,
    "para_lstm": diagonal.para_lstm,
}
ALL = SOLVED | OTHERS
OWN = [name for name in SOLVED if name in CELLS or name == "sru without v"]
"""One of each kind; the others are options of theirs, run among the slow tests."""
SQUARE = ("lru", "rg_lru", "rg_lru of two heads", "s5", "s5 bilinear")


def f8(*values):
    return jnp.asarray(values, jnp.float64)


RESET = np.zeros((T, B), bool)
RESET[0, 0] = RESET[2, 1] = True
LENGTHS = np.array([T, T - 1])
VALID = np.arange(T)[:, None] < LENGTHS


@cache
def example(name):
    """Random parameters, inputs and a carry that no two parts of are tied in, in float64."""
    cell, size = ALL[name], H if name in SQUARE else 3

    @quick
    def draw(key):
        params = cell.init(key, size, H, dtype=jnp.float64)
        params = jax.tree.map(jnp.add, params, random_like(params, 1, 0.3))
        before, xs = random_like([jax.ShapeDtypeStruct((T, B, size), jnp.float64)] * 2, 2)
        carry = jaxrnn.scan(cell, params, before)[0]
        return params, xs, jax.tree.map(jnp.add, carry, random_like(carry, 3, 0.1))

    return cell, *draw(jax.random.key(0))


# Values with distinct weights.


def inputs(*kernels, x=X, sizes=None):
    columns = sizes or [2] * len(kernels)
    return fused([K(n, len(x), size) for n, size in zip(kernels, columns, strict=True)])


def bias(*numbers):
    return fused([V(n) for n in numbers])


def values():
    """``name: (cell, params, x, carry, y, parts of the state after it)``."""
    two, three, four = inputs(0, 2), inputs(0, 2, 4), inputs(0, 2, 4, 6)
    at, m0 = np.array([0.2 + 0.1j, -0.3 + 0.05j]), K(22, 2, 2)[None]
    b, c, d = inputs(0, 1), fused([K(2, 2, 3), K(3, 2, 3)]), fused([V(4, 3)])
    gamma = np.log(np.sqrt(1 - np.exp(-2 * np.exp([-1, -2]))))
    lru = linear.LRUParams(f8(-1, -2), f8(0.5, -0.5), fused([gamma]), b, c, d)
    s5 = linear.S5Params(f8(-0.5, -0.5), f8(1, 3), jnp.log(f8(0.1, 0.05)), b, c, d)
    qrnn = InputParams(four[:, :6], bias(0, 1, 2))
    rg_lru = linear.RGLRUParams(inputs(0, 2, x=X[:2])[None], bias(0, 1), fused([V(20)]))
    delta = InputParams(inputs(0, 2, 4, 20, sizes=(2, 2, 2, 1)))
    gated = inputs(0, 2, 4, 20, 21, sizes=(2, 2, 2, 1, 1))
    kda = InputParams(inputs(0, 2, 4, 6, 20, sizes=(2, 2, 2, 2, 1)))
    sru = linear.SRUParams(three, bias(1, 2), bias(20, 21), inputs(6))
    rwkv = linear.RWKVParams(three, jnp.ones((3, 3), jnp.float64), fused([V(20)]), fused([V(21)]))
    past = linear.RWKVCarry(np.zeros(3), np.array([0.3, 0.1]), [1, 0.8], [0.1, -0.2])
    para = diagonal.ParaGRUParams(three, bias(20, 21, 22), bias(0, 1, 2))
    para_lstm = diagonal.ParaLSTMParams(three, bias(20, 21, 22), bias(0, 1, 2), bias(23, 24))
    own = None  # the output is the state
    return {
        "min_gru": (
            linear.min_gru, InputParams(two, bias(0, 1)), X, S, own, "0.195180245 -0.341808608"
        ),
        "min_gru positive": (
            make_min_gru(candidate="positive"), InputParams(two, bias(0, 1)), X, C, own,
            "0.540125092 0.283130008",
        ),
        "min_lstm": (
            linear.min_lstm, InputParams(three, bias(0, 1, 2)), X, S, own,
            "-0.088263793 -0.271600339",
        ),
        "min_lstm positive": (
            make_min_lstm(candidate="positive"), InputParams(three, bias(0, 1, 2)), X, C, own,
            "0.346656582 0.239658827",
        ),
        "lru": (
            make_lru(state_size=2), lru, X, at, "-0.018491472 0.108142686 0.008803206",
            "0.105873192 -0.108048918 0.360590081 -0.120619272",
        ),
        "rg_lru": (linear.rg_lru, rg_lru, X[:2], S, own, "0.598529173 -0.336865778"),
        "sru": (
            linear.sru, sru, X, C, "0.224500059 0.264938986", "0.280932030 0.201812723"
        ),
        "qrnn f": (
            make_qrnn(pooling="f"), InputParams(two, bias(0, 1)), X, C, own,
            "0.357799284 0.255100672",
        ),
        "qrnn fo": (
            linear.qrnn, qrnn, X, C, "0.142691740 0.112926408", "0.357799284 0.255100672"
        ),
        "qrnn ifo": (
            make_qrnn(pooling="ifo"), InputParams(four, bias(0, 1, 2, 3)), X, C,
            "0.150447420 0.105575461", "",
        ),
        "s5 zoh": (
            make_s5(state_size=2), s5, X, at, "0.163002784 0.179461358 -0.134535727",
            "0.203324023 -0.283191825 0.145642543 0.004770883",
        ),
        "s5 bilinear": (
            make_s5(state_size=2, discretization="bilinear"), s5, X, at,
            "0.163086016 0.179483085 -0.134607336",
            "0.203360516 -0.283254955 0.145613792 0.004837281",
        ),
        "hgrn": (
            make_hgrn(lower_bound=0.3), InputParams(two, fused([np.zeros(2), V(1)])), X, S, own,
            "0.182618934 -0.112016315",
        ),
        "gla": (
            linear.gla, InputParams(four), X, m0, "-0.083979540 -0.042850825",
            "-0.258921027 -0.205020718 -0.192217921 -0.028960349",
        ),
        "hgrn2": (
            linear.hgrn2, InputParams(inputs(0, 4, 6)), X, m0, "-0.150476422 -0.049418508",
            "-0.379666226 -0.216946331 -0.424318274 -0.051884151",
        ),
        "delta_net": (
            linear.delta_net, delta, X, m0, "-0.320431114 -0.215559383",
            "-0.533293835 -0.368585763 -0.118844146 -0.070628867",
        ),
        "gated_delta_net": (
            linear.gated_delta_net, linear.GatedDeltaNetParams(gated, None, f8(0), f8(0)), X, m0,
            "-0.123436977 -0.102540405",
            "-0.288817581 -0.183722550 0.033269958 -0.025645026",
        ),
        "kda": (
            linear.kda, kda, X, m0, "-0.149855606 -0.115557032",
            "-0.317939785 -0.204267554 0.009396223 -0.031533234",
        ),
        "rwkv": (
            linear.rwkv, rwkv, X, past, "0.003405574 0.027723319",
            "1 -0.5 0.25 -0.224227747 0.012209263 1.343314514 1.356223467 0.084068780 -0.287187593",
        ),
        "para_gru": (
            diagonal.para_gru, para, X, S, own, "-0.174122561 -0.247934663"
        ),
        "para_lstm": (
            diagonal.para_lstm, para_lstm, X, jaxrnn.LSTMCarry(S, C), "0.009408256 -0.007273892",
            "0.009408256 -0.007273892 0.017333998 -0.017231112",
        ),
    }  # fmt: skip


NAMES = (
    "min_gru", "min_gru positive", "min_lstm", "min_lstm positive", "lru", "rg_lru", "sru",
    "qrnn f", "qrnn fo", "qrnn ifo", "s5 zoh", "s5 bilinear", "hgrn", "gla", "hgrn2", "delta_net",
    "gated_delta_net", "kda", "rwkv", "para_gru", "para_lstm",
)  # fmt: skip


def flat(tree):
    leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(tree)]
    pieces = [[leaf.real, leaf.imag] if np.iscomplexobj(leaf) else [leaf] for leaf in leaves]
    return np.concatenate([part for piece in pieces for part in piece])


@pytest.mark.parametrize("name", NAMES)
def test_hand_worked_numbers(name):
    table = values()
    assert set(table) == set(NAMES)
    cell, params, x, carry, y, state = table[name]
    listed = jax.tree.structure(cell.carry(params))
    carry = listed.unflatten(jnp.asarray(leaf) for leaf in listed.flatten_up_to(carry))
    carry = jax.tree.map(lambda leaf: leaf + jnp.zeros((), jnp.result_type(leaf)), carry)
    carry = jax.tree.map(lambda c, own: c.astype(own.dtype), carry, cell.carry(params))
    after, out = quick(cell.step)(params, carry, jnp.asarray(x))
    if state:
        want = np.array([float(word) for word in state.split()])
        np.testing.assert_allclose(flat(after), want, rtol=0, atol=1e-9)
    y = state if y is None else y
    want = np.array([float(word) for word in y.split()])
    np.testing.assert_allclose(out, want, rtol=0, atol=1e-9)


def test_hand_worked_scalars():
    """D = H = 1, all kernels 0.5, all biases 0.1, peepholes 0.25; x = 1."""

    def scalar(cell, held):
        shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), 1, 1, dtype=jnp.float64))

        def fill(path, leaf):
            name = path[-1].name
            value = 0.1 if "bias" in name else 0.25 if "peephole" in name else 0.5
            return jnp.full(leaf.shape, value, jnp.float64)

        params = jax.tree_util.tree_map_with_path(fill, shapes)
        return cell.step(params, f8(held), f8(1.0))

    np.testing.assert_allclose(scalar(linear.min_gru, 0.2)[1], [0.458262522], rtol=0, atol=1e-9)
    positive = make_min_gru(candidate="positive")
    np.testing.assert_allclose(scalar(positive, 0.2)[1], [0.781090676], rtol=0, atol=1e-9)
    c, h = scalar(linear.sru, 0.3)
    np.testing.assert_allclose([c[0], h[0]], [0.367475633, 0.580875542], rtol=0, atol=1e-9)
    params = linear.RGLRUParams(jnp.zeros((1, 1, 2), jnp.float64), f8(0.6, 0.6), f8(-2))
    h, _ = linear.rg_lru.step(params, f8(0.2), f8(1.0))
    np.testing.assert_allclose(h, [0.655666804], rtol=0, atol=1e-9)


# Coefficients.


def matmul(a, b):
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def after(second, first):
    """Of two maps s -> a s + b, the one that does both."""

    def one(p, q):
        (a1, b1), (a2, b2) = p, q
        if isinstance(a1, Matrix):
            entries = matmul(a2.entries, a1.entries)
            return Matrix(entries), matmul(a2.entries, b1) + b2
        return a2 * a1, a2 * b1 + b2

    return one(first, second)


def where(flags, on_true, on_false):
    return jnp.where(flags.reshape(*flags.shape, *(1,) * (on_false.ndim - 2)), on_true, on_false)


def parallel(cell, params, xs, carry):
    """``(carry, ys, carries)`` by an associative scan over the coefficients."""
    z = cell.project(params, xs)
    a, b = cell.coefficients(params, z)
    if isinstance(a, Matrix):
        a = where(RESET, jnp.zeros_like(a.entries), a.entries)
        a = Matrix(where(VALID, a, jnp.broadcast_to(jnp.eye(a.shape[-1], dtype=a.dtype), a.shape)))
    else:
        a = where(VALID, where(RESET, jnp.zeros_like(a), a), jnp.ones_like(a))
    a, b = lax.associative_scan(lambda p, q: after(q, p), (a, where(VALID, b, jnp.zeros_like(b))))
    carries = (matmul(a.entries, carry[None]) if isinstance(a, Matrix) else a * carry[None]) + b
    ys = cell.output(params, carries, z)
    return carries[-1], where(VALID, ys, jnp.zeros_like(ys)), carries


def running(cell):
    options = {"lengths": LENGTHS, "reset": RESET, "return_carries": True}
    return lambda *at: jaxrnn.scan(cell, *at, **options)


@cache
def scanned(name):
    """``(carry, ys, carries)`` of a scan from a carry, with lengths and resets."""
    cell, *at = example(name)
    return quick(running(cell))(*at)


def gradients(run, at):
    def f(*at):
        outputs, pull = jax.vjp(run, *at)
        return pull(random_like(outputs, 5))

    return quick(f)(*at)


@pytest.mark.parametrize("name", some(ALL, (*OWN, *OTHERS)))
@pytest.mark.slow
def test_scan_is_the_loop(name):
    cell, params, xs, carry = example(name)
    step = quick(lambda *at: cell.step(*at))
    one = SimpleNamespace(carry=cell.carry, step=lambda *at, key, time: step(*at))
    want = loop(one, params, xs, carry, jnp.asarray(VALID), jnp.asarray(RESET))
    assert_close(scanned(name), want, name)


@pytest.mark.parametrize("name", some(SOLVED, OWN))
@pytest.mark.slow
def test_coefficients_are_the_cell(name):
    """Step by step; by an associative scan; and the gates shown are what they are made of."""
    cell, *at = example(name)

    @quick
    def f(params, xs, carry):
        z = cell.project(params, xs[0])
        assert cell.recurrent(params, carry) is None
        a, b = cell.coefficients(params, z)
        kept = matmul(a.entries, carry) if isinstance(a, Matrix) else a * carry
        keep = None if cell.gates is None else cell.gates(params, carry, z).keep
        step = cell.update(params, carry, z), kept + b
        return parallel(cell, params, xs, carry), step, a, keep

    solved, step, a, keep = f(*at)
    assert_close(solved, scanned(name), name)
    assert_close(*step, name, 1e-13)
    if not isinstance(a, Matrix) and keep is not None:
        assert_close(keep, a.reshape(keep.shape), name, 0.0)


@pytest.mark.parametrize("name", some(ALL, ("lru", "delta_net", "rwkv")))
@pytest.mark.slow
def test_gradients(name):
    """Those of a scan: every leaf matters, and they are those of the coefficients."""
    cell, *at = example(name)
    got = gradients(running(cell), at)
    for path, leaf in jax.tree_util.tree_leaves_with_path(got[0]):
        assert np.any(leaf != 0), f"{name}{jax.tree_util.keystr(path)} does not matter"
    if cell.coefficients is not None:
        assert_close(gradients(partial(parallel, cell), at), got, name, 1e-11)


@pytest.mark.parametrize("name", OTHERS)
def test_cells_that_see_their_state_have_no_coefficients(name):
    assert ALL[name].coefficients is None


@pytest.mark.slow
def test_the_states_follow_from_the_gates_of_the_others():
    for name in ("sru", "para_gru", "para_lstm"):
        cell, params, xs, carry = example(name)
        z = jaxrnn.base.add(cell.project(params, xs[0]), cell.recurrent(params, carry))
        shown = cell.gates(params, carry, z)
        if name == "sru":
            want = shown.keep * carry + shown.write * z.content
            y = shown.read * want + (1 - shown.read) * z.skip
            assert_close(cell.output(params, want, z), y, name)
        elif name == "para_gru":
            want = (1 - shown.z) * carry + shown.z * shown.n
        else:
            c = shown.f * carry.c + shown.i * shown.g
            want = jaxrnn.LSTMCarry(shown.o * jnp.tanh(c), c)
        assert_close(cell.update(params, carry, z), want, name)


@pytest.mark.parametrize("name", some(ALL, (*OWN, *OTHERS)))
@pytest.mark.slow
def test_half_precision_keeps_its_dtypes(name):
    """bfloat16 in and out, sums in float32; under strict promotion, of types and of ranks."""
    cell, size = ALL[name], H if name in SQUARE else 3

    def run(key):
        params = cell.init(key, size, H, dtype=jnp.bfloat16)
        before = cell.carry(params, (B,))
        return params, before, jaxrnn.scan(cell, params, jnp.ones((T, B, size), jnp.bfloat16))

    with jax.numpy_rank_promotion("raise"):
        params, before, (carry, ys) = jax.eval_shape(run, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    assert (ys.dtype, ys.shape) == (jnp.bfloat16, (T, B, H))
    assert carry == before
    sums = {str(leaf.dtype) for leaf in jax.tree.leaves(carry)} - {"bfloat16"}
    assert len(sums) == (name != "para_gru")


@pytest.mark.parametrize("name", [n for n in ALL if ALL[n].bounds is not None])
@pytest.mark.slow
def test_bounds_hold(name):
    cell, params, xs, carry = example(name)

    @quick
    def run(params, xs, carry):
        return jaxrnn.scan(cell, params, xs, carry, return_carries=True)[2]

    params = jax.tree.map(lambda leaf: 5 * leaf, params)
    carries = run(params, 9 * xs, carry)
    for t in range(T):
        most = cell.bounds(params, jax.tree.map(abs, carry), t + 1)
        held = jax.tree.map(lambda c, m: bool((abs(c[t]) <= m).all()), carries, most)  # noqa: B023
        assert all(jax.tree.leaves(held)), t


# Identities.


def run(cell, *at, **options):
    return quick(lambda *at: jaxrnn.scan(cell, *at, **options))(*at)


@pytest.mark.slow
def test_min_gru_is_a_gru_that_does_not_look_at_its_state():
    cell, params, xs, carry = example("min_gru")
    gru = jaxrnn.make_gru(update="write", candidate_activation="identity")
    full = jax.eval_shape(lambda: gru.init(jax.random.key(0), 3, H, dtype=jnp.float64))
    full = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), full)
    with_r = lambda leaf: jnp.concatenate([jnp.zeros_like(leaf[..., :H]), leaf], -1)  # noqa: E731
    full = full._replace(input_kernel=with_r(params.input_kernel), bias=with_r(params.bias))
    assert_close(run(cell, params, xs, carry), run(gru, full, xs, carry), "", 1e-13)


@pytest.mark.slow
def test_min_lstm_with_equal_gates_halves_and_shut_gates_are_numbers():
    cell, params, xs, carry = example("min_lstm")
    f, _, h = jnp.split(params.bias, 3)
    kernel = params.input_kernel.at[:, : 2 * H].set(0.0)
    shut = params._replace(input_kernel=kernel, bias=jnp.concatenate([0 * f - 900, 0 * f - 900, h]))
    new, _ = cell.step(shut, carry, xs[0])
    content = xs[0] @ params.input_kernel[:, 2 * H :] + h
    assert_close(new, (carry + content) / 2, "", 1e-13)


@pytest.mark.slow
def test_min_lstm_continues_from_its_own_state():
    cell, params, xs, carry = example("min_lstm positive")
    whole, ys = run(cell, params, xs, carry)
    half, first = run(cell, params, xs[:2], carry)
    last, second = run(cell, params, xs[2:], half)
    assert_close((last, jnp.concatenate([first, second])), (whole, ys), "", 1e-13)


@pytest.mark.slow
def test_lru_is_its_sum():
    r"""s_t = Σ λ^(t-j) γ B x_j + λ^(t+1) s_0."""
    cell, params, xs, s = example("lru without skip")
    decay = np.exp(-np.exp(params.nu_log) + 1j * np.exp(params.theta_log))
    p, q = np.split(np.asarray(params.input_kernel), 2, axis=-1)
    drive = np.exp(params.gamma_log) * (np.asarray(xs) @ (p + 1j * q))
    last = sum(decay ** (T - 1 - j) * drive[j] for j in range(T)) + decay**T * np.asarray(s)
    assert_close(run(cell, params, xs, s)[0], jnp.asarray(last), "", 1e-12)


@pytest.mark.slow
def test_rg_lru_of_one_matrix_is_that_of_its_blocks():
    cell, params, xs, carry = example("rg_lru of two heads")
    blocks = [np.split(np.asarray(block), 2, axis=-1) for block in params.input_kernel]
    zero = np.zeros((2, 2))
    full = [np.block([[a, zero], [zero, b]]) for a, b in zip(*blocks, strict=True)]
    whole = params._replace(input_kernel=jnp.asarray(np.concatenate(full, -1))[None])
    got = run(linear.rg_lru, whole, xs, carry)
    assert_close(got, run(cell, params, xs, carry), "", 1e-13)


@pytest.mark.slow
def test_rg_lru_slope_is_bounded():
    """Where the gate keeps all, √(1 - a²) is 0 and its slope would be infinite."""
    cell, params, xs, carry = example("rg_lru")
    shut = params._replace(decay=jnp.full(H, -700.0, jnp.float64))
    slopes = jax.grad(lambda p: jnp.sum(jaxrnn.scan(cell, p, xs, carry)[1]))(shut)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in slopes)


@pytest.mark.slow
def test_sru_without_its_peephole_is_the_linear_one():
    cell, params, xs, carry = example("sru")
    plain = params._replace(peephole_kernel=None)
    zero = params._replace(peephole_kernel=jnp.zeros_like(params.peephole_kernel))
    got = run(make_sru(peephole=False), plain, xs, carry)
    assert_close(got, run(cell, zero, xs, carry), "", 1e-13)


@pytest.mark.slow
def test_sru_goes_past_its_state():
    """With r shut and D = H the output is α x."""
    for rescale, alpha in ((False, 1.0), (True, np.sqrt(1 + 2 * np.exp(-1.0)))):
        cell = make_sru(rescale=rescale, highway_bias=-1.0)
        params = cell.init(jax.random.key(0), 3, 3, dtype=jnp.float64)
        assert params.skip_kernel is None
        shut = params._replace(bias=params.bias.at[3:].set(-900.0))
        x = f8(1, 2, 3)
        np.testing.assert_allclose(cell.step(shut, cell.carry(params), x)[1], alpha * x, rtol=1e-12)


@pytest.mark.slow
def test_qrnn_of_a_window_is_one_of_shifted_inputs():
    cell, params, xs, _ = example("qrnn of three inputs")
    padded = jnp.concatenate([jnp.zeros((2, *xs.shape[1:]), xs.dtype), xs])
    beside = jnp.concatenate([padded[k : k + T] for k in range(3)], axis=-1)
    carry, ys = run(cell, params, xs)
    assert_close((carry.c, ys), run(linear.qrnn, params, beside), "", 1e-13)
    assert_close(carry.inputs, jnp.concatenate([xs[-2], xs[-1]], -1), "", 0.0)


@pytest.mark.slow
def test_ifo_pooling_with_i_shut_by_f_is_fo():
    cell, params, xs, carry = example("qrnn")
    f = [leaf[..., H : 2 * H] for leaf in params]
    four = [jnp.concatenate([leaf, -f], -1) for leaf, f in zip(params, f, strict=True)]
    got = run(make_qrnn(pooling="ifo"), InputParams(*four), xs, carry)
    assert_close(got, run(cell, params, xs, carry), "", 1e-13)


@pytest.mark.slow
def test_s5_conjugates_are_the_other_half():
    """2 Re over half of the pairs is Re over all."""
    half, params, xs, _ = example("s5")
    twice = lambda leaf: jnp.concatenate([leaf, leaf])  # noqa: E731
    p, q = jnp.split(params.input_kernel, 2, -1)
    c, d = jnp.split(params.output_kernel, 2, -1)
    whole = params._replace(
        eigenvalue_real=twice(params.eigenvalue_real),
        eigenvalue_imag=jnp.concatenate([params.eigenvalue_imag, -params.eigenvalue_imag]),
        step_log=twice(params.step_log),
        input_kernel=jnp.concatenate([p, p, q, -q], -1),
        output_kernel=jnp.concatenate([jnp.concatenate([c, d], -1), jnp.concatenate([c, -d], -1)]),
    )
    full = make_s5(conjugate=False, state_size=2 * H)
    assert_close(run(full, whole, xs)[1], run(half, params, xs)[1], "", 1e-12)


@pytest.mark.slow
def test_hippo_is_the_normal_part():
    n = np.arange(6)
    a = -np.tril(np.sqrt(np.outer(2 * n + 1, 2 * n + 1)), -1) - np.diag(n + 1)
    p = np.sqrt(n + 0.5)
    normal = a + np.outer(p, p)
    vectors, eigenvalues = hippo(6, conjugate=False)
    np.testing.assert_allclose(normal @ vectors, vectors * eigenvalues, atol=1e-12)
    np.testing.assert_allclose(vectors.conj().T @ vectors, np.eye(6), atol=1e-12)
    kept = hippo(3)[1]
    assert (kept.imag < 0).all()
    np.testing.assert_allclose(kept, eigenvalues[:3], atol=1e-12)


@pytest.mark.slow
def test_hgrn_is_a_gru_of_the_input():
    """Without a lower bound: minGRU with SiLU for a candidate, its gate negated."""
    _, params, xs, carry = example("hgrn")
    (i, f), (b_i, b_f) = (jnp.split(leaf, 2, -1) for leaf in params)
    content = jax.nn.silu(xs @ i + b_i)
    keep, want = jax.nn.sigmoid(xs @ f + b_f), []
    for t in range(T):
        carry = keep[t] * carry + (1 - keep[t]) * content[t]
        want.append(carry)
    got = run(linear.hgrn, params, xs, example("hgrn")[3])[1]
    assert_close(got, jnp.stack(want), "", 1e-13)


def heads(leaf, count):
    return np.split(np.asarray(leaf), count, axis=-1)


@pytest.mark.slow
def test_gla_is_attention():
    """With α = 1, o_t is the sum of v_j times q_t · k_j, for each head by itself."""
    _, params, xs, _ = example("gla")
    cell = make_gla(num_heads=2, use_bias=True)
    kernel = params.input_kernel.at[:, 3 * H :].set(0.0)
    bias = jnp.concatenate([jnp.zeros(3 * H, jnp.float64), jnp.full(H, 900.0, jnp.float64)])
    got = run(cell, InputParams(kernel, bias), xs)[1]
    q, k, v, _ = heads(np.asarray(xs) @ np.asarray(kernel), 4)
    q, k, v = (leaf.reshape(T, B, 2, -1) for leaf in (q, k, v))
    scores = np.einsum("tbnk,jbnk->tjbn", q, k) / np.sqrt(2) * np.tri(T)[..., None, None]
    want = np.einsum("tjbn,jbnv->tbnv", scores, v).reshape(T, B, H)
    assert_close(got, jnp.asarray(want), "", 1e-12)


@pytest.mark.slow
def test_hgrn2_is_gated_attention_whose_keys_are_what_it_forgets():
    params = InputParams(jax.random.normal(jax.random.key(1), (3, 3 * H), jnp.float64))
    xs = jax.random.normal(jax.random.key(2), (T, B, 3), jnp.float64)
    _, carries = run(linear.hgrn2, params, xs, return_carries=True)[1:]
    _, v, f = jnp.split(xs @ params.input_kernel, 3, -1)
    s, f = jnp.zeros((B, H, H), jnp.float64), jax.nn.sigmoid(f)
    for t in range(T):
        s = f[t][..., None] * s + (1 - f[t])[..., None] * v[t][:, None]
        assert_close(carries[t, :, 0], s, "", 1e-12)


@pytest.mark.slow
def test_delta_rule_replaces_what_is_held():
    """With β = 1, what is read at the key that was written is the value."""
    cell, params, xs, carry = example("delta_net")
    bias = jnp.zeros(params.input_kernel.shape[1], jnp.float64).at[-2:].set(900.0)
    new, _ = cell.step(InputParams(params.input_kernel, bias), carry, xs[0])
    _, k, v = heads((xs[0] @ params.input_kernel)[:, : 3 * H], 3)
    k = np.asarray(jax.nn.silu(jnp.asarray(k))).reshape(B, 2, -1)
    k = k / np.linalg.norm(k, axis=-1, keepdims=True)
    held = np.einsum("bnk,bnkv->bnv", k, new)
    np.testing.assert_allclose(held, v.reshape(held.shape), rtol=0, atol=1e-12)


@pytest.mark.slow
def test_gated_delta_nets_that_keep_all_are_delta_nets():
    _, params, xs, carry = example("delta_net")
    plain = make_delta_net(num_heads=2)
    want = run(plain, params, xs, carry)
    kernel = params.input_kernel
    more = jnp.concatenate([kernel, jnp.zeros((3, 2), jnp.float64)], -1)
    row = jnp.full(2, -900.0, jnp.float64)
    gated = linear.GatedDeltaNetParams(more, None, row, row)
    assert_close(run(make_gated_delta_net(num_heads=2), gated, xs, carry), want, "", 1e-13)
    parts = [kernel[:, : 3 * H], jnp.zeros((3, H), jnp.float64), kernel[:, 3 * H :]]
    bias = jnp.zeros(4 * H + 2, jnp.float64).at[3 * H : 4 * H].set(900.0)
    kda = InputParams(jnp.concatenate(parts, -1), bias)
    assert_close(run(make_kda(num_heads=2), kda, xs, carry), want, "", 1e-13)


@pytest.mark.slow
def test_rwkv_is_its_sums():
    """From no state: the two sums of the definition, and the same with exponents beyond range."""
    cell, params, xs, _ = example("rwkv")
    for scale in (1.0, 400.0):
        scaled = params._replace(input_kernel=params.input_kernel.at[:, H : 2 * H].multiply(scale))
        ys = run(cell, scaled, xs)[1]
        before = np.concatenate([np.zeros((1, B, 3)), np.asarray(xs)[:-1]])
        mixed = [m * np.asarray(xs) + (1 - m) * before for m in np.asarray(params.mix).T]
        kernels = heads(scaled.input_kernel, 3)
        r, k, v = (x @ kernel for x, kernel in zip(mixed, kernels, strict=True))
        w, u = np.exp(np.asarray(params.decay_log)), np.asarray(params.bonus)
        for t in range(T):
            logs = [k[j] - (t - 1 - j) * w for j in range(t)] + [u + k[t]]
            weights = np.exp(logs - np.max(logs, axis=0))
            mean = (weights * v[: t + 1]).sum(0) / weights.sum(0)
            np.testing.assert_allclose(ys[t], mean / (1 + np.exp(-r[t])), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_para_gru_is_a_gru_with_diagonal_kernels():
    cell, params, xs, carry = example("para_gru")
    gru = jaxrnn.make_gru(reset="before", update="write")
    order = [1, 0, 2]  # r, z, n

    def moved(leaf):
        z, r, h = jnp.split(leaf, 3, axis=-1)
        return jnp.concatenate([r, z, h], axis=-1)

    squares = [jnp.diag(a) for a in jnp.split(params.recurrent_kernel, 3)]
    full = jaxrnn.GRUParams(
        moved(params.input_kernel),
        jnp.concatenate([squares[k] for k in order], -1),
        moved(params.bias),
    )
    assert_close(run(cell, params, xs, carry), run(gru, full, xs, carry), "", 1e-13)


@pytest.mark.slow
def test_para_lstm_is_a_coupled_lstm_with_diagonal_kernels():
    cell, params, xs, carry = example("para_lstm")
    coupled = jaxrnn.cells.lstm_cifg

    def moved(leaf):
        f, o, g = jnp.split(leaf, 3, axis=-1)
        return jnp.concatenate([-f, g, o], axis=-1)  # i = 1 - f

    f, o, g = (jnp.diag(a) for a in jnp.split(params.recurrent_kernel, 3))
    p_f, p_o = jnp.split(params.peephole_kernel, 2)
    full = jaxrnn.cells.LSTMVariantParams(
        moved(params.input_kernel),
        jnp.concatenate([-f, g, o], -1),
        moved(params.bias),
        peephole_kernel=jnp.concatenate([-p_f, p_o]),
    )
    assert_close(run(cell, params, xs, carry), run(coupled, full, xs, carry), "", 1e-13)


# How they start.


def start(cell, size=256, **options):
    return quick(lambda key: cell.init(key, size, size, dtype=jnp.float64, **options))(
        jax.random.key(0)
    )


@pytest.mark.slow
def test_min_gru_starts_as_a_linear_layer_of_torch():
    for params in (start(linear.min_gru), start(linear.min_lstm), start(linear.qrnn)):
        kernel = np.asarray(params.input_kernel)
        assert np.abs(kernel).max() <= 1 / 16
        np.testing.assert_allclose(kernel.std(), 1 / 16 / np.sqrt(3), rtol=0.01)
        assert not np.any(params.bias)
    window = start(make_qrnn(window=4), 64)
    assert 0.99 / 16 < np.abs(np.asarray(window.input_kernel)).max() <= 1 / 16


@pytest.mark.slow
def test_lru_starts_on_a_ring():
    params = start(linear.lru, min_radius=0.5, max_radius=0.9, max_phase=1.0)
    radius = np.exp(-np.exp(np.asarray(params.nu_log)))
    assert 0.5 <= radius.min() < 0.52
    assert 0.89 < radius.max() <= 0.9
    np.testing.assert_allclose((radius**2).mean(), (0.25 + 0.81) / 2, rtol=0.05)
    np.testing.assert_allclose(np.exp(params.gamma_log), np.sqrt(1 - radius**2), rtol=1e-9)
    assert 0.98 < np.exp(np.asarray(params.theta_log)).max() <= 1
    np.testing.assert_allclose(np.std(params.input_kernel), np.sqrt(1 / 512), rtol=0.02)
    np.testing.assert_allclose(np.std(params.output_kernel), 1 / 16, rtol=0.02)
    whole = start(linear.lru)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in whole)


@pytest.mark.slow
def test_rg_lru_starts_on_a_ring():
    params = start(make_rg_lru(num_heads=4))
    a = np.exp(-np.logaddexp(0, np.asarray(params.decay)))
    assert 0.9 <= a.min() < 0.903
    assert 0.996 < a.max() <= 0.999
    np.testing.assert_allclose(np.std(params.input_kernel), 1 / 8, rtol=0.02)


@pytest.mark.slow
def test_sru_starts_as_its_authors_say():
    cell = make_sru(rescale=True, highway_bias=-2.0)
    init = lambda key: cell.init(key, 64, 256, dtype=jnp.float64)  # noqa: E731
    params = quick(init)(jax.random.key(0))
    content, f, r = (np.asarray(part) for part in jnp.split(params.input_kernel, 3, -1))
    np.testing.assert_allclose(content.std(), 1 / 8, rtol=0.02)
    np.testing.assert_allclose([f.std(), r.std()], np.sqrt(0.5) / 8, rtol=0.02)
    v = np.asarray(params.peephole_kernel)
    assert 1.2 < np.abs(v).max() <= np.sqrt(1.5)
    np.testing.assert_array_equal(params.bias, np.repeat([0.0, -2.0], 256))
    alpha = np.sqrt(1 + 2 * np.exp(-2))
    np.testing.assert_allclose(np.std(params.skip_kernel), alpha / 8, rtol=0.02)


@pytest.mark.slow
def test_s5_starts_in_the_basis_of_hippo():
    cell = make_s5(state_size=8, blocks=2)
    params = start(cell, 64)
    values = np.asarray(params.eigenvalue_real) + 1j * np.asarray(params.eigenvalue_imag)
    np.testing.assert_allclose(values, np.tile(hippo(4)[1], 2), atol=1e-12)
    step = np.exp(np.asarray(start(make_s5(state_size=256, blocks=128), 64).step_log))
    assert 0.001 <= step.min() < 0.0012
    assert 0.09 < step.max() <= 0.1
    p, q = np.split(np.asarray(params.input_kernel), 2, -1)
    np.testing.assert_allclose((p**2 + q**2).mean(), 1 / 64, rtol=0.2)
    np.testing.assert_allclose((np.asarray(params.output_kernel) ** 2).mean(), 1 / 16, rtol=0.2)


@pytest.mark.slow
def test_gated_delta_net_starts_with_its_rates():
    cell = make_gated_delta_net(num_heads=256)
    params = start(cell)
    rate = np.exp(np.asarray(params.rate_log))
    assert 0 <= rate.min() < 0.3
    assert 15.5 < rate.max() <= 16
    step = np.logaddexp(0, np.asarray(params.rate_shift))
    assert 0.001 <= step.min() < 0.0011
    assert 0.09 < step.max() <= 0.1


@pytest.mark.slow
def test_rwkv_starts_as_its_first_layer():
    params = linear.rwkv.init(jax.random.key(0), 4, 3, dtype=jnp.float64)
    np.testing.assert_allclose(params.decay_log, [-5, -5 + 8 * 0.5**0.7, 3], rtol=1e-12)
    np.testing.assert_allclose(params.bonus, np.log(0.3) + np.array([0, 0.5, -0.5]), rtol=1e-12)
    ramp = np.arange(4) / 4
    np.testing.assert_allclose(params.mix, np.stack([np.sqrt(ramp), ramp, ramp], 1), rtol=1e-12)
    r, k, v = jnp.split(params.input_kernel, 3, -1)
    assert not np.any(r)
    assert not np.any(k)
    np.testing.assert_allclose(v.T @ v, np.eye(3), atol=1e-12)


@pytest.mark.slow
def test_diagonal_cells_start_with_differently_long_memories():
    gru, lstm = start(diagonal.para_gru), start(diagonal.para_lstm)
    line, zero = np.linspace(0, 1, 256), np.zeros(512)
    np.testing.assert_allclose(gru.bias, np.concatenate([-line, zero]), atol=1e-12)
    np.testing.assert_allclose(lstm.bias, np.concatenate([line, zero]), atol=1e-12)
    for leaf in (gru.recurrent_kernel, lstm.recurrent_kernel, lstm.peephole_kernel):
        np.testing.assert_allclose(np.std(leaf), np.sqrt(0.8 / 256), rtol=0.1)


# Refusals.


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda: make_min_gru(candidate="log"), ValueError, "candidate: expected one of .*'log'"),
        (lambda: make_min_lstm(candidate=None), ValueError, "candidate: expected one of"),
        (lambda: make_lru(state_size=0), ValueError, "state_size: expected a positive int, got 0"),
        (lambda: make_lru(skip=1), TypeError, "skip: expected True or False, got 1"),
        (lambda: make_rg_lru(num_heads=0), ValueError, "num_heads: expected a positive int"),
        (lambda: make_sru(peephole="yes"), TypeError, "peephole: expected True or False"),
        (lambda: make_sru(highway_bias="1"), TypeError, "highway_bias: expected a number"),
        (lambda: make_qrnn(pooling="of"), ValueError, "pooling: expected one of .*got 'of'"),
        (lambda: make_qrnn(window=0), ValueError, "window: expected a positive int, got 0"),
        (lambda: make_s5(discretization="euler"), ValueError, "discretization: expected one of"),
        (lambda: make_s5(blocks=1.5), TypeError, "blocks: expected a positive int, got 1.5"),
        (lambda: make_hgrn(lower_bound=1), ValueError, r"lower_bound: expected .*\[0, 1\), got 1"),
        (lambda: make_hgrn2(lower_bound="0"), TypeError, "lower_bound: expected a number"),
        (lambda: make_gla(temperature=0), ValueError, "temperature: expected a positive number"),
        (lambda: make_gla(temperature=True), TypeError, "temperature: expected a positive number"),
        (lambda: make_delta_net(activation="silu"), ValueError, "activation: expected one of"),
        (lambda: make_gated_delta_net(num_heads="2"), TypeError, "num_heads: expected a positive"),
        (lambda: make_kda(use_bias=None), TypeError, "use_bias: expected True or False"),
        (lambda: make_para_gru(use_bias=0), TypeError, "use_bias: expected True or False"),
        (lambda: make_para_lstm(use_bias=0), TypeError, "use_bias: expected True or False"),
    ],
)
def test_constructors_refuse_nonsense(make, error, told):
    with pytest.raises(error, match=told):
        make()


@pytest.mark.parametrize(
    ("cell", "sizes", "told"),
    [
        (linear.lru, (3, 4), "hidden_size: expected the input size 3 for an LRU.*got 4"),
        (linear.s5, (3, 4), "hidden_size: expected the input size 3 for an S5.*got 4"),
        (linear.rg_lru, (3, 4), "hidden_size: expected the input size 3 for an RG-LRU, got 4"),
        (make_rg_lru(num_heads=3), (4, 4), "hidden_size: expected a multiple of num_heads = 3"),
        (make_gla(num_heads=3), (3, 4), "hidden_size: expected a multiple of num_heads = 3, got 4"),
        (make_kda(num_heads=3), (3, 4), "hidden_size: expected a multiple of num_heads = 3, got 4"),
        (make_s5(blocks=3), (4, 4), "state_size: expected a multiple of blocks = 3, got 4"),
    ],
)
def test_inits_refuse_sizes(cell, sizes, told):
    with pytest.raises(ValueError, match=told):
        cell.init(jax.random.key(0), *sizes)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.slow
def test_a_cell_is_what_made_it(name):
    cell = ALL[name]
    assert cell.spec.make() == cell
    assert cell.name.split("(")[0] == name.split()[0]
