"""Cells that are no tables of matrices: a pair of functions for each, and what checks them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import DType, Params, PyTree
from jaxrnn.checks import describe, differences, expected_params
from jaxrnn.interop.convert import Prefix, check_array, common_dtype
from jaxrnn.interop.names import base

if TYPE_CHECKING:
    from jaxrnn.interop.format import Format

__all__ = ["Mapped", "dump_mapped", "load_mapped"]

Arrays = dict[str, Any]
"""Arrays of numpy by name."""


@dataclass(frozen=True)
class Mapped:
    """How a library stores one kind of cell, for a `Format`.

    Attributes:
      sizes: ``sizes(shapes) -> (D, H)`` from the shapes of their arrays by name.
      own: ``own(shapes) -> (D, H)`` from those of the cell's parameters, in a record of them;
        all three errors of a look-up, KeyError, IndexError, ValueError, say that they do not tell.
      theirs: ``theirs(spec, params, **options) -> arrays``, of params with all biases.
      ours: ``ours(spec, arrays) -> params``, its inverse without options.
      has: the options of the cell that the library has, and their values, as in `Format`; any
        that is not named may have any value.
      optional: the arrays that a module without biases lacks.
      forms: D / H of the smallest cell of each form that has names of its own.
      lost: for fields whose arrays have no place for all there may be, what has none.
    """

    sizes: Callable[[Mapping[str, tuple[int, ...]]], tuple[int, int]]
    own: Callable[[Any], tuple[int, int]]
    theirs: Callable[..., Arrays]
    ours: Callable[[Any, Arrays], Params]
    has: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    optional: tuple[str, ...] = ()
    forms: tuple[int, ...] = (1,)
    lost: Mapping[str, str] = field(default_factory=dict)

    def refuse(self, library: Format, net: Any) -> None:
        """Raise one error with every option of the cell that the library lacks."""
        problems = [
            f"the cell {net.name!r}: {name} is {got!r}, and in {library.name} "
            f"{' or '.join(map(repr, values))}, which is another function"
            for name, values in self.has.items()
            if (got := getattr(net.spec, name)) not in values
        ]
        if problems:
            raise ValueError("net: no exact counterpart:\n  " + "\n  ".join(problems))


def _biases(params: Any) -> list[str]:
    return [name for name in params._fields if name.endswith("bias")]


def _zeros(net: Any, sizes: tuple[int, int]) -> Any:
    """The cell's parameters with all biases, of zeros."""
    full = net.spec._replace(use_bias=True).make()
    like = expected_params(full, *sizes, np.dtype("float32"))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like)


def _expected(one: Mapped, net: Any, arrays: Mapping[str, Any]) -> tuple[bool, Arrays]:
    """Arrays of the right names and shapes, and whether these shapes are known."""
    shapes = {name: tuple(getattr(leaf, "shape", ())) for name, leaf in arrays.items()}
    with suppress(KeyError, IndexError, ValueError):
        return True, one.theirs(net.spec, _zeros(net, one.sizes(shapes)))
    heads = getattr(net.spec, "num_heads", 1)
    forms = [one.theirs(net.spec, _zeros(net, (k * heads, heads))) for k in one.forms]
    return False, max(forms, key=lambda form: len(form.keys() & arrays.keys()))


