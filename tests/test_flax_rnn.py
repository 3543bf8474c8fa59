"""The cells of `jaxrnn.linen` and `jaxrnn.nnx` inside Flax's own ``RNN`` and ``Bidirectional``."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
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

CELLS = {
    "elman": (jaxrnn.linen.ElmanCell, jaxrnn.nnx.ElmanCell),
    "lstm": (jaxrnn.linen.LSTMCell, jaxrnn.nnx.LSTMCell),
    "gru": (jaxrnn.linen.GRUCell, jaxrnn.nnx.GRUCell),
}
LEARNED = jaxrnn.learned_carry(jaxrnn.lstm)


@pytest.mark.usefixtures("x64")  # Flax itself promotes int32 lengths
@pytest.mark.parametrize(("kind", "reverse"), [("lstm", False), ("gru", True)])
def test_cells_inside_flax_rnn_agree(kind, reverse):
    cell, _, _ = KINDS[kind]
    params, inputs, carry = draw(cell, jnp.float64)
    carry = in_order_of_flax(carry)
    ends = np.array([5, 1, 3], np.int32)  # Flax itself is wrong for length 0
    lengths = jnp.asarray(ends)
    order = {"seq_lengths": lengths, "reverse": reverse, "return_carry": True}
    linen_cell, nnx_cell = CELLS[kind]
    in_linen = nn.RNN(linen_cell(H, param_dtype=jnp.float64))
    in_nnx = nnx.RNN(make_nnx(nnx_cell, params, param_dtype=jnp.float64))
    graph, _, rest = nnx.split(in_nnx, nnx.Param, ...)
    valid = (jnp.arange(T) < lengths[:, None])[..., None]

    def ours(p, x, c):
        core = jaxrnn.LSTMCarry(c=c.c, h=c.h) if kind == "lstm" else c
        return functional(cell, p, x, core, **order | {"seq_lengths": ends})

    def theirs_linen(p, x, c):
        variables = {"params": {"cell": jaxrnn.linen.from_params(p)}}
        last, ys = in_linen.apply(variables, x, initial_carry=c, **order)
        return last, ys * valid

    def theirs_nnx(p, x, c):
        model = nnx.merge(graph, {"cell": jaxrnn.nnx.from_params(p)}, rest)
        last, ys = model(x, initial_carry=c, **order)
        return last, ys * valid

    weights = random_like(jax.eval_shape(ours, params, inputs, carry), 9)
    want, *others = [
        quick(with_gradients(f))(weights, params, inputs, carry)
        for f in (ours, theirs_linen, theirs_nnx)
    ]
    for got in others:
        assert_close(got, want, kind)


def test_cells_start_from_their_own_carry_inside_flax_rnn():
    cell = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)
    params, inputs, _ = draw(cell)
    want = functional(cell, params, inputs)
    named = jaxrnn.linen.from_params(params)
    model = nn.RNN(jaxrnn.linen.RecurrentCell(H, cell))
    assert_close(model.apply({"params": {"cell": named}}, inputs), want, "linen", 1e-6)
    inner_cell = make_nnx(jaxrnn.nnx.RecurrentCell, params, cell)
    assert_close(nnx.RNN(inner_cell)(inputs), want, "nnx", 1e-6)
    carry = inner_cell.initialize_carry((B, D), nnx.Rngs(1), nn.initializers.normal())
    assert all(bool((leaf != 0).all()) for leaf in jax.tree.leaves(carry))
    with pytest.raises(ValueError, match="rngs"):
        inner_cell.initialize_carry((B, D), carry_init=nn.initializers.normal())


@pytest.mark.slow
def test_learned_carries():
    """The same values and gradients from `scan`, from modules, and from Flax's own RNN."""
    params, inputs, _ = draw(LEARNED)
    cells = (
        jaxrnn.linen.RecurrentCell(H, LEARNED),
        make_nnx(jaxrnn.nnx.RecurrentCell, params, LEARNED),
    )
    in_linen, in_nnx = nn.RNN(cells[0]), nnx.RNN(cells[1])
    graph, _, rest = nnx.split(in_nnx, nnx.Param, ...)
    named = jaxrnn.linen.from_params
    forms = {
        "linen": apply_linen(jaxrnn.linen.Recurrent(H, LEARNED)),
        "nnx": apply_nnx(make_nnx(jaxrnn.nnx.Recurrent, params, LEARNED)),
        "nn.RNN": lambda p, x: in_linen.apply({"params": {"cell": named(p)}}, x),
        "nnx.RNN": lambda p, x: nnx.merge(graph, {"cell": named(p)}, rest)(x),
    }
    gradient = lambda f: quick(jax.value_and_grad(lambda p: (f(p, inputs) ** 2).sum()))(params)  # noqa: E731
    want = gradient(partial(functional, LEARNED))
    assert all(bool((leaf != 0).any()) for leaf in want[1].initial)
    for name, f in forms.items():
        assert_close(gradient(f), want, name, 1e-5)

    start = in_order_of_flax(LEARNED.carry(params, (B,)))
    bound = cells[0].bind({"params": named(params)})
    assert_same(bound.initialize_carry(None, (B, D)), start, "bound")
    assert_same(cells[1].initialize_carry((B, D)), start, "nnx")
    variables = {"params": named(params)}
    got = cells[0].apply(variables, None, (B, D), method="initialize_carry")
    assert_same(got, start, "apply")
    with pytest.raises(ValueError, match="unbound module does not have"):
        cells[0].initialize_carry(jax.random.key(0), (B, D))
    # While it is being initialised it begins as the parameters do.
    zero = in_linen.init_with_output(jax.random.key(0), inputs)[1]["params"]["cell"]["initial"]
    assert_same(zero, {"h": jnp.zeros(H), "c": jnp.zeros(H)}, "drawn")


