"""What the configuration of a Keras model says of its layers: JSON, read as data, nothing run."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxrnn.base import Array
from jaxrnn.interop.onnx_activations import Activation

__all__ = ["Described", "config_text", "describe_layers", "file_name", "options"]

BLOCKS = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4, "CuDNNGRU": 3, "CuDNNLSTM": 4}
"""The layers that have a counterpart, with the blocks of their kernels."""
MERGES = {"concat": "concat", "sum": "sum", "ave": "mean", "mul": "mul"}


def _gelu(x: Array) -> Array:
    return jax.nn.gelu(x, approximate=False)


ACTIVATIONS: dict[str, Any] = {
    "linear": "identity",
    "tanh": "tanh",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "elu": Activation("Elu", (1.0,)),
    "gelu": _gelu,
    "relu6": jax.nn.relu6,
    "selu": jax.nn.selu,
    "silu": jax.nn.silu,
    "softplus": Activation("Softplus"),
    "softsign": Activation("Softsign"),
    "swish": jax.nn.silu,
}
"""The activations of the same name and function in Keras 2 and 3."""
HARD_SIGMOIDS = {2: "hard_sigmoid", 3: Activation("HardSigmoid", (1 / 6, 0.5))}
"""That of Keras 2 is clip(0.2 x + 0.5, 0, 1), that of Keras 3 relu6(x + 3) / 6."""


class Described(NamedTuple):
    """A layer of a configuration.

    Attributes:
      names: its name, after those of the models in the model that hold it.
      path: what it is called in a ``.keras`` or ``.weights.h5`` file.
      kind: its class.
      config: its configuration.
      version: the major version of Keras, 0 if unknown.
    """

    names: tuple[str, ...]
    path: str
    kind: str
    config: Mapping[str, Any]
    version: int

    @property
    def directions(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The class and configuration of each direction."""
        if self.kind != "Bidirectional":
            return [(self.kind, self.config)]
        forward = _inner(self.config.get("layer"))
        return [forward, _inner(self.config["backward_layer"]) if self.own else forward]

    @property
    def own(self) -> bool:
        """Whether the backward direction has a configuration of its own."""
        return isinstance(self.config.get("backward_layer"), Mapping)

    def cells(self, direction: int = 0) -> list[tuple[str, Mapping[str, Any]]]:
        """The class and configuration of each cell of a direction, ``LSTM`` for an LSTMCell."""
        kind, config = self.directions[direction]
        if kind != "RNN":
            return [(kind, config)]
        kind, config = _inner(config.get("cell"))
        many = config.get("cells") if kind == "StackedRNNCells" else None
        cells = [_inner(one) for one in many] if isinstance(many, list) else [(kind, config)]
        return [(kind.removesuffix("Cell"), config) for kind, config in cells]

    @property
    def backwards(self) -> bool:
        """Whether its outputs, or those of a Bidirectional's forward layer, are in reverse order.

        Raises:
          ValueError: for a Bidirectional that goes backward first.
        """
        backwards = bool(self.directions[0][1].get("go_backwards"))
        if backwards and self.kind == "Bidirectional":
            raise ValueError(
                f"model_config: {self}: go_backwards of the forward layer has no counterpart; load "
                "each direction by its prefix, and run and join them yourself"
            )
        return backwards

    @property
    def merge(self) -> str:
        """How its directions are joined, as `jaxrnn.bidirectional` calls it."""
        mode = self.config.get("merge_mode", "concat")
        if not isinstance(mode, str) or mode not in MERGES:
            raise ValueError(
                f"model_config: {self}: merge_mode: expected one of {sorted(MERGES)}, got {mode!r},"
                " which has no counterpart; load each direction by its prefix"
            )
        return MERGES[mode]

    def __str__(self) -> str:
        return "/".join(self.names)


def _inner(layer: Any) -> tuple[str, Mapping[str, Any]]:
    if not isinstance(layer, Mapping) or not isinstance(layer.get("config"), Mapping):
        return "", {}
    return str(layer.get("class_name")), layer["config"]


def config_text(config: Any, version: Any = None) -> str | None:
    """A configuration as `jaxrnn.interop.read` hands it on, with the version of Keras in it.

    Returns:
      JSON, or None if it is none of a model.
    """
    try:
        parsed = _parsed(config)
    except ValueError:
        return None
    if version is not None:
        version = version.decode() if isinstance(version, bytes) else str(version)
        parsed.setdefault("keras_version", version)
    return json.dumps(parsed)


def _parsed(config: Any) -> dict[str, Any]:
    config = config.item() if isinstance(config, np.ndarray | np.generic) else config
    try:
        parsed = json.loads(config) if isinstance(config, str | bytes) else config
    except (ValueError, RecursionError) as error:
        raise ValueError(f"model_config: expected JSON: {error}") from error
    if not isinstance(parsed, Mapping) or not isinstance(parsed.get("config"), Mapping | list):
        raise ValueError("model_config: expected the configuration of a model")
    return dict(parsed)


