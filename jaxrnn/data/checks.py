"""Checks of arguments: each error names the argument, what was expected, what came."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["check_array", "check_size"]


def check_size(argument: str, value: Any, least: int = 1) -> None:
    """Raise TypeError or ValueError unless the value is a whole number of at least so much.

    Args:
      argument: the argument's name.
      value: what came.
      least: the least allowed.

    Example:
      >>> from jaxrnn.data.checks import check_size
      >>> check_size("length", 3)
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{argument}: expected a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{argument}: expected at least {least}, got {value}")


def check_array(argument: str, value: Any) -> NDArray:
    """The value as an array, or an error unless it is one: rows of one shape, no objects.

    Args:
      argument: the argument's name.
      value: what came.

    Example:
      >>> from jaxrnn.data.checks import check_array
      >>> check_array("series", [[1, 2], [3, 4]]).shape
      (2, 2)
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{argument}: expected an array, got rows of unequal shapes") from error
    if array.dtype == object:
        raise TypeError(f"{argument}: expected an array, got {type(value).__name__}")
    return array
