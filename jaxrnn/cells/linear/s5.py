"""S5: a diagonal state space model as a cell."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxrnn.base import Array, Cell, DType, documented, name_of, split
from jaxrnn.cells.blocks import like, wide
from jaxrnn.cells.linear.common import linear_cell
from jaxrnn.cells.linear.complex_parts import (
    ComplexInput,
    check_square,
    complex_product,
    complex_read,
    complex_state,
    normal,
)
from jaxrnn.checks import check_bool, check_choice, check_positive, sized

__all__ = ["S5Params", "S5Spec", "hippo", "make_s5", "s5"]

Discretization = Literal["zoh", "bilinear"]


class S5Params(NamedTuple):
    r"""Parameters of a diagonal state space model, all real.

    Attributes:
      eigenvalue_real: Re Λ, ``(N,)``.
      eigenvalue_imag: Im Λ, ``(N,)``.
      step_log: log Δ, ``(N,)``.
      input_kernel: the real and the imaginary part of B side by side, ``(D, 2N)``.
      output_kernel: those of C, ``(N, 2H)``.
      skip: d, ``(H,)``, or None.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import s5
      >>> s5.init(jax.random.key(0), 4, 4).eigenvalue_imag.shape
      (4,)
    """

    eigenvalue_real: Array
    eigenvalue_imag: Array
    step_log: Array
    input_kernel: Array
    output_kernel: Array
    skip: Array | None = None


class S5Spec(NamedTuple):
    """What `make_s5` was given.

    Example:
      >>> from jaxrnn.cells.linear import s5
      >>> s5.spec.discretization
      'zoh'
    """

    state_size: int | None = None
    discretization: Discretization = "zoh"
    conjugate: bool = True
    blocks: int = 1
    clip: bool = False
    skip: bool = True

    def make(self) -> Cell[S5Params, Array]:
        """The cell."""
        return make_s5(**self._asdict())


@documented
def make_s5(
    *,
    state_size: int | None = None,
    discretization: Discretization = "zoh",
    conjugate: bool = True,
    blocks: int = 1,
    clip: bool = False,
    skip: bool = True,
) -> Cell[S5Params, Array]:
    r"""A diagonal state space model, :math:`\dot s = \Lambda s + B x`, taken in steps of Δ.

    .. math::
        \bar\Lambda &= e^{\Lambda \Delta},\quad \bar B = \Lambda^{-1} (\bar\Lambda - 1) B
            && \text{zoh} \\
        \bar\Lambda &= \frac{1 + \Lambda \Delta / 2}{1 - \Lambda \Delta / 2},\quad
            \bar B = \frac{\Delta}{1 - \Lambda \Delta / 2} B && \text{bilinear} \\
        s_t &= \bar\Lambda \odot s_{t-1} + x_t \bar B \\
        y_t &= 2\, \mathrm{Re}(s_t C) + d \odot x_t && \text{or 1 in place of 2}

    The carry is s, ``(*batch, N)``, complex, complex64 at least; the output ``(*batch, H)`` is
    real. With conjugate symmetry each number kept stands for itself and its conjugate, so that a
    real system of order 2N is meant, and 2 Re is the read-out.

    Args:
      state_size: N, H if None.
      discretization: ``"zoh"``, an input held constant over the step, or ``"bilinear"``.
      conjugate: whether the states come in conjugate pairs of which one is kept.
      blocks: how many times the matrix of the initialisation is repeated down the diagonal.
      clip: whether Re Λ is held at -1e-4 at most.
      skip: whether the input goes past the state too, which needs D = H.

    Returns:
      A `Cell` with `S5Params` and coefficients. Its ``init`` takes ``min_step`` (0.001) and
      ``max_step`` (0.1), between which Δ is drawn, uniformly in its logarithm. It starts with the
      eigenvalues of the normal part of HiPPO-LegS (see `hippo`), B and C normal of variance 1 over
      their rows in the basis of its eigenvectors, d standard normal.

    Raises:
      TypeError: for sizes that are not ints.
      ValueError: for sizes below 1 or another discretisation; from ``init``, for D ≠ H where there
        is a skip, or an N that is no multiple of the blocks.

    Source: Smith, Warrington and Linderman (2023), Simplified state space layers for sequence
    modeling, arXiv:2208.04933.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_s5
      >>> cell = make_s5(state_size=8, blocks=2)
      >>> params = cell.init(jax.random.key(0), 4, 4)
      >>> s, y = cell.step(params, cell.carry(params), jax.numpy.ones(4))
      >>> s.shape, y.shape
      ((8,), (4,))
    """
    if state_size is not None:
        check_positive("state_size", state_size)
    check_positive("blocks", blocks)
    check_choice("discretization", discretization, ("zoh", "bilinear"))
    for argument, value in (("conjugate", conjugate), ("clip", clip), ("skip", skip)):
        check_bool(argument, value)
    spec = S5Spec(state_size, discretization, conjugate, blocks, clip, skip)

    @sized
    def init(
        key: Array,
        input_size: int,
        hidden_size: int,
        *,
        dtype: DType = jnp.float32,
        min_step: float = 0.001,
        max_step: float = 0.1,
    ) -> S5Params:
        check_square("an S5", skip, input_size, hidden_size)
        size, keys, full = state_size or hidden_size, split(key, 4), wide(dtype)
        if size % blocks:
            raise ValueError(f"state_size: expected a multiple of blocks = {blocks}, got {size}")
        basis, eigenvalues = hippo(size // blocks, conjugate=conjugate)
        basis = np.kron(np.eye(blocks), basis)
        order = basis.shape[0]
        b = normal(keys[0], (input_size, order), 1 / input_size, full)
        b = _complex_matmul(b, jnp.zeros_like(b), basis.conj())
        c_re, c_im = (normal(k, (order, hidden_size), 1 / order, full) for k in split(keys[1], 2))
        c = [part.T for part in _complex_matmul(c_re.T, c_im.T, basis)]
        step_log = jax.random.uniform(
            keys[2], (size,), full, math.log(min_step), math.log(max_step)
        )
        rows = np.tile(eigenvalues, blocks)
        return S5Params(
            jnp.asarray(np.real(rows), dtype),
            jnp.asarray(np.imag(rows), dtype),
            step_log.astype(dtype),
            jnp.concatenate(b, -1).astype(dtype),
            jnp.concatenate(c, -1).astype(dtype),
            normal(keys[3], (hidden_size,), 1, dtype) if skip else None,
        )

    def discrete(params: S5Params) -> tuple[Array, Array]:
        """What the state and what the input is multiplied by."""
        real = wide(params.step_log.dtype)
        re, im, step = (row.astype(real) for row in params[:3])
        step = lax.complex(jnp.exp(step), jnp.zeros_like(step))
        eigenvalue = lax.complex(jnp.minimum(re, -1e-4) if clip else re, im)
        if discretization == "zoh":
            return jnp.exp(eigenvalue * step), jnp.expm1(eigenvalue * step) / eigenvalue
        half = eigenvalue * step / 2
        return (1 + half) / (1 - half), step / (1 - half)

    def project(params: S5Params, x: Array) -> ComplexInput:
        drive = complex_product(x, params.input_kernel)
        return ComplexInput(drive * like(discrete(params)[1], drive), x)

    def coefficients(params: S5Params, z: ComplexInput) -> tuple[Any, Any]:
        return like(discrete(params)[0], z.state), z.state

    def output(params: S5Params, s: Array, z: ComplexInput) -> Array:
        both = 2 * s if conjugate else s
        return complex_read(both, params.output_kernel, params.skip, z.x)

    name = name_of("s5", spec)
    return linear_cell(name, init, complex_state, project, coefficients, output, spec=spec)


def hippo(size: int, *, conjugate: bool = True) -> tuple[np.ndarray, np.ndarray]:
    r"""Eigenvectors and eigenvalues of the normal part of HiPPO-LegS.

    .. math::
        A_{nk} = -\tfrac12 \delta_{nk}
            - \tfrac12 \sqrt{(2n+1)(2k+1)}\, \mathrm{sign}(n - k)

    Args:
      size: how many to keep.
      conjugate: whether the matrix has twice that order, and of each conjugate pair the one with
        the negative imaginary part is kept.

    Returns:
      ``(vectors, values)``, ``(order, size)`` and ``(size,)``, complex.

    Source: Gu et al. (2020), HiPPO: recurrent memory with optimal polynomial projections,
    arXiv:2008.07669; Gupta, Gu and Berant (2022), Diagonal state spaces are as effective as
    structured state spaces, arXiv:2203.14343, for the part.

    Example:
      >>> from jaxrnn.cells.linear.s5 import hippo
      >>> hippo(1)[1].round(4).tolist()
      [(-0.5-0.866j)]
    """
    n = np.arange(2 * size if conjugate else size)
    root = np.sqrt(2 * n + 1)
    skew = -0.5 * np.outer(root, root) * np.sign(n[:, None] - n[None])
    values, vectors = np.linalg.eigh(-1j * skew)  # ascending: the negative ones first
    return vectors[:, :size], -0.5 + 1j * values[:size]


def _complex_matmul(re: Array, im: Array, other: np.ndarray) -> list[Array]:
    """(re + i im) @ other by its parts, in the precision there is."""
    p, q = (jnp.asarray(part, re.dtype) for part in (np.real(other), np.imag(other)))
    dot = lambda x, y: jnp.matmul(x, y, precision=lax.Precision.HIGHEST)  # noqa: E731
    return [dot(re, p) - dot(im, q), dot(re, q) + dot(im, p)]


s5 = make_s5()
r"""S5, a diagonal state space model with zero-order hold:
:math:`s_t = e^{\Lambda \Delta} \odot s_{t-1} + x_t \bar B`,
:math:`y_t = 2\, \mathrm{Re}(s_t C) + d \odot x_t`; D = H.

Params `S5Params`, carry s, complex. Source: Smith, Warrington and Linderman (2023), Simplified
state space layers for sequence modeling, arXiv:2208.04933.
"""
