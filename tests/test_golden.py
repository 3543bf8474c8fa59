"""The same outputs and gradients as other libraries, from arrays that they once computed.

`tests/golden/make.py` regenerates them; `test_interop_live.py` compares with the live libraries.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn

CASES = {
    "torch_lstm": jaxrnn.lstm,
    "torch_gru": jaxrnn.gru,
    "torch_rnn": jaxrnn.elman,
    "torch_rnn_relu": jaxrnn.make_elman(activation="relu"),
    "torch_lstm_projected": jaxrnn.make_lstm(proj_size=2),
    "linen_lstm": jaxrnn.lstm,
    "linen_gru": jaxrnn.gru,
    "haiku_lstm": jaxrnn.lstm,
    "haiku_gru": jaxrnn.cells.gru_reset_before,
}
SLOW = ("torch_lstm", "linen_lstm", "torch_gru", "torch_rnn_relu", "torch_lstm_projected")
"""Two layers in two directions, as another among the quick ones."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in CASES],
)
def test_same_as_the_library(name):
    library, cell = name.partition("_")[0], CASES[name]
    with np.load(Path(__file__).parent / "golden" / f"{name}.npz") as file:
        arrays = dict(file)
    source = {key[2:]: value for key, value in arrays.items() if key.startswith("w/")}
    with jax.enable_x64(True):
        net = jaxrnn.rnn(cell, 2, bidirectional=True) if library == "torch" else cell
        params = getattr(jaxrnn.interop, library).load(net, source, dtype=jnp.float64)
        lengths = arrays.get("lengths")
        run = lambda xs: jaxrnn.scan(net, params, xs, lengths=lengths)[1]  # noqa: E731
        xs, weight = jnp.asarray(arrays["xs"]), jnp.asarray(arrays["weight"])
        ys = run(xs)
        dxs = jax.grad(lambda xs: jnp.sum(run(xs) * weight))(xs)
    np.testing.assert_allclose(ys, arrays["ys"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(dxs, arrays["dxs"], rtol=0, atol=1e-12)
