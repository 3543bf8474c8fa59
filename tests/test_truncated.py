"""Truncated backpropagation against its definition as a Python loop, in float64."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.reference import assert_close, assert_same, quick, random_like, where

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 10, 3, 2, 3
slow = pytest.mark.slow
CELLS = {
    "elman": jaxrnn.elman,
    "stack": jaxrnn.stack(jaxrnn.lstm, jaxrnn.elman),
    "learned": jaxrnn.learned_carry(jaxrnn.elman),
}
LENGTHS = np.asarray([10, 0, 7])
MASK = np.random.default_rng(0).random((T, B)) < 0.6
RESET = np.random.default_rng(1).random((T, B)) < 0.3
RESET[0, 2] = RESET[7, 2] = RESET[9, 0] = True  # with the first step, past a length, the last
NOWHERE = np.zeros((T, B), bool)


def loss(params, y, target):
    """Different at every step: the target has a weight of its own."""
    goal, weight = target
    return weight * jnp.sum((y @ params["out"] - goal) ** 2, axis=-1)


cell_params = lambda params: params["cell"]  # noqa: E731


@cache
def one_step(cell):
    """A step and its loss, compiled once for all that is made of it."""

    @jax.jit
    def step(params, carry, x, target, valid, reset):
        carry = where(reset, cell.carry(params["cell"], (B,)), carry)
        new, y = cell.step(params["cell"], carry, x)
        losses = loss(params, y, target)
        return where(valid, new, carry), jnp.sum(jnp.where(valid, losses, 0.0))

    return step


class Case:
    """Random parameters, data and carry."""

    def __init__(self, cell, time=T, dtype=float):
        shapes = jax.eval_shape(lambda key: cell.init(key, D, H, dtype=dtype), jax.random.key(0))
        like = {"cell": shapes, "out": jax.ShapeDtypeStruct((H, 2), dtype)}
        self.cell, self.params = cell, random_like(like, 0)
        shapes = [(time, B, D), (time, B, 2), (time, B)]
        data = random_like([jax.ShapeDtypeStruct(s, dtype) for s in shapes], 1)
        self.xs, self.targets = data[0], (data[1], data[2])
        self.carry = random_like(jax.eval_shape(lambda p: cell.carry(p, (B,)), like["cell"]), 2)
        self.options = {"loss": loss, "targets": self.targets, "cell_params": cell_params}
        self.step = one_step(cell)
        self.compiled = {}

    def truncated(self, carry=None, *, k1, k2=None, **options):
        def run(params, xs, targets, carry, options):
            how = self.options | {"targets": targets, "k1": k1, "k2": k2}
            return jaxrnn.truncated(self.cell, params, xs, carry, **how, **options)

        f = self.compiled.setdefault((k1, k2), quick(run))
        return f(self.params, self.xs, self.options["targets"], carry, options)


def total(case, params, carry, first, scored, last, valid, reset=NOWHERE):
    """Steps first..last, the losses of scored..last; a loop, in which carry None is initial."""
    carry = case.cell.carry(params["cell"], (B,)) if carry is None else carry
    value = 0.0
    for t in range(first, last):
        target = jax.tree.map(lambda leaf, t=t: leaf[t], case.targets)
        carry, part = case.step(params, carry, case.xs[t], target, valid[t], reset[t])
        if t >= scored:
            value += part
    return value, carry


def definition(case, k1, k2, carry=None, valid=None, reset=NOWHERE):
    """One term for every k1 steps, from a carry held fixed k2 steps before its end."""
    valid = np.ones((T, B), bool) if valid is None else valid
    value, grads = 0.0, jax.tree.map(jnp.zeros_like, case.params)
    for end in range(k1, T + k1, k1):
        first, scored, last = max(0, end - k2), end - k1, min(end, T)
        held = carry
        if first:
            held = total(case, case.params, carry, 0, first, first, valid, reset)[1]
        (part, final), grad = jax.value_and_grad(partial(total, case), has_aux=True)(
            case.params, held, first, scored, last, valid, reset
        )
        value, grads = value + part, jax.tree.map(jnp.add, grads, grad)
    return final, jaxrnn.learning.Gradient(value, grads, jnp.asarray(valid.sum(), float))


OTHERS = (("elman", False), ("learned", True))


@pytest.mark.parametrize(
    ("name", "given"),
    [("elman", True), ("learned", False), *(pytest.param(*p, marks=slow) for p in OTHERS)],
)
def test_k1_k2_T_is_the_full_gradient(name, given):
    cell = CELLS[name]
    case = Case(cell)
    carry = case.carry if given else None

    def full(params):
        last, ys = jaxrnn.scan(cell, params["cell"], case.xs, carry)
        return jnp.sum(loss(params, ys, case.targets)), last

    (value, last), grads = quick(jax.value_and_grad(full, has_aux=True))(case.params)
    want = last, jaxrnn.learning.Gradient(value, grads, jnp.asarray(float(T * B)))
    assert_close(case.truncated(carry=carry, k1=T, k2=T), want, "k1 = k2 = T")
    if given:
        assert_close(case.truncated(carry=carry, k1=3, k2=T + 2), want, "k1 < T < k2")
    assert_close(definition(case, T, T, carry), want, "the loop")
    if "learned" in cell.name:
        assert np.any(grads["cell"].initial) != given


@cache
def backward():
    """The full gradient of the case below."""
    return definition(Case(CELLS["learned"]), T, T)[1].grads


@pytest.mark.parametrize(
    ("k1", "k2"),
    [
        *((2, 5), (4, 4)),
        *(pytest.param(*k, marks=slow) for k in ((1, 1), (1, 4), (5, 5), (3, 4), (4, 9), (12, 13))),
    ],
)
def test_it_is_the_definition(k1, k2):
    case = Case(CELLS["learned"])
    want = definition(case, k1, k2)
    assert_close(case.truncated(k1=k1, k2=k2), want, "truncated")
    if k1 == k2:
        assert_same(case.truncated(k1=k1), case.truncated(k1=k1, k2=k2), "k2 = None")
    # It has left something out, wherever it should have.
    full = backward()["cell"].cell.recurrent_kernel
    mine = want[1].grads["cell"].cell.recurrent_kernel
    assert (np.abs(full - mine).max() > 1e-3) == (k2 < T and k1 < T)


@pytest.mark.parametrize(
    ("name", "k1", "k2"),
    [pytest.param("stack", 2, 5, marks=slow), ("learned", 3, 3), ("learned", 2, 5)],
)
def test_lengths_and_mask(name, k1, k2):
    case = Case(CELLS[name])
    (goals, weights), xs = case.targets, case.xs
    for mask in (np.ones((T, B), bool), MASK):
        case.xs, case.options["targets"] = xs, (goals, weights)
        valid = mask & (np.arange(T)[:, None] < LENGTHS)
        want = definition(case, k1, k2, valid=valid)
        got = case.truncated(k1=k1, k2=k2, lengths=LENGTHS, mask=mask)
        assert_close(got, want, "lengths and mask")
        case.xs = jnp.where(valid[..., None], xs, jnp.nan)
        case.options["targets"] = jnp.where(valid[..., None], goals, jnp.inf), weights
        again = case.truncated(k1=k1, k2=k2, lengths=LENGTHS, mask=mask)
        assert_same(again, got, "NaN in the padding")


@pytest.mark.parametrize(
    "cell", [pytest.param(c, id=n, marks=slow if n == "stack" else ()) for n, c in CELLS.items()]
)
def test_with_resets_the_full_gradient_is_that_of_scan(cell):
    """From the cell's own initial carry whatever was given, or from another that is named."""
    case = Case(cell)
    again = random_like(case.carry, 6)

    @quick
    def full(params, reset_carry):
        def total(params):
            flags = {"mask": MASK, "lengths": LENGTHS, "reset": RESET, "reset_carry": reset_carry}
            last, ys = jaxrnn.scan(cell, params["cell"], case.xs, case.carry, **flags)
            losses = loss(params, ys, case.targets)
            return jnp.sum(jnp.where(MASK & (np.arange(T)[:, None] < LENGTHS), losses, 0)), last

        (value, last), grads = jax.value_and_grad(total, has_aux=True)(params)
        return last, value, grads

    flags = {"mask": MASK, "lengths": LENGTHS, "reset": RESET}
    for reset_carry in (None, again) if cell.name == "elman" else (None,):
        options = {"k1": T, **flags, "reset_carry": reset_carry}
        last, (value, grads, _) = case.truncated(carry=case.carry, **options)
        assert_close((last, value, grads), full(case.params, reset_carry), "k1 = k2 = T")
        if "learned" in cell.name:
            assert np.any(grads["cell"].initial != 0), "what a reset restarts from is learned"


