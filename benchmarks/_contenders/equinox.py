"""`equinox`, a cell for one row, in the loop that its documentation shows."""

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxrnn import interop

CELLS = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}


def build(task):
    """``(cell, params)``: the cell as a function of its arrays, and those."""
    *_, size, hidden = task.sizes
    module = CELLS[task.cell](size, hidden, key=jax.random.key(0))
    arrays = interop.equinox.dump(*task.ours)
    where = lambda module: [getattr(module, name) for name in arrays]  # noqa: E731
    module = eqx.tree_at(where, module, [jnp.asarray(array) for array in arrays.values()])
    params, static = eqx.partition(module, eqx.is_array)

    def cell(params, carry, x):
        carry = eqx.combine(params, static)(x, carry)
        return carry, carry[0] if task.cell == "lstm" else carry

    return cell, params


def layer(task):
    cell, params = build(task)
    rows = jax.vmap(cell, (None, 0, 0))

    def apply(params, xs):
        return jax.lax.scan(lambda carry, x: rows(params, carry, x), task.zeros, xs)[1]

    return apply, params


def step(task):
    cell, params = build(task)
    carry = jax.tree.map(lambda zero: zero[0], task.zeros)
    return lambda params, carry, x: cell(params, carry, x[0]), params, carry
