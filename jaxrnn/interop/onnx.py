"""Weights of ONNX's `RNN`, `LSTM` and `GRU` nodes; nodes evaluated; networks found and exported.

`networks` finds all of a model. The conversion of arrays alone knows these:

=====  ==================  ==============================================================
``W``  (dirs, gates H, D)  gates i, o, f, g of an LSTM (ONNX says c for g), z, r, n of a
                           GRU (ONNX says h for n)
``R``  (dirs, gates H, H)  alike
``B``  (dirs, 2 gates H)   both biases, or absent
``P``  (dirs, 3H)          peepholes i, o, f of an LSTM, or absent
=====  ==================  ==============================================================

What the arrays do not tell stands in the node's attributes: a GRU resets *before* the product
unless ``linear_before_reset=1``, and activations, clip and coupled gates may be anything.
`run_node` takes them all. With coupled gates the blocks of f are there but not used.
A mapping of several layers is named ``0.W``, ``0.R``, ``1.W``; errors call the arrays of one
direction ``W.0`` and ``W.1``. In what `jaxrnn.interop.read` makes of a file whose arrays have
such names, those of `export` among them, the attributes stand beside them,
``0.linear_before_reset``, and `infer` goes by them; ``infer(source, attributes=...)`` says those
that a source does not have.

A row of length 0 keeps its initial state in `run` and in what `export` makes. ONNX does not say
what becomes of it, and onnxruntime's nodes set its final state to zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn.base import Array, Cell, DType, Layer, PyTree
from jaxrnn.checks import check_choice
from jaxrnn.interop import structure
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.format import Format
from jaxrnn.interop.found import Found
from jaxrnn.interop.layout import Entry, Layout, entry
from jaxrnn.interop.names import flatten, library, to_numpy
from jaxrnn.interop.onnx_activations import activations
from jaxrnn.interop.structure import Unit

__all__ = ["ONNX", "dump", "export", "infer", "load", "network", "networks", "run", "run_node"]

GATES = {"elman": "h", "lstm": "iofg", "gru": "zrn"}
ROLES = ("gate_activation", "candidate_activation", "output_activation")
NODES = {
    "RNN": (jaxrnn.make_elman, ("activation",), ["Tanh"]),
    "GRU": (jaxrnn.make_gru, ROLES[:2], ["Sigmoid", "Tanh"]),
    "LSTM": (jaxrnn.make_lstm, ROLES, ["Sigmoid", "Tanh", "Tanh"]),
}
"""For each type of node the cell's constructor, its activations, and those by default."""
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
DIRECTIONS = ("forward", "reverse", "bidirectional")
CHANGING = {
    "activation_alpha", "activation_beta", "activations", "clip", "input_forget",
    "linear_before_reset",
}  # fmt: skip
"""The attributes that change what a cell computes."""
ATTRIBUTES = CHANGING | {"direction", "hidden_size", "layout", "output_sequence"}


def _layout(unit: Unit, has: Callable[[str], bool]) -> Layout:
    gates, d = GATES[unit.kind], unit.direction
    alone = unit.layer is None or (unit.layers == 1 and not has("0.W.0"))
    biases = (tuple(tensor + gate for tensor in "bs" for gate in gates),)
    entries = [
        entry(f"W.{d}", "W", gates, transposed=True),
        entry(f"R.{d}", "R", gates, transposed=True),
        Entry(f"B.{d}", biases, optional="B"),
    ]
    entries += [entry(f"P.{d}", "p", "iof", optional="P")] * bool(unit.option("peepholes"))
    return Layout(tuple(entries)).at("" if alone else f"{unit.layer}.")


def _find(source: Any, prefix: Prefix, net: Any) -> tuple[dict[str, Any], Prefix]:
    """Each direction's arrays by themselves."""
    parts = {}
    for name, leaf in flatten(source).items():
        array = to_numpy(leaf)
        ranks = {"W": 3, "R": 3, "B": 2, "P": 2}
        if array.ndim and array.ndim == ranks.get(name.rpartition(".")[2]):
            parts |= {f"{name}.{d}": part for d, part in enumerate(array)}
        else:
            parts[name] = array
    return parts, prefix


def _nest(arrays: dict[str, Any]) -> dict[str, np.ndarray]:
    """The directions of a node in one array."""
    parts: dict[str, list[np.ndarray]] = {}
    for name, array in arrays.items():
        parts.setdefault(name[:-2], []).append(array)
    return {name: np.stack(each) for name, each in parts.items()}


