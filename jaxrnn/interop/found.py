"""What is found in a whole model: one record for each recurrent layer or node."""

from __future__ import annotations

from typing import Any, NamedTuple

from jaxrnn.base import Cell, Layer, PyTree

__all__ = ["Found"]


class Found(NamedTuple):
    """A recurrent node of an ONNX model, or layer of a Keras model.

    Attributes:
      name: what it is called there.
      network: its cell, both directions of one, or stack.
      params: the parameters.
      carry: the initial carry that the model itself holds, or None: zero, or an input.
      attributes: what the model says of it. With ``direction: "reverse"`` (ONNX) or
        ``go_backwards: True`` (Keras, which also leaves the outputs in that order) it is run by
        ``jaxrnn.scan(network, params, xs, carry, reverse=True)``.

    Example:
      >>> import jax, jaxrnn
      >>> model = jaxrnn.interop.onnx.export(jaxrnn.gru, jaxrnn.gru.init(jax.random.key(0), 3, 5))
      >>> [found.network.name for found in jaxrnn.interop.onnx.networks(model)]
      ['gru']
    """

    name: str
    network: Cell | Layer
    params: PyTree
    carry: Any
    attributes: dict[str, Any]
