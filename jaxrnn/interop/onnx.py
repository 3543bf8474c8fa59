"""Weights of ONNX's `RNN`, `LSTM` and `GRU` nodes; nodes evaluated; networks exported.

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
direction ``W.0`` and ``W.1``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn.base import Array, Cell, DType, Layer, PyTree
from jaxrnn.checks import check_choice
from jaxrnn.interop import convert, onnx_cells, structure
from jaxrnn.interop.convert import Library, Prefix
from jaxrnn.interop.layout import Entry, Layout, entry
from jaxrnn.interop.names import base, flatten, library, to_numpy
from jaxrnn.interop.structure import Unit

__all__ = ["ONNX", "dump", "export", "infer", "load", "network", "run", "run_node"]

GATES = {"elman": "h", "lstm": "iofg", "gru": "zrn"}
KINDS = {"RNN": "elman", "LSTM": "lstm", "GRU": "gru"}
ACTIVATIONS = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
DIRECTIONS = ("forward", "reverse", "bidirectional")
ATTRIBUTES = {
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size",
    "input_forget", "layout", "linear_before_reset",
}  # fmt: skip


def _layout(unit: Unit, has: Callable[[str], bool]) -> Layout:
    gates, d = GATES[structure.family(unit.cell)], unit.direction
    start = (
        "" if unit.layer is None or (unit.layers == 1 and not has("0.W.0")) else f"{unit.layer}."
    )
    biases = (tuple(tensor + gate for tensor in "bs" for gate in gates),)
    entries = [
        entry(f"{start}W.{d}", "W", gates, transposed=True),
        entry(f"{start}R.{d}", "R", gates, transposed=True),
        Entry(f"{start}B.{d}", biases, optional=f"{start}B"),
    ]
    if gates == "iofg" and structure.option(unit.cell, "peepholes"):
        entries.append(entry(f"{start}P.{d}", "p", "iof", optional=f"{start}P"))
    return Layout(tuple(entries))


ONNX = Library(
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
)
"""What ONNX has, for `jaxrnn.interop.convert`."""


def _directions(source: Mapping[str, Any]) -> dict[str, Any]:
    """Each direction's arrays by themselves."""
    parts = {}
    for name, leaf in flatten(source).items():
        array = to_numpy(leaf)
        ranks = {"W": 3, "R": 3, "B": 2, "P": 2}
        if array.ndim and array.ndim == ranks.get(name.rpartition(".")[2]):
            parts |= {f"{name}.{d}": part for d, part in enumerate(array)}
        else:
            parts[name] = array
    return parts


def load(
    net: Cell | Layer, source: Mapping[str, Any], prefix: Prefix = "", *, dtype: DType | None = None
) -> PyTree:
    """The parameters of a network from the inputs W, R, B and P of ONNX nodes.

    Args:
      net: a cell or network; `infer` and `network` make the right one.
      source: the arrays by name; what else a file holds must not stand below the prefix.
      prefix: what stands before the names, or one for each layer.
      dtype: the dtype to convert to; that of the arrays if None.

    Returns:
      Parameters as ``net.init`` gives them; without B or P in the source, theirs are zero.

    Raises:
      TypeError: for a network of cells that no library has.
      ValueError: for cells that ONNX lacks, and with a line for each array that is missing,
        surplus, of the wrong shape or dtype.

    Example:
      >>> import jaxrnn, numpy as np
      >>> from jaxrnn.interop import onnx
      >>> arrays = {"W": np.ones((1, 20, 3), "f"), "R": np.ones((1, 20, 5), "f")}
      >>> onnx.load(jaxrnn.lstm, arrays).input_kernel.shape
      (3, 20)
    """
    return convert.load(ONNX, net, _directions(source), prefix, dtype=dtype)


def dump(net: Cell | Layer, params: PyTree, prefix: Prefix = "") -> dict[str, np.ndarray]:
    """The inputs W, R, B and P of ONNX nodes from the parameters of a network.

    Args:
      net: a cell or network.
      params: its parameters.
      prefix: as in `load`.

    Returns:
      Numpy arrays by name.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that ONNX lacks, or parameters that have no place.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.interop import onnx
      >>> arrays = onnx.dump(jaxrnn.gru, jaxrnn.gru.init(jax.random.key(0), 3, 5))
      >>> {name: array.shape for name, array in arrays.items()}
      {'W': (1, 15, 3), 'R': (1, 15, 5), 'B': (1, 30)}
    """
    parts: dict[str, list[np.ndarray]] = {}
    for name, array in convert.dump(ONNX, net, params, prefix).items():
        parts.setdefault(name[:-2], []).append(array)
    return {name: np.stack(arrays) for name, arrays in parts.items()}


