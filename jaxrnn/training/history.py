"""What a run measured: columns in memory, CSV, JSON lines and a picture on request."""

import csv
import json
import math
import os
import weakref
from array import array
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Literal

import jax
import numpy as np
from numpy.typing import NDArray

__all__ = ["History", "log_csv", "log_jsonl", "log_tensorboard", "read_jsonl"]

PathLike = str | os.PathLike[str]
Column = NDArray[np.float64]


class History:
    """The figures of a run, one row a step.

    Rows may differ in their columns (an evaluation happens every so many steps); what a row lacks
    reads as NaN. ``fit`` writes step, loss, grad_norm, skipped and seconds, the loss's own
    metrics, and the evaluation's.

    Example:
      >>> from jaxrnn.training import History
      >>> history = History()
      >>> history.append({"step": 1, "loss": 4.0})
      >>> history.append({"step": 2, "loss": 1.0, "eval": 3.0})
      >>> history["loss"].tolist(), history["eval"].tolist()
      ([4.0, 1.0], [nan, 3.0])
    """

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._length = 0

    def append(self, row: Mapping[str, Any]) -> None:
        """Add one step's figures, real scalars by name."""
        numbers = {name: _number(name, value) for name, value in row.items()}
        for name in numbers:
            if name not in self._columns:
                self._columns[name] = array("d", [math.nan] * self._length)
        for name, column in self._columns.items():
            column.append(numbers.get(name, math.nan))
        self._length += 1

    @property
    def columns(self) -> list[str]:
        """The names seen so far, in the order they first came."""
        return list(self._columns)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[dict[str, float]]:
        """Rows as mappings without what they lack."""
        for i in range(self._length):
            yield _known({name: column[i] for name, column in self._columns.items()})

    def __getitem__(self, name: str) -> NDArray[np.float64]:
        """One column, an entry a row, NaN where a row lacks it."""
        if name not in self._columns:
            raise KeyError(f"name: expected one of {self.columns}, got {name!r}")
        return np.array(self._columns[name], np.float64)

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Every column as a float64 array of one entry a row, NaN where a row lacks it."""
        return {name: self[name] for name in self.columns}

    def pack(self) -> dict[str, bytes]:
        """Every column as the bytes of its float64 numbers, for `unpack`."""
        return {name: self[name].astype("<f8").tobytes() for name in self.columns}

    @classmethod
    def unpack(cls, packed: Mapping[str, bytes]) -> "History":
        """The history that `pack` gave this."""
        history = cls()
        history._columns = {
            name: array("d", np.frombuffer(column, "<f8")) for name, column in packed.items()
        }
        history._length = len(next(iter(history._columns.values()), ()))
        return history

    def to_csv(self, path: PathLike) -> Path:
        """Write one line a row under a line of names; what a row lacks is empty."""
        with _create(path) as file:
            writer = csv.DictWriter(file, self.columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self)
        return Path(path)

    def to_jsonl(self, path: PathLike) -> Path:
        """Write one JSON object a row (`read_jsonl` reads them back); not a number is null."""
        with _create(path) as file:
            file.writelines(_json_line(row) for row in self)
        return Path(path)

    def plot(
        self,
        path: PathLike,
        *columns: str,
        log: bool | None = None,
        mode: Literal["min", "max"] = "min",
    ) -> Path:
        """Draw columns over steps and save the picture; needs matplotlib.

        A column that most rows have is drawn twice: as it is, faint, and as a running mean over a
        fiftieth of the rows. Its best figure is marked, and told in the legend.

        Args:
          path: of the picture; its suffix chooses the format.
          *columns: names to draw; by default the loss and every column of the evaluation.
          log: logarithmic vertical axis; by default where all that is drawn is positive.
          mode: "min" or "max": whether the least or the greatest figure of a column is its best.

        Returns:
          The path.

        Raises:
          ImportError: matplotlib is not installed.
          KeyError: a column that was never written.
          ValueError: another mode.
        """
        if mode not in ("min", "max"):
            raise ValueError(f"mode: expected 'min' or 'max', got {mode!r}")
        try:
            from matplotlib.figure import Figure  # without pyplot: no window, no global state
        except ImportError as error:
            raise ImportError(
                "plot: expected matplotlib, which is not installed (pip install matplotlib)"
            ) from error
        others = {"step", "grad_norm", "skipped", "seconds"}
        names = columns or tuple(name for name in self.columns if name not in others)
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes = figure.add_subplot()
        for name in names:
            _draw(axes, name, self["step"], self[name], mode)
        if log is None:
            log = all((self[name][np.isfinite(self[name])] > 0).all() for name in names)
        axes.set(
            xlabel="step",
            ylabel=", ".join(names) if len(names) < 4 else "value",
            yscale="log" if log else "linear",
        )
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend()
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        return Path(path)


def _draw(axes: Any, name: str, steps: Column, values: Column, mode: str) -> None:
    """One column: raw, smooth, and its best."""
    known = np.isfinite(values)
    if not known.any():
        return
    few = np.count_nonzero(known) < len(values) / 2
    steps, values = steps[known], values[known]
    best = np.argmin(values) if mode == "min" else np.argmax(values)
    label = f"{name}, best {values[best]:.4g} at step {steps[best]:g}"
    width = 1 if few else max(1, len(values) // 50)
    (line,) = axes.plot(
        steps, _running_mean(values, width), "o-" if few else "-", ms=3, label=label
    )
    if width > 1:
        axes.plot(steps, values, color=line.get_color(), alpha=0.25, linewidth=1, zorder=1)
    axes.plot(steps[best], values[best], "*", color=line.get_color(), ms=12, mec="white", zorder=3)


def _running_mean(values: Column, width: int) -> Column:
    """The mean of the neighbours, as many as there are at the ends."""
    window = np.ones(width)
    counts = np.convolve(np.ones_like(values), window, "same")
    return np.convolve(values, window, "same") / counts


def read_jsonl(path: PathLike) -> History:
    """Read a history from JSON lines.

    Where a step occurs twice, because a run was killed after its last checkpoint and took those
    steps again, the later line counts. A last line cut short by the kill is left out.

    Args:
      path: of a file that `History.to_jsonl` or `jaxrnn.training.log_jsonl` wrote.

    Returns:
      The history, in order of steps.

    Raises:
      ValueError: a line that is not a JSON object with a step, other than a cut last one.

    Example:
      >>> import pathlib, tempfile
      >>> from jaxrnn.training import read_jsonl
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = pathlib.Path(folder, "history.jsonl")
      ...     _ = path.write_text('{"step": 1, "loss": 0.5}')
      ...     float(read_jsonl(path)["loss"][0])
      0.5
    """
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows: dict[float, dict[str, Any]] = {}
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
            rows[row["step"]] = row
        except (ValueError, TypeError, KeyError) as error:
            if number == len(lines):
                break
            raise ValueError(
                f"path: expected a JSON object with a step, got line {number} of {path}: {line!r}"
            ) from error
    history = History()
    for step in sorted(rows):
        history.append({k: math.nan if v is None else v for k, v in rows[step].items()})
    return history


def log_jsonl(path: PathLike) -> Callable[[Any], None]:
    """A callback for `fit` that writes each step's figures as it goes, one JSON object a line.

    It appends: a run that resumes goes on with the same file, which `read_jsonl` sorts out.

    Args:
      path: of the file; its folder is made where it is missing.

    Example:
      >>> import tempfile, jax.numpy as jnp, optax
      >>> from jaxrnn import training
      >>> folder = tempfile.TemporaryDirectory()
      >>> log = training.log_jsonl(folder.name + "/run.jsonl")
      >>> result = training.fit(
      ...     lambda w, x: (w - x) ** 2, jnp.zeros(()), optax.sgd(0.5), [1.0, 2.0], callbacks=[log]
      ... )
      >>> training.read_jsonl(folder.name + "/run.jsonl")["loss"].tolist()
      [1.0, 1.0]
      >>> folder.cleanup()
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)

    def write(report: Any) -> None:
        if jax.process_index():  # of several processes one writes
            return
        with open(path, "a", encoding="utf-8") as file:
            file.write(_json_line(report.row))

    return write


