"""The measures of `jaxrnn.analysis` against closed forms and against brute force."""

import subprocess
import sys
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import ElmanParams, LSTMCarry, analysis, make_elman
from jaxrnn.base import add
from jaxrnn.cells import CELLS
from tests.reference import assert_close, loop, quick, random_like, some

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 5, 2, 3, 4
linear = make_elman(activation="identity")


def example(cell, size=H, batch=(B,), time=T):
    """Random parameters, inputs and carry, in float64."""
    init = lambda key: cell.init(key, D, size, dtype=jnp.float64)  # noqa: E731
    params = jax.eval_shape(init, jax.random.key(0))
    carry = jax.eval_shape(lambda params: cell.carry(params, batch), params)
    xs = jax.ShapeDtypeStruct((time, *batch, D), jnp.float64)
    return random_like((params, xs, carry), 1, 0.6)


# Gradient norms.


def test_gradient_norms_of_a_linear_network_are_those_of_powers():
    params, xs, carry = example(linear)
    w = np.random.default_rng(2).normal(size=H)
    measure = partial(analysis.gradient_norms, linear, loss=lambda y: y @ jnp.asarray(w))
    norms = quick(measure)(params, xs, carry)
    kernel, recurrent = np.asarray(params.input_kernel), np.asarray(params.recurrent_kernel)
    back = [np.linalg.matrix_power(recurrent, T - t) @ w for t in range(T + 1)]
    states = [np.linalg.norm(back[t]) for t in range(T)]
    inputs = [np.linalg.norm(kernel @ back[t + 1]) for t in range(T)]
    for got, want in ((norms.total, states), (norms.carry, states), (norms.inputs, inputs)):
        assert_close(got, np.repeat(np.array(want)[:, None], B, axis=1), "", 1e-13)


NETS = {**CELLS, "stack": jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)}
QUICK = ("gru_reset_before", "stack")
NETS["learned_carry"] = jaxrnn.learned_carry(jaxrnn.lstm)


