"""One recurrent layer in each library, run from the same weights.

``python _contenders.py LIBRARY CELL SHAPE MODE`` is a process of its own: it builds the layer,
compiles it, prints a line of facts, and then, for every line ``N`` it reads, runs the layer N
times and prints the seconds of each run. `layers.py` starts one for each contender and lets
them take turns.

Every layer gets time-major inputs (T, B, D), or batch-major ones where the library wants those,
made before the clock starts. Modes: ``forward``, and ``gradient`` of sum(y²) by the parameters.
"""

import json
import os
import resource
import sys
import time

SHAPES = {  # T, B, D, H
    "sine": (999, 97, 1, 51),
    "mid": (100, 32, 128, 256),
    "big": (128, 16, 512, 512),
    "stream": (1000, 1, 64, 128),
    "long": (4096, 8, 64, 128),
    "tiny": (20, 4, 8, 16),
}
LIBRARIES = ["jaxrnn", "torch", "linen", "nnx", "haiku", "equinox", "keras", "scan"]
KERAS = {"lstm": "LSTM", "gru": "GRU", "elman": "SimpleRNN"}
TORCH = {"lstm": "LSTM", "gru": "GRU", "elman": "RNN"}


def weights(cell, shape):
    """The weights and inputs that every contender gets, as numpy arrays."""
    import jax
    import numpy as np

    import jaxrnn
    from jaxrnn.initializers import torch_uniform as uniform

    length, batch, inputs, hidden = SHAPES[shape]
    record = jaxrnn.CELLS[cell]
    options = {"kernel_init": uniform, "recurrent_init": uniform, "bias_init": uniform}
    params = record.init(jax.random.key(0), inputs, hidden, **options)
    if cell == "gru":  # flax.nnx and keras-style layers differ in this bias: leave it out
        params = params._replace(recurrent_bias=params.recurrent_bias * 0)
    xs = np.random.default_rng(0).normal(size=(length, batch, inputs)).astype(np.float32)
    return record, params, xs


