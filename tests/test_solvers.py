"""Who solves for the carries is a choice, and nothing else: every solver gives what a loop gives.

The reference is the float64 loop of the table of cells; the solvers are those that are parallel
in time, with windows that do not divide T among them.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import associative, newton, sequential, solvers
from jaxrnn.analysis import lyapunov_exponent
from jaxrnn.cells import CELLS
from jaxrnn.networks import Directions
from jaxrnn.solvers import choose
from tests.reference import (
    FAMILIES,
    KINDS,
    B,
    T,
    assert_close,
    assert_same,
    make,
    quick,
    random_like,
    reference,
    scan,
    some,
    values,
    with_gradients,
)

pytestmark = pytest.mark.usefixtures("x64", "strict")

LINEAR = [name for name in CELLS if CELLS[name].coefficients is not None]
NEWTON = {"dense": newton(), "units": newton(jacobian="units"), "windows": newton(window=2)}
SOLVERS = {"associative": associative(), "pairs": associative(window=2), **NEWTON}
PROJECTED = "lstm_projected"  # whose leaves have not the same features
SOLVED = (*KINDS, "gru", "lstm_peephole_full", PROJECTED, "lstm_prototype_normalized")
SOLVED += ("para_lstm", "ind_rnn", "slstm", "lem", "mlstm")
CASES = [f"{name}/dense" for name in SOLVED]
CASES += [f"{name}/units" for name in SOLVED if name not in (PROJECTED, "mlstm")]
CASES += [f"{name}/windows" for name in KINDS]
CASES += [f"{name}/associative" for name in LINEAR]
CASES += [f"{name}/pairs" for name in ("lru", "min_gru", "delta_net") if name in LINEAR]
KEPT = ("lstm/dense", "gru_reset_before/units", "min_gru/pairs")


def split(case):
    name, kind = case.split("/")
    return make(name), SOLVERS[kind], name


def flags():
    """Lengths, gaps and restarts all together."""
    rng = np.random.default_rng(0)
    mask, reset = rng.random((T, B)) < 0.7, rng.random((T, B)) < 0.4
    reset[0, 1] = reset[4, 0] = True
    lengths = np.array([4, 5])
    within = np.arange(T)[:, None] < lengths
    return (lengths, mask, reset), (mask & within, reset & within)


@pytest.mark.parametrize("case", some(CASES, KEPT))
def test_every_solver_is_the_loop(case):
    """Values, carries and gradients, both ways, plain and with padding of NaN."""
    case, solver, name = split(case)
    given, (valid, reset) = flags()
    dirty = np.array(case.xs)
    dirty[~valid] = np.nan
    for reverse in (False, True):
        run = quick(with_gradients(partial(scan, case.cell, solver=solver, reverse=reverse)))
        wanted = reference(name, reverse)
        want = wanted(case.weights, *case.inputs, valid=valid, reset=reset)
        got = run(case.weights, case.params, dirty, case.carry, *given)
        assert_close(got, want, f"{name}, {solver.name}, reverse={reverse}: ", 1e-10)
        if not reverse:
            every = np.full(B, T), np.ones((T, B), bool), np.zeros((T, B), bool)
            got = run(case.weights, *case.inputs, *every)
            want = wanted(case.weights, *case.inputs)
            assert_close(got, want, f"{name}, {solver.name}: ", 1e-10)


@pytest.mark.parametrize(
    "case", some([c for c in CASES if c.split("/")[0] in ("lstm", "elman", "lru")], ())
)
def test_derivatives_of_any_order(case):
    """jvp, hessian, and gradients of rows under vmap: those of the sequential solver."""
    case, solver, name = split(case)
    tangents = random_like(case.inputs, 6)
    lead = jax.tree.map(lambda p: jnp.zeros((), p.dtype), case.params)

    def all_of(solver):
        run = partial(scan, case.cell, solver=solver)

        def moved(at):
            """The outputs along one line for each leaf of the parameters."""
            line = lambda p, v, a: p + a * v  # noqa: E731
            params = jax.tree.map(line, case.params, tangents[0], at)
            last, ys, _ = run(params, case.xs, case.carry)
            leaves = jax.tree.leaves((last, ys))
            return sum(jnp.sum(jnp.sin(jnp.abs(leaf) + 1)) for leaf in leaves)

        def row(xs, carry):
            return jnp.sum(jnp.abs(run(case.params, xs, carry)[1]) ** 2)

        pushed = jax.jvp(run, case.inputs, tangents)[1]
        rows = jax.vmap(jax.grad(row, argnums=0), (1, 0), 1)(case.xs, case.carry)
        return pushed, jax.hessian(moved)(lead), rows

    got, want = quick(partial(all_of, solver))(), quick(partial(all_of, sequential()))()
    for what, a, b in zip(("jvp", "hessian", "vmap of grad"), got, want, strict=True):
        assert_close(a, b, f"{name}, {solver.name}, {what}", 1e-9)


REST = [name for name in FAMILIES if name not in SOLVED]


@pytest.mark.parametrize("name", some(REST, ()))
def test_values_of_the_others(name):
    """By Newton's method, where the state is floating point."""
    case = make(name)
    if not all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in jax.tree.leaves(case.carry)):
        with pytest.raises(TypeError, match="floating-point numbers"):
            scan(case.cell, *case.inputs, solver=newton())
        return
    reset = np.zeros((T, B), bool)
    reset[2] = True
    got = quick(partial(scan, case.cell, solver=newton()))(*case.inputs, None, None, reset)
    assert_close(got, values(name)(*case.inputs, reset), name, 1e-10)