@pytest.mark.parametrize(
    "name",
    some(["gru_reset_before", "stack", "learned_carry", "lstm_fgr", "lstm", "elman"], QUICK),
)
def test_gradient_norms_are_those_of_a_loop_begun_at_every_step(name):
    cell = NETS[name]
    params, xs, carry = example(cell)
    weights = jnp.asarray(np.random.default_rng(3).normal(size=H), jnp.float64)
    if name == "lstm_projected":
        weights = weights[: H // 2]

    def loss(y):
        return jnp.sum(jnp.sin(y) * weights, axis=-1)

    @quick
    def reference(params, xs, carry):
        _, _, carries = loop(cell, params, xs, carry)
        starts = [carry, *(jax.tree.map(lambda leaf: leaf[t], carries) for t in range(T - 1))]  # noqa: B023

        def value(start, x, t):
            rest = jnp.concatenate([x[None], xs[t + 1 :]])
            return loss(loop(cell, params, rest, start)[1][-1]).sum()

        return [jax.grad(value, (0, 1))(s, xs[t], t) for t, s in enumerate(starts)]

    grads, inputs = zip(*reference(params, xs, carry), strict=True)
    each = jax.tree.map(lambda *g: np.linalg.norm(np.stack(g), axis=-1), *grads)
    total = np.sqrt(sum(leaf**2 for leaf in jax.tree.leaves(each)))
    measure = quick(lambda *args: analysis.gradient_norms(cell, *args, loss=loss))
    got = measure(params, xs, carry)
    want = analysis.GradientNorms(total, each, np.linalg.norm(np.stack(inputs), axis=-1))
    assert_close(got, want, name)


@pytest.mark.slow
def test_gradient_norms_take_a_scalar_loss_and_any_batch_axes():
    for batch in ((), (2, 3)):
        params, xs, carry = example(jaxrnn.gru, batch=batch)

        @quick
        def measure(params, xs, carry):
            norms = partial(analysis.gradient_norms, jaxrnn.gru, params, xs, carry)
            by_row, whole = (norms(loss=partial(jnp.sum, axis=axis)) for axis in (-1, None))
            return by_row, whole, norms()

        by_row, whole, default = measure(params, xs, carry)
        assert by_row.total.shape == (T, *batch)
        assert_close(whole, by_row, str(batch))
        assert_close(default, by_row, str(batch))


def test_gradient_norms_too_small_to_be_squared_are_measured():
    params = ElmanParams(*(jnp.eye(2, dtype=jnp.float32),) * 2, jnp.zeros(2, jnp.float32))
    for factor, time in ((0.01, 17), (100.0, 17)):
        scaled = params._replace(recurrent_kernel=jnp.float32(factor) * params.recurrent_kernel)
        xs = jnp.zeros((time, 1, 2), jnp.float32)
        norms = analysis.gradient_norms(linear, scaled, xs).total[:, 0]
        want = np.sqrt(2) * factor ** np.arange(time, 0, -1, dtype=np.float64)
        np.testing.assert_allclose(norms, want, rtol=1e-5)  # 1e-34 .. 1e34
    nothing = params._replace(recurrent_kernel=0 * params.recurrent_kernel)
    assert analysis.gradient_norms(linear, nothing, xs).total[0, 0] == 0


def test_gradient_norms_take_time_and_memory_that_grow_with_the_steps_only():
    params, _, _ = example(jaxrnn.lstm)
    measure = jax.jit(partial(analysis.gradient_norms, jaxrnn.lstm))
    equations, memory = [], []
    for time in (100, 1000):
        xs = jax.ShapeDtypeStruct((time, B, D), jnp.float64)
        equations.append(str(jax.make_jaxpr(measure)(params, xs)).count("\n"))
        memory.append(measure.lower(params, xs).compile().memory_analysis().temp_size_in_bytes)
    assert equations[0] == equations[1]
    assert memory[1] <= 10.5 * memory[0]


# The bound.


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu", "identity"])
def test_gradients_and_singular_values_stay_below_the_bound(name):
    cell = make_elman(activation=name)
    params, xs, carry = example(cell)
    bound = analysis.vanishing_bound(params.recurrent_kernel, T, activation=name)
    measure = quick(partial(analysis.gradient_norms, cell, loss=lambda y: y[..., 1]))
    norms = measure(params, xs, carry).total
    assert np.all(norms <= bound[:0:-1, None] * (1 + 1e-12))  # of a loss whose gradient is 1 long
    values = quick(partial(analysis.jacobian_singular_values, cell))(params, xs, carry)
    assert np.all(values[..., 0] <= bound[1] * (1 + 1e-12))
    assert_close(bound, np.asarray(bound[1]) ** np.arange(T + 1), "powers")


def test_an_orthogonal_linear_network_reaches_the_bound():
    params, xs, _ = example(linear)
    orthogonal = np.linalg.qr(params.recurrent_kernel)[0]
    params = params._replace(recurrent_kernel=jnp.asarray(0.9 * orthogonal))
    bound = analysis.vanishing_bound(params.recurrent_kernel, T, activation="identity")
    norms = analysis.gradient_norms(linear, params, xs, loss=lambda y: y[..., 0]).total
    assert_close(bound, 0.9 ** np.arange(T + 1), "bound")
    assert_close(norms[:, 0], bound[:0:-1], "norms")


def test_a_logistic_network_at_its_steepest_reaches_the_bound():
    cell = make_elman(activation="sigmoid")
    params, xs, _ = example(cell)
    kernel = jnp.asarray(3 * np.linalg.qr(params.recurrent_kernel)[0])
    rest = jnp.full(H, -0.5, jnp.float64) @ kernel  # so that the state stays at 1/2
    params = ElmanParams(params.input_kernel, kernel, rest)
    half = jnp.full((B, H), 0.5, jnp.float64)
    norms = analysis.gradient_norms(cell, params, 0 * xs, half, loss=lambda y: y[..., 0])
    bound = analysis.vanishing_bound(kernel, T, activation="sigmoid")
    assert_close(norms.total[:, 0], bound[:0:-1], "norms")


# The Jacobian.


def test_singular_values_of_a_linear_network_are_those_of_its_kernel():
    params, xs, carry = example(linear)
    values = analysis.jacobian_singular_values(linear, params, xs, carry)
    want = np.linalg.svd(params.recurrent_kernel, compute_uv=False)
    assert_close(values, np.broadcast_to(want, (T, B, H)), "")


@pytest.mark.parametrize("name", ["lstm", "gru", "stack"])
def test_singular_values_are_those_of_every_step_of_every_row(name):
    cell = NETS[name]
    params, xs, carry = example(cell)
    values = quick(partial(analysis.jacobian_singular_values, cell))(params, xs, carry)

    @quick
    def jacobian(s, x):
        return jax.jacrev(lambda s: cell.step(params, s, x)[0])(s)

    for b in range(B):
        s = jax.tree.map(lambda leaf: leaf[b], carry)  # noqa: B023
        for t in range(T):
            blocks = jax.tree.leaves(jacobian(s, xs[t, b]))
            size = len(jax.tree.leaves(s))
            matrix = np.block(
                [[np.asarray(blocks[i * size + j]) for j in range(size)] for i in range(size)]
            )
            want = np.linalg.svd(matrix, compute_uv=False)
            assert_close(values[t, b], want, f"{t}, {b}")
            s, _ = cell.step(params, s, xs[t, b])


# Memory.


@pytest.mark.parametrize(("rate", "threshold"), [(0.5, 0.3), (0.9, 0.01), (0.99, 0.5), (0.9, 1.0)])
def test_the_horizon_of_a_leaky_integrator(rate, threshold):
    one = jnp.ones((1, 1), jnp.float64)
    params = ElmanParams((1 - rate) * one, rate * one, jnp.zeros(1, jnp.float64))
    xs = jnp.zeros((100, 2, 1), jnp.float64)
    measure = quick(partial(analysis.memory_horizon, linear, threshold=threshold))
    steps, influence = measure(params, xs)
    want = (1 - rate) * rate ** np.arange(99, -1, -1)
    assert_close(influence, np.repeat(want[:, None], 2, axis=1), "influence")
    assert steps.tolist() == [1 + int(np.log(threshold) / np.log(rate))] * 2
    steps, _ = analysis.memory_horizon(linear, params, xs[:3], threshold=0.001)
    assert steps.tolist() == [3, 3]  # it cannot be longer than the sequence


def test_the_horizon_of_a_delay_line_is_its_length():
    delay = ElmanParams(
        jnp.eye(1, 7, dtype=jnp.float64), jnp.eye(7, k=1, dtype=jnp.float64), jnp.zeros(7)
    )
    measure = quick(partial(analysis.memory_horizon, linear, threshold=1e-9))
    steps, influence = measure(delay, jnp.ones((20, 1)))
    assert int(steps) == 7
    assert influence.tolist() == [0.0] * 13 + [1.0] * 7
    deaf = delay._replace(input_kernel=0 * delay.input_kernel)
    assert int(measure(deaf, jnp.ones((20, 1))).steps) == 0


@pytest.mark.parametrize("net", [jaxrnn.gru, jaxrnn.bidirectional(jaxrnn.lstm)])
def test_influence_is_the_norm_of_the_jacobian(net):
    params, xs, carry = example(net)
    influence = quick(partial(analysis.memory_horizon, net))(params, xs, carry).influence
    last = lambda xs: jaxrnn.scan(net, params, xs, carry)[1][-1]  # noqa: E731
    jacobian = np.asarray(quick(jax.jacfwd(last))(xs))  # (B, H, T, B, D)
    for b in range(B):
        want = np.linalg.norm(jacobian[b, :, :, b], axis=(0, 2))
        assert_close(influence[:, b], want, f"row {b}")


def seen(sizes, dilations, strides):
    """The inputs that output 0 of a stack of convolutions sees, by going down through it."""
    at = {0}
    for size, dilation, stride in zip(sizes[::-1], dilations[::-1], strides[::-1], strict=True):
        at = {stride * place + dilation * tap for place in at for tap in range(size)}
    return max(at) - min(at) + 1


def test_receptive_fields_by_brute_force():
    choices = list(product((1, 2, 3), (1, 2), (1, 2, 3)))
    for layers in ([()], product(choices), product(choices, choices)):
        for stack in layers:
            sizes, dilations, strides = ([layer[i] for layer in stack] for i in range(3))
            got = analysis.receptive_field(sizes, dilations, strides)
            assert got == seen(sizes, dilations, strides)
    assert analysis.receptive_field([3] * 4, [1, 2, 4, 8], [2, 1, 3, 1]) == seen(
        [3] * 4, [1, 2, 4, 8], [2, 1, 3, 1]
    )
    assert analysis.receptive_field([3, 3, 3]) == 7


# Gates.


def scaled(gate, z):
    return z if gate is None else gate * z


OLDEST = ("LSTMSpec", "LSTMReferenceSpec", "PrototypeSpec", "GRUSpec")
"""Whose gates are what is said here; the other families say it where their cells are tested."""
GATED = [n for n in CELLS if CELLS[n].gates and type(CELLS[n].spec).__name__ in OLDEST]


def candidate(name, params, carry, z, gate):
    """The candidate of a cell one of whose gates goes into it."""
    kernel = params.recurrent_kernel[:, -H:]
    if not name.startswith("gru"):
        read = np.tanh(carry) if name == "lstm_pseudo" else carry
        return np.tanh(z.g + (gate.o * read) @ kernel)
    past = (gate.r * carry) @ kernel if z.nh is None else gate.r * z.nh
    return np.tanh(z.nx + past)


@pytest.mark.parametrize("name", some(GATED, ("lstm", "gru", "lstm_fgr")))
def test_the_states_follow_from_the_gates(name):
    """Every gate that a cell of the registry shows is what its update goes by."""
    cell = CELLS[name]
    params, xs, carry = jax.tree.map(np.asarray, example(cell))

    @quick
    def measure(params, xs, carry):
        _, _, carries = loop(cell, params, xs, carry)
        shift = lambda first, after: jnp.concatenate([first[None], after[:-1]])  # noqa: E731
        before = jax.tree.map(shift, carry, carries)
        z = add(cell.project(params, xs), cell.recurrent(params, before))
        return analysis.gate_traces(cell, params, xs, carry), z, carries

    results = jax.tree.map(np.asarray, measure(params, xs, carry))
    for t in range(T):
        gate, z, new = jax.tree.map(lambda leaf: leaf[t], results)  # noqa: B023
        if name.startswith("gru"):
            assert_close(gate.n, candidate(name, params, carry, z, gate), "n")
            keep = 1 - gate.z if name == "gru_write" else gate.z
            assert_close(new, keep * carry + (1 - keep) * gate.n, name)
        elif hasattr(carry, "c"):
            c = scaled(gate.f, carry.c) + scaled(gate.i, gate.g)
            h = scaled(gate.o, c if name == "lstm_noaf" else np.tanh(c))
            if name == "lstm_projected":
                h = h @ params.projection_kernel
            assert_close(LSTMCarry(new.h, new.c), LSTMCarry(h, c), name)
            for own in ("i", "f", "o") if name == "lstm_fgr" else ():
                assert_close(getattr(new, own), getattr(gate, own), own)
        else:
            assert_close(gate.g, candidate(name, params, carry, z, gate), "g")
            s = gate.f * carry + gate.i * gate.g
            if name == "lstm_prototype_normalized":
                s = s / np.sqrt(np.var(s, axis=-1, keepdims=True) + 1)
            assert_close(new, s, name)
        carry = new


def test_gates_that_a_cell_lacks_are_none_and_coupled_ones_add_up_to_one():
    for name, gate in (("lstm_nig", "i"), ("lstm_nfg", "f"), ("lstm_nog", "o")):
        cell = CELLS[name]
        traces = jax.eval_shape(partial(analysis.gate_traces, cell), *example(cell))
        lacking = [other for other in "ifgo" if getattr(traces, other) is None]
        assert lacking == [gate]
    traces = quick(partial(analysis.gate_traces, jaxrnn.cells.lstm_cifg))(
        *example(jaxrnn.cells.lstm_cifg)
    )
    assert_close(traces.i + traces.f, np.ones((T, B, H)), "coupled")


def test_the_reset_gate_of_a_gru_is_the_logistic_of_its_block():
    params, xs, carry = jax.tree.map(np.asarray, example(jaxrnn.gru))
    traces = quick(partial(analysis.gate_traces, jaxrnn.gru))(params, xs, carry)
    z = xs[0] @ params.input_kernel[:, :H] + carry @ params.recurrent_kernel[:, :H]
    assert_close(traces.r[0], 1 / (1 + np.exp(-(z + params.bias[:H]))), "r")


@pytest.mark.slow
def test_gate_traces_of_a_stack_are_those_of_its_layers():
    net = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)
    params, xs, carry = example(net)
    _, ys = jaxrnn.scan(jaxrnn.lstm, params[0], xs, carry[0])
    want = (
        analysis.gate_traces(jaxrnn.lstm, params[0], xs, carry[0]),
        analysis.gate_traces(jaxrnn.gru, params[1], ys, carry[1]),
    )
    assert_close(analysis.gate_traces(net, params, xs, carry), want, "stack", 0)
    learned = jaxrnn.learned_carry(jaxrnn.lstm)
    mine = jaxrnn.networks.LearnedCarryParams(
        params[0], jax.tree.map(lambda leaf: leaf[0], carry[0])
    )
    traces = analysis.gate_traces(learned, mine, xs, carry[0])
    assert_close(traces, want[0], "learned carry", 0)