@pytest.mark.parametrize(("k1", "k2"), [(3, 3), (2, 5), pytest.param(4, 9, marks=slow)])
def test_resets_are_the_definition_s(k1, k2):
    """Alone, and with rows that end and have gaps; a window knows those of its steps."""
    case = Case(CELLS["learned"])
    want = definition(case, k1, k2, case.carry, reset=RESET)
    assert_close(case.truncated(carry=case.carry, k1=k1, k2=k2, reset=RESET), want, "alone")
    inside = np.arange(T)[:, None] < LENGTHS
    want = definition(case, k1, k2, valid=MASK & inside, reset=RESET & inside)
    flags = {"mask": MASK, "lengths": LENGTHS, "reset": RESET}
    assert_close(case.truncated(k1=k1, k2=k2, **flags), want, "all")


def test_a_stream_of_windows_keeps_its_boundaries():
    """Chunk after chunk, one of them without any of its own."""
    k1, k2, case = 2, 5, Case(CELLS["learned"])
    reset = RESET.copy()
    reset[4:6] = False
    want = definition(case, k1, k2, case.carry, reset=reset)[1]
    window = jaxrnn.truncated_init(
        case.cell, case.params, case.xs[:k1], case.carry, k2=k2, cell_params=cell_params
    )

    @quick
    def update(params, window, xs, targets, reset):
        def objective(params):
            options = case.options | {"targets": targets, "reset": reset}
            return jaxrnn.truncated_loss(case.cell, params, window, xs, **options)

        return jax.value_and_grad(objective, has_aux=True)(params)

    value, grads = 0.0, jax.tree.map(jnp.zeros_like, case.params)
    for first in range(0, T, k1):
        part = slice(first, first + k1)
        xs, targets = jax.tree.map(lambda leaf, part=part: leaf[part], (case.xs, case.targets))
        flags = None if first == 4 else reset[part]
        (term, (window, _)), grad = update(case.params, window, xs, targets, flags)
        value, grads = value + term, jax.tree.map(jnp.add, grads, grad)
    assert_close((value, grads), (want.value, want.grads), "the sum of the terms")
    assert_same(window.reset, reset[-3:], "what the window keeps")


