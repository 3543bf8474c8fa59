"""The cells with simplified gates against worked numbers, against each other and their papers."""

from functools import partial

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import LSTMCarry, analysis, cells, initializers, make_elman, make_gru
from jaxrnn.cells import simplified
from jaxrnn.cells.simplified import DiagonalParams, SimplifiedParams
from tests.reference import assert_close, loop, quick, random_like
from tests.vectors import C, K, S, V, X, fused

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 4, 2, 3, 4
FAR = 40.0  # a bias that saturates a gate to float64 rounding


def leaf(value):
    return jnp.asarray(value, jnp.float64)


def blocks(leaf, count):
    return jnp.split(leaf, count, axis=-1)


def joined(*parts):
    return jnp.concatenate(parts, axis=-1)


def each(change, params, count):
    """The parameters with every kernel's blocks changed."""
    return jax.tree.map(lambda p: joined(*change(*blocks(p, count))), params)


def example(cell, size=H, scale=0.7):
    """Random parameters, inputs and carry, in float64."""
    features = size if cell.name.startswith(("intersection", "mut1", "mut2")) else D
    init = lambda key: cell.init(key, features, size, dtype=jnp.float64)  # noqa: E731
    params = jax.eval_shape(init, jax.random.key(0))
    carry = jax.eval_shape(lambda params: cell.carry(params, (B,)), params)
    xs = jax.ShapeDtypeStruct((T, B, features), jnp.float64)
    return random_like((params, xs, carry), 1, scale)


def run(cell, params, xs, carry):
    return quick(partial(jaxrnn.scan, cell))(params, xs, carry)


def assert_equal(got, want):
    assert_close(got, want, "", 1e-12)


# Numbers worked out in numpy, with weights that tell gates, transposes and biases apart.


def gate(*numbers, size=3):
    """W, R and b of the blocks of those numbers: all three for each unless said otherwise."""
    return some(numbers, numbers, numbers, size)


def some(w, r, b, size=3, record=SimplifiedParams, **more):
    w, r = fused(K(2 * k, size, 2) for k in w), fused(K(2 * k + 1, 2, 2) for k in r)
    return record(w, r, None if b is None else fused(V(k) for k in b), **more)


