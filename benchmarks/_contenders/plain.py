"""What one writes by hand: the equations in a plain `lax.scan`, input products outside it."""

import jax
import jax.numpy as jnp

from _contenders.common import Layer


def lstm(p, carry, zx):
    h, c = carry
    i, f, g, o = jnp.split(zx + h @ p.recurrent_kernel, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru(p, h, zx):
    zh = h @ p.recurrent_kernel
    (rx, zx, nx), (rh, zh, nh) = jnp.split(zx, 3, -1), jnp.split(zh, 3, -1)
    r, z = jax.nn.sigmoid(rx + rh), jax.nn.sigmoid(zx + zh)
    n = jnp.tanh(nx + r * (nh + p.recurrent_bias))
    h = (1 - z) * n + z * h
    return h, h


def elman(p, h, zx):
    h = jnp.tanh(zx + h @ p.recurrent_kernel)
    return h, h


def layer(task, setup):
    update = {"lstm": lstm, "gru": gru, "elman": elman}[task.cell]

    def unroll(p, xs, valid=None, reverse=False):
        zero = jnp.zeros((xs.shape[1], setup.hidden))

        def step(carry, part):
            zx, valid = part
            new, y = update(p, carry, zx)
            if valid is None:
                return new, y
            keep = lambda a, b: jnp.where(valid[:, None], a, b)  # noqa: E731
            return jax.tree.map(keep, new, carry), keep(y, 0)

        carry = (zero, zero) if task.cell == "lstm" else zero
        zxs = xs @ p.input_kernel + p.bias
        return jax.lax.scan(step, carry, (zxs, valid), reverse=reverse)[1]

    def ragged(p, xs, lengths):
        return unroll(p, xs, jnp.arange(xs.shape[0])[:, None] < lengths)

    def deep(p, xs):
        for one in p:
            there, back = unroll(one.forward, xs), unroll(one.backward, xs, reverse=True)
            xs = jnp.concatenate([there, back], axis=-1)
        return xs

    if task.ragged:
        return Layer(ragged, setup.params, (setup.xs, setup.lengths))
    return Layer(deep if task.deep else unroll, setup.params, (setup.xs,))
