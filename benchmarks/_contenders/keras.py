"""`keras` on its jax backend, batch-major."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax.numpy as jnp
import keras
import numpy as np

from _contenders.common import Layer
from jaxrnn import interop

LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "elman": keras.layers.SimpleRNN}


def layer(task, setup):
    def rnn():
        options = {"zero_output_for_mask": True} if task.ragged else {}
        one = LAYERS[task.cell](setup.hidden, return_sequences=True, **options)
        return keras.layers.Bidirectional(one) if task.deep else one

    module = keras.Sequential([rnn(), rnn()]) if task.deep else rnn()
    xs = np.swapaxes(setup.xs, 0, 1)
    module.build(xs.shape)
    module.set_weights(list(interop.keras.dump(setup.net, setup.params).values()))
    trainable = module.trainable_variables
    params = [variable.value for variable in trainable]
    rest = [variable.value for variable in module.non_trainable_variables]

    def run(p, xs, lengths=None):
        options = {}
        if lengths is not None:
            options["mask"] = jnp.arange(xs.shape[1]) < lengths[:, None]
        return module.stateless_call(p, rest, xs, **options)[0]

    def kernels(slopes):  # a GRU's bias is a matrix too
        named = zip(trainable, slopes, strict=True)
        return [slope for variable, slope in named if variable.name != "bias"]

    inputs = (xs, setup.lengths) if task.ragged else (xs,)
    return Layer(run, params, inputs, batch_major=True, kernels=kernels)
