"""Where a run's arrays are on a mesh: each batch split over it, the rest where it was given.

What one device computes, several do: the arrays say where they are, and XLA adds up what has to be
added up between devices. The mesh may hold the devices of several processes.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.tree_util import keystr

__all__ = ["Layout"]


class Layout:
    """Puts the state and the batches of a run on the devices of a mesh; without one, leaves them.

    Args:
      mesh: the devices.
      batch_spec: a `PartitionSpec`, or a pytree of them that is a prefix of the batch; by default
        ``PartitionSpec(None, "data")``, which is (T, B, …) with B split.

    Raises:
      TypeError: not a mesh, or not PartitionSpecs.
      ValueError: an axis that the mesh lacks, or specs without a mesh.
    """

    def __init__(self, mesh: Mesh | None, batch_spec: Any = None):
        self._mesh, self._places = mesh, None
        self._specs = PartitionSpec(None, "data") if batch_spec is None else batch_spec
        if mesh is None:
            if batch_spec is not None:
                raise ValueError(f"mesh: expected one for batch_spec={batch_spec}, got None")
            return
        if not isinstance(mesh, Mesh):
            raise TypeError(f"mesh: expected a jax.sharding.Mesh, got {type(mesh).__name__}")
        for spec in jax.tree.leaves(self._specs, is_leaf=_is_spec):
            if not _is_spec(spec):
                raise TypeError(f"batch_spec: expected PartitionSpecs, got {spec!r}")
            if not {name for entry in spec for name in _names(entry)} <= set(mesh.axis_names):
                raise ValueError(
                    f"batch_spec: expected axes of the mesh, {mesh.axis_names}, got {spec}"
                )

    def place(self, state: Any) -> Any:
        """Leave what is on the mesh in its sharding, and put the rest on each of its devices.

        States after the first are kept in the shardings of the first: every step runs one program,
        whatever XLA would choose for its results.
        """
        mesh = self._mesh
        if mesh is None:
            return state
        state = jax.tree.map(jnp.asarray, state)
        if self._places is None:
            devices, everywhere = set(mesh.devices.flat), NamedSharding(mesh, PartitionSpec())
            self._places = jax.tree.map(
                lambda x: x.sharding if x.sharding.device_set == devices else everywhere, state
            )
        return jax.tree.map(_moved, state, self._places)

    def split(self, batch: Any) -> Any:
        """Put a batch on the mesh as the specs say, its scalars on each device.

        Of several processes each gives what belongs on its own devices.

        Raises:
          ValueError: the specs are no prefix of the batch, have more axes than an array, or split
            an axis into unequal parts.
        """
        mesh = self._mesh
        if mesh is None:
            return batch
        try:
            specs = jax.tree.broadcast(self._specs, batch, is_leaf=_is_spec)
        except ValueError as error:
            structure = jax.tree.structure(batch)
            raise ValueError(
                f"batch_spec: expected a prefix of the batch, {structure}, got {self._specs}"
            ) from error
        shardings = jax.tree.map_with_path(
            lambda path, leaf, spec: _sharding(mesh, path, leaf, spec), batch, specs
        )
        return jax.tree.map(_split, batch, shardings)


def _is_spec(x: Any) -> bool:
    return isinstance(x, PartitionSpec)


def _names(entry: Any) -> tuple[Any, ...]:
    """The mesh axes that one array axis is split over."""
    return () if entry is None else entry if isinstance(entry, tuple) else (entry,)


def _is_global(x: Any) -> bool:
    return isinstance(x, jax.Array) and not x.is_fully_addressable


def _sharding(mesh: Mesh, path: Any, leaf: Any, spec: PartitionSpec) -> NamedSharding:
    """Where a leaf of the batch goes, if its shape allows that."""
    shape = np.shape(leaf)
    if not shape:
        return NamedSharding(mesh, PartitionSpec())
    name = f"the batch's {keystr(path)}" if path else "the batch"
    if len(spec) > len(shape):
        raise ValueError(f"batch_spec: expected at most {len(shape)} axes for {name}, got {spec}")
    sizes = (mesh if _is_global(leaf) else mesh.local_mesh).shape
    for axis, entry in enumerate(spec):
        parts = math.prod(sizes[mesh_axis] for mesh_axis in _names(entry))
        if shape[axis] % parts:
            raise ValueError(
                f"batches: expected a multiple of {parts}, the devices along {entry!r}, in axis "
                f"{axis} of {name}, got shape {shape} (pad the batch, or leave it out)"
            )
    return NamedSharding(mesh, spec)


def _split(leaf: Any, sharding: NamedSharding) -> jax.Array:
    if jax.process_count() == 1 or _is_global(leaf):
        return jax.device_put(leaf, sharding)
    return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))


def _moved(x: jax.Array, sharding: Any) -> jax.Array:
    if x.committed and x.sharding.is_equivalent_to(sharding, x.ndim):
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        data = _moved(jax.random.key_data(x), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
    if jax.process_count() == 1 or _is_global(x):
        return jax.device_put(x, sharding)
    try:
        return jax.device_put(np.asarray(x), sharding)  # it compares NumPy's between processes
    except AssertionError as error:
        raise ValueError(
            f"params, key, state: expected the same in every process, got others: {error}"
        ) from error
