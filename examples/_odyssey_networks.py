"""How the networks of `odyssey.py` are sized, trained many at once, and measured."""

import statistics
import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn
from jaxrnn import analysis

ROWS, WATCHED = 32, 8  # sequences of an update; of the memory's measurement
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
once = partial(jax.jit, compiler_options=QUICK)  # what is run once compiles in less time


class Network(NamedTuple):
    """A cell between an embedding, where there is one, and a readout."""

    cell: jaxrnn.Cell
    inputs: int
    hidden: int
    outputs: int
    embedded: bool

    def init(self, key):
        k1, k2, k3 = jax.random.split(key, 3)
        size = self.hidden if self.embedded else self.inputs
        params = {"cell": self.cell.init(k1, size, self.hidden)}
        if self.embedded:
            kernel = jax.random.normal(k2, (self.inputs, size)) / self.inputs**0.5
            params["embedding"] = kernel
        xs = jax.ShapeDtypeStruct((1, 1, size), jnp.float32)
        width = jax.eval_shape(partial(jaxrnn.scan, self.cell), params["cell"], xs)[1].shape[-1]
        params["kernel"] = jax.random.normal(k3, (width, self.outputs)) / width**0.5
        return params | {"bias": jnp.zeros(self.outputs)}

    def embed(self, params, xs):
        return xs @ params["embedding"] if self.embedded else xs

    def answers(self, params, xs):
        """(T, B, D) -> (T, B, outputs)."""
        _, ys = jaxrnn.scan(self.cell, params["cell"], self.embed(params, xs))
        return ys @ params["kernel"] + params["bias"]


def numbers(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def count(network):
    """The parameters of a network."""
    return numbers(jax.eval_shape(network.init, jax.random.key(0)))


def state_size(network):
    params = jax.eval_shape(network.init, jax.random.key(0))["cell"]
    return numbers(jax.eval_shape(network.cell.carry, params))


def allowed(network):
    """Whether the cell takes these sizes."""
    try:
        count(network)
    except ValueError:
        return False
    return True


def grown(network):
    """Whether the cell's parameters grow with the square of its hidden size, not just with it."""
    small, large = (
        numbers(jax.eval_shape(partial(network.cell.init, jax.random.key(0), network.inputs, n)))
        for n in (64, 128)
    )
    return large > 2.5 * small


def sized(cell, inputs, outputs, budget):
    """The network with as many parameters as the budget, as nearly as its cell allows.

    A cell that needs as many inputs as units, or has no full recurrent matrix, is given an
    embedding as wide as itself: such cells are made to be stacked, and from two inputs to
    thousands of units there is nothing to compare.
    """
    network = Network(cell, inputs, 0, outputs, embedded=False)
    plain = allowed(network._replace(hidden=64)) and grown(network)
    network = network._replace(embedded=not plain)
    grain = next((n for n in range(1, 65) if allowed(network._replace(hidden=n))), None)
    if grain is None:
        raise ValueError(f"{cell.name}: no hidden size up to 64 is allowed")

    def of(units):
        return network._replace(hidden=grain * units)

    low, high = 1, 2
    while count(of(high)) < budget:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(of(middle)) < budget else (low, middle)
    return min(of(low), of(high), key=lambda network: abs(count(network) - budget))


def judge(task, answers, batch):
    """Of answers (T, B, outputs): the loss to learn by, and the score, accuracy or RMSE."""
    if task.classes:
        losses = optax.softmax_cross_entropy_with_integer_labels(answers, batch.targets)
        good = jnp.argmax(answers, axis=-1) == batch.targets
        return jnp.mean(losses, where=batch.asked), jnp.mean(good, where=batch.asked)
    losses = (answers[..., 0] - batch.targets) ** 2
    mean = jnp.mean(losses, where=batch.asked)
    return mean, jnp.sqrt(mean)


def optimizer(rate, steps):
    decay = optax.cosine_decay_schedule(1.0, steps)
    return optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.scale_by_adam(),
        optax.scale_by_learning_rate(lambda n: rate * decay(n)),
    )


def learn(network, task, total, steps, key, rate, first, params, state):
    """`steps` updates of one network, of the `total` that its rate falls over."""

    def loss(params, batch):
        return judge(task, network.answers(params, batch.xs), batch)[0]

    def update(both, n):
        params, state = both
        batch = task.draw(jax.random.fold_in(key, n), ROWS)
        grads = jax.grad(loss)(params, batch)
        updates, state = optimizer(rate, total).update(grads, state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(update, (params, state), first + jnp.arange(steps))[0]


def score(network, task, params, batch):
    return judge(task, network.answers(params, batch.xs), batch)[1]


def horizon(network, params, xs):
    """Over how many steps an input still moves the cell's last output by a hundredth of the most.

    Mean over sequences.
    """
    told = analysis.memory_horizon(network.cell, params["cell"], network.embed(params, xs))
    return jnp.mean(told.steps.astype(jnp.float32))


def timed(seconds, function, *args):
    began = time.perf_counter()
    result = jax.block_until_ready(function(*args))
    seconds.append(time.perf_counter() - began)
    return result


def measure(network, task, *, steps, checks, seeds, rates):
    """Trains a network from every seed at every rate, all at once, and tells how it went.

    Scores are tables by seed and rate. Which rate counts is chosen by the mean of the validation's
    scores over seeds. Times are per time step, sequence and network.
    """
    began = time.perf_counter()
    keys, speeds = jax.random.split(jax.random.key(0), seeds), jnp.asarray(rates, jnp.float32)
    each = -(-steps // checks)  # updates from check to check

    def begin(key):
        params = network.init(key)
        both = params, optimizer(0.0, steps).init(params)  # nothing of it is the rate's
        return jax.tree.map(lambda leaf: jnp.stack([leaf] * len(rates)), both)

    params, state = once(jax.vmap(begin))(keys)
    run = partial(learn, network, task, steps, each)
    run = jax.vmap(run, in_axes=(None, 0, None, 0, 0))  # over rates
    run = jax.vmap(run, in_axes=(0, None, None, 0, 0))  # over seeds
    run = jax.jit(run).lower(keys, speeds, 0, params, state).compile()
    check = jax.vmap(jax.vmap(partial(score, network, task), in_axes=(0, None)), in_axes=(0, None))
    check = jax.jit(check)
    check(params, task.valid)

    updates, forwards, valid = [], [], []
    for first in range(0, each * checks, each):
        params, state = timed(updates, run, keys, speeds, first, params, state)
        valid.append(np.asarray(timed(forwards, check, params, task.valid)))
    tested = np.asarray(check(params, task.test))

    sign = -1 if task.classes else 1
    # A network that diverged has no score, and its rate is the last to be chosen.
    losses = np.nan_to_num(sign * valid[-1], nan=np.inf).mean(0)
    best = int(np.argmin(losses))
    chosen = jax.tree.map(lambda leaf: leaf[:, best], params)
    reach = jax.vmap(partial(horizon, network), in_axes=(0, None))
    size = len(task.valid.xs) * seeds * len(rates)  # steps in time, of all networks
    return {
        "valid": valid[-1].tolist(),
        "curve": [checked[:, best].mean().item() for checked in valid],
        "rate": rates[best],
        "test": tested[:, best].tolist(),
        "horizon": once(reach)(chosen, task.test.xs[:, :WATCHED]).tolist(),
        "update_ns": 1e9 * statistics.median(updates) / (each * ROWS * size),
        "forward_ns": 1e9 * statistics.median(forwards) / (task.valid.xs.shape[1] * size),
        "training_seconds": sum(updates),
        "seconds": time.perf_counter() - began,
    }