@pytest.mark.parametrize("k2", [pytest.param(4, marks=slow), 7])
def test_training_with_updates_is_the_loop(k2):
    """The window and the differentiable loss, against slices taken by hand."""
    k1, case, rate = 4, Case(CELLS["elman"], time=12), 0.1
    window = jaxrnn.truncated_init(
        case.cell, case.params, case.xs[:k1], case.carry, k2=k2, cell_params=cell_params
    )

    def objective(params, window, xs, targets):
        options = case.options | {"targets": targets}
        return jaxrnn.truncated_loss(case.cell, params, window, xs, **options)

    update = quick(jax.value_and_grad(objective, has_aux=True))
    valid, nowhere = np.ones((12, B), bool), np.zeros((12, B), bool)
    params, mine, carry = case.params, case.params, case.carry
    for end in (4, 8, 12):
        part = slice(end - k1, end)
        targets = jax.tree.map(lambda leaf, part=part: leaf[part], case.targets)
        (value, (window, weight)), grads = update(params, window, case.xs[part], targets)
        assert weight == k1 * B
        move = lambda p, g: p - rate * g / (k1 * B)  # noqa: E731
        params = jax.tree.map(move, params, grads)
        # By hand: the state moves on through steps whose parameters had been reached by then.
        first = max(0, end - k2)
        (want, _), grads = jax.value_and_grad(partial(total, case), has_aux=True)(
            mine, carry, first, end - k1, end, valid, nowhere
        )
        following = max(0, end + k1 - k2)
        carry = total(case, mine, carry, first, following, following, valid, nowhere)[1]
        mine = jax.tree.map(move, mine, grads)
        assert_close(value, want, f"loss to {end}")
        assert_close(params, mine, f"parameters after {end}")
    assert_close(window.carry, carry, "carry")
    assert window.time == 12 - (k2 - k1)


