r"""The two systems of an unrolled cell, as a solver is given them.

.. math::
    s_t &= F_t(s_{t-1})          && \text{the trajectory, `Trajectory`} \\
    v_t &= A_t\, v_{t-1} + b_t   && \text{its linearisation, `Tangents`}

Both know their steps one by one, as a loop takes them (`advance`), and all at once (`every`), from
guesses of the states before them. What a mask or a reset does is in them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, Cell, Matrix, Params, PyTree, add, restart, select
from jaxrnn.cells.blocks import wide
from jaxrnn.steps import Linearized, Steps, before, begin, divide, linearize

__all__ = ["Tangents", "Trajectory", "pairs"]

tree_map = jax.tree.map


class Trajectory(NamedTuple):
    r"""The trajectory of some steps, :math:`s_t = F_t(s_{t-1})`.

    Attributes:
      cell: the cell.
      params: its parameters.
      initial: the carry before the first step, leaves ``(*batch, ...)``.
      again: the carry that a reset restarts from, or None.
      z: the projected inputs, leaves ``(T, *batch, ...)``.
      valid: booleans ``(T, *batch)`` or None.
      reset: booleans ``(T, *batch)`` or None.
      reverse: whether the steps run from the last to the first.
      rank: how many batch axes there are.
      guess: a guess of the carries after all steps, or None.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> from jaxrnn.solvers import Trajectory
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> z = jaxrnn.elman.project(params, jnp.ones((7, 3)))
      >>> system = Trajectory(jaxrnn.elman, params, jnp.zeros(5), None, z)
      >>> last, states = jaxrnn.sequential().solve(system)[:2]
      >>> bool(jnp.allclose(system.every(system.before(states)), states))
      True
    """

    cell: Cell
    params: Params
    initial: Carry
    again: Carry | None
    z: PyTree
    valid: PyTree = None
    reset: PyTree = None
    reverse: bool = False
    rank: int = 0
    guess: Carry | None = None

    @property
    def time(self) -> int:
        """How many steps there are."""
        return jax.tree.leaves(self.z)[0].shape[0]

    @property
    def steps(self) -> tuple[Any, ...]:
        """What each step needs besides the state."""
        return self.z, self.valid, self.reset

    def advance(self, held: Carry, step: tuple[Any, ...]) -> Carry:
        """One step, from the state before it."""
        z, valid, reset = step
        held = restart(reset, self.again, held)
        new = self.cell.update(self.params, held, add(z, self.cell.recurrent(self.params, held)))
        return select(valid, new, held)

    def before(self, states: Carry) -> Carry:
        """From the states after every step to those before it."""
        return before(self.initial, states, self.reverse)

    def every(self, held: Carry) -> Carry:
        """All steps at once, from the states before each."""
        return jax.vmap(self.advance)(held, self.steps)

    def tangents(self, states: Carry) -> Tangents:
        """The linearisation about states, without b: of what starts from nothing."""
        steps = Steps(None, self.valid, self.reset)
        held = begin(self.initial, self.again, states, steps, self.reverse)
        z = add(self.z, self.cell.recurrent(self.params, held))
        zeros = [jnp.zeros_like(leaf) for leaf in divide(self.initial).floats]
        system = linearize(self.cell, self.params, held, z)
        flags = self.valid, self.reset, self.reverse
        return Tangents(system, self.time, zeros, zeros, *flags, self.rank)

    def coefficients(self) -> tuple[list[Any], list[Array]]:
        """``(a, b)`` of a cell that is linear in its state, flags included, leaf by leaf."""
        a, b = pairs(self.cell, self.params, self.z, self.initial)
        again = None if self.again is None else jax.tree.leaves(self.again)
        return _flagged(a, b, again, self.valid, self.reset)


class Tangents(NamedTuple):
    r"""The linearised trajectory of some steps, :math:`v_t = A_t v_{t-1} + b_t`.

    Of the carry only those leaves are in v that have a derivative.

    Attributes:
      system: the steps.
      time: how many there are.
      initial: v before the first step, a list of leaves.
      again: what a reset restarts from, alike.
      valid: as in `Trajectory`; where parts of the carry have flags of their own, a list.
      reset: as in `Trajectory`, likewise.
      reverse: as in `Trajectory`.
      rank: as in `Trajectory`.
      maps: the A of a cell that is linear in its state, leaf by leaf, without flags; None for
        any other.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> from jaxrnn.solvers import Trajectory
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> z = jaxrnn.elman.project(params, jnp.ones((7, 3)))
      >>> system = Trajectory(jaxrnn.elman, params, jnp.zeros(5), None, z)
      >>> tangents = system.tangents(jnp.zeros((7, 5)))
      >>> tangents.every([jnp.ones((7, 5))])[0].shape
      (7, 5)
    """

    system: Linearized
    time: int
    initial: list[Array]
    again: list[Array]
    valid: PyTree = None
    reset: PyTree = None
    reverse: bool = False
    rank: int = 0
    maps: Callable[[], list[Any]] | None = None

    @property
    def steps(self) -> tuple[Any, ...]:
        """What each step needs besides v."""
        return self.system.coefficients, self.valid, self.reset

    def advance(self, v: list[Array], step: tuple[Any, ...]) -> list[Array]:
        """One step, from the v before it."""
        coefficients, valid, reset = step
        v = restart(reset, self.again, v)
        return select(valid, self.system.apply(coefficients, v), v)

    def before(self, vs: list[Array]) -> list[Array]:
        """From the v after every step to those before it."""
        return before(self.initial, vs, self.reverse)

    def every(self, held: list[Array]) -> list[Array]:
        """All steps at once, from the v before each."""
        return jax.vmap(self.advance)(held, self.steps)

    def homogeneous(self) -> Tangents:
        """The same system without b: of what starts from nothing and restarts from it."""
        zeros = [jnp.zeros_like(leaf) for leaf in self.initial]
        system = self.system._replace(coefficients=self.system.homogeneous)
        return self._replace(system=system, initial=zeros, again=zeros)

    def right(self) -> list[Array]:
        """All b, :math:`A_1 v_0` in the first."""
        every = lambda leaf: jnp.broadcast_to(jnp.zeros_like(leaf), (self.time, *leaf.shape))  # noqa: E731
        return self.every(self.before([every(leaf) for leaf in self.initial]))

    def coefficients(self) -> list[Any]:
        """The A of a cell that is linear in its state, flags included, leaf by leaf."""
        maps = [] if self.maps is None else self.maps()
        return _flagged(maps, None, None, self.valid, self.reset)[0]


def pairs(cell: Cell, params: Params, z: PyTree, like: Carry) -> tuple[list[Any], list[Array]]:
    """The coefficients of a cell that is linear in its state, for every leaf of the carry.

    Args:
      cell: one with `coefficients`.
      params: its parameters.
      z: the projected inputs, leaves ``(T, *batch, ...)``.
      like: a carry, leaves ``(*batch, ...)``.

    Returns:
      ``(a, b)``, lists with an array ``(T, *batch, ...)`` for each leaf of the carry, or in a a
      `Matrix`; float32 for half types.

    Example:
      >>> import jax, jax.numpy as jnp, jaxrnn
      >>> from jaxrnn.solvers.systems import pairs
      >>> cell = jaxrnn.gru._replace(coefficients=lambda params, z: (0.5, z))
      >>> [leaf.shape for leaf in pairs(cell, None, jnp.ones((7, 2, 5)), jnp.ones((2, 5)))[0]]
      [(7, 2, 5)]
    """
    time = jax.tree.leaves(z)[0].shape[0]
    a, b = cell.coefficients(params, z)  # type: ignore[misc]
    leaves, structure = jax.tree.flatten(like)

    def whole(leaf: Any, s: Array) -> Any:
        return jnp.broadcast_to(jnp.asarray(leaf, wide(s.dtype)), (time, *s.shape))

    def one(leaf: Any, s: Array) -> Any:
        if not isinstance(leaf, Matrix):
            return whole(leaf, s)
        entries = leaf.entries.astype(wide(s.dtype))
        return Matrix(jnp.broadcast_to(entries, (time, *s.shape[:-2], *entries.shape[-2:])))

    a = [one(*each) for each in zip(structure.flatten_up_to(a), leaves, strict=True)]
    return a, [whole(*each) for each in zip(structure.flatten_up_to(b), leaves, strict=True)]


def _flagged(
    a: list[Any], b: list[Array] | None, again: list[Array] | None, valid: Any, reset: Any
) -> tuple[list[Any], list[Array]]:
    """The pairs of steps that are skipped, the identity, or begin anew, a constant."""

    def one(a: Any, b: Any, again: Any) -> tuple[Any, Any]:
        matrix = isinstance(a, Matrix)
        a = a.entries if matrix else a
        if valid is not None:
            same = jnp.eye(a.shape[-1], dtype=a.dtype) if matrix else jnp.ones((), a.dtype)
            a = select(valid, a, jnp.broadcast_to(same, a.shape))
            b = None if b is None else select(valid, b, jnp.zeros_like(b))
        if reset is not None:
            if b is not None:
                again = again.astype(a.dtype)
                b = select(reset, (a @ again if matrix else a * again) + b, b)
            a = select(reset, jnp.zeros_like(a), a)
        return Matrix(a) if matrix else a, b

    count = len(a)
    found = [
        one(*each) for each in zip(a, b or [None] * count, again or [None] * count, strict=True)
    ]
    return [each[0] for each in found], [each[1] for each in found]
