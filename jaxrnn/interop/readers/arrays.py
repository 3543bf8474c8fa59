"""What a reader fills: arrays by name, what was skipped and why, and what reading may cost."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

__all__ = ["Arrays", "Budget", "Refused", "TooLarge", "check_numbers"]


class Refused(ValueError):
    """What is wrong with a file, in words of our own."""


class TooLarge(Refused):
    """It would cost more than is allowed."""


class Arrays(dict[str, np.ndarray]):
    """Arrays of a file by name; looking up one that could not be read says why.

    Attributes:
      skipped: why not, by the name of each array that is there and is not read.
      seen: how many other things there are, by kind: numbers, strings, objects.

    Example:
      >>> from jaxrnn.interop.readers.arrays import Arrays
      >>> arrays = Arrays()
      >>> arrays.skipped["bias"] = "expected numbers, got strings"
      >>> arrays["bias"]
      Traceback (most recent call last):
      ValueError: bias: was not read: expected numbers, got strings
    """

    def __init__(self) -> None:
        super().__init__()
        self.skipped: dict[str, str] = {}
        self.seen: Counter[str] = Counter()

    def __missing__(self, name: str) -> np.ndarray:
        if name in self.skipped:
            raise ValueError(f"{name}: was not read: {self.skipped[name]}")
        raise KeyError(name)

    @contextmanager
    def reading(self, name: str) -> Iterator[None]:
        """What goes wrong in here costs this one array, unless the file costs too much."""
        try:
            yield
        except (ImportError, MemoryError, TooLarge):
            raise
        except Exception as error:  # each library has errors of its own
            self.skipped[name] = str(error) or type(error).__name__


def _unflatten(names: tuple[str, ...], leaves: Iterable[Any]) -> Arrays:
    arrays = Arrays()
    arrays.update(zip(names, leaves, strict=True))
    return arrays


jax.tree_util.register_pytree_with_keys(
    Arrays,
    lambda arrays: ([(jax.tree_util.DictKey(k), arrays[k]) for k in arrays], tuple(arrays)),
    _unflatten,
)


def check_numbers(dtype: np.dtype) -> None:
    """Raise unless it is that of plain numbers."""
    plain = dtype.itemsize and not (dtype.hasobject or dtype.names or dtype.subdtype)
    if not plain or dtype.kind not in "biufcV":
        raise Refused(f"expected an array of numbers, got {dtype}")


class Budget:
    """Counts what reading takes, before it does."""

    def __init__(self, limit: int) -> None:
        self.limit = self.left = limit

    def fits(self, name: str, size: int) -> None:
        """Raise unless so many bytes may be taken for a moment."""
        if size > self.left:
            raise TooLarge(
                f"{name} would take {size} bytes, more than is left of max_bytes = {self.limit}"
            )

    def spend(self, name: str, size: int) -> None:
        """Take so many bytes."""
        self.fits(name, size)
        self.left -= size

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Take what an array of numbers needs."""
        check_numbers(dtype)
        if any(size < 0 for size in shape):
            raise Refused(f"expected a shape, got {list(shape)}")
        self.spend(name, math.prod(shape) * dtype.itemsize)
