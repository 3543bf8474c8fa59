"""`jax.experimental.rnn`, cuDNN's LSTM: on GPUs only, and not run yet.

The gradient is by the flat weights, which hold the biases too, so its norm says nothing about
the others': `kernels` cuts the biases off.
"""

import jax.numpy as jnp
import numpy as np
from jax.experimental import rnn

from _contenders.common import Layer
from jaxrnn import interop


def layer(task, setup):
    layers, directions = (2, 2) if task.deep else (1, 1)
    inputs, hidden = setup.xs.shape[2], setup.hidden
    xs = np.swapaxes(setup.xs, 0, 1)
    lengths = setup.lengths
    if lengths is None:
        lengths = np.full(xs.shape[0], xs.shape[1], np.int32)

    def run(weights, xs, lengths):
        zero = jnp.zeros((layers * directions, xs.shape[0], hidden))
        ys = rnn.lstm(
            xs, zero, zero, weights, lengths, inputs, hidden, layers, 0.0, directions == 2
        )[0]
        if not task.ragged:
            return ys
        return jnp.where((jnp.arange(xs.shape[1]) < lengths[:, None])[..., None], ys, 0)

    biases = 2 * 4 * hidden * layers * directions
    weights = interop.cudnn.dump(setup.net, setup.params)
    return Layer(run, weights, (xs, lengths), True, lambda flat: [flat[:-biases]])
