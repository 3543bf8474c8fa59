"""Checkpoints: whole or not at all, checked when read, kept by orbax.

A checkpoint is one orbax step of two items. ``arrays`` holds every leaf of a pytree under its
path, such as ``state.params.kernel``; ``notes`` holds JSON: shape, dtype and SHA-256 of every leaf,
whatever else the run wants back, and a SHA-256 of all that. Orbax makes a step appear whole or not
at all; the digests tell one that was damaged since. No code is stored and none is run.
"""

import base64
import contextlib
import errno
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.tree_util import keystr, tree_flatten_with_path

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

__all__ = ["Checkpoints", "Saved"]

_VERSION = 1
_LISTED = 20


class Saved(NamedTuple):
    """What `Checkpoints.restore` found: the step, the pytree, the notes."""

    step: int
    tree: Any
    notes: dict[str, Any]


class Checkpoints:
    """A folder of the latest checkpoints of one run.

    Saving happens in the background; an error in it is raised by the next `save` or by `wait`.

    Args:
      directory: of the checkpoints; made where it is missing.
      every: steps between the checkpoints that `fit` writes. It also writes one when it ends.
      keep: how many of the latest to keep.

    Raises:
      ValueError: ``every`` or ``keep`` below 1.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> folder = tempfile.TemporaryDirectory()
      >>> with Checkpoints(folder.name) as checkpoints:
      ...     checkpoints.save(5, {"w": jnp.arange(3.0)}, {"note": "five"})
      ...     checkpoints.wait()
      ...     saved = checkpoints.restore({"w": jnp.zeros(3)})
      >>> saved.step, saved.tree["w"].tolist(), saved.notes
      (5, [0.0, 1.0, 2.0], {'note': 'five'})
      >>> folder.cleanup()
    """

    def __init__(self, directory: str | os.PathLike[str], *, every: int = 1000, keep: int = 3):
        for name, value in (("every", every), ("keep", keep)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
        self.directory = Path(directory).absolute()
        self.every = every
        self.keep = keep
        self._opened: ocp.CheckpointManager | None = None

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """The steps that are there, damaged or not, in order."""
        return sorted(self._manager.all_steps())

    def save(self, step: int, tree: Any, notes: Mapping[str, Any] | None = None) -> None:
        """Begin to write a checkpoint; it exists once it is whole.

        Args:
          step: its number.
          tree: a pytree of arrays. PRNG keys are welcome.
          notes: what JSON can say, and bytes.

        Raises:
          OSError: this or an earlier checkpoint could not be written, a full disk for one. The
            checkpoints before it are as they were.
          ValueError: there is a checkpoint of that step.
        """
        import orbax.checkpoint as ocp

        if step in self.steps():
            raise ValueError(f"step: expected one that {self.directory} lacks, got {step}")
        leaves = {name: _plain(leaf) for name, leaf in _named(tree).items()}
        content = {
            "version": _VERSION,
            "leaves": {name: _describe(leaf) | _digest(leaf) for name, leaf in leaves.items()},
            "notes": _encode(dict(notes or {})),
        }
        # Orbax refuses empty arrays; their shape and dtype say all there is to know.
        full = {name: leaf for name, leaf in leaves.items() if leaf.size}
        items = ocp.args.Composite(
            arrays=ocp.args.StandardSave(full),
            notes=ocp.args.JsonSave({"content": content, "sha256": _sha256(_canonical(content))}),
        )
        self._write(lambda manager: manager.save(step, args=items))

    def wait(self) -> None:
        """Wait until what is being saved is there.

        Raises:
          OSError: it could not be written.
        """
        if self._opened is not None:
            self._write(lambda manager: manager.wait_until_finished())

    def close(self) -> None:
        """Wait, and let go of the folder."""
        try:
            self.wait()
        finally:
            manager, self._opened = self._opened, None
            if manager is not None:
                manager.close()

    def restore(self, like: Any) -> Saved | None:
        """Read the newest checkpoint that is whole.

        One that is damaged is put aside (renamed ``damaged-STEP``) with a warning, and the one
        before it is read.

        Args:
          like: a pytree of the structure, shapes and dtypes to expect; arrays are put on the
            devices that its leaves are on, however many had saved them.

        Returns:
          Step, tree and notes; None if there is no checkpoint.

        Raises:
          ValueError: the checkpoint is of another model or optimizer; names every leaf that is
            missing, surplus or different.
          OSError: there are checkpoints, and not one is whole.
        """
        steps = self.steps()
        for step in reversed(steps):
            try:
                content = self._read_content(step)
            except Exception as error:
                self._put_aside(step, error)
                continue
            self._compare(step, content, like)
            try:
                return Saved(step, self._read_tree(step, content, like), _decode(content["notes"]))
            except Exception as error:
                self._put_aside(step, error)
        if steps:
            raise OSError(
                errno.EIO,
                f"expected a whole checkpoint, got damaged ones only (steps {steps})",
                str(self.directory),
            )
        return None

    @property
    def _manager(self) -> "ocp.CheckpointManager":
        if self._opened is None:
            import orbax.checkpoint as ocp

            options = ocp.CheckpointManagerOptions(
                max_to_keep=self.keep, create=True, cleanup_tmp_directories=True
            )
            self._opened = ocp.CheckpointManager(self.directory, options=options)
        return self._opened

    def _write(self, action: Callable[["ocp.CheckpointManager"], Any]) -> None:
        try:
            action(self._manager)
        except Exception as error:
            manager, self._opened = self._opened, None  # it counts on what was not written
            with contextlib.suppress(Exception):
                manager.close()  # pyright: ignore[reportOptionalMemberAccess]
            full = getattr(error, "errno", 0) == errno.ENOSPC or "No space left" in str(error)
            why = os.strerror(errno.ENOSPC) if full else _first_line(error)
            raise OSError(
                errno.ENOSPC if full else getattr(error, "errno", None) or errno.EIO,
                f"{why}: expected to write a checkpoint; the ones before it are whole",
                str(self.directory),
            ) from error

    def _read_content(self, step: int) -> dict[str, Any]:
        import orbax.checkpoint as ocp

        args = ocp.args.Composite(notes=ocp.args.JsonRestore())
        notes = self._manager.restore(step, args=args)["notes"]
        if notes["sha256"] != _sha256(_canonical(notes["content"])):
            raise ValueError("the notes differ from their SHA-256")
        return notes["content"]

    def _compare(self, step: int, content: dict[str, Any], like: Any) -> None:
        where = self.directory / str(step)
        if content["version"] != _VERSION:
            raise ValueError(
                f"{where}: expected checkpoint format {_VERSION}, got {content['version']}"
            )
        wanted = {name: _describe(_plain(leaf)) for name, leaf in _named(like).items()}
        found = {
            name: {k: leaf[k] for k in ("shape", "dtype")}
            for name, leaf in content["leaves"].items()
        }
        problems = [f"missing {n}: expected {_brief(wanted[n])}" for n in wanted.keys() - found]
        problems += [f"surplus {n}: got {_brief(found[n])}" for n in found.keys() - wanted]
        problems += [
            f"{n}: expected {_brief(wanted[n])}, got {_brief(found[n])}"
            for n in wanted.keys() & found
            if wanted[n] != found[n]
        ]
        if problems:
            shown = sorted(problems)[:_LISTED]
            more = len(problems) - len(shown)
            raise ValueError(
                f"{where}: expected a checkpoint of this model and optimizer, got another:\n  "
                + "\n  ".join(shown + [f"and {more} more"] * bool(more))
            )

    def _read_tree(self, step: int, content: dict[str, Any], like: Any) -> Any:
        import orbax.checkpoint as ocp

        named = _named(like)
        plain = {name: _plain(leaf) for name, leaf in named.items()}
        shapes = {
            name: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)
            for name, leaf in plain.items()
            if leaf.size
        }
        args = ocp.args.Composite(arrays=ocp.args.StandardRestore(shapes))
        found = self._manager.restore(step, args=args)["arrays"] if shapes else {}
        arrays = plain | {name: _placed(leaf, plain[name]) for name, leaf in found.items()}
        for name, leaf in arrays.items():
            digests = {d.get("sha256") for d in (_digest(leaf), content["leaves"][name])} - {None}
            if len(digests) > 1:  # there is none of a leaf spread over several processes
                raise ValueError(f"{name} differs from its SHA-256")
        leaves = [
            jax.random.wrap_key_data(arrays[name], impl=jax.random.key_impl(leaf))
            if _is_key(leaf)
            else arrays[name]
            for name, leaf in named.items()
        ]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)

    def _put_aside(self, step: int, error: Exception) -> None:
        source = self.directory / str(step)
        names = (f"damaged-{step}{suffix}" for suffix in ("", *(f"-{n}" for n in range(2, 1000))))
        aside = next(path for name in names if not (path := self.directory / name).exists())
        if jax.process_index() == 0:
            source.rename(aside)
        multihost_utils.sync_global_devices(f"put aside {step}")
        self._manager.reload()
        warnings.warn(
            f"{source} is damaged and is now {aside.name}; the one before it is read "
            f"({type(error).__name__}: {_first_line(error)})",
            RuntimeWarning,
            stacklevel=3,
        )


