"""Files as mappings from names to arrays, read as data: nothing in them is run.

What a file says of itself is checked before it is believed: sizes against a limit and against the
file, links and external data against leaving it. Whatever is wrong is a ValueError.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from jaxrnn.interop import onnx_model
from jaxrnn.interop.keras_config import config_text
from jaxrnn.interop.names import flatten, library, to_numpy

__all__ = ["read"]

MAX_BYTES = 8 << 30
Arrays = dict[str, np.ndarray]


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Arrays:
    """The arrays of a file by name.

    ====================================  ==================================================
    ``.safetensors``                      by the safetensors library
    ``.npz``                              by numpy, without pickle
    ``.h5``, ``.hdf5``, ``.weights.h5``   the arrays, by h5py; no link is followed; the
                                          configuration of a Keras model, its JSON as an
                                          array of one string, ``model_config``
    ``.keras``                            the arrays in it, and the configuration
    ``.onnx``                             initializers, and constants that are weights, by the
                                          onnx library; external data only from the file's
                                          own folder; of a recurrent
                                          node whose W is called ``0.W``, its attributes too
    ``.pt``, ``.pth``, ``.bin``           by ``torch.load(weights_only=True)``, never otherwise
    ====================================  ==================================================

    Args:
      path: the file; its ending says what it is.
      max_bytes: the most that the file, and the arrays in it, may take.

    Returns:
      Numpy arrays by name; nested names are joined by ``/`` in HDF5 files, by ``.`` in torch's.

    Raises:
      ImportError: if the library that reads such files is not installed.
      OSError: if the file cannot be opened.
      ValueError: for an unknown ending, or a file that is broken, too large or hostile.

    Example:
      >>> import numpy as np, tempfile, pathlib, jaxrnn
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "weights.npz"
      ...     np.savez(path, kernel=np.ones((3, 5)))
      ...     jaxrnn.interop.read(path)["kernel"].shape
      (3, 5)
    """
    path = Path(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"path: expected one of {sorted(_READERS)}, got {path.name!r}")
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"{path}: expected at most max_bytes = {max_bytes}, got {size}")
    try:
        return reader(path, max_bytes)
    except (ImportError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # each library has errors of its own for a broken file
        if isinstance(error, ValueError) and str(error).startswith(str(path)):
            raise
        raise ValueError(f"{path}: cannot be read: {error}") from error


class _Budget:
    """Counts what a file's arrays take, before they are read."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path, self.limit, self.left = path, limit, limit

    def spend(self, name: str, size: int) -> None:
        if size < 0 or size > self.left:
            raise ValueError(
                f"{self.path}: {name} would take {size} bytes, more than is left of "
                f"max_bytes = {self.limit}"
            )
        self.left -= size

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        if dtype.hasobject or dtype.kind not in "biufcV" or dtype.names or dtype.subdtype:
            raise ValueError(f"{self.path}: {name}: expected an array of numbers, got {dtype}")
        self.spend(name, math.prod(shape) * dtype.itemsize)


