"""`bidirectional`: one layer that runs both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import (
    Array,
    Cell,
    Layer,
    PyTree,
    Spec,
    check_cell,
    documented,
    restart,
    select,
    split,
)
from jaxrnn.checks import arrays, check_choice, check_params, check_parts
from jaxrnn.options import Kept, Options, step_keys, turn
from jaxrnn.solvers import choose
from jaxrnn.steps import Steps
from jaxrnn.unroll import run, unroll

__all__ = ["BidirectionalSpec", "Directions", "bidirectional"]

Merge = str | Callable[[Array, Array], Array]


class Directions(NamedTuple):
    """Something for each direction of a bidirectional layer: parameters or carries.

    Attributes:
      forward: of the direction that runs from the first step to the last.
      backward: of the direction that runs from each row's last valid step to the first; its
        final carry sits at t = 0.

    Example:
      >>> import jax, jaxrnn
      >>> layer = jaxrnn.bidirectional(jaxrnn.lstm)
      >>> layer.init(jax.random.key(0), 3, 5).backward.bias.shape
      (20,)
    """

    forward: Any
    backward: Any


class BidirectionalSpec(NamedTuple):
    """What `bidirectional` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.bidirectional(jaxrnn.gru, merge="sum").spec.merge
      'sum'
    """

    cell: Cell | Layer
    backward: Cell | Layer
    merge: Merge = "concat"

    def make(self) -> Layer:
        """The layer."""
        return bidirectional(self.cell, self.backward, merge=self.merge)


def _flip(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree)


class _Both(NamedTuple):
    """The spec of two cells side by side, with an input, a carry and an output for each."""

    forward: Cell
    backward: Cell

    def make(self) -> Cell:
        def each(name: str) -> Callable[..., Directions]:
            calls = [getattr(cell, name) for cell in self]

            def call(*arguments: Any) -> Directions:
                mine = zip(*arguments, strict=True)
                return Directions(*(f(*a) for f, a in zip(calls, mine, strict=True)))

            return call

        def recurrent(params: Directions, carry: Directions) -> Directions:
            return each("recurrent")(params, carry)

        def randomize(params: Directions, z: Directions, keys: Any) -> Directions:
            drawn = zip(self, params, z, keys, strict=True)
            return Directions(*(c.randomize(p, z, k) if c.randomize else z for c, p, z, k in drawn))

        noisy = any(cell.randomize is not None for cell in self)
        return Cell(
            " and ".join(cell.name for cell in self),
            self.forward.init,
            each("carry"),
            each("project"),
            recurrent,
            each("update"),
            each("output"),
            randomize=randomize if noisy else None,
            axes=self.forward.axes,
            spec=self,
        )


def _together(forward: Cell | Layer, backward: Cell | Layer, options: Options) -> bool:
    """Whether both directions can go in one loop, and whoever solves them takes steps."""
    if not (isinstance(forward, Cell) and isinstance(backward, Cell)):
        return False
    solvers = (options.solver or choose(cell) for cell in (forward, backward))
    return forward.axes == backward.axes and all(solver.stepwise for solver in solvers)


def _in_one_loop(
    parts: Directions, params: Directions, xs: Array, carry: Directions, options: Options
) -> tuple[Directions, Directions, Directions]:
    """Both directions over a sequence, as `unroll` of a cell that is both cells."""
    lead = jax.tree.leaves(xs)[0]
    batch = lead.shape[1 : lead.ndim - parts.forward.axes]

    def order(forward: PyTree, backward: PyTree) -> Directions:
        """From the order of xs to the order of steps, or back."""
        if options.reverse:
            return Directions(_flip(forward), backward)
        return Directions(forward, _flip(backward))

    both = _Both(*parts).make()
    steps = Steps(order(xs, xs))
    if options.valid is not None:
        steps = steps._replace(valid=order(options.valid, options.valid))
    if options.key is not None:
        keys = [jax.random.fold_in(options.key, k) for k in range(2)]
        each = zip(parts, params, keys, strict=True)
        params = Directions(*(p if c.sample is None else c.sample(p, k, batch) for c, p, k in each))
        if both.randomize is not None:
            noise = [step_keys(key, options.start, lead.shape[0]) for key in keys]
            steps = steps._replace(keys=order(*noise))
    if options.reset is None:
        last, ys, kept = unroll(both, params, carry, None, steps, options._replace(reverse=False))
    else:
        again = options.reset_carry
        if again is None:
            again = Directions(*(c.carry(p, batch) for c, p in zip(parts, params, strict=True)))
        end, turned = turn(options.reset)
        flags = (turned, options.reset) if options.reverse else (options.reset, turned)
        steps = steps._replace(reset=order(*flags))
        last, ys, kept = unroll(both, params, carry, again, steps, options._replace(reverse=False))
        ends = (end, None) if options.reverse else (None, end)
        last = Directions(*map(restart, ends, again, last))
    carries = order(*kept.carries) if options.return_carries else (None, None)
    return last, order(*ys), Directions(*(Kept(each, kept.status) for each in carries))


def _in_turn(
    parts: Directions,
    params: Directions,
    xs: Array,
    carry: Directions,
    options: Options,
    paths: list[str],
) -> tuple[Directions, Directions, Directions]:
    """One direction after the other: each may have a way of its own to run."""
    results = []
    for k, (part, path) in enumerate(zip(parts, paths, strict=True)):
        mine = options.part(k, path)._replace(reverse=options.reverse != bool(k))
        results.append(run(part, params[k], xs, carry[k], mine))
    last, ys, kept = (Directions(*two) for two in zip(*results, strict=True))
    return last, ys, kept


_MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
}


@documented
def bidirectional(
    cell: Cell | Layer,
    backward: Cell | Layer | None = None,
    *,
    merge: Merge = "concat",
) -> Layer[Directions, Directions]:
    r"""One layer that runs both ways, each direction with its own parameters.

    .. math:: y_t = \mathrm{merge}(\overrightarrow{h}_t, \overleftarrow{h}_t)

    The backward direction runs inside each row's true length, and restarts at the same
    boundaries as the forward one, so a padded or packed batch equals its sequences alone. Two
    cells are run in one loop, so that neither waits for the other.

    Of the outputs at a row's last step the backward half has seen one input. What both
    directions end with is the carry that `jaxrnn.scan` returns, the backward one at t = 0.

    Args:
      cell: what runs forward.
      backward: what runs backward, the same as `cell` if None.
      merge: ``"concat"`` (2H features), ``"sum"``, ``"mean"``, ``"mul"``, or a function of
        the two outputs.

    Returns:
      A `Layer` whose params and carry are `Directions`.

    Raises:
      TypeError: for something that is neither a cell nor a layer.
      ValueError: for an unknown merge.

    Source: Schuster and Paliwal (1997), Bidirectional recurrent neural networks.

    Example:
      >>> import jax, jaxrnn
      >>> layer = jaxrnn.bidirectional(jaxrnn.lstm)
      >>> params = layer.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(layer, params, jax.numpy.ones((7, 2, 3)))
      >>> ys.shape, carry.backward.h.shape
      ((7, 2, 10), (2, 5))
    """
    backward = cell if backward is None else backward
    check_cell("cell", cell)
    check_cell("backward", backward)
    if not callable(merge):
        check_choice("merge", merge, tuple(_MERGES))
    join = merge if callable(merge) else _MERGES[merge]
    kinds = cell.name if cell == backward else f"{cell.name}, {backward.name}"
    name = f"bidirectional({kinds})"
    parts = Directions(cell, backward)

    def init(key: Array, input_size: int, hidden_size: int, **options: Any) -> Directions:
        k1, k2 = split(key, 2)
        return Directions(
            cell.init(k1, input_size, hidden_size, **options),
            backward.init(k2, input_size, hidden_size, **options),
        )

    def carry(params: Directions, batch_shape: tuple[int, ...] = ()) -> Directions:
        check_parts(name, parts, params)
        return Directions(
            cell.carry(params[0], batch_shape), backward.carry(params[1], batch_shape)
        )

    def sequence(
        params: Directions, xs: Array, carry: Directions, options: Options
    ) -> tuple[Directions, Array, Directions]:
        paths = check_parts(name, parts, params, argument=options.path)
        params = arrays(params)
        if _together(cell, backward, options):
            for part, mine, path in zip(parts, params, paths, strict=True):
                check_params(part, mine, xs, argument=path, inputs=options.inputs)
            last, ys, kept = _in_one_loop(parts, params, xs, carry, options)
        else:
            last, ys, kept = _in_turn(parts, params, xs, carry, options, paths)
        ys = jax.tree.map(join, *ys)
        if callable(merge) and not options.hold:  # zeros in need not be zeros out
            ys = select(options.valid, ys, jax.tree.map(jnp.zeros_like, ys))
        return last, ys, kept

    spec: Spec = BidirectionalSpec(cell, backward, merge)
    stochastic = cell.stochastic or backward.stochastic
    return Layer(
        name, init, carry, sequence, stochastic=stochastic, parts=parts, axes=cell.axes, spec=spec
    )
