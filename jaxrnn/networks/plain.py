"""Parameters out of the dicts and lists that a file gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from jaxrnn.base import Cell, Layer, Params, PyTree, check_cell

__all__ = ["params_from"]


def params_from(net: Cell | Layer, tree: PyTree) -> Params:
    """The parameters of a network from plain dicts and lists of arrays, matched by name.

    Orbax without a target, JSON and msgpack give such: of a NamedTuple a dict of its fields, of a
    tuple a list or a dict of its places.

    Args:
      net: a `Cell` or a `Layer` that its own functions make, so that its structure is known.
      tree: dicts, lists and tuples of arrays. A bias that is not there is None.

    Returns:
      The arrays of the tree, in the structure of ``net.init``.

    Raises:
      TypeError: for something that is neither a cell nor a layer.
      ValueError: for a part that is missing, or one that the network has not.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.rnn(jaxrnn.gru, 1)
      >>> (layer,) = net.init(jax.random.key(0), 3, 5)
      >>> params = jaxrnn.networks.params_from(net, [layer._asdict()])
      >>> type(params[0]).__name__, params[0].input_kernel.shape
      ('GRUParams', (3, 15))
    """
    check_cell("net", net)
    key = jax.eval_shape(lambda: jax.random.key(0))
    return _filled("tree", jax.eval_shape(lambda key: net.init(key, 3, 4), key), tree)


def _filled(at: str, wanted: PyTree, tree: PyTree) -> PyTree:
    if not isinstance(wanted, tuple):
        if isinstance(tree, Mapping | list | tuple):
            raise ValueError(f"{at}: expected an array, got {type(tree).__name__}")
        return tree
    fields = getattr(wanted, "_fields", None)
    names = fields or [str(k) for k in range(len(wanted))]
    parts = _named(at, names, tree)
    missing = [n for n in names if n not in parts and not (fields and "bias" in n)]
    surplus = [n for n in parts if n not in names]
    if missing or surplus:
        raise ValueError(f"{at}: expected {', '.join(names)}, got {', '.join(parts) or 'nothing'}")
    found = [
        None
        if parts.get(n) is None
        else _filled(f"{at}.{n}" if fields else f"{at}[{n}]", w, parts[n])
        for n, w in zip(names, wanted, strict=True)
    ]
    made: Any = type(wanted)
    return made(*found) if fields else tuple(found)


def _named(at: str, names: Sequence[str], tree: PyTree) -> dict[str, Any]:
    """The parts of a dict, a list or a tuple by name."""
    if isinstance(tree, Mapping):
        return {str(name): part for name, part in tree.items()}
    if hasattr(tree, "_asdict"):
        return tree._asdict()
    if isinstance(tree, list | tuple):
        return dict(zip(names, tree, strict=False)) if len(tree) == len(names) else _counted(tree)
    raise ValueError(f"{at}: expected {', '.join(names)}, got {type(tree).__name__}")


def _counted(parts: Sequence[Any]) -> dict[str, Any]:
    return {str(k): part for k, part in enumerate(parts)}
