"""A network and its parameters in one file: a zip archive of JSON and of numpy's arrays."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Cell, Layer, Params, PyTree
from jaxrnn.serving.architecture import RECORDS, describe, document, make, parsed, plain
from jaxrnn.unroll import scan

__all__ = ["Saved", "load", "save"]

MEMBER = "jaxrnn.json"


class Saved(NamedTuple):
    """What `load` found in a file.

    Attributes:
      net: the network, equal to the one that was saved.
      params: its parameters.
      more: what was saved beside them, or None.

    Example:
      >>> from jaxrnn import serving
      >>> serving.Saved._fields
      ('net', 'params', 'more')
    """

    net: Any
    params: Params
    more: PyTree = None


def save(
    path: str | os.PathLike[str], net: Cell | Layer, params: Params, more: PyTree = None
) -> None:
    """Write a network, its parameters and what else the model needs into one file.

    The optimizer's state is not part of it: that is what `jaxrnn.training.Checkpoints` keeps. A
    file that was there is replaced once the new one is complete.

    Args:
      path: the file, usually called ``….npz``.
      net: the network, as in `to_json`.
      params: its parameters.
      more: dicts with strings for keys, lists, tuples, records of this library, arrays, strings
        and numbers: other layers' parameters, scales, a vocabulary.

    Raises:
      OSError: if the file cannot be written.
      TypeError: for something that is neither a cell nor a layer, or a leaf that is no array.
      ValueError: for a network that is none of this library's constructors, or parameters that
        do not fit it.

    Example:
      >>> import jax, jaxrnn, pathlib, tempfile
      >>> from jaxrnn import serving
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "model.npz"
      ...     serving.save(path, jaxrnn.gru, params, {"words": ["a", "b"], "scale": 0.5})
      ...     serving.load(path).more
      {'words': ['a', 'b'], 'scale': 0.5}
    """
    path, arrays = Path(path), {}
    content = {
        "net": describe(net, "net"),
        "input_size": _input_size(net, params),
        "params": _written(params, "params", arrays),
        "more": _written(more, "more", arrays),
    }
    text = document(content, 1)
    part = path.with_name(f"{path.name}.part")
    try:
        with zipfile.ZipFile(part, "w") as archive:  # stored, not compressed
            archive.writestr(MEMBER, text)
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Saved:
    """Read what `save` wrote.

    Args:
      path: the file.

    Returns:
      `Saved`: ``net, params, more``, all arrays JAX's.

    Raises:
      OSError: if the file cannot be opened.
      ValueError: for a file of another kind, one that is broken or of another version, for what
        this version of the library does not know, and for parameters that do not fit the network.

    Example:
      >>> import jax, jaxrnn, pathlib, tempfile
      >>> from jaxrnn import serving
      >>> params = jaxrnn.gru.init(jax.random.key(0), 3, 5)
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     serving.save(pathlib.Path(folder) / "model.npz", jaxrnn.gru, params)
      ...     net, params, _ = serving.load(pathlib.Path(folder) / "model.npz")
      >>> net, jaxrnn.scan(net, params, jax.numpy.ones((7, 3)))[1].shape
      (Cell('gru'), (7, 5))
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            return _loaded(archive)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RecursionError) as error:
        raise ValueError(f"{path}: expected a file of jaxrnn.serving.save: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _loaded(archive: zipfile.ZipFile) -> Saved:
    members = {member.filename: member for member in archive.infolist()}
    if MEMBER not in members:
        raise ValueError(f"expected a file of jaxrnn.serving.save, got one without {MEMBER}")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members.values()):
        raise ValueError("expected arrays that are not compressed, as jaxrnn.serving.save writes")
    content = parsed(archive.read(MEMBER), MEMBER)
    net = make(content.get("net"), "net")

    def array(name: Any, dtype: Any) -> jax.Array:
        member = members.get(f"{name}.npy")
        if member is None:
            raise ValueError(f"{name}: missing")
        with archive.open(member) as file:
            return _array(file, str(name), dtype, member.file_size)

    params = _read(content.get("params"), "params", array)
    more = _read(content.get("more"), "more", array)
    size = content.get("input_size")
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"input_size: expected a positive int, got {size!r}")
    try:
        _run(net, params, size)
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise ValueError(f"params: expected those of {net.name!r}: {error}") from error
    return Saved(net, params, more)


