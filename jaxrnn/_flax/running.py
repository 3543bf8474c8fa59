"""How modules run a network: layer by layer, in the conventions of Flax's ``RNN``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxrnn import networks
from jaxrnn._flax.carries import fit_carry, from_flax, to_flax
from jaxrnn._flax.names import Items, Size, names_of, template
from jaxrnn.base import Array, Carry, Cell, Layer, Params, PyTree
from jaxrnn.checks import check_lengths
from jaxrnn.options import Kept, Options
from jaxrnn.unroll import run, scan

__all__ = ["Call", "check_inputs", "network", "parts", "run_layer", "step", "through", "unroll"]

FLAGS = ("return_carry", "return_carries", "time_major", "reverse", "keep_order")
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
    net = networks.rnn(cell, num_layers, bidirectional=bidirectional, dropout=dropout, merge=merge)
    return net if num_layers > 1 else net.parts[0]


@lru_cache(maxsize=64)
def parts(
    net: Cell | Layer, in_features: int, features: Size, dtype: Any, items: Items
) -> tuple[tuple[str, Any, int, Size], ...]:
    """Name, cell, D and H of every part of a network that is a module of its own."""
    if not isinstance(net.spec, networks.StackSpec | networks.BidirectionalSpec):
        return ()
    inner, sizes = net.parts, []  # type: ignore[union-attr]

    def watched(part: Any) -> Any:
        def init(key: Array, input_size: int, hidden_size: Size, **options: Any) -> Params:
            sizes.append((part, input_size, hidden_size))
            return part.init(key, input_size, hidden_size, **options)

        return part._replace(init=init)

    watching = _rebuilt(net.spec, [watched(part) for part in inner])
    template.__wrapped__(watching, in_features, features, dtype, items)
    if len(inner) == 1:
        return parts(*sizes[0], dtype, items)
    shapes = template(net, in_features, features, dtype, items)
    if any(name == () for part in shapes for name in names_of(part)):
        return ()  # a bare array is no module
    names = getattr(inner, "_fields", [f"layer_{k}" for k in range(len(inner))])
    return tuple((name, *size) for name, size in zip(names, sizes, strict=True))


def _rebuilt(spec: Any, layers: list[Any]) -> Any:
    if isinstance(spec, networks.StackSpec):
        return spec._replace(cells=tuple(layers)).make()
    return spec._replace(cell=layers[0], backward=layers[1]).make()


def through(net: Any, modules: Mapping[str, Callable[..., Any]]) -> Any:
    """The network with the layers of its stack run by modules, so that Flax sees their outputs.

    Both directions of one layer are run in one loop, by their layer.
    """
    if not modules or not isinstance(net.spec, networks.StackSpec):
        return net
    if len(net.parts) == 1:
        layers = [through(net.parts[0], modules)]
    else:
        layers = [_run_by(modules[f"layer_{k}"], part) for k, part in enumerate(net.parts)]
    return _rebuilt(net.spec, layers)


def _run_by(module: Callable[..., Any], part: Any) -> Layer:
    def sequence(params: Params, xs: PyTree, carry: Carry, options: Options) -> Any:
        usual = Options()._replace(path=options.path)
        changed = {k: v for k, v in options._asdict().items() if v is not getattr(usual, k)}
        done = module(xs, params=params, carry=to_flax(carry), **changed)
        return from_flax(done["carry"]), done["ys"], from_flax(done.get("carries"))

    if hasattr(part, "sequence"):
        return part._replace(sequence=sequence)
    stochastic = part.stochastic
    return Layer(part.name, part.init, part.carry, sequence, stochastic=stochastic, axes=part.axes)


def run_layer(
    cell: Any,
    modules: Mapping[str, Any],
    xs: PyTree,
    *,
    params: Params,
    carry: Carry,
    **options: Any,
) -> dict[str, Any]:
    """What a module that is a layer of a stack does; options are those that are not usual.

    Flax's tables show keyword arguments and dicts by name.
    """
    given = Options(**options)
    last, ys, kept = run(through(cell, modules), params, xs, from_flax(carry), given)
    done = {"carry": to_flax(last), "ys": ys}
    carries = Kept.pick(kept, "carries")
    return done | {"carries": to_flax(carries)} if given.return_carries else done


def check_inputs(net: Cell | Layer, inputs: Any, *, time: bool) -> Array:
    """The inputs as an array with at least the axes of one step, and time."""
    inputs = jnp.asarray(inputs)
    letters = ", ".join([*(["T"] if time else []), *(f"X{k}" for k in range(1, net.axes)), "D"])
    if not jnp.issubdtype(inputs.dtype, jnp.inexact):
        raise TypeError(
            f"inputs: expected floating, got {inputs.dtype}{list(inputs.shape)}; tokens go through "
            "an embedding before"
        )
    if inputs.ndim < net.axes + time:
        raise ValueError(f"inputs: expected (*batch, {letters}), got shape {inputs.shape}")
    return inputs


def step(
    net: Cell | Layer,
    params: Params,
    carry: Carry,
    x: Array,
    *,
    key: Array | None,
    reset: Array | None,
) -> tuple[Carry, Array]:
    """One step inside Flax's own ``RNN``."""
    carry = fit_carry(net, params, carry, x.shape[: x.ndim - net.axes], "carry")
    carry, y = net.step(params, carry, x, key=key, reset=reset)
    return to_flax(carry), y


