"""What an editor sees: pyright on a user's script, no false errors and every true one."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("pyright") is None, reason="needs pyright"),
]

SCRIPT = """
import jax
import jax.numpy as jnp
import numpy as np
from typing_extensions import assert_type

import jaxrnn
from jaxrnn import LSTMCarry, LSTMParams

key, xs = jax.random.key(0), np.ones((7, 2, 3), np.float32)
lstm_params = jaxrnn.lstm_init(key, 3, 5, forget_bias=2.0, use_bias=True)
gru_params = jaxrnn.gru_init(key, 3, 5)
assert_type(lstm_params, LSTMParams)

carry, ys = jaxrnn.lstm_scan(lstm_params, xs, lengths=[7, 3], mask=np.ones((7, 2), bool))
assert_type(carry, LSTMCarry)
assert_type(ys, jax.Array)
print(carry.h + 1, carry.c.shape, ys[-1].mean())
carry, ys = jaxrnn.lstm_scan(lstm_params, xs, (carry.h, carry.c), reset=jnp.zeros((7, 2), bool))
carry, ys, carries = jaxrnn.lstm_scan(lstm_params, xs, carry, return_carries=True)
print(carries.c[0], ys)
carry, y = jaxrnn.lstm_step(lstm_params, carry, xs[0])
carry, ys = jaxrnn.scan(jaxrnn.lstm, lstm_params, xs, carry, reverse=True, gaps="hold")
print(carry.c)
h, ys = jaxrnn.scan(jaxrnn.gru, gru_params, xs, np.zeros((2, 5), np.float32))
print(h.sum(), jaxrnn.gru_carry(gru_params, (2,)) * 2)
state, ys = jaxrnn.elman_scan(jaxrnn.elman_init(key, 3, 5), xs)
net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True, dropout=0.1)
params = net.init(key, 3, 5)
(first, second), ys = jaxrnn.scan(net, params, xs, key=key, solver=jaxrnn.sequential())
print(jaxrnn.summary(net, 3, 5), jaxrnn.cells.CELLS["lstm"].name, ys.shape)
learned = jaxrnn.learned_carry(jaxrnn.gru)
h, y = jaxrnn.stack(learned, jaxrnn.lstm).step((), (), xs[0], key=key, time=3)

jaxrnn.lstm_scan(lstm_params, xs, length=[7, 3])  # error
jaxrnn.scan(jaxrnn.lstm, lstm_params, xs, revers=True)  # error
jaxrnn.lstm_scan(lstm_params, xs)[0].hidden  # error
jaxrnn.scan(jaxrnn.lstm, lstm_params, xs)[0].x  # error
jaxrnn.lstm_scan(gru_params, xs)  # error
jaxrnn.scan(jaxrnn.gru, lstm_params, xs)  # error
jaxrnn.gru_step(lstm_params, h, xs[0])  # error
jaxrnn.lstm_init(key, 3)  # error
jaxrnn.lstm_init(key, 3, 5, bias=False)  # error
jaxrnn.make_lstm(peephole="diagonal")  # error
jaxrnn.make_gru(reset="afterwards")  # error
jaxrnn.scan("lstm", lstm_params, xs)  # error
jaxrnn.scan(jaxrnn.lstm, lstm_params, xs, gaps="fill")  # error
lstm_params.kernel  # error
jaxrnn.LSTM(5)  # error
jaxrnn.lstm.steps  # error
"""


def test_a_users_script(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = Path(__file__).parent.parent
    config = {"extraPaths": [str(root)], "typeCheckingMode": "standard"}
    config |= {"reportUnusedExpression": "none"}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    command = [
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "--project",
        str(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    report = json.loads(done.stdout)
    errors = {d["range"]["start"]["line"]: d["message"] for d in report["generalDiagnostics"]}
    wanted = {k for k, line in enumerate(SCRIPT.splitlines()) if line.endswith("# error")}
    lines = SCRIPT.splitlines()
    assert not {lines[k]: v for k, v in errors.items() if k not in wanted}, "false errors"
    assert not [lines[k] for k in wanted - errors.keys()], "errors that were missed"