def _written(tree: Any, at: str, arrays: dict[str, np.ndarray]) -> Any:
    """A tree as JSON, its arrays by name in `arrays`."""
    if isinstance(tree, list):
        return [_written(one, f"{at}.{k}", arrays) for k, one in enumerate(tree)]
    if isinstance(tree, Mapping):
        if wrong := [name for name in tree if not isinstance(name, str)]:
            raise TypeError(f"{at}: expected strings for keys, got {wrong[0]!r}")
        return {"dict": {name: _written(one, f"{at}.{name}", arrays) for name, one in tree.items()}}
    if isinstance(tree, tuple):
        fields: tuple[str, ...] | None = getattr(tree, "_fields", None)
        names = fields or [str(k) for k in range(len(tree))]
        parts = {
            name: _written(one, f"{at}.{name}", arrays)
            for name, one in zip(names, tree, strict=True)
        }
        if fields is None:
            return {"tuple": [*parts.values()]}
        name = type(tree).__name__
        if RECORDS.get(name) is not type(tree):
            raise TypeError(f"{at}: expected records of jaxrnn, dicts or tuples, got {name}")
        return {"record": name, "fields": parts}
    if not hasattr(tree, "shape") or not hasattr(tree, "dtype"):
        return plain(tree, at)
    if jnp.issubdtype(tree.dtype, jax.dtypes.extended):
        raise TypeError(f"{at}: expected an array of numbers, got {tree.dtype}; see key_data")
    if np.dtype(tree.dtype).kind in "OSU":
        raise TypeError(f"{at}: expected an array of numbers, got {tree.dtype}; lists hold strings")
    array = np.asarray(jnp.asarray(tree))  # of the dtype that JAX would compute with
    name = at.replace("/", "_")
    while name in arrays:
        name += "_"
    dtype = str(array.dtype)
    known = array.dtype.isbuiltin == 1  # numpy's own, of which its files can tell
    arrays[name] = array if known else array.view(f"u{array.dtype.itemsize}")
    return {"array": name, "dtype": dtype}


def _read(content: Any, at: str, array: Callable[[Any, Any], jax.Array]) -> Any:
    """The tree of what `_written` gave."""
    if isinstance(content, list):
        return [_read(one, f"{at}.{k}", array) for k, one in enumerate(content)]
    if not isinstance(content, dict):
        return content
    if content.keys() == {"dict"} and isinstance(content["dict"], dict):
        return {name: _read(one, f"{at}.{name}", array) for name, one in content["dict"].items()}
    if content.keys() == {"tuple"} and isinstance(content["tuple"], list):
        return tuple(_read(content["tuple"], at, array))
    if content.keys() == {"array", "dtype"}:
        return array(content["array"], content["dtype"])
    if content.keys() != {"record", "fields"} or not isinstance(content["fields"], dict):
        raise ValueError(f"{at}: expected a tree of arrays, got {content!r:.80}")
    name, fields = content["record"], content["fields"]
    record = RECORDS.get(name) if isinstance(name, str) else None
    if record is None:
        raise ValueError(f"{at}: expected a record of jaxrnn, got {name!r:.80}")
    parts = {field: _read(one, f"{at}.{field}", array) for field, one in fields.items()}
    try:
        return record(**parts)
    except TypeError as error:
        raise ValueError(f"{at}: expected the fields of {name}: {error}") from error


def _array(file: IO[bytes], name: str, dtype: Any, size: int) -> jax.Array:
    """An array of a member, of the dtype that the JSON says."""
    try:
        wanted = jnp.dtype(dtype)
    except TypeError as error:
        raise ValueError(f"{name}: expected the name of a dtype, got {dtype!r:.80}") from error
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise ValueError(f"{name}: expected .npy version (1, 0), got {version}")
    shape, fortran, stored = np.lib.format.read_array_header_1_0(file, max_header_size=10_000)
    known = wanted.isbuiltin == 1
    if stored.hasobject or stored != (wanted if known else np.dtype(f"u{wanted.itemsize}")):
        raise ValueError(f"{name}: expected {wanted}, got {stored}")
    count = math.prod(shape) * stored.itemsize
    if count > size:
        raise ValueError(f"{name}: its header claims more than it holds")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise ValueError(f"{name}: {wanted} needs jax_enable_x64")
    data = file.read()
    if len(data) != count:
        raise ValueError(f"{name}: expected {count} bytes, got {len(data)}")
    array = np.frombuffer(data, stored).reshape(shape, order="F" if fortran else "C")
    return jnp.asarray(array if known else array.view(wanted))


def _run(net: Any, params: Params, size: int) -> None:
    """What `jaxrnn.scan` says of the parameters, for an input of so many features."""
    floats = (
        leaf.dtype for leaf in jax.tree.leaves(params) if jnp.issubdtype(leaf.dtype, jnp.floating)
    )
    dtype = next(floats, jnp.dtype("float32"))
    xs = jax.ShapeDtypeStruct((1, *_space(net), size), dtype)
    jax.eval_shape(lambda params, xs: scan(net, params, xs), params, xs)


def _space(net: Any) -> tuple[int, ...]:
    """The axes of space of an input, of a convolutional cell."""
    spec = net.spec
    if hasattr(spec, "space"):
        return spec.space
    inner = getattr(spec, "cell", None) or next(iter(getattr(spec, "cells", ())), None)
    return () if inner is None else _space(inner)


def _input_size(net: Any, params: Params) -> int:
    """The features of an input that the parameters were made for, or the error why there are none.

    They are one of the lengths of the parameters' axes, mostly the first of the first.
    """
    problem: Exception | None = None
    for size in dict.fromkeys(_lengths(params)):
        try:
            _run(net, params, size)
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            problem = problem or error
        else:
            return size
    raise ValueError(
        f"params: expected those of {net.name!r}: {problem or 'there are none'}"
    ) from problem


def _lengths(params: Params) -> Iterator[int]:
    for leaf in jax.tree.leaves(params):
        yield from (n for n in getattr(leaf, "shape", ()) if n)
    yield 1  # of a cell without kernels
