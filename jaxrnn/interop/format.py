"""What the conversion must know of a library, and the verbs that follow from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

import jaxrnn
from jaxrnn.base import Cell, DType, Layer, PyTree, check_cell
from jaxrnn.interop import carries, convert, structure
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.layout import Layout
from jaxrnn.interop.mapped import Mapped, dump_mapped, load_mapped
from jaxrnn.interop.names import base, flatten
from jaxrnn.interop.structure import Unit
from jaxrnn.networks.directions import Directions

__all__ = ["Format"]

Names = dict[str, Any]


def _spec(unit: Unit) -> Any:
    return unit.kind, {name: value for name, value in unit.options.items() if name != "update"}


@dataclass(frozen=True)
class Format:
    """How a library stores its layers, with the verbs `load`, `dump` and `infer`.

    ``help(jaxrnn.interop.torch)`` and its like say what a library's arrays are called, how they
    are laid out, and what cannot be told from them.

    Attributes:
      name: how errors call the library.
      has: for each kind of cell, ``"elman"``, ``"gru"``, ``"lstm"`` or ``"mgu"``, the options it
        has and their values; None for any. Options that are not named must have their default. A
        library that joins directions otherwise than by concatenation too has ``"merge"`` here.
      layout: ``layout(unit, has, **options) -> Layout``, the entries named from the prefix on;
        ``has(name)`` says whether the source has a name, and is never true in a `dump`.
      layer: ``layer(arrays, at, **options)``, the cell or layer that the names from `at` on
        belong to, or None.
      expected: what `infer` looks for, for its error.
      separator: what joins the parts of a name.
      layers: the names of the layers, with a place for the number.
      holds: what one module of the library holds, whose cells must therefore be alike.
      alike: what of a cell must be so; by default all that no conversion changes.
      biasless: whether the library has modules without biases.
      find: ``find(source, prefix, net)`` where names are not just those of nested mappings:
        the arrays by name, and the prefix that they have; the net is None in `infer`.
      nest: what `dump` returns, out of whole names and arrays.
      ignored: whether a name is none of the conversion's business, such as a PRNG state.
      state: the order of the parts of an LSTM's state.
      disguised: patterns of names that weights have in another form, and what to do about it.
      cells: for the type of a cell's `spec`, how one such cell is stored that is no such table of
        matrices; networks of these are loaded cell by cell.
    """

    name: str
    has: Mapping[str, Mapping[str, tuple[Any, ...] | None]]
    layout: Callable[..., Layout]
    layer: Callable[..., Any]
    expected: str
    separator: str = "."
    layers: str = "{}."
    holds: Literal["cell", "layer", "network"] = "cell"
    alike: Callable[[Unit], Any] = _spec
    biasless: bool = False
    find: Callable[[Any, Prefix, Any], tuple[Names, Prefix]] | None = None
    nest: Callable[[Names], Any] = dict
    ignored: Callable[[str], bool] = lambda name: False
    state: tuple[str, str] = ("h", "c")
    disguised: tuple[tuple[str, str], ...] = ()
    cells: Mapping[type, Mapped] = field(default_factory=dict)

    def names(self, source: Any, prefix: Prefix, net: Any = None) -> tuple[Names, Prefix]:
        """The arrays of a source by whole name, and what stands before the names."""
        prefix = convert.by_layer(prefix)
        if self.find is not None:
            return self.find(source, prefix, net)
        return flatten(source, self.separator), prefix

    def _mapped(self, net: Any) -> Mapped | None:
        """How such a cell is stored, if it is one of `cells`."""
        check_cell("net", net)
        one = self.cells.get(type(net.spec))
        if one is None and not self.has:
            raise ValueError(
                f"net: no exact counterpart:\n  the cell {net.name!r}: {self.name} has none"
            )
        return one

    def load(
        self, net: Cell | Layer, source: Any, prefix: Prefix = "", *, dtype: DType | None = None
    ) -> PyTree:
        """The parameters of a network from a library's arrays.

        Everything is checked before anything is converted, and every problem is in one error.

        Args:
          net: a cell of make_elman, make_lstm, make_gru or make_mgu, or what `jaxrnn.rnn`,
            `jaxrnn.stack` or `jaxrnn.bidirectional` make of such, or one of the other cells that
            the library's page names; `infer` finds the right one.
          source: arrays by name, nested or flat: a ``state_dict``, ``variables``, a module that
            is a pytree, or what `jaxrnn.interop.read` made of a file.
          prefix: what stands before the names, such as ``"encoder.lstm"``, or one for each
            layer; for one of two modules, ``jaxrnn.Directions(forward, backward)``.
          dtype: the dtype to convert to; that of the arrays if None.

        Returns:
          Parameters as ``net.init`` gives them. Where the source has no biases they are None in
          a cell made with ``use_bias=False``, and zero in any other.

        Raises:
          TypeError: for a cell that was changed, or that no constructor named above made.
          ValueError: for cells that the library lacks, and with a line for each array that is
            missing, surplus, of the wrong shape or dtype.

        Example:
          >>> import jaxrnn, numpy as np
          >>> state = {"weight_ih": np.ones((5, 3), "f"), "weight_hh": np.ones((5, 5), "f")}
          >>> jaxrnn.interop.torch.load(jaxrnn.elman, state).input_kernel.shape
          (3, 5)
        """
        if (one := self._mapped(net)) is not None:
            return load_mapped(self, one, net, source, prefix, dtype)
        return convert.load(self, net, source, prefix, dtype)

    def dump(
        self,
        net: Cell | Layer,
        params: PyTree,
        prefix: Prefix = "",
        *,
        bias: bool | None = None,
        **options: Any,
    ) -> Any:
        """A library's arrays from the parameters of a network, the inverse of `load`.

        Args:
          net: as for `load`; a cell for the names of a cell of the library, `jaxrnn.rnn` for
            those of a network.
          params: its parameters.
          prefix: what to put before the names, as for `load`.
          bias: whether the library's modules have biases; if None, where the parameters have.
            A library whose modules always have biases gets zeros where there are none.
          **options: ``double_bias=False`` for a ``VanillaRNN`` of haiku without the second
            bias, ``mgu=True`` for an ``MGUCell`` of flax.linen, ``optimized=False`` for an
            ``LSTMCell`` of flax.nnx, ``backend="cuda"`` for a cell of xlstm.

        Returns:
          Numpy arrays by name, in the library's order; nested as its modules are in Flax and
          haiku.

        Raises:
          TypeError: as `load`, and for parameters of another cell.
          ValueError: for cells that the library lacks, cells that differ where one module holds
            them all, parameters that have no place, and wrong shapes.

        Example:
          >>> import jax, jaxrnn
          >>> net = jaxrnn.rnn(jaxrnn.lstm)
          >>> list(jaxrnn.interop.torch.dump(net, net.init(jax.random.key(0), 3, 5)))
          ['weight_ih_l0', 'weight_hh_l0', 'bias_ih_l0', 'bias_hh_l0']
        """
        if bias is False and not self.biasless:
            raise ValueError(f"bias: expected True or None, got False: all of {self.name} have one")
        if (one := self._mapped(net)) is not None:
            return self.nest(dump_mapped(self, one, net, params, prefix, bias, options))
        return self.nest(convert.dump(self, net, params, prefix, bias=bias, options=options))

    def infer(self, source: Any, prefix: Prefix = "", **options: Any) -> Any:
        """The network that a library's arrays belong to.

        Args:
          source: as for `load`.
          prefix: as for `load`.
          **options: ``nonlinearity="relu"`` for an RNN of torch, ``attributes`` for ONNX.

        Returns:
          A cell, both directions of one, or a network of the layers; made with
          ``use_bias=False`` where the library's module has no biases.

        Raises:
          ValueError: if the arrays are of no such module.

        Example:
          >>> import jaxrnn, numpy as np
          >>> state = {"weight_ih_l0": np.ones((20, 3)), "weight_hh_l0": np.ones((20, 5))}
          >>> jaxrnn.interop.torch.infer(state).name
          'stack(lstm(use_bias=False))'
        """
        arrays, given = self.names(source, prefix)
        if not isinstance(given, str):  # one for each layer
            return jaxrnn.stack(*(self._layer_at(source, one, options) for one in given))
        if (net := self._network(arrays, given, options)) is not None:
            return net
        names = [name for name in arrays if name.startswith(base(given, self.separator))]
        got = f"{names[:8]}{f' and {len(names) - 8} more' if len(names) > 8 else ''}"
        hints = self.hints(source, [given], elsewhere=True, options=options)
        raise ValueError(
            "\n  ".join([f"source: expected {self.expected} below {prefix!r}, got {got}", *hints])
        )

    def _network(self, arrays: Names, prefix: str, options: Mapping[str, Any]) -> Any:
        """The network below a prefix, or None."""
        start = base(prefix, self.separator)
        if (one := self.layer(arrays, start, **options)) is not None:
            return one
        found: list[Any] = []
        while one := self.layer(arrays, start + self.layers.format(len(found) or 0), **options):
            found += structure.layers(one)
        return jaxrnn.stack(*found) if found else None

    def _layer_at(self, source: Any, prefix: str | Directions, options: Mapping[str, Any]) -> Any:
        """The one layer that has a prefix."""
        if isinstance(prefix, Directions):
            return jaxrnn.bidirectional(*(self._layer_at(source, one, options) for one in prefix))
        net: Any = self.infer(source, base(prefix, self.separator), **options)
        found = structure.layers(net)
        if len(found) != 1:
            raise ValueError(f"prefix: expected one layer at {prefix!r}, got {len(found)}")
        return found[0]

    def hints(
        self,
        source: Any,
        prefixes: Sequence[str],
        *,
        elsewhere: bool,
        options: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Lines for an error about arrays: what was not read, is in another form, or elsewhere."""
        starts, skipped = tuple(prefixes), getattr(source, "skipped", {})
        lost = ((name, why) for name, why in skipped.items() if name.startswith(starts))
        lines = [f"{name}: was not read: {why}" for name, why in islice(lost, 8)]
        names = [*flatten(source, self.separator), *skipped]
        for pattern, what in self.disguised:
            if name := next(
                (n for n in names if n.startswith(starts) and re.search(pattern, n)), ""
            ):
                lines.append(f"{name}: {what}")
        if elsewhere and (fitting := self._prefixes(source, names, options or {})):
            lines.append(f"weights that fit are below {', '.join(map(repr, fitting))}: see prefix")
        return lines

    def _prefixes(self, source: Any, names: list[str], options: Mapping[str, Any]) -> list[str]:
        """The first prefixes below which there are networks."""
        there = {""}
        with suppress(ValueError, TypeError):
            names = [*self.names(source, "")[0], *names]
        for name in names:
            parts = name.split(self.separator)
            there |= {self.separator.join(parts[:k]) for k in range(1, len(parts))}
        found: list[str] = []
        for prefix in islice(sorted(there, key=lambda one: one.count(self.separator)), 200):
            if not any(prefix.startswith(base(one, self.separator)) for one in found):
                try:
                    arrays, given = self.names(source, prefix)
                    net = self._network(arrays, given if isinstance(given, str) else "", options)
                except (ValueError, TypeError):  # something else is there
                    continue
                found += [prefix] if net is not None else []
        return found[:5]

    def load_carry(self, net: Cell | Layer, source: Any) -> PyTree:
        """The carry of a network from a library's state.

        ========  ======================================================================
        torch     ``h_n`` (layers · dirs, B, H), of an LSTM ``(h_n, c_n)``; of a cell (B, H)
        linen     (c, h) of an LSTM; of a Bidirectional a pair of states, forward first; of
                  several layers one state for each
        nnx       as linen
        equinox   alike, but (h, c)
        ========  ======================================================================

        Args:
          net: as for `load`: a cell for the state of a cell of torch, `jaxrnn.rnn` for that of a
            network of its.
          source: the state, arrays of any library; without an axis B alike.

        Returns:
          The carry that `jaxrnn.scan` takes: for each layer h, or ``LSTMCarry(h, c)``,
          `jaxrnn.Directions` of two. c of a half type becomes float32, as it is kept here.

        Raises:
          TypeError: as `load`, and for a carry that is one of jaxrnn already.
          ValueError: for another number of layers, directions or arrays.

        Example:
          >>> import jaxrnn, numpy as np
          >>> net = jaxrnn.rnn(jaxrnn.lstm, 2)
          >>> states = np.zeros((2, 3, 5), "f"), np.ones((2, 3, 5), "f")
          >>> jaxrnn.interop.torch.load_carry(net, states)[1].c.shape
          (3, 5)
        """
        return carries.load_carry(self, net, source)

    def dump_carry(self, net: Cell | Layer, carry: PyTree) -> Any:
        """A library's state from the carry of a network, the inverse of `load_carry`.

        Args:
          net: as for `load_carry`.
          carry: the network's carry.

        Returns:
          Arrays of numpy, stacked or nested as the library has them, c of the dtype of h.

        Raises:
          TypeError: as `load`, and for the carry of another network.
          ValueError: for states of several sizes where the library stacks them.

        Example:
          >>> import jax, jaxrnn
          >>> net = jaxrnn.rnn(jaxrnn.gru, 2, bidirectional=True)
          >>> params = net.init(jax.random.key(0), 3, 5)
          >>> jaxrnn.interop.torch.dump_carry(net, net.carry(params, (7,))).shape
          (4, 7, 5)
        """
        return carries.dump_carry(self, net, carry)


def blocks(arrays: Names, name: str, *, transposed: bool = False) -> int:
    """How many blocks a recurrent kernel has; 0 if there is no such array."""
    shape = tuple(getattr(arrays.get(name), "shape", ()))
    size, width = (shape[::-1] if transposed else shape) if len(shape) == 2 else (1, 0)
    return width // size if size and width % size == 0 else 0


def both(cell: Callable[[str], Any], at: str, forward: str, backward: str) -> Any:
    """Both directions of a cell, if both are there."""
    cells = cell(at + forward), cell(at + backward)
    return None if None in cells else jaxrnn.bidirectional(*cells)