@pytest.mark.parametrize("kind", ["dense", "units"])
@pytest.mark.slow
def test_no_steps_and_one(kind):
    case, solver = make("lstm"), NEWTON[kind]
    carry, ys, status = jaxrnn.scan(
        case.cell, case.params, case.xs[:0], case.carry, solver=solver, return_status=True
    )
    assert_same(carry, case.carry, "T = 0")
    assert ys.shape[0] == 0
    assert bool(status.converged)
    weights = random_like(
        jax.eval_shape(partial(scan, case.cell), case.params, case.xs[:1], None), 3
    )
    run = lambda solver: quick(with_gradients(partial(scan, case.cell, solver=solver)))  # noqa: E731
    got, want = (run(s)(weights, case.params, case.xs[:1], case.carry) for s in (solver, None))
    assert_close(got, want, "T = 1", 1e-12)


UNITS = newton(jacobian="units", window=3)


@pytest.mark.parametrize("solver", some([newton(), UNITS], ()))
def test_layers(solver):
    """Stacks with both directions: the same, with a status for each cell, and guesses alike."""
    net = jaxrnn.stack(jaxrnn.bidirectional(jaxrnn.elman), jaxrnn.gru)
    params = net.init(jax.random.key(0), 3, 4, dtype=jnp.float64)
    xs = make("gru").xs
    options: dict = {"lengths": np.array([T, 3]), "return_carries": True}

    @quick
    def run(params, xs, guess=None):
        def loss(params):
            found = jaxrnn.scan(
                net, params, xs, solver=solver, guess=guess, return_status=True, **options
            )
            return jnp.sum(found[1] ** 2), found

        return jax.value_and_grad(loss, has_aux=True)(params)

    def plain(params):
        found = jaxrnn.scan(net, params, xs, **options)
        return jnp.sum(found[1] ** 2), found

    (_, (*got, status)), slope = run(params, xs)
    (_, want), right = quick(jax.value_and_grad(plain, has_aux=True))(params)
    assert_close(tuple(got), want, "values", 1e-11)
    assert_close(slope, right, "gradient", 1e-10)
    assert [type(one) for one in status] == [Directions, solvers.Status]
    each = [*status[0], status[1]]
    assert all(bool(one.converged) and int(one.iterations) > 0 for one in each)
    again = run(params, xs, want[2])[0][1][3]
    spared = [*again[0], again[1]]
    assert all(int(b.iterations) < int(a.iterations) for a, b in zip(each, spared, strict=True))


