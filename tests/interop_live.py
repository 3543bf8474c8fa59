"""The other libraries, run: one adapter each, all with one face for `test_interop_live`.

``make(row, layers, directions, bias, dtype) -> Live``; its arrays are those of the live module, by
the library's own names, and its run takes any others of the same shapes.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn.interop import structure
from jaxrnn.interop.names import flatten, nest

D, H, P = 3, 4, 2


class Live(NamedTuple):
    """A live module; arrays by name, and carries as `structure.spread` has ours."""

    shapes: dict[str, tuple[int, ...]]
    run: Callable[..., Any]  # (arrays, xs, carries) -> (ys, carries), in jax
    gradients: Callable[..., Any] | None = None  # instead of that of run, where it is not jax


def network(row, layers, directions, bias=True):
    """Our counterpart of a module."""
    cell = row.cell
    if not bias and row.library != "haiku":  # where it is the second one that is absent
        cell = cell.spec._replace(use_bias=False).make()
    if layers == 0:
        return cell if directions == 1 else jaxrnn.bidirectional(cell)
    return jaxrnn.rnn(cell, layers, bidirectional=directions == 2)


def inputs(k, directions, size=H):
    """The input size of a layer."""
    return directions * size if k else D


def torch(row, layers, directions, bias, dtype):
    torch = pytest.importorskip("torch")
    name, _, option = row.module.rstrip(")").partition("(")
    options = {"relu": {"nonlinearity": "relu"}, "proj_size=2": {"proj_size": P}}.get(option, {})
    kind = getattr(torch, dtype)
    if layers:
        both = directions == 2
        module = getattr(torch.nn, name)(
            D, H, layers, bias=bias, bidirectional=both, dtype=kind, **options
        )
    else:
        module = getattr(torch.nn, name)(D, H, bias=bias, dtype=kind, **options)
    lstm = "LSTM" in name

    def states(carries):
        flat = [carry for row in carries for carry in row]
        if not lstm:
            return torch.stack(flat) if layers else flat[0]
        if not layers:
            return flat[0]
        return tuple(torch.stack(part) for part in zip(*flat, strict=True))

    def call(arrays, xs, carries):
        carries = [[tuple(c) if lstm else c for c in row] for row in carries]
        if layers:
            ys, last = torch.func.functional_call(module, arrays, (xs, states(carries)))
            return ys, last
        state, ys = states(carries), []
        for x in xs:
            state = torch.func.functional_call(module, arrays, (x, state))
            ys.append(state[0] if lstm else state)
        return torch.stack(ys), state

    def gradients(weights, arrays, xs, carries):
        leaves, tree = jax.tree.flatten((arrays, xs, carries))
        leaves = [torch.tensor(np.asarray(leaf)).requires_grad_() for leaf in leaves]
        ys, last = call(*jax.tree.unflatten(tree, leaves))
        parts = last if lstm else (last,)
        parts = [part.reshape(-1, *part.shape[-2:]) for part in parts]
        grid = iter(zip(*parts, strict=True))
        rows = [[next(grid) for _ in row] for row in carries]
        names = [[jaxrnn.LSTMCarry(*one) if lstm else one[0] for one in row] for row in rows]
        outputs = jax.tree.leaves((ys, names))
        loss = sum(
            (y * torch.tensor(np.asarray(w))).sum()
            for y, w in zip(outputs, jax.tree.leaves(weights), strict=True)
        )
        slopes = torch.autograd.grad(loss, leaves)
        out = jax.tree.map(lambda leaf: leaf.detach().numpy(), (ys, names))
        return out, jax.tree.unflatten(tree, [slope.numpy() for slope in slopes])

    shapes = {name: tuple(leaf.shape) for name, leaf in module.state_dict().items()}
    return Live(shapes, None, gradients)


def flip_lstm(carry):
    """(c, h) of flax from ours, and back."""
    if isinstance(carry, jaxrnn.LSTMCarry):
        return carry.c, carry.h
    return jaxrnn.LSTMCarry(carry[1], carry[0]) if isinstance(carry, tuple) else carry


def flax(build, layers, directions, flatten_last=True):
    """Run one layer of flax after the other: ``build(k)(xs, initial_carry) -> (carry, ys)``."""

    def run(arrays, xs, carries):
        last = []
        for k, row in enumerate(carries):
            initial = [flip_lstm(carry) for carry in row]
            final, xs = build(k, arrays)(xs, initial[0] if directions == 1 else tuple(initial))
            last.append([flip_lstm(one) for one in ([final] if directions == 1 else final)])
        return xs, last

    return run


def linen(row, layers, directions, bias, dtype):
    nn = pytest.importorskip("flax.linen")
    kind = getattr(nn, row.module)

    def rnn():
        make = lambda: nn.RNN(kind(H, param_dtype=dtype), return_carry=True, time_major=True)  # noqa: E731
        if directions == 1:
            return make()
        return nn.Bidirectional(make(), make(), return_carry=True, time_major=True)

    xs = jnp.ones((2, 1, D), dtype)
    if layers <= 1:
        variables = jax.eval_shape(rnn().init, jax.random.key(0), xs)
    else:  # the names of a Sequential, whose layers hand on their outputs
        quiet = [layer.clone() for layer in [rnn() for _ in range(layers)]]
        for layer in quiet:
            layer.return_carry = False
        variables = jax.eval_shape(nn.Sequential(quiet).init, jax.random.key(0), xs)
    names = flatten(variables["params"], "/")
    if layers == 0 and directions == 1:
        names = {name.removeprefix("cell/"): leaf for name, leaf in names.items()}

    def build(k, arrays):
        tree = nest(arrays, "/")
        if layers > 1:
            tree = tree[f"layers_{k}"]
        if layers == 0 and directions == 1:
            tree = {"cell": tree}
        return lambda xs, carry: rnn().apply({"params": tree}, xs, initial_carry=carry)

    return Live({n: leaf.shape for n, leaf in names.items()}, flax(build, layers, directions))


def nnx(row, layers, directions, bias, dtype):
    nnx = pytest.importorskip("flax.nnx")
    kind = getattr(nnx, row.module)

    def rnn(k):
        def make():
            cell = kind(
                inputs(k, directions),
                H,
                param_dtype=jnp.dtype(dtype),
                dtype=jnp.dtype(dtype),
                rngs=nnx.Rngs(0),
            )
            return nnx.RNN(cell, return_carry=True, time_major=True, rngs=nnx.Rngs(0))

        if directions == 1:
            return make()
        return nnx.Bidirectional(
            make(), make(), return_carry=True, time_major=True, rngs=nnx.Rngs(0)
        )

    made = [rnn(k) for k in range(max(layers, 1))]
    whole = nnx.Sequential(*made) if layers > 1 else made[0]
    if layers == 0 and directions == 1:
        whole = made[0].cell
    graph, params, rest = nnx.split(whole, nnx.Param, ...)
    names = flatten(nnx.to_pure_dict(params), "/")

    def build(k, arrays):
        tree = params.__class__(params)
        nnx.replace_by_pure_dict(tree, _numbers(nest(arrays, "/")))
        module = nnx.merge(graph, tree, rest, copy=True)
        layer = module.layers[k] if layers > 1 else module
        if layers == 0 and directions == 1:
            layer = nnx.RNN(module, return_carry=True, time_major=True, rngs=nnx.Rngs(0))
        return lambda xs, carry: layer(xs, initial_carry=carry)

    return Live({n: leaf.shape for n, leaf in names.items()}, flax(build, layers, directions))


def _numbers(tree):
    if not isinstance(tree, dict):
        return tree
    return {int(k) if k.isdigit() else k: _numbers(v) for k, v in tree.items()}


def haiku(row, layers, directions, bias, dtype):
    hk = pytest.importorskip("haiku")
    options = {} if bias else {"double_bias": False}

    def unroll(xs, state):
        cores = [getattr(hk, row.module)(H, **options) for _ in range(layers)]
        return hk.dynamic_unroll(hk.DeepRNN(cores), xs, state)

    pure = hk.without_apply_rng(hk.transform(unroll))
    like = jnp.zeros((1, H), dtype)
    lstm = row.module == "LSTM"
    state = (hk.LSTMState(like, like),) * layers if lstm else (like,) * layers
    params = jax.eval_shape(pure.init, jax.random.key(0), jnp.ones((2, 1, D), dtype), state)

    def run(arrays, xs, carries):
        modules = {}
        for name, leaf in arrays.items():
            module, _, last = name.rpartition("/")
            modules.setdefault(module, {})[last] = leaf
        state = tuple(hk.LSTMState(*row[0]) if lstm else row[0] for row in carries)
        ys, state = pure.apply(modules, xs, state)
        return ys, [[jaxrnn.LSTMCarry(*one) if lstm else one] for one in state]

    names = flatten(params, "/")
    return Live({name: leaf.shape for name, leaf in names.items()}, run)


def equinox(row, layers, directions, bias, dtype):
    eqx = pytest.importorskip("equinox")
    kind = getattr(eqx.nn, row.module)
    lstm = row.module == "LSTMCell"

    def cell(k):
        size = inputs(k, directions)
        return kind(size, H, use_bias=bias, dtype=jnp.dtype(dtype), key=jax.random.key(0))

    made = [cell(k) for k in range(max(layers, 1))]
    rows = [one if directions == 1 else jaxrnn.Directions(one, one) for one in made]
    tree = rows if layers else rows[0]
    names = flatten(tree)

    def fill(cell, arrays, start):
        own = [name.removeprefix(start) for name in arrays if name.startswith(start)]
        where = lambda c: [getattr(c, name) for name in own]  # noqa: E731
        return eqx.tree_at(where, cell, [arrays[start + name] for name in own])

    def unroll(cell, xs, carry, reverse):
        def step(state, x):
            state = jax.vmap(cell)(x, state)
            return state, state[0] if lstm else state

        return jax.lax.scan(step, tuple(carry) if lstm else carry, xs, reverse=reverse)

    def run(arrays, xs, carries):
        last = []
        for k, row in enumerate(carries):
            start, ys, finals = f"{k}." if layers else "", [], []
            for d, carry in enumerate(row):
                inner = start + ("forward.", "backward.")[d] * (directions == 2)
                final, y = unroll(fill(made[k], arrays, inner), xs, carry, bool(d))
                finals.append(jaxrnn.LSTMCarry(*final) if lstm else final)
                ys.append(y)
            xs = jnp.concatenate(ys, axis=-1)
            last.append(finals)
        return xs, last

    return Live({name: leaf.shape for name, leaf in names.items()}, run)


def keras(row, layers, directions, bias, dtype):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "jax":
        pytest.skip("keras was imported with another backend")
    name, _, option = row.module.rstrip(")").partition("(")
    options = {"reset_after": False} if option else {}
    lstm = name == "LSTM"

    def layer(k):
        kind = getattr(keras.layers, name)
        one = kind(
            H, use_bias=bias, return_sequences=True, return_state=True, dtype=dtype, **options
        )
        one = keras.layers.Bidirectional(one, dtype=dtype) if directions == 2 else one
        one.build((1, 2, inputs(k, directions)))
        for part in (one.forward_layer, one.backward_layer) if directions == 2 else (one,):
            part.cell.activation = jnp.tanh  # that of keras goes through float32, in float64 too
        return one

    made = [layer(k) for k in range(layers)]
    names = {v.path: v for one in made for v in one.trainable_variables}

    def run(arrays, xs, carries):
        xs, last = jnp.swapaxes(xs, 0, 1), []
        for one, row in zip(made, carries, strict=True):
            initial = [leaf for carry in row for leaf in (carry if lstm else (carry,))]
            values = [arrays[v.path] for v in one.trainable_variables]
            rest = [v.value for v in one.non_trainable_variables]
            (xs, *state), _ = one.stateless_call(values, rest, xs, initial_state=initial)
            each = len(state) // directions
            parts = [state[d * each : (d + 1) * each] for d in range(directions)]
            last.append([jaxrnn.LSTMCarry(*part) if lstm else part[0] for part in parts])
        return jnp.swapaxes(xs, 0, 1), last

    return Live({name: tuple(v.shape) for name, v in names.items()}, run)


def cudnn(row, layers, directions, bias, dtype):
    rnn = pytest.importorskip("jax.experimental.rnn")
    both = directions == 2
    count = rnn.get_num_params_in_lstm(D, H, layers, both)

    def run(arrays, xs, carries):
        weights = rnn.unpack_lstm_weights(arrays["flat"], D, H, layers, both)
        flat = [carry for row in carries for carry in row]
        h, c = (jnp.stack(part) for part in zip(*flat, strict=True))
        xs = jnp.swapaxes(xs, 0, 1)
        lengths = jnp.full(xs.shape[0], xs.shape[1], jnp.int32)
        ys, h, c = rnn.lstm_ref(xs, h, c, *weights, lengths, D, H, layers, 0.0, both)
        finals = [jaxrnn.LSTMCarry(*pair) for pair in zip(h, c, strict=True)]
        rows = [finals[k : k + directions] for k in range(0, len(finals), directions)]
        return jnp.swapaxes(ys, 0, 1), rows

    return Live({"flat": (count,)}, run)


MAKE = {
    "torch": torch,
    "linen": linen,
    "nnx": nnx,
    "haiku": haiku,
    "equinox": equinox,
    "keras": keras,
    "cudnn": cudnn,
}


def spread(net, carry):
    """Our carries, ordered as those of `Live`."""
    return structure.spread(net, carry)
