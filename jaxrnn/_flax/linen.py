"""What is under the `flax.linen` modules: how they register parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict
from flax.core.meta import AxisMetadata

from jaxrnn._flax import boxes, carries, names, running
from jaxrnn.base import Array, Carry, Cell, DType, Layer, Params, PyTree
from jaxrnn.initializers import Initializer

__all__ = ["Parameters", "params_of"]

_INIT_OPTIONS = {  # attribute of a module: option of a cell's init
    "use_bias": "use_bias",
    "kernel_init": "kernel_init",
    "recurrent_kernel_init": "recurrent_init",
    "bias_init": "bias_init",
    "forget_bias": "forget_bias",
    "reset_bias": "reset_bias",
}


def _register(
    module: nn.Module,
    net: Cell | Layer,
    in_features: int,
    features: int | tuple[int, ...],
    param_dtype: DType,
    options: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Part]]:
    """The parameters of a network by name, as leaves or layers of a module, and the layers."""
    sizes = in_features, features, jnp.dtype(param_dtype)
    items = names.structural(options)
    layers = {
        name: Part(part, *size, param_dtype, options, name=name)  # type: ignore[call-arg]
        for name, part, *size in running.parts(net, *sizes, items)
    }
    if layers:
        return {name: layer.named for name, layer in layers.items()}, layers
    wanted = names.from_params(names.template(net, *sizes, items))
    there = [name for name in wanted if module.has_variable("params", name)]
    values = {name: module.get_variable("params", name) for name in there}
    if len(values) < len(wanted) and module.is_mutable_collection("params"):
        key = module.make_rng("params")
        values = boxes.draw(net, key, *sizes, options, AxisMetadata) | values
    # Shapes are checked later, all leaves at once; what is missing is Flax's own error.
    return {name: module.param(name, lambda _, name=name: values[name]) for name in wanted}, {}


class Part(nn.Module):
    """A part of a network: its parameters, and if it is a layer of a stack, its run."""

    cell: Cell | Layer
    in_features: int
    features: int | tuple[int, ...]
    param_dtype: DType
    options: Mapping[str, Any]

    def setup(self) -> None:
        self.named, self.layers = _register(
            self, self.cell, self.in_features, self.features, self.param_dtype, self.options
        )

    def __call__(self, xs: PyTree, **given: Any) -> dict[str, Any]:
        return running.run_layer(self.cell, self.layers, xs, **given)


class Parameters(nn.Module):
    """Registers the parameters of a network as named leaves."""

    features: int | tuple[int, ...]
    cell: Cell | Layer
    dtype: DType | None = None
    param_dtype: DType = jnp.float32
    use_bias: bool | None = None
    kernel_init: Initializer | None = None
    recurrent_kernel_init: Initializer | None = None
    bias_init: Initializer | None = None
    init_options: Mapping[str, Any] = FrozenDict()
    deterministic: bool | None = None
    rng_collection: str = "dropout"

    @property
    def network(self) -> Any:
        """The `Cell` or `Layer` whose parameters these are."""
        return self.cell

    @nn.nowrap
    def _options(self) -> dict[str, Any]:
        named = {option: getattr(self, name, None) for name, option in _INIT_OPTIONS.items()}
        return {k: v for k, v in named.items() if v is not None} | dict(self.init_options)

    @nn.nowrap
    def fit(self) -> dict[str, Any]:
        """What decides which parameters there are, apart from the network and D."""
        return {"features": self.features, "items": names.structural(self._options())}

    def _bind(self, net: Any, inputs: Array) -> tuple[Params, Array, dict[str, Part]]:
        last = inputs.shape[-1]
        named, layers = _register(self, net, last, self.features, self.param_dtype, self._options())
        params, inputs = names.bind(net, named, inputs, dtype=self.dtype, **self.fit())
        return params, inputs, layers

    def _key(self, net: Any, deterministic: bool | None) -> Array | None:
        if not net.stochastic:
            return None
        if nn.merge_param("deterministic", self.deterministic, deterministic):
            return None
        return self.make_rng(self.rng_collection)

    @nn.nowrap
    def initialize_carry(self, rng: Array | None, input_shape: tuple[int, ...]) -> Carry:
        """The carry that a sequence begins with: zeros, or what is learned.

        A learned one is among the parameters, so the module must be bound to them, as it is
        within `flax.linen.RNN`, in ``module.bind(variables)`` or in ``module.apply(variables,
        rng, input_shape, method="initialize_carry")``.

        Args:
          rng: draws parameters where a carry depends on such and they are only being
            initialised.
          input_shape: ``(*batch, D)``.

        Returns:
          The carry of `network`, in `dtype`, or `param_dtype` where that is None.

        Raises:
          ValueError: for a learned carry of a module that is not bound.
        """
        net = self.network
        dtype = self.param_dtype if self.dtype is None else self.dtype

        def params() -> Params | None:
            if self.scope is None:
                return None
            named = self.variables.get("params", {})
            if not named and self.is_mutable_collection("params"):
                key = jax.random.key(0) if rng is None else rng
                sizes = input_shape[-1], self.features, self.param_dtype
                named = boxes.draw(net, key, *sizes, self._options(), AxisMetadata)
            return params_of(self, named, input_shape[-1], dtype)

        return carries.initial_carry(net, params, input_shape, dtype=dtype, **self.fit())


def params_of(
    module: Parameters, named: Mapping[str, Any], in_features: int, dtype: DType
) -> Params:
    """The functional parameters of a module's network, from leaves that may be in boxes."""
    unboxed = nn.unbox(named)
    return names.fit_params(module.network, unboxed, in_features, dtype=dtype, **module.fit())
