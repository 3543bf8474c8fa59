"""`flax.nnx`."""

import jax.numpy as jnp
from flax import nnx

from jaxrnn import interop

CELLS = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}


def build(task):
    *_, size, hidden = task.sizes
    cell = CELLS[task.cell](size, hidden, rngs=nnx.Rngs(0))
    nnx.update(cell, interop.nnx.dump(*task.ours))
    return cell


def layer(task):
    module = nnx.RNN(build(task), time_major=True, rngs=nnx.Rngs(0))
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def apply(params, xs, lengths=None):
        ys = nnx.merge(graph, params, rest, copy=True)(xs, seq_lengths=lengths)
        if lengths is None:
            return ys
        return jnp.where((jnp.arange(xs.shape[0])[:, None] < lengths)[..., None], ys, 0)

    return apply, params


def step(task):
    graph, params, rest = nnx.split(build(task), nnx.Param, ...)
    return lambda p, carry, x: nnx.merge(graph, p, rest)(carry, x), params, task.zeros
