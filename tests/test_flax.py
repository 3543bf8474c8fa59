"""`jaxrnn.linen` and `jaxrnn.nnx`: the numbers of `jaxrnn.scan` in Flax's conventions.

What `jaxrnn.scan` computes is tested elsewhere; here it is the reference.
"""

import itertools
from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import jaxrnn
from tests.flax_forms import (
    KINDS,
    LENGTHS,
    B,
    D,
    H,
    T,
    apply_linen,
    apply_nnx,
    draw,
    functional,
    in_order_of_flax,
    make_nnx,
    quick,
)
from tests.reference import assert_close, assert_same, random_like, with_gradients

FLAGS = np.random.default_rng(3)
MASK, RESET = FLAGS.random((B, T)) < 0.7, FLAGS.random((B, T)) < 0.4

# Linen = nnx = functional.

ROWS = {  # kind, number of layers, bidirectional, options of the call
    "plain": ("elman", 1, False, {}),
    "both": ("lstm", 1, True, {"seq_lengths": LENGTHS, "return_carry": True}),
    "turned": ("gru", 2, False, {"seq_lengths": LENGTHS, "reverse": True, "return_carries": True}),
    "kept": ("lstm", 2, False, {"reverse": True, "keep_order": True, "mask": MASK}),
    "reset": ("lstm", 2, True, {"reset": RESET, "mask": MASK, "return_carries": True}),
    "major": ("gru", 1, False, {"time_major": True, "reset": RESET, "mask": MASK}),
}
ORDERS = [{}, {"reverse": True}, {"reverse": True, "keep_order": True}]
MARKS = [{}, {"seq_lengths": LENGTHS}, {"mask": MASK, "reset": RESET}]
GRID = [
    (kind, layers, both, order | marks | {"return_carries": True})
    for kind in KINDS
    for layers in (1, 2)
    for both in (False, True)
    for order, marks in itertools.product(ORDERS, MARKS)
]


def assert_forms_agree(kind, num_layers, bidirectional, options):
    """Values, and gradients of a random projection of them."""
    _, linen, nnx_class = KINDS[kind]
    size = {"num_layers": num_layers, "bidirectional": bidirectional, "param_dtype": jnp.float64}
    module = linen(H, **size)
    params, inputs, carry = draw(module.network, jnp.float64)
    if options.get("time_major"):
        inputs = inputs.swapaxes(0, 1)
        options = options | {k: options[k].T for k in ("mask", "reset") if k in options}
    nnx_module = make_nnx(nnx_class, params, **size)
    assert nnx_module.network == module.network
    forms = {
        "functional": partial(functional, module.network, **options),
        "linen": partial(apply_linen(module), **options),
        "nnx": partial(apply_nnx(nnx_module), **options),
    }
    weights = random_like(jax.eval_shape(forms["functional"], params, inputs, carry), 9)
    runs = {name: with_gradients(f) for name, f in forms.items()}
    results = quick(lambda *args: {name: f(*args) for name, f in runs.items()})(
        weights, params, inputs, carry
    )
    for name in ("linen", "nnx"):
        assert_close(results[name], results["functional"], name)


@pytest.mark.usefixtures("x64", "strict")
@pytest.mark.parametrize("row", ROWS)
def test_linen_nnx_and_functional_agree(row):
    assert_forms_agree(*ROWS[row])


STRIDE = 5  # prime to the numbers of choices: nearly every pair of choices comes


@pytest.mark.slow
@pytest.mark.usefixtures("x64", "strict")
@pytest.mark.parametrize("row", range(0, len(GRID), STRIDE))
def test_forms_agree_everywhere(row):
    assert_forms_agree(*GRID[row])


@pytest.mark.parametrize("kind", ["lstm"])
def test_float32_is_bit_for_bit_the_functional_form(kind):
    cell, linen, nnx_class = KINDS[kind]
    params, inputs, carry = draw(cell)
    options = {"seq_lengths": LENGTHS, "return_carry": True}
    forms = [
        partial(functional, cell),
        apply_linen(linen(H)),
        apply_nnx(make_nnx(nnx_class, params)),
    ]
    weights = random_like(jax.eval_shape(partial(forms[0], **options), params, inputs, carry), 9)
    runs = [quick(with_gradients(partial(f, **options))) for f in forms]
    want, *others = [run(weights, params, inputs, carry) for run in runs]
    for got in others:
        assert_same(got, want, kind)