# Bad input.


def test_bad_input_is_named():
    params, xs, carry = example(jaxrnn.elman)
    measures = (
        analysis.gradient_norms,
        analysis.memory_horizon,
        analysis.jacobian_singular_values,
        analysis.gate_traces,
    )
    for measure in measures:
        with pytest.raises(ValueError, match=r"xs: expected at least one step, got shape \(0, 2"):
            measure(jaxrnn.elman, params, xs[:0])
        with pytest.raises(TypeError, match=r"cell: expected a Cell"):
            measure("elman", params, xs)
        with pytest.raises(ValueError, match=r"carry: expected float64\[2, 4\]"):
            measure(jaxrnn.elman, params, xs, carry[:1])
        with pytest.raises(TypeError, match=r"xs: expected a floating-point array"):
            measure(jaxrnn.elman, params, jnp.zeros((T, B, D), int))
    with pytest.raises(ValueError, match=r"with gates, got 'elman', which shows none"):
        analysis.gate_traces(jaxrnn.elman, params, xs)
    with pytest.raises(
        TypeError, match=r"cell: expected a Cell, or a Layer that can step, got 'bid"
    ):
        analysis.gradient_norms(jaxrnn.bidirectional(jaxrnn.elman), params, xs)
    for threshold in (0, -1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"threshold: expected a share in \(0, 1\]"):
            analysis.memory_horizon(jaxrnn.elman, params, xs, threshold=threshold)
    with pytest.raises(ValueError, match=r"activation: expected one of .*'tanh'"):
        analysis.vanishing_bound(params.recurrent_kernel, 3, activation="softmax")
    with pytest.raises(ValueError, match=r"recurrent_kernel: expected a square one"):
        analysis.vanishing_bound(params.input_kernel, 3)
    with pytest.raises(ValueError, match=r"steps: expected at least 0, got -1"):
        analysis.vanishing_bound(params.recurrent_kernel, -1)
    with pytest.raises(ValueError, match=r"strides: expected 2, one a layer, got 1"):
        analysis.receptive_field([3, 3], strides=[2])
    with pytest.raises(ValueError, match=r"dilations\[1\]: expected a positive int, got 0"):
        analysis.receptive_field([3, 3], [1, 0])
    with pytest.raises(TypeError, match=r"kernel_sizes\[0\]: expected a positive int, got 2.0"):
        analysis.receptive_field([2.0])