def rough(scale, size=6, time=60):
    """A GRU with large recurrent weights, and inputs; the larger, the more chaotic."""
    params = jaxrnn.gru.init(jax.random.key(3), 3, size, dtype=jnp.float64)
    params = params._replace(recurrent_kernel=scale * params.recurrent_kernel)
    return params, jax.random.normal(jax.random.key(4), (time, 3), jnp.float64)


@pytest.mark.slow
def test_what_does_not_converge_says_so():
    """And is replaced by the right states, or NaN; gradients alike."""
    params, xs = rough(8.0)
    assert float(lyapunov_exponent(jaxrnn.gru, params, xs)) > 0

    def run(solver):
        def loss(params):
            _, ys, status = jaxrnn.scan(jaxrnn.gru, params, xs, solver=solver, return_status=True)
            return jnp.sum(ys[:10] ** 2), (ys, status)

        return quick(jax.value_and_grad(loss, has_aux=True))(params)

    (_, (want, _)), slope = run(sequential())
    for jacobian in ("dense", "units"):
        options = {"jacobian": jacobian, "max_iterations": 4}
        (_, (ys, status)), got = run(newton(**options))
        assert not bool(status.converged)
        assert int(status.iterations) == 4
        assert float(status.residual) > 1e-6
        assert_close(ys, want, "the fallback", 1e-13)
        assert_close(got, slope, "its gradient", 1e-9)
        (_, (ys, status)), _ = run(newton(**options, fallback="nan"))
        assert not bool(status.converged)
        assert bool(jnp.isnan(ys).all()), "never a wrong number"


@pytest.mark.parametrize("jacobian", ["dense", "units"])
def test_after_as_many_iterations_as_steps_it_is_exact(jacobian):
    """Whatever is guessed, NaN included: each iteration makes one more state right."""
    params, xs = rough(8.0, time=9)
    guess = jnp.full((9, 6), jnp.nan).at[4].set(1e300)
    solver = newton(jacobian=jacobian, max_iterations=10, fallback="nan")
    _, ys, status = quick(
        lambda params, xs: jaxrnn.scan(
            jaxrnn.gru, params, xs, solver=solver, guess=guess, return_status=True
        )
    )(params, xs)
    assert bool(status.converged)
    assert_close(ys, jaxrnn.scan(jaxrnn.gru, params, xs)[1], "values", 1e-10)


@pytest.mark.slow
def test_bounds_spare_iterations():
    """Iterates that overshoot are kept where the cell says that its state is."""
    params, xs = rough(3.0, size=16, time=200)
    counts = []
    for cell in (jaxrnn.gru, jaxrnn.gru._replace(bounds=None)):
        solver = newton(max_iterations=200)
        run = partial(jaxrnn.scan, cell, solver=solver, return_status=True)
        status = quick(run)(params, xs)[2]
        assert bool(status.converged)
        counts.append(int(status.iterations))
    assert counts[0] <= counts[1]
    assert counts[0] < 60


BOUNDED = [name for name in CELLS if CELLS[name].bounds is not None]


@pytest.mark.parametrize("name", some(BOUNDED, ("lstm", "gru", "lstm_prototype", "elman")))
def test_no_state_is_beyond_its_bounds(name):
    """With weights and inputs so large that everything saturates."""
    case = make(name)
    params = jax.tree.map(lambda p: 20 * p, case.params)
    start = jax.tree.map(jnp.abs, case.carry)
    count = jnp.arange(1.0, T + 1, dtype=jnp.float64)

    @quick
    def run(params, xs, carry):
        carries = jaxrnn.scan(case.cell, params, xs, carry, return_carries=True)[2]
        return carries, jax.vmap(lambda t: case.cell.bounds(params, start, t))(count)

    carries, most = run(params, 50 * case.xs, case.carry)
    assert jax.tree.structure(carries) == jax.tree.structure(most)
    for s, bound in zip(*map(jax.tree.leaves, (carries, most)), strict=True):
        assert bool(jnp.all(jnp.abs(s) <= bound * (1 + 1e-12)))
    assert any(bool(jnp.isfinite(leaf).any()) for leaf in jax.tree.leaves(most))


