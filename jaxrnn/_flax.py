"""What `jaxrnn.linen` and `jaxrnn.nnx` share: names for parameters, and Flax's conventions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax.linen.dtypes import canonicalize_dtype
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxrnn import networks
from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params, PyTree
from jaxrnn.checks import check_lengths, check_matches, expected_params
from jaxrnn.unroll import scan

__all__ = [
    "bind",
    "check_cell",
    "check_inputs",
    "fit_carry",
    "fit_params",
    "from_params",
    "network",
    "step",
    "unroll",
    "with_sharding",
    "zero_carry",
]

tree_map = jax.tree.map


def network(
    cell: Any,
    num_layers: int,
    *,
    bidirectional: bool,
    dropout: float,
    merge: str | Callable[[Array, Array], Array],
) -> Any:
    """What `jaxrnn.rnn` gives, but a single layer by itself, not a stack of one."""
    check_cell(cell)
    net = networks.rnn(cell, num_layers, bidirectional=bidirectional, dropout=dropout, merge=merge)
    if num_layers > 1:
        return net
    return networks.bidirectional(cell, merge=merge) if bidirectional else cell


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    def one(entry: Any) -> str:
        if isinstance(entry, jax.tree_util.SequenceKey):
            return f"layer_{entry.idx}"
        return jax.tree_util.keystr((entry,), simple=True)

    return tuple(one(entry) for entry in path) or ("params",)


def from_params(params: Params) -> dict[str, Any]:
    """Functional parameters as the nested dict of named leaves that Flax works with.

    Fields of NamedTuples keep their names, and entry k of a tuple is called ``layer_k``; so
    ``jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)`` has ``layer_0/forward/input_kernel``.
    The result is what stands under ``"params"`` in a linen module's variables, and what
    ``flax.nnx.update(module, …)`` takes. `to_params` is the inverse.

    Args:
      params: the parameters of a `Cell` or a `Layer`.

    Returns:
      A nested dict of the same leaves.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.stack(jaxrnn.elman, jaxrnn.gru)
      >>> named = jaxrnn.linen.from_params(net.init(jax.random.key(0), 3, 5))
      >>> sorted(named), sorted(named["layer_0"])
      (['layer_0', 'layer_1'], ['bias', 'input_kernel', 'recurrent_kernel'])
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    return unflatten_dict({_names(path): leaf for path, leaf in leaves})


def fit_params(
    net: Cell | Layer,
    named: Mapping[str, Any],
    in_features: int,
    *,
    features: int | tuple[int, ...],
    dtype: DType,
) -> Params:
    """The functional parameters of a network from named leaves, in a computation dtype."""
    template = expected_params(net, in_features, features, jnp.dtype(dtype))
    leaves, structure = jax.tree_util.tree_flatten_with_path(template)
    wanted = {_names(path): leaf for path, leaf in leaves}
    stored = {
        name: jnp.asarray(leaf).astype(wanted[name].dtype) if name in wanted else leaf
        for name, leaf in flatten_dict(dict(named)).items()
    }
    why = f"{net.name!r} with {in_features} input features and features={features}"
    check_matches("params", unflatten_dict(stored), unflatten_dict(wanted), why)
    return structure.unflatten([stored[name] for name in wanted])


def bind(
    net: Cell | Layer,
    named: Mapping[str, Any],
    inputs: Array,
    *,
    features: int | tuple[int, ...],
    dtype: DType | None,
) -> tuple[Params, Array]:
    """The functional parameters and the inputs, in the dtype of the computation.

    As everywhere in Flax it is inferred from inputs and parameters if None.
    """
    leaves = [a for a in jax.tree.leaves(named) if jnp.issubdtype(jnp.result_type(a), jnp.floating)]
    dtype = jax.dtypes.canonicalize_dtype(canonicalize_dtype(inputs, *leaves, dtype=dtype))
    params = fit_params(net, named, inputs.shape[-1], features=features, dtype=dtype)
    return params, inputs.astype(dtype)


def with_sharding(
    named: Mapping[str, Any],
    sharding: Mapping[str, tuple[str | None, ...]],
    make: Callable[[Any, tuple[str | None, ...] | None], Any],
) -> dict[str, Any]:
    """``make(leaf, axis names or None)`` for every leaf, by the last part of its name."""
    flat = flatten_dict(dict(named))
    if unknown := sorted(set(sharding) - {path[-1] for path in flat}):
        known = sorted({path[-1] for path in flat})
        raise ValueError(f"sharding: expected names among {known}, got {unknown}")
    return unflatten_dict({path: make(v, sharding.get(path[-1])) for path, v in flat.items()})


