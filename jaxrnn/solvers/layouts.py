"""States as vectors of real numbers, and linear systems of their matrices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.base import Array
from jaxrnn.cells.blocks import wide
from jaxrnn.solvers.systems import Tangents
from jaxrnn.steps import before

__all__ = ["Layout", "solve_linear"]


class Layout(NamedTuple):
    """How the leaves of a state make a vector on which matrices act.

    Either of all numbers, ``(..., n)``, or for each unit of those that belong to it,
    ``(..., *features, k)``; of a complex number both parts.

    Attributes:
      shapes: the features of each leaf.
      dtypes: of each leaf.
      batch: the batch axes.
      units: whether by units.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.solvers.layouts import Layout
      >>> layout = Layout.of([jnp.ones((2, 5)), jnp.ones((2, 5))], 1, True)
      >>> layout.pack([jnp.ones((7, 2, 5)), jnp.zeros((7, 2, 5))]).shape
      (7, 2, 5, 2)
    """

    shapes: list[tuple[int, ...]]
    dtypes: list[Any]
    batch: tuple[int, ...]
    units: bool

    @staticmethod
    def of(leaves: list[Any], rank: int, units: bool) -> Layout:
        """The layout of a state.

        Args:
          leaves: of a state, ``(*batch, *features)``, or their shapes.
          rank: the number of batch axes.
          units: whether by units.

        Raises:
          TypeError: for what are not numbers.
          ValueError: for units, where leaves differ in features.
        """
        for leaf in leaves:
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise TypeError(
                    "solver: Newton's method expected a carry of floating-point numbers, got one "
                    f"that holds {leaf.dtype}; jaxrnn.sequential() takes any"
                )
        shapes = [tuple(leaf.shape[rank:]) for leaf in leaves]
        if units and len(set(shapes)) > 1:
            raise ValueError(
                'solver: jacobian="units" expected a carry whose leaves have the same features, '
                f'got {", ".join(map(str, shapes))}; jacobian="dense" takes any'
            )
        return Layout(shapes, [leaf.dtype for leaf in leaves], tuple(leaves[0].shape[:rank]), units)

    @property
    def counts(self) -> list[int]:
        """How many real numbers each number of a leaf is."""
        return [1 + jnp.issubdtype(dtype, jnp.complexfloating) for dtype in self.dtypes]

    @property
    def bytes(self) -> int:
        """Of the matrices of one step."""
        item = max(jnp.dtype(wide(dtype)).itemsize for dtype in self.dtypes)
        if self.units:
            return item * prod(self.batch) * prod(self.shapes[0]) * sum(self.counts) ** 2
        sizes = zip(self.shapes, self.counts, strict=True)
        return item * prod(self.batch) * sum(prod(shape) * count for shape, count in sizes) ** 2

    def pack(self, leaves: list[Array]) -> Array:
        """The vector of a state with any leading axes."""
        parts = []
        for leaf, shape in zip(leaves, self.shapes, strict=True):
            leaf = leaf.astype(wide(leaf.dtype))
            both = [leaf.real, leaf.imag] if jnp.iscomplexobj(leaf) else [leaf]
            if not self.units:
                lead = leaf.shape[: leaf.ndim - len(shape)]
                both = [part.reshape(*lead, prod(shape)) for part in both]
            parts += both
        return jnp.stack(parts, -1) if self.units else jnp.concatenate(parts, -1)

    def unpack(self, vector: Array) -> list[Array]:
        """The leaves of a state, half types still wide."""
        leaves, at = [], 0

        def take(shape: tuple[int, ...]) -> Array:
            nonlocal at
            if self.units:
                at += 1
                return vector[..., at - 1]
            at += prod(shape)
            part = vector[..., at - prod(shape) : at]
            return part.reshape(*part.shape[:-1], *shape)

        for shape, count in zip(self.shapes, self.counts, strict=True):
            parts = [take(shape) for _ in range(count)]
            leaves.append(lax.complex(*parts) if count == 2 else parts[0])
        return leaves

    def basis(self) -> list[Array]:
        """The leaves of the states that are 1 in one place: in every unit at once, by units."""
        count = sum(self.counts)
        if self.units:
            ones = jnp.ones((count, *self.shapes[0], 1))
            rows = jnp.eye(count).reshape(count, *(1,) * len(self.shapes[0]), count)
            leaves = self.unpack(ones * rows)
        else:
            sizes = zip(self.shapes, self.counts, strict=True)
            leaves = self.unpack(jnp.eye(sum(prod(shape) * count for shape, count in sizes)))
        return [leaf.astype(dtype) for leaf, dtype in zip(leaves, self.dtypes, strict=True)]

    def matrices(self, system: Tangents) -> Array:
        """A of every step, or of it the blocks within the units: ``(T, *batch, ..., m, m)``.

        Args:
          system: one without b.
        """
        basis = self.basis()
        coefficients = system.system.coefficients
        each = partial(jax.vmap, axis_size=system.time)  # a cell may leave nothing that varies

        def rows(leaf: Array) -> Array:
            """With batch axes after the first, spread over devices as the state is."""
            lead = leaf.reshape(leaf.shape[0], *(1,) * len(self.batch), *leaf.shape[1:])
            like = jnp.zeros_like(system.initial[0][(..., *(0,) * len(self.shapes[0]))])
            like = like.reshape(*like.shape, *(1,) * (leaf.ndim - 1)).astype(leaf.dtype)
            return lead + like

        if self.units:
            moved = self._within(system, basis)

            def column(v: list[Array], dz: list[Array]) -> Array:
                local = lambda c: system.system.local(c[0], v, dz)  # noqa: E731
                return self.pack(each(local)(coefficients))

            columns = jax.vmap(column, out_axes=-1)
            a = columns([rows(leaf) for leaf in basis], [rows(leaf) for leaf in moved])
        else:

            def image(v: list[Array]) -> Array:
                return self.pack(each(lambda c: system.system.apply(c, v))(coefficients))

            a = jax.vmap(image, out_axes=-1)([rows(leaf) for leaf in basis])
        wide_flag = lambda flag: flag.reshape(flag.shape + (1,) * (a.ndim - flag.ndim))  # noqa: E731
        if system.valid is not None:
            a = jnp.where(wide_flag(system.valid), a, jnp.eye(a.shape[-1], dtype=a.dtype))
        if system.reset is not None:
            a = jnp.where(wide_flag(system.reset), 0, a)
        return a

    def _within(self, system: Tangents, basis: list[Array]) -> list[Array]:
        """What the recurrent map gives every unit of itself, for each vector of the basis.

        By the order of the numbers in z: gate by gate, and within a gate as in the carry. If a
        cell has another, or mixes units, the blocks are not those of A, which costs iterations.
        """
        shape = self.shapes[0]
        size = prod(shape)
        each = jnp.eye(size).reshape(size, *shape)

        def one(v: list[Array]) -> list[Array]:
            found = system.system.rows([each.astype(leaf.dtype) * leaf for leaf in v])
            return [self._diagonal(leaf) for leaf in found]

        return jax.vmap(one)(basis)

    def _diagonal(self, leaf: Array) -> Array:
        """Of ``(units, *features of z)`` what each unit gives to the places that are its own."""
        shape, features = self.shapes[0], leaf.shape[1:]
        last = shape[-1] if shape else 1
        outer = prod(shape) // max(last, 1)
        if not features or features[:-1] != shape[:-1] or features[-1] % max(last, 1):
            return jnp.zeros(features, leaf.dtype)
        parts = leaf.reshape(outer, last, outer, features[-1] // last, last)
        return jnp.einsum("acagc->agc", parts).reshape(features)

    def scan(self, a: Array, b: Array, reverse: bool) -> Array:
        r"""All v of :math:`v_t = A_t v_{t-1} + b_t` from nothing, by an associative scan."""

        def after(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
            (a1, b1), (a2, b2) = first, then
            return self.times(a2, a1), self.times(a2, b1[..., None])[..., 0] + b2

        return lax.associative_scan(after, (a, b), reverse=reverse)[1]

    def times(self, a: Array, b: Array) -> Array:
        """The product of matrices; of small ones as sums, which compilers fuse."""
        if self.units:
            return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)
        return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def solve_linear(
    layout: Layout,
    system: Tangents,
    blocks: Array,
    b: Array,
    tolerance: float,
    most: int,
    fail: bool,
) -> Array:
    r"""All v of :math:`v_t = A_t v_{t-1} + b_t`, by iterations with blocks in place of A.

    .. math:: v \leftarrow v + M^{-1} (b - (I - A) v)

    with M the system of the blocks, which a scan solves. It is exact in its derivative, whatever
    the blocks are, and transposes into the same iterations backward.

    Args:
      layout: by units.
      system: the system; its b is not looked at.
      blocks: in place of A, ``(T, *batch, *features, k, k)``.
      b: ``(T, *batch, *features, k)``.
      tolerance: on the largest residual, relative to the largest b.
      most: iterations, after which it is solved step by step.
      fail: whether it is then NaN instead.
    """
    time = b.shape[0]
    plain = system.homogeneous()
    blocks = lax.stop_gradient(blocks)  # they decide how fast it is found, not what

    def cast(leaves: list[Array]) -> list[Array]:
        return [leaf.astype(s.dtype) for leaf, s in zip(leaves, plain.initial, strict=True)]

    def images(v: Array) -> Array:
        return layout.pack(plain.every(plain.before(cast(layout.unpack(v)))))

    def operator(v: Array) -> Array:
        return v - images(v)

    def stepwise(b: Array) -> Array:
        """The same, one step after the other."""

        def body(v: list[Array], step: Any) -> tuple[list[Array], list[Array]]:
            new = plain.advance(v, step[0])
            new = [x + y.astype(x.dtype) for x, y in zip(new, step[1], strict=True)]
            return new, new

        steps = plain.steps, layout.unpack(b)
        return layout.pack(lax.scan(body, plain.initial, steps, reverse=plain.reverse)[1])

    def backward(b: Array) -> Array:
        return jax.linear_transpose(stepwise, b)(b)[0]

    def iterate(matrices: Array, reverse: bool, fall_back: Callable[[Array], Array]) -> Any:
        def go(operator: Callable[[Array], Array], b: Array) -> Array:
            size = jnp.max(jnp.abs(b)) + jnp.finfo(b.dtype).tiny

            def more(state: tuple[Array, Array, Any]) -> Array:
                return ~(jnp.max(jnp.abs(state[1])) <= tolerance * size) & (state[2] < most)

            def body(state: tuple[Array, Array, Any]) -> tuple[Array, Array, Any]:
                v, r, count = state
                v = v + layout.scan(matrices, r, reverse)
                v = jnp.where(jnp.isfinite(v), v, 0)
                return v, b - operator(v), count + 1

            v, r, _ = lax.while_loop(more, body, (jnp.zeros_like(b), b, jnp.int32(0)))
            found = jnp.max(jnp.abs(r)) <= tolerance * size
            if fail:
                return jnp.where(found, v, jnp.nan)
            return lax.cond(found, lambda: v, lambda: fall_back(b))

        return go

    # Transposed, the step after the one at hand is read in place of that before it.
    nothing = jnp.zeros_like(blocks[0])
    turned = jnp.swapaxes(before(nothing, blocks, not system.reverse), -1, -2)
    forward = iterate(blocks, system.reverse, stepwise)
    transposed = iterate(turned, not system.reverse, backward)
    if time == 1:
        return b
    return lax.custom_linear_solve(operator, b, forward, transposed)
