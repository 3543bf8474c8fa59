"""`haiku`, whose LSTM alone is the same function as everybody's."""

import haiku as hk

from jaxrnn import interop


def pure(function):
    return hk.without_apply_rng(hk.transform(function)).apply


def layer(task):
    def run(xs):
        core = hk.LSTM(task.sizes[3])
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    return pure(run), interop.haiku.dump(*task.ours)


def step(task):
    def run(carry, x):
        y, carry = hk.LSTM(task.sizes[3])(x, carry)
        return carry, y

    return pure(run), interop.haiku.dump(*task.ours), hk.LSTMState(*task.zeros)