def network(
    op_type: str, attributes: Mapping[str, Any] | None = None, *, peepholes: bool = False
) -> Cell | Layer:
    """The cell of a node, or both directions of it.

    Args:
      op_type: ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
      attributes: the node's attributes. A node of direction ``"reverse"`` is a cell, to be run
        by ``jaxrnn.scan(..., reverse=True)``.
      peepholes: whether the node has an input P.

    Raises:
      ValueError: for an unknown type, attribute, or value of one.

    Example:
      >>> from jaxrnn.interop import onnx
      >>> onnx.network("GRU", {"linear_before_reset": 1, "direction": "bidirectional"}).name
      'bidirectional(gru)'
    """
    check_choice("op_type", op_type, tuple(KINDS))
    given = dict(attributes or {})
    if unknown := sorted(given.keys() - ATTRIBUTES):
        raise ValueError(f"attributes: expected some of {sorted(ATTRIBUTES)}, got {unknown}")
    direction, clip = given.get("direction", "forward"), given.get("clip") or None
    check_choice("direction", direction, DIRECTIONS)
    count, each = 1 + (direction == "bidirectional"), len(ACTIVATIONS[op_type])
    names = given.get("activations") or ACTIVATIONS[op_type] * count
    if len(names) != count * each:
        raise ValueError(f"activations: expected {count * each} for {op_type}, got {names}")
    values = given.get("activation_alpha", ()), given.get("activation_beta", ())
    phis = onnx_cells.activations(names, *values, clip)
    free = onnx_cells.activations(names, *values, None)
    made = []
    for d in range(count):
        mine = slice(d * each, (d + 1) * each)
        made.append(
            onnx_cells.make(
                KINDS[op_type],
                tuple(phis[mine]),
                peepholes=peepholes,
                coupled=bool(given.get("input_forget")),
                reset="after" if given.get("linear_before_reset") else "before",
                bounded=free[mine][-1] if op_type == "LSTM" else None,
            )
        )
    return made[0] if count == 1 else jaxrnn.bidirectional(*made)


def infer(
    source: Mapping[str, Any], prefix: str = "", *, attributes: Mapping[str, Any] | None = None
) -> Any:
    """The network that the inputs W, R, B and P of nodes belong to.

    Args:
      source: the arrays by name.
      prefix: what stands before the names.
      attributes: of the nodes, where they are not the default ones.

    Returns:
      A cell, both directions of one, or for several layers a stack.

    Raises:
      ValueError: if the arrays are of no such nodes.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import onnx
      >>> onnx.infer({"W": np.ones((2, 15, 3)), "R": np.ones((2, 15, 5))}).name
      'bidirectional(gru_reset_before)'
    """
    start = base(prefix, ".")
    shapes = {n: np.shape(to_numpy(a)) for n, a in flatten(source).items()}

    def layer(at: str) -> Any:
        shape = shapes.get(at + "R", ())
        if len(shape) != 3 or not shape[2]:
            return None
        op_type = {1: "RNN", 3: "GRU", 4: "LSTM"}.get(shape[1] / shape[2])
        given = dict(attributes or {})
        if shape[0] == 2:
            given["direction"] = "bidirectional"
        return op_type and network(op_type, given, peepholes=at + "P" in shapes)

    if (one := layer(start)) is not None:
        return one
    found: list[Any] = []
    while one := layer(f"{start}{len(found)}."):
        found.append(one)
    if not found:
        raise ValueError(
            f"source: expected {start}R or {start}0.R (dirs, gates H, H), got {shapes}"
        )
    return jaxrnn.stack(*found)


