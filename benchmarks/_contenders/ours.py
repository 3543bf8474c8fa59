"""`jaxrnn`, and it against itself: the ways of one layer that the properties compare."""

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxrnn
from _contenders.common import Layer, Step


def generic():
    """An LSTM as a user writes it down: its equations and nothing else."""

    def update(params, carry, zx, zh):
        i, f, g, o = jnp.split(zx + zh, 4, axis=-1)
        i, f, o = jax.nn.sigmoid(i), jax.nn.sigmoid(f), jax.nn.sigmoid(o)
        c = f * carry.c + i * jnp.tanh(g)
        h = o * jnp.tanh(c)
        return jaxrnn.LSTMCarry(h, c), h

    return jaxrnn.Cell(
        name="generic",
        init=jaxrnn.lstm.init,
        carry=jaxrnn.lstm.carry,
        project=lambda params, x: x @ params.input_kernel + params.bias,
        recurrent=lambda params, carry: carry.h @ params.recurrent_kernel,
        update=update,
    )


def layer(task, setup):
    net, params, xs, lengths = setup.net, setup.params, jnp.asarray(setup.xs), setup.lengths
    way, hidden = task.library, setup.hidden

    def simple(net, params):
        return Layer(lambda p, xs: jaxrnn.scan(net, p, xs)[1], params, (xs,))

    if way == "jaxrnn":
        if lengths is None:
            return simple(net, params)
        way = "lengths"
    if way in ("lengths", "mask", "reset"):  # that skip nothing but cannot know it
        option = {
            "lengths": np.full(xs.shape[1], xs.shape[0]) if lengths is None else lengths,
            "mask": np.ones(xs.shape[:2], bool),
            "reset": np.zeros(xs.shape[:2], bool),
        }[way]
        return Layer(lambda p, xs, o: jaxrnn.scan(net, p, xs, **{way: o})[1], params, (xs, option))
    if way == "vmap":
        one = lambda p, xs: jaxrnn.scan(net, p, xs)[1]  # noqa: E731
        return Layer(jax.vmap(one, (None, 1), 1), params, (xs,))
    if way == "generic":
        return simple(generic(), params)
    if way == "both":
        both = jaxrnn.bidirectional(net)
        return simple(both, both.init(jax.random.key(0), xs.shape[2], hidden))
    if way in ("two", "in turn"):
        deep = jaxrnn.rnn(net, 2)
        params = deep.init(jax.random.key(0), xs.shape[2], hidden)
        if way == "two":
            return simple(deep, params)

        def in_turn(p, xs):
            for one in p:
                xs = jaxrnn.scan(net, one, xs)[1]
            return xs

        return Layer(in_turn, params, (xs,))
    if way == "sharded":
        mesh = Mesh(np.array(jax.devices("cpu")), ("batch",))
        params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
        xs = jax.device_put(xs, NamedSharding(mesh, PartitionSpec(None, "batch")))
        return simple(net, params)
    raise KeyError(way)


def step(task, setup):
    net, params = setup.net, setup.params
    return Step(net.step, params, net.carry(params, (1,)), setup.xs[0])
