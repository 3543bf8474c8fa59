"""HDF5 files, those of Keras among them."""

from __future__ import annotations

import io
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxrnn.interop.keras_config import config_text
from jaxrnn.interop.names import library
from jaxrnn.interop.readers.arrays import Arrays, Budget, Refused

__all__ = ["MAGIC", "read_hdf5"]

MAGIC = b"\x89HDF\r\n\x1a\n"
DEFLATE, SHUFFLE, FLETCHER32, LZF = 1, 2, 3, 32000
LZF_RATIO = 88  # three bytes stand for 264 at most


def read_hdf5(file: Path | io.BytesIO, budget: Budget, found: Arrays) -> None:
    """The arrays of a file, by h5py, and the configuration of a Keras model; links are skipped."""
    h5py = library("h5py")
    size = file.getbuffer().nbytes if isinstance(file, io.BytesIO) else os.path.getsize(file)
    addresses: dict[int, str] = {}

    def visit(group: Any, prefix: str) -> None:
        for name in group:
            at, node = prefix + name.replace("\\", "/"), None  # Keras on Windows
            with found.reading(at):
                link = group.get(name, getlink=True)
                if not isinstance(link, h5py.HardLink):
                    raise Refused(f"expected no links, got {type(link).__name__}")
                node = group[name]
                first = addresses.setdefault(h5py.h5o.get_info(node.id).addr, at)
                if first != at or at in found:
                    node = None
                    raise Refused(f"expected each object once, it is {first!r}")
                if isinstance(node, h5py.Dataset):
                    found[at] = _dataset(node, at, budget, size)
            if isinstance(node, h5py.Group):
                visit(node, at + "/")

    with h5py.File(file, "r") as root:
        visit(root, "")
        with found.reading("model_config"):
            config, version = (
                _attribute(root, name, budget) for name in ("model_config", "keras_version")
            )
            if text := config_text(config, version):
                found["model_config"] = np.array(text)


def _attribute(root: Any, name: str, budget: Budget) -> Any:
    """One string, or None."""
    if name not in root.attrs:
        return None
    told = root.attrs.get_id(name)
    if told.shape:
        raise Refused(f"expected one string, got {told.shape}")
    budget.fits(name, told.dtype.itemsize)
    return root.attrs[name]


def _dataset(node: Any, at: str, budget: Budget, file_size: int) -> np.ndarray:
    if node.external or node.is_virtual:
        raise Refused("expected no data outside the file")
    if node.dtype.kind in "OSU":
        raise Refused("expected numbers, got strings, references or rows of several lengths")
    if node.shape is None:
        raise Refused("expected an array, got an empty dataset")
    plist = node.id.get_create_plist()
    filters = [plist.get_filter(k)[0] for k in range(plist.get_nfilters())]
    squeezed = [one for one in filters if one in (DEFLATE, LZF)]
    order = [one for one in filters if one in (SHUFFLE, *squeezed)]
    if (
        len(set(filters)) < len(filters)
        or not set(filters) <= {DEFLATE, SHUFFLE, FLETCHER32, LZF}
        or len(squeezed) > 1
        or (squeezed and order[-1] != squeezed[0])
    ):
        raise Refused(
            f"expected shuffle, one of gzip and lzf, and fletcher32 as filters, got {filters}; "
            "save it without compression"
        )
    if node.chunks:  # a chunk is read whole, however little of it is asked for
        size = math.prod(node.chunks) * node.dtype.itemsize
        budget.fits(f"a chunk of {at}", size)
        for one in squeezed:
            _check_chunks(node, at, budget, filters.index(one), size, file_size)
    budget.array(at, node.shape, node.dtype)
    return np.asarray(node[()])


def _check_chunks(
    node: Any, at: str, budget: Budget, number: int, size: int, file_size: int
) -> None:
    """Raise if a chunk holds more than its shape says: HDF5 itself unpacks without a bound."""
    lzf = node.id.get_create_plist().get_filter(number)[0] == LZF
    chunks: list[Any] = []
    node.id.chunk_iter(chunks.append)
    for chunk in chunks:
        if chunk.size > file_size:
            raise Refused("a chunk of it is larger than the file")
        if chunk.filter_mask & (1 << number):
            continue
        if lzf:
            budget.fits(f"a chunk of {at}", LZF_RATIO * chunk.size)
            continue
        _, data = node.id.read_direct_chunk(chunk.chunk_offset)
        most = size + 4  # with a checksum
        if len(zlib.decompressobj().decompress(data, most + 1)) > most:
            raise Refused(f"a chunk of it holds more than the {size} bytes of its shape")
