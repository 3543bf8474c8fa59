"""`keras` on its jax backend, batch-major."""

import os

os.environ["KERAS_BACKEND"] = "jax"

import jax.numpy as jnp
import keras

from jaxrnn import interop

LAYERS = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "elman": keras.layers.SimpleRNN}
BATCH_MAJOR = True


def layer(task):
    time, batch, size, hidden = task.sizes
    options = {"zero_output_for_mask": True} if task.way == "lengths" else {}
    module = LAYERS[task.cell](hidden, return_sequences=True, **options)
    module.build((batch, time, size))
    module.set_weights(list(interop.keras.dump(*task.ours).values()))
    rest = [variable.value for variable in module.non_trainable_variables]

    def apply(params, xs, lengths=None):
        mask = None if lengths is None else jnp.arange(time) < lengths[:, None]
        return module.stateless_call(params, rest, xs, mask=mask)[0]

    return apply, [variable.value for variable in module.trainable_variables]
