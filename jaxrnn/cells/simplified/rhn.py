"""The recurrent highway network: several small steps of the state for each of the input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp

from jaxrnn import initializers
from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, linear
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams
from jaxrnn.cells.simplified.shared import at_most_one
from jaxrnn.checks import check_bool, check_positive

__all__ = ["RHNSpec", "make_rhn", "rhn"]


class RHNSpec(NamedTuple):
    """What `make_rhn` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.rhn.spec.depth
      2
    """

    depth: int = 2
    coupled: bool = True
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_rhn(**self._asdict())


@documented
def make_rhn(
    *, depth: int = 2, coupled: bool = True, use_bias: bool = True
) -> Cell[SimplifiedParams, Array]:
    r"""A recurrent highway network.

    .. math::
        n_l &= \tanh([l = 1]\, W_n x_t + R_{n,l}\, s_{l-1} + b_{n,l}) \\
        k_l &= \sigma([l = 1]\, W_k x_t + R_{k,l}\, s_{l-1} + b_{k,l}) \\
        s_l &= k_l \odot n_l + c_l \odot s_{l-1}, \quad l = 1 \dots L

    with :math:`s_0 = h_{t-1}`, :math:`h_t = s_L` and :math:`c_l = 1 - k_l`, or a gate of its own,
    :math:`c_l = \sigma(\dots)`, if not coupled. The carry is h, ``(*batch, H)``, and so is the
    output. All small steps but the first have their product inside the loop's update.

    Args:
      depth: L, how many small steps there are.
      coupled: whether what is kept is 1 − what is written, as in the paper's experiments.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order n, k, or n, k, c if not coupled:
      W has those once, R and b for each small step in turn. Its ``init`` takes ``kernel_init``
      (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (0 for n, −2 for k, 2 for c) and
      ``use_bias``. Its gates are those of all small steps, ``(*batch, L, H)``.

    Raises:
      ValueError: for a depth below 1.
      TypeError: for one that is no int.

    Source: Zilly et al. (2017), Recurrent highway networks, arXiv:1607.03474.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_rhn(depth=4)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> params.input_kernel.shape, params.recurrent_kernel.shape
      ((3, 10), (5, 40))
    """
    check_positive("depth", depth)
    check_bool("coupled", coupled)
    check_bool("use_bias", use_bias)
    spec, kinds = RHNSpec(depth, coupled, use_bias), "ts" if coupled else "tss"

    def block(params: SimplifiedParams, number: int) -> tuple[Array, Array | None]:
        """R and b of a small step."""
        width = len(kinds) * params.recurrent_kernel.shape[0]
        at = slice(number * width, (number + 1) * width)
        return params.recurrent_kernel[:, at], None if params.bias is None else params.bias[at]

    def project(params: SimplifiedParams, x: Array) -> Array:
        return linear(x, params.input_kernel, block(params, 0)[1])

    def recurrent(params: SimplifiedParams, h: Array) -> Array:
        return linear(h, block(params, 0)[0])

    def small_steps(
        params: SimplifiedParams, h: Array, z: Array
    ) -> Iterator[tuple[Array, Mixture]]:
        s = h.astype(z.dtype)
        for number in range(depth):
            if number:
                z = linear(s.astype(h.dtype), *block(params, number))
            n, k, *c = gates(z, kinds)
            mixture = Mixture(c[0] if c else 1 - k, k, n)
            s = mixture.keep * s + k * n
            yield s, mixture

    def update(params: SimplifiedParams, h: Array, z: Array) -> Array:
        *_, (s, _) = small_steps(params, h, z)
        return s.astype(h.dtype)

    def mixtures(params: SimplifiedParams, h: Array, z: Array) -> Mixture:
        every = [mixture for _, mixture in small_steps(params, h, z)]
        return Mixture(*(jnp.stack(parts, axis=-2) for parts in zip(*every, strict=True)))

    def bounds(params: SimplifiedParams, start: Array, count: Any) -> Array:
        return start + depth * count

    each = [initializers.zeros, initializers.constant(-2.0), initializers.constant(2.0)]
    k = len(kinds)
    return Cell(
        name_of("rhn", spec),
        drawn(
            SimplifiedParams,
            (k, depth * k, depth * k),
            bias=each[:k] * depth,
            biases=use_bias,
        ),
        zero_carry,
        project,
        recurrent,
        update,
        gates=mixtures,
        bounds=at_most_one if coupled else bounds,
        spec=spec,
    )


rhn = make_rhn()
r"""The recurrent highway network of two small steps, coupled.

.. math::
    s_l = k_l \odot n_l + (1 - k_l) \odot s_{l-1}, \quad s_0 = h_{t-1}, \quad h_t = s_2

Params `SimplifiedParams`, carry and output h; see `make_rhn` for n and k. Source: Zilly et al.
(2017), arXiv:1607.03474.
"""
