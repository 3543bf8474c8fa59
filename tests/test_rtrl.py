"""Gradients made forward in time against backpropagation, in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.base import Cell
from jaxrnn.learning.influence import exact
from tests.reference import assert_close, assert_same, quick, random_like

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 6, 3, 2, 3
slow = pytest.mark.slow
LENGTHS = np.asarray([6, 0, 4])
MASK = np.random.default_rng(0).random((T, B)) < 0.6
RESET = np.random.default_rng(1).random((T, B)) < 0.4
RESET[4, 2] = RESET[5, 0] = True  # past a length, with the last step
cell_params = lambda params: params["cell"]  # noqa: E731


def loss(params, y, target):
    goal, weight = target
    return weight * jnp.sum((y @ params["out"] - goal) ** 2, axis=-1)


def independent():
    """Two states for each unit, and units that do not see each other's: J is diagonal in units."""

    def init(key, input_size, hidden_size, *, dtype=float):
        return {
            "kernel": jnp.zeros((input_size, 2 * hidden_size), dtype),
            "u": jnp.zeros((3, hidden_size), dtype),
            "bias": jnp.zeros((2 * hidden_size,), dtype),
        }

    def update(params, carry, z):
        a, b = jnp.split(z, 2, axis=-1)
        h = jnp.tanh(a + params["u"][0] * carry["h"] + params["u"][1] * carry["c"])
        return {"h": h, "c": params["u"][2] * carry["c"] + jnp.sin(b) * h}

    def carry(params, batch_shape=()):
        zeros = jnp.zeros((*batch_shape, H), params["bias"].dtype)
        return {"h": zeros, "c": zeros}

    return Cell(
        name="independent",
        init=init,
        carry=carry,
        project=lambda params, x: x @ params["kernel"] + params["bias"],
        recurrent=lambda params, carry: None,
        update=update,
        output=lambda params, carry, z: carry["h"] + carry["c"],
    )


CELLS = {
    "elman": jaxrnn.elman,
    "lstm": jaxrnn.lstm,
    "gru": jaxrnn.gru,
    "stack": jaxrnn.stack(jaxrnn.lstm, jaxrnn.cells.gru_reset_before),
    "learned": jaxrnn.learned_carry(jaxrnn.lstm),
    "independent": independent(),
}


class Case:
    def __init__(self, cell, time=T, dtype=float, batch=(B,)):
        shapes = jax.eval_shape(lambda key: cell.init(key, D, H, dtype=dtype), jax.random.key(0))
        like = {"cell": shapes, "out": jax.ShapeDtypeStruct((H, 2), dtype)}
        self.cell, self.params = cell, random_like(like, 0)
        shapes = [(time, *batch, D), (time, *batch, 2), (time, *batch)]
        data = random_like([jax.ShapeDtypeStruct(s, dtype) for s in shapes], 1)
        self.xs, self.targets = data[0], (data[1], data[2])
        self.carry = random_like(jax.eval_shape(lambda p: cell.carry(p, batch), like["cell"]), 2)
        self.options = {"loss": loss, "targets": self.targets, "cell_params": cell_params}
        self.compiled = {}

    def rtrl(self, carry=None, *, influence=exact, **options):
        def run(params, xs, targets, carry, options):
            how = self.options | {"targets": targets, "influence": influence}
            return jaxrnn.rtrl(self.cell, params, xs, carry, **how, **options)

        f = self.compiled.setdefault(influence.name, quick(run))
        return f(self.params, self.xs, self.options["targets"], carry, options)

    def backward(self, carry=None, valid=None, reset=None, reset_carry=None):
        """Backpropagation through all of time."""

        def run(params, carry, valid, reset, reset_carry):
            def full(params):
                flags = {"mask": valid, "reset": reset, "reset_carry": reset_carry}
                last, ys = jaxrnn.scan(self.cell, params["cell"], self.xs, carry, **flags)
                losses = loss(params, ys, self.targets)
                return jnp.sum(losses if valid is None else jnp.where(valid, losses, 0)), last

            return jax.value_and_grad(full, has_aux=True)(params)

        f = self.compiled.setdefault("backward", quick(run))
        (value, last), grads = f(self.params, carry, valid, reset, reset_carry)
        weight = np.prod(self.xs.shape[:-1]) if valid is None else valid.sum()
        return last, jaxrnn.learning.Gradient(value, grads, jnp.asarray(weight, float))


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=slow if n in ("gru", "lstm", "stack") else ()) for n in CELLS]
)
def test_rtrl_is_backpropagation(name):
    case = Case(CELLS[name])
    assert_close(case.rtrl(), case.backward(), "from the initial carry")
    inside = np.arange(T)[:, None] < LENGTHS
    valid = MASK & inside
    for label, reset in {"lengths and mask": np.zeros((T, B), bool), "resets": RESET}.items():
        got = case.rtrl(case.carry, mask=MASK, lengths=LENGTHS, reset=reset)
        assert_close(got, case.backward(case.carry, valid, reset & inside), label)
    if name == "learned":
        assert np.all(got[1].grads["cell"].initial.c != 0), "what a reset restarts from is learned"
    case.xs = jnp.where(valid[..., None], case.xs, jnp.nan)
    goals, weights = case.targets
    case.options["targets"] = jnp.where(valid[..., None], goals, jnp.nan), weights
    again = case.rtrl(case.carry, mask=MASK, lengths=LENGTHS, reset=RESET)
    assert_same(again, got, "NaN in the padding")