# Pictures.


@pytest.mark.slow
def test_pictures_show_what_was_measured():
    pytest.importorskip("matplotlib")
    params, xs, carry = example(jaxrnn.lstm)
    norms = analysis.gradient_norms(jaxrnn.lstm, params, xs, carry).total
    axes = analysis.plot_gradient_norms({"LSTM": norms})
    (line,) = axes.get_lines()
    assert line.get_label() == "LSTM"
    assert line.get_xdata().tolist() == [5, 4, 3, 2, 1]
    np.testing.assert_allclose(line.get_ydata(), norms.mean(1))
    assert axes.get_yscale() == "log"
    again = analysis.plot_gradient_norms({"h": norms, "c": norms}, axes)
    assert again is axes
    assert len(axes.get_lines()) == 3

    traces = analysis.gate_traces(jaxrnn.cells.lstm_nig, *example(jaxrnn.cells.lstm_nig))
    axes = analysis.plot_gates(traces)
    assert axes.get_legend_handles_labels()[1] == ["f", "g", "o"]
    middle = np.median(np.asarray(traces.f).reshape(T, -1), axis=1)
    np.testing.assert_allclose(axes.get_lines()[0].get_ydata(), middle)

    values = analysis.jacobian_singular_values(jaxrnn.lstm, params, xs, carry)
    axes = analysis.plot_singular_values(values, bound=2.0)
    largest, _, smallest, bound = (line.get_ydata() for line in axes.get_lines())
    np.testing.assert_allclose(largest, values[..., 0].max(1))
    np.testing.assert_allclose(smallest, values[..., -1].min(1))
    assert list(bound) == [2.0, 2.0]


def test_matplotlib_is_loaded_only_to_draw():
    code = "import sys, jaxrnn; jaxrnn.analysis.plot_gates; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_drawing_without_matplotlib_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="expected matplotlib, which is not installed"):
        analysis.plot_gradient_norms({"a": [1.0]})
