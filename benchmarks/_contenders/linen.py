"""`flax.linen`."""

import jax.numpy as jnp
from flax import linen as nn

from _contenders.common import Layer, Step
from jaxrnn import interop

CELLS = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "elman": nn.SimpleCell}


def layer(task, setup):
    def rnn():
        return nn.RNN(CELLS[task.cell](setup.hidden), time_major=True)

    arrays = interop.linen.dump(setup.net, setup.params)
    if task.deep:
        module = nn.Sequential([nn.Bidirectional(rnn(), rnn(), time_major=True) for _ in range(2)])
        return Layer(lambda p, xs: module.apply({"params": p}, xs), arrays, (setup.xs,))
    module, arrays = rnn(), {"cell": arrays}

    def ragged(p, xs, lengths):
        ys = module.apply({"params": p}, xs, seq_lengths=lengths)
        return jnp.where((jnp.arange(xs.shape[0])[:, None] < lengths)[..., None], ys, 0)

    if task.ragged:
        return Layer(ragged, arrays, (setup.xs, setup.lengths))
    return Layer(lambda p, xs: module.apply({"params": p}, xs), arrays, (setup.xs,))


def step(task, setup):
    cell = CELLS[task.cell](setup.hidden)
    zero = jnp.zeros((1, setup.hidden))
    carry = (zero, zero) if task.cell == "lstm" else zero
    arrays = interop.linen.dump(setup.net, setup.params)
    return Step(lambda p, c, x: cell.apply({"params": p}, c, x), arrays, carry, setup.xs[0])
