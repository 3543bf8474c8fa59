"""The activations that an ONNX node may ask for, as functions that compare equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxrnn.base import Array

__all__ = ["FUNCTIONS", "KNOWN", "Activation", "activations"]

FUNCTIONS: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "Affine": (lambda x, alpha, beta: alpha * x + beta, (1.0, 0.0)),
    "Elu": (lambda x, alpha: jnp.where(x >= 0, x, alpha * jnp.expm1(jnp.minimum(x, 0))), (1.0,)),
    "HardSigmoid": (lambda x, alpha, beta: jnp.clip(alpha * x + beta, 0, 1), (0.2, 0.5)),
    "LeakyRelu": (lambda x, alpha: jnp.where(x >= 0, x, alpha * x), (0.01,)),
    "Relu": (jax.nn.relu, ()),
    "ScaledTanh": (lambda x, alpha, beta: alpha * jnp.tanh(beta * x), (1.0, 1.0)),
    "Sigmoid": (jax.nn.sigmoid, ()),
    "Softplus": (jax.nn.softplus, ()),
    "Softsign": (lambda x: x / (1 + jnp.abs(x)), ()),
    "Tanh": (jnp.tanh, ()),
    "ThresholdedRelu": (lambda x, alpha: jnp.where(x >= alpha, x, 0), (1.0,)),
}
"""ONNX's activations: the function, and its alpha and beta by default."""

_SPELLED = {name.lower(): name for name in FUNCTIONS}


class Activation(NamedTuple):
    """An activation of a node, equal to another of the same numbers.

    Attributes:
      name: what ONNX calls it.
      values: alpha and beta, as far as it has them.
      clip: a bound on its input, or None.

    Example:
      >>> from jaxrnn.interop.onnx_activations import Activation
      >>> float(Activation("LeakyRelu", (0.5,))(-2.0))
      -1.0
    """

    name: str
    values: tuple[float, ...] = ()
    clip: float | None = None

    def __call__(self, x: Array) -> Array:
        """The activation of x."""
        x = x if self.clip is None else jnp.clip(x, -self.clip, self.clip)
        return FUNCTIONS[self.name][0](x, *self.values)

    @property
    def option(self) -> str | Activation:
        """What `jaxrnn.make_gru` and its like take: the name here of those that have one."""
        return {phi: name for name, phi in KNOWN.items()}.get(self, self)


KNOWN = {
    "hard_sigmoid": Activation("HardSigmoid", (0.2, 0.5)),
    "identity": Activation("Affine", (1.0, 0.0)),
    "relu": Activation("Relu"),
    "sigmoid": Activation("Sigmoid"),
    "tanh": Activation("Tanh"),
}
"""The activations that have a name in jaxrnn."""


def activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], clip: float | None
) -> list[Activation]:
    """The activations of a node.

    Args:
      names: ONNX's names, in any case.
      alphas: ``activation_alpha``, used up in order by the functions that have an alpha;
        afterwards, the defaults.
      betas: ``activation_beta``, alike.
      clip: a bound on the inputs, or None.

    Raises:
      ValueError: for an unknown name.

    Example:
      >>> from jaxrnn.interop.onnx_activations import activations
      >>> activations(["LeakyRelu", "Tanh"], [0.5], [], None)[0].values
      (0.5,)
    """
    given = (list(alphas), list(betas))
    made = []
    for name in names:
        spelled = _SPELLED.get(name.lower())
        if spelled is None:
            raise ValueError(f"activations: expected some of {sorted(FUNCTIONS)}, got {name!r}")
        values = [
            default if not own or _single(got := own.pop(0)) == _single(default) else got
            for own, default in zip(given, FUNCTIONS[spelled][1], strict=False)
        ]
        made.append(Activation(spelled, tuple(values), clip))
    return made


def _single(value: float) -> float:
    """As a file holds it."""
    return float(np.float32(value))
