"""`flax.nnx` modules: `Elman`, `LSTM`, `GRU` and `Recurrent`, which runs any cell.

They hold the parameters and call `jaxrnn.scan`, with the conventions of `flax.nnx.RNN`:
batch-major sequences ``(*batch, T, D)`` unless ``time_major``, ``seq_lengths``,
``initial_carry``, ``return_carry``, ``reverse`` and ``keep_order``. Each has a cell beside
it that runs inside `flax.nnx.RNN` itself.

>>> import jax, jaxrnn
>>> from flax import nnx
>>> model = jaxrnn.nnx.LSTM(3, 5, num_layers=2, rngs=nnx.Rngs(0))
>>> model(jax.numpy.ones((2, 7, 3))).shape
(2, 7, 5)
>>> model.layer_0.input_kernel.shape
(3, 20)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

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

Streams = nnx.Rngs | nnx.RngStream


class _Parameters(nnx.Module):
    """Holds the parameters of a network as named leaves."""

    default: ClassVar[Cell | None] = None

    def __init__(
        self,
        in_features: int,
        features: int | tuple[int, ...],
        cell: Cell | Layer | None,
        *,
        rngs: nnx.Rngs,
        dtype: DType | None = None,
        param_dtype: DType = jnp.float32,
        kernel_init: Initializer | None = None,
        recurrent_kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        sharding: Mapping[str, tuple[str | None, ...]] | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        **init_options: Any,
    ):
        self.in_features = in_features
        self.features = features
        self.cell = self.default if cell is None else cell
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        net = self.network
        self.rngs = rngs[rng_collection].fork() if net.stochastic else nnx.data(None)

        options = {
            "kernel_init": kernel_init,
            "recurrent_init": recurrent_kernel_init,
            "bias_init": bias_init,
            **init_options,
        }
        options = {name: value for name, value in options.items() if value is not None}
        params = net.init(rngs.params(), in_features, features, dtype=param_dtype, **options)

        def box(leaf: Array, names: tuple[str | None, ...] | None) -> nnx.Param:
            metadata: dict[str, Any] = {} if names is None else {"out_sharding": names}
            return nnx.Param(jnp.asarray(leaf), **metadata)

        named = _flax.with_sharding(from_params(params), sharding or {}, box)
        for name, value in named.items():
            if hasattr(self, name):
                raise ValueError(f"cell: expected other names of parameters than {name!r}")
            setattr(self, name, _module(value))

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` whose parameters these are."""
        return self.cell

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set attributes, as `flax.nnx.view` asks.

        Args:
          deterministic: whether dropout is off.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def _bind(self, inputs: Array) -> tuple[Params, Array]:
        if inputs.shape[-1] != self.in_features:
            raise ValueError(
                f"inputs: expected a last axis of {self.in_features} (in_features), "
                f"got shape {inputs.shape}"
            )
        named = _named(self)
        return _flax.bind(self.network, named, inputs, features=self.features, dtype=self.dtype)

    def _key(self, deterministic: bool | None, rngs: Streams | Array | None) -> Array | None:
        deterministic = self.deterministic if deterministic is None else deterministic
        if deterministic or not self.network.stochastic:
            return None
        rngs = self.rngs if rngs is None else rngs
        if rngs is None:
            raise ValueError("rngs: expected a PRNG stream for dropout, or deterministic=True")
        if isinstance(rngs, nnx.Rngs):
            return rngs[self.rng_collection]()
        return rngs() if isinstance(rngs, nnx.RngStream) else rngs


def _module(named: Any) -> Any:
    if isinstance(named, dict):
        return nnx.Dict({name: _module(value) for name, value in named.items()})
    return named


def _named(module: _Parameters) -> dict[str, Any]:
    net, dtype = module.network, jnp.dtype(module.param_dtype)
    names = from_params(expected_params(net, module.in_features, module.features, dtype))
    return {name: _values(getattr(module, name)) for name in names}


def _values(node: Any) -> Any:
    if isinstance(node, nnx.Dict):
        return {name: _values(value) for name, value in node.items()}
    return node[...]


