"""Initial values, in the boxes of metadata that Flax's initialisers may give."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from flax.core.meta import AxisMetadata
from flax.traverse_util import unflatten_dict

from jaxrnn._flax.names import Items, Size, abstract_key, named_leaves, structural
from jaxrnn.base import Array, Cell, DType, Layer, Params
from jaxrnn.initializers import Joint
from jaxrnn.steps import reached

__all__ = ["draw"]


def draw(
    net: Cell | Layer,
    key: Array,
    in_features: int,
    features: Size,
    dtype: DType,
    options: Mapping[str, Any],
    box: type,
) -> dict[str, Any]:
    """Initial values by name, in boxes where their initialisers give such.

    A cell draws block by block and joins the blocks, so it is given what is in the boxes, and
    a joined leaf gets the box of its blocks: a `box` of linen's kind or of nnx's.
    """
    drawers = tuple(
        (k, tuple(v) if isinstance(v, list) else v)
        for k, v in options.items()
        if isinstance(v, Joint | list | tuple) or callable(v)
    )
    fixed = structural(options)
    boxes = _boxes(net, in_features, features, jnp.dtype(dtype), fixed, drawers) if drawers else {}
    for option, empty in boxes.values():
        if not isinstance(empty, box):
            raise TypeError(
                f"{option}: expected an initialiser of arrays or of {box.__name__}, got one of "
                f"{type(empty).__name__}"
            )
    if boxes:
        options = {k: _each(v, _opened) for k, v in options.items()}
    named = named_leaves(net.init(key, in_features, features, dtype=dtype, **options))
    return unflatten_dict(
        {
            name: _close(boxes[name][1], leaf) if name in boxes else leaf
            for name, leaf in named.items()
        }
    )


def _each(value: Any, change: Callable[[Any], Any]) -> Any:
    """An option with its initialisers changed: it may be one, a `Joint`, or one per gate."""
    if isinstance(value, Joint):
        return Joint(change(value.draw))
    if isinstance(value, list | tuple):
        return [_each(one, change) for one in value]
    return change(value) if callable(value) else value


def _opened(initializer: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **kwargs: _open(initializer(*args, **kwargs))[0]


def _open(drawn: Any) -> tuple[Any, Any]:
    """What is in a box, and the empty box; None if there is none."""
    if isinstance(drawn, AxisMetadata):
        inside = drawn.value if hasattr(drawn, "value") else drawn.unbox()  # type: ignore[attr-defined]
        return inside, drawn.replace_boxed(None)
    if hasattr(drawn, "raw_value"):  # of nnx
        return drawn.raw_value, dataclasses.replace(drawn, raw_value=None)
    return drawn, None


def _close(box: Any, value: Any) -> Any:
    if isinstance(box, AxisMetadata):
        return box.replace_boxed(value)
    return dataclasses.replace(box, raw_value=value)


@lru_cache(maxsize=64)
def _boxes(
    net: Cell | Layer, in_features: int, features: Size, dtype: Any, fixed: Items, drawers: Items
) -> dict[tuple[str, ...], tuple[str, Any]]:
    """For every leaf that is drawn in boxes, by its name: by which option, and the empty box.

    Which leaves an initialiser draws is told by a trace, in which it adds a variable of its own.
    """
    found = {}

    def init(marks: dict[str, Array], key: Array) -> Params:
        def marked(option: str, one: Callable[..., Any]) -> Callable[..., Any]:
            def drawn(*args: Any, **kwargs: Any) -> Any:
                value, box = _open(one(*args, **kwargs))
                if box is None:
                    return value
                found[option] = box
                return value + marks[option].astype(value.dtype)

            return drawn

        options = {k: _each(v, lambda one, k=k: marked(k, one)) for k, v in drawers}
        return net.init(key, in_features, features, dtype=dtype, **dict(fixed), **options)

    marks = {option: jax.ShapeDtypeStruct((), jnp.float32) for option in sorted(dict(drawers))}
    closed, shapes = jax.make_jaxpr(init, return_shape=True)(marks, abstract_key())
    boxes = {}
    for option, mark in zip(marks, closed.jaxpr.invars, strict=False):
        for name, its in zip(named_leaves(shapes), reached(closed.jaxpr, [mark]), strict=True):
            if its and name in boxes and boxes[name][1] != found[option]:
                raise ValueError(
                    f"{option}: expected the same metadata as {boxes[name][0]} gives, with "
                    f"which it draws {'/'.join(name)}, got {found[option]}"
                )
            if its:
                boxes[name] = option, found[option]
    return boxes