@pytest.mark.slow
def test_it_fits_into_training_fit():
    """Truncated backpropagation as the loss of `jaxrnn.training.fit`, the window its state."""
    optax = pytest.importorskip("optax")
    from jaxrnn import training

    k1, k2, case = 4, 6, Case(CELLS["elman"], time=12)
    window = jaxrnn.truncated_init(
        case.cell, case.params, case.xs[:k1], k2=k2, cell_params=cell_params
    )

    def chunk_loss(params, batch, *, state):
        xs, targets = batch
        options = case.options | {"targets": targets}
        value, (state, weight) = jaxrnn.truncated_loss(case.cell, params, state, xs, **options)
        return value / weight, training.Aux(weight=weight, state=state)

    cut = lambda leaf, n: leaf[n : n + k1]  # noqa: E731
    batches = [jax.tree.map(partial(cut, n=n), (case.xs, case.targets)) for n in range(0, 12, k1)]
    with jax.numpy_dtype_promotion("standard"):  # optax mixes float32 and float64
        result = training.fit(
            chunk_loss, case.params, optax.sgd(0.1), batches, state=window, steps=3
        )
    params, state = case.params, window
    for batch in batches:
        grads, aux = quick(jax.grad(chunk_loss, has_aux=True))(params, batch, state=state)
        params, state = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), aux.state
    assert_close(result.params, params, "parameters")
    assert_close(result.state.carried, state, "window")


@pytest.mark.slow
def test_micro_batches_add_up_to_the_batch():
    """Weighted by valid steps; each row has another number of them."""
    case = Case(CELLS["elman"])
    k1, k2 = 5, 5
    whole = case.truncated(k1=k1, k2=k2, lengths=LENGTHS)[1]
    parts = []
    for rows in ([0], [1, 2]):
        part = Case(CELLS["elman"])
        part.xs = case.xs[:, np.asarray(rows)]
        targets = jax.tree.map(lambda leaf, rows=rows: leaf[:, np.asarray(rows)], case.targets)
        part.options["targets"] = targets
        parts.append(part.truncated(k1=k1, k2=k2, lengths=LENGTHS[rows])[1])
    assert_close(jax.tree.map(jnp.add, *parts), whole, "sum")
    assert float(whole.weight) == LENGTHS.sum()
    # A mean of means is something else.
    unweighted = sum(part.value / part.weight for part in parts) / 2
    assert abs(unweighted - whole.value / whole.weight) > 1e-3


@pytest.mark.slow
def test_chunked_forward_is_the_full_forward():
    case = Case(CELLS["stack"])
    want, _ = jaxrnn.scan(case.cell, case.params["cell"], case.xs, case.carry, lengths=LENGTHS)
    carry, _ = case.truncated(carry=case.carry, k1=2, k2=5, lengths=LENGTHS)
    assert_close(carry, want, "carry", 1e-15)


