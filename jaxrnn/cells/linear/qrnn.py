"""The quasi-recurrent network: gates from a window of inputs, and a pooling over time."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp

from jaxrnn.base import Array, Cell, documented, name_of, zeros
from jaxrnn.cells.blocks import gates, linear
from jaxrnn.cells.linear.common import InputParams, LinearGates, linear_cell, project_blocks, state
from jaxrnn.cells.linear.start import fan_in, input_init
from jaxrnn.checks import check_bool, check_choice, check_positive

__all__ = ["QRNNCarry", "QRNNInput", "QRNNSpec", "make_qrnn", "qrnn"]

Pooling = Literal["f", "fo", "ifo"]
_LETTERS = {"f": "ts", "fo": "tss", "ifo": "tsss"}


class QRNNCarry(NamedTuple):
    """State of a quasi-recurrent network that looks back.

    Attributes:
      c: ``(*batch, H)``, float32 at least.
      inputs: the last k - 1 inputs side by side, the oldest first, ``(*batch, (k - 1) D)``.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_qrnn
      >>> cell = make_qrnn(window=3)
      >>> cell.carry(cell.init(jax.random.key(0), 4, 5)).inputs.shape
      (8,)
    """

    c: Any
    inputs: Any


class QRNNInput(NamedTuple):
    """What a quasi-recurrent network makes of its input where it looks back.

    Attributes:
      gates: all pre-activations, ``(..., nH)``.
      inputs: the inputs to keep for the next step.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_qrnn
      >>> cell = make_qrnn(window=2)
      >>> cell.project(cell.init(jax.random.key(0), 4, 5), jax.numpy.ones(4)).gates.shape
      (15,)
    """

    gates: Any
    inputs: Any


class QRNNSpec(NamedTuple):
    """What `make_qrnn` was given.

    Example:
      >>> from jaxrnn.cells.linear import qrnn
      >>> qrnn.spec.pooling
      'fo'
    """

    pooling: Pooling = "fo"
    window: int = 1
    use_bias: bool = True

    def make(self) -> Cell[InputParams, Any]:
        """The cell."""
        return make_qrnn(**self._asdict())


@documented
def make_qrnn(
    *, pooling: Pooling = "fo", window: int = 1, use_bias: bool = True
) -> Cell[InputParams, Any]:
    r"""A quasi-recurrent network.

    .. math::
        z &= \tanh(W_z u_t + b_z),\quad f, o, i = \sigma(W_{f,o,i}\, u_t + b_{f,o,i}) \\
        c_t &= f \odot c_{t-1} + (1 - f) \odot z && \text{f, fo} \\
        c_t &= f \odot c_{t-1} + i \odot z && \text{ifo} \\
        h_t &= c_t \quad \text{or, with an o,} \quad h_t = o \odot c_t

    with :math:`u_t = [x_{t-k+1}, \dots, x_t]`, the last k inputs, those before the sequence 0. The
    blocks of W, ``(k D, nH)``, are in the order z, f, o, i, as far as there are. Here f keeps, as
    in the paper; in the code that its authors released it writes.

    The carry is c, ``(*batch, H)``, float32 at least; with k > 1 it is `QRNNCarry`, the k - 1
    inputs before with it, and the cell has no coefficients: it is linear in c, but what it reads of
    the past is part of its state.

    Args:
      pooling: the gates there are, ``"f"``, ``"fo"`` or ``"ifo"``.
      window: k.
      use_bias: whether ``init`` gives a b by default.

    Returns:
      A `Cell` with `InputParams`. Its ``init`` takes ``kernel_init`` (uniform on ±1/√(k D)),
      ``bias_init`` (zeros) and ``use_bias``.

    Raises:
      TypeError: for a window that is not an int.
      ValueError: for one below 1, or an unknown pooling.

    Source: Bradbury et al. (2017), Quasi-recurrent neural networks, arXiv:1611.01576.

    Example:
      >>> import jax
      >>> from jaxrnn.cells.linear import make_qrnn
      >>> cell = make_qrnn(pooling="ifo", window=2)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> cell.step(params, cell.carry(params), jax.numpy.ones(3))[1].shape
      (5,)
    """
    check_choice("pooling", pooling, tuple(_LETTERS))
    check_positive("window", window)
    check_bool("use_bias", use_bias)
    spec, letters = QRNNSpec(pooling, int(window), use_bias), _LETTERS[pooling]
    count = len(letters)

    def carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> Array:
        return state(params, params.input_kernel.shape[1] // count, batch_shape)

    def parts(z: Array) -> tuple[Array, LinearGates]:
        content, f, *rest = gates(z, letters)
        o, i = [*rest, None, None][:2]
        return content, LinearGates(f, 1 - f if i is None else i, o)

    def gated(params: InputParams, z: Array) -> LinearGates:
        return parts(z)[1]

    def coefficients(params: InputParams, z: Array) -> tuple[Any, Any]:
        content, gate = parts(z)
        return gate.keep, gate.write * content

    def output(params: InputParams, c: Array, z: Array) -> Array:
        o = gated(params, z).read
        return (c if o is None else o * c).astype(params.input_kernel.dtype)

    def bounds(params: InputParams, start: Any, steps: Any) -> Any:
        return start + steps if pooling == "ifo" else jnp.maximum(1, start)

    init = input_init(count, kernel_init=fan_in, use_bias=use_bias, window=window)
    name = name_of("qrnn", spec)
    cell = linear_cell(
        name,
        init,
        carry,
        project_blocks,
        coefficients,
        output,
        gates=gated,
        bounds=bounds,
        spec=spec,
    )
    return cell if window == 1 else _looking_back(cell, window)


def _looking_back(cell: Cell[InputParams, Array], window: int) -> Cell[InputParams, QRNNCarry]:
    """The same cell over a window of inputs, of which it keeps all but one."""

    def kept(kernel: Array) -> int:
        return kernel.shape[0] // window * (window - 1)

    def carry(params: InputParams, batch_shape: tuple[int, ...] = ()) -> QRNNCarry:
        kernel = params.input_kernel
        inputs = zeros(batch_shape, kept(kernel), kernel.dtype)
        return QRNNCarry(cell.carry(params, batch_shape), inputs)

    def project(params: InputParams, x: Array) -> QRNNInput:
        kernel = params.input_kernel
        past = jnp.zeros((*x.shape[:-1], kept(kernel) - x.shape[-1]), x.dtype)
        newest = linear(x, kernel[kept(kernel) :], params.bias)
        return QRNNInput(newest, jnp.concatenate([past, x], axis=-1))

    def recurrent(params: InputParams, s: QRNNCarry) -> QRNNInput:
        kernel, past = params.input_kernel, s.inputs
        size = kernel.shape[0] // window
        shifted = jnp.concatenate([past[..., size:], jnp.zeros_like(past[..., :size])], axis=-1)
        return QRNNInput(linear(past, kernel[: kept(kernel)]), shifted)

    def update(params: InputParams, s: QRNNCarry, z: QRNNInput) -> QRNNCarry:
        return QRNNCarry(cell.update(params, s.c, z.gates), z.inputs.astype(s.inputs.dtype))

    def output(params: InputParams, s: QRNNCarry, z: QRNNInput) -> Array:
        return cell.output(params, s.c, z.gates)

    def gated(params: InputParams, s: QRNNCarry, z: QRNNInput) -> Any:
        return cell.gates(params, s.c, z.gates)  # type: ignore[misc]

    def bounds(params: InputParams, start: QRNNCarry, steps: Any) -> QRNNCarry:
        c = cell.bounds(params, start.c, steps)  # type: ignore[misc]
        return QRNNCarry(c, jnp.full_like(start.inputs, jnp.inf))

    return Cell(
        cell.name,
        cell.init,
        carry,
        project,
        recurrent,
        update,
        output,
        gates=gated,
        bounds=bounds,
        spec=cell.spec,
    )


qrnn = make_qrnn()
r"""The quasi-recurrent network with a window of one input and an output gate:
:math:`c_t = f \odot c_{t-1} + (1 - f) \odot z`, :math:`h_t = o \odot c_t`.

Params `InputParams`, blocks z, f, o; carry c, output h. Source: Bradbury et al. (2017),
Quasi-recurrent neural networks, arXiv:1611.01576.
"""
