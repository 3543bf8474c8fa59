r"""Initialisers for kernels and biases, and how a block of gates uses them.

An initialiser is ``init(key, shape, dtype) -> array`` as in `jax.nn.initializers`, so any
of those can be given as well. It is called once *per gate block*, with kernels ``(in, H)``
and biases ``(H,)``, and the blocks are concatenated: an orthogonal recurrent kernel is
orthogonal for each gate, and a fan is the fan of one gate. Where an argument is handed to
`blocks`, a sequence of one initialiser per gate will do as well, and so will a `Joint` for
blocks that depend on each other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.base import Array, DType

__all__ = [
    "Initializer",
    "Joint",
    "blocks",
    "chrono",
    "constant",
    "gain",
    "glorot",
    "identity",
    "orthogonal",
    "scaled",
    "torch_uniform",
    "zeros",
]

Initializer = Callable[[Array, tuple[int, ...], DType], Array]
"""``init(key, shape, dtype) -> array``, as in `jax.nn.initializers`."""

zeros: Initializer = jax.nn.initializers.zeros
"""All zero, the usual bias."""

glorot: Initializer = jax.nn.initializers.glorot_uniform()
r"""Uniform on ±√(6 / (fan_in + fan_out)) (Glorot and Bengio, 2010)."""


def orthogonal(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    r"""A random matrix with orthonormal rows or columns, :math:`Q^\top Q = I`, uniformly drawn.

    .. math:: Q = H_1 H_2 \cdots H_k = I - V\, S^{-1} V^\top

    where the reflection :math:`H_j` takes a Gaussian vector of n - j + 1 entries to an axis, V
    holds their normals, and S is the part of :math:`V^\top V` above the diagonal with half of
    the diagonal. Drawn in float32 at least, so that half-precision kernels are orthogonal to
    their own rounding.

    It is `jax.nn.initializers.orthogonal` in distribution, but calls no LAPACK: on a CPU of two
    cores, several QR factorisations in one compiled function wait for each other for ever
    (jaxlib 0.10.2), and a network has one for each gate.

    Args:
      key: a PRNG key.
      shape: ``(in, out)``.
      dtype: the dtype returned.

    Raises:
      ValueError: for another number of axes than two.

    Source: Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics
    of learning in deep linear neural networks; Stewart (1980), The efficient generation of
    random orthogonal matrices; Puglisi (1992), Modification of the Householder method based on
    the compact WY representation, for S.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxrnn.initializers import orthogonal
      >>> q = orthogonal(jax.random.key(0), (4, 4))
      >>> bool(jnp.allclose(q.T @ q, jnp.eye(4), atol=1e-6))
      True
    """
    if len(shape) != 2:
        raise ValueError(f"shape: expected (in, out), got {shape}")
    return _orthogonal(key, tuple(shape), jnp.dtype(dtype))


@partial(jax.jit, static_argnums=(1, 2))
def _orthogonal(key: Array, shape: tuple[int, ...], dtype: DType) -> Array:
    wide = np.promote_types(dtype, np.float32)
    n, k = max(shape), min(shape)
    x = jnp.tril(jax.random.normal(key, (n, k), wide))
    eye = jnp.eye(n, k, dtype=wide)
    sign = jnp.where(jnp.diagonal(x) < 0, -1, 1).astype(wide)
    v = x + eye * (sign * jnp.linalg.norm(x, axis=0))[None]
    product = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    squares = product(v.T, v)
    s = jnp.triu(squares) - jnp.diag(jnp.diagonal(squares) / 2)
    y = lax.linalg.triangular_solve(s, v[:k].T, left_side=True)
    q = -sign[None] * (eye - product(v, y))
    return (q if shape == (n, k) else q.T).astype(dtype)


def torch_uniform(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    r"""Uniform on ±1/√H, H = ``shape[-1]``: what ``torch.nn`` uses for every weight and bias.

    Args:
      key: a PRNG key.
      shape: ``(in, H)`` or ``(H,)``.
      dtype: the dtype returned.

    Example:
      >>> import jax
      >>> from jaxrnn.initializers import torch_uniform
      >>> bool((abs(torch_uniform(jax.random.key(0), (3, 16))) <= 0.25).all())
      True
    """
    bound = shape[-1] ** -0.5 if shape[-1] else 0.0
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def identity(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
    """The identity matrix: a recurrent kernel that starts as a perfect memory.

    Args:
      key: unused.
      shape: ``(H, H)``.
      dtype: the dtype returned.

    Source: Le, Jaitly and Hinton (2015), A simple way to initialize recurrent networks of
    rectified linear units.

    Example:
      >>> from jaxrnn.initializers import identity
      >>> identity(None, (2, 2)).tolist()
      [[1.0, 0.0], [0.0, 1.0]]
    """
    del key
    return jnp.eye(*shape, dtype=dtype)


def constant(value: float) -> Initializer:
    """An initialiser that fills with one value.

    Args:
      value: the value.

    Example:
      >>> from jaxrnn.initializers import constant
      >>> constant(1.0)(None, (2,), "float32").tolist()
      [1.0, 1.0]
    """
    return jax.nn.initializers.constant(value)


_GAINS = {"identity": 1.0, "sigmoid": 1.0, "tanh": 5 / 3, "relu": math.sqrt(2)}


def gain(activation: str) -> float:
    r"""The factor by which a kernel makes up for what its activation does to the variance.

    1 for the identity and the logistic, 5/3 for tanh, √2 for relu: the values of
    ``torch.nn.init.calculate_gain``.

    Args:
      activation: ``"identity"``, ``"sigmoid"``, ``"tanh"`` or ``"relu"``.

    Raises:
      ValueError: for another name.

    Source: He et al. (2015), Delving deep into rectifiers, arXiv:1502.01852, for √2.

    Example:
      >>> from jaxrnn.initializers import gain
      >>> round(gain("relu"), 4)
      1.4142
    """
    if activation not in _GAINS:
        raise ValueError(f"activation: expected one of {sorted(_GAINS)}, got {activation!r}")
    return _GAINS[activation]


def scaled(init: Initializer, factor: float) -> Initializer:
    """An initialiser that multiplies what another one draws.

    Args:
      init: the other.
      factor: by what, such as `gain`.

    Example:
      >>> from jaxrnn.initializers import gain, identity, scaled
      >>> scaled(identity, 0.5)(None, (2, 2)).tolist()
      [[0.5, 0.0], [0.0, 0.5]]
    """

    def init_scaled(key: Array, shape: tuple[int, ...], dtype: DType = jnp.float32) -> Array:
        return init(key, shape, dtype) * factor

    return init_scaled


class Joint(NamedTuple):
    """An initialiser of all gates at once, for blocks that depend on each other.

    Attributes:
      draw: ``draw(key, shape, gates, dtype) -> array``: shape is that of one gate's block, the
        array ``(*shape[:-1], gates * shape[-1])``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.initializers import Joint, blocks
      >>> ramp = Joint(lambda key, shape, gates, dtype: jnp.arange(gates * shape[-1], dtype=dtype))
      >>> blocks(ramp, None, (2,), 3).tolist()
      [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    """

    draw: Callable[[Array, tuple[int, ...], int, DType], Array]


def chrono(t_max: float, *, gates: str = "ifgo") -> Joint:
    r"""Biases for memories that last up to t_max steps.

    .. math:: b_f = \log u,\quad b_i = -b_f,\quad u \sim U[1,\, t_{max} - 1]

    A forget gate with this bias keeps a value for about u steps. Give it as ``bias_init``,
    with ``forget_bias=0.0``, which would come on top.

    Args:
      t_max: the longest dependency expected, in steps, at least 2.
      gates: the role of each block of the cell: f for one that keeps the old state, i for one
        that writes the new; the biases of others are zero. ``"igo"`` fits coupled gates.

    Returns:
      A `Joint` initialiser of biases.

    Raises:
      ValueError: for a `t_max` below 2; when drawn, if the cell has not one block per letter.

    Source: Tallec and Ollivier (2018), Can recurrent neural networks warp time?,
    arXiv:1804.11188.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.initializers import chrono
      >>> key = jax.random.key(0)
      >>> params = jaxrnn.lstm.init(key, 3, 5, bias_init=chrono(100), forget_bias=0.0)
      >>> i, f, g, o = params.bias.reshape(4, 5)
      >>> bool((f >= 0).all()), bool((i == -f).all())
      (True, True)
    """
    if not t_max >= 2:
        raise ValueError(f"t_max: expected at least 2 steps, got {t_max}")
    letters = gates

    def draw(key: Array, shape: tuple[int, ...], gates: int, dtype: DType) -> Array:
        if len(letters) != gates:
            raise ValueError(f"gates: expected one letter per block ({gates}), got {letters!r}")
        keep = jnp.log(jax.random.uniform(key, shape, dtype, 1.0, t_max - 1.0))
        roles = {"f": keep, "i": -keep}
        return jnp.concatenate([roles.get(name, jnp.zeros_like(keep)) for name in letters], -1)

    return Joint(draw)


def blocks(
    init: Initializer | Sequence[Initializer] | Joint,
    key: Array,
    shape: tuple[int, ...],
    gates: int,
    dtype: DType = jnp.float32,
) -> Array:
    """One block per gate, each drawn with its own key, joined along the last axis.

    Args:
      init: one initialiser for all gates, a sequence of one per gate, or a `Joint`.
      key: a PRNG key, split between the gates.
      shape: the shape of one gate's block, ``(in, H)`` or ``(H,)``.
      gates: how many gates.
      dtype: the dtype returned.

    Returns:
      An array ``(*shape[:-1], gates * shape[-1])``.

    Raises:
      TypeError: for a name in the place of an initialiser.
      ValueError: if a sequence of initialisers has not one per gate.

    Example:
      >>> import jax
      >>> from jaxrnn.initializers import blocks, orthogonal
      >>> blocks(orthogonal, jax.random.key(0), (5, 5), 4).shape
      (5, 20)
    """
    if isinstance(init, Joint):
        return init.draw(key, shape, gates, dtype)
    if isinstance(init, str):
        raise TypeError(
            f"init: expected an initializer, such as jaxrnn.initializers.glorot, got {init!r}"
        )
    if gates == 1 and callable(init):
        return init(key, shape, dtype)
    inits = [init] * gates if callable(init) else list(init)
    if len(inits) != gates:
        raise ValueError(f"init: expected one initializer per gate ({gates}), got {len(inits)}")
    keys = jax.random.split(key, gates)
    parts = [one(k, shape, dtype) for one, k in zip(inits, keys, strict=True)]
    return jnp.concatenate(parts, axis=-1)