def cases():
    """Cell, parameters, carry, the values of the output and of every part of the carry."""
    h = leaf(S)
    diagonal = DiagonalParams(fused([K(0, 3, 2)]), leaf(V(9)), leaf(V(0)))
    bistable = DiagonalParams(
        fused(K(2 * k, 3, 2) for k in range(3)), fused([V(20), V(21)]), fused([V(0), V(1)])
    )
    minimal = some(
        [0], [0], [0, 1], record=simplified.MinimalRNNParams, latent_kernel=leaf(K(20, 2, 2))
    )
    fast = some([0], [0], [0], record=simplified.FastRNNParams, alpha=leaf(-3.0), beta=leaf(3.0))
    grnn = some([0], [0], [0, 1], record=simplified.FastGRNNParams, zeta=leaf(1.0), nu=leaf(-4.0))
    mgu = simplified.MGUParams(*gate(0, 1))
    apart = [[0.802127081, -0.411977688], [0.136649056, -0.094589316]]
    both = LSTMCarry(h, leaf(C))
    ran = [[-0.032578508, 0.019904047]] * 2 + [[-0.032590041, 0.019906677]]
    nas = [[0.089785880, 0.024805518]] * 2 + [[0.140340730, 0.046499058]]
    slow = {"slow_kernel": leaf(K(20, 3, 2)), "context_kernel": leaf(K(21, 2, 2))}
    slow |= {"output_kernel": leaf(np.eye(2)), "slow_output_kernel": jnp.zeros((2, 2), jnp.float64)}
    slow = some([0], [0], None, record=simplified.SCRNParams, **slow)
    scrn = [[0.562883430, 0.545553476], [0.299843510, 0.091788105], [0.562883430, 0.545553476]]
    return [
        (cells.mgu, mgu, h, [[0.220709864, -0.347244247]]),
        (cells.janet, gate(0, 1), h, [[0.286744596, -0.429933305]]),
        (cells.ugrnn, gate(0, 1), h, [[0.211145464, -0.316716434]]),
        (cells.li_gru, gate(0, 1), h, [[0.225331970, -0.185122353]]),
        (cells.ind_rnn, diagonal, h, [[0.420806977, 0.429747839]]),
        (cells.minimal_rnn, minimal, h, [[0.293311644, 0.064709404]]),
        (cells.fast_rnn, fast, h, [[0.211832810, -0.264717156]]),
        (cells.fast_grnn, grnn, h, [[0.234482141, -0.102203416]]),
        (cells.brc, bistable, h, [[0.090652754, -0.370067371]]),
        (cells.nbrc, some(range(3), range(2), range(2)), h, [[0.097061582, -0.380938897]]),
        (cells.antisymmetric_rnn, gate(0), h, [[0.234475887, -0.267619588]]),
        (cells.atr, gate(0), h, [[0.404101583, 0.063134480]]),
        (cells.ran, some(range(3), range(2), range(2)), both, ran),
        (cells.cfn, some(range(3), range(2), range(2)), h, [[-0.056819649, -0.192636000]]),
        (cells.star, some([0, 1], [0], [0, 1]), h, [[0.191302594, -0.321699759]]),
        (cells.light_ru, some([0, 1], [0], [0, 1]), h, [[0.193688896, -0.333541930]]),
        (cells.rhn, some(range(2), range(4), range(4)), h, [[0.108783933, -0.027672852]]),
        (cells.mut1, some([0, 1], [1, 2], range(3), 2), h, [[0.414668399, -0.474166029]]),
        (cells.mut2, some([0, 2], range(3), range(3), 2), h, [[-0.180857640, -0.317666544]]),
        (cells.mut3, gate(0, 1, 2), h, [[-0.185112360, -0.261000993]]),
        (cells.intersection_rnn, gate(0, 1, 2, 3, size=2), h, apart),
        (cells.scrn, slow, simplified.SCRNCarry(leaf(C), h), scrn),
        (cells.nas, some(range(8), range(8), None), both, nas),
    ]


def one_step(every, given):
    """A step of each cell, compiled together."""
    return quick(lambda given: [c.step(*each) for c, each in zip(every, given, strict=True)])(given)


def test_worked_vectors():
    every = cases()
    given = [(params, carry, leaf(X[: len(params.input_kernel)])) for _, params, carry, _ in every]
    steps = one_step([case[0] for case in every], given)
    for (cell, *_, values), (carry, y) in zip(every, steps, strict=True):
        wanted = values * 2 if len(values) == 1 else values  # most of them give out their state
        for have, want in zip(jax.tree.leaves((y, carry)), wanted, strict=True):
            np.testing.assert_allclose(have, want, rtol=0, atol=1e-8, err_msg=cell.name)


# Hand-worked numbers: D = H = 1, W = R = 0.5, b = 0.1, x = 1, h = 0.2, c = 0.3.

NUMBERS = [
    (cells.mgu, 0.455837996),
    (cells.janet, 0.480812101),
    (cells.make_janet(beta=0.0), 0.334174173),
    (cells.ugrnn, 0.262460776),
    (cells.intersection_rnn, 0.953660420),
    (cells.mut1, 0.542102993),
    (cells.mut2, 0.460238668),
    (cells.mut3, 0.455726567),
    (cells.li_gru, 0.365906114),
    (cells.make_atr(use_bias=True), 0.525404530),
    (cells.make_rhn(depth=1), 0.470193604),
    (cells.rhn, 0.384434111),
    (cells.fast_rnn, 0.219177495),
    (cells.fast_grnn, 0.291111855),
    (cells.nas, 0.274106541),
]


