"""Training: any loss function, any optax optimizer, runs that survive.

`fit` is the loop, `Step` the guarded step inside it, `History` what it measured, `Checkpoints`
where it survives. None of them knows a cell.
"""

from .checkpoints import Checkpoints, Saved
from .history import History, log_csv, log_jsonl, log_tensorboard, read_jsonl
from .loop import Best, Diverged, Report, Result, fit
from .signals import Interrupted
from .step import Aux, Step, TrainState

__all__ = [
    "Aux",
    "Best",
    "Checkpoints",
    "Diverged",
    "History",
    "Interrupted",
    "Report",
    "Result",
    "Saved",
    "Step",
    "TrainState",
    "fit",
    "log_csv",
    "log_jsonl",
    "log_tensorboard",
    "read_jsonl",
]
