"""Zip archives: ``.npz`` of numpy and ``.keras``."""

from __future__ import annotations

import io
import math
import re
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from jaxrnn.interop.keras_config import config_text
from jaxrnn.interop.readers.arrays import Arrays, Budget, Refused
from jaxrnn.interop.readers.hdf5 import read_hdf5

__all__ = ["WEIGHTS", "members", "open_member", "read_keras", "read_npz"]

WEIGHTS = "model.weights.h5"


def members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files in an archive by name."""
    found = [member for member in archive.infolist() if not member.is_dir()]
    by_name = {member.filename.replace("\\", "/"): member for member in found}
    if len(by_name) != len(found):
        raise Refused("expected each name once in the archive")
    return by_name


def open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    """A file of an archive, to be read as a stream."""
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Refused(f"expected no compression but deflate, got type {member.compress_type}")
    return archive.open(member)


def read_npz(path: Path, budget: Budget, found: Arrays) -> None:
    """Arrays by numpy, without pickle."""
    with zipfile.ZipFile(path) as archive:
        for filename, member in members(archive).items():
            name = filename.removesuffix(".npy")
            with found.reading(name):
                if name == filename:
                    raise Refused("expected an array, whose name ends in .npy")
                found[name] = _npy(archive, member, budget)


def _npy(archive: zipfile.ZipFile, member: zipfile.ZipInfo, budget: Budget) -> np.ndarray:
    with open_member(archive, member) as file:
        version = np.lib.format.read_magic(file)
        header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        if header is None:
            raise Refused(f"expected .npy version 1 or 2, got {version}")
        shape, _, dtype = header(file, max_header_size=10_000)
        budget.array(member.filename, shape, dtype)
        if math.prod(shape) * dtype.itemsize > member.file_size:
            raise Refused("its header claims more than it holds")
    with open_member(archive, member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def read_keras(path: Path, budget: Budget, found: Arrays) -> None:
    """The arrays of a ``.keras`` file, and its configuration as data."""
    with zipfile.ZipFile(path) as archive:
        files = members(archive)
        weights = [name for name in files if name.endswith(WEIGHTS)]
        if len(weights) != 1:
            raise Refused(f"expected one {WEIGHTS} in the archive, got {sorted(files)[:8]}")

        def data(name: str) -> bytes:
            if name not in files:
                return b""
            budget.spend(name, files[name].file_size)
            with open_member(archive, files[name]) as file:
                return file.read()

        read_hdf5(io.BytesIO(data(weights[0])), budget, found)
        version = re.search(rb'"keras_version": *"([^"]*)"', data("metadata.json"))
        if text := config_text(data("config.json"), version and version[1]):
            found["model_config"] = np.array(text)
