"""`flax.nnx` modules: `Elman`, `LSTM`, `GRU` and `Recurrent`, which runs any cell.

They hold the parameters and call `jaxrnn.scan`, with the conventions of `flax.nnx.RNN`:
batch-major sequences ``(*batch, T, D)`` unless ``time_major``, ``seq_lengths``,
``initial_carry``, ``return_carry``, ``reverse`` and ``keep_order``. Each has a cell beside
it that runs inside `flax.nnx.RNN` itself. The carry of an LSTM is `LSTMCarry`, in Flax's
order (c, h).

>>> import jax, jaxrnn
>>> from flax import nnx
>>> model = jaxrnn.nnx.LSTM(3, 5, num_layers=2, rngs=nnx.Rngs(0))
>>> model(jax.numpy.ones((2, 7, 3))).shape
(2, 7, 5)
>>> model.layer_0.input_kernel.shape
(3, 20)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from jaxrnn import cells as _cells
from jaxrnn._flax import running
from jaxrnn._flax.carries import LSTMCarry
from jaxrnn._flax.names import from_params
from jaxrnn._flax.nnx import Parameters, Streams, params_of
from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params, check_cell
from jaxrnn.initializers import Initializer
from jaxrnn.solvers import Solver

__all__ = [
    "GRU",
    "LSTM",
    "Elman",
    "ElmanCell",
    "GRUCell",
    "LSTMCarry",
    "LSTMCell",
    "Recurrent",
    "RecurrentCell",
    "from_params",
    "to_params",
]


class Recurrent(Parameters):
    r"""A recurrent network over a sequence, out of any cell or layer.

    .. math:: s_t, y_t = \mathrm{step}(\theta, s_{t-1}, x_t)

    The parameters are those of `network`, as `flax.nnx.Param` attributes: ``input_kernel``,
    ``recurrent_kernel``, ``bias`` of one layer; under ``forward`` and ``backward`` of a
    bidirectional one; under ``layer_0``, ``layer_1``, … of more than one layer (see
    `from_params` and `to_params`). Each of these is a module of its own. The carry is that of
    `jaxrnn.scan`, but that of an LSTM an `LSTMCarry`.

    Initialisers may be wrapped by `flax.nnx.with_partitioning`: the names are those of the
    axes of the whole leaf.

    Args:
      in_features: D.
      features: H, the `hidden_size` of the cell's ``init``; a tuple of one per layer for
        several.
      cell: a `Cell` or a `Layer`, such as `jaxrnn.gru` or a `jaxrnn.stack`; needed, but in
        the subclasses that name theirs.
      rngs: the streams of initial values (``params``) and of dropout.
      num_layers: how many layers, each above the first fed by the one below.
      bidirectional: whether every layer runs both ways.
      dropout: the rate in [0, 1) on every layer's output but the last.
      merge: how directions are joined, as in `jaxrnn.bidirectional`.
      time_major: sequences are ``(T, *batch, D)``, otherwise ``(*batch, T, D)``.
      return_carry: return ``(carry, ys)``, otherwise only ys.
      return_carries: return ``(carry, ys, carries)``, with the carry after every step.
      reverse: run from the last valid step to the first; outputs come in that order, with
        the padding at the end, unless `keep_order`.
      keep_order: with `reverse`, return outputs in the order of the inputs.
      gaps: outputs of skipped steps, as in `jaxrnn.scan`, as the next three.
      solver: who solves for the carries, None for one step after the other.
      chunk: steps per chunk.
      unroll: steps per loop iteration.
      dtype: of the computation: inputs and parameters are cast to it. Inferred from them if
        None.
      param_dtype: of the parameters as they are stored.
      use_bias: whether there are biases; None leaves the cell's own default here and below.
      kernel_init: initialiser of input kernels. It is called once per gate, see
        `jaxrnn.initializers`.
      recurrent_kernel_init: initialiser of recurrent kernels.
      bias_init: initialiser of biases.
      deterministic: whether dropout is off; ``train()`` and ``eval()`` set it.
      rng_collection: the name of the stream of dropout.
      **init_options: further options of the cell's ``init``, as ``forget_bias`` of an LSTM.

    Raises:
      TypeError: for an option that the cell's ``init`` does not take.
      ValueError: for bad values, as `jaxrnn.rnn` does.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> net = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)
      >>> model = jaxrnn.nnx.Recurrent(3, 5, net, return_carry=True, rngs=nnx.Rngs(0))
      >>> xs, lengths = jax.numpy.ones((2, 7, 3)), jax.numpy.array([7, 4])
      >>> (lstm_carry, h), ys = model(xs, seq_lengths=lengths)
      >>> lstm_carry.c.shape, ys.shape
      ((2, 5), (2, 7, 5))
    """

    def __init__(
        self,
        in_features: int,
        features: int | tuple[int, ...],
        cell: Cell | Layer | None = None,
        *,
        rngs: nnx.Rngs,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
        merge: str | Callable[[Array, Array], Array] = "concat",
        time_major: bool = False,
        return_carry: bool = False,
        return_carries: bool = False,
        reverse: bool = False,
        keep_order: bool = False,
        gaps: Literal["zero", "hold"] = "zero",
        solver: Solver | None = None,
        chunk: int | None = None,
        unroll: int = 1,
        dtype: DType | None = None,
        param_dtype: DType = jnp.float32,
        use_bias: bool | None = None,
        kernel_init: Initializer | None = None,
        recurrent_kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        **init_options: Any,
    ):
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.merge = merge
        self.time_major = time_major
        self.return_carry = return_carry
        self.return_carries = return_carries
        self.reverse = reverse
        self.keep_order = keep_order
        self.gaps = gaps
        self.solver = solver
        self.chunk = chunk
        self.unroll = unroll
        super().__init__(
            in_features,
            features,
            cell,
            rngs=rngs,
            dtype=dtype,
            param_dtype=param_dtype,
            use_bias=use_bias,
            kernel_init=kernel_init,
            recurrent_kernel_init=recurrent_kernel_init,
            bias_init=bias_init,
            deterministic=deterministic,
            rng_collection=rng_collection,
            **init_options,
        )

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` that `jaxrnn.scan` runs: what `to_params` gives fits it.

        Of one layer it is the cell, or `jaxrnn.bidirectional` of it; of more, `jaxrnn.rnn`.
        """
        return running.network(
            self.cell,
            self.num_layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            merge=self.merge,
        )

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        return_carries: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        reset_carry: Carry | None = None,
        start: int | Array = 0,
        deterministic: bool | None = None,
        rngs: Streams | Array | None = None,
    ) -> Any:
        """Run the network over a sequence.

        Args:
          inputs: ``(*batch, T, D)``, or ``(T, *batch, D)`` if `time_major`.
          initial_carry: the carry to begin with, the network's own (see `initialize_carry`)
            if None.
          seq_lengths: integers ``(*batch,)`` in 0..T. Padding gives zero outputs and leaves
            the carry untouched; unlike in Flax, also for length 0.
          return_carry: overrides the attribute, as the next four do.
          return_carries: overrides the attribute.
          time_major: overrides the attribute.
          reverse: overrides the attribute.
          keep_order: overrides the attribute.
          mask: booleans ``(*batch, T)`` in the order of the inputs: False skips a step.
          reset: booleans ``(*batch, T)``: True says that a new sequence begins with a step, so
            that its row restarts from `reset_carry`.
          reset_carry: the network's own initial carry if None.
          start: the absolute time of the first step, for dropout on a sequence in pieces.
          deterministic: whether dropout is off; overrides the attribute.
          rngs: streams or a key for dropout, instead of the module's own.

        Returns:
          The outputs ``(*batch, T, H)``, ``(carry, outputs)`` or ``(carry, outputs, carries)``,
          the carries in the order of the outputs.

        Raises:
          TypeError, ValueError: as `jaxrnn.scan` does; ValueError for inputs of other than
            `in_features`, or dropout without streams.
        """
        net = self.network
        params, inputs = self._bind(net, running.check_inputs(net, inputs, time=True))
        call = running.Call(
            initial_carry,
            seq_lengths,
            mask,
            reset,
            reset_carry,
            start,
            return_carry,
            return_carries,
            time_major,
            reverse,
            keep_order,
        )
        key = self._key(net, deterministic, rngs)
        net = running.through(net, {name: getattr(self, name) for name in self.layers})
        return running.unroll(self, net, params, inputs, key, call)


