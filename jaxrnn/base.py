"""The records that everything else is generic over: `Cell` and `Layer`.

One vocabulary of dimension letters is used throughout: T time, B batch, D input
features, H hidden features. Sequences are time-major, ``(T, *batch, D)``, with any
number of batch axes, none included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
from jax import typing

from jaxrnn.checks import check_flags, check_key, check_start, check_step

__all__ = [
    "Array",
    "ArrayLike",
    "Carry",
    "Cell",
    "DType",
    "Layer",
    "Made",
    "Matrix",
    "Params",
    "PyTree",
    "Spec",
    "add",
    "batch_shape",
    "check_cell",
    "documented",
    "name_of",
    "restart",
    "select",
    "split",
    "zeros",
]

Array = jax.Array
ArrayLike = typing.ArrayLike | Sequence[Any]
"""What `jnp.asarray` makes an array: arrays of JAX and numpy, numbers, lists of them."""
PyTree = Any
Params = Any
"""A pytree of arrays, usually a NamedTuple of ``(in, out)`` kernels and biases."""
Carry = Any
"""A pytree of arrays with leading batch axes: what a cell hands to its next step."""
DType = Any
P = TypeVar("P")
C = TypeVar("C")


def add(zx: PyTree, zh: PyTree) -> PyTree:
    """Leaf by leaf zx + zh; where one of them has None there is nothing to add.

    Args:
      zx: a pytree, or None.
      zh: a pytree alike, or None.

    Example:
      >>> from jaxrnn.base import add
      >>> add((1, None, 3), (10, 20, None)), add(1, None)
      ((11, 20, 3), 1)
    """
    if zx is None or zh is None:
        return zh if zx is None else zx
    parts, structure = jax.tree.flatten(zx, is_leaf=lambda part: part is not zx)
    if len(parts) == 1 and parts[0] is zx:
        return zx + zh
    return structure.unflatten(map(add, parts, structure.flatten_up_to(zh)))


def select(flags: PyTree, on_true: PyTree, on_false: PyTree) -> PyTree:
    """`jnp.where` over two pytrees, the flags broadcast over trailing axes; None is all True.

    Args:
      flags: booleans with the leading axes of the leaves, or a prefix tree of such, or None.
      on_true: a pytree.
      on_false: a pytree alike.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.base import select
      >>> select(jnp.array([True, False]), jnp.ones((2, 2)), jnp.zeros((2, 2))).tolist()
      [[1.0, 1.0], [0.0, 0.0]]
    """
    if flags is None:
        return on_true

    def one(flags: Array, a: Array, b: Array) -> Array:
        return jnp.where(flags.reshape(flags.shape + (1,) * (a.ndim - flags.ndim)), a, b)

    def under(flags: Array, on_true: PyTree, on_false: PyTree) -> PyTree:
        return jax.tree.map(partial(one, flags), on_true, on_false)

    return jax.tree.map(under, flags, on_true, on_false)


def restart(reset: PyTree, initial: Carry, held: Carry) -> Carry:
    """The carry that a step begins with: `initial` where a new sequence begins.

    Args:
      reset: booleans ``(*batch,)``, a prefix tree of such, or None for nowhere.
      initial: the carry of a sequence's beginning.
      held: the carry after the step before.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.base import restart
      >>> restart(jnp.array([True, False]), jnp.zeros(2), jnp.ones(2)).tolist()
      [0.0, 1.0]
    """
    return held if reset is None else select(reset, initial, held)


class Spec(Protocol):
    """The typed record of the arguments that a constructor was given: a NamedTuple."""

    def make(self) -> Any:
        """The `Cell` or `Layer` of these arguments."""
        ...


def name_of(kind: str, spec: Any) -> str:
    """What a cell is called: its kind, and the arguments that are not the constructor's own.

    Args:
      kind: such as ``"lstm"``.
      spec: a NamedTuple.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.make_gru(reset="before").name
      "gru(reset='before')"
    """
    defaults = type(spec)._field_defaults
    pairs = [(field, value) for field, value in spec._asdict().items()]
    chosen = [(field, value) for field, value in pairs if value != defaults.get(field)]
    said = (f"{field}={getattr(value, '__name__', repr(value))}" for field, value in chosen)
    return f"{kind}({', '.join(said)})" if chosen else kind


class Made:
    """What a constructor made is equal, hashed and pickled by what it was given.

    Anything else goes by its fields, functions by identity. A changed copy is no longer what
    the constructor made.
    """

    spec: Spec | None
    name: str

    def _key(self) -> tuple[Any, ...]:
        if self.spec is None:
            return tuple(self)  # type: ignore[arg-type]
        return type(self), type(self.spec), self.spec

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._key() == other._key()  # type: ignore[attr-defined]

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        if self.spec is None:
            return type(self), tuple(self)  # type: ignore[arg-type]
        return _make, (self.spec,)

    def _replace(self, **changes: Any) -> Any:
        fields = self._asdict()  # type: ignore[attr-defined]
        return type(self)(**(fields | {"spec": None} | changes))


def _make(spec: Spec) -> Any:
    return spec.make()


Constructor = TypeVar("Constructor", bound=Callable[..., Any])


def documented(constructor: Constructor) -> Constructor:
    """A constructor whose results show its docstring, equations and all, to ``help``.

    Args:
      constructor: a function that gives a `Cell` or a `Layer`.

    Example:
      >>> import jaxrnn
      >>> print(jaxrnn.gru.__doc__.splitlines()[0])
      A GRU, with the convention chosen.
    """

    @wraps(constructor)
    def call(*args: Any, **options: Any) -> Any:
        made = constructor(*args, **options)
        made.__doc__ = constructor.__doc__
        return made

    return call  # type: ignore[return-value]


class Matrix(NamedTuple):
    r"""A coefficient that is a matrix, of a state that is one: :math:`A_t S_{t-1}`.

    Attributes:
      entries: A, ``(..., K, K)``, for a leaf of the carry ``(..., K, V)``.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxrnn.base import Matrix
      >>> Matrix(jnp.eye(3)).entries.shape
      (3, 3)
    """

    entries: Array


def _state(params: Any, carry: Any, z: Any) -> Any:
    """The output of a cell that does not say another: its whole state."""
    return carry


class _CellFields(NamedTuple, Generic[P, C]):
    name: str
    init: Callable[..., P]
    carry: Callable[..., C]
    project: Callable[[P, Any], PyTree]
    recurrent: Callable[[P, C], PyTree]
    update: Callable[[P, C, Any], C]
    output: Callable[[P, C, Any], Any] = _state
    coefficients: Callable[[P, Any], tuple[PyTree, PyTree]] | None = None
    sample: Callable[[P, Array, tuple[int, ...]], P] | None = None
    randomize: Callable[[P, Any, Array], PyTree] | None = None
    axes: int = 1
    gates: Callable[[P, C, Any], PyTree] | None = None
    bounds: Callable[[P, C, Any], C] | None = None
    spec: Spec | None = None


class Cell(Made, _CellFields[P, C], Generic[P, C]):
    r"""A recurrent cell: an input map and a recurrent map, added; an update; an output.

    .. math::
        z_t &= \mathrm{project}(\theta, x_t) + \mathrm{recurrent}(\theta, s_{t-1}) \\
        s_t &= \mathrm{update}(\theta, s_{t-1}, z_t) \\
        y_t &= \mathrm{output}(\theta, s_t, z_t)

    `project` is affine in the input, so it is done for all time steps in one product;
    `recurrent` is affine in the carry, and is the only product inside the loop; `update` holds
    the gates and is usually elementwise (a product in it is correct, only slower); `output`
    is done for all time steps at once. All accept any number of leading axes. `jaxrnn.scan`
    derives everything else: hoisting, derivatives, masks, resets, memory.

    z is any pytree. The two maps are added leaf by leaf, and a leaf that one of them leaves
    None is the other's alone. The functions may close over arrays, traced ones too.

    Attributes:
      name: how errors and the registry call it.
      init: ``init(key, input_size, hidden_size, *, dtype, ...) -> params``.
      carry: ``carry(params, batch_shape=()) -> carry``, the state before a sequence.
      project: ``project(params, x) -> z``; x is any pytree, its first leaf ``(..., D)``.
      recurrent: ``recurrent(params, carry) -> z``, or None where nothing is added.
      update: ``update(params, carry, z) -> carry``.
      output: ``output(params, carry, z) -> y``; the carry itself if not given.
      coefficients: ``coefficients(params, z) -> (a, b)`` of a cell that is linear in its
        state, :math:`s_t = a \odot s_{t-1} + b`, from the projected input alone, trees like the
        carry whose leaves broadcast to those of it, or `Matrix` in a; None for any other.
      sample: ``sample(params, key, batch) -> params``, drawn once a sequence; else None.
      randomize: ``randomize(params, z, key) -> z``, the random variables of a step bound to
        its projected input; else None.
      axes: how many trailing axes of x hold features: 3 of a two-dimensional convolution.
      gates: ``gates(params, carry, z) -> gates``, a NamedTuple of the activations that
        `update` goes by, to look at (see `jaxrnn.analysis.gate_traces`); None without gates.
      bounds: ``bounds(params, start, count) -> carry``, what no part of the state can exceed
        in magnitude, `count` steps after a state of the magnitudes `start`; infinity where
        there is none. A solver that guesses states keeps to it; None without any.
      spec: what its constructor was given, a NamedTuple; None for a cell that no constructor
        made, or that was changed since. Cells are equal if their specs are, and are pickled
        and converted by them.

    Example:
      >>> import jax, jaxrnn
      >>> def init(key, input_size, hidden_size, *, dtype=jax.numpy.float32):
      ...     return {"w": jax.numpy.ones(hidden_size, dtype), "r": 0.5}
      >>> leaky = jaxrnn.Cell(
      ...     name="leaky",
      ...     init=init,
      ...     carry=lambda params, batch_shape=(): jax.numpy.zeros((*batch_shape, 2)),
      ...     project=lambda params, x: x * params["w"],
      ...     recurrent=lambda params, carry: carry * params["r"],
      ...     update=lambda params, carry, z: z)
      >>> carry, ys = jaxrnn.scan(leaky, leaky.init(None, 2, 2), jax.numpy.ones((3, 2)))
      >>> carry.tolist()
      [1.75, 1.75]
    """

    @property
    def stochastic(self) -> bool:
        """Whether a key changes what the cell does."""
        return self.randomize is not None or self.sample is not None

    def advance(
        self, params: P, carry: C, x: PyTree, key: Array | None = None, time: int | Array = 0
    ) -> tuple[C, Any]:
        """One time step of arguments that were checked: what layers call for their cells.

        Args:
          params: the cell's parameters.
          carry: the state before the step.
          x: ``(*batch, D)``.
          key: a PRNG key or None.
          time: the absolute index of this step.

        Returns:
          ``(carry, y)``.
        """
        if key is not None and self.sample is not None:
            params = self.sample(params, key, batch_shape(self, x))
        z = self.project(params, x)
        if key is not None and self.randomize is not None:
            z = self.randomize(params, z, jax.random.fold_in(key, time))
        z = add(z, self.recurrent(params, carry))
        carry = self.update(params, carry, z)
        return carry, self.output(params, carry, z)

    def step(
        self,
        params: P,
        carry: C | ArrayLike,
        x: PyTree,
        *,
        key: Array | None = None,
        time: int | Array = 0,
        reset: ArrayLike | None = None,
        reset_carry: C | ArrayLike | None = None,
    ) -> tuple[C, Any]:
        """One time step: what `jaxrnn.scan` does at every t.

        Args:
          params: the cell's parameters.
          carry: the state before the step, leaves ``(*batch, H)``.
          x: ``(*batch, D)``.
          key: a PRNG key, for stochastic cells; the same key at every step.
          time: the absolute index of this step; randomness depends on (key, time) only.
          reset: booleans ``(*batch,)``: True says that a new sequence begins with this step.
          reset_carry: what it begins from, the cell's own initial carry if None.

        Returns:
          ``(carry, y)``, the state after the step and the output ``(*batch, H)``.

        Raises:
          TypeError: for a wrong type or dtype, or parameters or a carry of another structure.
          ValueError: for a wrong shape.

        Example:
          >>> import jax, jaxrnn
          >>> params = jaxrnn.lstm.init(jax.random.key(0), 3, 5)
          >>> carry, y = jaxrnn.lstm.step(params, jaxrnn.lstm.carry(params), jax.numpy.ones(3))
          >>> y.shape
          (5,)
        """
        return _step(self, params, carry, x, key, time, reset, reset_carry)


class _LayerFields(NamedTuple, Generic[P, C]):
    name: str
    init: Callable[..., P]
    carry: Callable[..., C]
    sequence: Callable[..., Any]
    advance: Callable[..., tuple[C, Any]] | None = None
    stochastic: bool = False
    parts: tuple[Any, ...] = ()
    axes: int = 1
    spec: Spec | None = None


class Layer(Made, _LayerFields[P, C], Generic[P, C]):
    """What runs a whole sequence in a way of its own: a network made of cells.

    `jaxrnn.scan` runs a `Layer` exactly as it runs a `Cell`. One that does not need to see the
    whole sequence, such as a `jaxrnn.stack` of cells, can `step` too.

    Attributes:
      name: how errors call it.
      init: ``init(key, input_size, hidden_size, *, dtype, ...) -> params``.
      carry: ``carry(params, batch_shape=()) -> carry``.
      sequence: ``sequence(params, xs, carry, options) -> (carry, ys, kept)``; see
        `jaxrnn.options.Options` and `jaxrnn.options.Kept`.
      advance: ``advance(params, carry, x, key, time) -> (carry, y)``, as that of a `Cell`;
        None for a layer that cannot step.
      stochastic: whether a key changes what the layer does.
      parts: the cells and layers it is composed of, in the shape of its params: a tuple for
        each layer of a stack, `jaxrnn.Directions` for both directions.
      axes: as in `Cell`.
      spec: as in `Cell`.

    Example:
      >>> import jax, jaxrnn
      >>> layer = jaxrnn.bidirectional(jaxrnn.gru)
      >>> params = layer.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(layer, params, jax.numpy.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 10)
    """

    def step(
        self,
        params: P,
        carry: C | ArrayLike,
        x: PyTree,
        *,
        key: Array | None = None,
        time: int | Array = 0,
        reset: ArrayLike | None = None,
        reset_carry: C | ArrayLike | None = None,
    ) -> tuple[C, Any]:
        """One time step, as that of a `Cell`.

        Raises:
          TypeError: for a layer that needs the whole sequence.

        Example:
          >>> import jax, jaxrnn
          >>> net = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)
          >>> params = net.init(jax.random.key(0), 3, 5)
          >>> carry, y = net.step(params, net.carry(params), jax.numpy.ones(3))
          >>> y.shape
          (5,)
        """
        check_cell("layer", self, steps=True)
        return _step(self, params, carry, x, key, time, reset, reset_carry)


def _step(
    cell: Any,
    params: Any,
    carry: Any,
    x: Any,
    key: Array | None,
    time: int | Array,
    reset: Any,
    reset_carry: Any,
) -> tuple[Any, Any]:
    params, carry, x = check_step(cell, params, carry, x)
    batch = batch_shape(cell, x)
    if reset is not None:
        initial = cell.carry(params, batch) if reset_carry is None else reset_carry
        flags = check_flags("reset", reset, batch, axes="(*batch,)")
        carry = restart(flags, check_step(cell, params, initial, x)[1], carry)
    if key is not None:
        key, time = check_key("key", key), check_start("time", time, rows=True)
    return cell.advance(params, carry, x, key, time)


def batch_shape(cell: Any, x: PyTree) -> tuple[int, ...]:
    """The batch axes of the input of one step, by its first leaf.

    Args:
      cell: a `Cell` or a `Layer`.
      x: ``(*batch, D)``, or a pytree of such.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.base import batch_shape
      >>> batch_shape(jaxrnn.gru, jax.numpy.ones((4, 2, 3)))
      (4, 2)
    """
    return jax.tree.leaves(x)[0].shape[: -cell.axes]


def split(key: Any, count: int) -> Array:
    """`jax.random.split`, for the key of an init.

    Args:
      key: a PRNG key.
      count: how many.

    Raises:
      TypeError: for a seed in place of a key.

    Example:
      >>> import jax
      >>> from jaxrnn.base import split
      >>> split(jax.random.key(0), 3).shape
      (3,)
    """
    if isinstance(key, int):
        raise TypeError(
            f"key: expected a PRNG key, got {key}; a seed is made one by jax.random.key({key})"
        )
    return jax.random.split(key, count)


def zeros(batch_shape: Any, size: int, dtype: Any) -> Array:
    """A part of a carry before anything was seen.

    Args:
      batch_shape: the batch axes.
      size: H.
      dtype: of the part.

    Raises:
      TypeError: for a batch shape that is not a sequence of ints.

    Example:
      >>> from jaxrnn.base import zeros
      >>> zeros((2,), 4, "float32").shape
      (2, 4)
    """
    if not isinstance(batch_shape, tuple | list):
        raise TypeError(
            f"batch_shape: expected a tuple of batch axes, such as (4,), got {batch_shape!r}"
        )
    return jnp.zeros((*batch_shape, size), dtype)


def check_cell(argument: str, cell: Any, *, steps: bool = False) -> None:
    """Raise TypeError unless this is what `jaxrnn.scan` can run.

    Args:
      argument: what it is called.
      cell: a `Cell` or a `Layer`.
      steps: whether it must also be able to step.

    Raises:
      TypeError: if it is neither, or cannot step.

    Example:
      >>> import jaxrnn
      >>> from jaxrnn.base import check_cell
      >>> check_cell("cell", jaxrnn.lstm, steps=True)
    """
    if not isinstance(cell, Cell | Layer):
        raise TypeError(f"{argument}: expected a Cell or a Layer, got {type(cell).__name__}")
    if steps and cell.advance is None:
        raise TypeError(
            f"{argument}: expected a Cell, or a Layer that can step, got {cell.name!r}, which "
            "needs the whole sequence"
        )