def test_a_cell_restarts():
    params, inputs, carry = draw(LEARNED)
    reset = np.array([True, False, True])
    want = LEARNED.step(params, carry, inputs[:, 0], reset=reset)
    want = in_order_of_flax(want[0]), want[1]
    variables = {"params": jaxrnn.linen.from_params(params)}
    model = jaxrnn.linen.RecurrentCell(H, LEARNED)
    assert_same(model.apply(variables, carry, inputs[:, 0], reset=reset), want, "linen")
    module = make_nnx(jaxrnn.nnx.RecurrentCell, params, LEARNED)
    assert_same(module(carry, inputs[:, 0], reset=reset), want, "nnx")


def test_flax_bidirectional_takes_the_modules():
    module = jaxrnn.linen.LSTM(H, bidirectional=True)
    params, inputs, carry = draw(module.network)
    named, (forward, backward) = jaxrnn.linen.from_params, params
    want = apply_linen(module)(params, inputs, carry, seq_lengths=LENGTHS)
    both = nn.Bidirectional(jaxrnn.linen.LSTM(H), jaxrnn.linen.LSTM(H))
    variables = {"params": {"forward_rnn": named(forward), "backward_rnn": named(backward)}}
    got = both.apply(variables, inputs, initial_carry=tuple(carry), seq_lengths=LENGTHS)
    assert_close(got, want, "linen", 1e-6)
    rnns = [make_nnx(jaxrnn.nnx.LSTM, params) for params in (forward, backward)]
    got = nnx.Bidirectional(*rnns)(inputs, initial_carry=tuple(carry), seq_lengths=LENGTHS)
    assert_close(got, want, "nnx", 1e-6)


@pytest.mark.slow
def test_dropout_inside_flax_rnn():
    cell = jaxrnn.stack(jaxrnn.elman, jaxrnn.elman, dropout=0.5)
    inputs = jnp.broadcast_to(draw(cell)[1][:, :1], (B, T, D))
    params = cell.init(jax.random.key(0), D, H)
    params = tuple(p._replace(recurrent_kernel=jnp.zeros((H, H))) for p in params)
    named = jaxrnn.linen.from_params(params)
    split = {"params": False, "dropout": True}
    model = nn.RNN(jaxrnn.linen.RecurrentCell(H, cell, deterministic=False), split_rngs=split)
    f = lambda key: model.apply({"params": {"cell": named}}, inputs, rngs={"dropout": key})  # noqa: E731
    once = f(jax.random.key(0))
    assert_same(f(jax.random.key(0)), once, "same key")
    inner_cell = jaxrnn.nnx.RecurrentCell(D, H, cell, rngs=nnx.Rngs(0))
    nnx.update(inner_cell, named)
    for ys in (once, nnx.RNN(inner_cell)(inputs)):
        # Constant input, no memory: only the masks can differ between steps.
        assert bool((ys[:, 1:] != ys[:, :-1]).any((0, 2)).all())