class Elman(Recurrent):
    r"""A plain recurrent network over a sequence, of one layer or more, in one direction or both.

    .. math:: h_t = \tanh(W x_t + R h_{t-1} + b)

    Called with inputs ``(*batch, T, D)``, it returns the outputs ``(*batch, T, H)``, 2H of them if
    both directions are concatenated; with `return_carry`, ``(carry, outputs)``; with
    `return_carries`, ``(carry, outputs, carries)``. The carry is h, ``(*batch, H)``: of both
    directions `jaxrnn.Directions` of two, of several layers a tuple. What else it can be called
    with, lengths, a mask, resets, an initial carry, is said at its ``__call__``.

    The parameters of a layer are ``input_kernel`` ``(D, H)``, ``recurrent_kernel`` ``(H, H)`` and
    ``bias`` ``(H,)``; `Recurrent` says how those of several are named.

    Args:
      in_features: D.
      features: H; a tuple of one per layer for several.
      cell: another cell or layer instead of `jaxrnn.elman`, such as `jaxrnn.cells.irnn`.
      rngs: the streams of initial values (``params``) and of dropout.
      num_layers: how many layers, each above the first fed by the one below, 1.
      bidirectional: whether every layer runs both ways.
      dropout: the rate in [0, 1) on every layer's output but the last, 0.
      merge: how directions are joined, ``"concat"``, or as in `jaxrnn.bidirectional`.
      time_major: sequences are ``(T, *batch, D)``, not ``(*batch, T, D)``.
      return_carry: return ``(carry, outputs)``.
      return_carries: return ``(carry, outputs, carries)``, with the carry after every step.
      reverse: run from the last valid step to the first; outputs come in that order, with the
        padding at the end, unless `keep_order`.
      keep_order: with `reverse`, return outputs in the order of the inputs.
      gaps: outputs of skipped steps, ``"zero"``, or ``"hold"`` for the last valid one.
      solver: who solves for the carries, as in `jaxrnn.scan`; None for one step after the other.
      chunk: steps per chunk; None lets `jaxrnn.scan` choose.
      unroll: steps per loop iteration, 1.
      dtype: of the computation: inputs and parameters are cast to it; inferred from them if None.
      param_dtype: of the parameters as they are stored, float32.
      use_bias: whether there are biases; None is True.
      kernel_init: initialiser of input kernels, called once per gate; glorot if None.
      recurrent_kernel_init: initialiser of recurrent kernels, alike; orthogonal if None.
      bias_init: initialiser of biases, alike; zeros if None.
      deterministic: whether dropout is off; ``train()`` and ``eval()`` set it.
      rng_collection: the stream of dropout, ``"dropout"``.
      **init_options: further options of the cell's ``init``.

    Raises:
      TypeError: for an option that the cell's ``init`` does not take.
      ValueError: for bad values, as `jaxrnn.rnn` does.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> jaxrnn.nnx.Elman(3, 5, rngs=nnx.Rngs(0))(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    default = _cells.elman


class LSTM(Recurrent):
    r"""An LSTM over a sequence, of one layer or more, in one direction or both.

    .. math::
        i, f, o &= \sigma(W_{i,f,o}\, x_t + R_{i,f,o}\, h_{t-1} + b_{i,f,o}) \\
        g &= \tanh(W_g x_t + R_g h_{t-1} + b_g) \\
        c_t &= f \odot c_{t-1} + i \odot g \\
        h_t &= o \odot \tanh(c_t)

    Called with inputs ``(*batch, T, D)``, it returns the outputs ``(*batch, T, H)``, 2H of them if
    both directions are concatenated; with `return_carry`, ``(carry, outputs)``; with
    `return_carries`, ``(carry, outputs, carries)``. The carry is `LSTMCarry`, (c, h), each
    ``(*batch, H)``: of both directions `jaxrnn.Directions` of two, of several layers a tuple. What
    else it can be called with, lengths, a mask, resets, an initial carry, is said at its
    ``__call__``.

    The parameters of a layer are ``input_kernel`` ``(D, 4H)``, ``recurrent_kernel`` ``(H, 4H)``,
    the blocks i, f, g, o, and ``bias`` ``(4H,)``; `Recurrent` says how those of several are named.

    Args:
      in_features: D.
      features: H; a tuple of one per layer for several.
      cell: another cell or layer instead of `jaxrnn.lstm`, such as `jaxrnn.cells.lstm_peephole`.
      rngs: the streams of initial values (``params``) and of dropout.
      num_layers: how many layers, each above the first fed by the one below, 1.
      bidirectional: whether every layer runs both ways.
      dropout: the rate in [0, 1) on every layer's output but the last, 0.
      merge: how directions are joined, ``"concat"``, or as in `jaxrnn.bidirectional`.
      time_major: sequences are ``(T, *batch, D)``, not ``(*batch, T, D)``.
      return_carry: return ``(carry, outputs)``.
      return_carries: return ``(carry, outputs, carries)``, with the carry after every step.
      reverse: run from the last valid step to the first; outputs come in that order, with the
        padding at the end, unless `keep_order`.
      keep_order: with `reverse`, return outputs in the order of the inputs.
      gaps: outputs of skipped steps, ``"zero"``, or ``"hold"`` for the last valid one.
      solver: who solves for the carries, as in `jaxrnn.scan`; None for one step after the other.
      chunk: steps per chunk; None lets `jaxrnn.scan` choose.
      unroll: steps per loop iteration, 1.
      dtype: of the computation: inputs and parameters are cast to it; inferred from them if None.
      param_dtype: of the parameters as they are stored, float32.
      use_bias: whether there are biases; None is True.
      kernel_init: initialiser of input kernels, called once per gate; glorot if None.
      recurrent_kernel_init: initialiser of recurrent kernels, alike; orthogonal if None.
      bias_init: initialiser of biases, alike; zeros if None.
      deterministic: whether dropout is off; ``train()`` and ``eval()`` set it.
      rng_collection: the stream of dropout, ``"dropout"``.
      **init_options: further options of the cell's ``init``: ``forget_bias``, added to the forget
        gate's bias as it is drawn, 1.0.

    Raises:
      TypeError: for an option that the cell's ``init`` does not take.
      ValueError: for bad values, as `jaxrnn.rnn` does.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> model = jaxrnn.nnx.LSTM(3, 5, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
      >>> carry, ys = model(jax.numpy.ones((2, 7, 3)), return_carry=True)
      >>> carry[1].backward.h.shape, ys.shape
      ((2, 5), (2, 7, 10))
    """

    default = _cells.lstm


class GRU(Recurrent):
    r"""A GRU over a sequence, of one layer or more, in one direction or both.

    .. math::
        r, z &= \sigma(W_{r,z}\, x_t + R_{r,z}\, h_{t-1} + b_{r,z}) \\
        n &= \tanh(W_n x_t + b_n + r \odot (R_n h_{t-1} + b_R)) \\
        h_t &= z \odot h_{t-1} + (1 - z) \odot n

    Called with inputs ``(*batch, T, D)``, it returns the outputs ``(*batch, T, H)``, 2H of them if
    both directions are concatenated; with `return_carry`, ``(carry, outputs)``; with
    `return_carries`, ``(carry, outputs, carries)``. The carry is h, ``(*batch, H)``: of both
    directions `jaxrnn.Directions` of two, of several layers a tuple. What else it can be called
    with, lengths, a mask, resets, an initial carry, is said at its ``__call__``.

    The parameters of a layer are ``input_kernel`` ``(D, 3H)``, ``recurrent_kernel`` ``(H, 3H)``,
    the blocks r, z, n, ``bias`` ``(3H,)`` and ``recurrent_bias`` ``(H,)``; `Recurrent` says how
    those of several are named.

    Args:
      in_features: D.
      features: H; a tuple of one per layer for several.
      cell: another cell or layer instead of `jaxrnn.gru`, such as
        `jaxrnn.cells.gru_reset_before`.
      rngs: the streams of initial values (``params``) and of dropout.
      num_layers: how many layers, each above the first fed by the one below, 1.
      bidirectional: whether every layer runs both ways.
      dropout: the rate in [0, 1) on every layer's output but the last, 0.
      merge: how directions are joined, ``"concat"``, or as in `jaxrnn.bidirectional`.
      time_major: sequences are ``(T, *batch, D)``, not ``(*batch, T, D)``.
      return_carry: return ``(carry, outputs)``.
      return_carries: return ``(carry, outputs, carries)``, with the carry after every step.
      reverse: run from the last valid step to the first; outputs come in that order, with the
        padding at the end, unless `keep_order`.
      keep_order: with `reverse`, return outputs in the order of the inputs.
      gaps: outputs of skipped steps, ``"zero"``, or ``"hold"`` for the last valid one.
      solver: who solves for the carries, as in `jaxrnn.scan`; None for one step after the other.
      chunk: steps per chunk; None lets `jaxrnn.scan` choose.
      unroll: steps per loop iteration, 1.
      dtype: of the computation: inputs and parameters are cast to it; inferred from them if None.
      param_dtype: of the parameters as they are stored, float32.
      use_bias: whether there are biases; None is True.
      kernel_init: initialiser of input kernels, called once per gate; glorot if None.
      recurrent_kernel_init: initialiser of recurrent kernels, alike; orthogonal if None.
      bias_init: initialiser of biases, alike; zeros if None.
      deterministic: whether dropout is off; ``train()`` and ``eval()`` set it.
      rng_collection: the stream of dropout, ``"dropout"``.
      **init_options: further options of the cell's ``init``: ``reset_bias``, added to the reset
        gate's bias as it is drawn, 0.0.

    Raises:
      TypeError: for an option that the cell's ``init`` does not take.
      ValueError: for bad values, as `jaxrnn.rnn` does.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> jaxrnn.nnx.GRU(3, 5, rngs=nnx.Rngs(0))(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    default = _cells.gru


class RecurrentCell(Parameters, nnx.RNNCellBase):
    """A cell that runs inside `flax.nnx.RNN`.

    The parameters are the same as those of a `Recurrent` with this cell.

    Args:
      in_features: D.
      features: H, as for `Recurrent`, as for the others.
      cell: a `Cell`, or a `Layer` that can step.

    Raises:
      TypeError: for something that cannot step, or an unknown option.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> cell = jaxrnn.nnx.RecurrentCell(3, 5, jaxrnn.gru_reset_before, rngs=nnx.Rngs(0))
      >>> nnx.RNN(cell)(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` whose parameters these are."""
        check_cell("cell", self.cell, steps=True)
        return self.cell

    def __call__(
        self, carry: Carry, inputs: Array, *, reset: Array | None = None
    ) -> tuple[Carry, Array]:
        """One time step.

        Args:
          carry: the state before it, leaves ``(*batch, H)``.
          inputs: ``(*batch, D)``.
          reset: booleans ``(*batch,)``: True says that a new sequence begins with this step,
            from the cell's own initial carry.

        Returns:
          ``(carry, y)``, y ``(*batch, H)``.

        Raises:
          TypeError, ValueError: for a carry or inputs that do not fit.
        """
        net = self.network
        params, x = self._bind(net, running.check_inputs(net, inputs, time=False))
        return running.step(net, params, carry, x, key=self._key(net, None, None), reset=reset)

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs hold features."""
        return self.network.axes


class ElmanCell(RecurrentCell):
    """`RecurrentCell` with `jaxrnn.elman`.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> model = nnx.RNN(jaxrnn.nnx.ElmanCell(3, 5, rngs=nnx.Rngs(0)))
      >>> model(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    default = _cells.elman


class LSTMCell(RecurrentCell):
    """`RecurrentCell` with `jaxrnn.lstm`.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> model = nnx.RNN(jaxrnn.nnx.LSTMCell(3, 5, rngs=nnx.Rngs(0)))
      >>> model(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    default = _cells.lstm


class GRUCell(RecurrentCell):
    """`RecurrentCell` with `jaxrnn.gru`.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> model = nnx.RNN(jaxrnn.nnx.GRUCell(3, 5, rngs=nnx.Rngs(0)))
      >>> model(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    default = _cells.gru


def to_params(module: Recurrent | RecurrentCell) -> Params:
    """Functional parameters from a module's.

    ``flax.nnx.update(module, from_params(params))`` writes them back.

    Args:
      module: the module.

    Returns:
      The parameters of ``module.network``, for `jaxrnn.scan`, in `param_dtype`.

    Raises:
      ValueError: for leaves of the wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> model = jaxrnn.nnx.LSTM(3, 5, rngs=nnx.Rngs(0))
      >>> xs = jax.random.normal(jax.random.key(0), (7, 3))
      >>> carry, ys = jaxrnn.scan(model.network, jaxrnn.nnx.to_params(model), xs)
      >>> bool((ys == model(xs)).all())
      True
    """
    return params_of(module, module.param_dtype)
