"""Files as mappings from names to arrays, read as data: nothing in them is run.

What a file says of itself is checked before it is believed: sizes against a limit and against the
file, links and external data against leaving it. Whatever is wrong is a ValueError.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from jaxrnn.interop.names import library
from jaxrnn.interop.readers.archives import WEIGHTS, members, read_keras, read_npz
from jaxrnn.interop.readers.arrays import Arrays, Budget, Refused
from jaxrnn.interop.readers.graphs import read_onnx
from jaxrnn.interop.readers.hdf5 import MAGIC, read_hdf5
from jaxrnn.interop.readers.pickled import LEGACY, read_torch, read_torch_legacy

__all__ = ["Arrays", "read"]

MAX_BYTES = 8 << 30
Reader = Callable[[Path, Budget, Arrays], None]


def read(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Arrays:
    """The arrays of a file by name.

    What the file is its contents tell, whatever it is called:

    ===========  ===========================================================================
    safetensors  by the safetensors library
    npz          by numpy, without pickle
    HDF5         the arrays, by h5py; no link is followed; the configuration of a Keras model,
                 its JSON as an array of one string, ``model_config``
    Keras        the arrays in it, and the configuration
    ONNX         initializers, and constants that are weights, by the onnx library; external
                 data only from the file's own folder; of a recurrent node whose W is called
                 ``0.W``, its attributes too
    torch        the tensors in what ``torch.save`` wrote, a ``state_dict``, a whole module or
                 a checkpoint, and in a TorchScript archive; without torch: the pickle is read
                 as data, and nothing that it names is called
    ===========  ===========================================================================

    Args:
      path: the file.
      max_bytes: the most that the file, and that reading its arrays, may take.

    Returns:
      Numpy arrays by name, a dict; nested names are joined by ``/`` in HDF5 files, by ``.`` in
      torch's. An array that cannot be read costs no other: it is left out, and looking it up
      says why, as does ``skipped``, by name; ``seen`` counts what else is there.

    Raises:
      ImportError: if the library that reads such files is not installed.
      OSError: if the file cannot be opened.
      ValueError: for a file of another kind, one that is broken, too large or hostile, or one
        of which no array could be read.

    Example:
      >>> import numpy as np, tempfile, pathlib, jaxrnn
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder) / "weights.npz"
      ...     np.savez(path, kernel=np.ones((3, 5)), names=np.array(["a"], object))
      ...     arrays = jaxrnn.interop.read(path)
      >>> arrays["kernel"].shape, arrays.skipped
      ((3, 5), {'names': 'expected an array of numbers, got object'})
    """
    path, budget, found = Path(path), Budget(max_bytes), Arrays()
    size = path.stat().st_size
    if size > max_bytes:
        raise ValueError(f"{path}: expected at most max_bytes = {max_bytes}, got {size}")
    try:
        _reader(path)(path, budget, found)
    except (ImportError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Refused as error:
        raise ValueError(f"{path}: {error}") from error
    except Exception as error:  # each library has errors of its own for a broken file
        raise ValueError(f"{path}: cannot be read: {error}") from error
    if not found.keys() - {"model_config"}:
        kinds = [f"{count} {kind}" for kind, count in found.seen.most_common(8)]
        lines = [f"{name}: {why}" for name, why in islice(found.skipped.items(), 8)]
        there = "; ".join([*lines, *([f"there are {', '.join(kinds)}"] if kinds else [])])
        raise ValueError(
            f"{path}: cannot be read: expected arrays, got none: {there or 'nothing is in it'}"
        )
    return found


def _reader(path: Path) -> Reader:
    """What reads a file, by its first bytes, or by what is in the archive."""
    with path.open("rb") as file:
        head = file.read(4096)
        blocks = [head[:8]]
        for power in range(9, 20):  # a user's own block may stand before HDF5
            file.seek(1 << power)
            blocks.append(file.read(8))
    if head.startswith(b"PK"):
        return _archive(path)
    if MAGIC in blocks:
        return read_hdf5
    if head[2:].startswith(LEGACY) and head[:1] == b"\x80":
        return read_torch_legacy
    if head[8:9] == b"{":
        return _read_safetensors
    hint = next((hint for at, magic, hint in HINTS if head[at:].startswith(magic)), "")
    if not hint and (head[:1] == b"\x08" or path.suffix.lower() == ".onnx"):  # which has no magic
        return read_onnx
    raise Refused(
        "cannot be read: expected a file of safetensors, npz, HDF5, Keras, ONNX or torch, got "
        + (hint or f"one that begins with {head[:8]!r}")
    )


def _archive(path: Path) -> Reader:
    with zipfile.ZipFile(path) as archive:
        names = list(members(archive))
    if any(name.endswith("data.pkl") for name in names):
        return read_torch
    if any(name.endswith(WEIGHTS) or name == "config.json" for name in names):
        return read_keras
    return read_npz


HINTS = (
    (0, b"\x80", "a pickle of Python's, and to load it is to run it: where it can be trusted, load "
     "it where it was made, and save its arrays by numpy.savez or as a state_dict"),
    (0, b"\x1f\x8b", "a compressed file: gunzip it"),
    (257, b"ustar", "a tar archive: unpack it, and read what is in it"),
    (0, b"\x93NUMPY", "one array without a name: numpy.load(path, allow_pickle=False) reads it"),
    (0, b"version https://git-lfs", "the pointer of a file in Git LFS: git lfs pull fetches it"),
)  # fmt: skip
"""What else a file may be: where it says so, how, and what to do."""


def _read_safetensors(path: Path, _: Budget, found: Arrays) -> None:
    """Nothing is compressed: the library holds every offset against the file."""
    with library("safetensors").safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118
            with found.reading(name):
                found[name] = file.get_tensor(name)
