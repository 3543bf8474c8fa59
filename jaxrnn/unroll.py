"""`scan`: the one unroll that runs every cell and every layer."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, TypeVar, overload

import jax
import jax.numpy as jnp

from jaxrnn import checks
from jaxrnn.base import (
    Array,
    ArrayLike,
    Carry,
    Cell,
    Layer,
    Params,
    PyTree,
    add,
    check_cell,
    restart,
    select,
)
from jaxrnn.closures import hoist
from jaxrnn.options import Kept, Options, step_keys, turn
from jaxrnn.outputs import outputs
from jaxrnn.solvers import Solver, Status, check_solver, choose
from jaxrnn.steps import Steps
from jaxrnn.trajectory import trajectory

__all__ = ["run", "scan", "unroll"]

P = TypeVar("P")
C = TypeVar("C")
tree_map = jax.tree.map


@overload
def scan(
    cell: Cell[P, C] | Layer[P, C],
    params: P,
    xs: ArrayLike | PyTree,
    carry: C | ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: C | ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[False] = False,
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: C | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[C, Array]: ...


@overload
def scan(
    cell: Cell[P, C] | Layer[P, C],
    params: P,
    xs: ArrayLike | PyTree,
    carry: C | ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: C | ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: Literal[True],
    return_status: Literal[False] = False,
    solver: Solver | None = None,
    guess: C | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[C, Array, C]: ...


@overload
def scan(
    cell: Cell[P, C] | Layer[P, C],
    params: P,
    xs: ArrayLike | PyTree,
    carry: C | ArrayLike | None = None,
    *,
    lengths: ArrayLike | None = None,
    mask: ArrayLike | None = None,
    reset: ArrayLike | None = None,
    reset_carry: C | ArrayLike | None = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: bool = False,
    solver: Solver | None = None,
    guess: C | None = None,
    chunk: int | None = None,
    unroll: int = 1,
) -> tuple[Any, ...]: ...


def scan(
    cell: Any,
    params: Any,
    xs: Any,
    carry: Any = None,
    *,
    lengths: Any = None,
    mask: Any = None,
    reset: Any = None,
    reset_carry: Any = None,
    gaps: Literal["zero", "hold"] = "zero",
    reverse: bool = False,
    key: Array | None = None,
    start: int | Array = 0,
    return_carries: bool = False,
    return_status: bool = False,
    solver: Solver | None = None,
    guess: Any = None,
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
        axes, none included. For a cell that takes more than one, a pytree of arrays with the
        leading axes ``(T, *batch)``.
      carry: the initial carry, ``cell.carry(params, batch_shape)`` (zeros) if None; a plain
        tuple such as ``(h, c)`` is taken in the order of the carry's fields.
      lengths: integers ``(*batch,)`` in 0..T. Steps past a row's length leave its carry
        untouched and give zero outputs; what the padding holds, NaN included, reaches
        neither values nor gradients. Traced lengths are clipped to 0..T.
      mask: booleans ``(T, *batch)``, the same for gaps anywhere: False skips the step.
      reset: booleans ``(T, *batch)``: True says that a new sequence begins with that step, so
        its row restarts from `reset_carry`, masked or not; past a row's length it says nothing.
        Backward, the boundary is the same one, between the step and the one before it. So a
        row of several sequences equals these alone, and a scan equals the scans of its pieces
        with the carry handed on, and single steps.
      reset_carry: what a reset restarts from; the cell's own initial carry (zeros, or learned)
        if None, whatever `carry` was given.
      gaps: outputs of skipped steps: ``"zero"``, or to ``"hold"`` the last valid one of the
        same sequence, zero before the first.
      reverse: run each row backward inside its own length; outputs keep the order of xs.
      key: a PRNG key for stochastic cells and dropout; without one they are deterministic.
      start: the absolute time of ``xs[0]``. Randomness depends on (key, absolute time) or on
        the key alone, so a sequence run in pieces, each with its ``start``, agrees with the
        whole.
      return_carries: also return the carry after every step.
      return_status: also return, last, how the solver fared, a `jaxrnn.solvers.Status`; of a
        layer, those of its parts.
      solver: who solves for the carries: `jaxrnn.sequential`, one step after the other;
        `jaxrnn.associative`, parallel in time, for cells that are linear in their state;
        `jaxrnn.newton`, parallel in time for any. If None, sequential, but associative for a cell
        that is linear in its state where JAX's default backend is an accelerator.
      guess: carries that the solution may be near, as `return_carries` gives them, for
        `jaxrnn.newton`: those of the parameters before a training step save most iterations.
      chunk: steps per chunk: the unit in which inputs are projected and gradients rebuilt, and
        for which a parallel solver solves at once. Chosen from the sizes if None. It changes
        memory and speed, not the function.
      unroll: steps per loop iteration of the sequential solver, as in `lax.scan`.

    Returns:
      ``(carry, ys)``: the last carry and the outputs ``(T, *batch, H)``; with
      `return_carries`, ``(carry, ys, carries)``. Run backward into a row that begins a new
      sequence at its first step, the last carry is that of the sequence before, not yet begun.

    Raises:
      TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
      ValueError: for a wrong shape, lengths outside 0..T, a chunk or unroll below 1, or a solver
        that cannot solve for this cell.

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
    xs = checks.check_inputs(cell, "xs", xs, "(T, *batch")
    checks.check_bool("reverse", reverse)
    checks.check_bool("return_carries", return_carries)
    checks.check_bool("return_status", return_status)
    checks.check_choice("gaps", gaps, ("zero", "hold"))
    checks.check_positive("unroll", unroll)
    if chunk is not None:
        checks.check_positive("chunk", chunk)
    solver = check_solver(solver, guess, unroll)
    lead = jax.tree.leaves(xs)[0]
    time, *batch = lead.shape[: lead.ndim - cell.axes]
    whole = (time, *batch)
    valid = None
    if lengths is not None:
        lengths = checks.check_lengths(lengths, time, tuple(batch))
        steps = jnp.arange(time, dtype=jnp.int32).reshape((time,) + (1,) * len(batch))
        valid = jnp.broadcast_to(steps, whole) < jnp.broadcast_to(lengths, whole)
    if reset is not None:
        reset = checks.check_flags("reset", reset, whole)
        reset = reset if valid is None else reset & valid
    if mask is not None:
        mask = checks.check_flags("mask", mask, whole)
        valid = mask if valid is None else valid & mask
    if reset_carry is not None and reset is None:
        raise ValueError("reset_carry: expected it only with reset, got reset=None")
    if key is not None:
        key, start = checks.check_key("key", key), checks.check_start("start", start)
    options = Options(
        valid,
        reset,
        reset_carry,
        key,
        start,
        gaps == "hold",
        bool(reverse),
        bool(return_carries),
        bool(return_status),
        solver,
        chunk,
        guess,
    )
    carry, ys, kept = run(cell, params, xs, carry, options)
    wanted = (("carries", return_carries), ("status", return_status))
    return carry, ys, *(Kept.pick(kept, name) for name, want in wanted if want)


def run(
    cell: Cell | Layer, params: Params, xs: PyTree, carry: Carry | None, options: Options
) -> tuple[Carry, PyTree, PyTree]:
    """`scan` with its options checked: what layers call for the cells they are made of.

    Args:
      cell: a `Cell` or a `Layer`.
      params: its parameters.
      xs: ``(T, *batch, D)``, or a tree of such.
      carry: the initial carry or None.
      options: the checked options.

    Returns:
      ``(carry, ys, kept)``, a `jaxrnn.options.Kept`, or of a layer those of its parts.

    Raises:
      TypeError: for parameters or a carry of another structure or dtype.
      ValueError: for parameters or a carry of other shapes.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.options import Options
      >>> from jaxrnn.unroll import run
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> run(jaxrnn.gru, params, jax.numpy.ones((7, 3)), None, Options())[1].shape
      (7, 5)
    """
    params = checks.arrays(params)
    checks.check_params(cell, params, xs, argument=options.path, inputs=options.inputs)
    lead = jax.tree.leaves(xs)[0]
    batch = lead.shape[1 : lead.ndim - cell.axes]
    initial = None if carry is None else checks.check_carry(cell, params, carry, batch)
    if options.reset_carry is not None:
        again = checks.check_carry(cell, params, options.reset_carry, batch, argument="reset_carry")
        options = options._replace(reset_carry=again)
    if isinstance(cell, Layer):
        initial = cell.carry(params, batch) if initial is None else initial
        return cell.sequence(params, xs, initial, options)
    if options.key is not None and cell.sample is not None:
        params = cell.sample(params, options.key, batch)
    if initial is None:
        initial = cell.carry(params, batch)
    again = options.reset_carry
    if again is None and options.reset is not None:
        again = cell.carry(params, batch)
    if options.guess is not None:
        every = tree_map(
            lambda leaf: jax.ShapeDtypeStruct((lead.shape[0], *leaf.shape), leaf.dtype), initial
        )
        checks.check_matches("guess", options.guess, every)
    keys = None
    if options.key is not None and cell.randomize is not None:
        keys = step_keys(options.key, options.start, lead.shape[0])
    return unroll(
        cell, params, initial, again, Steps(xs, options.valid, options.reset, keys), options
    )


def unroll(
    cell: Cell, params: Params, initial: Carry, again: Carry | None, steps: Steps, options: Options
) -> tuple[Carry, PyTree, Kept]:
    """The trajectory of a cell and its outputs.

    Args:
      cell: the cell.
      params: its parameters, noise of the sequence included.
      initial: the carry before the first step.
      again: the carry that a reset restarts from; None without resets.
      steps: inputs, flags and keys; a part of the carry may have flags of its own.
      options: of these only how to run: what `steps` has is not looked at again.

    Returns:
      ``(carry, ys, kept)``, as `run`.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.options import Options
      >>> from jaxrnn.steps import Steps
      >>> from jaxrnn.unroll import unroll
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> h = jaxrnn.gru.carry(params)
      >>> unroll(jaxrnn.gru, params, h, None, Steps(jax.numpy.ones((7, 3))), Options())[1].shape
      (7, 5)
    """
    solver = choose(cell) if options.solver is None else options.solver
    solver.check(cell)
    wanted = options.return_carries, options.return_status
    how = options.hold, options.reverse, wanted, options.chunk, solver
    hoisted = hoist(cell, params, initial, steps.xs, steps.keys)
    if hoisted is None:
        return _unroll(cell, *how, params, initial, again, steps, options.guess)
    cell, params = hoisted
    return _unrolled(cell, *how, params, initial, again, steps, options.guess)


def _unrolled(
    cell: Cell,
    hold: bool,
    reverse: bool,
    wanted: tuple[bool, bool],
    chunk: int | None,
    solver: Solver,
    params: Params,
    initial: Carry,
    again: Carry,
    steps: Steps,
    guess: Carry,
) -> tuple[Carry, PyTree, Kept]:
    time = jax.tree.leaves(steps.xs)[0].shape[0]
    if isinstance(time, int) and time == 0:
        one = tree_map(lambda leaf: jax.ShapeDtypeStruct((1, *leaf.shape[1:]), leaf.dtype), steps)
        rest = (cell, hold, reverse, (wanted[0], False), chunk, solver)
        shapes = jax.eval_shape(partial(_unrolled, *rest), params, initial, again, one, None)[1:]
        ys, kept = tree_map(lambda leaf: jnp.zeros((0, *leaf.shape[1:]), leaf.dtype), shapes)
        return initial, ys, kept._replace(status=Status.direct() if wanted[1] else None)
    end = None
    if reverse and steps.reset is not None:
        end, reset = turn(steps.reset)
        steps = steps._replace(reset=reset)
    one = tree_map(lambda leaf: leaf[0], (steps.xs, steps.valid, steps.reset))
    zx, z, after = jax.eval_shape(partial(_probe, cell), params, initial, again, *one)
    initial = tree_map(_settle, initial, after)
    again = None if again is None else tree_map(_settle, again, after)
    lead = jax.tree.leaves(one[0])[0]
    size = solver.window(zx, after, lead.ndim - cell.axes, time) if chunk is None else chunk
    if not isinstance(time, int) or (size is not None and size >= time):
        size = None
    last, carries, status = trajectory(
        cell, params, initial, again, steps, solver=solver, reverse=reverse, chunk=size, guess=guess
    )
    about = initial, again, carries
    ys = outputs(cell, params, about, steps, z, chunk=size, reverse=reverse, hold=hold)
    kept = Kept(carries if wanted[0] else None)
    if wanted[1]:
        kept = kept._replace(status=status or Status.direct())
    return restart(end, again, last), ys, kept


_unroll = partial(jax.jit, static_argnums=(0, 1, 2, 3, 4, 5))(_unrolled)


def _probe(
    cell: Cell, params: Params, carry: Carry, again: Carry, x: PyTree, valid: Any, reset: Any
) -> tuple[PyTree, PyTree, Carry]:
    """The projected input of one step, its z, and the carry after it."""
    zx = cell.project(params, x)
    held = restart(reset, again, carry)
    z = add(zx, cell.recurrent(params, held))
    return zx, z, select(valid, cell.update(params, held, z), held)


def _settle(leaf: Array, after: Any) -> Array:
    """The leaf of an initial carry, of the type that the first step gives it.

    Between devices a type also says how the array is spread: zeros are on all of them, but
    what is computed from a sharded batch is not, and a loop must not change types.
    """
    if leaf.dtype != after.dtype or jnp.issubdtype(leaf.dtype, jax.dtypes.extended):
        return leaf
    zeros = jnp.zeros_like(after)
    return leaf if jax.typeof(leaf) == jax.typeof(zeros) else leaf + zeros
