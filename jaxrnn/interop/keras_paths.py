"""Where in a Keras model the cells of its layers are, by their paths and its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from jaxrnn.interop.keras_config import BLOCKS, Described, describe_layers, file_name, options
from jaxrnn.interop.names import base, flatten, numbered, to_numpy
from jaxrnn.interop.structure import Unit

__all__ = ["Holder", "agree", "cells_below", "holders", "placed", "said"]

NAMES = ("kernel", "recurrent_kernel", "bias")
IGNORED = re.compile(r"(^|/)(seed_generator(_\d+)?|optimizer|optimizer_weights)/|(^|/)seed_gen")
CELL = re.compile(r"(^|/)(cell/cells/[^/]+|stacked_rnn_cells(_\d+)?/[^/]+|([^/]*_)?cell(_\d+)?)$")
"""What follows the name of a layer in the path of a cell."""
LAYERS = "_layer_checkpoint_dependencies/", "layers/"  # of Keras 2.12, and since
ONE = re.compile(r"bidirectional(_\d+)?")
MANY = re.compile(r"(sequential|functional|model)(_\d+)?")
"""What Keras calls a Bidirectional and a model, unless they are given a name."""


class Holder(NamedTuple):
    """A layer: where it is, its directions' cells with their paths, what the model says of it."""

    path: str
    cells: list[tuple[str, dict[str, Any]]]
    described: Described | None = None
    number: int = 0  # of the cell, where a layer holds several


def cells_below(source: Any, start: str) -> dict[str, dict[str, Any]]:
    """For each cell below a prefix its arrays by `NAMES`; whatever else is there, alike."""
    cells: dict[str, dict[str, Any]] = {}
    if isinstance(source, Mapping):
        source = {name: leaf for name, leaf in source.items() if name != "model_config"}
    for name, leaf in flatten(source, "/").items():
        path = re.sub(r":0$", "", name).replace(*LAYERS)
        if not path.startswith(start) or IGNORED.search(path):
            continue
        cell, _, last = path.rpartition("/")
        if cell == "vars" or cell.endswith("/vars"):  # of a file, which numbers them
            cell, last = cell[:-5], f"vars/{last}"
        cells.setdefault(cell, {})[last] = leaf
    return {cell: _from_cudnn(_named(cells[cell])) for cell in sorted(cells, key=numbered)}


