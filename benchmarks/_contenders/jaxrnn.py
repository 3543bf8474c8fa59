"""`jaxrnn`, in all the ways that are compared."""

import jax
import jax.numpy as jnp

import jaxrnn


def generic():
    """An LSTM as a user writes it down: its equations and nothing else."""

    def update(params, carry, z):
        i, f, g, o = jnp.split(z, 4, axis=-1)
        c = jax.nn.sigmoid(f) * carry.c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jaxrnn.LSTMCarry(jax.nn.sigmoid(o) * jnp.tanh(c), c)

    return jaxrnn.Cell(
        name="generic",
        init=jaxrnn.lstm.init,
        carry=jaxrnn.lstm.carry,
        project=lambda params, x: x @ params.input_kernel + params.bias,
        recurrent=lambda params, carry: carry.h @ params.recurrent_kernel,
        update=update,
        output=lambda params, carry, z: carry.h,
    )


def layer(task):
    cell, params = task.ours
    if task.way == "generic":
        cell = generic()
    if task.way == "bidirectional":
        cell, params = jaxrnn.bidirectional(cell), jaxrnn.Directions(params, params)

    def apply(params, xs, option=None):
        options = {} if option is None else {task.way: option}
        return jaxrnn.scan(cell, params, xs, **options)[1]

    return jax.vmap(apply, (None, 1), 1) if task.way == "vmap" else apply, params


def step(task):
    cell, params = task.ours
    return cell.step, params, cell.carry(params, (task.sizes[1],))
