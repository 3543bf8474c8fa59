"""The classics by function: `jaxrnn.scan` and the records' fields with the cell fixed.

``lstm_init``, ``lstm_carry``, ``lstm_step``, ``lstm_scan``, and so on for `gru` and `elman`.

>>> import jax, jaxrnn
>>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
>>> carry, y = jaxrnn.lstm_step(params, jaxrnn.lstm_carry(params), jax.numpy.ones(3))
>>> carry, ys = jaxrnn.lstm_scan(params, jax.numpy.ones((7, 3)), carry)
>>> ys.shape
(7, 5)
"""

from __future__ import annotations

from typing import Any

from jaxrnn.base import Array, Carry, Params
from jaxrnn.cells import elman, gru, lstm
from jaxrnn.unroll import scan

__all__ = [
    "elman_carry",
    "elman_init",
    "elman_scan",
    "elman_step",
    "gru_carry",
    "gru_init",
    "gru_scan",
    "gru_step",
    "lstm_carry",
    "lstm_init",
    "lstm_scan",
    "lstm_step",
]

lstm_init, lstm_carry, lstm_step = lstm.init, lstm.carry, lstm.step
gru_init, gru_carry, gru_step = gru.init, gru.carry, gru.step
elman_init, elman_carry, elman_step = elman.init, elman.carry, elman.step


def lstm_scan(params: Params, xs: Array, carry: Carry | None = None, **options: Any) -> Any:
    """`jaxrnn.scan` of `jaxrnn.lstm`: an LSTM over a sequence.

    Args:
      params: `LSTMParams`.
      xs: ``(T, *batch, D)``.
      carry: an `LSTMCarry`, or None for zeros.
      **options: as `jaxrnn.scan` takes them.

    Returns:
      ``(carry, ys)``, ys ``(T, *batch, H)``.

    Raises:
      TypeError, ValueError: as `jaxrnn.scan` does.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.lstm_init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.lstm_scan(params, jax.numpy.ones((7, 2, 3)))
      >>> bool((carry.h == ys[-1]).all())
      True
    """
    return scan(lstm, params, xs, carry, **options)


def gru_scan(params: Params, xs: Array, carry: Carry | None = None, **options: Any) -> Any:
    """`jaxrnn.scan` of `jaxrnn.gru`: a GRU (reset after the product) over a sequence.

    Args:
      params: `GRUParams`.
      xs: ``(T, *batch, D)``.
      carry: h ``(*batch, H)``, or None for zeros.
      **options: as `jaxrnn.scan` takes them.

    Returns:
      ``(carry, ys)``, ys ``(T, *batch, H)``.

    Raises:
      TypeError, ValueError: as `jaxrnn.scan` does.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.gru_init(jax.random.key(0), 3, 5)
      >>> h, ys = jaxrnn.gru_scan(params, jax.numpy.ones((7, 2, 3)))
      >>> bool((h == ys[-1]).all())
      True
    """
    return scan(gru, params, xs, carry, **options)


def elman_scan(params: Params, xs: Array, carry: Carry | None = None, **options: Any) -> Any:
    """`jaxrnn.scan` of `jaxrnn.elman`: an Elman network (tanh) over a sequence.

    Args:
      params: `ElmanParams`.
      xs: ``(T, *batch, D)``.
      carry: h ``(*batch, H)``, or None for zeros.
      **options: as `jaxrnn.scan` takes them.

    Returns:
      ``(carry, ys)``, ys ``(T, *batch, H)``.

    Raises:
      TypeError, ValueError: as `jaxrnn.scan` does.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.elman_init(jax.random.key(0), 3, 5)
      >>> h, ys = jaxrnn.elman_scan(params, jax.numpy.ones((7, 2, 3)))
      >>> bool((h == ys[-1]).all())
      True
    """
    return scan(elman, params, xs, carry, **options)