def _layer(arrays: dict[str, Any], at: str, *, attributes: Mapping[str, Any] | None = None) -> Any:
    shape = getattr(arrays.get(at + "R.0"), "shape", ())
    if len(shape) != 2 or not shape[1]:
        return None
    op_type = {1: "RNN", 3: "GRU", 4: "LSTM"}.get(shape[0] / shape[1])
    if op_type is None:
        return None
    given = {name: arrays[at + name].tolist() for name in CHANGING if at + name in arrays}
    given |= attributes or {}
    if at + "R.1" in arrays:
        given["direction"] = "bidirectional"
    there = {"peepholes": at + "P.0" in arrays, "use_bias": at + "B.0" in arrays}
    return network(op_type, given, **there)


def _alike(unit: Unit) -> Any:
    return unit.kind, *map(unit.option, ("reset", "forget_gate", "peepholes"))


ONNX = Format(
    "ONNX",
    {
        "elman": {"activation": None},
        "gru": {
            "reset": ("after", "before"),
            "update": None,
            "gate_activation": None,
            "candidate_activation": None,
        },
        "lstm": {
            "peepholes": (None, "diagonal"),
            "forget_gate": (True, "coupled"),
            "gate_activation": None,
            "candidate_activation": None,
            "output_activation": None,
        },
    },
    _layout,
    _layer,
    "R or 0.R, (dirs, gates H, H), as dump and export call them; networks(model) finds any,",
    holds="layer",
    alike=_alike,
    biasless=True,
    find=_find,
    nest=_nest,
    ignored=lambda name: name.rpartition(".")[2] in CHANGING,
)
"""What ONNX has, for the conversion."""

load = ONNX.load
"""The parameters of a network from the inputs W, R, B and P of ONNX nodes."""

dump = ONNX.dump
"""The inputs W, R, B and P of ONNX nodes from the parameters of a network."""

infer = ONNX.infer
"""The network that the inputs of ONNX nodes belong to; takes the nodes' `attributes`."""


def network(
    op_type: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    peepholes: bool = False,
    use_bias: bool = True,
) -> Cell | Layer:
    """The cell of a node, or both directions of it.

    Args:
      op_type: ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
      attributes: the node's attributes, strings as such or as the bytes that the onnx library
        gives. A node of direction ``"reverse"`` is a cell, to be run by
        ``jaxrnn.scan(..., reverse=True)``.
      peepholes: whether the node has an input P.
      use_bias: whether it has an input B.

    Raises:
      ValueError: for an unknown type, attribute, or value of one.

    Example:
      >>> from jaxrnn.interop import onnx
      >>> onnx.network("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}).name
      'bidirectional(gru)'
    """
    check_choice("op_type", op_type, tuple(NODES))
    given = decoded(attributes or {})
    if unknown := sorted(given.keys() - ATTRIBUTES):
        raise ValueError(f"attributes: expected some of {sorted(ATTRIBUTES)}, got {unknown}")
    direction, clip = given.get("direction", "forward"), given.get("clip")
    check_choice("direction", direction, DIRECTIONS)
    if clip is not None and not clip > 0:
        raise ValueError(f"clip: expected a positive number or none, got {clip!r}")
    make, roles, default = NODES[op_type]
    count, each = 1 + (direction == "bidirectional"), len(roles)
    names = given.get("activations") or default * count
    if len(names) != count * each:
        raise ValueError(f"activations: expected {count * each} for {op_type}, got {names}")
    alphas, betas = given.get("activation_alpha", ()), given.get("activation_beta", ())
    phis = activations(names, alphas, betas, clip)
    made = []
    for d in range(count):
        own: dict[str, Any] = dict(zip(roles, phis[d * each : (d + 1) * each], strict=True))
        if op_type == "GRU":
            own["reset"] = "after" if given.get("linear_before_reset") else "before"
        elif op_type == "LSTM":
            own["peepholes"] = "diagonal" if peepholes else None
            own["forget_gate"] = "coupled" if given.get("input_forget") else True
            own["output_activation"] = own["output_activation"]._replace(clip=None)  # of c
        named = {name: getattr(value, "option", value) for name, value in own.items()}
        made.append(make(**named, use_bias=use_bias))
    return made[0] if count == 1 else jaxrnn.bidirectional(*made)


