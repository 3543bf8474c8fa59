"""Regenerate the golden arrays: what other libraries computed, kept so that no test needs them.

    python tests/golden/make.py

Each file holds a library's own weights by its own names (``w/…``), inputs ``xs`` (T, B, D), outputs
``ys`` and the gradient ``dxs`` of sum(ys · weights) by the inputs, all float64; torch's also the
lengths of a ragged batch. `tests/test_golden.py` reads them.
"""

from pathlib import Path

import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import linen as nn

HERE = Path(__file__).parent
T, B, D, H = 5, 3, 3, 4
LENGTHS = np.array([5, 2, 4])


def save(name, weights, xs, ys, dxs, weight, **more):
    arrays = {f"w/{key}": np.asarray(value) for key, value in weights.items()}
    np.savez_compressed(
        HERE / f"{name}.npz", xs=xs, ys=ys, dxs=dxs, weight=weight, **arrays, **more
    )


def from_torch(name, kind, seed, **options):
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module = getattr(torch.nn, kind)(D, H, 2, bidirectional=True, dtype=torch.float64, **options)
    xs = torch.tensor(rng.normal(size=(T, B, D)), requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(xs, LENGTHS, enforce_sorted=False)
    ys, _ = torch.nn.utils.rnn.pad_packed_sequence(module(packed)[0], total_length=T)
    weight = rng.normal(size=ys.shape)
    (ys * torch.tensor(weight)).sum().backward()
    weights = {key: value.numpy() for key, value in module.state_dict().items()}
    xs, dxs, ys = xs.detach().numpy(), xs.grad.numpy(), ys.detach().numpy()
    save(name, weights, xs, ys, dxs, weight, lengths=LENGTHS)


def from_jax(name, seed, init, apply, split):
    rng = np.random.default_rng(seed)
    xs = jnp.asarray(rng.normal(size=(T, B, D)))
    tree = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), init(xs))
    ys = apply(tree, xs)
    weight = rng.normal(size=ys.shape)
    dxs = jax.grad(lambda xs: jnp.sum(apply(tree, xs) * weight))(xs)
    leaves, _ = jax.tree_util.tree_flatten_with_path(split(tree))
    name_of = jax.tree_util.keystr
    weights = {name_of(path, simple=True, separator="/"): leaf for path, leaf in leaves}
    save(name, weights, xs, ys, dxs, weight)


def from_linen(name, kind, seed):
    module = nn.RNN(kind(H, param_dtype=jnp.float64), time_major=True)
    init = lambda xs: module.init(jax.random.key(0), xs)  # noqa: E731
    from_jax(name, seed, init, module.apply, lambda tree: tree["params"]["cell"])


def from_haiku(name, kind, seed):
    def run(xs):
        core = kind(H)
        return hk.dynamic_unroll(core, xs, core.initial_state(xs.shape[1]))[0]

    module = hk.without_apply_rng(hk.transform(run))
    init = lambda xs: module.init(jax.random.key(0), xs)  # noqa: E731
    from_jax(name, seed, init, module.apply, lambda tree: tree)


def main():
    jax.config.update("jax_enable_x64", True)
    from_torch("torch_lstm", "LSTM", 0)
    from_torch("torch_gru", "GRU", 1)
    from_torch("torch_rnn", "RNN", 2)
    from_torch("torch_rnn_relu", "RNN", 3, nonlinearity="relu")
    from_torch("torch_lstm_projected", "LSTM", 4, proj_size=2)
    from_linen("linen_lstm", nn.OptimizedLSTMCell, 5)
    from_linen("linen_gru", nn.GRUCell, 6)
    from_haiku("haiku_lstm", hk.LSTM, 7)
    from_haiku("haiku_gru", hk.GRU, 8)


if __name__ == "__main__":
    main()
