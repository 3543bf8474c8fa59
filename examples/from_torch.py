"""From PyTorch and back: train there for a moment, go on here, send the result home.

A torch LSTM learns to predict a noisy wave. Its weights are loaded here, and both compute the same
numbers; optax trains on, and the torch module that gets the weights back computes what we do.

    python examples/from_torch.py              # under a minute on a CPU
    python examples/from_torch.py --smoke      # a few steps

Needs torch, which jaxrnn itself does not: pip install 'jaxrnn[oracle]'
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxrnn

TIME, BATCH, HIDDEN, LAYERS = 100, 16, 32, 2


def waves(seed):
    """Noisy waves of random phase and pitch (T + 1, B, 1)."""
    rng = np.random.default_rng(seed)
    pitch, phase = rng.uniform(5, 20, BATCH), rng.uniform(0, 6, BATCH)
    wave = np.sin(np.arange(TIME + 1)[:, None] / pitch + phase)
    return (wave + 0.05 * rng.normal(size=wave.shape)).astype("float32")[..., None]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=150, help="training steps on either side")
    parser.add_argument("--smoke", action="store_true", help="a few steps only")
    parser.add_argument("--out", type=Path, default=Path("out/from_torch"), help="where to write")
    args = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("torch is not installed: nothing to load from (pip install 'jaxrnn[oracle]')")
        return
    steps = 5 if args.smoke else args.steps
    args.out.mkdir(parents=True, exist_ok=True)

    # A model as one writes it in torch, trained for a moment.
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = torch.nn.LSTM(1, HIDDEN, LAYERS)
            self.head = torch.nn.Linear(HIDDEN, 1)

        def forward(self, xs):
            return self.head(self.lstm(xs)[0])

    torch.manual_seed(0)
    model = Model()
    adam = torch.optim.Adam(model.parameters(), lr=3e-3)
    data = waves(seed=0)
    there = torch.tensor(data)
    for _ in range(steps):
        adam.zero_grad()
        error = ((model(there[:-1]) - there[1:]) ** 2).mean()
        error.backward()
        adam.step()
    print(f"torch       {steps} steps: mean squared error {error.item():.5f}")

    # Its file read without unpickling, its network recognised, its weights loaded.
    torch.save(model.state_dict(), args.out / "torch.pt")
    arrays = jaxrnn.interop.read(args.out / "torch.pt")
    net = jaxrnn.interop.torch.infer(arrays, prefix="lstm")
    params = {
        "rnn": jaxrnn.interop.torch.load(net, arrays, prefix="lstm"),
        "kernel": jnp.asarray(arrays["head.weight"].T),
        "bias": jnp.asarray(arrays["head.bias"]),
    }

    @jax.jit
    def predict(params, xs):
        _, ys = jaxrnn.scan(net, params["rnn"], xs)
        return ys @ params["kernel"] + params["bias"]

    def torch_predict():
        with torch.no_grad():
            return model(there[:-1]).numpy()

    def compare(what):
        difference = np.abs(predict(params, data[:-1]) - torch_predict()).max()
        print(f"{what}: largest difference of the outputs {difference:.1e}")
        if not difference < 1e-5:
            raise SystemExit("the outputs differ")

    compare(f"loaded into {net.name}")

    # Trained on with optax.
    optimizer = optax.adam(3e-3)

    @jax.jit
    def step(params, state):
        def loss(params):
            return jnp.mean((predict(params, data[:-1]) - data[1:]) ** 2)

        error, slope = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(slope, state)
        return optax.apply_updates(params, updates), state, error

    state = optimizer.init(params)
    for _ in range(steps):
        params, state, error = step(params, state)
    print(f"optax       {steps} steps: mean squared error {error:.5f}")

    # And home again, under the same names.
    back = jaxrnn.interop.torch.dump(net, params["rnn"], prefix="lstm")
    back |= {"head.weight": np.asarray(params["kernel"]).T, "head.bias": np.asarray(params["bias"])}
    model.load_state_dict({name: torch.tensor(array) for name, array in back.items()})
    compare("sent back to torch")
    np.savez(args.out / "tuned.npz", **back)
    print(f"wrote {args.out / 'torch.pt'} and {args.out / 'tuned.npz'}")


if __name__ == "__main__":
    main()
