"""The leaves of a pytree as a checkpoint has them: names, plain arrays, and where they go back."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import keystr, tree_leaves_with_path

__all__ = ["Slot", "brief", "describe", "digest", "is_key", "named", "plain", "sha256", "slot"]


class Slot(NamedTuple):
    """Where a leaf is to go: the shape and dtype that are stored for it, and its devices."""

    shape: tuple[int, ...]
    dtype: Any
    sharding: Any
    free: bool
    key: Any

    def fill(self, leaf: Any) -> jax.Array:
        """Put a leaf there; free to move to other devices, though orbax ties it to one."""
        return jnp.asarray(np.asarray(leaf)) if self.free else jax.device_put(leaf, self.sharding)


def slot(name: str, like: Any) -> Slot:
    """The slot that a leaf, or its shape, describes."""
    key = like.dtype if is_key(like) else None
    if isinstance(like, jax.ShapeDtypeStruct):
        data: Any = like if key is None else jax.eval_shape(jax.random.key_data, like)
        free, sharding = like.sharding is None, like.sharding
    else:
        data = plain(name, like)
        free, sharding = not data.committed, data.sharding
    sharding = jnp.zeros(()).sharding if sharding is None else sharding
    return Slot(tuple(data.shape), data.dtype, sharding, free, key)


def named(tree: Any, under: tuple[Any, ...] = (), verbose: bool = False) -> dict[str, Any]:
    """Leaves by path, state.params.kernel; by the unmistakable path where two would be alike."""
    found = [((*under, *path), leaf) for path, leaf in tree_leaves_with_path(tree)]
    names = [keystr(path, simple=not verbose, separator=".") for path, _ in found]
    if len(set(names)) < len(names):
        return named(tree, under, verbose=True)
    return dict(zip(names, (leaf for _, leaf in found), strict=True))


def is_key(leaf: Any) -> bool:
    """Whether a leaf, or its shape, is of typed PRNG keys."""
    dtype = getattr(leaf, "dtype", None)
    return dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)


def plain(name: str, leaf: Any) -> jax.Array:
    """What is stored for a leaf."""
    try:
        return jax.random.key_data(leaf) if is_key(leaf) else jnp.asarray(leaf)
    except TypeError as error:
        raise TypeError(f"tree: expected arrays, got {type(leaf).__name__} for {name}") from error


def describe(leaf: Any) -> dict[str, Any]:
    """Shape and dtype of an array or a slot."""
    return {"shape": list(leaf.shape), "dtype": np.dtype(leaf.dtype).name}


def brief(described: Mapping[str, Any]) -> str:
    """A description as people read it."""
    return f"{described['dtype']}{described['shape']}"


def digest(leaf: jax.Array) -> dict[str, str]:
    """SHA-256 of a leaf, where this process has all of it."""
    if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return {}
    return {"sha256": sha256(np.asarray(leaf).tobytes())}


def sha256(data: bytes) -> str:
    """The digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