def _named(tree: Any) -> dict[str, Any]:
    """Leaves by path, state.params.kernel; by the unmistakable path where two would be alike."""
    paths = [path for path, _ in tree_flatten_with_path(tree)[0]]
    names = [keystr(path, simple=True, separator=".") for path in paths]
    if len(set(names)) < len(names):
        names = [keystr(path) for path in paths]
    return dict(zip(names, jax.tree.leaves(tree), strict=True))


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _placed(leaf: jax.Array, like: jax.Array) -> jax.Array:
    """Free to move to other devices, if the like is; orbax ties an array to its device."""
    return leaf if like.committed else jnp.asarray(np.asarray(leaf))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _plain(leaf: Any) -> jax.Array:
    return jax.random.key_data(leaf) if _is_key(leaf) else jnp.asarray(leaf)


def _describe(leaf: jax.Array) -> dict[str, Any]:
    return {"shape": list(leaf.shape), "dtype": leaf.dtype.name}


def _brief(described: Mapping[str, Any]) -> str:
    return f"{described['dtype']}{described['shape']}"


def _digest(leaf: jax.Array) -> dict[str, str]:
    """SHA-256 of a leaf, where this process has all of it."""
    if not (leaf.is_fully_addressable or leaf.is_fully_replicated):
        return {}
    return {"sha256": _sha256(np.asarray(leaf).tobytes())}


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _canonical(content: Any) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _encode(value: Any) -> Any:
    """JSON has no bytes, in which some loaders keep their place."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {str(k): _encode(v) for k, v in value.items()}
    return [_encode(v) for v in value] if isinstance(value, list | tuple) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            return base64.b64decode(value["base64"])
        return {k: _decode(v) for k, v in value.items()}
    return [_decode(v) for v in value] if isinstance(value, list) else value
