"""Parameters by name: from the functional form to Flax's nested dicts, and back."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen.dtypes import canonicalize_dtype
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrnn.base import Array, Cell, DType, Layer, Params, PyTree
from jaxrnn.checks import check_matches

__all__ = [
    "Items",
    "Size",
    "abstract_key",
    "bind",
    "fit_params",
    "from_params",
    "named_leaves",
    "names_of",
    "structural",
    "template",
]

Size = int | tuple[int, ...]
Items = tuple[tuple[str, Any], ...]


def names_of(tree: PyTree) -> list[tuple[str, ...]]:
    """The name of every leaf, in the order of `jax.tree.leaves`."""
    level, _ = jax.tree_util.tree_flatten_with_path(tree, is_leaf=lambda node: node is not tree)
    if [path for path, _ in level] == [()]:
        return [()]
    return [_name(path, len(level)) + rest for path, child in level for rest in names_of(child)]


def _name(path: tuple[Any, ...], count: int) -> tuple[str, ...]:
    if isinstance(path[0], jax.tree_util.SequenceKey):
        return () if count == 1 else (f"layer_{path[0].idx}",)
    if path == (jax.tree_util.GetAttrKey("cell"),):
        return ()
    return (jax.tree_util.keystr(path, simple=True),)


def named_leaves(tree: PyTree) -> dict[tuple[str, ...], Any]:
    """The leaves of parameters by their names in Flax, or ValueError if two have one name."""
    names = [name or ("params",) for name in names_of(tree)]
    if twice := sorted({"/".join(name) for name in names if names.count(name) > 1}):
        raise ValueError(f"params: expected a name of its own for every leaf, got twice: {twice}")
    return dict(zip(names, jax.tree.leaves(tree), strict=True))


def from_params(params: Params) -> dict[str, Any]:
    """Functional parameters as the nested dict of named leaves that Flax works with.

    Fields of NamedTuples keep their names, and entry k of a tuple is called ``layer_k``; so
    ``jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)`` has ``layer_0/forward/input_kernel``.
    What there is only one of adds no name: the only layer of a stack, and the `cell` of what
    wraps a cell, so that ``jaxrnn.rnn(jaxrnn.lstm, 1)`` has the names of `jaxrnn.lstm`, and
    ``jaxrnn.learned_carry(jaxrnn.gru)`` those of `jaxrnn.gru` and ``initial``.

    The result is what stands under ``"params"`` in a linen module's variables, and what
    ``flax.nnx.update(module, …)`` takes. `to_params` is the inverse.

    Args:
      params: the parameters of a `Cell` or a `Layer`.

    Returns:
      A nested dict of the same leaves.

    Raises:
      ValueError: if two leaves would have one name.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.elman, jaxrnn.gru)
      >>> named = jaxrnn.linen.from_params(net.init(jax.random.key(0), 3, 5))
      >>> sorted(named), sorted(named["layer_0"])
      (['layer_0', 'layer_1'], ['bias', 'input_kernel', 'recurrent_kernel'])
    """
    return unflatten_dict(named_leaves(params))


def structural(options: Mapping[str, Any]) -> Items:
    """The options of an ``init`` that may decide which leaves there are, and their shapes."""
    fixed = {k: v for k, v in options.items() if not callable(v) and isinstance(v, Hashable)}
    return tuple(sorted((k, v) for k, v in fixed.items() if not isinstance(v, tuple)))


@lru_cache(maxsize=64)
def template(net: Cell | Layer, in_features: int, features: Size, dtype: Any, items: Items) -> Any:
    """The shapes and dtypes of what ``init`` gives."""
    init = lambda key: net.init(key, in_features, features, dtype=dtype, **dict(items))  # noqa: E731
    return jax.eval_shape(init, abstract_key())


def abstract_key() -> Any:
    """The shape of a PRNG key, for what is only traced."""
    return jax.eval_shape(lambda: jax.random.key(0))


def fit_params(
    net: Cell | Layer,
    named: Mapping[str, Any],
    in_features: int,
    *,
    features: Size,
    dtype: DType,
    items: Items,
) -> Params:
    """The functional parameters of a network from named leaves, in a dtype."""
    expected = template(net, in_features, features, jnp.dtype(dtype), items)
    wanted = named_leaves(expected)
    stored = {
        name: jnp.asarray(leaf).astype(wanted[name].dtype) if name in wanted else leaf
        for name, leaf in flatten_dict(dict(named)).items()
    }
    why = f"{net.name!r} with {in_features} input features and features={features}"
    check_matches("params", unflatten_dict(stored), unflatten_dict(wanted), why)
    return jax.tree.structure(expected).unflatten([stored[name] for name in wanted])


def bind(
    net: Cell | Layer,
    named: Mapping[str, Any],
    inputs: Array,
    *,
    features: Size,
    dtype: DType | None,
    items: Items,
) -> tuple[Params, Array]:
    """The functional parameters and the inputs, in the dtype of the computation.

    As everywhere in Flax it is inferred from inputs and parameters if None.
    """
    leaves = [a for a in jax.tree.leaves(named) if jnp.issubdtype(jnp.result_type(a), jnp.floating)]
    dtype = jax.dtypes.canonicalize_dtype(canonicalize_dtype(inputs, *leaves, dtype=dtype))
    last = inputs.shape[-1]
    return fit_params(net, named, last, features=features, dtype=dtype, items=items), (
        inputs.astype(dtype)
    )
