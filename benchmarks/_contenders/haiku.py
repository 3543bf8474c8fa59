"""`haiku`, whose LSTM alone is the same function as everybody's."""

import haiku as hk

from _contenders.common import Layer, Step
from jaxrnn import interop


def layer(task, setup):
    def run(xs):
        core = hk.LSTM(setup.hidden)
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    apply = hk.without_apply_rng(hk.transform(run)).apply
    return Layer(apply, interop.haiku.dump(setup.net, setup.params), (setup.xs,))


def step(task, setup):
    def run(carry, x):
        y, carry = hk.LSTM(setup.hidden)(x, carry)
        return carry, y

    carry = hk.LSTMState(*setup.net.carry(setup.params, (1,)))
    apply = hk.without_apply_rng(hk.transform(run)).apply
    return Step(apply, interop.haiku.dump(setup.net, setup.params), carry, setup.xs[0])