def load_mapped(
    library: Format, one: Mapped, net: Any, source: Any, prefix: Prefix, dtype: DType | None
) -> PyTree:
    """What `jaxrnn.interop.format.Format.load` does."""
    one.refuse(library, net)
    names, given = library.names(source, prefix, net)
    start: str = base(given, library.separator)  # type: ignore[arg-type]
    arrays = {n.removeprefix(start): leaf for n, leaf in names.items() if n.startswith(start)}
    arrays = {name: leaf for name, leaf in arrays.items() if not library.ignored(name)}
    known, expected = _expected(one, net, arrays)
    biasless = not any(name in arrays for name in one.optional)
    found: Arrays = {}
    problems = []
    for name, array in expected.items():
        if biasless and name in one.optional:
            continue
        shape = [size if known else "?" for size in array.shape]
        leaf = arrays.get(name)
        fits = list(getattr(leaf, "shape", ())) == shape
        text = f"[{', '.join(map(str, shape))}]"
        problem, there = check_array(start + name, leaf, text, fits)
        problems += [problem] * bool(problem)
        if there is not None:
            found[name] = there
    surplus = [name for name in arrays if name not in expected]
    problems += [f"{start}{name}: unexpected {describe(arrays[name])}" for name in surplus]
    wanted, problem = common_dtype(found.values(), dtype)
    problems += problem
    params: Any = None
    if not problems:
        absent = {n: np.zeros_like(array) for n, array in expected.items() if n not in found}
        arrays = {name: array.astype(wanted) for name, array in (found | absent).items()}
        params = jax.tree.map(jnp.asarray, one.ours(net.spec, arrays))
        for name in _biases(params) if not net.spec.use_bias else ():
            if bool(jnp.any(getattr(params, name) != 0)):
                problems.append(f"{start}{name}: a non-zero bias has no place")
            params = params._replace(**{name: None})
    if problems:
        problems += library.hints(source, [start], elsewhere=not found)
        raise ValueError(
            f"source: the arrays do not fit {net.name!r} as {library.name} stores it:\n  "
            + "\n  ".join(problems)
        )
    return params


def dump_mapped(
    library: Format,
    one: Mapped,
    net: Any,
    params: Any,
    prefix: Prefix,
    bias: bool | None,
    options: Mapping[str, Any],
) -> Arrays:
    """What `jaxrnn.interop.format.Format.dump` does, before the names are nested."""
    one.refuse(library, net)
    start: str = base(prefix, library.separator)  # type: ignore[arg-type]
    whole = _whole(one, net, params)
    arrays = one.theirs(net.spec, whole)
    again: Any = one.ours(net.spec, arrays)
    problems = [
        f"{name}: {one.lost.get(name, 'what has no place')}"
        for name, mine in whole._asdict().items()
        if mine is not None and not np.array_equal(mine, getattr(again, name), equal_nan=True)
    ]
    biased = [name for name in one.optional if np.any(arrays[name] != 0)]
    if bias is False:
        problems += [f"{start}{name}: a non-zero bias has no place" for name in biased]
    if problems:
        raise ValueError(
            f"params: {library.name} has no place for them:\n  " + "\n  ".join(problems)
        )
    absent = library.biasless and bias is None and params.bias is None and not biased
    left = one.optional if bias is False or absent else ()
    arrays = one.theirs(net.spec, whole, **options) if options else arrays
    return {start + name: array for name, array in arrays.items() if name not in left}


def _whole(one: Mapped, net: Any, params: Any) -> Any:
    """Parameters that are the cell's, as arrays of numpy, with zeros for the biases they lack."""
    like = _zeros(net, (heads := getattr(net.spec, "num_heads", 1), heads))
    if type(params) is not type(like):
        wanted, got = type(like).__name__, type(params).__name__
        raise TypeError(f"params: expected {wanted} of the cell {net.name!r}, got {got}")
    params = jax.tree.map(np.asarray, params)
    shapes = type(params)(*(np.shape(leaf) for leaf in params))
    with suppress(IndexError, ValueError):  # then no shape is that of the smallest cell
        like = _zeros(net, one.own(shapes))
    dtype = jax.tree.leaves(params)[0].dtype
    like = jax.tree.map(lambda leaf: leaf.astype(dtype), like)
    none = {name: getattr(like, name) for name in _biases(like) if getattr(params, name) is None}
    whole = params._replace(**none)
    problems, unlike = differences("params", whole, like)
    if problems:
        raise (ValueError if unlike else TypeError)("\n  ".join(problems))
    return whole
