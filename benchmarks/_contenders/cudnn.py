"""`jax.experimental.rnn`, cuDNN's LSTM, batch-major: on GPUs only, and not run yet."""

import jax.numpy as jnp
from jax.experimental import rnn

from jaxrnn import interop

BATCH_MAJOR = True


def layer(task):
    time, batch, size, hidden = task.sizes

    def apply(weights, xs, lengths=None):
        zero = jnp.zeros((1, batch, hidden))
        steps = jnp.full(batch, time) if lengths is None else lengths
        ys = rnn.lstm(xs, zero, zero, weights, steps, size, hidden, 1, 0.0, False)[0]
        valid = (jnp.arange(time) < steps[:, None])[..., None]
        return ys if lengths is None else jnp.where(valid, ys, 0)

    return apply, interop.cudnn.dump(*task.ours)