@pytest.mark.parametrize("batch", [(), (2, B)])
def test_any_number_of_batch_axes(batch):
    params, inputs, carry = draw(jaxrnn.gru, batch=batch)
    rng = np.random.default_rng(3)
    lengths, mask = rng.integers(1, T + 1, batch), rng.random((*batch, T)) < 0.7
    lead = lambda a: jnp.moveaxis(jnp.asarray(a), len(batch), 0)  # noqa: E731
    want = jaxrnn.scan(jaxrnn.gru, params, lead(inputs), carry, lengths=lengths, mask=lead(mask))
    options = {"return_carry": True, "seq_lengths": lengths}
    for f in (apply_linen(jaxrnn.linen.GRU(H)), apply_nnx(make_nnx(jaxrnn.nnx.GRU, params))):
        last, ys = f(params, inputs, carry, mask=mask, **options)
        assert_same((last, lead(ys)), want, "batch-major")
        got = f(params, lead(inputs), carry, mask=lead(mask), time_major=True, **options)
        assert_same(got, want, "time-major")


def test_padding_of_nan_reaches_nothing():
    params, inputs, carry = draw(jaxrnn.lstm)
    dirty = jnp.where(np.arange(T)[:, None] < LENGTHS[:, None, None], inputs, jnp.nan)
    options = {"return_carry": True, "reverse": True, "seq_lengths": LENGTHS}
    f = partial(apply_linen(jaxrnn.linen.LSTM(H)), **options)
    weights = random_like(jax.eval_shape(f, params, inputs, carry), 9)
    run = quick(with_gradients(f))
    got, want = (run(weights, params, x, carry) for x in (dirty, inputs))
    assert_same(got, want, "padding")
    assert_same(got[0][0].c[1], carry.c[1], "a row of length 0")


@pytest.mark.parametrize("steps", [0, 1])
def test_short_sequences(steps):
    params, inputs, carry = draw(jaxrnn.lstm)
    for f in (apply_linen(jaxrnn.linen.LSTM(H)), apply_nnx(make_nnx(jaxrnn.nnx.LSTM, params))):
        lengths = np.minimum(LENGTHS, steps)
        options = {"seq_lengths": lengths, "reverse": True, "return_carry": True}
        got, ys = f(params, inputs[:, :steps], carry, **options)
        assert ys.shape == (B, steps, H)
        if not steps:
            assert_same(got, in_order_of_flax(carry), "carry")


def test_how_to_run_is_handed_on():
    params, inputs, carry = draw(jaxrnn.gru)
    again = jnp.ones((B, H))
    options = {"gaps": "hold", "chunk": 2, "solver": jaxrnn.sequential(unroll=2)}
    call = {"mask": MASK, "reset": RESET, "reset_carry": again}
    want = functional(jaxrnn.gru, params, inputs, carry, **options, **call)
    plain = functional(jaxrnn.gru, params, inputs, carry, mask=MASK, reset=RESET)
    assert bool((want != plain).any())
    for f in (
        apply_linen(jaxrnn.linen.GRU(H, **options)),
        apply_nnx(make_nnx(jaxrnn.nnx.GRU, params, **options)),
    ):
        assert_close(f(params, inputs, carry, **call), want, "options", 1e-6)


# The carry of an LSTM.


