"""`flax.linen`."""

import jax.numpy as jnp
from flax import linen as nn

from jaxrnn import interop

CELLS = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "elman": nn.SimpleCell}


def layer(task):
    module = nn.RNN(CELLS[task.cell](task.sizes[3]), time_major=True)

    def apply(params, xs, lengths=None):
        ys = module.apply({"params": params}, xs, seq_lengths=lengths)
        if lengths is None:
            return ys
        return jnp.where((jnp.arange(xs.shape[0])[:, None] < lengths)[..., None], ys, 0)

    return apply, {"cell": interop.linen.dump(*task.ours)}


def step(task):
    cell = CELLS[task.cell](task.sizes[3])
    arrays = interop.linen.dump(*task.ours)
    return lambda p, carry, x: cell.apply({"params": p}, carry, x), arrays, task.zeros
