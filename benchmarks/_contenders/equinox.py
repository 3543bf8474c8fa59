"""`equinox`, a cell for one row, in the loop that its documentation shows."""

import equinox as eqx
import jax
import jax.numpy as jnp

from _contenders.common import Layer, Step
from jaxrnn import interop

CELLS = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}


def build(task, setup):
    """``(params, combine)``: the cell's arrays, and the cell from them."""
    cell = CELLS[task.cell](setup.xs.shape[2], setup.hidden, key=jax.random.key(0))
    arrays = interop.equinox.dump(setup.net, setup.params)
    where = lambda cell: [getattr(cell, name) for name in arrays]  # noqa: E731
    cell = eqx.tree_at(where, cell, [jnp.asarray(array) for array in arrays.values()])
    params, static = eqx.partition(cell, eqx.is_array)
    return params, lambda params: eqx.combine(params, static)


def output(task, carry):
    return carry[0] if task.cell == "lstm" else carry


def layer(task, setup):
    params, combine = build(task, setup)

    def run(params, xs):
        cell = jax.vmap(combine(params))
        zero = jnp.zeros((xs.shape[1], setup.hidden))

        def step(carry, x):
            carry = cell(x, carry)
            return carry, output(task, carry)

        return jax.lax.scan(step, (zero, zero) if task.cell == "lstm" else zero, xs)[1]

    return Layer(run, params, (setup.xs,))


def step(task, setup):
    params, combine = build(task, setup)
    zero = jnp.zeros(setup.hidden)

    def run(params, carry, x):
        carry = combine(params)(x, carry)
        return carry, output(task, carry)

    return Step(run, params, (zero, zero) if task.cell == "lstm" else zero, setup.xs[0, 0])
