"""Ragged batches of torch's networks: layers × directions × bias, packed there and padded here.

Weights, biases and initial states are random; outputs, last states and all gradients are compared.
Weights are transposed by hand, so that this does not depend on `jaxrnn.interop`. Full batches, and
the other libraries, are in `test_interop_live.py`.
"""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.reference import assert_close, quick, scan, with_gradients

pytestmark = pytest.mark.oracle

T, D, H = 6, 3, 4
LENGTHS = np.array([4, 6, 1, 5])
B = len(LENGTHS)
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
KINDS = {
    "RNN": (jaxrnn.elman, {}),
    "RNN(relu)": (jaxrnn.make_elman(activation="relu"), {"nonlinearity": "relu"}),
    "LSTM": (jaxrnn.lstm, {}),
    "GRU": (jaxrnn.gru, {}),
}


def made(kind, part):
    """The NamedTuple of one cell from torch's four arrays, ``part(name)``, or of their gradients.

    Biases add, so the gradient of our one bias is that of either of theirs.
    """
    kernels = part("weight_ih").T, part("weight_hh").T
    if kind != "GRU":
        params = jaxrnn.LSTMParams if kind == "LSTM" else jaxrnn.ElmanParams
        return params(*kernels, part("bias"))
    return jaxrnn.GRUParams(*kernels, part("bias"), part("recurrent_bias"))


def biases(kind, ih, hh):
    """Our biases from theirs: the candidate's of a GRU stands apart."""
    if kind != "GRU":
        return {"bias": ih + hh}
    return {"bias": ih + np.r_[hh[: 2 * H], np.zeros(H, hh.dtype)], "recurrent_bias": hh[2 * H :]}


@cache
def network(kind, layers, directions):
    return jaxrnn.rnn(KINDS[kind][0], layers, bidirectional=directions == 2)


def grid(net, tree):
    """The params or carries of a network, one per layer and direction, in torch's order."""
    return [one for layer in tree for one in (layer if is_pair(layer) else (layer,))]


def is_pair(layer):
    return isinstance(layer, jaxrnn.Directions)


def arranged(cells, directions):
    """The inverse of `grid`."""
    if directions == 1:
        return tuple(cells)
    return tuple(jaxrnn.Directions(*cells[k : k + 2]) for k in range(0, len(cells), 2))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_torch_ragged(kind, layers, directions, bias, dtype, request):
    torch = pytest.importorskip("torch")
    if dtype == "float64":
        request.getfixturevalue("x64")
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)  # noqa: E731
    number, lstm = layers * directions, kind == "LSTM"
    module = getattr(torch.nn, kind.partition("(")[0])(
        *(D, H, layers),
        bias=bias,
        bidirectional=directions == 2,
        dtype=getattr(torch, dtype),
        **KINDS[kind][1],
    )
    for array in module.parameters():
        array.data = torch.tensor(0.5 * draw(*array.shape))
    xs = torch.tensor(draw(T, B, D), requires_grad=True)
    states = [torch.tensor(0.5 * draw(number, B, H), requires_grad=True) for _ in range(1 + lstm)]
    pack = partial(torch.nn.utils.rnn.pack_padded_sequence, lengths=LENGTHS, enforce_sorted=False)
    packed, last = module(pack(xs), tuple(states) if lstm else states[0])
    ys, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=T)
    last = last if lstm else (last,)
    outputs = (ys, *last)
    weights = [draw(*output.shape) for output in outputs]
    sum((o * torch.tensor(w)).sum() for o, w in zip(outputs, weights, strict=True)).backward()

    names = [f"_l{k}{way}" for k in range(layers) for way in ("", "_reverse")[:directions]]

    def value(suffix):
        def part(name):
            if not name.startswith("weight"):
                if not bias:
                    sizes = {"LSTM": 4 * H, "GRU": 3 * H}
                    size = H if name == "recurrent_bias" else sizes.get(kind, H)
                    return np.zeros(size, dtype)
                both = (getattr(module, f"bias_{w}{suffix}") for w in ("ih", "hh"))
                return biases(kind, *(b.detach().numpy() for b in both))[name]
            return getattr(module, name + suffix).detach().numpy()

        return part

    def gradient(suffix):
        def part(name):
            if name == "bias":
                return getattr(module, f"bias_ih{suffix}").grad.numpy() if bias else None
            if name == "recurrent_bias":
                return getattr(module, f"bias_hh{suffix}").grad.numpy()[2 * H :] if bias else None
            return getattr(module, name + suffix).grad.numpy()

        return part

    def carries(parts):
        parts = [np.asarray(part) for part in parts]
        rows = [[jnp.asarray(part[k]) for part in parts] for k in range(number)]
        return arranged([jaxrnn.LSTMCarry(*r) if lstm else r[0] for r in rows], directions)

    net = network(kind, layers, directions)
    params = arranged([made(kind, value(s)) for s in names], directions)
    params = jax.tree.map(jnp.asarray, params)
    xs_here, carry = jnp.asarray(xs.detach().numpy()), carries([s.detach() for s in states])
    run = quick(with_gradients(lambda *a: scan(net, *a, jnp.asarray(LENGTHS))[:2]))
    cotangents = carries(weights[1:]), jnp.asarray(weights[0])
    (got_last, got_ys), (by_params, by_xs, by_carry) = run(cotangents, params, xs_here, carry)

    tolerance = TOLERANCE[dtype]
    assert_close(got_ys, ys.detach().numpy(), "outputs", tolerance)
    assert_close(got_last, carries([s.detach() for s in last]), "last states", tolerance)
    assert_close(by_xs, xs.grad.numpy(), "gradient of xs", tolerance)
    assert_close(by_carry, carries([s.grad for s in states]), "gradient of states", tolerance)
    for suffix, mine in zip(names, grid(net, by_params), strict=True):
        theirs = made(kind, gradient(suffix))
        for field, want in zip(theirs._fields, theirs, strict=True):
            if want is not None:
                assert_close(getattr(mine, field), want, f"gradient of {field}{suffix}", tolerance)
