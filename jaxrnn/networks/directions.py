"""`bidirectional`: one layer that runs both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn.base import Array, Cell, Layer, PyTree, once
from jaxrnn.checks import check_choice, check_params, check_parts
from jaxrnn.trajectory import select
from jaxrnn.unroll import Options, check_cell, run

__all__ = ["Directions", "bidirectional"]


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


def _flip(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.flip(leaf, 0), tree)


@once
def _both(*cells: Cell) -> Cell:
    """The cell that is two cells side by side, with an input, a carry and an output for each."""

    def each(name: str) -> Callable[..., Directions]:
        def call(*arguments: Any) -> Directions:
            mine = zip(*arguments, strict=True)
            return Directions(*(getattr(c, name)(*a) for c, a in zip(cells, mine, strict=True)))

        return call

    def carry(params: Directions, batch_shape: tuple[int, ...] = ()) -> Directions:
        return each("carry")(params, (batch_shape, batch_shape))

    def update(*arguments: Directions) -> tuple[Directions, ...]:
        return tuple(Directions(*two) for two in zip(*each("update")(*arguments), strict=True))

    def randomize(params: Directions, zx: Directions, keys: Any) -> Directions:
        drawn = zip(cells, params, zx, keys, strict=True)
        return Directions(*(c.randomize(p, z, k) if c.randomize else z for c, p, z, k in drawn))

    return Cell(
        name=" and ".join(cell.name for cell in cells),
        init=cells[0].init,
        carry=carry,
        project=each("project"),
        recurrent=each("recurrent"),
        update=update,  # type: ignore[arg-type]
        hidden_size=None,
        randomize=randomize if any(cell.stochastic for cell in cells) else None,
    )


def _in_one_loop(
    parts: Directions, params: Directions, xs: Array, carry: Directions, options: Options
) -> tuple[Directions, Directions, Directions | None]:
    """Both directions over a sequence, as `run` of a cell that is both cells."""

    def turn(forward: PyTree, backward: PyTree) -> Directions:
        """From the order of xs to the order of steps, or back."""
        if options.reverse:
            return Directions(_flip(forward), backward)
        return Directions(forward, _flip(backward))

    valid = None if options.valid is None else turn(options.valid, options.valid)
    reset = None if options.reset is None else turn(options.reset, options.reset)
    keys = None if options.keys is None else turn(options.fold(0), options.fold(1))
    mine = options._replace(valid=valid, reset=reset, keys=keys, reverse=False)
    last, ys, carries = run(_both(*parts), params, turn(xs, xs), carry, mine)
    return last, turn(*ys), turn(*carries) if options.return_carries else None


def _in_turn(
    parts: Directions,
    params: Directions,
    xs: Array,
    carry: Directions,
    options: Options,
    paths: list[str],
) -> tuple[Directions, Directions, Directions | None]:
    """One direction after the other: each may have a way of its own to run."""
    results = []
    for k, (part, path) in enumerate(zip(parts, paths, strict=True)):
        mine = options._replace(keys=options.fold(k), reverse=options.reverse != bool(k), path=path)
        results.append(run(part, params[k], xs, carry[k], mine))
    last, ys, carries = (Directions(*two) for two in zip(*results, strict=True))
    return last, ys, carries if options.return_carries else None


_MERGES: dict[str, Callable[[Array, Array], Array]] = {
    "concat": lambda a, b: jnp.concatenate([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
}


@once
def bidirectional(
    cell: Cell | Layer,
    backward: Cell | Layer | None = None,
    *,
    merge: str | Callable[[Array, Array], Array] = "concat",
) -> Layer:
    r"""One layer that runs both ways, each direction with its own parameters.

    .. math:: y_t = \mathrm{merge}(\overrightarrow{h}_t, \overleftarrow{h}_t)

    The backward direction runs inside each row's true length, so a padded batch equals its
    rows run alone. Two cells are run in one loop, so that neither waits for the other.

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
    if backward is None:
        return bidirectional(cell, cell, merge=merge)
    check_cell("cell", cell)
    check_cell("backward", backward)
    if not callable(merge):
        check_choice("merge", merge, tuple(_MERGES))
    join = merge if callable(merge) else _MERGES[merge]
    name = f"bidirectional({cell.name})"
    parts = Directions(cell, backward)

    def init(key: Array, input_size: int, hidden_size: int, **options: Any) -> Directions:
        k1, k2 = jax.random.split(key)
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
    ) -> tuple[Directions, Array, Directions | None]:
        paths = check_parts(name, parts, params, argument=options.path)
        if cell.sequence is None and backward.sequence is None:
            for part, mine, path in zip(parts, params, paths, strict=True):
                check_params(part, mine, xs, argument=path)
            last, ys, carries = _in_one_loop(parts, params, xs, carry, options)
        else:
            last, ys, carries = _in_turn(parts, params, xs, carry, options, paths)
        ys = join(*ys)
        if callable(merge):  # zeros in need not be zeros out
            ys = select(options.valid, ys, jnp.zeros_like(ys))
        return last, ys, carries

    stochastic = cell.stochastic or backward.stochastic
    options = () if merge == "concat" else (("merge", merge),)
    return Layer(name, init, carry, sequence, stochastic, parts, options)