def test_hand_worked_numbers():
    kept = {"alpha": -3.0, "beta": 3.0, "zeta": 1.0, "nu": -4.0, "bias": 0.1}

    def given(cell):
        init = lambda key: cell.init(key, 1, 1, dtype=jnp.float64)  # noqa: E731
        params = jax.eval_shape(init, jax.random.key(0))

        def fill(path, p):
            return jnp.full(p.shape, kept.get(path[-1].name, 0.5), p.dtype)

        carry = LSTMCarry(leaf([0.2]), leaf([0.3])) if cell is cells.nas else leaf([0.2])
        return jax.tree_util.tree_map_with_path(fill, params), carry, leaf([1.0])

    every = [cell for cell, _ in NUMBERS]
    steps = one_step(every, [given(cell) for cell in every])
    for (cell, value), (_, y) in zip(NUMBERS, steps, strict=True):
        np.testing.assert_allclose(y, [value], rtol=0, atol=1e-8, err_msg=cell.name)


# Every cell, and its options.

EVERY = [
    cells.ind_rnn,
    cells.make_ind_rnn(activation="tanh", max_recurrent=0.5),
    cells.mgu,
    cells.make_mgu(reset="after", update="keep"),
    cells.li_gru,
    cells.make_li_gru(activation="tanh"),
    cells.janet,
    cells.make_janet(beta=-1.0),
    cells.ugrnn,
    cells.minimal_rnn,
    cells.fast_rnn,
    cells.fast_grnn,
    cells.make_fast_grnn(rank=(None, 2)),
    cells.brc,
    cells.nbrc,
    cells.antisymmetric_rnn,
    cells.make_antisymmetric_rnn(step=0.5, diffusion=0.0, gated=True),
    cells.atr,
    cells.ran,
    cells.cfn,
    cells.star,
    cells.light_ru,
    cells.rhn,
    cells.make_rhn(depth=3, coupled=False),
    cells.mut1,
    cells.mut2,
    cells.mut3,
    cells.intersection_rnn,
    cells.scrn,
    cells.make_scrn(slow_size=2, use_bias=True),
    cells.nas,
    cells.make_nas(use_bias=True),
]


@pytest.mark.parametrize("cell", EVERY, ids=lambda cell: cell.name)
@pytest.mark.slow
def test_every_cell(cell):
    """Ragged and packed rows are the loop; states follow from the gates, within their bounds."""
    params, xs, carry = example(cell, scale=1.5)
    lengths, reset = np.array([T, T - 1]), np.zeros((T, B), bool)
    reset[2, 0] = True
    valid = np.arange(T)[:, None] < lengths
    bounded = cell.bounds or (lambda params, start, count: start)

    @quick
    def both(params, xs, carry):
        options = {"lengths": lengths, "reset": reset, "return_carries": True}
        got = jaxrnn.scan(cell, params, xs, carry, **options)
        want = loop(cell, params, xs, carry, valid, reset)
        start = jax.tree.map(abs, carry)
        most = [bounded(params, start, t + 1) for t in range(T)]
        gates = cell.gates and analysis.gate_traces(cell, params, xs, carry)
        first = cell.step(params, carry, xs[0])[0]
        return got, want, most, gates, first

    got, want, most, gates, first = both(params, xs, carry)
    assert_close(got, want, cell.name)
    if cell.bounds is not None:
        for t in range(T):
            for state, bound in zip(jax.tree.leaves(got[2]), jax.tree.leaves(most[t]), strict=True):
                assert np.all(abs(state[t]) <= bound), f"{cell.name} after {t + 1} steps"
    assert (cell.bounds is None) == (cell.name in ("atr", "ind_rnn", "li_gru"))
    if gates is not None:
        keep, write, candidate = jax.tree.map(lambda leaf: leaf[0], gates)
        old, new = (getattr(state, "c", state) for state in (carry, first))
        if cell.name.startswith("rhn"):
            for step in range(keep.shape[-2]):
                old = keep[:, step] * old + write[:, step] * candidate[:, step]
            assert_equal(old, new)
        else:
            old = np.tanh(old) if cell is cells.cfn else old
            mixed = keep * old + write * candidate
            assert_equal(np.tanh(mixed) if cell is cells.star else mixed, new)


def test_the_registry_has_them():
    names = "ind_rnn mgu li_gru janet ugrnn minimal_rnn fast_rnn fast_grnn brc nbrc"
    names += " antisymmetric_rnn atr ran cfn star light_ru rhn mut1 mut2 mut3 intersection_rnn"
    for name in (names + " scrn nas").split():
        assert cells.CELLS[name] is getattr(cells, name)
        assert cells.CELLS[name] in EVERY