@pytest.mark.slow
def test_a_warm_start_spares_iterations():
    """From the carries of slightly other parameters."""
    params, xs = rough(2.0, size=16, time=200)
    run = quick(
        partial(jaxrnn.scan, jaxrnn.gru, solver=newton(), return_carries=True, return_status=True)
    )
    *_, carries, cold = run(params, xs)
    moved = jax.tree.map(lambda p: p * (1 + 1e-4), params)
    _, ys, _, warm = run(moved, xs, guess=carries)
    assert int(warm.iterations) <= 3 < int(cold.iterations)
    assert_close(ys, jaxrnn.scan(jaxrnn.gru, moved, xs)[1], "values", 1e-10)


@pytest.mark.slow
def test_a_linear_system_takes_one_iteration():
    cell = jaxrnn.make_elman(activation="identity")
    params = cell.init(jax.random.key(0), 3, 5, dtype=jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (50, 3), jnp.float64)
    status = jaxrnn.scan(cell, params, xs, solver=newton(), return_status=True)[2]
    assert int(status.iterations) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["para_gru", "para_lstm"])
def test_blocks_of_units_are_newton_where_the_recurrence_is_diagonal(name):
    cell = CELLS[name]
    params = cell.init(jax.random.key(0), 3, 6, dtype=jnp.float64)
    xs = jax.random.normal(jax.random.key(1), (300, 3), jnp.float64)
    counts = [
        int(jaxrnn.scan(cell, params, xs, solver=solver, return_status=True)[2].iterations)
        for solver in (newton(), newton(jacobian="units"))
    ]
    assert counts[0] == counts[1] <= 8


@pytest.mark.parametrize("jacobian", some(["dense", "units"], ()))
def test_float32_and_half(jacobian):
    """Off by no more than rounding; half types are solved in float32."""
    case = make("lstm")
    xs = jnp.concatenate([case.xs] * 20)
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (case.params, xs, case.carry))
    with jax.numpy_dtype_promotion("standard"):
        run = quick(with_gradients(partial(scan, case.cell, solver=newton(jacobian=jacobian))))
        loop = quick(with_gradients(partial(scan, case.cell)))
        weights = random_like(jax.eval_shape(partial(scan, case.cell), *low), 3)
        assert_close(run(weights, *low), loop(weights, *low), jacobian, 2e-4)
        assert_close(run(weights, *low)[0], loop(weights, *low)[0], jacobian, 5e-6)
        cell = case.cell
        half = cell.init(jax.random.key(0), 3, 4, dtype=jnp.bfloat16)
        few = low[1].astype(jnp.bfloat16)
        got = jaxrnn.scan(cell, half, few, solver=newton(jacobian=jacobian))[1]
        want = jaxrnn.scan(cell, half, few)[1]
        assert got.dtype == want.dtype == jnp.bfloat16
        assert_close(got, want, "bfloat16", 4 * 2.0**-8)


def test_associative_pairs_of_half_types_are_accumulated_in_float32():
    cell = CELLS["min_gru"]
    params = cell.init(jax.random.key(0), 3, 8, dtype=jnp.bfloat16)
    xs = jax.random.normal(jax.random.key(1), (500, 3), jnp.bfloat16)
    got, want = (jaxrnn.scan(cell, params, xs, solver=s)[1] for s in (associative(), None))
    assert got.dtype == want.dtype
    assert_close(got, want, "bfloat16", 2 * 2.0**-8)