def log_csv(path: PathLike) -> Callable[[Any], None]:
    """A callback for `fit` that writes each step's figures as it goes, one line of a table each.

    The table is at all times as `History.to_csv` would have written it. A column that comes
    later, such as an evaluation's, is added to the lines before. A run that resumes goes on with
    the same file, without the lines of the steps that it takes again.

    Args:
      path: of the file; its folder is made where it is missing.

    Raises:
      ValueError: at the first step, if there is a file that has no column of steps.

    Example:
      >>> import pathlib, tempfile, jax.numpy as jnp, optax
      >>> from jaxrnn import training
      >>> folder = tempfile.TemporaryDirectory()
      >>> path = pathlib.Path(folder.name, "run.csv")
      >>> log = training.log_csv(path)
      >>> result = training.fit(
      ...     lambda w, x: (w - x) ** 2, jnp.zeros(()), optax.sgd(0.5), [1.0, 2.0], callbacks=[log]
      ... )
      >>> [line.split(",")[:2] for line in path.read_text().splitlines()]
      [['step', 'loss'], ['1', '1'], ['2', '1']]
      >>> folder.cleanup()
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: list[str] = []

    def write(report: Any) -> None:
        if jax.process_index():
            return
        if not columns or not report.row.keys() <= set(columns):
            earlier = _csv_rows(path, report.step)
            columns[:] = dict.fromkeys(name for row in (*earlier, report.row) for name in row)
            with _create(aside := path.with_name(path.name + ".new")) as file:
                writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
                writer.writeheader()
                writer.writerows(earlier)
            aside.replace(path)
        with open(path, "a", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
            writer.writerow(_known(report.row))

    return write


def _csv_rows(path: Path, before: int) -> list[dict[str, str]]:
    """The rows of a table up to a step, without a last line that was cut short."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()
    try:
        return [row for row in csv.DictReader(lines) if float(row["step"]) < before]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"path: expected a table with a column of steps, got {lines[0]!r} in {path}"
        ) from error


