"""The records that everything else is generic over: `Cell` and `Layer`.

One vocabulary of dimension letters is used throughout: T time, B batch, D input
features, H hidden features. Sequences are time-major, ``(T, *batch, D)``, with any
number of batch axes, none included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from inspect import signature
from typing import Any, NamedTuple, TypeVar

import jax

from jaxrnn.checks import check_step

__all__ = ["Array", "Carry", "Cell", "DType", "Layer", "Params", "PyTree", "once"]

Array = jax.Array
PyTree = Any
Params = Any
"""A pytree of arrays, usually a NamedTuple of ``(in, out)`` kernels and biases."""
Carry = Any
"""A pytree of arrays with leading batch axes: what a cell hands to its next step."""
DType = Any
_Make = TypeVar("_Make", bound=Callable[..., Any])


def _hidden_size(params: Params) -> int:
    return params.recurrent_kernel.shape[0]


class Cell(NamedTuple):
    r"""A recurrent cell: an input map, a recurrent map and an update.

    .. math::
        zx_t &= \mathrm{project}(\theta, x_t) \\
        zh_t &= \mathrm{recurrent}(\theta, s_{t-1}) \\
        s_t, y_t &= \mathrm{update}(\theta, s_{t-1}, zx_t, zh_t)

    `project` is affine in the input, so it is done for all time steps in one product;
    `recurrent` is affine in the carry, and is the only product inside the loop; `update`
    holds the gates and is usually elementwise (a product in it is correct, only slower).
    All three accept any number of leading axes. `jaxrnn.scan` derives everything else:
    hoisting, derivatives, masks, resets, memory.

    Attributes:
      name: how errors and the registry call it.
      init: ``init(key, input_size, hidden_size, *, dtype, ...) -> params``.
      carry: ``carry(params, batch_shape=()) -> carry``, the zero state.
      project: ``project(params, x) -> zx``.
      recurrent: ``recurrent(params, carry) -> zh``.
      update: ``update(params, carry, zx, zh) -> (carry, y)``.
      hidden_size: ``hidden_size(params) -> int``, to say what the shapes should be.
      randomize: ``randomize(params, zx, key) -> zx``, the step's random variables bound to
        ``zx``, for cells that are stochastic when a key is given; else None.
      sequence: a way of its own to run a whole sequence (see `jaxrnn.stack`), else None.
      parts: the cells it is composed of, in the shape of its params (see `jaxrnn.stack`).
      options: the arguments of its constructor that change its function, ``(name, value)``
        pairs without those that have their default; so that weights can be converted.
      gates: ``gates(params, carry, zx, zh) -> gates``, a NamedTuple of the activations that
        `update` goes by, to look at (see `jaxrnn.analysis.gate_traces`); None without gates.

    Example:
      >>> import jax, jaxrnn
      >>> from jaxrnn.base import Cell
      >>> def project(params, x):
      ...     return x * params["w"]
      >>> def recurrent(params, carry):
      ...     return carry * params["r"]
      >>> def update(params, carry, zx, zh):
      ...     return zx + zh, zx + zh
      >>> leaky = Cell(
      ...     name="leaky",
      ...     init=lambda key, input_size, hidden_size: {"w": jax.numpy.ones(2), "r": 0.5},
      ...     carry=lambda params, batch_shape=(): jax.numpy.zeros((*batch_shape, 2)),
      ...     project=project, recurrent=recurrent, update=update, hidden_size=None)
      >>> params = leaky.init(None, 2, 2)
      >>> carry, ys = jaxrnn.scan(leaky, params, jax.numpy.ones((3, 2)))
      >>> carry.tolist()
      [1.75, 1.75]
    """

    name: str
    init: Callable[..., Params]
    carry: Callable[..., Carry]
    project: Callable[[Params, Any], PyTree]
    recurrent: Callable[[Params, Carry], PyTree]
    update: Callable[[Params, Carry, PyTree, PyTree], tuple[Carry, Any]]
    hidden_size: Callable[[Params], int] | None = _hidden_size
    randomize: Callable[[Params, PyTree, Array], PyTree] | None = None
    sequence: Callable[..., Any] | None = None
    parts: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()
    gates: Callable[[Params, Carry, PyTree, PyTree], PyTree] | None = None

    @property
    def stochastic(self) -> bool:
        """Whether a key changes what the cell does."""
        return self.randomize is not None

    def step(
        self,
        params: Params,
        carry: Carry,
        x: Array,
        *,
        key: Array | None = None,
        time: int | Array = 0,
    ) -> tuple[Carry, Array]:
        """One time step, ``update(params, carry, project(x), recurrent(carry))``.

        Args:
          params: the cell's parameters.
          carry: the state before the step, leaves ``(*batch, H)``.
          x: ``(*batch, D)``.
          key: a PRNG key, for stochastic cells; the same key at every step.
          time: the absolute index of this step; randomness depends on (key, time) only.

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
        carry, x = check_step(self, params, carry, x)
        zx = self.project(params, x)
        if key is not None and self.randomize is not None:
            zx = self.randomize(params, zx, jax.random.fold_in(key, time))
        return self.update(params, carry, zx, self.recurrent(params, carry))


class Layer(NamedTuple):
    """A sequence layer: what needs the whole sequence and so cannot step.

    `jaxrnn.scan` runs a `Layer` exactly as it runs a `Cell`.

    Attributes:
      name: how errors call it.
      init: ``init(key, input_size, hidden_size, *, dtype, ...) -> params``.
      carry: ``carry(params, batch_shape=()) -> carry``.
      sequence: ``sequence(params, xs, carry, options) -> (carry, ys, carries)``.
      stochastic: whether a key changes what the layer does.
      parts: the cells it is composed of, in the shape of its params: a tuple for each layer
        of a stack, `jaxrnn.Directions` for both directions.
      options: as in `Cell`.

    Example:
      >>> import jax, jaxrnn
      >>> layer = jaxrnn.bidirectional(jaxrnn.gru)
      >>> params = layer.init(jax.random.key(0), 3, 5)
      >>> carry, ys = jaxrnn.scan(layer, params, jax.numpy.ones((7, 2, 3)))
      >>> ys.shape
      (7, 2, 10)
    """

    name: str
    init: Callable[..., Params]
    carry: Callable[..., Carry]
    sequence: Callable[..., Any]
    stochastic: bool = False
    parts: tuple[Any, ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


def once(make: _Make) -> _Make:
    """A constructor that gives the same object for the same arguments, however it is called.

    What JAX compiled for a cell it finds again by the cell, so equal cells should be one.

    Args:
      make: the constructor; arguments that cannot be hashed make something new each time.

    Example:
      >>> import jaxrnn
      >>> jaxrnn.make_gru(reset="after") is jaxrnn.make_gru()
      True
    """
    form, made = signature(make), lru_cache(None, typed=True)(make)  # 2.0 is no number of axes

    @wraps(make)
    def constructor(*args: Any, **options: Any) -> Any:
        try:
            bound = form.bind(*args, **options)
            bound.apply_defaults()
            hash((bound.args, tuple(bound.kwargs.values())))
        except TypeError:
            return make(*args, **options)
        return made(*bound.args, **bound.kwargs)

    return constructor  # type: ignore[return-value]