# What they come down to.


@pytest.mark.parametrize("reset", ["before", "after"])
@pytest.mark.slow
def test_an_mgu_is_a_gru_whose_gates_are_one(reset):
    cell = cells.make_mgu(reset=reset)
    params, xs, h = example(cell)
    twice = each(lambda f, n: (f, f, n), params._replace(recurrent_bias=None), 2)
    gru = jaxrnn.GRUParams(*twice[:3], params.recurrent_bias)
    want = run(make_gru(reset=reset, update="write"), gru, xs, h)
    assert_equal(run(cell, params, xs, h), want)


def test_an_mgu_is_that_of_flax():
    cell = cells.make_mgu(reset="after", update="keep")
    params, xs, h = example(cell)
    (w_f, w_n), (r_f, r_n), (b_f, b_n) = (blocks(p, 2) for p in params[:3])
    theirs = {
        "if": {"kernel": w_f, "bias": b_f},
        "in": {"kernel": w_n, "bias": b_n},
        "hf": {"kernel": r_f},
        "hn": {"kernel": r_n, "bias": params.recurrent_bias},
    }
    module = flax.linen.MGUCell(H, param_dtype=jnp.float64)
    want = module.apply({"params": theirs}, h, xs[0])[0]
    assert_equal(cell.step(params, h, xs[0])[0], want)


@pytest.mark.slow
def test_cells_with_one_gate_are_the_same():
    ugrnn = cells.make_ugrnn(forget_bias=0.0)
    params, xs, h = example(ugrnn)
    want = run(ugrnn, params, xs, h)
    assert_equal(run(cells.make_janet(beta=0.0), params, xs, h), want)
    assert_equal(run(cells.make_li_gru(activation="tanh"), params, xs, h), want)
    turned = each(lambda g, n: (n, -g), params, 2)
    assert_equal(run(cells.make_rhn(depth=1), turned, xs, h), want)
    less = params._replace(bias=params.bias.at[:H].add(-1.0))
    assert_equal(run(cells.ugrnn, less, xs, h), want)


@pytest.mark.slow
def test_an_intersection_network_is_an_update_gate_network_in_time():
    params, xs, h = example(cells.intersection_rnn)
    pick = each(lambda gy, gh, y, n: (gh, n), params, 4)
    last, _ = run(cells.intersection_rnn, params, xs, h)
    assert_equal(last, run(cells.ugrnn, pick, xs, h)[0])
    opened = params._replace(bias=params.bias.at[:H].set(10 * FAR))
    assert_equal(run(cells.intersection_rnn, opened, xs, h)[1], xs)


@pytest.mark.slow
def test_an_independent_network_is_a_plain_one_with_a_diagonal():
    cell = cells.make_ind_rnn(activation="tanh", max_recurrent=0.5)
    params, xs, h = example(cell)
    w, u, b = params
    for bound, ours in ((jnp.inf, cells.make_ind_rnn(activation="tanh")), (0.5, cell)):
        plain = jaxrnn.ElmanParams(w, jnp.diag(jnp.clip(u, -bound, bound)), b)
        assert_equal(run(ours, params, xs, h), run(jaxrnn.elman, plain, xs, h))


@pytest.mark.slow
def test_a_neuromodulated_cell_with_diagonals_is_bistable():
    params, xs, h = example(cells.brc)
    full = joined(*(jnp.diag(w) for w in blocks(params.recurrent_diagonal, 2)))
    full = SimplifiedParams(params.input_kernel, full, params.bias)
    assert_equal(run(cells.nbrc, full, xs, h), run(cells.brc, params, xs, h))