class Call(NamedTuple):
    """What a sequence module is called with; None is what the module's attribute says."""

    initial_carry: Carry | None
    seq_lengths: Array | None
    mask: Array | None
    reset: Array | None
    reset_carry: Carry | None
    start: int | Array
    return_carry: bool | None
    return_carries: bool | None
    time_major: bool | None
    reverse: bool | None
    keep_order: bool | None


def _flip(ys: Array, lengths: Array | None) -> Array:
    """Each row of ``(T, *batch, ...)`` the other way round inside its length."""
    if lengths is None:
        return jnp.flip(ys, 0)
    steps = jnp.arange(ys.shape[0], dtype=jnp.int32).reshape(-1, *(1,) * lengths.ndim)
    index = jnp.where(steps < lengths, lengths - 1 - steps, steps)
    index = index.reshape(index.shape + (1,) * (ys.ndim - index.ndim))
    return jnp.take_along_axis(ys, index, axis=0)


def unroll(
    module: Any, net: Any, params: Params, inputs: Array, key: Array | None, call: Call
) -> Any:
    """`jaxrnn.scan` in the conventions of Flax's ``RNN``."""
    own = {k: getattr(module, k) for k, v in call._asdict().items() if v is None and k in FLAGS}
    call = call._replace(**own)
    whole = inputs.shape[: inputs.ndim - net.axes]
    time_axis = 0 if call.time_major else len(whole) - 1
    time, batch = whole[time_axis], (*whole[:time_axis], *whole[time_axis + 1 :])

    def time_major(argument: str, flags: Array | None) -> Array | None:
        if flags is None or call.time_major:
            return flags
        if jnp.shape(flags) != whole:
            raise ValueError(f"{argument}: expected shape {whole} (*batch, T), got {flags.shape}")
        return jnp.moveaxis(jnp.asarray(flags), -1, 0)

    lengths = call.seq_lengths
    if lengths is not None:
        lengths = check_lengths(lengths, time, batch, argument="seq_lengths")
    carry, again = (
        None if value is None else fit_carry(net, params, value, batch, argument)
        for argument, value in call._asdict().items()
        if argument in ("initial_carry", "reset_carry")
    )
    last, ys, *carries = scan(
        net,
        params,
        jnp.moveaxis(inputs, time_axis, 0),
        carry,
        lengths=lengths,
        mask=time_major("mask", call.mask),
        reset=time_major("reset", call.reset),
        reset_carry=again,
        gaps=module.gaps,
        reverse=bool(call.reverse),
        key=key,
        start=call.start,
        return_carries=bool(call.return_carries),
        solver=module.solver,
        chunk=module.chunk,
        unroll=module.unroll,
    )

    def arrange(y: Array) -> Array:
        if call.reverse and not call.keep_order:
            y = _flip(y, lengths)
        return jnp.moveaxis(y, 0, time_axis)

    ys, carries = tree_map(arrange, (ys, carries))
    if call.return_carries:
        return to_flax(last), ys, to_flax(carries[0])
    return (to_flax(last), ys) if call.return_carry else ys
