"""`flax.linen` modules: `Elman`, `LSTM`, `GRU` and `Recurrent`, which runs any cell.

They register the parameters and call `jaxrnn.scan`, with the conventions of
`flax.linen.RNN`: batch-major sequences ``(*batch, T, D)`` unless ``time_major``,
``seq_lengths``, ``initial_carry``, ``return_carry``, ``reverse`` and ``keep_order``. Each
has a cell beside it that runs inside `flax.linen.RNN` itself.

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
from typing import Any

import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from jaxrnn import _flax
from jaxrnn import cells as _cells
from jaxrnn._flax import from_params
from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params
from jaxrnn.checks import expected_params
from jaxrnn.initializers import Initializer

__all__ = [
    "GRU",
    "LSTM",
    "Elman",
    "ElmanCell",
    "GRUCell",
    "LSTMCell",
    "Recurrent",
    "RecurrentCell",
    "from_params",
    "to_params",
]

_INIT_OPTIONS = {  # attribute of a module: option of a cell's init
    "kernel_init": "kernel_init",
    "recurrent_kernel_init": "recurrent_init",
    "bias_init": "bias_init",
    "forget_bias": "forget_bias",
    "reset_bias": "reset_bias",
}


class _Parameters(nn.Module):
    """Registers the parameters of a network as named leaves."""

    features: int | tuple[int, ...]
    cell: Cell | Layer
    dtype: DType | None = None
    param_dtype: DType = jnp.float32
    kernel_init: Initializer | None = None
    recurrent_kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    init_options: Mapping[str, Any] = FrozenDict()
    sharding: Mapping[str, tuple[str | None, ...]] = FrozenDict()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` whose parameters these are."""
        return self.cell

    def _bind(self, inputs: Array) -> tuple[Params, Array]:
        net, dtype = self.network, jnp.dtype(self.param_dtype)
        names = from_params(expected_params(net, inputs.shape[-1], self.features, dtype))
        values = {
            n: self.get_variable("params", n) for n in names if self.has_variable("params", n)
        }
        if len(values) < len(names) and self.is_mutable_collection("params"):
            values = self._draw(inputs.shape[-1]) | values
        # Shapes are checked below, all leaves at once; what is missing is Flax's own error.
        named = {name: self.param(name, lambda _, name=name: values[name]) for name in names}
        return _flax.bind(net, named, inputs, features=self.features, dtype=self.dtype)

    def _draw(self, in_features: int) -> dict[str, Any]:
        options = {option: getattr(self, name, None) for name, option in _INIT_OPTIONS.items()}
        options = {k: v for k, v in options.items() if v is not None} | dict(self.init_options)
        key, net = self.make_rng("params"), self.network
        params = net.init(key, in_features, self.features, dtype=self.param_dtype, **options)

        def box(leaf: Array, names: tuple[str | None, ...] | None) -> Any:
            return leaf if names is None else nn.Partitioned(leaf, names=names)

        return _flax.with_sharding(from_params(params), self.sharding, box)

    def _key(self, deterministic: bool | None) -> Array | None:
        if not self.network.stochastic:
            return None
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return None
        return self.make_rng(self.rng_collection)


