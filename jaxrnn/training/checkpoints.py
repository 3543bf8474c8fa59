"""Checkpoints: whole or not at all, checked when read, kept by orbax."""

import base64
import contextlib
import errno
import json
import math
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.tree_util import DictKey, GetAttrKey, keystr

from .leaves import Slot, brief, describe, digest, named, plain, sha256, slot

if TYPE_CHECKING:
    import orbax.checkpoint as ocp

__all__ = ["Checkpoints", "Saved"]

_VERSION = 2
_LISTED = 20
_PARAMS = {
    True: (DictKey("best"),),
    False: (DictKey("state"), GetAttrKey("params")),
}


class Saved(NamedTuple):
    """What `Checkpoints.restore` found: the step, the pytree, the notes."""

    step: int
    tree: Any
    notes: dict[str, Any]


class Checkpoints:
    """A folder of the latest checkpoints of one run.

    Saving happens in the background; an error in it is raised by the next `save` or by `wait`.

    Each checkpoint is one step of an orbax ``CheckpointManager``, a folder of two items::

        DIRECTORY/STEP/arrays/           every leaf of the pytree, by its path
        DIRECTORY/STEP/notes/metadata    JSON
        DIRECTORY/damaged-STEP/          put aside by `restore`

    ``arrays`` is a flat mapping of names, such as ``state.params.kernel``, to arrays; a PRNG key
    is its data. ``notes`` is ``{"content": {"version", "leaves", "notes"}, "sha256"}``: shape,
    dtype and SHA-256 of every leaf, whatever else the run wants back, and the SHA-256 of all that.
    Orbax makes a step appear whole or not at all; the digests tell one that was damaged since. No
    code is stored and none is run.

    `fit` saves ``{"state": TrainState, "best": params}``, and as notes the best's value and step,
    the place among the batches, why the run ended if it did so of itself, and the history.

    Args:
      directory: of the checkpoints, on a file system that is mounted; made where it is missing.
      every: steps between the checkpoints that `fit` writes. It also writes one when it ends.
      keep: how many of the latest to keep.

    Raises:
      ValueError: ``every`` or ``keep`` below 1, or the address of a remote store as directory.

    Example:
      >>> import tempfile, jax.numpy as jnp
      >>> from jaxrnn.training import Checkpoints
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
        if "://" in os.fspath(directory):
            raise ValueError(
                f"directory: expected a folder of a mounted file system, got {str(directory)!r}"
            )
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
          tree: a pytree of arrays, at least one. PRNG keys are welcome.
          notes: what JSON can say, and bytes.

        Raises:
          OSError: this or an earlier checkpoint could not be written, a full disk for one. The
            checkpoints before it are as they were.
          ValueError: there is a checkpoint of that step, or no array.
          TypeError: a leaf that is not an array.
        """
        import orbax.checkpoint as ocp

        if step in self.steps():
            raise ValueError(f"step: expected one that {self.directory} lacks, got {step}")
        leaves = {name: plain(name, leaf) for name, leaf in named(tree).items()}
        if not leaves:
            raise ValueError(f"tree: expected at least one array, got {tree!r}")
        content = {
            "version": _VERSION,
            "leaves": {name: describe(leaf) | digest(leaf) for name, leaf in leaves.items()},
            "notes": _encode(dict(notes or {})),
        }
        # Orbax refuses empty arrays; their shape and dtype say all there is to know.
        full = {name: leaf for name, leaf in leaves.items() if leaf.size}
        notes = {"content": content, "sha256": sha256(_canonical(content))}
        items = {"notes": ocp.args.JsonSave(notes)}
        items |= {"arrays": ocp.args.PyTreeSave(full)} if full else {}
        self._write(lambda manager: manager.save(step, args=ocp.args.Composite(**items)))

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
          like: a pytree of the structure, shapes and dtypes to expect: arrays, or shapes such as
            `jax.eval_shape` returns. Arrays are put on the devices that its leaves name, however
            many had saved them.

        Returns:
          Step, tree and notes; None if there is no checkpoint.

        Raises:
          ValueError: the checkpoint is of another model or optimizer; names every leaf that is
            missing, surplus or different.
          OSError: there are checkpoints, and not one is whole.
        """
        return self._newest(like, ())

    def restore_params(self, like: Any, *, best: bool = True) -> Any:
        """Read the parameters of the newest whole checkpoint of a run of `fit`, and nothing else.

        Args:
          like: their structure, shapes and dtypes: parameters, or their shapes.
          best: the best so far, or else those after the last step.

        Returns:
          The parameters.

        Raises:
          FileNotFoundError: there is no checkpoint.
          ValueError: they are of another model.
          OSError: there are checkpoints, and not one is whole.

        Example:
          >>> import tempfile, jax, optax
          >>> from jaxrnn import training
          >>> folder = tempfile.TemporaryDirectory()
          >>> checkpoints = training.Checkpoints(folder.name)
          >>> def init(key):
          ...     return {"w": jax.random.normal(key, ())}
          >>> result = training.fit(
          ...     lambda params, x: (params["w"] - x) ** 2, init(jax.random.key(0)),
          ...     optax.sgd(0.5), [1.0, 1.0], checkpoints=checkpoints,
          ... )
          >>> shapes = jax.eval_shape(init, jax.random.key(0))
          >>> checkpoints.restore_params(shapes) == result.best.params
          True
          >>> checkpoints.close()
          >>> folder.cleanup()
        """
        saved = self._newest(like, _PARAMS[bool(best)])
        if saved is None:
            raise FileNotFoundError(
                errno.ENOENT, "expected a checkpoint, got none", str(self.directory)
            )
        return saved.tree

    def _newest(self, like: Any, under: tuple[Any, ...]) -> Saved | None:
        """The newest whole checkpoint, or what it has under a path."""
        steps = self.steps()
        for step in reversed(steps):
            try:
                content = self._read_content(step)
            except Exception as error:
                self._put_aside(step, error)
                continue
            verbose = any(name.startswith("[") for name in content["leaves"])
            wanted = {name: slot(name, x) for name, x in named(like, under, verbose).items()}
            start = keystr(under, simple=not verbose, separator=".")
            self._compare(step, content, wanted, start)
            try:
                tree = jax.tree.unflatten(
                    jax.tree.structure(like), self._read_leaves(step, content, wanted)
                )
                return Saved(step, tree, _decode(content["notes"]))
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
        if notes["sha256"] != sha256(_canonical(notes["content"])):
            raise ValueError("the notes differ from their SHA-256")
        return notes["content"]

    def _compare(
        self, step: int, content: dict[str, Any], slots: Mapping[str, Slot], start: str
    ) -> None:
        """Refuse a checkpoint whose leaves, of those whose names start so, are not the slots'."""
        where = self.directory / str(step)
        if content["version"] != _VERSION:
            raise ValueError(
                f"{where}: expected checkpoint format {_VERSION}, got {content['version']}"
            )
        wanted = {name: describe(slot) for name, slot in slots.items()}
        found = {
            name: {k: leaf[k] for k in ("shape", "dtype")}
            for name, leaf in content["leaves"].items()
            if name.startswith(start)
        }
        problems = [f"missing {n}: expected {brief(wanted[n])}" for n in wanted.keys() - found]
        problems += [f"surplus {n}: got {brief(found[n])}" for n in found.keys() - wanted]
        problems += [
            f"{n}: expected {brief(wanted[n])}, got {brief(found[n])}"
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

    def _read_leaves(
        self, step: int, content: dict[str, Any], slots: Mapping[str, Slot]
    ) -> list[Any]:
        import orbax.checkpoint as ocp

        shapes = {
            name: jax.ShapeDtypeStruct(slot.shape, slot.dtype, sharding=slot.sharding)
            for name, slot in slots.items()
            if math.prod(slot.shape)
        }
        found: Mapping[str, Any] = {}
        if shapes:
            arrays = ocp.args.PyTreeRestore(
                item=shapes,
                restore_args=ocp.checkpoint_utils.construct_restore_args(shapes),
                partial_restore=True,
            )
            args = ocp.args.Composite(arrays=arrays)
            found = self._manager.restore(step, args=args)["arrays"]
        leaves: list[Any] = []
        for name, to in slots.items():
            leaf = to.fill(found[name] if name in found else np.zeros(to.shape, to.dtype))
            digests = {d.get("sha256") for d in (digest(leaf), content["leaves"][name])} - {None}
            if len(digests) > 1:  # there is none of a leaf spread over several processes
                raise ValueError(f"{name} differs from its SHA-256")
            leaves.append(leaf if to.key is None else jax.random.wrap_key_data(leaf, impl=to.key))
        return leaves

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


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


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