def run(
    op_type: str, inputs: Sequence[Any], attributes: Mapping[str, Any] | None = None
) -> list[Array]:
    """Evaluate a node.

    Args:
      op_type: ``"RNN"``, ``"LSTM"`` or ``"GRU"``.
      inputs: X, W, R, B, sequence_lens, initial_h, initial_c and P as far as there are any,
        None for one left out.
      attributes: the node's attributes.

    Returns:
      Y, Y_h and, of an LSTM, Y_c.

    Raises:
      ValueError: for unknown attributes, or inputs of the wrong shape.

    Example:
      >>> import numpy as np
      >>> from jaxrnn.interop import onnx
      >>> x, w, r = np.ones((7, 2, 3), "f"), np.ones((1, 15, 3), "f"), np.ones((1, 15, 5), "f")
      >>> y, y_h = onnx.run("GRU", [x, w, r], {"linear_before_reset": 1})
      >>> y.shape, y_h.shape
      ((7, 1, 2, 5), (1, 2, 5))
    """
    names = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
    given = {n: x for n, x in zip(names, inputs, strict=False) if x is not None}
    attributes = dict(attributes or {})
    net = network(op_type, attributes, peepholes="P" in given)
    params = load(net, {name: given[name] for name in ("W", "R", "B", "P") if name in given})
    batch_major = bool(attributes.get("layout"))
    turn = (lambda x: jnp.swapaxes(jnp.asarray(x), 0, 1)) if batch_major else jnp.asarray
    xs, hidden = turn(given["X"]), given["R"].shape[2]
    if attributes.get("hidden_size", hidden) != hidden:
        raise ValueError(
            f"attributes: expected hidden_size {hidden} from R {given['R'].shape}, got "
            f"{attributes['hidden_size']}"
        )
    units = structure.units(net)[0]
    state = {n: turn(given[n]) for n in ("initial_h", "initial_c") if n in given}
    shape = (len(units), xs.shape[1], hidden)
    for name, array in state.items():
        if array.shape != shape:
            raise ValueError(f"{name}: expected shape {shape} (dirs, B, H), got {array.shape}")
    carries = []
    for unit, mine in zip(units, structure.spread(net, params)[0], strict=True):
        carry = unit.cell.carry(mine, (xs.shape[1],))
        d = unit.direction
        if op_type == "LSTM":
            if "initial_h" in state:
                carry = carry._replace(h=state["initial_h"][d])
            if "initial_c" in state:
                carry = carry._replace(c=state["initial_c"][d])
        elif "initial_h" in state:
            carry = state["initial_h"][d]
        carries.append(carry)
    last, ys = jaxrnn.scan(
        net,
        params,
        xs,
        structure.gather(net, [carries]),
        lengths=given.get("sequence_lens"),
        reverse=attributes.get("direction") == "reverse",
    )
    finals = structure.spread(net, last)[0]
    y = ys.reshape(*ys.shape[:2], len(units), hidden)  # (T, B, dirs, H)
    y = jnp.swapaxes(y, 0, 1) if batch_major else jnp.swapaxes(y, 1, 2)
    if op_type != "LSTM":
        return [y, turn(jnp.stack(finals))]
    return [y, *(turn(jnp.stack([getattr(one, name) for one in finals])) for name in "hc")]


def run_node(node: Any, inputs: Sequence[Any]) -> list[Array]:
    """Evaluate a ``NodeProto``, for the onnx library's backend interface.

    Args:
      node: the node.
      inputs: arrays for the inputs that it names, in order.

    Returns:
      Arrays for the outputs that it names, in order.

    Raises:
      ValueError: as `run`.

    Example:
      >>> import numpy as np, onnx
      >>> from jaxrnn import interop
      >>> node = onnx.helper.make_node("RNN", ["x", "w", "r"], ["", "last"], hidden_size=5)
      >>> arrays = [np.ones(s, "f") for s in ((7, 2, 3), (1, 5, 3), (1, 5, 5))]
      >>> interop.onnx.run_node(node, arrays)[0].shape
      (1, 2, 5)
    """
    attributes = {a.name: library("onnx").helper.get_attribute_value(a) for a in node.attribute}
    if "activations" in attributes:
        attributes["activations"] = [name.decode() for name in attributes["activations"]]
    if "direction" in attributes:
        attributes["direction"] = attributes["direction"].decode()
    left = iter(inputs)
    outputs = run(node.op_type, [next(left) if name else None for name in node.input], attributes)
    return [y for name, y in zip(node.output, outputs, strict=False) if name]


def export(net: Cell | Layer, params: PyTree, *, lengths: bool = False, carry: bool = False) -> Any:
    """An ONNX model of a network.

    Its inputs are ``xs`` (T, B, D), ``lengths`` (B,) of int32 and for each layer k the initial
    ``h_{k}`` and ``c_{k}`` (dirs, B, H); its outputs ``ys`` (T, B, dirs H) and for each layer the
    last ``h_{k}_last`` and ``c_{k}_last``. T and B are free; dropout is left out.

    Args:
      net: a cell or network.
      params: its parameters, float32 or float64.
      lengths: whether the model has the input of lengths.
      carry: whether it has the inputs of initial states; they are zero otherwise.

    Returns:
      A checked ``ModelProto`` of opset 14.

    Raises:
      TypeError: for a network of cells that no library has, or other parameters.
      ValueError: for cells that ONNX lacks, such as a projected LSTM.

    Example:
      >>> import jax, jaxrnn, onnx
      >>> net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)
      >>> model = jaxrnn.interop.onnx.export(net, net.init(jax.random.key(0), 3, 5))
      >>> onnx.checker.check_model(model)
      >>> [node.op_type for node in model.graph.node]
      ['LSTM', 'Transpose', 'Reshape', 'LSTM', 'Transpose', 'Reshape']
    """
    from jaxrnn.interop.onnx_export import model

    return model(net, dump(net, params), lengths=lengths, carry=carry)
