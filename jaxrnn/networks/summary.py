"""What a network holds, as text."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxrnn.base import Cell, DType, Layer, PyTree, check_cell
from jaxrnn.checks import describe

__all__ = ["summary"]


def summary(
    net: Cell | Layer,
    input_size: int,
    hidden_size: Any,
    *,
    dtype: DType = jnp.float32,
    **options: Any,
) -> str:
    """The parameters and the state of a network, layer by layer.

    Nothing is drawn: it goes by shapes.

    Args:
      net: a `Cell` or a `Layer`.
      input_size: D.
      hidden_size: H, as the network's ``init`` takes it.
      dtype: of the parameters.
      **options: further ones of its ``init``.

    Returns:
      A table: for each layer its name, its parameters and their number, and the numbers that
      its state has for each row of a batch.

    Raises:
      TypeError: for something that is neither a cell nor a layer.

    Example:
      >>> import jaxrnn
      >>> print(jaxrnn.summary(jaxrnn.rnn(jaxrnn.lstm, 2), 3, 5))
      layer                parameters                      count  state
      [0] lstm             input_kernel float32[3, 20]        60     10
                           recurrent_kernel float32[5, 20]   100
                           bias float32[20]                   20
      [1] lstm             input_kernel float32[5, 20]       100     10
                           recurrent_kernel float32[5, 20]   100
                           bias float32[20]                   20
      stack(lstm, lstm)    in all                            400     20
    """
    check_cell("net", net)
    key = jax.eval_shape(lambda: jax.random.key(0))
    init = lambda key: net.init(key, input_size, hidden_size, dtype=dtype, **options)  # noqa: E731
    params = jax.eval_shape(init, key)
    state = jax.eval_shape(net.carry, params)
    rows = [("layer", "parameters", "count", "state")]
    for path, cell, mine, carry in _parts("", net, params, state):
        leaves = jax.tree_util.tree_leaves_with_path(mine)
        for k, (at, leaf) in enumerate(leaves or [((), None)]):
            name = jax.tree_util.keystr(at, simple=True, separator=".")
            said = "" if leaf is None else f"{name} {describe(leaf)}".strip()
            size = 0 if leaf is None else leaf.size
            first = (f"{path} {cell.name}".strip(), str(_size(carry)))
            rows.append((first[0] if k == 0 else "", said, str(size), first[1] if k == 0 else ""))
    rows.append((net.name, "in all", str(_size(params)), str(_size(state))))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    line = "{:<{}}  {:<{}}  {:>{}}  {:>{}}"
    pairs = ([v for pair in zip(row, widths, strict=True) for v in pair] for row in rows)
    return "\n".join(line.format(*pair).rstrip() for pair in pairs)


def _size(tree: PyTree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


def _parts(path: str, net: Any, params: PyTree, state: PyTree) -> list[tuple[str, Any, Any, Any]]:
    """The cells of a network, each with where it is, its parameters and its state."""
    parts = getattr(net, "parts", ())
    if not parts:
        return [(path, net, params, state)]
    fields = getattr(parts, "_fields", range(len(parts)))
    found = []
    for field, *each in zip(fields, parts, params, state, strict=True):
        at = f"{path}.{field}".lstrip(".") if isinstance(field, str) else f"{path}[{field}]"
        found += _parts(at, *each)
    return found