def fit_carry(
    net: Cell | Layer, params: Params, carry: Carry, batch: tuple[int, ...], argument: str
) -> Carry:
    """The carry in the dtypes that the network keeps it in, or an error if it does not fit."""
    expected = jax.eval_shape(lambda p: net.carry(p, batch), params)
    if jax.tree.structure(carry) == jax.tree.structure(expected):
        carry = tree_map(lambda leaf, to: jnp.asarray(leaf).astype(to.dtype), carry, expected)
    check_matches(argument, carry, expected, f"the carry of {net.name!r} for batch axes {batch}")
    return carry


def check_cell(cell: Any, *, steps: bool = False) -> None:
    """Raise TypeError unless it is a cell or, if it need not step, a layer."""
    if not isinstance(cell, Cell if steps else Cell | Layer):
        wanted = "a Cell, which can step" if steps else "a Cell or a Layer"
        raise TypeError(f"cell: expected {wanted}, got {type(cell).__name__}")


def zero_carry(
    cell: Cell, input_shape: tuple[int, ...], *, features: int | tuple[int, ...], dtype: DType
) -> Carry:
    """The cell's zero state for inputs ``(*batch, D)``, without its parameters."""
    template = expected_params(cell, input_shape[-1], features, jnp.dtype(dtype))
    params = tree_map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), template)
    return cell.carry(params, tuple(input_shape[:-1]))


def step(
    cell: Cell, params: Params, carry: Carry, x: Array, *, key: Array | None
) -> tuple[Carry, Array]:
    """One step of a cell inside Flax's own ``RNN``."""
    carry = fit_carry(cell, params, carry, x.shape[:-1], "carry")
    return cell.step(params, carry, x, key=key)


def check_inputs(inputs: Any, axes: int) -> Array:
    """The inputs as an array with at least that many axes."""
    inputs = jnp.asarray(inputs)
    if inputs.ndim < axes:
        shape = "(*batch, T, D)" if axes == 2 else "(*batch, D)"
        raise ValueError(f"inputs: expected {shape}, got shape {inputs.shape}")
    return inputs


def _flip(ys: Array, lengths: Array | None) -> Array:
    """Each row of ``(T, *batch, ...)`` the other way round inside its length."""
    if lengths is None:
        return jnp.flip(ys, 0)
    steps = jnp.arange(ys.shape[0], dtype=jnp.int32).reshape(-1, *(1,) * lengths.ndim)
    index = jnp.where(steps < lengths, lengths - 1 - steps, steps)
    index = index.reshape(index.shape + (1,) * (ys.ndim - index.ndim))
    return jnp.take_along_axis(ys, index, axis=0)


def unroll(
    module: Any,
    params: Params,
    inputs: Array,
    *,
    key: Array | None,
    initial_carry: Carry | None,
    seq_lengths: Array | None,
    mask: Array | None,
    reset: Array | None,
    start: int | Array,
    **overrides: bool | None,
) -> Any:
    """`jaxrnn.scan` in the conventions of Flax's ``RNN``; `overrides` are of the attributes."""

    def chosen(name: str) -> bool:
        return getattr(module, name) if overrides[name] is None else bool(overrides[name])

    net, time_major, reverse = module.network, chosen("time_major"), chosen("reverse")

    def to_time_major(argument: str, flags: Array | None) -> Array | None:
        if flags is None or time_major:
            return flags
        if jnp.shape(flags) != inputs.shape[:-1]:
            raise ValueError(
                f"{argument}: expected shape {inputs.shape[:-1]} (*batch, T), "
                f"got {jnp.shape(flags)}"
            )
        return jnp.moveaxis(jnp.asarray(flags), -1, 0)

    xs = inputs if time_major else jnp.moveaxis(inputs, -2, 0)
    time, *batch = xs.shape[:-1]
    if seq_lengths is not None:
        seq_lengths = check_lengths(seq_lengths, time, tuple(batch), argument="seq_lengths")
    if initial_carry is not None:
        initial_carry = fit_carry(net, params, initial_carry, tuple(batch), "initial_carry")
    carry, ys = scan(
        net,
        params,
        xs,
        initial_carry,
        lengths=seq_lengths,
        mask=to_time_major("mask", mask),
        reset=to_time_major("reset", reset),
        reverse=reverse,
        key=key,
        start=start,
        chunk=module.chunk,
        unroll=module.unroll,
    )

    def arrange(y: Array) -> Array:
        if reverse and not chosen("keep_order"):
            y = _flip(y, seq_lengths)
        return y if time_major else jnp.moveaxis(y, 0, len(batch))

    ys: PyTree = tree_map(arrange, ys)
    return (carry, ys) if chosen("return_carry") else ys