class Recurrent(_Parameters):
    r"""A recurrent network over a sequence, out of any cell or layer.

    .. math:: s_t, y_t = \mathrm{step}(\theta, s_{t-1}, x_t)

    The parameters are those of `network`, as `flax.nnx.Param` attributes: ``input_kernel``,
    ``recurrent_kernel``, ``bias`` of one layer; under ``forward`` and ``backward`` of a
    bidirectional one; under ``layer_0``, ``layer_1``, … of more than one layer (see
    `from_params` and `to_params`). The carry is that of `jaxrnn.scan`. The arguments from
    `num_layers` to `unroll` are described at `jaxrnn.linen.Recurrent`.

    Args:
      in_features: D.
      features: H, the `hidden_size` of the cell's ``init``; a tuple of one per layer for
        several.
      cell: a `Cell` or a `Layer`, such as `jaxrnn.gru` or a `jaxrnn.stack`; needed, but in
        the subclasses that name theirs.
      rngs: the streams of initial values (``params``) and of dropout.
      **options: ``dtype`` of the computation, inferred from inputs and parameters if None;
        ``param_dtype`` of the parameters as they are stored; the initialisers
        ``kernel_init``, ``recurrent_kernel_init`` and ``bias_init`` (the cell's own if
        None); ``sharding``, names of the axes of leaves by their last name, such as
        ``{"input_kernel": (None, "model")}``; ``deterministic``, whether dropout is off
        (False; ``train()`` and ``eval()`` set it); ``rng_collection``, the name of the
        stream of dropout; all others go to the cell's ``init``, as ``forget_bias`` of an
        LSTM.

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
        reverse: bool = False,
        keep_order: bool = False,
        chunk: int | None = None,
        unroll: int = 1,
        **options: Any,
    ):
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.dropout = dropout
        self.merge = merge
        self.time_major = time_major
        self.return_carry = return_carry
        self.reverse = reverse
        self.keep_order = keep_order
        self.chunk = chunk
        self.unroll = unroll
        super().__init__(in_features, features, cell, rngs=rngs, **options)

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

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Carry | None = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        mask: Array | None = None,
        reset: Array | None = None,
        start: int | Array = 0,
        deterministic: bool | None = None,
        rngs: Streams | Array | None = None,
    ) -> Any:
        """Run the network over a sequence.

        Args:
          inputs: ``(*batch, T, D)``, or ``(T, *batch, D)`` if `time_major`.
          initial_carry: the carry to begin with, zeros if None.
          seq_lengths: integers ``(*batch,)`` in 0..T. Padding gives zero outputs and leaves
            the carry untouched; unlike in Flax, also for length 0.
          return_carry: overrides the attribute, as the next three do.
          time_major: overrides the attribute.
          reverse: overrides the attribute.
          keep_order: overrides the attribute.
          mask: booleans ``(*batch, T)`` in the order of the inputs: False skips a step.
          reset: booleans ``(*batch, T)``: True restarts a row from its initial carry.
          start: the absolute time of the first step, for dropout on a sequence in pieces.
          deterministic: whether dropout is off; overrides the attribute.
          rngs: streams or a key for dropout, instead of the module's own.

        Returns:
          The outputs ``(*batch, T, H)``, or ``(carry, outputs)``.

        Raises:
          TypeError, ValueError: as `jaxrnn.scan` does; ValueError for inputs of other than
            `in_features`, or dropout without streams.
        """
        params, inputs = self._bind(_flax.check_inputs(inputs, 2))
        return _flax.unroll(
            self,
            params,
            inputs,
            key=self._key(deterministic, rngs),
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
      >>> from flax import nnx
      >>> jaxrnn.nnx.Elman(3, 5, rngs=nnx.Rngs(0))(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    default = _cells.elman


class LSTM(Recurrent):
    """`Recurrent` with `jaxrnn.lstm`, whose ``init`` takes ``forget_bias`` (1.0).

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
    """`Recurrent` with `jaxrnn.gru`, whose ``init`` takes ``reset_bias`` (0.0).

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> jaxrnn.nnx.GRU(3, 5, rngs=nnx.Rngs(0))(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    default = _cells.gru


class RecurrentCell(_Parameters, nnx.RNNCellBase):
    """A cell that runs inside `flax.nnx.RNN`.

    The parameters are the same as those of a `Recurrent` with this cell.

    Args:
      in_features: D.
      features: H, as for `Recurrent`.
      cell: a `Cell`; a `Layer` cannot step.
      rngs: the streams of initial values (``params``) and of dropout.
      **options: as `Recurrent` takes them.

    Raises:
      TypeError: for something that cannot step, or an unknown option.

    Example:
      >>> import jax, jaxrnn
      >>> from flax import nnx
      >>> cell = jaxrnn.nnx.RecurrentCell(3, 5, jaxrnn.gru_reset_before, rngs=nnx.Rngs(0))
      >>> nnx.RNN(cell)(jax.numpy.ones((2, 7, 3))).shape
      (2, 7, 5)
    """

    def __init__(
        self,
        in_features: int,
        features: int | tuple[int, ...],
        cell: Cell | None = None,
        *,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        _flax.check_cell(self.default if cell is None else cell, steps=True)
        super().__init__(in_features, features, cell, rngs=rngs, **options)

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
        params, x = self._bind(_flax.check_inputs(inputs, 1))
        return _flax.step(self.network, params, carry, x, key=self._key(None, None))

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: Streams | None = None,
        carry_init: Initializer | None = None,
    ) -> Carry:
        """The zero carry, or one drawn by an initialiser.

        Args:
          input_shape: ``(*batch, D)``.
          rngs: the stream (``carry``) for `carry_init`.
          carry_init: an initialiser for every leaf of the carry.

        Returns:
          The carry of the cell, in `dtype`, or `param_dtype` where that is None.

        Raises:
          ValueError: for `carry_init` without rngs.
        """
        dtype = self.param_dtype if self.dtype is None else self.dtype
        carry = _flax.zero_carry(self.network, input_shape, features=self.features, dtype=dtype)
        if carry_init is None:
            return carry
        if rngs is None:
            raise ValueError("rngs: expected a PRNG stream for carry_init, got None")
        draw = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        return jax.tree.map(lambda leaf: carry_init(draw(), leaf.shape, leaf.dtype), carry)

    @property
    def num_feature_axes(self) -> int:
        """How many axes of the inputs hold features: 1."""
        return 1


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
    return _flax.fit_params(
        module.network,
        _named(module),
        module.in_features,
        features=module.features,
        dtype=module.param_dtype,
    )
