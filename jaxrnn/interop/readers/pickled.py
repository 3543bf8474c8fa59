"""Files of ``torch.save``, without torch, and without calling anything that is named in them.

A pickle is a program. Here every function and class that it names becomes a `_Record`, which notes
what it would have been called with; afterwards the records of tensors are looked at as data.
"""

from __future__ import annotations

import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, ClassVar

import jax.numpy as jnp
import numpy as np

from jaxrnn.interop.readers.archives import members, open_member
from jaxrnn.interop.readers.arrays import Arrays, Budget, Refused, TooLarge, check_numbers

__all__ = ["LEGACY", "read_torch", "read_torch_legacy"]

LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""What follows the protocol in a file before torch 1.6."""
DEPTH = 64
SHARE = 256  # a pickle makes at most about so many bytes of one
STEP = 1 << 24
STORAGES = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16",
    "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8",
    "Bool": "bool", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
    "Untyped": "uint8",
}  # fmt: skip
ReadStorage = Callable[[str], np.ndarray]


class _Record:
    """A call that a pickle asks for, written down and not made."""

    path = ""
    args: tuple[Any, ...]
    items: dict[Any, Any]
    state: dict[Any, Any]

    def __new__(cls, *args: Any, **_: Any) -> _Record:
        self = super().__new__(cls)
        self.args, self.items, self.state = args, {}, {}
        return self

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setitem__(self, name: Any, value: Any) -> None:
        self.items[name] = value

    def append(self, _: Any) -> None: ...

    extend = add = append

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            self.state |= part if isinstance(part, dict) else {}


class _Limited:
    """A stream of which only so much is read."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self.file, self.left, self.limit = file, limit, limit

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise TooLarge(
                f"its pickle takes more than {self.limit} bytes, the part of max_bytes for it"
            )
        return self.file.read(size)

    def readline(self) -> bytes:
        line = self.file.readline(self.left + 1)
        self.left -= len(line)
        return line + self.read(0)


_Unpickler: Any = pickle._Unpickler  # pyright: ignore[reportPrivateUsage]


class _Loader(_Unpickler):
    """Python's own unpickler, whose memo is a dict and not as long as the file says."""

    dispatch: ClassVar[dict[int, Any]] = {
        code: load
        for code, load in _Unpickler.dispatch.items()
        if bytes([code]) not in (pickle.BYTEARRAY8, pickle.EXT1, pickle.EXT2, pickle.EXT4)
    }

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")
        self.found: dict[tuple[str, str], type[_Record]] = {}

    def find_class(self, module: str, name: str) -> Any:
        record = type("_Record", (_Record,), {"path": f"{module}.{name}"})
        return self.found.setdefault((module, name), record)

    def persistent_load(self, pid: Any) -> Any:
        return self.find_class("", "storage")(*pid)


def read_torch(path: Path, budget: Budget, found: Arrays) -> None:
    """The tensors of a file of torch since 1.6, or of a TorchScript archive."""
    with zipfile.ZipFile(path) as archive:
        files = members(archive)
        start = min((n for n in files if n.endswith("data.pkl")), key=len).removesuffix("data.pkl")
        if order := files.get(start + "byteorder"):
            with open_member(archive, order) as file:
                if file.read(10) != b"little":
                    raise Refused("expected little-endian numbers")
        with open_member(archive, files[start + "data.pkl"]) as file:
            root = _Loader(_limited(file, budget)).load()
        storages: dict[str, np.ndarray] = {}

        def storage(key: str) -> np.ndarray:
            if key not in storages:
                if (member := files.get(f"{start}data/{key}")) is None:
                    raise Refused(f"its numbers, {start}data/{key}, are not in the archive")
                budget.spend(member.filename, member.file_size)
                storages[key] = np.empty(member.file_size, np.uint8)
                with open_member(archive, member) as file:
                    for k in range(0, member.file_size, STEP):
                        part = file.read(min(STEP, member.file_size - k))
                        storages[key][k : k + len(part)] = np.frombuffer(part, np.uint8)
            return storages[key]

        _collect(root, budget, found, storage)


