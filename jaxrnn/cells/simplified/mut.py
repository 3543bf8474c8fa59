"""The three mutations of the GRU that a search over ten thousand architectures left."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of
from jaxrnn.cells.blocks import gates, like, linear, tanh, wide
from jaxrnn.cells.elman import zero_carry
from jaxrnn.cells.simplified.drawing import drawn
from jaxrnn.cells.simplified.records import Mixture, SimplifiedParams
from jaxrnn.cells.simplified.shared import at_most_one, mixed
from jaxrnn.checks import check_bool, check_choice

__all__ = ["MUTPreActivations", "MUTSpec", "make_mut", "mut1", "mut2", "mut3"]

INPUT, STATE = {1: "zr", 2: "zn", 3: "zrn"}, {1: "rn", 2: "zrn", 3: "zrn"}
"""The blocks of W and of R that each mutation has."""


class MUTPreActivations(NamedTuple):
    """Pre-activations of a mutation, ``(*batch, H)`` each.

    Attributes:
      z: of the update gate.
      r: of the reset gate.
      n: the candidate's part from the input.

    Example:
      >>> import jax, jaxrnn
      >>> params = jaxrnn.cells.mut3.init(jax.random.key(0), 3, 5)
      >>> jaxrnn.cells.mut3.project(params, jax.numpy.ones(3)).z.shape
      (5,)
    """

    z: Any = None
    r: Any = None
    n: Any = None


class MUTSpec(NamedTuple):
    """What `make_mut` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.cells.mut2.spec.mutation
      2
    """

    mutation: Literal[1, 2, 3] = 1
    use_bias: bool = True

    def make(self) -> Cell[SimplifiedParams, Array]:
        """The cell."""
        return make_mut(**self._asdict())


@documented
def make_mut(
    *, mutation: Literal[1, 2, 3] = 1, use_bias: bool = True
) -> Cell[SimplifiedParams, Array]:
    r"""One of the mutations of the GRU.

    .. math::
        z &= \sigma(W_z x_t + [\text{2}]\, R_z h_{t-1} + [\text{3}]\, R_z \tanh(h_{t-1}) + b_z) \\
        r &= \sigma([\text{1, 3}]\, W_r x_t + [\text{2}]\, x_t + R_r h_{t-1} + b_r) \\
        n &= \tanh([\text{1}]\, \tanh(x_t) + [\text{2, 3}]\, W_n x_t
            + R_n (r \odot h_{t-1}) + b_n) \\
        h_t &= (1 - z) \odot h_{t-1} + z \odot n

    where [ ] says which mutations have a term. The carry is h, ``(*batch, H)``, and so is the
    output. The candidate's product reads r, so it stays inside the loop's update, and so does
    that of tanh(h) of the third.

    Args:
      mutation: which. 1 and 2 add the input itself to the units: D = H.
      use_bias: whether ``init`` gives biases by default.

    Returns:
      A `Cell` with `SimplifiedParams`, the blocks in the order z, r, n without those that the
      mutation lacks: 1 has z, r of W and r, n of R; 2 has z, n of W. Its ``init`` takes
      ``kernel_init`` (glorot), ``recurrent_init`` (orthogonal), ``bias_init`` (zeros) and
      ``use_bias``, and refuses D ≠ H for 1 and 2.

    Raises:
      ValueError: for another mutation.

    Source: Jozefowicz, Zaremba and Sutskever (2015), An empirical exploration of recurrent
    network architectures.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.cells.make_mut(mutation=3)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_choice("mutation", mutation, (1, 2, 3))
    check_bool("use_bias", use_bias)
    spec, seen, read = MUTSpec(mutation, use_bias), INPUT[mutation], STATE[mutation]

    def project(params: SimplifiedParams, x: Array) -> MUTPreActivations:
        z = dict(zip(seen, jnp.split(linear(x, params.input_kernel), len(seen), -1), strict=True))
        raw = x.astype(wide(x.dtype))
        z = {"n": tanh(raw)} | z if mutation == 1 else {"r": raw} | z
        if params.bias is not None:
            biases = zip("zrn", jnp.split(params.bias, 3), strict=True)
            z |= {name: z[name] + like(b, z[name]) for name, b in biases}
        return MUTPreActivations(**z)

    def kernels(params: SimplifiedParams) -> dict[str, Array]:
        return dict(zip(read, jnp.split(params.recurrent_kernel, len(read), -1), strict=True))

    def recurrent(params: SimplifiedParams, h: Array) -> MUTPreActivations:
        if mutation != 2:
            return MUTPreActivations(r=linear(h, kernels(params)["r"]))
        both = linear(h, params.recurrent_kernel[:, : 2 * h.shape[-1]])
        return MUTPreActivations(*jnp.split(both, 2, axis=-1))

    def mixture(params: SimplifiedParams, h: Array, a: MUTPreActivations) -> Mixture:
        kernel, z = kernels(params), a.z
        if mutation == 3:
            z = z + linear(tanh(h), kernel["z"])
        z, r = gates(jnp.concatenate([z, a.r], axis=-1), "ss")
        reset_h = (r * h.astype(r.dtype)).astype(h.dtype)
        return Mixture(1 - z, z, tanh(a.n + linear(reset_h, kernel["n"])))

    return Cell(
        name_of(f"mut{mutation}", spec._replace(mutation=1)),
        drawn(
            SimplifiedParams,
            (len(seen), len(read), 3),
            biases=use_bias,
            square=mutation != 3,
        ),
        zero_carry,
        project,
        recurrent,
        mixed(mixture),
        gates=mixture,
        bounds=at_most_one,
        spec=spec,
    )


mut1 = make_mut()
r"""The first mutation, whose update gate does not see the state; D = H.

.. math::
    z &= \sigma(W_z x_t + b_z), \quad r = \sigma(W_r x_t + R_r h_{t-1} + b_r) \\
    h_t &= (1 - z) \odot h_{t-1} + z \odot \tanh(\tanh(x_t) + R_n (r \odot h_{t-1}) + b_n)

Params `SimplifiedParams`, carry and output h. Source: Jozefowicz, Zaremba and Sutskever (2015).
"""

mut2 = make_mut(mutation=2)
r"""The second mutation, whose reset gate sees the input itself; D = H.

.. math::
    z &= \sigma(W_z x_t + R_z h_{t-1} + b_z), \quad r = \sigma(x_t + R_r h_{t-1} + b_r) \\
    h_t &= (1 - z) \odot h_{t-1} + z \odot \tanh(W_n x_t + R_n (r \odot h_{t-1}) + b_n)
"""

mut3 = make_mut(mutation=3)
r"""The third mutation, whose update gate sees :math:`\tanh(h_{t-1})`.

.. math::
    z &= \sigma(W_z x_t + R_z \tanh(h_{t-1}) + b_z), \quad
    r = \sigma(W_r x_t + R_r h_{t-1} + b_r) \\
    h_t &= (1 - z) \odot h_{t-1} + z \odot \tanh(W_n x_t + R_n (r \odot h_{t-1}) + b_n)
"""
