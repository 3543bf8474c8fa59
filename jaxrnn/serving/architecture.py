"""A network as JSON: the constructors of its cells and layers, and what they were given."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from jaxrnn import cells, initializers, networks
from jaxrnn.base import Cell, Layer, Spec, check_cell

__all__ = ["RECORDS", "describe", "document", "from_json", "make", "parsed", "plain", "to_json"]

FORMAT, VERSION = "jaxrnn", 1
NAMED = ("glorot", "identity", "orthogonal", "torch_uniform", "zeros")
FUNCTIONS: dict[str, Any] = {name: getattr(initializers, name) for name in NAMED}
FUNCTIONS["lecun_tanh"] = cells.lecun_tanh
"""The functions that an option can be; other activations are given by name anyway."""


def _named(module: Any) -> dict[str, Any]:
    """The NamedTuples that a module exports, by name."""
    values = (value for value in vars(module).values() if isinstance(value, type))
    return {value.__name__: value for value in values if hasattr(value, "_fields")}


RECORDS: dict[str, Any] = {**_named(cells), **_named(networks)}
SPECS = {name.removesuffix("Spec"): c for name, c in RECORDS.items() if hasattr(c, "make")}
"""What constructors were given, by the name of the record without "Spec"."""


def to_json(net: Cell | Layer, *, indent: int | None = None) -> str:
    """The architecture of a network as JSON: constructors and what they were given.

    Args:
      net: a network of this library's constructors: a cell of `jaxrnn.CELLS` or of
        ``jaxrnn.cells.make_…``, with what goes around it, `jaxrnn.stack`, `jaxrnn.rnn`,
        `jaxrnn.bidirectional`, `jaxrnn.learned_carry`.
      indent: for people to read, as in `json.dumps`.

    Returns:
      The text, for `from_json`.

    Raises:
      TypeError: for something that is neither a cell nor a layer.
      ValueError: for a cell that no constructor made or that was changed since, and for an
        option that is a function: an activation or initialiser without a name here.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn import serving
      >>> serving.to_json(jaxrnn.stack(jaxrnn.cells.ran))  # doctest: +ELLIPSIS
      '{"format": "jaxrnn", "version": 1, "net": {"make": "Stack", "options": {"cells": ...}}}'
    """
    return document({"net": describe(net, "net")}, indent)


def from_json(text: str) -> Any:
    """The network of a text that `to_json` gave.

    Args:
      text: the JSON.

    Returns:
      A `Cell` or a `Layer`, equal to the one that it was made of.

    Raises:
      ValueError: for something else than such a text, another version of it, and for a
        constructor or an option that this version of the library has not.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn import serving
      >>> net = jaxrnn.bidirectional(jaxrnn.make_gru(reset="before"))
      >>> serving.from_json(serving.to_json(net)) == net
      True
    """
    return make(parsed(text, "text").get("net"), "net")


def document(content: dict[str, Any], indent: int | None) -> str:
    """Content as JSON that says of which format and version it is."""
    whole = {"format": FORMAT, "version": VERSION, **content}
    return json.dumps(whole, indent=indent, allow_nan=False)


def parsed(text: str | bytes, name: str) -> dict[str, Any]:
    """The content of a text, of this format and version."""
    try:
        content = json.loads(text)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{name}: expected JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{name}: expected the JSON of jaxrnn.serving, with its format {FORMAT!r}")
    if content.get("version") != VERSION:
        raise ValueError(f"{name}: expected version {VERSION}, got {content.get('version')!r}")
    return content


def describe(net: Any, at: str) -> dict[str, Any]:
    """The constructor of a cell or layer, and its options."""
    check_cell(at, net)
    spec: Spec | None = net.spec
    kind = type(spec).__name__.removesuffix("Spec")
    if SPECS.get(kind) is not type(spec):
        why = "was changed or made by hand" if spec is None else "is none of them"
        raise ValueError(
            f"{at}: expected what one of jaxrnn's constructors made, got {net.name!r}, which {why}"
        )
    options = spec._asdict()  # type: ignore[union-attr]
    return {
        "make": kind,
        "options": {name: _option(value, f"{at}.{name}") for name, value in options.items()},
    }


def _option(value: Any, at: str) -> Any:
    """An option as JSON: a tuple is a list, a cell an object, a function its name in one."""
    if isinstance(value, Cell | Layer):
        return describe(value, at)
    if isinstance(value, tuple):
        return [_option(one, f"{at}[{k}]") for k, one in enumerate(value)]
    value = value.item() if isinstance(value, np.generic) else value
    if callable(value):
        for name, function in FUNCTIONS.items():
            if value is function:
                return {"function": name}
        got = getattr(value, "__qualname__", value)
        raise ValueError(
            f"{at}: expected one of {sorted(cells.ACTIVATIONS)}, or the function of jaxrnn that is "
            f"called {' or '.join(sorted(FUNCTIONS))}, got {got!r}, which a file cannot hold"
        )
    return plain(value, at)


def plain(value: Any, at: str) -> Any:
    """A value that is JSON as it stands, or the error that it is none."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{at}: expected a finite number, or an array, got {value}")
    if value is not None and not isinstance(value, bool | int | float | str):
        raise TypeError(f"{at}: expected numbers, strings or arrays, got {type(value).__name__}")
    return value


def make(content: Any, at: str) -> Any:
    """The cell or layer of what `_describe` gave."""
    if not isinstance(content, dict) or content.keys() != {"make", "options"}:
        raise ValueError(f"{at}: expected a constructor and its options, got {content!r:.80}")
    kind, options = content["make"], content["options"]
    if not isinstance(kind, str) or kind not in SPECS:
        raise ValueError(f"{at}: expected one of {', '.join(sorted(SPECS))}, got {kind!r:.80}")
    spec = SPECS[kind]
    if not isinstance(options, dict):
        raise ValueError(f"{at}: expected the options of {kind} by name, got {options!r:.80}")
    if unknown := sorted(options.keys() - {*spec._fields}):
        known = ", ".join(spec._fields)
        raise ValueError(f"{at}: expected of {kind} the options {known}, got {unknown}")
    given = {name: _chosen(value, f"{at}.{name}") for name, value in options.items()}
    try:
        return spec(**given).make()
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{at}: {kind} cannot be made: {error}") from error


def _chosen(value: Any, at: str) -> Any:
    """The option of what `_option` gave."""
    if isinstance(value, list):
        return tuple(_chosen(one, f"{at}[{k}]") for k, one in enumerate(value))
    if not isinstance(value, dict):
        return value
    if value.keys() == {"function"}:
        name = value["function"]
        if not isinstance(name, str) or name not in FUNCTIONS:
            raise ValueError(f"{at}: expected one of {sorted(FUNCTIONS)}, got {name!r:.80}")
        return FUNCTIONS[name]
    return make(value, at)