class Recurrent(_Parameters):
    r"""A recurrent network over a sequence, out of any cell or layer.

    .. math:: s_t, y_t = \mathrm{step}(\theta, s_{t-1}, x_t)

    The parameters are those of `network`, as named leaves: ``input_kernel``,
    ``recurrent_kernel``, ``bias`` of one layer; under ``forward`` and ``backward`` of a
    bidirectional one; under ``layer_0``, ``layer_1``, … of more than one layer (see
    `from_params` and `to_params`). The carry is that of `jaxrnn.scan`.

    Attributes:
      features: H, the `hidden_size` of the cell's ``init``; a tuple of one per layer for
        several.
      cell: a `Cell` or a `Layer`, such as `jaxrnn.gru` or a `jaxrnn.stack`.
      dtype: of the computation: inputs and parameters are cast to it. Inferred from them if
        None.
      param_dtype: of the parameters as they are stored.
      kernel_init: initialiser of input kernels; None leaves the cell's own default here and
        below. It is called once per gate, see `jaxrnn.initializers`.
      recurrent_kernel_init: initialiser of recurrent kernels.
      bias_init: initialiser of biases.
      init_options: further options of the cell's ``init``.
      sharding: names of the axes of leaves by their last name, such as
        ``{"input_kernel": (None, "model")}``, for `flax.linen.Partitioned`.
      deterministic: whether dropout is off, here or when called, as in
        `flax.linen.Dropout`; needed only where there is something random.
      rng_collection: the name of the PRNG stream of dropout.
      num_layers: how many layers, each above the first fed by the one below.
      bidirectional: whether every layer runs both ways.
      dropout: the rate in [0, 1) on every layer's output but the last.
      merge: how directions are joined, as in `jaxrnn.bidirectional`.
      time_major: sequences are ``(T, *batch, D)``, otherwise ``(*batch, T, D)``.
      return_carry: return ``(carry, ys)``, otherwise only ys.
      reverse: run from the last valid step to the first; outputs come in that order, with
        the padding at the end, unless `keep_order`.
      keep_order: with `reverse`, return outputs in the order of the inputs.
      chunk: steps per chunk, as in `jaxrnn.scan`.
      unroll: steps per loop iteration, as in `jaxrnn.scan`.

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
    reverse: bool = False
    keep_order: bool = False
    chunk: int | None = None
    unroll: int = 1

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` that `jaxrnn.scan` runs: what `to_params` gives fits it."""
        return _flax.network(
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
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        start: int | Array = 0,
        deterministic: bool | None = None,
    ) -> Any:
        """Run the network over a sequence.

        Args:
          inputs: ``(*batch, T, D)``, or ``(T, *batch, D)`` if `time_major`.
          initial_carry: the carry to begin with, zeros if None.
          init_key: unused; `flax.linen.Bidirectional` gives it.
          seq_lengths: integers ``(*batch,)`` in 0..T. Padding gives zero outputs and leaves
            the carry untouched; unlike in Flax, also for length 0.
          return_carry: overrides the attribute, as the next three do.
          time_major: see the attribute.
          reverse: see the attribute.
          keep_order: see the attribute.
          mask: booleans ``(*batch, T)`` in the order of the inputs: False skips a step.
          reset: booleans ``(*batch, T)``: True restarts a row from its initial carry.
          start: the absolute time of the first step, for dropout on a sequence in pieces.
          deterministic: whether dropout is off, unless the attribute says it.

        Returns:
          The outputs ``(*batch, T, H)``, or ``(carry, outputs)``.

        Raises:
          TypeError, ValueError: as `jaxrnn.scan` does; ValueError if something is random
            and `deterministic` is nowhere given.
          flax.errors.InvalidRngError: if the PRNG stream of dropout is missing.
        """
        del init_key
        inputs = _flax.check_inputs(inputs, 2)
        params, inputs = self._bind(inputs)
        return _flax.unroll(
            self,
            params,
            inputs,
            key=self._key(deterministic),
            initial_carry=initial_carry,
            seq_lengths=seq_lengths,
            mask=mask,
            reset=reset,
            start=start,
            return_carry=return_carry,
            time_major=time_major,
            reverse=reverse,
            keep_order=keep_order,
        )


class Elman(Recurrent):
    """`Recurrent` with `jaxrnn.elman`.

    Example:
      >>> import jax, jaxrnn
      >>> xs = jax.numpy.ones((2, 7, 3))
      >>> jaxrnn.linen.Elman(5).init_with_output(jax.random.key(0), xs)[0].shape
      (2, 7, 5)
    """

    cell: Cell | Layer = _cells.elman


class LSTM(Recurrent):
    """`Recurrent` with `jaxrnn.lstm`.

    Attributes:
      forget_bias: added to the forget gate's bias as it is drawn, 1.0 if None.

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
    """`Recurrent` with `jaxrnn.gru`.

    Attributes:
      reset_bias: added to the reset gate's bias as it is drawn, 0.0 if None.

    Example:
      >>> import jax, jaxrnn
      >>> xs = jax.numpy.ones((2, 7, 3))
      >>> jaxrnn.linen.GRU(5, reverse=True).init_with_output(jax.random.key(0), xs)[0].shape
      (2, 7, 5)
    """

    cell: Cell | Layer = _cells.gru
    reset_bias: float | None = None


class RecurrentCell(_Parameters, nn.RNNCellBase):
    """A cell that runs inside `flax.linen.RNN`.

    The parameters are the same as those of a `Recurrent` with this cell. Something random
    in the cell wants ``split_rngs={"params": False, "dropout": True}`` of the ``RNN``.

    Attributes:
      features: see `Recurrent`, as for the others.
      cell: a `Cell`; a `Layer` cannot step.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import linen as nn
      >>> model = nn.RNN(jaxrnn.linen.RecurrentCell(5, jaxrnn.gru_reset_before))
      >>> model.init_with_output(jax.random.key(0), jax.numpy.ones((2, 7, 3)))[0].shape
      (2, 7, 5)
    """

    @nn.compact
    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """One time step.

        Args:
          carry: the state before it, leaves ``(*batch, H)``.
          inputs: ``(*batch, D)``.

        Returns:
          ``(carry, y)``, y ``(*batch, H)``.

        Raises:
          TypeError, ValueError: for a carry or inputs that do not fit.
        """
        _flax.check_cell(self.cell, steps=True)
        params, x = self._bind(_flax.check_inputs(inputs, 1))
        return _flax.step(self.network, params, carry, x, key=self._key(None))

    @nn.nowrap
    def initialize_carry(self, rng: Array | None, input_shape: tuple[int, ...]) -> Carry:
        """The zero carry.

        Args:
          rng: unused.
          input_shape: ``(*batch, D)``.

        Returns:
          The carry of the cell, in `dtype`, or `param_dtype` where that is None.
        """
        del rng
        _flax.check_cell(self.cell, steps=True)
        dtype = self.param_dtype if self.dtype is None else self.dtype
        return _flax.zero_carry(self.network, input_shape, features=self.features, dtype=dtype)

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs hold features: 1."""
        return 1


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
    net, named = module.network, nn.unbox(params)
    return _flax.fit_params(
        net, named, in_features, features=module.features, dtype=module.param_dtype
    )