def _safetensors(path: Path, max_bytes: int) -> Arrays:
    del max_bytes  # nothing is compressed: the library holds every offset against the file
    with library("safetensors").safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _members(path: Path, budget: _Budget, archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = [member for member in archive.infolist() if not member.is_dir()]
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ValueError(f"{path}: expected each name once in the archive")
    for member in members:
        budget.spend(member.filename, member.file_size)
    return members


def _npz(path: Path, max_bytes: int) -> Arrays:
    arrays = {}
    budget = _Budget(path, max_bytes)
    with zipfile.ZipFile(path) as archive:
        for member in _members(path, _Budget(path, max_bytes), archive):
            name = member.filename.removesuffix(".npy")
            if name == member.filename:
                raise ValueError(f"{path}: expected arrays only, got {member.filename!r}")
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if header is None:
                    raise ValueError(f"{path}: {name}: expected .npy version 1 or 2, got {version}")
                shape, _, dtype = header(file, max_header_size=10_000)
                budget.array(name, shape, dtype)
                if math.prod(shape) * dtype.itemsize > member.file_size:
                    raise ValueError(f"{path}: {name}: its header claims more than it holds")
            with archive.open(member) as file:
                arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
    return arrays


_FILTERS = {"1", "2", "3", "4", "5", "6", "32000"}  # of HDF5 itself, and h5py's lzf


def _hdf5(path: Path, max_bytes: int, file: IO[bytes] | None = None) -> Arrays:
    h5py = library("h5py")
    arrays: Arrays = {}
    budget, seen = _Budget(path, max_bytes), set()

    def visit(group: Any, prefix: str) -> None:
        for name in group:
            link, at = group.get(name, getlink=True), prefix + name
            if not isinstance(link, h5py.HardLink):
                raise ValueError(f"{path}: {at}: expected no links, got {type(link).__name__}")
            node = group[name]
            address = h5py.h5o.get_info(node.id).addr
            if address in seen:
                raise ValueError(f"{path}: {at}: expected each object once")
            seen.add(address)
            if isinstance(node, h5py.Group):
                visit(node, at + "/")
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise ValueError(f"{path}: {at}: expected no data outside the file")
                if not set(node._filters) <= _FILTERS | {"gzip", "shuffle", "fletcher32", "lzf"}:
                    raise ValueError(f"{path}: {at}: expected no filters but HDF5's own")
                if node.dtype.kind in "OSU":
                    continue  # names and configurations
                if node.shape is None:
                    raise ValueError(f"{path}: {at}: expected an array, got an empty dataset")
                budget.array(at, node.shape, node.dtype)
                arrays[at] = node[()]

    with h5py.File(path if file is None else file, "r") as root:
        visit(root, "")
        config = root.attrs.get("model_config")
        text = config_text(config, root.attrs.get("keras_version"))
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    return arrays | ({"model_config": np.array(text)} if text else {})


def _keras(path: Path, max_bytes: int) -> Arrays:
    with zipfile.ZipFile(path) as archive:
        names = [member.filename for member in _members(path, _Budget(path, max_bytes), archive)]
        weights = [name for name in names if name.endswith("model.weights.h5")]
        if len(weights) != 1:
            raise ValueError(f"{path}: expected one model.weights.h5 in the archive, got {names}")
        arrays = _hdf5(path, max_bytes, io.BytesIO(archive.read(weights[0])))
        both = ("config.json", "metadata.json")
        config, about = (archive.read(name) if name in names else b"" for name in both)
    version = re.search(rb'"keras_version": *"([^"]*)"', about)
    text = config_text(config, version and version[1])
    return arrays | ({"model_config": np.array(text)} if text else {})


def _onnx(path: Path, max_bytes: int) -> Arrays:
    onnx = library("onnx")
    model = onnx.load(os.fspath(path), load_external_data=False)
    return onnx_model.arrays(model, lambda tensor: onnx_tensor(path, tensor, max_bytes), max_bytes)


def onnx_tensor(path: Path, tensor: Any, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """An initializer of an ONNX file, with its external data if they are in the file's folder."""
    onnx = library("onnx")
    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if any(size < 0 for size in tensor.dims):
        raise ValueError(f"{path}: {tensor.name}: expected a shape, got {list(tensor.dims)}")
    _Budget(path, max_bytes).array(tensor.name, tuple(tensor.dims), dtype)
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return onnx.numpy_helper.to_array(tensor)
    where = {pair.key: pair.value for pair in tensor.external_data}
    folder = path.resolve().parent
    data = (folder / where.get("location", "")).resolve()
    if not data.is_relative_to(folder) or not data.is_file():
        raise ValueError(
            f"{path}: {tensor.name}: expected external data in {folder}, got "
            f"{where.get('location', '')!r}"
        )
    offset, count = int(where.get("offset", 0)), math.prod(tensor.dims)
    if offset < 0 or offset + count * dtype.itemsize > data.stat().st_size:
        raise ValueError(f"{path}: {tensor.name}: its external data end before its shape does")
    return np.fromfile(data, dtype, count, offset=offset).reshape(tuple(tensor.dims))


def _torch(path: Path, max_bytes: int) -> Arrays:
    torch = library("torch")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _members(path, _Budget(path, max_bytes), archive)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path}: expected a state_dict, got {type(loaded).__name__}")
    arrays, budget = {}, _Budget(path, max_bytes)
    for name, leaf in flatten(loaded).items():
        if isinstance(leaf, torch.Tensor):
            if leaf.layout != torch.strided or leaf.is_quantized:
                raise ValueError(f"{path}: {name}: expected a dense tensor, got {leaf.layout}")
            budget.spend(name, leaf.numel() * leaf.element_size())
            arrays[name] = np.ascontiguousarray(to_numpy(leaf)) if leaf.ndim else to_numpy(leaf)
    return arrays


_READERS: Mapping[str, Callable[[Path, int], Arrays]] = {
    ".safetensors": _safetensors,
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".keras": _keras,
    ".onnx": _onnx,
    ".pt": _torch,
    ".pth": _torch,
    ".bin": _torch,
}