def describe_layers(config: Any) -> list[Described]:
    """The layers of a configuration in its order, those of models in it where these stand.

    Args:
      config: JSON, as a string or an array of one, or what it parses to.

    Raises:
      ValueError: if it is no configuration.

    Example:
      >>> from jaxrnn.interop.keras_config import describe_layers
      >>> lstm = {"class_name": "LSTM", "config": {"name": "encoder", "units": 5}}
      >>> model = {"class_name": "Sequential", "config": {"name": "m", "layers": [lstm]}}
      >>> [(str(layer), layer.path) for layer in describe_layers(model)]
      [('encoder', 'layers/lstm')]
    """
    parsed = _parsed(config)
    version = re.match(r"\d+", str(parsed.get("keras_version", "3" if "module" in parsed else "")))
    try:
        return list(_walk(parsed, (), "", int(version[0]) if version else 0))
    except RecursionError as error:
        raise ValueError("model_config: nested too deeply") from error


def _walk(
    model: Mapping[str, Any], names: tuple[str, ...], path: str, version: int
) -> Iterator[Described]:
    inside = model["config"]  # which once was the list of layers itself
    layers = inside if isinstance(inside, list) else inside.get("layers")
    count: dict[str, int] = {}
    for layer in layers if isinstance(layers, list) else ():
        if not isinstance(layer, Mapping) or not isinstance(layer.get("config"), Mapping | list):
            continue
        kind, config = str(layer.get("class_name")), layer["config"]
        snake = file_name(kind, count)
        place = f"{path}layers/{snake}"
        given = config.get("name") if isinstance(config, Mapping) else None
        mine = (*names, str(layer.get("name") or given or snake))
        while kind not in (*BLOCKS, "RNN", "Bidirectional") and _inner(_wrapped(config))[0]:
            kind, config = _inner(_wrapped(config))  # of a TimeDistributed and its like
            place += "/layer"
        if isinstance(config, list) or "layers" in config:
            yield from _walk({"config": config}, mine, place + "/", version)
        else:
            yield Described(mine, place, kind, config, version)


def _wrapped(config: Any) -> Any:
    return config.get("layer") if isinstance(config, Mapping) else None


def file_name(kind: str, count: dict[str, int]) -> str:
    """What Keras calls the next object of a class in its files, and counts it."""
    snake = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", kind))
    snake = re.sub(r"([a-z])([A-Z])", r"\1_\2", snake).lower()
    count[snake] = number = count.get(snake, -1) + 1
    return snake + f"_{number}" * bool(number)


def options(layer: Described, kind: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a cell's constructor is given for one cell of a layer.

    Raises:
      ValueError: for a class, activation or option that has no counterpart.

    Example:
      >>> from jaxrnn.interop.keras_config import Described, options
      >>> layer = Described(("gru",), "layers/gru", "GRU", {"recurrent_activation": "hard_sigmoid",
      ...                   "reset_after": False}, version=2)
      >>> options(layer, layer.kind, layer.config)["gate_activation"]
      'hard_sigmoid'
    """
    if kind not in BLOCKS:
        raise ValueError(
            f"model_config: {layer}: {kind or 'it'} has no counterpart; expected one of "
            f"{sorted(BLOCKS)}, an RNN of such cells, or a Bidirectional of one"
        )
    phi = _activation(layer, "activation", config.get("activation", "tanh"))
    if BLOCKS[kind] == 1:
        return {"activation": phi}
    gates = config.get("recurrent_activation", "sigmoid")
    own = {
        "gate_activation": _activation(layer, "recurrent_activation", gates),
        "candidate_activation": phi,
    }
    if BLOCKS[kind] == 4:
        return {**own, "output_activation": phi}
    after = config.get("reset_after", True if kind == "CuDNNGRU" else None)
    return own if after is None else {**own, "reset": "after" if after else "before"}


def _activation(layer: Described, argument: str, name: Any) -> Any:
    if name is None:
        return "identity"
    if name == "hard_sigmoid" and layer.version:
        return HARD_SIGMOIDS[2 if layer.version < 3 else 3]
    if not isinstance(name, str) or name not in ACTIVATIONS:
        hint = ""
        if name == "hard_sigmoid":
            hint = ": those of Keras 2 and 3 differ, and there is no keras_version beside it"
        raise ValueError(
            f"model_config: {layer}: {argument}: expected one of "
            f"{sorted([*ACTIVATIONS, 'hard_sigmoid'])}, got {name!r}{hint}; make the cell with a "
            "function of your own, and leave model_config out to load its arrays"
        )
    return ACTIVATIONS[name]
