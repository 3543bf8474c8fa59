"""Names and arrays of other libraries, and the libraries themselves where they are needed."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["base", "flatten", "library", "nest", "numbered", "to_numpy"]


def library(name: str) -> Any:
    """Another library, imported now; ImportError says which one is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this needs {name.partition('.')[0]}, which is not installed") from error


def to_numpy(leaf: Any) -> np.ndarray:
    """An array, tensor or variable of any library as an array of numpy, bit for bit."""
    if hasattr(leaf, "detach"):  # a torch tensor; numpy has no bfloat16 that torch knows
        leaf = leaf.detach().cpu()
        if str(leaf.dtype) == "torch.bfloat16":
            return leaf.float().numpy().astype(jnp.bfloat16)
        return leaf.numpy()
    return np.asarray(leaf)


def flatten(source: Any, separator: str = ".") -> dict[str, Any]:
    """Leaves by whole name, of nested mappings or of any pytree, such as an equinox module.

    Raises:
      TypeError: for a single array.

    Example:
      >>> from jaxrnn.interop.names import flatten
      >>> flatten({"cell": {"i": {"bias": 0.5}}}, "/")
      {'cell/i/bias': 0.5}
    """
    names: dict[str, Any] = {}

    def visit(path: tuple[str, ...], node: Any) -> None:
        if isinstance(node, Mapping):
            for name, child in node.items():
                visit((*path, str(name)), child)
            return
        for keys, leaf in jax.tree_util.tree_flatten_with_path(node)[0]:
            tail = jax.tree_util.keystr(keys, simple=True, separator=separator)
            names[separator.join((*path, tail) if tail else path)] = leaf

    visit((), source)
    if "" in names:
        raise TypeError(f"source: expected names and arrays, got {type(source).__name__}")
    return names


def nest(names: Mapping[str, Any], separator: str) -> dict[str, Any]:
    """Nested mappings out of one with whole names, the inverse of `flatten`.

    Example:
      >>> from jaxrnn.interop.names import nest
      >>> nest({"cell/i/bias": 0.5}, "/")
      {'cell': {'i': {'bias': 0.5}}}
    """
    tree: dict[str, Any] = {}
    for name, leaf in names.items():
        *path, last = name.split(separator)
        node = tree
        for part in path:
            node = node.setdefault(part, {})
        node[last] = leaf
    return tree


def numbered(name: str) -> list[tuple[int, int, str]]:
    """A sort key by which ``lstm_10`` comes after ``lstm_2``.

    Example:
      >>> from jaxrnn.interop.names import numbered
      >>> sorted(["lstm_10", "lstm_2", "lstm"], key=numbered)
      ['lstm', 'lstm_2', 'lstm_10']
    """
    words = re.findall(r"\d+|\D+", name)
    return [(0, int(word), "") if word.isdecimal() else (1, 0, word) for word in words]


def base(prefix: str, separator: str) -> str:
    """A prefix with its separator.

    Raises:
      TypeError: for anything but a string.
    """
    if not isinstance(prefix, str):
        raise TypeError(f"prefix: expected a string, got {prefix!r}")
    return prefix.rstrip(separator) + separator if prefix else ""
