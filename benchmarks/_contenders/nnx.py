"""`flax.nnx`."""

import jax.numpy as jnp
from flax import nnx

from _contenders.common import Layer, Step
from jaxrnn import interop

CELLS = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}


def split(module, setup):
    nnx.update(module, interop.nnx.dump(setup.net, setup.params))
    return nnx.split(module, nnx.Param, ...)


def layer(task, setup):
    hidden = setup.hidden

    def rnn(inputs):
        cell = CELLS[task.cell](inputs, hidden, rngs=nnx.Rngs(0))
        return nnx.RNN(cell, time_major=True, rngs=nnx.Rngs(0))

    def both(inputs):
        return nnx.Bidirectional(rnn(inputs), rnn(inputs), time_major=True, rngs=nnx.Rngs(0))

    inputs = setup.xs.shape[2]
    if task.deep:
        graph, params, rest = split(nnx.Sequential(both(inputs), both(2 * hidden)), setup)
        return Layer(lambda p, xs: nnx.merge(graph, p, rest, copy=True)(xs), params, (setup.xs,))
    module = rnn(inputs)
    split(module.cell, setup)
    graph, params, rest = nnx.split(module, nnx.Param, ...)

    def run(p, xs, lengths=None):
        zero = jnp.zeros((xs.shape[1], hidden))
        carry = (zero, zero) if task.cell == "lstm" else zero
        ys = nnx.merge(graph, p, rest)(xs, initial_carry=carry, seq_lengths=lengths)
        if lengths is None:
            return ys
        return jnp.where((jnp.arange(xs.shape[0])[:, None] < lengths)[..., None], ys, 0)

    return Layer(run, params, (setup.xs, setup.lengths) if task.ragged else (setup.xs,))


def step(task, setup):
    cell = CELLS[task.cell](setup.xs.shape[2], setup.hidden, rngs=nnx.Rngs(0))
    graph, params, rest = split(cell, setup)
    zero = jnp.zeros((1, setup.hidden))
    carry = (zero, zero) if task.cell == "lstm" else zero
    return Step(lambda p, c, x: nnx.merge(graph, p, rest)(c, x), params, carry, setup.xs[0])