def test_a_reset_goes_to_the_carry_that_is_named():
    """Held fixed, so that the influence begins at nothing."""
    case = Case(CELLS["learned"])
    flags = {"reset": RESET, "reset_carry": random_like(case.carry, 6)}
    assert_close(case.rtrl(**flags), case.backward(**flags), "reset_carry")


@pytest.mark.parametrize("batch", [pytest.param((), marks=slow), (2, 2)])
def test_any_batch_axes(batch):
    case = Case(jaxrnn.elman, batch=batch)
    assert_close(case.rtrl(case.carry), case.backward(case.carry), f"batch {batch}")


def test_the_influence_is_the_derivative_of_the_state():
    case = Case(CELLS["learned"])
    state = jaxrnn.rtrl_init(case.cell, case.params["cell"], (B,))
    step = quick(
        lambda state, x: jaxrnn.rtrl_step(
            case.cell, case.params["cell"], state, x, loss=lambda params, y, target: y[..., 0]
        )[0]
    )
    for x in case.xs:
        state = step(state, x)

    def final(params):
        carry, _ = jaxrnn.scan(case.cell, params, case.xs)
        return jnp.concatenate([carry.h, carry.c], axis=-1)

    want = quick(jax.jacrev(final))(case.params["cell"])
    assert_close(state.influence, want, "M")
    assert state.time == T


@pytest.mark.slow
def test_inputs_may_be_a_tree():
    """Of RTRL and of truncated backpropagation, which is the same gradient with k1 = T."""
    factor = lambda params, x: jaxrnn.elman.project(params, x["a"] * x["b"][..., None])  # noqa: E731
    case = Case(jaxrnn.elman._replace(project=factor))
    xs = {"a": case.xs, "b": random_like(jnp.zeros((T, B)), 7)}
    flags = {"reset": RESET, "lengths": LENGTHS}
    product = Case(jaxrnn.elman)
    product.xs = xs["a"] * xs["b"][..., None]
    want = product.rtrl(case.carry, **flags)
    case.xs = xs
    assert_close(case.rtrl(case.carry, **flags), want, "rtrl")
    truncated = partial(jaxrnn.truncated, case.cell, k1=4, k2=8, **case.options, **flags)
    assert_close(quick(truncated)(case.params, xs, case.carry), want, "truncated")


def test_online_steps_add_up_and_predict():
    case = Case(jaxrnn.lstm)
    carry, want = case.rtrl(case.carry)
    _, ys = jaxrnn.scan(case.cell, case.params["cell"], case.xs, case.carry)
    state = jaxrnn.rtrl_init(case.cell, case.params, (B,), case.carry, cell_params=cell_params)

    @quick
    def step(params, state, x, target):
        return jaxrnn.rtrl_step(
            case.cell, params, state, x, loss=loss, target=target, cell_params=cell_params
        )

    total = jax.tree.map(jnp.zeros_like, want)
    for t in range(T):
        target = jax.tree.map(lambda leaf, t=t: leaf[t], case.targets)
        state, y, gradient = step(case.params, state, case.xs[t], target)
        assert_close(y, ys[t], f"y at {t}")
        total = jax.tree.map(jnp.add, total, gradient)
    assert_close((state.carry, total), (carry, want), "sum of the steps")


