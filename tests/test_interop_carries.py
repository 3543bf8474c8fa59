"""Carries from and to other libraries, by themselves and against the live ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop import structure
from tests.reference import assert_close, assert_same, random_like

D, H, B = 3, 4, 2
KINDS = {
    "elman": jaxrnn.elman,
    "gru": jaxrnn.gru,
    "lstm": jaxrnn.lstm,
    "proj": jaxrnn.make_lstm(proj_size=2),
}
FORMS = {
    "cell": lambda cell: cell,
    "both": jaxrnn.bidirectional,
    "stack": lambda cell: jaxrnn.rnn(cell, 2),
    "rnn": lambda cell: jaxrnn.rnn(cell, 3, bidirectional=True),
}


def carries(net, dtype="float32", batch=(B,)):
    params = jax.eval_shape(
        lambda key: net.init(key, D, H, dtype=jnp.dtype(dtype)), jax.random.key(0)
    )
    return random_like(jax.eval_shape(lambda p: net.carry(p, batch), params), 1)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["torch", "linen", "nnx", "equinox"])
def test_there_and_back(name, kind, form):
    net, library = FORMS[form](KINDS[kind]), getattr(interop, name)
    for batch in ((B,), ()):
        carry = carries(net, batch=batch)
        state = library.dump_carry(net, carry)
        assert_same(library.load_carry(net, state), carry, "carry")


def test_where_everything_stands():
    net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)
    carry = carries(net)
    h, c = interop.torch.dump_carry(net, carry)
    assert h.shape == c.shape == (4, B, H)
    for k, one in enumerate((*carry[0], *carry[1])):  # layer by layer, forward first
        assert_same(jnp.asarray(h[k]), one.h, "h")
        assert_same(jnp.asarray(c[k]), one.c, "c")
    flax = interop.linen.dump_carry(net, carry)
    assert_same(jnp.asarray(flax[1][0][0]), carry[1].forward.c, "c")
    assert_same(jnp.asarray(flax[1][1][1]), carry[1].backward.h, "h")
    one, other = interop.torch.dump_carry(jaxrnn.make_lstm(proj_size=2), carries(KINDS["proj"]))
    assert (one.shape, other.shape) == ((B, 2), (B, H))


def test_half_types():
    net = jaxrnn.rnn(jaxrnn.lstm)
    carry = carries(net, "bfloat16")
    assert carry[0].c.dtype == jnp.float32
    h, c = interop.torch.dump_carry(net, carry)
    assert h.dtype == c.dtype == jnp.bfloat16
    back = interop.torch.load_carry(net, (h, c))
    assert (back[0].h.dtype, back[0].c.dtype) == (jnp.bfloat16, jnp.float32)


def test_what_is_no_state_is_refused():
    net, h = jaxrnn.rnn(jaxrnn.lstm, 2), np.zeros((2, B, H), "f")
    torch, linen = interop.torch, interop.linen
    with pytest.raises(ValueError, match=r"expected c of shape \(2, ...\) for 2 layers of 1 dir"):
        torch.load_carry(net, (h, h[:1]))
    with pytest.raises(ValueError, match="source: expected a pair of arrays for 'lstm'"):
        torch.load_carry(net, h)
    with pytest.raises(ValueError, match="source: expected an array for 'gru'"):
        torch.load_carry(jaxrnn.rnn(jaxrnn.gru, 2), (h, h))
    with pytest.raises(ValueError, match="expected h and c of one shape"):
        torch.load_carry(net, (h, h[..., 1:]))
    with pytest.raises(TypeError, match="got a carry of jaxrnn"):
        linen.load_carry(jaxrnn.lstm, jaxrnn.LSTMCarry(h[0], h[0]))
    with pytest.raises(TypeError, match="got a carry of jaxrnn"):
        linen.load_carry(net, [jaxrnn.LSTMCarry(h[0], h[0])] * 2)
    with pytest.raises(ValueError, match="a state for each of 2 layers"):
        linen.load_carry(net, [(h[0], h[0])] * 3)
    with pytest.raises(ValueError, match="a state for each of two directions in layer 0"):
        linen.load_carry(jaxrnn.bidirectional(jaxrnn.gru), h[0])
    mixed = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)
    with pytest.raises(ValueError, match="carry: expected equal states, which torch stacks"):
        torch.dump_carry(mixed, carries(mixed))
    with pytest.raises(ValueError, match="net: expected the same kind of cell in all layers"):
        torch.load_carry(mixed, (h, h))
    with pytest.raises(TypeError, match="carry: expected LSTMCarry of 'lstm', got"):
        torch.dump_carry(net, carries(jaxrnn.lstm))
    with pytest.raises(TypeError, match="carry: expected a tuple of 3"):
        torch.dump_carry(jaxrnn.rnn(jaxrnn.lstm, 3), carries(net))


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_a_torch_run_goes_on_here(kind):
    torch = pytest.importorskip("torch")
    options = {"proj_size": 2} if kind == "LSTM" else {}
    module = getattr(torch.nn, kind)(D, H, 2, bidirectional=True, **options)
    net = interop.torch.infer(module.state_dict())
    params = interop.torch.load(net, module.state_dict())
    xs = torch.randn(5, B, D)
    _, state = module(xs)
    ys, last = module(xs, state)
    carry, mine = jaxrnn.scan(
        net, params, jnp.asarray(xs.numpy()), interop.torch.load_carry(net, state)
    )
    assert_close(mine, jnp.asarray(ys.detach().numpy()), "outputs", 1e-5)
    back = interop.torch.dump_carry(net, carry)
    for one, other in zip(jax.tree.leaves(back), last if kind == "LSTM" else (last,), strict=True):
        np.testing.assert_allclose(one, other.detach().numpy(), atol=1e-5)


@pytest.mark.oracle
def test_a_compact_flax_module_goes_on_here():
    nn = pytest.importorskip("flax.linen")

    class Model(nn.Module):
        @nn.compact
        def __call__(self, xs, carry=None):
            one, other = (nn.RNN(nn.LSTMCell(H), return_carry=True) for _ in range(2))
            both = nn.Bidirectional(one, other, return_carry=True)
            carry, ys = both(xs, initial_carry=carry)
            return carry, nn.Dense(2)(ys), ys

    xs = random_like(jnp.ones((B, 5, D)), 0)
    variables = Model().init(jax.random.key(0), xs)
    names = [name for name in variables["params"] if "LSTM" in name]
    net = jaxrnn.bidirectional(jaxrnn.lstm)
    prefix = jaxrnn.Directions(*names)
    assert structure.units(interop.linen.infer(variables, prefix))[0][1].directions == 2
    params = interop.linen.load(net, variables, prefix)
    state, _, _ = Model().apply(variables, xs)
    _, _, ys = Model().apply(variables, xs, state)
    carry = interop.linen.load_carry(net, state)
    mine = jaxrnn.scan(net, params, xs.swapaxes(0, 1), carry)[1]
    assert_close(mine.swapaxes(0, 1), ys, "outputs", 1e-5)
    assert_close(
        list(jax.tree.leaves(interop.linen.dump_carry(net, carry))),
        list(jax.tree.leaves(state)),
        "state",
        0.0,
    )
