"""Grids against a Python loop over positions, written gate by gate."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import grid
from jaxrnn.cells import LSTMCarry, LSTMParams
from tests.reference import quick, some

pytestmark = pytest.mark.usefixtures("x64", "strict")

D, H = 3, 2
scan = quick(grid.scan, static_argnames=("cell", "reverse", "return_carries", "chunk", "unroll"))
lstm_scan, elman_scan = quick(jaxrnn.lstm_scan), quick(jaxrnn.elman_scan)
CELLS = {
    "rnn": lambda axes: grid.make_md_rnn(axes),
    "relu": lambda axes: grid.make_md_rnn(axes, activation="relu"),
    "lstm": lambda axes: grid.make_md_lstm(axes),
    "peephole": lambda axes: grid.make_md_lstm(axes, peepholes="diagonal"),
    "stable": lambda axes: grid.make_md_lstm(axes, form="stable"),
    "stable_peephole": lambda axes: grid.make_md_lstm(axes, peepholes="diagonal", form="stable"),
}


def randomly(tree, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.7), tree)


def shapes(cell):
    """What the parameters of a cell or a layer look like."""
    init = lambda key: cell.init(key, D, H, dtype=jnp.float64)  # noqa: E731
    return jax.eval_shape(init, jax.random.key(0))


def make(name, axes, *, seed=0):
    cell = CELLS[name](axes)
    return cell, randomly(shapes(cell), seed)


def inputs(*shape, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(*shape, D)))


def equations(name, params, before, x):
    """One position, from the equations: before is [(h, c) or h for each axis]."""
    xp = np if isinstance(x, np.ndarray) else jnp
    axes = len(before)
    hs = [each[0] if isinstance(each, tuple) else each for each in before]
    a = x @ params.input_kernel + params.bias
    for h, kernel in zip(hs, params.recurrent_kernel, strict=True):
        a = a + h @ kernel
    if name in ("rnn", "relu"):
        return xp.tanh(a) if name == "rnn" else xp.maximum(a, 0)
    gate = [a[..., k * H : (k + 1) * H] for k in range(axes + 3)]
    cs = [each[1] for each in before]
    p = [0.0] * (axes + 2)
    if params.peepholes is not None:
        p = params.peepholes.reshape(axes + 2, H)
    sigma = lambda z: 1 / (1 + xp.exp(-z))  # noqa: E731
    i = sigma(gate[0] + p[0] * sum(cs[1:], cs[0]))
    f = [sigma(gate[1 + d] + p[1 + d] * cs[d]) for d in range(axes)]
    g = xp.tanh(gate[axes + 1])
    past = sum((f[d] * cs[d] for d in range(1, axes)), f[0] * cs[0])
    if name.startswith("stable"):
        past = (1 - i) * past / sum(f[1:], f[0])
    c = i * g + past
    o = sigma(gate[axes + 2] + p[axes + 1] * c)
    return o * xp.tanh(c), c


def loop(name, params, xs, backward, mask=None):
    """The outputs, the carry of the last corner and every carry, with numpy or traced."""
    if not isinstance(xs, jax.core.Tracer):
        params, xs = jax.tree.map(np.asarray, (params, xs))
    xp = np if isinstance(xs, np.ndarray) else jnp
    axes = len(backward)
    sides, batch = xs.shape[:axes], xs.shape[axes:-1]
    zero = np.zeros((*batch, H))
    zero = zero if name in ("rnn", "relu") else (zero, zero)
    steps = [range(n)[:: -1 if back else 1] for n, back in zip(sides, backward, strict=True)]
    carries = {}
    for position in itertools.product(*steps):
        before = []
        for d in range(axes):
            at = list(position)
            at[d] += 1 if backward[d] else -1
            before.append(carries.get(tuple(at), zero))
        carry = equations(name, params, before, xs[position])
        if mask is not None:
            keep = mask[position][..., None]
            carry = jax.tree.map(lambda leaf, keep=keep: xp.where(keep, leaf, 0.0), carry)
        carries[position] = carry
    every = [carries[position] for position in np.ndindex(*sides)]
    every = jax.tree.map(lambda *leaf: xp.stack(leaf).reshape(*sides, *batch, H), *every)
    leaves = jax.tree.leaves(every)
    return leaves[0], jax.tree.leaves(carries[corner(sides, backward)]), leaves


def corner(sides, backward):
    """The last position of a run."""
    return tuple(0 if back else n - 1 for n, back in zip(sides, backward, strict=True))


def run(cell, params, xs, backward, **options):
    """`grid.scan` in the form of `loop`."""
    f = grid.scan if isinstance(xs, jax.core.Tracer) else scan
    carry, ys, every = f(cell, params, xs, reverse=backward, return_carries=True, **options)
    return ys, jax.tree.leaves(carry), jax.tree.leaves(every)


def close(got, expected, tolerance=1e-12):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        got,
        expected,
    )


def weigh(tree):
    """A scalar in which every number counts differently."""
    return sum(
        jnp.vdot(jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)), leaf.ravel())
        for leaf in jax.tree.leaves(tree)
    )


def results_and_gradients(f):
    """What f of two arguments gives, and the gradients of what `weigh` makes of it."""

    def weighed(params, xs):
        results = f(params, xs)
        return weigh(results), results

    graded = quick(jax.grad(weighed, (0, 1), has_aux=True))
    return lambda params, xs: graded(params, xs)[::-1]


SCALAR = [
    (None, 0.449013075, 0.835500473),
    ("diagonal", 0.494423356, 0.871263833),
]


@pytest.mark.parametrize(("peepholes", "h", "c"), SCALAR)
def test_scalar_check(peepholes, h, c):
    cell = grid.make_md_lstm(2, peepholes=peepholes)
    full = lambda *shape, value: jnp.full(shape, value, jnp.float64)  # noqa: E731
    params = grid.MDLSTMParams(
        full(1, 5, value=0.5),
        full(2, 1, 5, value=0.5),
        full(5, value=0.1),
        full(4, value=0.25) if peepholes else None,
    )
    left, up = (LSTMCarry(*(full(1, value=v) for v in s)) for s in ((0.2, 0.3), (-0.1, 0.4)))
    carry, y = cell.step(params, (left, up), full(1, value=1.0))
    np.testing.assert_allclose(carry.h, h, atol=1e-8)
    np.testing.assert_allclose(carry.c, c, atol=1e-8)
    np.testing.assert_array_equal(y, carry.h)


CASES = [
    *((name, (3, 4), (False, k % 2 == 0)) for k, name in enumerate(CELLS)),
    *(("peephole", (4, 2), way) for way in itertools.product((False, True), repeat=2)),
    *(("stable", (2, 3, 2), way) for way in itertools.product((False, True), repeat=3)),
    ("peephole", (4,), (False,)),
    ("stable", (4,), (True,)),
]


@pytest.mark.parametrize(
    ("name", "sides", "backward"), some(CASES, [*CASES[: len(CELLS)], CASES[-3], CASES[-1]])
)
def test_equals_the_loop_in_every_direction(name, sides, backward):
    cell, params = make(name, len(sides))
    xs = inputs(*sides, 2)
    got = run(cell, params, xs, backward)
    close(got, loop(name, params, xs, backward))
    np.testing.assert_array_equal(got[2][0], got[0])  # the output is h


@pytest.mark.parametrize(
    ("name", "sides", "backward"),
    [
        ("rnn", (3, 2), (False, True)),
        pytest.param("peephole", (2, 3), (True, False), marks=pytest.mark.slow),
        pytest.param("stable_peephole", (3, 2), (False, False), marks=pytest.mark.slow),
        pytest.param("lstm", (2, 2, 2), (True, False, True), marks=pytest.mark.slow),
    ],
)
def test_gradients_equal_the_loop_s(name, sides, backward):
    cell, params = make(name, len(sides))
    xs = inputs(*sides, 2)
    got = results_and_gradients(lambda p, xs: run(cell, p, xs, backward)[:2])(params, xs)
    expected = results_and_gradients(lambda p, xs: loop(name, p, xs, backward)[:2])(params, xs)
    close(got, expected, 1e-11)
    assert all(bool((abs(leaf) > 0).any()) for leaf in jax.tree.leaves(got[1]))


def test_one_axis_is_the_sequence():
    xs = inputs(6, 2)
    _, params = make("lstm", 1)
    flat = LSTMParams(params.input_kernel, params.recurrent_kernel[0], params.bias)
    got, expected = (
        scan(grid.make_md_lstm(1), params, xs),
        lstm_scan(flat, xs),
    )
    close(got, expected)
    _, params = make("rnn", 1)
    flat = jaxrnn.ElmanParams(params.input_kernel, params.recurrent_kernel[0], params.bias)
    close(scan(grid.make_md_rnn(1), params, xs), elman_scan(flat, xs))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_line_is_the_one_dimensional_lstm_along_it(axis):
    cell, params = make("lstm", 3)
    blocks = np.r_[0:H, (1 + axis) * H : (2 + axis) * H, 4 * H : 6 * H]
    flat = LSTMParams(
        params.input_kernel[:, blocks],
        params.recurrent_kernel[axis][:, blocks],
        params.bias[blocks],
    )
    line = inputs(5, 2)
    xs = jnp.expand_dims(line, [d for d in range(3) if d != axis])
    carry, ys = scan(cell, params, xs)
    expected, line_ys = lstm_scan(flat, line)
    close((carry, ys.reshape(5, 2, H)), (expected, line_ys))


def test_stable_form_is_bounded_and_the_plain_one_is_not():
    xs = 3 * inputs(9, 8)
    wide = {}
    for name in ("lstm", "stable"):
        cell, params = make(name, 2)
        params = params._replace(bias=params.bias.at[H : 3 * H].set(4.0))
        wide[name] = float(abs(scan(cell, params, xs, return_carries=True)[2].c).max())
    assert wide["stable"] <= 1
    assert wide["lstm"] > 100


def test_stable_form_where_every_forget_gate_underflows():
    # f_1 / (f_1 + f_2) = 1 / (1 + e) once both are e^(a - 1000), whatever their sum is.
    cell = grid.make_md_lstm(2, form="stable")
    params = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes(cell))
    params = params._replace(
        bias=params.bias.at[H : 2 * H].set(-1000.0).at[2 * H : 3 * H].set(-999.0)
    )
    before = tuple(LSTMCarry(*jnp.full((2, H), c, jnp.float64)) for c in (1.0, 0.0))

    def c(params):
        return cell.step(params, before, jnp.zeros(D, jnp.float64))[0].c.sum()

    value, gradient = quick(jax.value_and_grad(c))(params)
    np.testing.assert_allclose(value, H * 0.5 / (1 + np.e), rtol=1e-12)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradient))
    assert float(abs(gradient.bias[H : 3 * H]).min()) > 0.01


@pytest.mark.parametrize("merge", ["concat", "sum", "mean", lambda ys: ys[0] * ys[-1]])
def test_multidirectional_merges_a_run_from_every_corner(merge):
    cell, _ = make("lstm", 2)
    layer = grid.multidirectional(cell, merge=merge)
    params = randomly(shapes(layer))
    xs = inputs(3, 4, 2)
    carries, got = scan(layer, params, xs)
    runs = [loop("lstm", p, xs, way)[0] for p, way in zip(params, layer.directions, strict=True)]
    expected = {
        "concat": lambda: jnp.concatenate(runs, axis=-1),
        "sum": lambda: runs[0] + runs[1] + runs[2] + runs[3],
        "mean": lambda: (runs[0] + runs[1] + runs[2] + runs[3]) / 4,
    }
    close(got, runs[0] * runs[3] if callable(merge) else expected[merge]())
    assert len(carries) == 4
    close(carries[1].h, runs[1][-1, 0])
    turned = scan(layer, params[::-1], xs, reverse=True)
    if not callable(merge) and merge != "concat":
        close(turned[1], got)


@pytest.mark.slow
def test_every_output_of_a_multidirectional_layer_sees_the_whole_grid():
    layer = grid.multidirectional(make("stable", 2)[0], merge="sum")
    params = randomly(shapes(layer))
    jacobian = quick(jax.jacobian(lambda xs: grid.scan(layer, params, xs)[1]))(inputs(2, 3))
    assert bool((abs(jacobian).sum((2, -1)) > 0).all())


def test_multidirectional_of_one_axis_is_bidirectional():
    layer = grid.multidirectional(grid.make_md_lstm(1))
    params = randomly(shapes(layer))
    flat = [LSTMParams(p.input_kernel, p.recurrent_kernel[0], p.bias) for p in params]
    xs, lengths = inputs(5, 3), np.array([5, 0, 3])
    carries, ys = scan(layer, params, xs, sizes=lengths[:, None])
    expected = jaxrnn.scan(
        jaxrnn.bidirectional(jaxrnn.lstm), jaxrnn.Directions(*flat), xs, lengths=lengths
    )
    close((jaxrnn.Directions(*carries), ys), expected)


@pytest.mark.slow
def test_sizes_are_each_row_alone_and_padding_reaches_nothing():
    cell, _ = make("stable_peephole", 2)
    layer = grid.multidirectional(cell)
    params = randomly(shapes(layer))
    sizes = np.array([[[4, 3], [2, 3], [4, 1]], [[0, 2], [3, 0], [1, 2]]])
    clean = inputs(4, 3, 2, 3)
    padding = np.ones((4, 3, 2, 3), bool)
    for row in np.ndindex(2, 3):
        padding[: sizes[row][0], : sizes[row][1], *row] = False
    dirty = jnp.where(padding[..., None], jnp.nan, clean)

    graded = results_and_gradients(
        lambda p, xs: grid.scan(layer, p, xs, sizes=sizes, return_carries=True)
    )
    got, expected = (graded(params, xs) for xs in (dirty, clean))
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    (last, ys, every), (_, gradient) = got
    assert bool((gradient[padding] == 0).all())
    assert all(bool((leaf[padding] == 0).all()) for leaf in jax.tree.leaves((ys, every)))

    for row in itertools.product(*map(range, (2, 3))):
        height, width = sizes[row]
        if height * width == 0:
            assert all(bool((leaf[row] == 0).all()) for leaf in jax.tree.leaves(last))
            continue
        inside = (slice(height), slice(width), *row)
        for k, way in enumerate(layer.directions):
            alone = loop("stable_peephole", params[k], clean[inside], way)
            mine = ys[inside][..., k * H : (k + 1) * H], last[k], every[k]
            close(mine[0], alone[0])
            close([leaf[row] for leaf in mine[1]], alone[1])
            close([leaf[inside] for leaf in mine[2]], alone[2])


@pytest.mark.parametrize(
    ("name", "backward"),
    [
        ("rnn", (False, False)),
        pytest.param("stable_peephole", (True, False), marks=pytest.mark.slow),
    ],
)
def test_masked_positions_are_as_beyond_the_border(name, backward):
    cell, params = make(name, 2)
    mask = np.random.default_rng(5).random((2, 3, 4)) < 0.6
    mask[*corner((2, 3), backward)] = np.arange(4) > 0
    clean = inputs(2, 3, 4)
    dirty = jnp.where(mask[..., None], clean, jnp.inf)

    def ours(params, xs):
        return run(cell, params, xs, backward, mask=mask)

    def reference(params, xs):
        return loop(name, params, xs, backward, mask)

    close(
        results_and_gradients(ours)(params, dirty),
        results_and_gradients(reference)(params, clean),
        1e-11,
    )


def test_sizes_and_mask_together():
    cell, params = make("lstm", 2)
    xs, sizes = inputs(3, 4, 2), np.array([[2, 4], [3, 2]])
    mask = np.random.default_rng(6).random((3, 4, 2)) < 0.7
    both = mask.copy()
    both[2:, :, 0], both[:, 2:, 1] = False, False
    for reverse in (False, True):
        got = scan(cell, params, xs, sizes=sizes, mask=mask, reverse=reverse)
        close(got[1], loop("lstm", params, xs, (reverse,) * 2, both)[0])


def test_traced_sizes_are_clipped():
    cell, params = make("rnn", 2)
    xs = inputs(3, 2)
    traced = quick(lambda sizes: grid.scan(cell, params, xs, sizes=sizes))
    close(traced(jnp.array([9, 1], jnp.int32)), grid.scan(cell, params, xs, sizes=np.array([3, 1])))


@pytest.mark.slow
def test_transforms_compose():
    cell, params = make("peephole", 2)
    xs, tangent = inputs(2, 2, 3), inputs(2, 2, 3, seed=2)

    def loss(params, xs):
        return (grid.scan(cell, params, xs)[1] ** 3).sum()

    def reference(params, xs):
        return (loop("peephole", params, xs, (False, False))[0] ** 3).sum()

    # A row of the batch by vmap, its gradient too, is that row of the batch.
    gradient = quick(jax.grad(reference, 1))(params, xs)
    close(quick(jax.vmap(jax.grad(loss, 1), (None, 2), 2))(params, xs), gradient, 1e-11)
    forward = quick(lambda v: jax.jvp(lambda xs: loss(params, xs), (xs,), (v,))[1])
    close(forward(tangent), jnp.vdot(gradient, tangent), 1e-11)


@pytest.mark.slow
def test_second_order_forward_over_reverse():
    cell, params = make("peephole", 2)
    xs, v = inputs(2, 2, 3), randomly(params, 3)

    def product(run):
        loss = lambda p, xs: (run(p, xs) ** 3).sum()  # noqa: E731
        return quick(lambda xs: jax.jvp(jax.grad(lambda p: loss(p, xs)), (params,), (v,))[1])

    got = product(lambda p, xs: grid.scan(cell, p, xs)[1])
    expected = product(lambda p, xs: loop("peephole", p, xs, (False, False))[0])
    close(got(xs), expected(xs), 1e-10)


def test_chunks_do_not_change_the_function():
    cell, params = make("lstm", 2)
    xs = inputs(5, 3, 2)

    def graded(chunk, unroll):
        run = partial(grid.scan, cell, chunk=chunk, unroll=unroll)
        return results_and_gradients(run)(params, xs)

    close(graded(3, 1), graded(None, 2), 1e-12)


def loops(jaxpr, inside=False):
    """(sequential loop iterations, operand shapes of the products inside loops) of a jaxpr."""
    steps, products = 0, []
    for eqn in jaxpr.eqns:
        nested = eqn.params["length"] if eqn.primitive.name == "scan" else 0
        assert eqn.primitive.name != "while"
        if eqn.primitive.name == "dot_general" and inside:
            products.append([v.aval.shape for v in eqn.invars])
        for sub in jax.tree.leaves(
            list(eqn.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            sub = getattr(sub, "jaxpr", sub)
            if hasattr(sub, "eqns"):
                more, found = loops(sub, inside or bool(nested))
                steps += nested * max(more, 1) if nested else more
                products += found
    return steps, products


@pytest.mark.parametrize("sides", [(7,), (30, 50), (64, 3), (5, 9, 4)])
def test_steps_grow_with_the_sum_of_the_sides(sides):
    cell, params = make("lstm", len(sides))
    expected = 1 + sum(n - 1 for n in sides)

    def total(params, xs):
        return grid.scan(cell, params, xs, chunk=expected)[1].sum()

    steps, products = loops(jax.make_jaxpr(total)(params, inputs(*sides)).jaxpr)
    assert steps == expected
    # One product in the loop, the recurrent one; the input product, with D rows, is before it.
    assert len(products) == 1
    assert products[0][1] == (len(sides) * H, (len(sides) + 3) * H)
    steps, products = loops(jax.make_jaxpr(jax.grad(total))(params, inputs(*sides)).jaxpr)
    assert steps in (2 * expected, 3 * expected)  # the third only unpacks the mask


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_dtypes_are_kept(dtype):
    cell, params = make("stable_peephole", 2)
    xs = inputs(3, 4, 2)
    low = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, xs))
    carry, ys = scan(cell, *low)
    half = dtype != jnp.float32
    assert ys.dtype == carry.h.dtype == dtype
    assert carry.c.dtype == jnp.float32
    exact = scan(cell, *jax.tree.map(lambda leaf: leaf.astype(jnp.float64), low))[1]
    error = float(abs(ys.astype(jnp.float64) - exact).max())
    assert error < (4 * float(jnp.finfo(dtype).eps) if half else 2e-6)


def test_grids_and_batches_without_elements():
    cell, params = make("lstm", 2)
    for sides in ((0, 3), (3, 0), (0, 0)):
        carry, ys, every = scan(cell, params, inputs(*sides, 2), return_carries=True)
        assert ys.shape == every.c.shape == (*sides, 2, H)
        assert bool((carry.h == 0).all())
    f = lambda params, xs: grid.scan(cell, params, xs, sizes=np.zeros((0, 2), int))[1]  # noqa: E731
    ys, gradients = results_and_gradients(f)(params, inputs(3, 2, 0))
    assert ys.shape == (3, 2, 0, H)
    assert all(bool((leaf == 0).all()) for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize("axes", some([1, 2, 4], (2,)))
def test_init_lets_the_forget_gates_share_one(axes):
    init = quick(grid.make_md_lstm(axes, peepholes="diagonal").init, static_argnums=(1, 2))
    params = jax.tree.map(np.asarray, init(jax.random.key(0), D, H))
    forget = params.bias[H : (axes + 1) * H]
    total = 1.0 if axes == 1 else axes * float(jax.nn.sigmoid(forget[0]))
    np.testing.assert_allclose(total, 1.0, rtol=1e-6)
    others = np.delete(params.bias, np.s_[H : (axes + 1) * H])
    assert bool((others == 0).all())
    assert bool((params.peepholes == 0).all())
    if axes == 1:
        np.testing.assert_array_equal(forget, 1.0)
    kernel = params.recurrent_kernel[-1, :, :H]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(H), atol=1e-6)


def test_bad_input_is_named():
    cell, params = make("lstm", 2)
    xs = inputs(3, 4, 2)
    layer = grid.multidirectional(cell)
    bad = [
        (lambda: grid.make_md_lstm(0), ValueError, "axes: expected a positive int, got 0"),
        (lambda: grid.make_md_rnn(2.0), TypeError, "axes: expected a positive int"),
        (lambda: grid.make_md_lstm(form="leaky"), ValueError, "form: expected one of"),
        (lambda: grid.make_md_lstm(peepholes="full"), ValueError, "peepholes: expected one of"),
        (lambda: grid.multidirectional(jaxrnn.lstm), TypeError, "cell: expected a GridCell"),
        (lambda: grid.multidirectional(cell, merge="max"), ValueError, "merge: expected one of"),
        (lambda: grid.scan(jaxrnn.lstm, params, xs), TypeError, "cell: expected a GridCell"),
        (lambda: grid.scan(cell, params, xs[0, 0]), ValueError, "xs: expected .* 2 grid axes"),
        (
            lambda: grid.scan(cell, params, xs[..., :2]),
            ValueError,
            r"xs: expected 3 features \(D\)",
        ),
        (lambda: grid.scan(cell, {}, xs), TypeError, "params: expected MDLSTMParams"),
        (lambda: grid.scan(layer, params, xs), TypeError, "params: expected MDLSTMParams"),
        (lambda: grid.scan(layer, (params,) * 3, xs), TypeError, "tuple of 4 .* got 3"),
        (lambda: grid.scan(cell, params, xs, reverse=(True,)), ValueError, "reverse: expected"),
        (lambda: grid.scan(cell, params, xs, mask=np.ones((3, 4), bool)), ValueError, "mask"),
        (
            lambda: grid.scan(cell, params, xs, sizes=np.array([3, 4])),
            ValueError,
            "sizes: expected",
        ),
        (
            lambda: grid.scan(cell, params, xs, sizes=np.array([[3, 5], [1, 1]])),
            ValueError,
            r"sizes\[..., 1\]: expected values in 0..4",
        ),
        (lambda: grid.scan(cell, params, xs, chunk=0), ValueError, "chunk: expected"),
    ]
    for call, error, message in bad:
        with pytest.raises(error, match=message):
            call()
