"""`learned_carry`: the same cell from a carry that is a parameter, wherever cells run."""

import jax
import jax.numpy as jnp
import pytest

import jaxrnn
from jaxrnn import learned_carry
from jaxrnn.networks import LearnedCarryParams
from tests.reference import QUICK, assert_close, loop, random_like

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 5, 2, 3, 4


def example(cell):
    params = cell.init(jax.random.key(0), D, H, dtype=jnp.float64)
    return random_like((params, jax.ShapeDtypeStruct((T, B, D), jnp.float64)), 1, 0.6)


def test_it_is_the_cell_from_that_carry():
    """Values and gradients, with a reset, which restarts from the learned carry."""
    inner = jaxrnn.cells.lstm_fgr
    cell = learned_carry(inner)
    params, xs = example(cell)
    reset = jnp.zeros((T, B), bool).at[2, 1].set(True)

    def learned(params):
        return jnp.sum(jnp.sin(jaxrnn.scan(cell, params, xs, reset=reset)[1]))

    def given(params, carry):
        ys = jaxrnn.scan(inner, params, xs, carry, reset=reset, reset_carry=carry)[1]
        return jnp.sum(jnp.sin(ys))

    def compiled(f, which):
        return jax.jit(jax.value_and_grad(f, which), compiler_options=QUICK)

    rows = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (B, H)), params.initial)
    value, (of_cell, of_rows) = compiled(given, (0, 1))(params.cell, rows)
    want = LearnedCarryParams(of_cell, jax.tree.map(lambda leaf: leaf.sum(0), of_rows))
    got = compiled(learned, 0)(params)
    assert_close(got, (value, want), "")
    assert all(bool((leaf != 0).all()) for leaf in got[1].initial)
    alone = jaxrnn.scan(cell, params, xs[2:, 1])[1]
    other = jax.tree.map(lambda leaf: leaf + 1, rows)  # a reset does not go back to what was given
    ys = jaxrnn.scan(cell, params, xs, other, reset=reset)[1]
    assert_close(ys[2:, 1], alone, "after the reset")


@pytest.mark.slow
def test_it_streams_inside_and_around_a_stack():
    cell = learned_carry(jaxrnn.stack(learned_carry(jaxrnn.lstm), jaxrnn.gru, dropout=0.3))
    params, xs = example(cell)
    key = jax.random.key(1)
    got = jaxrnn.scan(cell, params, xs, key=key, return_carries=True)
    first = cell.carry(params, (B,))
    assert bool((first[0].c == params.initial[0].c).all())
    assert_close(got, loop(cell, params, xs, first, key=key), "")


def test_it_takes_a_layer():
    inner = jaxrnn.bidirectional(jaxrnn.gru)
    layer = learned_carry(inner)
    params, xs = example(layer)
    want = jaxrnn.scan(inner, params.cell, xs, layer.carry(params, (B,)))
    assert_close(jaxrnn.scan(layer, params, xs), want, "")


def test_it_starts_as_the_cell_itself():
    cell = learned_carry(jaxrnn.lstm)
    params = cell.init(jax.random.key(0), D, H)
    assert_close(params.cell, jaxrnn.lstm.init(jax.random.key(0), D, H), "params", 0)
    assert not any(leaf.any() for leaf in params.initial)
    assert learned_carry(jaxrnn.lstm) == cell


def test_what_cannot_be_learned_is_refused():
    counter = jaxrnn.elman._replace(carry=lambda params, batch=(): jnp.zeros(batch, jnp.int32))
    with pytest.raises(TypeError, match=r"'elman'.*int32"):
        learned_carry(counter).init(jax.random.key(0), D, H)
    with pytest.raises(TypeError, match=r"cell.*str"):
        learned_carry("lstm")


def test_wrong_parameters_are_named():
    cell = learned_carry(jaxrnn.gru)
    params, xs = example(cell)
    with pytest.raises(ValueError, match=r"params\.initial: expected float64\[4\]"):
        jaxrnn.scan(cell, params._replace(initial=jnp.zeros(3, jnp.float64)), xs, jnp.zeros((B, H)))
