"""The options of a `jaxrnn.scan`, checked, as layers hand them on to their cells."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Carry, PyTree
from jaxrnn.solvers import Solver, Status

__all__ = ["Kept", "Options", "step_keys", "turn"]


class Kept(NamedTuple):
    """What a run hands back besides its carry and its outputs, where it was asked for.

    A layer returns those of its parts in a tuple, or in `jaxrnn.Directions`.

    Attributes:
      carries: those after every step.
      status: how the solver fared.

    Example:
      >>> from jaxrnn.options import Kept
      >>> Kept.pick((Kept(1), Kept(2)), "carries")
      (1, 2)
    """

    carries: PyTree = None
    status: Status | None = None

    @staticmethod
    def pick(kept: PyTree, name: str) -> Any:
        """One of the two, of all parts."""
        each = lambda one: getattr(one, name) if isinstance(one, Kept) else one  # noqa: E731
        return jax.tree.map(each, kept, is_leaf=lambda one: isinstance(one, Kept))


class Options(NamedTuple):
    """The checked options of a `scan`, as layers hand them on to the cells they are made of.

    Attributes:
      valid: booleans ``(T, *batch)`` or None: lengths and mask in one.
      reset: booleans ``(T, *batch)`` or None: a new sequence begins before the step, whatever
        the direction.
      reset_carry: what it begins from, or None for the cell's own initial carry.
      key: a PRNG key, or None for a deterministic run.
      start: the absolute time of the first step.
      hold: whether the outputs of skipped steps are those of the last valid one.
      reverse: run from the last step to the first.
      return_carries: whether every carry is wanted.
      return_status: whether it is wanted how the solver fared.
      solver: who solves for the carries, or None to choose.
      chunk: steps per chunk, or None to choose.
      guess: a guess of the carries, or None.
      path: where the parameters are in those of the whole network, for errors.
      inputs: what the inputs are called, likewise.

    Example:
      >>> from jaxrnn.options import Options
      >>> Options().reverse
      False
    """

    valid: Array | None = None
    reset: Array | None = None
    reset_carry: Carry | None = None
    key: Array | None = None
    start: Array | int = 0
    hold: bool = False
    reverse: bool = False
    return_carries: bool = False
    return_status: bool = False
    solver: Solver | None = None
    chunk: int | None = None
    guess: PyTree = None
    path: str = "params"
    inputs: str = "xs"

    def fold(self, number: int) -> Array | None:
        """The key of one part of a network, apart from those of the others."""
        return None if self.key is None else jax.random.fold_in(self.key, number)

    def keys(self, number: int, time: int) -> Array | None:
        """A key for every step of one part of a network, by its absolute time."""
        key = self.fold(number)
        return None if key is None else step_keys(key, self.start, time)

    def part(self, number: int, path: str) -> Options:
        """The options of one part of a network."""
        carry = None if self.reset_carry is None else self.reset_carry[number]
        guess = None if self.guess is None else self.guess[number]
        return self._replace(key=self.fold(number), reset_carry=carry, guess=guess, path=path)


def step_keys(key: Array, start: Array | int, time: int) -> Array:
    """A key for every step, by its absolute time.

    Args:
      key: a threefry key.
      start: the absolute time of the first step.
      time: T.

    Example:
      >>> import jax
      >>> from jaxrnn.options import step_keys
      >>> step_keys(jax.random.key(0), 5, 3).shape
      (3,)
    """
    return jax.vmap(partial(jax.random.fold_in, key))(start + jnp.arange(time, dtype=jnp.int32))


def turn(reset: Array) -> tuple[Array, Array]:
    """Boundaries for who runs from the last step to the first.

    What is before the later of two steps is after it for who comes backward; the boundary of
    the first step is where its sequence ends.

    Args:
      reset: booleans ``(T, ...)``, before each step.

    Returns:
      ``(end, reset)``: those after all steps, and before each step as it is run.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.options import turn
      >>> end, reset = turn(jnp.array([True, False, True]))
      >>> end.tolist(), reset.tolist()
      (True, [False, True, False])
    """
    return reset[0], jnp.concatenate([reset[1:], jnp.zeros_like(reset[:1])])
