"""Weights of the convolutional LSTMs of Flax and Keras, for `jaxrnn.cells.make_conv_lstm`.

==========  ======================  ==========================================================
flax.linen  ``ConvLSTMCell``        ``ih`` and ``hh``, each with a ``kernel`` (*window, ..., 4H)
                                    and a ``bias``; i, **g, f**, o; 1 is added to f at run time
Keras       ``ConvLSTM1D`` to 3D    ``kernel``, ``recurrent_kernel``, ``bias``; i, f, g, o
==========  ======================  ==========================================================

The window and the image are the cell's: arrays say nothing of an image, so that there is no
`infer`. Both libraries can do more than the cell: strides, dilation, other padding than "same",
which is **not** the default of Keras, other activations. Arrays do not tell; a configuration of
Keras beside them is read for that. See `jaxrnn.interop.probe`. Flax adds two biases; on `dump` the
whole bias is that of ``ih``, and that of ``hh`` takes the 1 back, so that nothing is rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxrnn.cells.structured import ConvLSTMParams
from jaxrnn.interop.keras_config import describe_layers
from jaxrnn.interop.keras_paths import cells_below, placed
from jaxrnn.interop.mapped import Arrays, Mapped
from jaxrnn.interop.names import base

__all__ = ["KERAS", "LINEN", "find_keras"]

_NO_PEEPHOLES = {"peepholes": (False,)}


def _own(shapes: Any) -> tuple[int, int]:
    return shapes.input_kernel[-2], shapes.recurrent_kernel[-2]


def _swapped(array: Any) -> Any:
    """Blocks i, f, g, o from i, g, f, o, and back."""
    i, f, g, o = np.split(array, 4, axis=-1)
    return np.concatenate([i, g, f, o], axis=-1)


def _back(dtype: Any, width: int) -> np.ndarray:
    """What the second bias is when it takes back the 1 that flax adds."""
    return np.repeat(np.array([0, 0, -1, 0], dtype), width // 4)


def _to_linen(spec: Any, params: Any) -> Arrays:
    bias = _swapped(params.bias)
    return {
        "ih/kernel": _swapped(params.input_kernel),
        "ih/bias": bias,
        "hh/kernel": _swapped(params.recurrent_kernel),
        "hh/bias": _back(bias.dtype, bias.size),
    }


def _from_linen(spec: Any, arrays: Arrays) -> ConvLSTMParams:
    first, second = arrays["ih/bias"], arrays["hh/bias"]
    second = second - _back(second.dtype, second.size)
    bias = np.where(second == 0, first, first + second)  # which keeps the sign of a zero
    w, r = (_swapped(arrays[f"{name}/kernel"]) for name in ("ih", "hh"))
    return ConvLSTMParams(w, r, _swapped(bias))


LINEN = Mapped(
    lambda shapes: (shapes["ih/kernel"][-2], shapes["hh/kernel"][-2]),
    _own,
    _to_linen,
    _from_linen,
    has=_NO_PEEPHOLES,
    optional=("ih/bias", "hh/bias"),
)
"""``ConvLSTMCell`` of flax.linen."""

_NAMES = {"kernel": "input_kernel", "recurrent_kernel": "recurrent_kernel", "bias": "bias"}

KERAS = Mapped(
    lambda shapes: (shapes["kernel"][-2], shapes["recurrent_kernel"][-2]),
    _own,
    lambda spec, params: {name: getattr(params, mine) for name, mine in _NAMES.items()},
    lambda spec, arrays: ConvLSTMParams(**{mine: arrays[n] for n, mine in _NAMES.items()}),
    has=_NO_PEEPHOLES,
    optional=("bias",),
)
"""``ConvLSTM1D``, ``ConvLSTM2D`` and ``ConvLSTM3D`` of Keras."""

_SAID = {
    "padding": ("same", "valid"),
    "data_format": ("channels_last", "channels_last"),
    "strides": (1, 1),
    "dilation_rate": (1, 1),
    "go_backwards": (False, False),
    "activation": ("tanh", "tanh"),
    "recurrent_activation": ("sigmoid", "sigmoid"),
}
"""What a configuration may say, and what it says by saying nothing."""


def find_keras(source: Any, prefix: str) -> Arrays:
    """The arrays of the one convolutional LSTM below a prefix, by their own names.

    Raises:
      ValueError: if there are several, or the configuration says that it is another function.
    """
    cells = cells_below(source, base(prefix, "/"))
    recurrent = [path for path in cells if "recurrent_kernel" in cells[path]]
    if len(recurrent) > 1:
        raise ValueError(f"prefix: expected one layer at {prefix!r}, got {', '.join(recurrent)}")
    recurrent = recurrent or list(cells)
    if len(recurrent) != 1:  # nothing that could be one
        return {f"{path}/{n}": leaf for path, cell in cells.items() for n, leaf in cell.items()}
    given = source.get("model_config") if isinstance(source, Mapping) else None
    found = placed(recurrent[0], [] if given is None else describe_layers(given))
    for name, (wanted, default) in _SAID.items():
        got = wanted if found is None else found[1].config.get(name, default)
        each = got if isinstance(got, list | tuple) else [got]
        if found and any(one != wanted for one in each):
            raise ValueError(
                f"net: not what model_config says of {found[1]}: {name} is {got!r}, and {wanted!r} "
                "in the cell: they are different functions"
            )
    return cells[recurrent[0]]
