"""What a cell puts out along a trajectory, for all steps at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from jaxrnn.base import Array, Carry, Cell, Params, PyTree, select
from jaxrnn.checks import describe
from jaxrnn.steps import Steps, begin, depends, pre_activations
from jaxrnn.trajectory import by_chunk

__all__ = ["outputs"]

tree_map = jax.tree.map


def outputs(
    cell: Cell,
    params: Params,
    about: tuple[Carry, Carry, Carry],
    steps: Steps,
    z: PyTree,
    *,
    chunk: int | None = None,
    reverse: bool = False,
    hold: bool = False,
) -> PyTree:
    """The outputs of all steps: in one go, or by chunks where an output looks at z.

    Args:
      cell: the cell.
      params: its parameters.
      about: the carry before the first step, that of a reset, and those after every step.
      steps: inputs and flags.
      z: the shapes of one step's pre-activations.
      chunk: steps per chunk; one chunk if None.
      reverse: whether the steps run from the last to the first.
      hold: whether a skipped step has the last valid output, otherwise zeros.

    Returns:
      Leaves ``(T, *batch, ...)``.

    Raises:
      ValueError: for a cell whose outputs have other batch axes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.outputs import outputs
      >>> from jaxrnn.steps import Steps
      >>> params = jaxrnn.elman.init(jax.random.key(0), 3, 5)
      >>> hs, z = jax.numpy.ones((7, 5)), jax.ShapeDtypeStruct((5,), "float32")
      >>> outputs(jaxrnn.elman, params, (hs[0], None, hs), Steps(jax.numpy.ones((7, 3))), z).shape
      (7, 5)
    """
    initial, again, carries = about
    one = tree_map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), carries)
    like = jax.eval_shape(cell.output, params, one, z)
    _check(cell, like, steps)

    def of_steps(carries: Carry, z: PyTree) -> PyTree:
        """With a time axis, which what does not go by the carry would lack."""
        time = jax.tree.leaves(carries)[0].shape[0]
        ys = cell.output(params, carries, z)
        return tree_map(lambda y, leaf: jnp.broadcast_to(y, (time, *leaf.shape)), ys, like)

    def piece(start: Carry, part: tuple[Steps, Carry], _: None) -> tuple[Carry, PyTree]:
        steps, carries = part
        held = begin(start, again, carries, steps, reverse)
        ys = of_steps(carries, pre_activations(cell, params, steps, held))
        return tree_map(lambda leaf: leaf[0 if reverse else -1], carries), ys

    if depends(lambda z, carry: cell.output(params, carry, z), z, one):
        if chunk is not None:  # what is rebuilt for one chunk is not kept for the others
            piece = jax.checkpoint(piece, prevent_cse=False)
        ys = by_chunk(piece, initial, (steps, carries), None, chunk, reverse)[1]
    else:
        time = jax.tree.leaves(carries)[0].shape[0]
        unseen = tree_map(lambda leaf: jnp.zeros((time, *leaf.shape), leaf.dtype), z)
        ys = of_steps(carries, unseen)
    return _held(ys, steps, reverse) if hold else select(steps.valid, ys, tree_map(_blank, ys))


def _check(cell: Cell, like: PyTree, steps: Steps) -> None:
    """Raise ValueError unless the output of one step has the batch axes of its input."""
    lead = jax.tree.leaves(steps.xs)[0]
    batch = lead.shape[1 : lead.ndim - cell.axes]
    for leaf in jax.tree.leaves(like):
        if leaf.shape[: len(batch)] != batch:
            raise ValueError(
                f"cell: expected outputs with the batch axes {batch}, got {describe(leaf)} "
                f"from {cell.name!r}"
            )


def _blank(leaf: Array) -> Array:
    """Zeros; of keys there are none."""
    return leaf if jnp.issubdtype(leaf.dtype, jax.dtypes.extended) else jnp.zeros_like(leaf)


def _held(ys: PyTree, steps: Steps, reverse: bool) -> PyTree:
    """Outputs with those of skipped steps the last valid ones of the same sequence."""
    if steps.valid is None:
        return ys

    def one(valid: Array, ys: PyTree, reset: Array | None = None) -> PyTree:
        turned = (lambda leaf: jnp.flip(leaf, 0)) if reverse else (lambda leaf: leaf)
        at = jnp.arange(valid.shape[0], dtype=jnp.int32).reshape(-1, *(1,) * (valid.ndim - 1))
        newest = lax.cummax(jnp.where(turned(valid), at, -1), axis=0)
        first = 0 if reset is None else lax.cummax(jnp.where(turned(reset), at, 0), axis=0)
        there, index = newest >= first, jnp.maximum(newest, 0)

        def pick(leaf: Array) -> Array:
            wide = index.reshape(index.shape + (1,) * (leaf.ndim - index.ndim))
            found = jnp.take_along_axis(turned(leaf), wide, axis=0)
            return turned(select(there, found, _blank(found)))

        return tree_map(pick, ys)

    if steps.reset is None:
        return jax.tree.map(one, steps.valid, ys)
    return jax.tree.map(lambda v, r, ys: one(v, ys, r), steps.valid, steps.reset, ys)
