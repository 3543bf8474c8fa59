"""Whether a cell of one's own keeps what `jaxrnn.scan` takes for granted."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, batch_shape, check_cell
from jaxrnn.steps import divide
from jaxrnn.unroll import scan

__all__ = ["check"]


def check(cell: Cell, params: Params, xs: PyTree, *, tolerance: float | None = None) -> None:
    r"""Compare a cell's scan with a loop over its step, and its recurrent map with an affine one.

    .. math:: R(a + b) - R(a) - R(b) + R(0) = 0

    `jaxrnn.scan` differentiates `recurrent` once for all steps, so a map that is not affine in the
    carry would run forward and give wrong gradients; what is not affine belongs into `update`.

    Args:
      cell: a `Cell`.
      params: its parameters.
      xs: ``(T, *batch, D)``, a few steps of some input; the carry is perturbed at random.
      tolerance: how far off values may be, relative to the largest; by default the square root of
        the dtype's epsilon.

    Raises:
      ValueError: `recurrent` is not affine, or values or gradients of the scan are not the loop's.
      TypeError: it is not a `Cell`.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> xs = jax.random.normal(jax.random.key(1), (4, 2, 3))
      >>> jaxrnn.analysis.check(jaxrnn.gru, params, xs)
      >>> bent = jaxrnn.gru._replace(recurrent=lambda p, h: jaxrnn.gru.recurrent(p, h**2))
      >>> jaxrnn.analysis.check(bent, params, xs)
      Traceback (most recent call last):
      ValueError: cell: expected recurrent(params, carry) to be affine in the carry, got ...
    """
    check_cell("cell", cell)
    if not isinstance(cell, Cell):
        raise TypeError(f"cell: expected a Cell, got {cell!r}")
    time = jax.tree.leaves(xs)[0].shape[0]
    carry = cell.carry(params, batch_shape(cell, jax.tree.map(lambda leaf: leaf[0], xs)))
    a, b = _perturbed(carry, 0), _perturbed(carry, 1)
    eps = max(float(jnp.finfo(leaf.dtype).eps) for leaf in divide((params, carry)).floats)
    bound = eps**0.5 if tolerance is None else tolerance
    _compare(
        _second_difference(cell, params, a, b),
        bound,
        "recurrent(params, carry) to be affine in the carry",
    )

    def loop(params: Params, xs: PyTree, carry: Carry) -> tuple[Carry, PyTree]:
        ys = []
        for t in range(time):
            carry, y = cell.step(params, carry, jax.tree.map(lambda leaf, t=t: leaf[t], xs))
            ys.append(y)
        return carry, jax.tree.map(lambda *leaves: jnp.stack(leaves), *ys)

    got = _with_gradients(lambda *at: scan(cell, *at), params, xs, a)
    want = _with_gradients(loop, params, xs, a)
    for what, one, other in zip(("values", "gradients"), got, want, strict=True):
        pairs = zip(divide(one).floats, divide(other).floats, strict=True)
        _compare([(x, y) for x, y in pairs], bound, f"{what} of a scan equal to those of its steps")


def _perturbed(carry: Carry, seed: int) -> Carry:
    floats, rest, join = divide(carry)
    rng = np.random.default_rng(seed)
    return join(
        [leaf + jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) for leaf in floats], rest
    )


def _second_difference(cell: Cell, params: Params, a: Carry, b: Carry) -> list[tuple[Array, Array]]:
    """R(a + b) + R(0) and R(a) + R(b)."""
    floats, rest, join = divide(a)
    others = divide(b).floats
    at = lambda leaves: divide(cell.recurrent(params, join(leaves, rest))).floats  # noqa: E731
    zero = at([jnp.zeros_like(leaf) for leaf in floats])
    both = at([x + y for x, y in zip(floats, others, strict=True)])
    return [
        (ab + o, one + other)
        for ab, o, one, other in zip(both, zero, at(floats), at(others), strict=True)
    ]


def _with_gradients(run: Any, params: Params, xs: PyTree, carry: Carry) -> tuple[Any, Any]:
    def total(inputs: list[Array]) -> tuple[Array, list[Array]]:
        outputs = divide(run(*parts.join(inputs, parts.rest))).floats
        rng = np.random.default_rng(2)
        weights = [jnp.asarray(rng.normal(size=leaf.shape), leaf.dtype) for leaf in outputs]
        terms = [jnp.sum(w * y).real for w, y in zip(weights, outputs, strict=True)]
        return sum(terms, jnp.zeros(())), outputs

    parts = divide((params, xs, carry))
    gradients, outputs = jax.jit(jax.grad(total, has_aux=True))(parts.floats)
    return outputs, gradients


def _compare(pairs: list[tuple[Array, Array]], bound: float, what: str) -> None:
    for got, want in pairs:
        wide = np.complex128 if jnp.iscomplexobj(want) else np.float64
        got, want = np.asarray(got, wide), np.asarray(want, wide)
        error = np.abs(got - want).max(initial=0.0)
        if not error <= bound * max(1.0, np.abs(want).max(initial=0.0)):
            raise ValueError(f"cell: expected {what}, got {got.shape} numbers off by {error:.3g}")
