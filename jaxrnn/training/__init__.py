"""Training: any loss function, any optax optimizer, runs that survive.

`fit` is the loop, `Step` the guarded step inside it, `History` what it measured, `Checkpoints`
where it survives. None of them knows a cell.
"""

from .checkpoints import Checkpoints, Saved
from .history import History, log_csv, log_jsonl, log_tensorboard, read_jsonl
from .loop import fit
from .results import Best, Diverged, Report, Result
from .signals import Cancelled, Interrupted
from .step import Aux, Step, TrainState

__all__ = [
    "Aux",
    "Best",
    "Cancelled",
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
