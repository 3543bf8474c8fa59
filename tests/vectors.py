"""Small weights, all of them distinct: they tell gates, transposes and biases apart."""

import jax.numpy as jnp
import numpy as np

X = np.array([1.0, -0.5, 0.25])
"""An input of three features; `X[:2]` where D = H = 2."""
S, C = np.array([0.2, -0.3]), np.array([0.3, 0.1])
"""Two states of two units."""


def K(n, r, c):
    """A kernel, ``(in, out)``."""
    return np.sin(1 + n + 0.7 * np.arange(r)[:, None] + 1.3 * np.arange(c)[None, :]) / 2


def V(n, H=2):
    """A bias."""
    return np.cos(n + np.arange(H)) / 5


def fused(kernels):
    """Blocks side by side, as a float64 array of JAX."""
    return jnp.asarray(np.concatenate(list(kernels), axis=-1), jnp.float64)
