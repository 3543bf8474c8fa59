"""The three forms of a network that tests of the Flax modules compare, as plain functions."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import jaxrnn
from jaxrnn.checks import expected_params
from tests.reference import QUICK, random_like

B, T, D, H = 3, 5, 2, 4
LENGTHS = np.array([5, 0, 3], np.int32)
KINDS = {
    "elman": (jaxrnn.elman, jaxrnn.linen.Elman, jaxrnn.nnx.Elman),
    "lstm": (jaxrnn.lstm, jaxrnn.linen.LSTM, jaxrnn.nnx.LSTM),
    "gru": (jaxrnn.gru, jaxrnn.linen.GRU, jaxrnn.nnx.GRU),
}
quick = partial(jax.jit, compiler_options=QUICK)


def draw(net, dtype=jnp.float32, batch=(B,), seed=0):
    """Random parameters, inputs ``(*batch, T, D)`` and carry, all distinct."""
    params = random_like(expected_params(net, D, H, jnp.dtype(dtype)), seed, 0.5)
    inputs = random_like(jax.ShapeDtypeStruct((*batch, T, D), dtype), seed + 1)
    return params, inputs, random_like(net.carry(params, batch), seed + 2)


def make_nnx(cls, params, *args, **options):
    """An nnx module with these parameters; nothing is drawn, its own streams are empty."""
    module = nnx.eval_shape(lambda: cls(D, H, *args, rngs=nnx.Rngs(0), **options))
    nnx.update(module, jaxrnn.nnx.from_params(params))
    return module


def apply_linen(module):
    """``f(params, inputs, carry, key=None, **options)`` of a linen module."""

    def f(params, inputs, carry=None, key=None, **options):
        variables = {"params": jaxrnn.linen.from_params(params)}
        rngs = None if key is None else {"dropout": key}
        if module.network.stochastic:
            options["deterministic"] = key is None
        return module.apply(variables, inputs, initial_carry=carry, rngs=rngs, **options)

    return f


def apply_nnx(module):
    """``f(params, inputs, carry, key=None, **options)`` of an nnx module."""
    graph, _, rest = nnx.split(module, nnx.Param, ...)

    def f(params, inputs, carry=None, key=None, **options):
        changed = nnx.merge(graph, jaxrnn.nnx.from_params(params), rest)
        return changed(inputs, initial_carry=carry, deterministic=key is None, rngs=key, **options)

    return f


def in_order_of_flax(carry):
    """A carry of `jaxrnn.scan` as the modules return it."""
    is_one = lambda node: isinstance(node, jaxrnn.LSTMCarry)  # noqa: E731
    change = lambda node: jaxrnn.linen.LSTMCarry(c=node.c, h=node.h) if is_one(node) else node  # noqa: E731
    return jax.tree.map(change, carry, is_leaf=is_one)


def functional(net, params, inputs, carry=None, key=None, **options):
    """`jaxrnn.scan`, batch-major, the order of the outputs that of Flax by plain indexing."""
    lengths, keep_order = options.pop("seq_lengths", None), options.pop("keep_order", False)
    wants = {k: options.pop(k, False) for k in ("return_carry", "return_carries")}
    time_major = options.pop("time_major", False)
    swap = lambda a: a if time_major else jnp.swapaxes(a, 0, 1)  # noqa: E731
    flags = {k: swap(options.pop(k)) for k in ("mask", "reset") if k in options}
    reverse = options.get("reverse", False)
    last, *many = jaxrnn.scan(
        net,
        params,
        swap(inputs),
        carry,
        key=key,
        lengths=lengths,
        return_carries=wants["return_carries"],
        **flags,
        **options,
    )

    def arrange(leaf):
        if reverse and not keep_order:
            ends = [T] * B if lengths is None else lengths
            rows = [
                jnp.concatenate([y[:n][::-1], y[n:]])
                for y, n in zip(leaf.swapaxes(0, 1), ends, strict=True)
            ]
            leaf = jnp.stack(rows, 1)
        return swap(leaf)

    last, (ys, *carries) = in_order_of_flax(last), jax.tree.map(arrange, in_order_of_flax(many))
    if wants["return_carries"]:
        return last, ys, *carries
    return (last, ys) if wants["return_carry"] else ys
