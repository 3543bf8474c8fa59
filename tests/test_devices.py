"""What is built on a scan, on several devices; `tests/sharding_uses.py` is what runs there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("generate", "early stop", "sampled", "free", "scheduled", "beam_search", "last"),
        ("truncated", "rtrl", "snap1", "uoro", "reset", "gradient_norms"),
        ("cells", "recipe"),
        ("newton", "units"),
    ],
    ids=["decoding", "learning", "cells", "solvers"],
)
def test_two_devices(names):
    """By sharded arguments, explicit axes and `jax.shard_map`, with and without jit."""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-m", "tests.sharding_uses", *names]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert tuple(done.stdout.splitlines()) == names
