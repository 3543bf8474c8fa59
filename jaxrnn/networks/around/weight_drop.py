"""Dropout of weights, once a sequence: DropConnect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax

from jaxrnn.base import Array, Cell, Params, documented
from jaxrnn.networks.around.shared import changed, check_rate, check_wrapped, sequence_keys
from jaxrnn.networks.around.variational import mask

__all__ = ["WeightDropSpec", "weight_drop"]


class WeightDropSpec(NamedTuple):
    """What `weight_drop` was given.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.networks.weight_drop(jaxrnn.lstm, 0.5).spec.names
      ('recurrent_kernel',)
    """

    cell: Cell
    rate: float
    names: tuple[str, ...] = ("recurrent_kernel",)

    def make(self) -> Cell:
        """The cell."""
        return weight_drop(**self._asdict())


@documented
def weight_drop(cell: Cell, rate: float, names: Sequence[str] = ("recurrent_kernel",)) -> Cell:
    r"""The same cell, some of whose weights are dropped for a whole sequence.

    .. math:: \tilde R = \frac{m \odot R}{1 - p}, \qquad m \sim \mathrm{Bernoulli}(1 - p)

    The mask is drawn once, from the key alone, and is the same for all rows and steps; without a
    key it is its expectation, 1.

    Args:
      cell: a `Cell`, which may be a wrapped one.
      rate: p in [0, 1).
      names: the fields of its parameters that are dropped from, at whatever depth they are.

    Returns:
      A `Cell` with the parameters, carry and output of the cell.

    Raises:
      TypeError: for something that is not a cell, a rate that is no number, or names that are
        no strings.
      ValueError: for a rate outside of [0, 1), or no names; from ``init`` and a run, for a name
        that the parameters have not.

    Source: Wan et al. (2013), Regularization of neural networks using DropConnect; Merity,
    Keskar and Socher (2018), Regularizing and optimizing LSTM language models, arXiv:1708.02182,
    for one mask a sequence on the recurrent kernel.

    Example:
      >>> import jax, jaxrnn
      >>> cell = jaxrnn.networks.weight_drop(jaxrnn.lstm, 0.5)
      >>> params = cell.init(jax.random.key(0), 3, 5)
      >>> xs = jax.numpy.ones((7, 2, 3))
      >>> jaxrnn.scan(cell, params, xs, key=jax.random.key(1))[1].shape
      (7, 2, 5)
    """
    check_wrapped(cell)
    if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"names: expected a tuple of names of parameters, got {names!r}")
    if not names:
        raise ValueError("names: expected at least one name of a parameter, got none")
    spec = WeightDropSpec(cell, check_rate("rate", rate), tuple(names))

    def drop(params: Params, key: Array | None = None) -> Params:
        """The parameters with a mask on those named; None of a key only looks for them."""
        leaves, structure = jax.tree_util.tree_flatten_with_path(params)
        called = [str(getattr(path[-1], "name", path[-1])) if path else "" for path, _ in leaves]
        for name in spec.names:
            if name not in called:
                raise ValueError(
                    f"names: expected parameters of {cell.name!r}, which are {', '.join(called)}, "
                    f"got {name!r}"
                )
        if key is None:
            return params
        return structure.unflatten(
            leaf * mask(jax.random.fold_in(key, k), spec.rate, leaf.shape, leaf.dtype)
            if name in spec.names
            else leaf
            for k, (name, (_, leaf)) in enumerate(zip(called, leaves, strict=True))
        )

    def init(key: Array, input_size: int, hidden_size: Any, **options: Any) -> Params:
        return drop(cell.init(key, input_size, hidden_size, **options))

    def sample(params: Params, key: Array, batch: tuple[int, ...]) -> Params:
        within, own = sequence_keys(key, 2)
        dropped = drop(params, own)
        return dropped if cell.sample is None else cell.sample(dropped, within, batch)

    further = "" if spec.names == ("recurrent_kernel",) else f", {spec.names}"
    name = f"weight_drop({cell.name}, {spec.rate}{further})"
    return changed(cell, name=name, init=init, sample=sample, spec=spec)