def test_the_carry_unpacks_in_the_order_of_flax():
    net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)
    params, inputs, carry = draw(net)
    options = {"num_layers": 2, "bidirectional": True, "return_carry": True}
    f = apply_linen(jaxrnn.linen.LSTM(H, **options))
    (_, top), ys = f(params, inputs)
    (_, h), (c, _) = top
    assert_same(h, ys[:, -1, :H], "h of the last step")
    assert bool((abs(c - ys[:, 0, H:]) > 0).any())
    want = f(params, inputs, carry)
    assert_same(f(params, inputs, in_order_of_flax(carry)), want, "both kinds are taken")
    g = apply_nnx(make_nnx(jaxrnn.nnx.LSTM, params, **options))
    assert_same(g(params, inputs, in_order_of_flax(carry)), want, "nnx")

    cell = jaxrnn.linen.LSTMCell(H)
    start = cell.initialize_carry(None, (B, D))
    assert type(start) is jaxrnn.linen.LSTMCarry is jaxrnn.nnx.LSTMCarry
    variables = {"params": jaxrnn.linen.from_params(params[0].forward)}
    (c, h), y = cell.apply(variables, start, inputs[:, 0])
    assert_same(h, y, "h is the output")
    assert start._fields == ("c", "h")


# Dropout.


def test_dropout_is_that_of_the_functional_form():
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.5}
    module = jaxrnn.linen.Elman(H, **options)
    params, inputs, _ = draw(module.network)
    key = jax.random.key(5)
    mine = module.bind({}, rngs={"dropout": key}).make_rng("dropout")
    want, other = (
        quick(partial(functional, module.network))(params, inputs, None, k) for k in (key, mine)
    )
    f, g = (
        quick(apply_linen(module)),
        quick(apply_nnx(make_nnx(jaxrnn.nnx.Elman, params, **options))),
    )
    assert_same(f(params, inputs, None, key), other, "linen")
    assert_same(g(params, inputs, None, key), want, "nnx")
    assert bool((want != other).any())
    assert bool((want != 0).all())  # the last layer is not dropped out
    silent = functional(jaxrnn.rnn(jaxrnn.elman, 2, bidirectional=True), params, inputs)
    for quiet in (f(params, inputs), g(params, inputs)):
        assert_close(quiet, silent, "deterministic", 1e-6)


def test_dropout_of_a_sequence_in_pieces_is_that_of_the_whole():
    options = {"num_layers": 2, "dropout": 0.5, "return_carry": True}
    params, inputs, _ = draw(jaxrnn.rnn(jaxrnn.elman, 2))
    f, key = quick(apply_nnx(make_nnx(jaxrnn.nnx.Elman, params, **options))), jax.random.key(5)
    carry, want = f(params, inputs, None, key)
    state, head = f(params, inputs[:, :2], None, key)
    state, tail = f(params, inputs[:, 2:], state, key, start=2)
    assert_close((state, jnp.concatenate([head, tail], 1)), (carry, want), "pieces", 1e-6)


def test_linen_dropout_asks_for_what_is_missing():
    model, inputs = jaxrnn.linen.Elman(H, num_layers=2, dropout=0.5), jnp.ones((B, T, D))
    variables = jaxrnn.linen.Elman(H, num_layers=2).init(jax.random.key(0), inputs)
    with pytest.raises(ValueError, match="deterministic"):
        model.init(jax.random.key(0), inputs)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        model.apply(variables, inputs, deterministic=False)
    own = model.clone(deterministic=False)
    own.apply(variables, inputs, rngs={"dropout": jax.random.key(0)})
    with pytest.raises(ValueError, match="deterministic"):
        own.apply(variables, inputs, deterministic=False, rngs={"dropout": jax.random.key(0)})


def test_nnx_train_eval_view_and_streams():
    inputs = jnp.ones((B, T, D))
    rngs = nnx.Rngs(params=0, dropout=1)
    model = jaxrnn.nnx.Elman(D, H, num_layers=2, dropout=0.5, rngs=rngs)
    model.eval()
    quiet = model(inputs)
    assert_same(model(inputs), quiet, "eval")
    model.train()
    assert bool((model(inputs) != model(inputs)).any())  # the stream moves on
    assert_same(nnx.view(model, deterministic=True)(inputs), quiet, "view")
    a, b = (model(inputs, rngs=nnx.Rngs(dropout=3)) for _ in range(2))
    assert_same(a, b, "streams given")
    with pytest.raises(KeyError, match="dropout"):
        jaxrnn.nnx.LSTM(D, H, num_layers=2, dropout=0.5, rngs=nnx.Rngs(params=0))
    model.rngs = None
    with pytest.raises(ValueError, match="rngs"):
        model(inputs)
