"""`scan`: the one unroll that runs every cell and every layer."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.base import Array, Carry, Cell, Layer, Params, PyTree
from jaxrnn.checks import check_carry, check_params
from jaxrnn.trajectory import Steps, select, trajectory

__all__ = ["Options", "check_cell", "run", "scan"]

CHUNK_BYTES = 2 << 20  # projected inputs of a chunk stay in a core's second-level cache
CHUNK_MAX = 40  # a batch that `vmap` adds is not seen, so its chunks must be modest anyway

tree_map = jax.tree.map


class Options(NamedTuple):
    """The checked options of a `scan`, as layers hand them on to the cells they are made of.

    Attributes:
      valid: booleans ``(T, *batch)`` or None: lengths and mask in one.
      reset: booleans ``(T, *batch)`` or None.
      keys: a PRNG key for every step ``(T,)``, or None for a deterministic run. A cell of
        several parts may get a tree of each of these three.
      reverse: run from the last step to the first.
      return_carries: whether every carry is wanted.
      chunk: steps per chunk, or None to choose.
      unroll: steps per loop iteration.
      path: where the parameters are in those of the whole network, for errors.

    Example:
      >>> from jaxrnn.unroll import Options
      >>> Options().reverse
      False
    """

    valid: PyTree = None
    reset: PyTree = None
    keys: PyTree = None
    reverse: bool = False
    return_carries: bool = False
    chunk: int | None = None
    unroll: int = 1
    path: str = "params"

    def fold(self, number: int) -> PyTree:
        """The keys of one part of a network, apart from those of the others."""
        if self.keys is None:
            return None
        return jax.vmap(lambda key: jax.random.fold_in(key, number))(self.keys)


def check_cell(argument: str, cell: Any) -> None:
    """Raise TypeError unless this is what `scan` can run.

    Args:
      argument: what it is called.
      cell: a `Cell` or a `Layer`.

    Raises:
      TypeError: if it is neither.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.unroll import check_cell
      >>> check_cell("cell", jaxrnn.lstm)
    """
    if not isinstance(cell, Cell | Layer):
        raise TypeError(f"{argument}: expected a Cell or a Layer, got {type(cell).__name__}")


def scan(
    cell: Cell | Layer,
    params: Params,
    xs: Array,
    carry: Carry | None = None,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    reset: Array | None = None,
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    chunk: int | None = None,
    unroll: int = 1,
) -> Any:
    r"""Unroll a cell over a sequence: :math:`s_t, y_t = \mathrm{step}(\theta, s_{t-1}, x_t)`.

    Without options it is this loop, at full speed and differentiable in every way::

        carry = cell.carry(params, batch_shape) if carry is None else carry
        for t in range(T):
            carry, ys[t] = cell.step(params, carry, xs[t])

    Input products are done for many steps at once, reverse mode stores only the carries and
    forms each weight gradient as one product per chunk, and `jit`, `vmap`, `grad`, `jvp`,
    `hessian` and `jax.checkpoint` compose in any order.

    Args:
      cell: a `Cell` or a `Layer`.
      params: its parameters.
      xs: ``(T, *batch, D)``, floating, of the dtype of the parameters; any number of batch
        axes, none included.
      carry: the initial carry, ``cell.carry(params, batch_shape)`` (zeros) if None.
      lengths: integers ``(*batch,)`` in 0..T. Steps past a row's length leave its carry
        untouched and give zero outputs; what the padding holds, NaN included, reaches
        neither values nor gradients. Traced lengths are clipped to 0..T.
      mask: booleans ``(T, *batch)``, the same for gaps anywhere: False skips the step.
      reset: booleans ``(T, *batch)``: True restarts that row from its initial carry before
        the step. A step that is masked or past the length is skipped, its reset too.
      reverse: run each row backward inside its own length; outputs keep the order of xs.
      key: a PRNG key for stochastic cells and dropout; without one they are deterministic.
      start: the absolute time of ``xs[0]``. Randomness depends on (key, absolute time) only,
        so a sequence run in pieces, each with its ``start``, agrees with the whole.
      return_carries: also return the carry after every step.
      chunk: steps per chunk: the unit in which inputs are projected and gradients rebuilt.
        Chosen from the sizes if None. It changes memory and speed, not the function.
      unroll: steps per loop iteration, as in `lax.scan`.

    Returns:
      ``(carry, ys)``: the last carry and the outputs ``(T, *batch, H)``; with
      `return_carries`, ``(carry, ys, carries)``.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape, lengths outside 0..T, or a chunk or unroll below 1.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
      >>> xs = jax.random.normal(jax.random.key(1), (7, 2, 3))
      >>> carry, ys = jaxrnn.scan(jaxrnn.lstm, params, xs, lengths=jax.numpy.array([7, 4]))
      >>> ys.shape, carry.h.shape
      ((7, 2, 5), (2, 5))
      >>> bool((ys[4:, 1] == 0).all()), bool((carry.h[1] == ys[3, 1]).all())
      (True, True)

    Source: the derivative of a solved system rather than of its solver follows Lim et al.
    (2024), Parallelizing non-linear sequential models, arXiv:2309.12252, in the use they make
    of the implicit function theorem; see `jaxrnn.trajectory`.
    """
    check_cell("cell", cell)
    xs = checks.check_floating("xs", xs)
    if xs.ndim < 2:
        raise ValueError(f"xs: expected (T, *batch, D), at least two axes, got shape {xs.shape}")
    if xs.shape[-1] == 0:
        raise ValueError(f"xs: expected at least one feature (D), got shape {xs.shape}")
    checks.check_bool("reverse", reverse)
    checks.check_bool("return_carries", return_carries)
    checks.check_positive("unroll", unroll)
    if chunk is not None:
        checks.check_positive("chunk", chunk)
    time, batch = xs.shape[0], xs.shape[1:-1]
    valid = None
    if lengths is not None:
        lengths = checks.check_lengths(lengths, time, batch)
        steps = jnp.arange(time, dtype=jnp.int32).reshape((time,) + (1,) * len(batch))
        valid = steps < lengths
    if mask is not None:
        mask = checks.check_flags("mask", mask, (time, *batch))
        valid = mask if valid is None else valid & mask
    if reset is not None:
        reset = checks.check_flags("reset", reset, (time, *batch))
    keys = None
    if key is not None:
        checks.check_key("key", key)
        times = checks.check_start("start", start) + jnp.arange(time, dtype=jnp.int32)
        keys = jax.vmap(partial(jax.random.fold_in, key))(times)
    options = Options(valid, reset, keys, bool(reverse), bool(return_carries), chunk, unroll)
    carry, ys, carries = run(cell, params, xs, carry, options)
    return (carry, ys, carries) if return_carries else (carry, ys)


def run(
    cell: Cell | Layer, params: Params, xs: PyTree, carry: Carry | None, options: Options
) -> tuple[Carry, PyTree, Carry]:
    """`scan` with its options checked: what layers call for the cells they are made of.

    Args:
      cell: a `Cell` or a `Layer`.
      params: its parameters.
      xs: ``(T, *batch, D)``, or a tree of such.
      carry: the initial carry or None.
      options: the checked options.

    Returns:
      ``(carry, ys, carries)``, carries None unless asked for.

    Raises:
      TypeError: for parameters or a carry of another structure or dtype.
      ValueError: for parameters or a carry of other shapes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.unroll import Options, run
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> run(jaxrnn.gru, params, jax.numpy.ones((7, 3)), None, Options())[1].shape
      (7, 5)
    """
    batch = jax.tree.leaves(xs)[0].shape[1:-1]
    if cell.sequence is None:
        check_params(cell, params, xs, argument=options.path)
    if carry is None:
        carry = cell.carry(params, batch)
    else:
        carry = tree_map(jnp.asarray, carry)
        check_carry(cell, params, carry, batch)
    if cell.sequence is not None:
        return cell.sequence(params, xs, carry, options)
    static = (options.reverse, options.return_carries, options.chunk, options.unroll)
    return _unroll(cell, *static, params, xs, carry, options.valid, options.reset, options.keys)


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _unroll(
    cell: Cell,
    reverse: bool,
    return_carries: bool,
    chunk: int | None,
    unroll: int,
    params: Params,
    xs: PyTree,
    initial: Carry,
    valid: PyTree,
    reset: PyTree,
    keys: PyTree,
) -> tuple[Carry, PyTree, Carry]:
    time, *batch, _ = jax.tree.leaves(xs)[0].shape
    steps = Steps(xs, valid, reset, None if cell.randomize is None else keys)
    size = min(chunk, time) if chunk else _chunk(cell, params, xs, unroll)
    options = {"reverse": reverse, "return_carries": return_carries, "unroll": unroll}
    solve = partial(trajectory, cell, chunk=size, **options)
    if time == 0:
        one = tree_map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), steps)
        outputs = jax.eval_shape(solve, params, initial, one)[1:]
        return initial, *tree_map(lambda leaf: jnp.zeros((0, *leaf.shape[1:]), leaf.dtype), outputs)
    one = tree_map(lambda leaf: leaf[0], (xs, valid))
    after = jax.eval_shape(partial(_step, cell), params, initial, *one)
    last, ys, carries = solve(params, tree_map(_settle, initial, after), steps)
    for leaf in jax.tree.leaves(ys):
        if leaf.shape[1 : 1 + len(batch)] != tuple(batch):
            raise ValueError(
                f"cell: expected outputs with the batch axes {tuple(batch)}, got "
                f"{checks.describe(jax.typeof(leaf[0]))} from {cell.name!r}"
            )
    return last, select(valid, ys, tree_map(jnp.zeros_like, ys)), carries


def _step(cell: Cell, params: Params, carry: Carry, x: PyTree, valid: PyTree) -> Carry:
    zx, zh = cell.project(params, x), cell.recurrent(params, carry)
    return select(valid, cell.update(params, carry, zx, zh)[0], carry)


def _settle(leaf: Array, after: Any) -> Array:
    """The leaf of an initial carry, of the type that the first step gives it.

    Between devices a type also says how the array is spread: zeros are on all of them, but
    what is computed from a sharded batch is not, and a loop must not change types.
    """
    after = jnp.zeros_like(after)
    spread = jax.typeof(leaf) != jax.typeof(after) and leaf.dtype == after.dtype
    return leaf + after if spread else leaf


def _chunk(cell: Cell, params: Params, xs: PyTree, unroll: int) -> int:
    """Steps per chunk: projected inputs that fit the cache, dividing T where that can be."""
    time = jax.tree.leaves(xs)[0].shape[0]
    one = tree_map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), xs)
    zx = jax.eval_shape(cell.project, params, one)
    step = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(zx))
    most = max(unroll, min(CHUNK_MAX, CHUNK_BYTES // max(step, 1), time))
    divisors = [n for n in range(max(1, most // 2), most + most // 8 + 1) if time % n == 0]
    return min(divisors, key=lambda n: abs(n - most), default=max(1, most))