def run(
    op_type: str, inputs: Sequence[Any], attributes: Mapping[str, Any] | None = None
) -> list[Array]:
    """Evaluate a single node; `networks` finds those of a model.

    A row of length 0 keeps its initial state, which onnxruntime sets to zero.

    Args:
      op_type: ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
      inputs: X, W, R, B, sequence_lens, initial_h and, of an LSTM, initial_c and P as far as
        there are any, None or ``""`` for one left out. All but sequence_lens are of one dtype.
      attributes: the node's attributes.

    Returns:
      Y, Y_h and, of an LSTM, Y_c, of the dtype of X.

    Raises:
      ValueError: for unknown attributes, too few or too many inputs, or inputs of the wrong
        shape or of several dtypes.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import onnx
      >>> x, w, r = np.ones((7, 2, 3), "f"), np.ones((1, 15, 3), "f"), np.ones((1, 15, 5), "f")
      >>> y, y_h = onnx.run("GRU", [x, w, r], {"linear_before_reset": 1})
      >>> y.shape, y_h.shape
      ((7, 1, 2, 5), (1, 2, 5))
    """
    attributes = decoded(attributes or {})
    check_choice("op_type", op_type, tuple(NODES))
    given = _given(op_type, inputs)
    net = network(op_type, attributes, peepholes="P" in given, use_bias="B" in given)
    params = load(net, {name: given[name] for name in "WRBP" if name in given})
    batch_major = bool(attributes.get("layout"))
    turn = (lambda x: jnp.swapaxes(jnp.asarray(x), 0, 1)) if batch_major else jnp.asarray
    xs, hidden = turn(given["X"]), given["R"].shape[2]
    check_hidden_size(attributes, given["R"])
    state = {field: turn(given[n]) for n, field in STATES.items() if n in given}
    last, ys = jaxrnn.scan(
        net,
        params,
        xs,
        carry_of(net, params, state, xs.shape[1]),
        lengths=given.get("sequence_lens"),
        reverse=attributes.get("direction") == "reverse",
    )
    finals = structure.spread(net, last)[0]
    y = ys.reshape(*ys.shape[:2], len(finals), hidden)  # (T, B, dirs, H)
    y = jnp.swapaxes(y, 0, 1) if batch_major else jnp.swapaxes(y, 1, 2)
    parts = zip(*finals, strict=True) if op_type == "LSTM" else [finals]
    return [y, *(turn(jnp.stack(each)).astype(xs.dtype) for each in parts)]


STATES = {"initial_h": "h", "initial_c": "c"}


def carry_of(net: Cell | Layer, params: PyTree, state: Mapping[str, Any], batch: int) -> PyTree:
    """The carry of a node's network out of ONNX's states h and c, (dirs, B, H), zero if absent."""
    units, carries = structure.units(net)[0], []
    for unit, mine in zip(units, structure.spread(net, params)[0], strict=True):
        shape = (len(units), batch, mine.recurrent_kernel.shape[0])
        for field, array in state.items():
            if array.shape != shape:
                name = f"initial_{field}"
                raise ValueError(f"{name}: expected shape {shape} (dirs, B, H), got {array.shape}")
        own = {field: jnp.asarray(array[unit.direction]) for field, array in state.items()}
        carry = unit.cell.carry(mine, (batch,))
        carries.append(carry._replace(**own) if unit.kind == "lstm" else own.get("h", carry))
    return structure.gather(net, [carries])


def check_hidden_size(attributes: Mapping[str, Any], r: Any) -> None:
    """ValueError unless the attribute, if there, is the size of R."""
    if attributes.get("hidden_size", r.shape[2]) != r.shape[2]:
        raise ValueError(
            f"attributes: expected hidden_size {r.shape[2]} from R {r.shape}, got "
            f"{attributes['hidden_size']}"
        )


def _is_there(x: Any) -> bool:
    return x is not None and not (isinstance(x, str) and not x)


def _given(op_type: str, inputs: Sequence[Any]) -> dict[str, Any]:
    """The inputs that are there, by name."""
    names = INPUTS if op_type == "LSTM" else INPUTS[:6]
    if any(map(_is_there, inputs[len(names) :])):
        raise ValueError(f"inputs: expected at most {len(names)} of {op_type}, got {len(inputs)}")
    given = {n: x for n, x in zip(names, inputs, strict=False) if _is_there(x)}
    given = {n: x if isinstance(x, jax.Array) else to_numpy(x) for n, x in given.items()}
    if missing := [name for name in "XWR" if name not in given]:
        raise ValueError(f"inputs: expected X, W and R, missing {', '.join(missing)}")
    if wrong := [f"{name} {given[name].shape}" for name in "XWR" if given[name].ndim != 3]:
        raise ValueError(f"inputs: expected three axes, got {', '.join(wrong)}")
    dtypes = {name: str(x.dtype) for name, x in given.items() if name != "sequence_lens"}
    if len(set(dtypes.values())) > 1:
        raise ValueError(f"inputs: expected one dtype, got {dtypes}")
    return given