def test_learning_online_lowers_the_loss():
    """With an update after every step, the parameters moving under the influence."""
    xs = jax.random.normal(jax.random.key(0), (600, 1))
    targets = jnp.concatenate([jnp.zeros(2), xs[:-2, 0]])  # remember for two steps
    params = jaxrnn.elman.init(jax.random.key(1), 1, 8, dtype=float)
    square = lambda params, y, target: (y[..., :1].sum(-1) - target) ** 2  # noqa: E731

    @quick
    def train(params, xs, targets):
        def body(state, step):
            params, state = state
            state, _, gradient = jaxrnn.rtrl_step(
                jaxrnn.elman, params, state, step[0], target=step[1], loss=square
            )
            params = jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient.grads)
            return (params, state), gradient.value

        return jax.lax.scan(body, (params, jaxrnn.rtrl_init(jaxrnn.elman, params)), (xs, targets))

    losses = np.asarray(train(params, xs, targets)[1])
    assert losses[-150:].mean() < 0.5 * losses[:50].mean()


@pytest.mark.parametrize(
    "influence",
    [*(pytest.param(i, marks=slow, id=i.name) for i in (exact, jaxrnn.snap1)), jaxrnn.uoro],
)
def test_memory_does_not_grow_with_time(influence):
    sizes = []
    for time in (1000, 8000):
        case = Case(jaxrnn.elman, time=time, dtype=jnp.float32)
        lengths = np.asarray([time, 0, time // 2])
        f = lambda params, xs, targets, case=case, lengths=lengths: jaxrnn.rtrl(  # noqa: E731
            case.cell, params, xs, **case.options | {"targets": targets}, lengths=lengths,
            influence=influence, key=jax.random.key(0),
        )  # fmt: skip
        compiled = quick(f).lower(case.params, case.xs, case.targets).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] <= 1.1 * sizes[0], sizes


# SnAp-1.


@pytest.mark.parametrize("given", [False, pytest.param(True, marks=slow)], ids=["initial", "carry"])
def test_snap1_is_exact_for_a_diagonal_cell(given):
    case = Case(jaxrnn.learned_carry(CELLS["independent"]))
    carry = case.carry if given else None
    got = case.rtrl(carry, influence=jaxrnn.snap1, lengths=LENGTHS, reset=RESET)
    valid = np.arange(T)[:, None] < LENGTHS
    assert_close(got, case.backward(carry, valid, RESET & valid), case.cell.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*(pytest.param(n, marks=slow) for n in ("elman", "gru")), "lstm"])
