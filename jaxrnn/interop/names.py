"""Names and arrays of other libraries, and the libraries themselves where they are needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

__all__ = ["base", "flatten", "library", "nest", "numbered", "to_numpy"]


def library(name: str) -> Any:
    """Another library, imported now.

    Args:
      name: the module's name.

    Raises:
      ImportError: if it is not installed.

    Example:
      >>> from jaxrnn.interop.names import library
      >>> library("json").loads("[1]")
      [1]
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"this needs {name.partition('.')[0]}, which is not installed") from error


def to_numpy(leaf: Any) -> np.ndarray:
    """An array of any library as one of numpy, bit for bit.

    Args:
      leaf: an array, a torch tensor, a variable.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.interop.names import to_numpy
      >>> to_numpy(jnp.ones(2)).tolist()
      [1.0, 1.0]
    """
    if hasattr(leaf, "detach"):  # a torch tensor; numpy has no bfloat16 that torch knows
        leaf = leaf.detach().cpu()
        if str(leaf.dtype) == "torch.bfloat16":
            return leaf.float().numpy().astype(jnp.bfloat16)
        return leaf.numpy()
    return np.asarray(leaf)


def flatten(source: Any, separator: str = ".") -> dict[str, Any]:
    """A mapping from whole names to leaves, out of nested mappings or any pytree.

    Args:
      source: a mapping, nested or flat, or a pytree such as an equinox module.
      separator: what joins the names of the levels.

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

    Args:
      names: leaves by whole name.
      separator: what joins the names of the levels.

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


def numbered(name: str) -> tuple[Any, ...]:
    """A sort key by which ``lstm_10`` comes after ``lstm_2``.

    Args:
      name: a name with numbers in it.

    Example:
      >>> from jaxrnn.interop.names import numbered
      >>> sorted(["lstm_10", "lstm_2", "lstm"], key=numbered)
      ['lstm', 'lstm_2', 'lstm_10']
    """
    words: list[Any] = []
    for letter in name:
        if letter.isdigit() and words and isinstance(words[-1], int):
            words[-1] = 10 * words[-1] + int(letter)
        elif letter.isdigit():
            words.append(int(letter))
        elif words and isinstance(words[-1], str):
            words[-1] += letter
        else:
            words.append(letter)
    return tuple((0, "", word) if isinstance(word, int) else (1, word, 0) for word in words)


def base(prefix: str, separator: str) -> str:
    """A prefix with its separator.

    Args:
      prefix: with or without it.
      separator: what joins the parts of a name.

    Example:
      >>> from jaxrnn.interop.names import base
      >>> base("encoder.lstm", "."), base("", ".")
      ('encoder.lstm.', '')
    """
    return prefix.rstrip(separator) + separator if prefix else ""
