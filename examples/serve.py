"""Serving: save a network, load it, export it, and measure what one step costs.

Nothing is trained: what is served does not ask what was learned. A two-layer LSTM with a linear
readout is written into one file (`jaxrnn.serving.save`) and read back, and then takes a stream
step by step, its state handed on, in each of these ways:

- the function as it is, without `jax.jit`;
- `jax.jit`, with the state donated, so that the new one takes the memory of the old;
- the same, compiled ahead of time, which skips the look-up in jit's cache;
- `jax.export`: the program in a file, for a process that has jax and not jaxrnn;
- 16 steps in one `jaxrnn.scan`, where the input comes in blocks;
- onnxruntime on the exported ONNX model, and torch with the same weights, if installed.

All must give the same outputs to rounding. The table shows the medians of a step's wall time, the
output's way back to numpy included.

    python examples/serve.py
    python examples/serve.py --hidden 256 --batch 8
    python examples/serve.py --smoke

Writing the exported program needs flatbuffers: pip install '.[export]' in a clone

On two cores of an AMD EPYC, 2026-12-01, jax 0.10.2, one of them busy with other work; microseconds
a step of 128 units at batch 1:

    no jit                    3869
    jit                        117
    jit, state donated         113
    ahead of time, donated      67
    jax.export, donated        129
    scan of 16 steps            18
    onnxruntime                 77
    torch                      349

Most of what jit takes is the call: compiled ahead of time a step costs about what onnxruntime's
does, and in blocks of steps the call is gone.
"""

import argparse
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import jaxrnn
from jaxrnn import serving

INPUTS, OUTPUTS, LAYERS, BLOCK = 16, 4, 2, 16


def step(net, params, carry, x):
    """What is served: one step of the network and of its readout."""
    carry, y = net.step(params["rnn"], carry, x)
    return carry, y @ params["head"]


def files(args):
    """Save the model and its step as a program; load both."""
    net = jaxrnn.rnn(jaxrnn.lstm, LAYERS)
    k1, k2 = jax.random.split(jax.random.key(0))
    params = net.init(k1, INPUTS, args.hidden)
    head = jax.random.normal(k2, (args.hidden, OUTPUTS)) / args.hidden**0.5
    serving.save(args.out / "model.npz", net, params, {"head": head})
    net, params, more = serving.load(args.out / "model.npz")
    params = {"rnn": params, "head": more["head"]}

    (b,) = jax.export.symbolic_shape("b")
    leaves, structure = jax.tree.flatten(net.carry(params["rnn"]))
    state = [jax.ShapeDtypeStruct((b, *leaf.shape), leaf.dtype) for leaf in leaves]
    x = jax.ShapeDtypeStruct((b, INPUTS), "float32")

    def plain(state, x):  # of arrays alone, so that who calls it needs no jaxrnn
        carry, y = step(net, params, structure.unflatten(state), x)
        return jax.tree.leaves(carry), y

    exported = jax.export.export(jax.jit(plain))(state, x)
    (args.out / "step.jax").write_bytes(exported.serialize())
    program = jax.export.deserialize(bytearray((args.out / "step.jax").read_bytes()))
    return net, params, program


def jax_ways(net, params, program, batch):
    """``{name: (steps per call, initial state, call)}``, call(state, xs) -> state, y."""

    def one(params, carry, xs):
        return step(net, params, carry, xs[0])

    def block(params, carry, xs):
        carry, ys = jaxrnn.scan(net, params["rnn"], xs, carry)
        return carry, ys[-1] @ params["head"]

    def with_params(function):
        return lambda carry, xs: function(params, carry, xs)

    def start():
        return net.carry(params["rnn"], (batch,))

    donated, shape = jax.jit(one, donate_argnums=1), jax.ShapeDtypeStruct((1, batch, INPUTS), "f4")
    ahead = donated.lower(params, start(), shape).compile()
    exported = jax.jit(lambda state, xs: program.call(state, xs[0]), donate_argnums=0)
    return {
        "no jit": (1, start, with_params(one)),
        "jit": (1, start, with_params(jax.jit(one))),
        "jit, state donated": (1, start, with_params(donated)),
        "ahead of time, donated": (1, start, with_params(ahead)),
        "jax.export, donated": (1, lambda: jax.tree.leaves(start()), exported),
        f"scan of {BLOCK} steps": (
            BLOCK,
            start,
            with_params(jax.jit(block, donate_argnums=1)),
        ),
    }


