"""The least that learns a wave and goes on with it: replace the cell and see it work.

python examples/sine_min.py              # an LSTM
python examples/sine_min.py min_gru      # or any other cell of jaxrnn.CELLS
"""

import argparse
from functools import partial
from itertools import repeat
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from matplotlib.figure import Figure

import jaxrnn
from jaxrnn import data, training

parser = argparse.ArgumentParser(description="learn a sine wave with any cell")
parser.add_argument("cell", nargs="?", choices=jaxrnn.CELLS, default="lstm", metavar="cell")
parser.add_argument("--out", type=Path, default=Path("out/sine_min"))
parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
args = parser.parse_args()

# The cell, its parameters, and those that read a value from its output.
cell = jaxrnn.CELLS[args.cell]
waves = data.sine_waves(64, 600)  # rows, time
split = data.next_step(waves[:, :300], test=1)  # time-major inputs, and every next value
params = {"rnn": cell.init(jax.random.key(0), 1, 32), "out": jnp.zeros((32, 1))}


def readout(params, hs):
    return hs @ params["out"]


def loss(params, batch):
    xs, ys = batch
    return jnp.mean((readout(params, jaxrnn.scan(cell, params["rnn"], xs)[1]) - ys) ** 2)


optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))
batches = repeat((split.train_inputs, split.train_targets))
params = training.fit(loss, params, optimizer, batches, steps=5 if args.smoke else 400).params
print(f"{args.cell}: test error {loss(params, split[2:]):.1e}")

# A wave that was not trained on, and how the network goes on with it, fed its own output.
prompt, read = waves[:1, :300].T[..., None], partial(readout, params)
guess = jaxrnn.generate(
    cell, params["rnn"], jnp.asarray(prompt, jnp.float32), steps=300, readout=read
)
axes = Figure(figsize=(8, 3), layout="constrained").add_subplot(
    xlabel="time step", ylabel="value", ylim=(-1.2, 1.8)
)
axes.plot(waves[0], color="0.75", lw=3, label="true wave")
axes.plot(
    range(300, 600), guess.sequence[:, 0, 0], "C3--", label=f"{args.cell}, fed its own output"
)
axes.legend(loc="upper right")
args.out.mkdir(parents=True, exist_ok=True)
axes.figure.savefig(args.out / "waves.png", dpi=110)