def run_node(node: Any, inputs: Sequence[Any]) -> list[Array]:
    """Evaluate a ``NodeProto``, for the onnx library's backend interface.

    Args:
      node: the node.
      inputs: arrays for the inputs that it names, in order; those left out may be among them.

    Returns:
      Arrays for the outputs that it names, in order.

    Raises:
      ValueError: as `run`, and for another number of inputs than the node names.

    Example:
      >>> import numpy as np, onnx
      >>> from jaxrnn import interop
      >>> node = onnx.helper.make_node("RNN", ["x", "w", "r"], ["", "last"], hidden_size=5)
      >>> arrays = [np.ones(s, "f") for s in ((7, 2, 3), (1, 5, 3), (1, 5, 5))]
      >>> interop.onnx.run_node(node, arrays)[0].shape
      (1, 2, 5)
    """
    named, given = [name for name in node.input if name], [*filter(_is_there, inputs)]
    if len(given) != len(named):
        raise ValueError(f"inputs: expected {len(named)}, {', '.join(named)}, got {len(given)}")
    left = iter(given)
    every = [next(left) if name else None for name in node.input]
    outputs = run(node.op_type, every, node_attributes(node))
    return [y for name, y in zip(node.output, outputs, strict=False) if name]


def decoded(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Attributes with their bytes, which is what the onnx library gives, as strings."""

    def text(value: Any) -> Any:
        if isinstance(value, bytes):
            return value.decode()
        return [text(one) for one in value] if isinstance(value, list | tuple) else value

    return {name: text(value) for name, value in attributes.items()}


def node_attributes(node: Any) -> dict[str, Any]:
    """The attributes of a ``NodeProto``."""
    value = library("onnx").helper.get_attribute_value
    return decoded({one.name: _plain(value(one)) for one in node.attribute})


def _plain(value: Any) -> Any:
    return value if isinstance(value, bytes) or not hasattr(value, "__iter__") else list(value)


def networks(model: Any, *, dtype: DType | None = None, max_bytes: int = 8 << 30) -> list[Found]:
    """The networks of all recurrent nodes of a model.

    Weights are found behind initializers of any name, `Constant` nodes, and what moves such:
    Cast, Concat, DequantizeLinear, Flatten, Identity, Reshape, Slice, Split, Squeeze, Transpose
    and Unsqueeze. Nodes are found in branches, loops and the model's own functions too. What is
    between them, and whether they run one after the other, is the model's business.

    Args:
      model: a path, the bytes of a model, or a ``ModelProto``.
      dtype: the dtype to convert to; that of the weights if None.
      max_bytes: the most that an array, and what is made of constants, may take.

    Returns:
      For each node, in the graph's order, a record: name (that of its first output if it has
      none), network, as `network` makes it, params, carry and attributes. A carry is there if
      the model holds initial states that are not all zero.

    Raises:
      OSError: if the file cannot be opened.
      ValueError: for a model without such nodes, and with a line for each node that cannot be
        taken over: its weights are computed at run time, or an attribute is unknown.

    Example:
      >>> import jax, jaxrnn
      >>> net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)
      >>> model = jaxrnn.interop.onnx.export(net, net.init(jax.random.key(0), 3, 5))
      >>> nodes = jaxrnn.interop.onnx.networks(model)
      >>> jaxrnn.stack(*[node.network for node in nodes]) == net
      True
    """
    from jaxrnn.interop.onnx_model import networks

    return networks(model, dtype=dtype, max_bytes=max_bytes)


def export(net: Cell | Layer, params: PyTree, *, lengths: bool = False, carry: bool = False) -> Any:
    """An ONNX model of a network.

    Its inputs are ``xs`` (T, B, D), ``lengths`` (B,) of int32 and for each layer k the initial
    ``h_{k}`` and ``c_{k}`` (dirs, B, H); its outputs ``ys`` (T, B, dirs H) and for each layer the
    last ``h_{k}_last`` and ``c_{k}_last``. T and B are free; dropout is left out. Its initializers
    are called as those of `dump`, so that `infer` and `load` find them in a file, as `networks`
    does. A row of length 0 keeps its initial state, as here, by a node `Where`.

    Args:
      net: a cell or network.
      params: its parameters, float32 or float64.
      lengths: whether the model has the input of lengths.
      carry: whether it has the inputs of initial states; they are zero otherwise.

    Returns:
      A checked ``ModelProto`` of opset 14.

    Raises:
      TypeError: for a cell that was changed, or other parameters.
      ValueError: for cells that ONNX lacks, such as a projected LSTM.

    Example:
      >>> import jax, jaxrnn, onnx
      >>> net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)
      >>> model = jaxrnn.interop.onnx.export(net, net.init(jax.random.key(0), 3, 5))
      >>> onnx.checker.check_model(model)
      >>> [node.op_type for node in model.graph.node]
      ['Constant', 'LSTM', 'Transpose', 'Reshape', 'LSTM', 'Transpose', 'Reshape']
    """
    from jaxrnn.interop.onnx_export import model

    return model(net, dump(net, params), lengths=lengths, carry=carry)
