"""`jaxrnn`, and it against itself: the ways of one layer that the properties compare."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import jaxrnn
from _contenders.common import Layer, Step
from jaxrnn.networks.directions import Directions, _both
from jaxrnn.trajectory import TRAJECTORY
from jaxrnn.unroll import Options, run


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


def wavefront(net, params, xs, chunk=10):
    """Two layers in one loop, the second a chunk behind: it is given what the first one said."""
    first, second = params
    chunks = xs.reshape(-1, chunk, *xs.shape[1:])

    def body(state, x):
        carry, before = state
        inputs = Directions(x, before)
        carry, (said, ys), _ = run(_both(net, net), Directions(*params), inputs, carry, Options())
        return (carry, said), ys

    saved = jax.checkpoint_policies.save_only_these_names(TRAJECTORY)
    ahead, said = jaxrnn.scan(net, first, chunks[0])
    state = Directions(ahead, net.carry(second, xs.shape[1:-1])), said
    body = jax.checkpoint(body, policy=saved, prevent_cse=False)
    (carry, said), ys = jax.lax.scan(body, state, chunks[1:])
    _, tail = jaxrnn.scan(net, second, said, carry.backward)
    return jnp.concatenate([ys.reshape(-1, *ys.shape[2:]), tail])


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
    if way in ("two", "wavefront"):
        deep = jaxrnn.rnn(net, 2)
        params = deep.init(jax.random.key(0), xs.shape[2], hidden)
        if way == "two":
            return simple(deep, params)
        return Layer(partial(wavefront, net), params, (xs,))
    if way == "sharded":
        mesh = Mesh(np.array(jax.devices("cpu")), ("batch",))
        params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
        xs = jax.device_put(xs, NamedSharding(mesh, PartitionSpec(None, "batch")))
        return simple(net, params)
    raise KeyError(way)


def step(task, setup):
    net, params = setup.net, setup.params
    return Step(net.step, params, net.carry(params, (1,)), setup.xs[0])
