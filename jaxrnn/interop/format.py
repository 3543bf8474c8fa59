"""What the conversion must know of a library, and the verbs that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jaxrnn
from jaxrnn.base import Cell, DType, Layer, PyTree
from jaxrnn.interop import convert, structure
from jaxrnn.interop.convert import Prefix
from jaxrnn.interop.layout import Layout
from jaxrnn.interop.names import base, flatten
from jaxrnn.interop.structure import Unit

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
      has: for each kind of cell, ``"elman"``, ``"gru"`` or ``"lstm"``, the options it has and
        their values; None for any. Options that are not named must have their default. A
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

    def names(self, source: Any, prefix: Prefix, net: Any = None) -> tuple[Names, Prefix]:
        """The arrays of a source by whole name, and what stands before the names."""
        if self.find is not None:
            return self.find(source, prefix, net)
        return flatten(source, self.separator), prefix

    def load(
        self, net: Cell | Layer, source: Any, prefix: Prefix = "", *, dtype: DType | None = None
    ) -> PyTree:
        """The parameters of a network from a library's arrays.

        Everything is checked before anything is converted, and every problem is in one error.

        Args:
          net: a cell of make_elman, make_lstm or make_gru, or what `jaxrnn.rnn`, `jaxrnn.stack`
            or `jaxrnn.bidirectional` make of such; `infer` finds the right one.
          source: arrays by name, nested or flat: a ``state_dict``, ``variables``, a module that
            is a pytree, or what `jaxrnn.interop.read` made of a file.
          prefix: what stands before the names, such as ``"encoder.lstm"``, or one for each
            layer.
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
          prefix: what to put before the names, or one for each layer.
          bias: whether the library's modules have biases; if None, where the parameters have.
            A library whose modules always have biases gets zeros where there are none.
          **options: ``double_bias=False`` for a ``VanillaRNN`` of haiku without the second
            bias, ``mgu=True`` for an ``MGUCell`` of flax.linen, ``optimized=False`` for an
            ``LSTMCell`` of flax.nnx.

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
        arrays = convert.dump(self, net, params, prefix, bias=bias, options=options)
        return self.nest(arrays)

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
        arrays, prefix = self.names(source, prefix)
        if not isinstance(prefix, str):
            raise TypeError(f"prefix: expected one, got {prefix!r}")
        start = base(prefix, self.separator)
        if (one := self.layer(arrays, start, **options)) is not None:
            return one
        found: list[Any] = []
        while one := self.layer(arrays, start + self.layers.format(len(found) or 0), **options):
            found += structure.layers(one)
        if not found:
            names = [name for name in arrays if name.startswith(start)]
            raise ValueError(f"source: expected {self.expected} below {start!r}, got {names}")
        return jaxrnn.stack(*found)


def blocks(arrays: Names, name: str, *, transposed: bool = False) -> int:
    """How many blocks a recurrent kernel has; 0 if there is no such array."""
    shape = tuple(getattr(arrays.get(name), "shape", ()))
    size, width = (shape[::-1] if transposed else shape) if len(shape) == 2 else (1, 0)
    return width // size if size and width % size == 0 else 0


def both(cell: Callable[[str], Any], at: str, forward: str, backward: str) -> Any:
    """Both directions of a cell, if both are there."""
    cells = cell(at + forward), cell(at + backward)
    return None if None in cells else jaxrnn.bidirectional(*cells)