@pytest.mark.slow
def test_a_bistable_cell_holds_a_sign_for_ever():
    params, _, _ = jax.tree.map(jnp.zeros_like, example(cells.brc))
    bistable = params._replace(bias=params.bias.at[:H].set(FAR))  # a = 2
    xs, h = jnp.zeros((60, D), jnp.float64), leaf([0.1, -0.1, 0.5, -0.5])
    held, _ = run(cells.brc, bistable, xs, h)
    np.testing.assert_allclose(np.tanh(2 * held), held, atol=1e-9)
    assert np.all(np.sign(held) == np.sign(h))
    monostable = params._replace(bias=params.bias.at[:H].set(-0.5))
    assert np.all(abs(run(cells.brc, monostable, xs, h)[0]) < 1e-3)


@pytest.mark.slow
def test_fast_networks_whose_numbers_saturate():
    params, xs, h = example(cells.fast_rnn)
    params = params._replace(alpha=leaf(FAR), beta=leaf(-FAR))
    want = run(jaxrnn.elman, jaxrnn.ElmanParams(*params[:3]), xs, h)
    assert_equal(run(cells.fast_rnn, params, xs, h), want)
    params, xs, h = example(cells.fast_grnn)
    params = params._replace(zeta=leaf(FAR), nu=leaf(-FAR))
    w, r, b = params[:3]
    twice = SimplifiedParams(joined(w, w), joined(r, r), b)
    want = run(cells.make_ugrnn(forget_bias=0.0), twice, xs, h)
    assert_equal(run(cells.fast_grnn, params, xs, h), want)


@pytest.mark.parametrize("make", [cells.make_fast_rnn, cells.make_fast_grnn])
@pytest.mark.slow
def test_a_kernel_of_low_rank_is_the_product_of_its_factors(make):
    cell = make(rank=2)
    params, xs, h = example(cell)
    assert params.input_kernel.shape == (D, 2)
    whole = {
        "input_kernel": params.input_kernel @ params.input_factor,
        "recurrent_kernel": params.recurrent_kernel @ params.recurrent_factor,
    }
    whole = params._replace(**whole, input_factor=None, recurrent_factor=None)
    assert_equal(run(cell, params, xs, h), run(make(), whole, xs, h))


@pytest.mark.slow
def test_an_antisymmetric_network_neither_grows_nor_decays():
    cell = cells.make_antisymmetric_rnn(step=1e-3, diffusion=0.0)
    params, xs, h = example(cell)
    params = params._replace(bias=jnp.zeros_like(params.bias))
    jacobian = jax.jacobian(lambda h: cell.step(params, h, 0 * xs[0, 0])[0])(0 * h[0])
    np.testing.assert_allclose(abs(np.linalg.eigvals(jacobian)), 1.0, atol=1e-5)
    symmetric = params.recurrent_kernel + params.recurrent_kernel.T
    still = params._replace(recurrent_kernel=symmetric)
    assert_equal(cell.recurrent(still, h), jnp.zeros_like(h))
    damped = cells.make_antisymmetric_rnn(diffusion=0.25)
    assert_equal(damped.recurrent(still, h), -0.25 * h)


@pytest.mark.slow
def test_an_antisymmetric_network_whose_gate_is_open_has_none():
    cell = cells.make_antisymmetric_rnn(gated=True)
    params, xs, h = example(cell)
    (w, _), (b, _) = blocks(params.input_kernel, 2), blocks(params.bias, 2)
    opened = SimplifiedParams(
        joined(w, 0 * w), params.recurrent_kernel, joined(b, jnp.full_like(b, 10 * FAR))
    )
    plain = params._replace(input_kernel=w, bias=b)
    assert_equal(run(cell, opened, xs, h), run(cells.antisymmetric_rnn, plain, xs, h))


@pytest.mark.slow
def test_a_highway_network_with_a_gate_of_its_own_for_what_it_keeps():
    params, xs, h = example(cells.make_rhn(depth=3))
    w, r, b = params

    def own(leaf, steps):
        parts = blocks(leaf, 2 * steps)
        return joined(*(joined(n, k, -k) for n, k in zip(parts[::2], parts[1::2], strict=True)))

    apart = SimplifiedParams(own(w, 1), own(r, 3), own(b, 3))
    want = run(cells.make_rhn(depth=3), params, xs, h)
    assert_equal(run(cells.make_rhn(depth=3, coupled=False), apart, xs, h), want)


