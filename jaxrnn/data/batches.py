"""A shuffled order of batches that is the same every time and can be taken up anywhere."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxrnn.checks import check_array, check_size

__all__ = ["Batches"]


class Batches:
    """Batches in an order that depends on seed and epoch alone.

    Going through it once is an epoch; again, the next one. Its place is three whole numbers,
    `get_state`, and `set_state` takes it up there: the same protocol as grain's iterators, which
    suit data that do not fit into memory better and go wherever this goes.

    Args:
      get: ``get(rows) -> batch`` for an array of row numbers. Time-major arrays: ``xs[:, rows]``.
      size: number of rows N, or a sequence of groups of row numbers; no batch then holds rows of
        two groups (see `jaxrnn.data.bucket`).
      batch_size: rows in a batch. What is left over in a group makes a smaller batch.
      seed: of the order.
      shuffle: False for rows and groups in their own order.
      drop_last: leave out the smaller batches, so that no shape is met but the full ones.

    Raises:
      TypeError: a size that is not a whole number, row numbers that are not.
      ValueError: no rows, a batch size below 1, or nothing left once the last are dropped.

    Example:
      >>> from jaxrnn.data import Batches
      >>> batches = Batches(lambda rows: rows.tolist(), 5, 2, seed=1)
      >>> list(batches), list(batches)
      ([[0], [3, 2], [4, 1]], [[2, 0], [3, 4], [1]])
      >>> batches.set_state({"seed": 1, "epoch": 0, "position": 2})
      >>> list(batches), batches.get_state()
      ([[4, 1]], {'seed': 1, 'epoch': 1, 'position': 0})
    """

    def __init__(
        self,
        get: Callable[[NDArray[np.intp]], Any],
        size: int | Sequence[ArrayLike],
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
    ):
        if not callable(get):
            raise TypeError(f"get: expected a function of row numbers, got {type(get).__name__}")
        check_size("batch_size", batch_size)
        check_size("seed", seed, -(2**63))
        if isinstance(size, Sequence | np.ndarray):
            groups = [_rows(group) for group in size]
        else:
            check_size("size", size, 0)
            groups = [np.arange(size)]
        self._groups = [group for group in groups if len(group)]
        if not self._groups:
            raise ValueError(f"size: expected at least one row, got {size!r}")
        self._get = get
        self._batch_size = batch_size
        self._shuffle = shuffle
        self._drop_last = drop_last
        self._seed, self._epoch, self._position = seed, 0, 0
        if not len(self):
            most = max(len(group) for group in self._groups)
            raise ValueError(
                f"batch_size: expected at most {most} with drop_last, got {batch_size}"
            )

    def __len__(self) -> int:
        """Number of batches in an epoch."""
        more = 0 if self._drop_last else self._batch_size - 1
        return sum((len(group) + more) // self._batch_size for group in self._groups)

    def __iter__(self) -> Iterator[Any]:
        """The batches left in this epoch."""
        order = self.order(self._epoch)
        while self._position < len(order):
            self._position += 1
            yield self._get(order[self._position - 1])
        self._epoch, self._position = self._epoch + 1, 0

    def order(self, epoch: int) -> list[NDArray[np.intp]]:
        """The row numbers of every batch of an epoch."""
        # The legacy generator: its stream is promised never to change.
        random = np.random.RandomState([self._seed % 2**32, self._seed // 2**32 % 2**32, epoch])
        batches = []
        for group in self._groups:
            rows = random.permutation(group) if self._shuffle else group
            starts = range(0, len(rows), self._batch_size)
            batches += [rows[i : i + self._batch_size] for i in starts]
        if self._drop_last:
            batches = [rows for rows in batches if len(rows) == self._batch_size]
        if self._shuffle:
            batches = [batches[i] for i in random.permutation(len(batches))]
        return batches

    def get_state(self) -> dict[str, int]:
        """The place of the next batch: seed, epoch and position in it."""
        return {"seed": self._seed, "epoch": self._epoch, "position": self._position}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Take up a place, seed included; iterate anew to go on from there.

        Raises:
          ValueError: not a place in this order.
        """
        whole = set(state) == {"seed", "epoch", "position"} and all(
            isinstance(value, int) for value in state.values()
        )
        if not whole or state["epoch"] < 0 or not 0 <= state["position"] <= len(self):
            raise ValueError(
                "state: expected whole numbers seed, epoch and position, the last from 0 to "
                f"{len(self)}, got {dict(state)}"
            )
        self._seed, self._epoch, self._position = (
            state["seed"],
            state["epoch"],
            state["position"],
        )


def _rows(group: ArrayLike) -> NDArray[np.intp]:
    rows = check_array("size", group).reshape(-1)
    if rows.size and rows.dtype.kind not in "iu":
        raise TypeError(f"size: expected groups of whole numbers, got dtype {rows.dtype}")
    if rows.size and rows.min() < 0:
        raise ValueError(f"size: expected groups of row numbers from 0, got {rows.min()}")
    return rows.astype(np.intp)
