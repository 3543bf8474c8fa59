"""The carry: in Flax's order, and what a sequence begins with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import cells
from jaxrnn._flax.names import Items, Size, template
from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params
from jaxrnn.checks import check_matches
from jaxrnn.steps import depends

__all__ = ["LSTMCarry", "fit_carry", "from_flax", "initial_carry", "to_flax"]

tree_map = jax.tree.map


class LSTMCarry(NamedTuple):
    """The state of an LSTM in Flax's order, so that ``(c, h), y = cell(carry, x)`` is right.

    The modules return it wherever `jaxrnn.scan` returns a `jaxrnn.LSTMCarry`, whose order is
    (h, c), and take both, but no plain tuple: nothing would tell its order.

    Attributes:
      c: the cell, ``(*batch, H)``; float32 where h is a half type.
      h: the output of the last step, ``(*batch, H)``.

    Example:
      >>> import jax, jaxrnn
      >>> model = jaxrnn.linen.LSTM(5, return_carry=True)
      >>> xs = jax.random.normal(jax.random.key(0), (2, 7, 3))
      >>> ((c, h), ys), variables = model.init_with_output(jax.random.key(1), xs)
      >>> bool((h == ys[:, -1]).all())
      True
    """

    c: Array
    h: Array


# By position, as the tuples of Flax's own LSTMs are: `flax.nnx.tabulate` goes by that.
jax.tree_util.register_pytree_with_keys(
    LSTMCarry,
    lambda carry: (tuple((jax.tree_util.SequenceKey(k), v) for k, v in enumerate(carry)), None),
    lambda _, leaves: LSTMCarry(*leaves),
)


def to_flax(carry: Carry) -> Carry:
    """A carry, or many, with the states of LSTMs in Flax's order."""
    return _exchange(carry, cells.LSTMCarry, lambda s: LSTMCarry(c=s.c, h=s.h))


def from_flax(carry: Carry) -> Carry:
    """The carry with every LSTM's state in the order of the core; the inverse of `to_flax`."""
    return _exchange(carry, LSTMCarry, lambda s: cells.LSTMCarry(c=s.c, h=s.h))


def _exchange(carry: Carry, kind: type, change: Callable[[Any], Any]) -> Carry:
    is_one = lambda node: isinstance(node, kind)  # noqa: E731
    return tree_map(lambda node: change(node) if is_one(node) else node, carry, is_leaf=is_one)


def fit_carry(
    net: Cell | Layer, params: Params, carry: Carry, batch: tuple[int, ...], argument: str
) -> Carry:
    """The carry in the dtypes that the network keeps it in, or an error if it does not fit."""
    expected = jax.eval_shape(lambda p: net.carry(p, batch), params)
    carry = from_flax(carry)
    if jax.tree.structure(carry) == jax.tree.structure(expected):
        carry = tree_map(lambda leaf, to: jnp.asarray(leaf).astype(to.dtype), carry, expected)
    why = f"the carry of {net.name!r} for batch axes {batch}"
    if jax.tree.structure(to_flax(expected)) != jax.tree.structure(expected):
        why += "; that of an LSTM is jaxrnn.linen.LSTMCarry(c=…, h=…) or jaxrnn.LSTMCarry"
    check_matches(argument, carry, expected, why)
    return carry


def initial_carry(
    net: Cell | Layer,
    params: Callable[[], Params | None],
    input_shape: tuple[int, ...],
    *,
    features: Size,
    dtype: DType,
    items: Items,
) -> Carry:
    """The network's own initial carry for inputs of one step ``(*batch, D)``.

    Its parameters are asked for only if it depends on more than their shapes.
    """
    batch = tuple(input_shape[: len(input_shape) - net.axes])
    shapes = template(net, input_shape[-1], features, jnp.dtype(dtype), items)
    if depends(net.carry, shapes):
        known = params()
        if known is None:
            raise ValueError(
                f"initialize_carry: the initial carry of {net.name!r} is among its parameters, "
                "which an unbound module does not have: call it in module.apply(variables, rng, "
                "input_shape, method='initialize_carry'), or use a Recurrent, which begins with it"
            )
    else:
        known = tree_map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return to_flax(net.carry(known, batch))
