"""`flax.linen` modules: `Elman`, `LSTM`, `GRU` and `Recurrent`, which runs any cell.

They register the parameters and call `jaxrnn.scan`, with the conventions of
`flax.linen.RNN`: batch-major sequences ``(*batch, T, D)`` unless ``time_major``,
``seq_lengths``, ``initial_carry``, ``return_carry``, ``reverse`` and ``keep_order``. Each
has a cell beside it that runs inside `flax.linen.RNN` itself. The carry of an LSTM is
`LSTMCarry`, in Flax's order (c, h).

>>> import jax, jaxrnn
>>> model = jaxrnn.linen.LSTM(5, num_layers=2)
>>> xs = jax.numpy.ones((2, 7, 3))
>>> ys, variables = model.init_with_output(jax.random.key(0), xs)
>>> ys.shape
(2, 7, 5)
>>> variables["params"]["layer_0"]["input_kernel"].shape
(3, 20)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from flax import linen as nn

from jaxrnn import cells as _cells
from jaxrnn._flax import running
from jaxrnn._flax.carries import LSTMCarry
from jaxrnn._flax.linen import Parameters, params_of
from jaxrnn._flax.names import from_params
from jaxrnn.base import Array, Carry, Cell, Layer, Params, check_cell
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

    The parameters are those of `network`, as named leaves: ``input_kernel``,
    ``recurrent_kernel``, ``bias`` of one layer; under ``forward`` and ``backward`` of a
    bidirectional one; under ``layer_0``, ``layer_1``, … of more than one layer (see
    `from_params` and `to_params`). Each of these is a module of its own, and what a layer
    returns, a dict of ``carry`` and time-major ``ys``, is what ``capture_intermediates`` sees
    of it. The carry is that of `jaxrnn.scan`, but that of an LSTM an `LSTMCarry`.

    Initialisers may be wrapped by `flax.linen.with_partitioning` or
    ``with_logical_partitioning``: the names are those of the axes of the whole leaf.

    Attributes:
      features: H, the `hidden_size` of the cell's ``init``; a tuple of one per layer for
        several.
      cell: a `Cell` or a `Layer`, such as `jaxrnn.gru` or a `jaxrnn.stack`.
      dtype: of the computation: inputs and parameters are cast to it. Inferred from them if
        None.
      param_dtype: of the parameters as they are stored.
      use_bias: whether there are biases; None leaves the cell's own default here and below.
      kernel_init: initialiser of input kernels. It is called once per gate, see
        `jaxrnn.initializers`.
      recurrent_kernel_init: initialiser of recurrent kernels.
      bias_init: initialiser of biases.
      init_options: further options of the cell's ``init``.
      deterministic: whether dropout is off, here or when called, as in
        `flax.linen.Dropout`; needed only where there is something random.
      rng_collection: the name of the PRNG stream of dropout.
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

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)
      >>> model = jaxrnn.linen.Recurrent(5, net, return_carry=True)
      >>> xs = jax.numpy.ones((2, 7, 3))
      >>> variables = model.init(jax.random.key(0), xs)
      >>> (lstm_carry, h), ys = model.apply(variables, xs, seq_lengths=jax.numpy.array([7, 4]))
      >>> lstm_carry.c.shape, ys.shape
      ((2, 5), (2, 7, 5))
    """

    num_layers: int = 1
    bidirectional: bool = False
    dropout: float = 0.0
    merge: str | Callable[[Array, Array], Array] = "concat"
    time_major: bool = False
    return_carry: bool = False
    return_carries: bool = False
    reverse: bool = False
    keep_order: bool = False
    gaps: Literal["zero", "hold"] = "zero"
    solver: Solver | None = None
    chunk: int | None = None
    unroll: int = 1

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

    @nn.compact
    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        init_key: Array | None = None,
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
    ) -> Any:
        """Run the network over a sequence.

        Args:
          inputs: ``(*batch, T, D)``, or ``(T, *batch, D)`` if `time_major`.
          initial_carry: the carry to begin with, the network's own (see `initialize_carry`)
            if None.
          init_key: unused; `flax.linen.Bidirectional` gives it.
          seq_lengths: integers ``(*batch,)`` in 0..T. Padding gives zero outputs and leaves
            the carry untouched; unlike in Flax, also for length 0.
          return_carry: overrides the attribute, as the next four do.
          return_carries: see the attribute.
          time_major: see the attribute.
          reverse: see the attribute.
          keep_order: see the attribute.
          mask: booleans ``(*batch, T)`` in the order of the inputs: False skips a step.
          reset: booleans ``(*batch, T)``: True says that a new sequence begins with a step, so
            that its row restarts from `reset_carry`.
          reset_carry: the network's own initial carry if None.
          start: the absolute time of the first step, for dropout on a sequence in pieces.
          deterministic: whether dropout is off, unless the attribute says it.

        Returns:
          The outputs ``(*batch, T, H)``, ``(carry, outputs)`` or ``(carry, outputs, carries)``,
          the carries in the order of the outputs.

        Raises:
          TypeError, ValueError: as `jaxrnn.scan` does; ValueError if something is random
            and `deterministic` is nowhere given.
          flax.errors.InvalidRngError: if the PRNG stream of dropout is missing.
        """
        del init_key
        net = self.network
        inputs = running.check_inputs(net, inputs, time=True)
        params, inputs, layers = self._bind(net, inputs)
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
        net, key = running.through(net, layers), self._key(net, deterministic)
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

    Attributes:
      features: H; a tuple of one per layer for several.
      cell: another cell or layer instead of `jaxrnn.elman`, such as `jaxrnn.cells.irnn`.
      dtype: of the computation: inputs and parameters are cast to it; inferred from them if None.
      param_dtype: of the parameters as they are stored, float32.
      use_bias: whether there are biases; None is True.
      kernel_init: initialiser of input kernels, called once per gate; glorot if None.
      recurrent_kernel_init: initialiser of recurrent kernels, alike; orthogonal if None.
      bias_init: initialiser of biases, alike; zeros if None.
      init_options: further options of the cell's ``init``.
      deterministic: whether dropout is off, here or when called; needed only with dropout.
      rng_collection: the PRNG stream of dropout, ``"dropout"``.
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

    Example:
      >>> import jax, jaxrnn
      >>> xs = jax.numpy.ones((2, 7, 3))
      >>> jaxrnn.linen.Elman(5).init_with_output(jax.random.key(0), xs)[0].shape
      (2, 7, 5)
    """

    cell: Cell | Layer = _cells.elman


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

    Attributes:
      features: H; a tuple of one per layer for several.
      cell: another cell or layer instead of `jaxrnn.lstm`, such as `jaxrnn.cells.lstm_peephole`.
      dtype: of the computation: inputs and parameters are cast to it; inferred from them if None.
      param_dtype: of the parameters as they are stored, float32.
      use_bias: whether there are biases; None is True.
      kernel_init: initialiser of input kernels, called once per gate; glorot if None.
      recurrent_kernel_init: initialiser of recurrent kernels, alike; orthogonal if None.
      bias_init: initialiser of biases, alike; zeros if None.
      init_options: further options of the cell's ``init``.
      deterministic: whether dropout is off, here or when called; needed only with dropout.
      rng_collection: the PRNG stream of dropout, ``"dropout"``.
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
      forget_bias: added to the forget gate's bias as it is drawn; 1.0 if None.

    Example:
      >>> import jax, jaxrnn
      >>> model = jaxrnn.linen.LSTM(5, num_layers=2, bidirectional=True, return_carry=True)
      >>> xs = jax.numpy.ones((2, 7, 3))
      >>> (carry, ys), variables = model.init_with_output(jax.random.key(0), xs)
      >>> carry[1].backward.h.shape, ys.shape
      ((2, 5), (2, 7, 10))
    """

    cell: Cell | Layer = _cells.lstm
    forget_bias: float | None = None


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

    Attributes:
      features: H; a tuple of one per layer for several.
      cell: another cell or layer instead of `jaxrnn.gru`, such as
        `jaxrnn.cells.gru_reset_before`.
      dtype: of the computation: inputs and parameters are cast to it; inferred from them if None.
      param_dtype: of the parameters as they are stored, float32.
      use_bias: whether there are biases; None is True.
      kernel_init: initialiser of input kernels, called once per gate; glorot if None.
      recurrent_kernel_init: initialiser of recurrent kernels, alike; orthogonal if None.
      bias_init: initialiser of biases, alike; zeros if None.
      init_options: further options of the cell's ``init``.
      deterministic: whether dropout is off, here or when called; needed only with dropout.
      rng_collection: the PRNG stream of dropout, ``"dropout"``.
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
      reset_bias: added to the reset gate's bias as it is drawn; 0.0 if None.

    Example:
      >>> import jax, jaxrnn
      >>> xs = jax.numpy.ones((2, 7, 3))
      >>> jaxrnn.linen.GRU(5, reverse=True).init_with_output(jax.random.key(0), xs)[0].shape
      (2, 7, 5)
    """

    cell: Cell | Layer = _cells.gru
    reset_bias: float | None = None


class RecurrentCell(Parameters, nn.RNNCellBase):
    """A cell that runs inside `flax.linen.RNN`.

    The parameters are the same as those of a `Recurrent` with this cell. Something random
    in the cell wants ``split_rngs={"params": False, "dropout": True}`` of the ``RNN``, and is
    then drawn anew at every step, also what a `Recurrent` draws once a sequence.

    Attributes:
      features: see `Recurrent`, as for the others.
      cell: a `Cell`, or a `Layer` that can step.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import linen as nn
      >>> model = nn.RNN(jaxrnn.linen.RecurrentCell(5, jaxrnn.cells.gru_reset_before))
      >>> model.init_with_output(jax.random.key(0), jax.numpy.ones((2, 7, 3)))[0].shape
      (2, 7, 5)
    """

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` whose parameters these are."""
        check_cell("cell", self.cell, steps=True)
        return self.cell

    @nn.compact
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
        params, x, _ = self._bind(net, running.check_inputs(net, inputs, time=False))
        return running.step(net, params, carry, x, key=self._key(net, None), reset=reset)

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs hold features."""
        return self.network.axes


class ElmanCell(RecurrentCell):
    """`RecurrentCell` with `jaxrnn.elman`.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import linen as nn
      >>> model = nn.RNN(jaxrnn.linen.ElmanCell(5))
      >>> model.init_with_output(jax.random.key(0), jax.numpy.ones((2, 7, 3)))[0].shape
      (2, 7, 5)
    """

    cell: Cell | Layer = _cells.elman


class LSTMCell(RecurrentCell):
    """`RecurrentCell` with `jaxrnn.lstm`.

    Attributes:
      forget_bias: see `LSTM`.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import linen as nn
      >>> model = nn.RNN(jaxrnn.linen.LSTMCell(5))
      >>> model.init_with_output(jax.random.key(0), jax.numpy.ones((2, 7, 3)))[0].shape
      (2, 7, 5)
    """

    cell: Cell | Layer = _cells.lstm
    forget_bias: float | None = None


class GRUCell(RecurrentCell):
    """`RecurrentCell` with `jaxrnn.gru`.

    Attributes:
      reset_bias: see `GRU`.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import linen as nn
      >>> model = nn.RNN(jaxrnn.linen.GRUCell(5))
      >>> model.init_with_output(jax.random.key(0), jax.numpy.ones((2, 7, 3)))[0].shape
      (2, 7, 5)
    """

    cell: Cell | Layer = _cells.gru
    reset_bias: float | None = None


def to_params(
    module: Recurrent | RecurrentCell, params: Mapping[str, Any], in_features: int
) -> Params:
    """Functional parameters from a module's: the inverse of `from_params`.

    Args:
      module: the module they belong to.
      params: what stands under ``"params"`` in its variables.
      in_features: D.

    Returns:
      The parameters of ``module.network``, for `jaxrnn.scan`, in `param_dtype`.

    Raises:
      TypeError: for missing or surplus leaves.
      ValueError: for leaves of the wrong shape.

    Example:
      >>> import jax, jaxrnn
      >>> model = jaxrnn.linen.LSTM(5)
      >>> xs = jax.random.normal(jax.random.key(0), (7, 3))
      >>> ys, variables = model.init_with_output(jax.random.key(1), xs)
      >>> params = jaxrnn.linen.to_params(model, variables["params"], 3)
      >>> bool((jaxrnn.scan(model.network, params, xs)[1] == ys).all())
      True
    """
    return params_of(module, params, in_features, module.param_dtype)