@pytest.mark.slow
def test_star_squashes_what_a_light_unit_does_not():
    params, xs, h = example(cells.star)
    want = np.tanh(cells.light_ru.step(params, h, xs[0])[0])
    assert_equal(cells.star.step(params, h, xs[0])[0], want)


@pytest.mark.slow
def test_a_minimal_network_whose_gate_sees_no_latent_is_a_light_unit():
    params, xs, h = example(cells.minimal_rnn)
    params = params._replace(latent_kernel=0 * params.latent_kernel)
    w, r, b = params[:3]
    b_z, b_u = blocks(b, 2)
    light = SimplifiedParams(joined(0 * w, w), -r, joined(-b_u, b_z))
    assert_equal(run(cells.minimal_rnn, params, xs, h), run(cells.light_ru, light, xs, h))


@pytest.mark.slow
def test_an_additive_network_is_a_weighted_sum_of_its_inputs():
    params, xs, _ = example(cells.ran)
    zero = cells.ran.carry(params, (B,))
    traces = quick(partial(analysis.gate_traces, cells.ran))(params, xs, zero)
    kept = [np.prod(traces.keep[t + 1 :], axis=0) for t in range(T)]
    content = xs @ params.input_kernel[:, 2 * H :]
    want = sum(traces.write[t] * kept[t] * content[t] for t in range(T))
    assert_equal(run(cells.ran, params, xs, zero)[0].c, want)


@pytest.mark.slow
def test_a_chaos_free_network_comes_to_rest():
    params, _, h = example(cells.cfn)
    hs = run(cells.cfn, params, jnp.zeros((40, B, D), jnp.float64), 10 * h)[1]
    assert np.all(abs(hs[1:]) < abs(hs[:-1]))


@pytest.mark.slow
def test_the_third_mutation_whose_update_gate_sees_no_state():
    params, xs, h = example(cells.mut3)
    params = params._replace(recurrent_kernel=params.recurrent_kernel.at[:, :H].set(0.0))
    turned = each(lambda z, r, n: (r, z, n), params, 3)
    gru = make_gru(reset="before", update="write")
    want = run(gru, jaxrnn.GRUParams(*turned), xs, h)
    assert_equal(run(cells.mut3, params, xs, h), want)


@pytest.mark.slow
def test_a_constrained_network_without_slow_units_and_the_slow_units_alone():
    cell = cells.make_scrn(alpha=0.6, use_bias=True)
    params, xs, carry = example(cell)
    quickly = params._replace(
        context_kernel=0 * params.context_kernel,
        output_kernel=jnp.eye(H, dtype=jnp.float64),
        slow_output_kernel=0 * params.slow_output_kernel,
    )
    want = run(make_elman(activation="sigmoid"), jaxrnn.ElmanParams(*params[:3]), xs, carry.h)
    last, ys = run(cell, quickly, xs, carry)
    assert_equal((last.h, ys), want)
    weights = 0.4 * 0.6 ** np.arange(T)[::-1]
    want = 0.6**T * carry.s + np.einsum("t,tbs->bs", weights, xs @ params.slow_kernel)
    assert_equal(last.s, want)


@pytest.mark.slow
def test_the_bias_of_the_searched_cell_is_the_states():
    cell = cells.make_nas(use_bias=True)
    params, xs, carry = example(cell)
    x, h = params.input_kernel, joined(params.recurrent_kernel)
    one = jnp.ones((B, 1), jnp.float64)
    z = cell.recurrent(params, carry).h
    assert_equal(z, joined(carry.h, one) @ jnp.concatenate([h, params.bias[None]]))
    assert_equal(cell.project(params, xs).x, xs @ x)


# How they begin.