def log_tensorboard(directory: PathLike) -> Callable[[Any], None]:
    """A callback for `fit` that writes each step's figures for TensorBoard to show.

    They are on disk within ten seconds, and all of them when the callback is let go of. A run
    that resumes goes on in the same folder, and replaces the steps that it takes again.

    Args:
      directory: of the event files; made where it is missing.

    Raises:
      ImportError: tensorboardX is not installed.

    Example:
      >>> from jaxrnn import training
      >>> callbacks = [training.log_tensorboard("runs/first")]  # doctest: +SKIP
    """
    try:
        writer_class = import_module("tensorboardX").SummaryWriter
    except ImportError as error:
        raise ImportError(
            "log_tensorboard: expected tensorboardX, which is not installed "
            "(pip install tensorboardX)"
        ) from error
    writer: Any = None

    def write(report: Any) -> None:
        nonlocal writer
        if jax.process_index():
            return
        if writer is None:
            writer = writer_class(os.fspath(directory), purge_step=report.step, flush_secs=10)
            weakref.finalize(write, writer.close)
        for name, value in report.row.items():
            if name != "step":
                writer.add_scalar(name, _number(name, value), report.step)

    return write


def _json_line(row: Mapping[str, Any]) -> str:
    """One row as a line of strict JSON; what is not finite becomes null."""
    numbers = {name: _tidy(_number(name, value)) for name, value in row.items()}
    known = {name: value if math.isfinite(value) else None for name, value in numbers.items()}
    return json.dumps(known, allow_nan=False) + "\n"


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{name}: expected a real scalar, got {type(value).__name__} of shape {np.shape(value)}"
        ) from error


def _known(row: Mapping[str, Any]) -> dict[str, float]:
    """A row without what is not a number."""
    numbers = {name: _number(name, value) for name, value in row.items()}
    return {name: _tidy(value) for name, value in numbers.items() if not math.isnan(value)}


def _tidy(value: float) -> float:
    """Counts are written as counts: 3 for 3.0."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _create(path: PathLike) -> IO[str]:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    return open(path, "w", encoding="utf-8", newline="")