def build(library, cell, shape):
    """``(apply(params, xs) -> ys, params, xs)`` with jax arrays; ys time- or batch-major."""
    import jax
    import jax.numpy as jnp

    import jaxrnn
    from jaxrnn import interop

    record, params, xs = weights(cell, shape)
    inputs, hidden = xs.shape[2], SHAPES[shape][3]
    xs = jnp.asarray(xs)
    if library == "jaxrnn":
        return lambda p, xs: jaxrnn.scan(record, p, xs)[1], params, xs
    if library == "scan":  # what one writes by hand: the step in a plain lax.scan

        def plain(p, xs):
            carry = record.carry(p, xs.shape[1:-1])
            zxs = record.project(p, xs)
            update = jaxrnn.lstm_reference.update if cell == "lstm" else record.update

            def step(carry, zx):
                zh = record.recurrent(p, carry)
                if cell == "lstm":
                    parts = [jaxrnn.cells.LSTMGates(*jnp.split(z, 4, -1)) for z in (zx, zh)]
                    return update(p, carry, *parts)
                return update(p, carry, zx, zh)

            return jax.lax.scan(step, carry, zxs)[1]

        return plain, params, xs
    if library == "linen":
        from flax import linen as nn

        kind = {"lstm": nn.OptimizedLSTMCell, "gru": nn.GRUCell, "elman": nn.SimpleCell}[cell]
        module = nn.RNN(kind(hidden), time_major=True)
        arrays = {"cell": interop.linen.dump(record, params)}
        return lambda p, xs: module.apply({"params": p}, xs), arrays, xs
    if library == "nnx":
        from flax import nnx

        kind = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "elman": nnx.SimpleCell}[cell]
        module = nnx.RNN(kind(inputs, hidden, rngs=nnx.Rngs(0)), time_major=True)
        nnx.update(module.cell, interop.nnx.dump(record, params))
        graph, state, rest = nnx.split(module, nnx.Param, ...)

        def run(p, xs):
            zero = jnp.zeros((xs.shape[1], hidden))
            carry = (zero, zero) if cell == "lstm" else zero
            return nnx.merge(graph, p, rest)(xs, initial_carry=carry)

        return run, state, xs
    if library == "haiku":
        import haiku as hk

        kind = {"lstm": hk.LSTM, "elman": hk.VanillaRNN}[cell]

        def run(xs):
            core = kind(hidden)
            return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

        if cell == "elman":
            raise KeyError("haiku's VanillaRNN has relu units")
        return hk.without_apply_rng(hk.transform(run)).apply, interop.haiku.dump(record, params), xs
    if library == "equinox":
        import equinox as eqx

        kind = {"lstm": eqx.nn.LSTMCell, "gru": eqx.nn.GRUCell}[cell]
        module = kind(inputs, hidden, key=jax.random.key(0))
        arrays = interop.equinox.dump(record, params)
        names = [name for name in arrays if getattr(module, name, None) is not None]
        where = lambda m: [getattr(m, name) for name in names]  # noqa: E731
        module = eqx.tree_at(where, module, [jnp.asarray(arrays[name]) for name in names])
        dynamic, static = eqx.partition(module, eqx.is_array)

        def run(dynamic, xs):
            one = eqx.combine(dynamic, static)
            zero = jnp.zeros((xs.shape[1], hidden))
            carry = (zero, zero) if cell == "lstm" else zero

            def step(carry, x):
                carry = jax.vmap(one)(x, carry)
                return carry, carry[0] if cell == "lstm" else carry

            return jax.lax.scan(step, carry, xs)[1]

        return run, dynamic, xs
    if library == "keras":
        os.environ["KERAS_BACKEND"] = "jax"
        import keras

        layer = getattr(keras.layers, KERAS[cell])(hidden, return_sequences=True)
        layer.build((xs.shape[1], xs.shape[0], inputs))
        layer.set_weights(list(interop.keras.dump(record, params).values()))
        arrays = [v.value for v in layer.trainable_variables]
        rest = [v.value for v in layer.non_trainable_variables]
        xs = jnp.swapaxes(xs, 0, 1)
        return lambda p, xs: layer.stateless_call(p, rest, xs)[0], arrays, xs
    raise KeyError(library)


def jax_contender(library, cell, shape, mode):
    import jax
    import jax.numpy as jnp

    apply, params, xs = build(library, cell, shape)
    params = jax.tree.map(jnp.asarray, params)
    loss = lambda p, xs: jnp.sum(apply(p, xs) ** 2)  # noqa: E731
    work = jax.value_and_grad(loss) if mode == "gradient" else apply
    began = time.perf_counter()
    compiled = jax.jit(work).lower(params, xs).compile()
    compiling = time.perf_counter() - began
    memory = compiled.memory_analysis()
    value = float(jax.jit(loss)(params, xs))
    facts = {"compile_s": compiling, "temp_bytes": memory.temp_size_in_bytes, "value": value}
    return facts, lambda: jax.block_until_ready(compiled(params, xs))


def torch_contender(cell, shape, mode):
    import torch

    from jaxrnn import interop

    record, params, xs = weights(cell, shape)
    module = getattr(torch.nn, TORCH[cell])(xs.shape[2], SHAPES[shape][3])
    arrays = interop.torch.dump(record, params)
    arrays = {k if k.endswith("_l0") else k + "_l0": torch.tensor(v) for k, v in arrays.items()}
    module.load_state_dict(arrays)
    xs = torch.tensor(xs)

    def forward():
        with torch.inference_mode():
            return module(xs)[0]

    def gradient():
        module.zero_grad(set_to_none=True)
        module(xs)[0].square().sum().backward()

    began = time.perf_counter()
    value = float(forward().square().sum())
    facts = {"compile_s": time.perf_counter() - began, "temp_bytes": None, "value": value}
    return facts, gradient if mode == "gradient" else forward


def main(library, cell, shape, mode):
    if library == "torch":
        facts, run = torch_contender(cell, shape, mode)
    else:
        facts, run = jax_contender(library, cell, shape, mode)
    run()
    run()
    facts["peak_rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        seconds = []
        for _ in range(int(line)):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