def _limited(file: IO[bytes], budget: Budget) -> _Limited:
    return _Limited(file, max(1 << 16, budget.limit // SHARE))


def read_torch_legacy(path: Path, budget: Budget, found: Arrays) -> None:
    """The tensors of a file of torch before 1.6: pickles, and the storages behind them."""
    size = path.stat().st_size
    with path.open("rb") as file:
        stream = _limited(file, budget)
        _, _, system, root, keys = (_Loader(stream).load() for _ in range(5))
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise Refused("expected little-endian numbers")
        widths = {key: _dtype(kind).itemsize for kind, key in _storages(root, budget)}
        places: dict[str, tuple[int, int]] = {}
        at = file.tell()
        for key in keys:
            file.seek(at)
            (count,) = struct.unpack("<q", file.read(8))
            places[key] = at + 8, count * widths[key]
            at += 8 + places[key][1]
            if count < 0 or at > size:
                raise Refused("its storages end before they should")
        storages: dict[str, np.ndarray] = {}

        def storage(key: str) -> np.ndarray:
            if key not in storages:
                start, length = places[key]
                budget.spend(f"storage {key}", length)
                storages[key] = np.fromfile(path, np.uint8, length, offset=start)
            return storages[key]

        _collect(root, budget, found, storage)


def _is_tensor(node: Any) -> bool:
    tensors = ("torch._utils._rebuild", "torch._tensor._rebuild")
    return isinstance(node, _Record) and node.path.startswith(tensors)


def _children(node: Any) -> list[tuple[str, Any]] | None:
    """What is in a container, by name; None for anything else."""
    if isinstance(node, _Record) and not _is_tensor(node):
        node = node.items or node.state or (node.args and _pairs(node)) or None
    if isinstance(node, dict):
        hidden = ("_parameters", "_buffers", "_modules") if "_modules" in node else ()
        return [("" if k in hidden else str(k), child) for k, child in node.items()]
    return [(str(k), v) for k, v in enumerate(node)] if isinstance(node, list | tuple) else None


def _pairs(node: _Record) -> dict[Any, Any]:
    """What Python 2 calls an OrderedDict with."""
    return dict(node.args[0]) if node.path == "collections.OrderedDict" else {}


def _walk(root: Any, shared: dict[str, str], budget: Budget) -> Iterator[tuple[str, Any]]:
    """All leaves by name; a container that stands in several places only once."""
    seen: dict[int, str] = {}
    waiting: list[tuple[str, Any, int]] = [("", root, 0)]
    while waiting:
        name, node, depth = waiting.pop()
        children = _children(node)
        if children is None:
            yield name, node
            continue
        first = seen.setdefault(id(node), name)
        if first != name and children:
            shared[name] = f"it is the same object as {first!r}"
        elif depth > DEPTH:
            shared[name] = f"expected at most {DEPTH} levels"
        else:
            budget.spend(name, sum(len(name) + len(key) for key, _ in children))
            joined = [(".".join(filter(None, (name, key))), child) for key, child in children]
            waiting += [(one, child, depth + 1) for one, child in reversed(joined)]


def _storages(root: Any, budget: Budget) -> Iterator[tuple[Any, str]]:
    """The type and key of every storage that tensors have."""
    for _, node in _walk(root, {}, budget):
        if _is_tensor(node):
            try:
                tensor = _plain(node)
                yield tensor.args[0].args[1], tensor.args[0].args[2]
            except (Refused, AttributeError, IndexError):
                continue


def _collect(root: Any, budget: Budget, found: Arrays, storage: ReadStorage) -> None:
    if _is_tensor(root):
        raise Refused("expected a state_dict, got one tensor without a name")
    for name, node in _walk(root, found.skipped, budget):
        if _is_tensor(node):
            with found.reading(name):
                found[name] = _array(name, _plain(node), budget, storage)
            continue
        path = getattr(node, "path", "")
        if isinstance(node, _Record) and path.startswith(("torch.", "__torch__.", "numpy.")):
            found.skipped[name] = f"expected a tensor, got {path}"
        found.seen[path or type(node).__name__] += 1


def _plain(node: Any) -> _Record:
    """The record of the tensor that a parameter or a subclass of tensors is made of."""
    for _ in range(DEPTH):
        function = node.path.rpartition(".")[2] if isinstance(node, _Record) else ""
        if function in ("_rebuild_parameter", "_rebuild_parameter_with_state"):
            node = node.args[0]
        elif function == "_rebuild_from_type_v2" and isinstance(node.args[0], type):
            node = node.args[0](*node.args[2])
        elif function in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3"):
            return node
        else:
            break
    got = getattr(node, "path", type(node).__name__)
    hint = "; dequantize() it before it is saved" if "_rebuild_qtensor" in got else ""
    raise Refused(f"expected a dense tensor, got {got}{hint}")


def _dtype(kind: Any) -> np.dtype:
    name = getattr(kind, "path", "").rpartition(".")[2]
    return jnp.dtype(STORAGES.get(name.removesuffix("Storage"), name))


def _array(name: str, node: _Record, budget: Budget, storage: ReadStorage) -> np.ndarray:
    store, offset, shape, strides, *rest = node.args
    _, kind, key, _, _, *view = store.args  # "storage", its type, key, device and size
    typed = node.path.endswith("v3")
    dtype = _dtype(rest[2] if typed else kind)
    check_numbers(dtype)
    if any(rest[2 + typed :]):
        raise Refused("expected a plain tensor, got a conjugated or negated view: save its clone()")
    if view and view[0]:
        offset += view[0][1]
    if any(type(one) is not int or one < 0 for one in (offset, *shape, *strides)):
        raise Refused(f"expected sizes, got {offset}, {shape}, {strides}")
    if len(shape) != len(strides) or len(shape) > DEPTH:
        raise Refused(f"expected a stride for each of {shape}, got {strides}")
    size, flat = math.prod(shape), storage(key)
    last = sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) if size else -1
    flat = flat[: flat.nbytes // dtype.itemsize * dtype.itemsize].view(dtype)
    if offset + last >= flat.size:
        raise Refused(f"expected {shape} from {offset} on in a storage of {flat.size}")
    steps = [step * dtype.itemsize for step in strides]
    array = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps)
    if not array.flags.c_contiguous:
        budget.array(name, shape, dtype)
        array = array.copy()
    return np.asarray(array)