def _named(cell: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a cell by `NAMES` where they are numbered; a Dense has no second kernel."""
    names = NAMES if len(_shape(cell, "vars/1")) > 1 else ("kernel", "bias")
    known = {f"vars/{number}": name for number, name in enumerate(names)}
    return {known.get(name, name): leaf for name, leaf in cell.items()}


def _shape(cell: Mapping[str, Any], name: str) -> tuple[int, ...]:
    return tuple(getattr(cell.get(name), "shape", ()))


def _from_cudnn(cell: dict[str, Any]) -> dict[str, Any]:
    """The arrays of a CuDNNGRU or CuDNNLSTM of Keras 2 as a GRU or LSTM has them.

    Each gate's kernel holds the numbers of cuDNN's (H, D), row by row, in an array (D, H); the
    two biases are one vector.
    """
    shapes = [_shape(cell, name) for name in NAMES]
    if [len(shape) for shape in shapes] != [2, 2, 1] or not shapes[1][0]:
        return cell
    hidden, width = shapes[1]
    if shapes[2] != (2 * width,) or width not in (3 * hidden, 4 * hidden):
        return cell

    def turned(kernel: Any) -> np.ndarray:
        gates = np.split(to_numpy(kernel), width // hidden, axis=1)
        return np.concatenate([gate.reshape(hidden, -1).T for gate in gates], axis=1)

    biases = to_numpy(cell["bias"]).reshape(2, width)
    bias = biases if width == 3 * hidden else biases.sum(0, dtype=biases.dtype)
    return {**cell, "kernel": turned(cell["kernel"]), "bias": bias,
            "recurrent_kernel": turned(cell["recurrent_kernel"])}  # fmt: skip


def holders(source: Any, prefix: str) -> list[Holder]:
    """The layers below a prefix; one for each cell where a layer holds several."""
    start = base(prefix, "/").replace(*LAYERS)
    cells = cells_below(source, start)
    given = source.get("model_config") if isinstance(source, Mapping) else None
    described = [] if given is None else describe_layers(given)
    at: dict[str, tuple[int, Described] | None] = {}  # by path of a cell
    for path in cells:
        at[path] = placed(path, described) if "recurrent_kernel" in cells[path] else None
    inside: dict[str, list[str]] = {}  # paths of cells by path of a layer
    for path in cells:
        inside.setdefault(CELL.sub("", path), []).append(path)
    pairs = _pairs(inside, cells, {CELL.sub("", path): one for path, one in at.items()})
    found = []
    for holder, paths in inside.items():
        if holder in pairs.values():  # a backward direction
            continue
        other = inside[pairs[holder]] if holder in pairs else None
        if other and len(paths) + len(other) > 2:
            raise ValueError(
                f"source: {holder} and {pairs[holder]} are a Bidirectional of several cells, which "
                "has no counterpart; load each direction by its prefix, run the backward one by "
                "scan(..., reverse=True), and join their outputs"
            )
        where = holder.rpartition("/")[0] if other else holder
        one = at[paths[0]]
        if one and len(paths) > 1:
            paths = sorted(paths, key=partial(_rank, one[1]))
        for k, path in enumerate(paths):
            both = [(p, cells[p]) for p in (path, *(other or ()))]
            found.append((one[0] if one else 0, Holder(where, both, one and one[1], k)))
    return [layer for _, layer in sorted(found, key=lambda item: item[0])]


def placed(path: str, described: list[Described]) -> tuple[int, Described] | None:
    """The layer that a cell belongs to, with its number: the one named most fully."""
    if not described:
        return None
    parts = path.split("/")

    def holds(layer: Described) -> bool:
        if "layers" in parts:  # of a file that calls layers by their classes
            return f"{path}/".startswith(f"{layer.path}/")
        left = iter(parts)
        return all(name in left for name in layer.names)

    fitting = [(len(one.names), -k) for k, one in enumerate(described) if holds(one)]
    if not fitting:
        raise ValueError(
            f"source: model_config says nothing of {path}; leave it out to go by names alone"
        )
    number = -max(fitting)[1]
    return number, described[number]


def _rank(layer: Described, path: str) -> int:
    """Which cell of its layer a cell is."""
    last, seen = path.rpartition("/")[2], []
    if "layers" in path.split("/"):
        count: dict[str, int] = {}
        for kind, _ in layer.cells():
            snake = f"{kind}Cell"
            seen.append(file_name(snake, count))
    else:
        seen = [config.get("name") for _, config in layer.cells()]
    return seen.index(last) if last in seen else len(seen)


def _pairs(
    inside: Mapping[str, list[str]],
    cells: Mapping[str, dict[str, Any]],
    at: Mapping[str, tuple[int, Described] | None],
) -> dict[str, str]:
    """The layers that are the directions of one, backward by forward."""
    beside: dict[str, list[str]] = {}
    for holder in inside:
        beside.setdefault(holder.rpartition("/")[0], []).append(holder)
    pairs = {}
    for parent, two in beside.items():
        deeper = [one for one in inside if parent and one.startswith(parent + "/")]
        if len(two) != 2 or len(deeper) > 2:
            continue
        names = [one.rpartition("/")[2] for one in two]
        order = sorted(range(2), key=lambda k: _direction(names[k]))
        two, names = [two[k] for k in order], [names[k] for k in order]
        known = at[two[0]]
        if known:
            is_pair = known[1].kind == "Bidirectional"
        else:
            is_pair = _is_pair(parent, names, [cells[inside[one][0]] for one in two])
        if is_pair and _direction(names[0]) == _direction(names[1]):
            raise ValueError(
                f"source: which of {' and '.join(two)} goes backward? give a prefix for each"
            )
        if is_pair:
            pairs[two[0]] = two[1]
    return pairs


def _direction(name: str) -> int:
    """0 forward, 2 backward; Keras leaves the name of a backward layer of one's own."""
    return 0 if name.startswith("forward") else 2 if name.startswith("backward") else 1


def _is_pair(parent: str, names: list[str], kernels: list[dict[str, Any]]) -> bool:
    """Whether two layers in one place are the directions of one: by their names and sizes."""
    first, second = (_shape(cell, "kernel") for cell in kernels)
    state = _shape(kernels[0], "recurrent_kernel")
    if not names[0].startswith("forward") or [*map(len, (first, second, state))] != [2, 2, 2]:
        return False
    if names in (["forward", "backward"], ["forward_layer", "backward_layer"]):
        return True  # of `dump`, of Keras' files
    last, backward = parent.rpartition("/")[2], names[1].startswith("backward")
    fits = second[0] == state[0]  # the second upon the first
    if first[0] != second[0]:
        return False
    if ONE.fullmatch(last):
        return True
    if not last or MANY.fullmatch(last):
        return backward and not fits
    if backward:
        return True
    raise ValueError(
        f"source: {names[0]} and {names[1]} in {parent} may be a Bidirectional or two layers; give "
        "a prefix for each, or the configuration as 'model_config'"
    )


def said(layer: Holder, described: Described) -> dict[str, Any]:
    """What the configuration says of a layer, checked against its arrays."""
    told: dict[str, Any] = {"options": []}
    if described.backwards:
        told["go_backwards"] = str(described)
    if described.kind == "Bidirectional":
        told["merge"] = described.merge
    for d, (path, cell) in enumerate(layer.cells):
        cells = described.cells(d or _is_backward(layer.path, described))
        kind, config = cells[min(layer.number, len(cells) - 1)]
        told["options"].append(options(described, kind, config))
        shape, has = _shape(cell, "recurrent_kernel"), "bias" in cell
        units, bias = config.get("units", shape[0] if shape else 0), config.get("use_bias", has)
        if shape != (units, BLOCKS[kind] * shape[0] if shape else 0) or bias != has:
            raise ValueError(
                f"source: model_config: {described} is {kind}(units={units}, use_bias={bias}), and "
                f"{path} has a recurrent_kernel {list(shape)} and {'a' if has else 'no'} bias"
            )
    return told


def _is_backward(path: str, described: Described) -> bool:
    """Whether a direction that is loaded by its own prefix is the backward one."""
    last, own = path.rpartition("/")[2], described.directions[-1][1].get("name")
    both = described.kind == "Bidirectional"
    return both and (last.startswith("backward") or (described.own and last == own))


def agree(layer: Holder, told: Mapping[str, Any], row: list[Unit], merge: Any) -> None:
    """ValueError if the configuration says another function than the network computes."""
    problems = []
    for unit, own in zip(row, told["options"], strict=False):
        for name, value in own.items():
            if unit.option(name) not in (None, value):
                problems.append(f"{name} is {value!r}, and {unit.option(name)!r} in the network")
    if len(row) == len(layer.cells) == 2 and told.get("merge", merge) != merge:
        problems.append(f"merge is {told['merge']!r}, and {merge!r} in the network")
    if problems:
        raise ValueError(
            f"net: not what model_config says of {layer.described}: {'; '.join(problems)}: "
            "they are different functions; infer gives the right one"
        )
