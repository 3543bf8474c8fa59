"""What one writes by hand: the equations in a plain `lax.scan`, input products outside it."""

import jax
import jax.numpy as jnp


def lstm(p, carry, zx):
    h, c = carry
    i, f, g, o = jnp.split(zx + h @ p["R"], 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def gru(p, h, zx):
    (rx, zx, nx), (rh, zh, nh) = jnp.split(zx, 3, -1), jnp.split(h @ p["R"], 3, -1)
    r, z = jax.nn.sigmoid(rx + rh), jax.nn.sigmoid(zx + zh)
    n = jnp.tanh(nx + r * nh)
    h = (1 - z) * n + z * h
    return h, h


def elman(p, h, zx):
    h = jnp.tanh(zx + h @ p["R"])
    return h, h


def layer(task):
    update = {"lstm": lstm, "gru": gru, "elman": elman}[task.cell]

    def apply(p, xs, lengths=None):
        def step(carry, now):
            zx, valid = now
            new, y = update(p, carry, zx)
            if valid is None:
                return new, y
            keep = lambda a, b: jnp.where(valid[:, None], a, b)  # noqa: E731
            return jax.tree.map(keep, new, carry), keep(y, 0)

        valid = None if lengths is None else jnp.arange(xs.shape[0])[:, None] < lengths
        return jax.lax.scan(step, task.zeros, (xs @ p["W"] + p["b"], valid))[1]

    return apply, dict(zip("WRb", task.weights, strict=True))
