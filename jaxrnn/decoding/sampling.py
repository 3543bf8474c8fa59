"""How the next token is chosen from logits: greedily, by temperature, top-k or nucleus."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from jaxrnn.base import Array
from jaxrnn.cells.blocks import wide
from jaxrnn.checks import check_positive

__all__ = ["Choose", "greedy", "sampler"]

Choose = Callable[[Array | None, Any], Array]
"""``choose(key, output) -> next``: what is fed back, from the output of one row.

`sampler` makes them for logits ``(V,)``; any function will do, such as one that draws from a
mixture density.
"""


def greedy(key: Array | None, logits: Array) -> Array:
    r"""The most probable token, :math:`\mathrm{argmax}_v\; z_v`, the first of several.

    Args:
      key: not used.
      logits: z, ``(..., V)``.

    Returns:
      int32 ``(...)``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.decoding.sampling import greedy
      >>> int(greedy(None, jnp.array([0.1, 2.0, 0.3])))
      1
    """
    return lax.argmax(logits, logits.ndim - 1, jnp.int32)


def check_number(argument: str, value: Any, expected: str) -> float:
    """The value as a float, or TypeError unless it is a number, an array of one included."""
    real = np.shape(value) == () and not isinstance(value, str | Tracer)
    if not real or np.asarray(value).dtype.kind not in "iufV":  # V: those of ml_dtypes
        raise TypeError(f"{argument}: expected {expected}, got {type(value).__name__}")
    return float(value)


def sampler(
    *, temperature: float = 1.0, top_k: int | None = None, top_p: float | None = None
) -> Choose:
    r"""A function that draws a token from logits.

    .. math:: p_v \propto \exp(z_v / \tau) \quad\text{over the tokens that are kept}

    First only the `top_k` most probable are kept, then of these (renormalised) the smallest
    set, most probable first, whose probability reaches `top_p`. Of equal logits the lower
    index counts as the more probable.

    Args:
      temperature: τ ≥ 0; 0 is `greedy`.
      top_k: how many tokens are kept, all if None or more than V.
      top_p: the nucleus, a probability in (0, 1], all if None.

    Returns:
      ``choose(key, logits) -> token``, logits ``(..., V)``, tokens int32 ``(...)``; it raises
      ValueError if the key is None and the temperature is not 0.

    Raises:
      TypeError: if an argument is not a number.
      ValueError: for a negative or infinite temperature, k < 1, or p outside (0, 1].

    Source: Holtzman, Buys, Du, Forbes and Choi (2020), The curious case of neural text
    degeneration, arXiv:1904.09751, for the nucleus; Fan, Lewis and Dauphin (2018),
    Hierarchical neural story generation, arXiv:1805.04833, for top-k.

    Example:
      >>> import jax, jaxrnn
      >>> choose = jaxrnn.sampler(temperature=0.8, top_k=2)
      >>> logits = jax.numpy.array([3.0, -1.0, 3.0, 0.0])
      >>> draws = {int(choose(jax.random.key(seed), logits)) for seed in range(20)}
      >>> sorted(draws)
      [0, 2]
    """
    temperature = check_number("temperature", temperature, "a number >= 0")
    if not 0 <= temperature < math.inf:
        raise ValueError(f"temperature: expected a finite number >= 0, got {temperature}")
    if top_k is not None:
        check_positive("top_k", top_k)
    if top_p is not None:
        top_p = check_number("top_p", top_p, "a probability in (0, 1]")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p: expected a probability in (0, 1], got {top_p}")
    if temperature == 0:
        return greedy

    def choose(key: Array | None, logits: Array) -> Array:
        if key is None:
            raise ValueError("key: expected a PRNG key to sample with, got None")
        # The best is 0, so that none overflows, however small the temperature.
        logits = logits.astype(wide(logits.dtype))
        top = jnp.max(logits, axis=-1, keepdims=True)
        below = logits - jnp.where(jnp.isfinite(top), top, jnp.zeros_like(top))
        logits = below / max(temperature, float(jnp.finfo(logits.dtype).tiny))
        if top_k is None and top_p is None:
            return jax.random.categorical(key, logits).astype(jnp.int32)
        size = logits.shape[-1]
        kept, tokens = lax.top_k(logits, size if top_k is None else min(int(top_k), size))
        if top_p is not None:
            p = jax.nn.softmax(kept)
            before = jnp.cumsum(p, axis=-1) - p
            # The first token stays whatever rounding makes of its p - p.
            before = before.at[..., 0].set(0)
            kept = jnp.where(before < top_p, kept, -jnp.inf)
        drawn = jax.random.categorical(key, kept)
        return jnp.take_along_axis(tokens, drawn[..., None], axis=-1)[..., 0].astype(jnp.int32)

    return choose