def test_snap1_keeps_what_a_parameter_reaches_in_one_step(name):
    """M ← (J M + I) ⊙ [p is of unit u], with the whole of J, I and M in a Python loop."""
    case = Case(CELLS[name], batch=())
    params, flat = (
        case.params["cell"],
        jaxrnn.learning.influence.flat_cell(case.cell, case.params["cell"]),
    )
    derivatives = quick(jax.jacrev(flat.step, argnums=(0, 1)))
    pull = quick(
        jax.grad(
            lambda params, s, x, target: loss(
                params, case.cell.step(params["cell"], flat.unflatten(s), x)[1], target
            ),
            argnums=(0, 1),
        )
    )
    s = flat.flatten(case.carry)
    n = s.size
    influence = jax.tree.map(lambda p: jnp.zeros((n, *p.shape)), params)
    random = random_like((case.carry, case.xs[0]), 5)
    reached = derivatives(params, flat.flatten(random[0]), random[1])[0]

    def unit(immediate):
        """Whether the parameter reaches any part of the unit in one step."""
        parts = np.reshape(np.asarray(immediate) != 0, (n // H, H, *immediate.shape[1:]))
        return np.tile(parts.any(axis=0), (n // H, *(1 for _ in immediate.shape[1:])))

    pattern = jax.tree.map(unit, reached)
    assert all(leaf.mean() == 1 / H for leaf in jax.tree.leaves(pattern))  # each of one unit
    total = jax.tree.map(jnp.zeros_like, case.params)
    for t in range(T):
        target = jax.tree.map(lambda leaf, t=t: leaf[t], case.targets)
        grads, g = pull(case.params, s, case.xs[t], target)
        reached = jax.tree.map(lambda m, g=g: jnp.tensordot(g, m, 1), influence)
        grads["cell"] = jax.tree.map(jnp.add, grads["cell"], reached)
        total = jax.tree.map(jnp.add, total, grads)
        immediate, jacobian = derivatives(params, s, case.xs[t])
        influence = jax.tree.map(
            lambda i, m, p, j=jacobian: jnp.where(p, jnp.tensordot(j, m, 1) + i, 0),
            immediate, influence, pattern,
        )  # fmt: skip
        s = flat.step(params, s, case.xs[t])
    got = case.rtrl(case.carry, influence=jaxrnn.snap1)[1].grads
    assert_close(got, total, name)
    full = case.backward(case.carry)[1].grads["cell"].recurrent_kernel
    assert np.abs(np.asarray(full - got["cell"].recurrent_kernel)).max() > 1e-3  # it is biased


def test_snap1_and_uoro_take_less_memory():
    sizes = {}
    params = jaxrnn.lstm.init(jax.random.key(0), D, H)
    for influence in (exact, jaxrnn.snap1, jaxrnn.uoro):
        init = partial(jaxrnn.rtrl_init, jaxrnn.lstm, influence=influence, key=jax.random.key(0))
        state = jax.eval_shape(partial(init, batch_shape=(B,)), params)
        sizes[influence.name] = sum(leaf.size for leaf in jax.tree.leaves(state.influence)) // B
    count = 4 * H * (D + H + 1)
    assert sizes == {"exact": 2 * H * count, "snap1": 2 * count, "uoro": 2 * H + count}


@pytest.mark.parametrize(
    "cell",
    [jaxrnn.stack(jaxrnn.elman, jaxrnn.elman), jaxrnn.cells.lstm_projected],
    ids=lambda c: c.name,
)
def test_snap1_refuses_cells_whose_parameters_reach_further(cell):
    params = cell.init(jax.random.key(0), D, 4, dtype=float)
    with pytest.raises(ValueError, match="influence: expected for snap1 a cell"):
        jaxrnn.rtrl(
            cell, params, jnp.ones((2, D)), influence=jaxrnn.snap1, loss=lambda p, y, t: y[..., 0]
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "dtype"), [pytest.param(200, jnp.float32, marks=slow), (4, jnp.bfloat16)]
)
def test_snap1_tells_cells_apart_at_any_size_and_dtype(size, dtype):
    for cell, fits in ((jaxrnn.gru, True), (jaxrnn.cells.gru_reset_before, False)):
        rtrl = partial(jaxrnn.rtrl, cell, influence=jaxrnn.snap1, loss=lambda p, y, t: y[..., 0])
        params = jax.eval_shape(
            lambda key, cell=cell, size=size, dtype=dtype: cell.init(key, D, size, dtype=dtype),
            jax.random.key(0),
        )
        xs = jax.ShapeDtypeStruct((2, D), dtype)
        if fits:
            grads = jax.eval_shape(rtrl, params, xs)[1].grads
            assert grads.bias.dtype == dtype
            continue
        with pytest.raises(ValueError, match="influence: expected for snap1 a cell"):
            jax.eval_shape(rtrl, params, xs)


# UORO.


def z_scores(estimates, truth):
    """How many standard errors the mean of each coordinate is off, leaves ``(N, ...)``."""
    n = jax.tree.leaves(estimates)[0].shape[0]
    flat = np.concatenate([np.reshape(leaf, (n, -1)) for leaf in jax.tree.leaves(estimates)], 1)
    truth = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(truth)])
    error = flat.std(axis=0, ddof=1) / np.sqrt(n)
    exactly = error < 1e-12
    assert np.all(np.abs(flat.mean(axis=0) - truth)[exactly] < 1e-10)
    return (flat.mean(axis=0) - truth) / np.where(exactly, np.inf, error)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["elman", "learned"])
def test_uoro_is_unbiased(name):
    case = Case(CELLS[name], time=5, batch=(2,))
    lengths = np.asarray([5, 3])
    valid = np.arange(5)[:, None] < lengths
    keys = jax.random.split(jax.random.key(0), 4000)
    reset = np.zeros((5, 2), bool)
    reset[2, 1] = True
    estimate = lambda key: jaxrnn.rtrl(  # noqa: E731
        case.cell, case.params, case.xs, **case.options, lengths=lengths, reset=reset,
        influence=jaxrnn.uoro, key=key,
    )[1].grads  # fmt: skip
    estimates = jax.jit(jax.vmap(estimate))(keys)
    truth = case.backward(valid=valid, reset=reset)[1].grads
    z = z_scores(estimates, truth)
    assert np.abs(z).max() < 4.5  # some 30 to 80 coordinates
    noisy = z[z != 0]
    assert noisy.size > 10
    assert 0.5 < np.mean(noisy**2) < 2.0
    # The test would see a bias: one term of the sum over time left out of the influence.
    short = jaxrnn.truncated(
        case.cell, case.params, case.xs, k1=1, k2=2, lengths=lengths, reset=reset, **case.options
    )[1].grads
    assert np.abs(z_scores(estimates, short)).max() > 8