@pytest.mark.slow
def test_dropout_is_that_of_the_whole_sequence():
    """Steps that are run again meet the same noise: with k2 ≥ T it is the full gradient."""
    case = Case(jaxrnn.stack(jaxrnn.elman, jaxrnn.elman, dropout=0.5))
    key = jax.random.key(3)

    def full(params, key):
        carry, ys = jaxrnn.scan(case.cell, params["cell"], case.xs, key=key, start=7)
        return jnp.sum(loss(params, ys, case.targets)), carry

    grads, carry = quick(jax.grad(full, has_aux=True))(case.params, key)
    last, gradient = case.truncated(k1=4, k2=12, key=key, start=jnp.asarray(7))
    assert_close((last, gradient.grads), (carry, grads), "dropout")
    other = case.truncated(k1=4, k2=12, key=key, start=jnp.asarray(8))[1].grads
    assert np.abs(np.asarray(other["out"] - grads["out"])).max() > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [pytest.param({}, marks=slow), {"lengths": np.asarray([500, 0, 1000])}],
    ids=["all", "lengths"],
)
def test_memory_does_not_grow_with_time(flags):
    sizes = []
    for time in (1000, 8000):
        case = Case(jaxrnn.lstm, time=time, dtype=jnp.float32)
        f = lambda params, xs, targets, case=case: jaxrnn.truncated(  # noqa: E731
            case.cell, params, xs, k1=16, k2=40, **case.options | {"targets": targets}, **flags
        )
        compiled = quick(f).lower(case.params, case.xs, case.targets).compile()
        sizes.append(compiled.memory_analysis().temp_size_in_bytes)
    assert sizes[1] <= 1.1 * sizes[0], sizes


def test_no_steps_and_no_rows():
    case = Case(CELLS["learned"])
    case.xs, case.options["targets"] = case.xs[:0], jax.tree.map(lambda a: a[:0], case.targets)
    carry, gradient = case.truncated(carry=case.carry, k1=3)
    assert_same(carry, case.carry, "carry")
    assert_same(gradient, jax.tree.map(jnp.zeros_like, gradient), "gradient")
    case = Case(CELLS["learned"])
    case.xs, case.options["targets"] = (
        case.xs[:, :0],
        jax.tree.map(lambda a: a[:, :0], case.targets),
    )
    _, gradient = case.truncated(k1=3, k2=4)
    assert_same(gradient, jax.tree.map(jnp.zeros_like, gradient), "gradient")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"k1": 0}, ValueError, "k1: expected a positive int, got 0"),
        ({"k1": 4, "k2": 3}, ValueError, "k2: expected at least k1 = 4, got 3"),
        ({"k1": 4, "k2": 4.5}, TypeError, "k2: expected a positive int"),
        ({"k1": 4, "mask": np.ones((T, B + 1), bool)}, ValueError, "mask"),
        ({"k1": 4, "reset": np.ones((T + 1, B), bool)}, ValueError, "reset: expected shape"),
        ({"k1": 4, "reset_carry": jnp.ones((B, H))}, ValueError, "reset_carry: .* with reset"),
        ({"k1": 4, "lengths": np.asarray([1, 2, 11])}, ValueError, r"lengths: expected .* 0\.\.10"),
        ({"k1": 4, "loss": lambda p, y, t: jnp.sum(y)}, ValueError, "loss: expected one number"),
        ({"k1": 4, "targets": np.ones((T - 1, B))}, ValueError, "targets: expected leading axes"),
        ({"k1": 4, "cell": jaxrnn.bidirectional(jaxrnn.gru)}, TypeError, "cell: expected a Cell"),
        ({"k1": 4, "carry": jnp.ones(B)}, (ValueError, TypeError), "carry"),
        ({"k1": 4, "xs": np.ones((T, B, D), int)}, TypeError, "xs: expected a floating-point"),
    ],
)
def test_bad_input_is_named(change, error, message):
    case = Case(CELLS["elman"])
    options = {"cell": case.cell, "xs": case.xs, "carry": None, **case.options} | change
    cell, xs, carry = (options.pop(name) for name in ("cell", "xs", "carry"))
    with pytest.raises(error, match=message):
        jaxrnn.truncated(cell, case.params, xs, carry, **options)