@pytest.mark.slow
def test_under_vmap_and_jit():
    """The status too: one for each example."""
    params, xs = rough(2.0, time=40)
    many = jnp.stack([xs, 3 * xs, -xs])
    run = jax.vmap(
        lambda xs: jaxrnn.scan(jaxrnn.gru, params, xs, solver=newton(), return_status=True)
    )
    _, ys, status = quick(run)(many)
    want = quick(jax.vmap(lambda xs: jaxrnn.scan(jaxrnn.gru, params, xs)[1]))(many)
    assert_close(ys, want, "values", 1e-11)
    assert status.iterations.shape == (3,)
    assert bool(status.converged.all())


def test_the_choice(monkeypatch):
    """Sequential, but associative for linear cells where there is an accelerator."""
    linear, other = CELLS["min_gru"], jaxrnn.gru
    assert {choose(cell).name for cell in (linear, other)} == {"sequential"}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert choose(linear) == associative()
    assert choose(other) == sequential()


def test_what_a_solver_refuses():
    case = make("gru")
    run = partial(jaxrnn.scan, case.cell, case.params, case.xs)
    with pytest.raises(ValueError, match=r"solver: .*'gru', which has no coefficients"):
        run(solver=associative())
    with pytest.raises(ValueError, match=r"guess: .* jaxrnn.newton\(\), got solver=None"):
        run(guess=case.carry)
    with pytest.raises(ValueError, match="guess: "):
        run(guess=case.carry, solver=newton())
    with pytest.raises(ValueError, match="unroll: expected 1 with a solver, got 2"):
        run(solver=newton(), unroll=2)
    with pytest.raises(TypeError, match="solver: expected a Solver"):
        run(solver="newton")
    projected = make("lstm_projected")
    with pytest.raises(ValueError, match=r"same features, got \(.*jacobian=\"dense\""):
        jaxrnn.scan(projected.cell, projected.params, projected.xs, solver=newton(jacobian="units"))
    counter = case.cell._replace(
        carry=lambda params, batch=(): (case.cell.carry(params, batch), jnp.zeros(batch, int)),
        recurrent=lambda params, s: case.cell.recurrent(params, s[0]),
        update=lambda params, s, z: (case.cell.update(params, s[0], z), s[1] + 1),
        output=lambda params, s, z: s[0],
        gates=None,
        bounds=None,
    )
    with pytest.raises(TypeError, match=r"floating-point numbers, got one that holds int"):
        jaxrnn.scan(counter, case.params, case.xs, solver=newton())
    wrong = {
        "jacobian": "diagonal",
        "fallback": "zero",
        "max_iterations": 0,
        "tolerance": 0.0,
        "damping": 1.0,
        "clip": 1.0,
        "window": 0,
    }
    for name, value in wrong.items():
        with pytest.raises(ValueError, match=name):
            newton(**{name: value})
    with pytest.raises(TypeError, match="tolerance: expected a number, got str"):
        newton(tolerance="small")
    with pytest.raises(ValueError, match="window"):
        associative(window=0)
    assert newton(window=3) == newton(window=3), "compiled once"
    assert solvers.Status.direct().converged


@pytest.mark.parametrize("scale", [0.5, 1.25])
def test_lyapunov_exponent_of_a_linear_system(scale):
    """The logarithm of the largest magnitude of an eigenvalue, whatever the inputs."""
    cell = jaxrnn.make_elman(activation="identity")
    kernel = scale * jnp.array([[0.6, -0.8, 2.0], [0.8, 0.6, 0.0], [0.0, 0.0, 0.3]])
    params = jaxrnn.ElmanParams(jnp.ones((1, 3)), kernel)
    xs = jax.random.normal(jax.random.key(0), (400, 2, 1), jnp.float64)
    found = lyapunov_exponent(cell, params, xs, warmup=100)
    np.testing.assert_allclose(found, np.log(scale), rtol=0, atol=5e-3)
    forgets = cell._replace(recurrent=lambda params, h: jnp.zeros_like(h))
    assert bool((lyapunov_exponent(forgets, params, xs) == -jnp.inf).all())
    with pytest.raises(ValueError, match="warmup: expected fewer than T=400"):
        lyapunov_exponent(cell, params, xs, warmup=400)