@pytest.mark.slow
def test_uoro_depends_on_key_and_time_only():
    case = Case(jaxrnn.elman)
    options = {"influence": jaxrnn.uoro, "key": jax.random.key(4)}
    whole = case.rtrl(case.carry, start=5, **options)[1].grads
    assert_same(case.rtrl(case.carry, start=5, **options)[1].grads, whole, "again")
    other = case.rtrl(case.carry, start=6, **options)[1].grads
    assert not np.allclose(other["cell"].bias, whole["cell"].bias)
    state = jaxrnn.rtrl_init(
        case.cell, case.params, (B,), case.carry, start=5, cell_params=cell_params, **options
    )
    total = jax.tree.map(jnp.zeros_like, whole)
    step = quick(
        lambda state, x, target: jaxrnn.rtrl_step(
            case.cell, case.params, state, x, loss=loss, target=target,
            cell_params=cell_params, **options,
        )
    )  # fmt: skip
    for t in range(T):
        target = jax.tree.map(lambda leaf, t=t: leaf[t], case.targets)
        state, _, part = step(state, case.xs[t], target)
        total = jax.tree.map(jnp.add, total, part.grads)
    assert_close(total, whole, "step by step")


# Half types and bad input.


@pytest.mark.slow
def test_bfloat16_keeps_its_dtype_and_a_wide_influence():
    case = Case(jaxrnn.lstm, dtype=jnp.bfloat16)
    carry, gradient = case.rtrl()
    assert {leaf.dtype.name for leaf in jax.tree.leaves(gradient.grads)} == {"bfloat16"}
    assert gradient.value.dtype == jnp.float32
    assert carry.h.dtype == jnp.bfloat16
    state = jaxrnn.rtrl_init(case.cell, case.params, (B,), cell_params=cell_params)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(state.influence)} == {"float32"}
    wide = Case(jaxrnn.lstm)
    for name in ("params", "xs", "targets"):
        tree = jax.tree.map(lambda leaf: leaf.astype(float), getattr(case, name))
        setattr(wide, name, tree)
    wide.options["targets"] = wide.targets
    want = wide.backward()[1].grads
    for a, b in zip(jax.tree.leaves(gradient.grads), jax.tree.leaves(want), strict=True):
        scale = np.abs(np.asarray(b)).max()
        assert np.abs(np.asarray(a, float) - np.asarray(b)).max() < 0.1 * scale


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"influence": "exact"}, TypeError, "influence: expected an Influence, got str"),
        ({"influence": jaxrnn.uoro}, ValueError, "key: expected a PRNG key for uoro, got None"),
        ({"mask": np.ones((T, B + 1), bool)}, ValueError, "mask"),
        ({"reset": np.ones((T, B))}, TypeError, "reset: expected booleans"),
        ({"reset_carry": jnp.ones((B, H))}, ValueError, "reset_carry: expected it only with reset"),
        ({"lengths": np.asarray([1, 2, 7])}, ValueError, r"lengths: expected .* 0\.\.6"),
        ({"loss": lambda p, y, t: jnp.sum(y)}, ValueError, "loss: expected one number"),
        ({"targets": np.ones((T - 1, B))}, ValueError, "targets: expected leading axes"),
        ({"cell": jaxrnn.bidirectional(jaxrnn.gru)}, TypeError, "cell: expected a Cell"),
        ({"carry": jnp.ones(B)}, (ValueError, TypeError), "carry"),
        ({"xs": np.ones((T, B, D), int)}, TypeError, "xs: expected a floating-point"),
    ],
)
def test_bad_input_is_named(change, error, message):
    case = Case(jaxrnn.elman)
    options = {"cell": case.cell, "xs": case.xs, "carry": None, **case.options} | change
    cell, xs, carry = (options.pop(name) for name in ("cell", "xs", "carry"))
    with pytest.raises(error, match=message):
        jaxrnn.rtrl(cell, case.params, xs, carry, **options)
