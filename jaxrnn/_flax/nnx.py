"""What is under the `flax.nnx` modules: how they hold parameters."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from jaxrnn._flax import boxes, carries, names, running
from jaxrnn._flax.names import from_params
from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params, PyTree
from jaxrnn.initializers import Initializer

__all__ = ["Parameters", "Streams", "params_of"]

Streams = nnx.Rngs | nnx.RngStream


class Part(nnx.Module):
    """A part of a network: its parameters, and if it is a layer of a stack, its run."""

    def __init__(self, cell: Any, named: Mapping[str, Any], sizes: tuple[Any, ...]):
        self.cell = cell
        self.layers = _hold(self, cell, named, sizes)

    def __call__(self, xs: PyTree, **given: Any) -> dict[str, Any]:
        layers = {name: getattr(self, name) for name in self.layers}
        return running.run_layer(self.cell, layers, xs, **given)


def _hold(
    module: nnx.Module, net: Any, named: Mapping[str, Any], sizes: tuple[Any, ...]
) -> tuple[str, ...]:
    """Make the named leaves attributes of the module; the names of those that are layers."""
    layers = {} if net is None else {name: more for name, *more in running.parts(net, *sizes)}
    for name, value in ({name: {} for name in layers} | dict(named)).items():
        if hasattr(module, name):
            raise ValueError(f"cell: expected other names of parameters than {name!r}")
        if isinstance(value, Mapping):
            part, *size = layers.get(name, (None,))
            setattr(module, name, Part(part, value, (*size, *sizes[2:])))
        else:
            setattr(module, name, nnx.Param(value))
    return tuple(layers)


class Parameters(nnx.Module):
    """Holds the parameters of a network as named leaves."""

    default: ClassVar[Cell | None] = None

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        own = list(inspect.signature(cls.__init__).parameters.values())
        cls.__signature__ = inspect.Signature(own[1:])  # that of nnx's metaclass says nothing

    def __init__(
        self,
        in_features: int,
        features: int | tuple[int, ...],
        cell: Cell | Layer | None = None,
        *,
        rngs: nnx.Rngs,
        dtype: DType | None = None,
        param_dtype: DType = jnp.float32,
        use_bias: bool | None = None,
        kernel_init: Initializer | None = None,
        recurrent_kernel_init: Initializer | None = None,
        bias_init: Initializer | None = None,
        deterministic: bool = False,
        rng_collection: str = "dropout",
        **init_options: Any,
    ):
        self.in_features = in_features
        self.features = features
        self.cell = self.default if cell is None else cell
        self.dtype = dtype
        self.param_dtype = param_dtype
        self.deterministic = deterministic
        self.rng_collection = rng_collection
        net = self.network
        self.rngs = rngs[rng_collection].fork() if net.stochastic else nnx.data(None)

        options = {
            "use_bias": use_bias,
            "kernel_init": kernel_init,
            "recurrent_init": recurrent_kernel_init,
            "bias_init": bias_init,
            **init_options,
        }
        options = {name: value for name, value in options.items() if value is not None}
        self.init_options = names.structural(options)
        sizes = in_features, features, jnp.dtype(param_dtype)
        named = boxes.draw(net, rngs.params(), *sizes, options, nnx.VariableMetadata)
        self.layers = _hold(self, net, named, (*sizes, self.init_options))

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` whose parameters these are."""
        return self.cell

    def set_view(self, deterministic: bool | None = None) -> None:
        """Set attributes, as `flax.nnx.view` asks.

        Args:
          deterministic: whether dropout is off.
        """
        if deterministic is not None:
            self.deterministic = deterministic

    def initialize_carry(
        self,
        input_shape: tuple[int, ...],
        rngs: Streams | None = None,
        carry_init: Initializer | None = None,
    ) -> Carry:
        """The carry that a sequence begins with: zeros, what is learned, or drawn numbers.

        Args:
          input_shape: ``(*batch, D)``.
          rngs: the stream (``carry``) for `carry_init`.
          carry_init: an initialiser for every leaf of the carry.

        Returns:
          The carry of `network`, in `dtype`, or `param_dtype` where that is None.

        Raises:
          ValueError: for `carry_init` without rngs.
        """
        dtype = self.param_dtype if self.dtype is None else self.dtype
        net, params = self.network, lambda: params_of(self, dtype)
        fit = {"features": self.features, "items": self.init_options}
        carry = carries.initial_carry(net, params, input_shape, dtype=dtype, **fit)
        if carry_init is None:
            return carry
        if rngs is None:
            raise ValueError("rngs: expected a PRNG stream for carry_init, got None")
        stream = rngs.carry if isinstance(rngs, nnx.Rngs) else rngs
        return jax.tree.map(lambda leaf: carry_init(stream(), leaf.shape, leaf.dtype), carry)

    def _bind(self, net: Any, inputs: Array) -> tuple[Params, Array]:
        if inputs.shape[-1] != self.in_features:
            raise ValueError(
                f"inputs: expected a last axis of {self.in_features} (in_features), "
                f"got shape {inputs.shape}"
            )
        fit = {"features": self.features, "items": self.init_options}
        return names.bind(net, _named(self), inputs, dtype=self.dtype, **fit)

    def _key(
        self, net: Any, deterministic: bool | None, rngs: Streams | Array | None
    ) -> Array | None:
        deterministic = self.deterministic if deterministic is None else deterministic
        if deterministic or not net.stochastic:
            return None
        rngs = self.rngs if rngs is None else rngs
        if rngs is None:
            raise ValueError("rngs: expected a PRNG stream for dropout, or deterministic=True")
        if isinstance(rngs, nnx.Rngs):
            return rngs[self.rng_collection]()
        return rngs() if isinstance(rngs, nnx.RngStream) else rngs


def _named(module: Parameters) -> dict[str, Any]:
    sizes = module.in_features, module.features, jnp.dtype(module.param_dtype)
    shapes = names.template(module.network, *sizes, module.init_options)
    return _values(module, from_params(shapes))


def _values(module: nnx.Module, wanted: Mapping[str, Any]) -> dict[str, Any]:
    pairs = [(name, getattr(module, name), under) for name, under in wanted.items()]
    return {k: _values(v, under) if isinstance(under, dict) else v[...] for k, v, under in pairs}


def params_of(module: Parameters, dtype: DType) -> Params:
    """The functional parameters of a module's network."""
    fit = {"features": module.features, "items": module.init_options}
    return names.fit_params(module.network, _named(module), module.in_features, dtype=dtype, **fit)
