"""Where a run's batches come from, and how it finds its place among them again."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["Place", "Source"]


class Place(NamedTuple):
    """How far a run has read: batches drawn, passes ended, and the iterable's own cursor."""

    drawn: int = 0
    passes: int = 0
    cursor: Any = None


class Source:
    """Draws batches from an iterable, which is started again when it ends.

    An iterable with ``get_state()`` and ``set_state(state)``, as `jaxrnn.data.Batches` and grain's
    iterators have, is put back to its place by them. From any other, the batches of the place are
    drawn once more and dropped, so it has to give the same ones in the same order.

    Args:
      batches: the iterable. One that is its own iterator is not started again.
      epochs: how often it is gone through; None for no limit.

    Raises:
      TypeError: no iterable, or what is one batch rather than an iterable of them.
    """

    def __init__(self, batches: Iterable[Any], epochs: int | None = None):
        if not isinstance(batches, Iterable):
            raise TypeError(f"batches: expected an iterable, got {type(batches).__name__}")
        if _is_one_batch(batches):
            raise TypeError(
                "batches: expected an iterable of batches, got what looks like one batch, "
                f"{_brief(batches)} (itertools.repeat(batch) for the same one at every step, "
                "jaxrnn.data.Batches for some rows at a time)"
            )
        self._batches: Any = batches
        self._epochs = epochs
        self._resumable = hasattr(batches, "get_state") and hasattr(batches, "set_state")
        self._drawn = 0
        self._passes = 0
        self._iterator: Iterator[Any] | None = None

    @property
    def place(self) -> Place:
        """Where the next batch is."""
        cursor = self._batches.get_state() if self._resumable else None
        return Place(self._drawn, self._passes, cursor)

    def move(self, place: Place) -> None:
        """Go to a place that another source over the same batches was at."""
        if self._resumable and place.cursor is not None:
            self._batches.set_state(place.cursor)
            self._drawn, self._passes, self._iterator = place.drawn, place.passes, None
            return
        while self._drawn < place.drawn:
            if not self.take(1):
                raise ValueError(
                    f"batches: expected at least the {place.drawn} that the checkpoint has seen, "
                    f"got {self._drawn}"
                )

    def take(self, number: int) -> list[Any]:
        """The next so many batches; fewer or none once the batches have ended."""
        group: list[Any] = []
        barren = 0
        while len(group) < number and self._passes != self._epochs:
            if self._iterator is None:
                self._iterator = iter(self._batches)
            for batch in self._iterator:
                self._drawn += 1
                barren = 0
                group.append(batch)
                break
            else:
                barren += 1
                once = self._iterator is self._batches
                self._iterator = None
                self._passes += 1
                if once:
                    break
                if barren > 1:
                    raise ValueError("batches: expected at least one batch, got none")
        if not self._drawn:
            raise ValueError("batches: expected at least one batch, got none")
        return group


def _is_one_batch(batches: Any) -> bool:
    """An array, a mapping, a tuple of arrays, or a list of arrays that are not alike."""
    if _is_array(batches) or isinstance(batches, Mapping):
        return True
    if not isinstance(batches, tuple | list) or not all(map(_is_array, batches)):
        return False
    kinds = {(batch.dtype, len(batch.shape)) for batch in batches}
    return bool(kinds) if isinstance(batches, tuple) else len(kinds) > 1


def _is_array(x: Any) -> bool:
    return hasattr(x, "shape") and hasattr(x, "dtype")


def _brief(batch: Any) -> str:
    kind = type(batch).__name__
    if _is_array(batch):
        return f"{kind} of shape {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return f"{kind} with {list(batch)}"
    return f"{kind} of arrays of shapes {', '.join(str(tuple(x.shape)) for x in batch)}"