@pytest.mark.slow
def test_published_initialisations():
    cheap = {"recurrent_init": initializers.zeros}
    inits = {
        name: getattr(cells, name).init
        for name in ("mgu", "ind_rnn", "fast_rnn", "fast_grnn", "brc", "antisymmetric_rnn")
    }
    inits |= {name: partial(getattr(cells, name).init, **cheap) for name in ("janet", "cfn", "atr")}
    inits["bare"] = partial(cells.mgu.init, use_bias=False, **cheap)
    inits["rhn"] = partial(cells.make_rhn(depth=2, coupled=False).init, **cheap)
    chrono = initializers.chrono(50, gates="fn")
    inits["chrono"] = partial(cells.janet.init, bias_init=chrono, **cheap)
    draw = quick(lambda key: {n: init(key, D, 64, dtype=jnp.float64) for n, init in inits.items()})
    params = draw(jax.random.key(0))
    for block in blocks(params["mgu"].recurrent_kernel, 2):
        np.testing.assert_allclose(block.T @ block, np.eye(64), atol=1e-10)
    assert params["bare"].bias is None
    assert params["atr"].bias is None
    u = params["ind_rnn"].recurrent_diagonal
    assert 0 <= float(u.min()) < 0.1
    assert 0.9 < float(u.max()) < 1
    biases = {"janet": [1, 0], "cfn": [1, -1], "rhn": [0, -2, 2, 0, -2, 2], "mgu": [0, 0]}
    biases |= {"fast_rnn": [1], "fast_grnn": [1, 1]}
    for name, values in biases.items():
        np.testing.assert_array_equal(params[name].bias, np.repeat(np.array(values, float), 64))
    keep, rest = blocks(params["chrono"].bias, 2)
    assert 0 <= float(keep.min()) < 2
    assert 3 < float(keep.max()) < np.log(49)
    assert np.all(rest == 0)
    for name, numbers in (("fast_rnn", (-3, 3)), ("fast_grnn", (1, -4))):
        assert (float(params[name][3]), float(params[name][4])) == numbers
        assert 0.09 < float(params[name].recurrent_kernel.std()) < 0.11
    assert np.all(params["brc"].recurrent_diagonal == 1)
    m = params["antisymmetric_rnn"].recurrent_kernel
    np.testing.assert_allclose(float(m.std()) * 8, 1, atol=0.05)


REFUSED = [
    (partial(cells.make_mgu, reset="never"), ValueError, "reset: .*'never'"),
    (partial(cells.make_mgu, update="add"), ValueError, "update: .*'add'"),
    (partial(cells.make_ind_rnn, activation="tan"), ValueError, "activation: .*'tan'"),
    (partial(cells.make_ind_rnn, max_recurrent=0), ValueError, "max_recurrent: .*got 0"),
    (partial(cells.make_janet, beta="1"), TypeError, "beta: expected a number, got '1'"),
    (partial(cells.make_janet, beta=np.nan), ValueError, "beta: .*got nan"),
    (partial(cells.make_ugrnn, forget_bias=None), TypeError, "forget_bias: .*None"),
    (partial(cells.make_fast_grnn, rank=0), ValueError, "rank: .*got 0"),
    (partial(cells.make_fast_rnn, rank=(1, 2, 3)), ValueError, r"rank: .*got \(1, 2, 3\)"),
    (partial(cells.make_fast_rnn, rank=1.5), TypeError, "rank: .*got 1.5"),
    (partial(cells.make_antisymmetric_rnn, step=0.0), ValueError, "step: .*got 0.0"),
    (partial(cells.make_antisymmetric_rnn, diffusion=-1), ValueError, "diffusion: .*got -1"),
    (partial(cells.make_brc, neuromodulated=1), TypeError, "neuromodulated: .*got 1"),
    (partial(cells.make_rhn, depth=0), ValueError, "depth: .*got 0"),
    (partial(cells.make_mut, mutation=4), ValueError, "mutation: .*got 4"),
    (partial(cells.make_scrn, alpha=1.0), ValueError, "alpha: .*got 1.0"),
    (partial(cells.make_scrn, slow_size=0), ValueError, "slow_size: .*got 0"),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("cell", [cells.mut1, cells.mut2, cells.intersection_rnn])
def test_the_input_must_be_as_wide_as_the_state(cell):
    with pytest.raises(ValueError, match="hidden_size: expected 3, the input size, got 4"):
        cell.init(jax.random.key(0), 3, 4)
