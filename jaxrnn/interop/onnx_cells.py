"""Cells with whatever activations an ONNX node asks for, on the parameters of the core's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import jax
import jax.numpy as jnp

import jaxrnn
from jaxrnn.base import Array, Carry, Cell, Params, PyTree
from jaxrnn.cells.blocks import linear
from jaxrnn.interop import structure

__all__ = ["activations", "make"]

Phi = Callable[[Array], Array]

FUNCTIONS: dict[str, tuple[Callable[..., Array], tuple[float, ...]]] = {
    "affine": (lambda x, alpha, beta: alpha * x + beta, (1.0, 0.0)),
    "elu": (lambda x, alpha: jnp.where(x >= 0, x, alpha * jnp.expm1(jnp.minimum(x, 0))), (1.0,)),
    "hardsigmoid": (lambda x, alpha, beta: jnp.clip(alpha * x + beta, 0, 1), (0.2, 0.5)),
    "leakyrelu": (lambda x, alpha: jnp.where(x >= 0, x, alpha * x), (0.01,)),
    "relu": (jax.nn.relu, ()),
    "scaledtanh": (lambda x, alpha, beta: alpha * jnp.tanh(beta * x), (1.0, 1.0)),
    "sigmoid": (jax.nn.sigmoid, ()),
    "softplus": (jax.nn.softplus, ()),
    "softsign": (lambda x: x / (1 + jnp.abs(x)), ()),
    "tanh": (jnp.tanh, ()),
    "thresholdedrelu": (lambda x, alpha: jnp.where(x >= alpha, x, 0), (1.0,)),
}
"""ONNX's activations in lower case: the function, and its alpha and beta by default."""


@cache
def _phi(name: str, values: tuple[float, ...], clip: float | None) -> Phi:
    function = FUNCTIONS[name][0]
    if not values and clip is None:
        return function
    bound = jnp.inf if clip is None else clip
    return lambda x: function(jnp.clip(x, -bound, bound), *values)


def activations(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], clip: float | None
) -> list[Phi]:
    """The functions of a node's activations, the same ones for the same arguments.

    Args:
      names: ONNX's names, in any case.
      alphas: ``activation_alpha``, used up in order by the functions that have an alpha;
        afterwards, the defaults.
      betas: ``activation_beta``, alike.
      clip: a bound on the inputs, or None.

    Raises:
      ValueError: for an unknown name.

    Example:
      >>> from jaxrnn.interop.onnx_cells import activations
      >>> float(activations(["LeakyRelu"], [0.5], [], None)[0](-2.0))
      -1.0
    """
    given = (list(alphas), list(betas))
    functions = []
    for name in names:
        if name.lower() not in FUNCTIONS:
            raise ValueError(f"activations: expected some of {sorted(FUNCTIONS)}, got {name!r}")
        defaults = FUNCTIONS[name.lower()][1]
        values = [
            own.pop(0) if own else default for own, default in zip(given, defaults, strict=False)
        ]
        functions.append(_phi(name.lower(), tuple(values), clip))
    return functions


@cache
def make(
    kind: str,
    phis: tuple[Phi, ...],
    *,
    peepholes: bool = False,
    coupled: bool = False,
    reset: Literal["before", "after"] = "before",
    bounded: Phi | None = None,
) -> Cell:
    """The cell of an ONNX node.

    Args:
      kind: ``"elman"``, ``"gru"`` or ``"lstm"``.
      phis: its activations: f of an elman; f, g of a GRU; f, g, h of an LSTM.
      peepholes: whether an LSTM has them.
      coupled: whether an LSTM's forget gate is 1 - i.
      reset: ``"before"`` or ``"after"`` the product, of a GRU.
      bounded: h with no bound on its input, where the node has one.

    Returns:
      A cell of the core where it has one, else one with the same parameters.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop.onnx_cells import make
      >>> make("gru", (jax.nn.sigmoid, jax.numpy.tanh), reset="after").name
      'gru'
    """
    if kind == "elman":
        return jaxrnn.make_elman(activation=phis[0])
    if kind == "gru":
        base = jaxrnn.make_gru(reset=reset)
        if phis == (jax.nn.sigmoid, jnp.tanh):
            return base
        names = {"gate_activation": phis[0], "candidate_activation": phis[1]}
        return _gru(base._replace(options=(*base.options, *names.items())), *phis)
    phis = phis if bounded is None else (*phis[:2], bounded)
    base = jaxrnn.make_lstm(
        peepholes="diagonal" if peepholes else None,
        forget_gate="coupled" if coupled else True,
        candidate_activation=phis[1],
        output_activation=phis[2],
    )
    if phis[0] is jax.nn.sigmoid:
        return base
    return _lstm(base._replace(options=(*base.options, ("gate_activation", phis[0]))), *phis)


def _gru(base: Cell, phi_f: Phi, phi_g: Phi) -> Cell:
    after = structure.option(base, "reset") == "after"

    def update(params: Params, h: Array, zx: Any, zh: Any) -> tuple[Array, Array]:
        r, z = jnp.split(phi_f(zx.rz + (zh.rz if after else zh)), 2, axis=-1)
        if after:
            n = phi_g(zx.n + r * zh.n)
        else:
            kernel = params.recurrent_kernel[:, 2 * h.shape[-1] :]
            n = phi_g(zx.n + linear((r * h).astype(h.dtype), kernel))
        h = (z * h + (1 - z) * n).astype(h.dtype)
        return h, h

    return base._replace(update=update, gates=None)


def _lstm(base: Cell, phi_f: Phi, phi_g: Phi, phi_h: Phi) -> Cell:
    coupled = structure.option(base, "forget_gate") == "coupled"
    names = "igo" if coupled else "ifgo"

    def update(params: Params, carry: Carry, zx: PyTree, zh: PyTree) -> tuple[Carry, Array]:
        z = dict(zip(names, jnp.split(zx + zh, len(names), axis=-1), strict=True))
        i = phi_f(z["i"])
        f = 1 - i if coupled else phi_f(z["f"])
        c = f * carry.c + i * phi_g(z["g"])
        if structure.option(base, "peepholes"):
            size = c.shape[-1]
            z["o"] += params.peephole_kernel[-size:].astype(c.dtype) * c
        h = (phi_f(z["o"]) * phi_h(c)).astype(carry.h.dtype)
        return carry._replace(h=h, c=c), h

    return base._replace(update=update, gates=None)