def onnx_way(net, params, batch, path):
    import onnx
    import onnxruntime

    model = jaxrnn.interop.onnx.export(net, params["rnn"], carry=True)
    onnx.save(model, path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [f"{part}_{k}" for k in range(LAYERS) for part in "hc"]
    wanted, head = ["ys", *(f"{name}_last" for name in names)], np.asarray(params["head"])

    def start():
        hidden = params["head"].shape[0]
        return [np.zeros((1, batch, hidden), "f") for _ in names]

    def call(state, xs):
        ys, *state = session.run(wanted, {"xs": xs, **dict(zip(names, state, strict=True))})
        return state, ys[-1] @ head

    return 1, start, call


def torch_way(net, params, batch):
    import torch

    hidden = params["head"].shape[0]
    lstm = torch.nn.LSTM(INPUTS, hidden, LAYERS).eval()
    arrays = jaxrnn.interop.torch.dump(net, params["rnn"])
    lstm.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
    head = torch.tensor(np.asarray(params["head"]))

    def start():
        return None

    def call(state, xs):
        with torch.inference_mode():
            ys, state = lstm(torch.from_numpy(xs), state)
            return state, (ys[-1] @ head).numpy()

    return 1, start, call


def measure(way, xs, calls):
    """The last output, and the median microseconds of a step."""
    steps, start, call = way
    call(start(), xs[:steps])  # compiles
    state, seconds = start(), []
    for n in range(calls // steps):
        block = xs[n * steps : (n + 1) * steps]
        began = time.perf_counter()
        state, y = call(state, block)
        y = np.asarray(y)  # waits for it
        seconds.append((time.perf_counter() - began) / steps)
    return y, 1e6 * statistics.median(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--calls", type=int, default=2000, help="steps of the stream")
    parser.add_argument("--out", type=Path, default=Path("out/serve"))
    parser.add_argument("--smoke", action="store_true", help="a few steps, to see that it runs")
    args = parser.parse_args()
    if args.smoke:
        args.hidden, args.calls = 8, 2 * BLOCK
    args.calls -= args.calls % BLOCK
    args.out.mkdir(parents=True, exist_ok=True)

    net, params, program = files(args)
    ways = jax_ways(net, params, program, args.batch)
    others = {
        "onnxruntime": lambda: onnx_way(net, params, args.batch, args.out / "model.onnx"),
        "torch": lambda: torch_way(net, params, args.batch),
    }
    for name, make in others.items():
        try:
            ways[name] = make()
        except ImportError as error:
            print(f"{name} is left out: {error}")

    rng = np.random.default_rng(0)
    xs = rng.normal(size=(args.calls, args.batch, INPUTS)).astype("float32")
    _, ys = jaxrnn.scan(net, params["rnn"], jnp.asarray(xs))
    want = np.asarray(ys[-1] @ params["head"])
    print(f"\n{LAYERS} layers of {args.hidden}, batch {args.batch}, {args.calls} steps")
    for name, way in ways.items():
        y, median = measure(way, xs, 2 * BLOCK if name == "no jit" else args.calls)
        worst = np.abs(y - want).max()
        if name != "no jit" and not worst < 1e-4:
            raise SystemExit(f"{name}: the outputs differ by {worst}")
        print(f"{name:24} {median:10.1f} µs a step")
    for path in sorted(args.out.glob("*")):
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
