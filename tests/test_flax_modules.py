"""What the modules of `jaxrnn.linen` and `jaxrnn.nnx` are to Flax: layers, objects, functions."""

import copy
import inspect
import pickle
import subprocess
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxrnn
from tests.flax_forms import B, D, H, T, apply_linen, draw, make_nnx, quick
from tests.reference import assert_close, assert_same

LEAVES = ("input_kernel", "recurrent_kernel", "bias")
INPUTS = jnp.ones((B, T, D))
WIDE = {"width": 200}


# Layers as modules.


def test_tables():
    options = {"num_layers": 2, "bidirectional": True}
    model = jaxrnn.linen.LSTM(H, return_carry=True, dropout=0.5, **options)
    text = model.tabulate(
        jax.random.key(0), INPUTS, deterministic=True, compute_flops=True, console_kwargs=WIDE
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)
                .init(jax.random.key(0), D, H)))  # fmt: skip
    twin = jaxrnn.nnx.LSTM(D, H, **options, rngs=nnx.Rngs(0))
    for table in (text, nnx.tabulate(twin, INPUTS, console_kwargs=WIDE)):
        assert "layer_0" in table
        assert "layer_1" in table
        assert f"Total Parameters: {count}" in table
    known = jaxrnn.nnx.LSTM(D, H, num_layers=2, return_carry=True, rngs=nnx.Rngs(0))
    assert "layer_1" in nnx.tabulate(known, INPUTS, console_kwargs=WIDE)


def test_captured_intermediates():
    net = jaxrnn.stack(jaxrnn.lstm, jaxrnn.stack(jaxrnn.elman, jaxrnn.gru))
    params, inputs, _ = draw(net)
    model = jaxrnn.linen.Recurrent(H, net, return_carries=True)
    variables = {"params": jaxrnn.linen.from_params(params)}
    (carry, ys, carries), state = model.apply(variables, inputs, capture_intermediates=True)
    seen = state["intermediates"]
    (top,), (inner,) = seen["layer_0"]["__call__"], seen["layer_1"]["layer_1"]["__call__"]
    assert_same(top["carry"], carry[0], "carry of the first layer")
    assert_same(inner["ys"].swapaxes(0, 1), ys, "outputs of the last")
    assert_same(top["carries"].h.swapaxes(0, 1), carries[0].h, "every carry")
    only = lambda module, method: module.path == ("layer_0",)  # noqa: E731
    _, state = model.apply(variables, inputs, capture_intermediates=only)
    assert set(state["intermediates"]) == {"layer_0"}


@pytest.mark.parametrize("num_layers", [1, 2])
def test_modules_are_copied_pickled_and_compared(num_layers):
    make = lambda: jaxrnn.linen.LSTM(H, num_layers=num_layers)  # noqa: E731
    model = make()
    assert pickle.loads(pickle.dumps(model)) == copy.deepcopy(model) == model == make()
    assert hash(model) == hash(make())
    assert model != jaxrnn.linen.LSTM(H, num_layers=num_layers, reverse=True)
    module = jaxrnn.nnx.LSTM(D, H, num_layers=num_layers, rngs=nnx.Rngs(0))
    for twin in (pickle.loads(pickle.dumps(module)), copy.deepcopy(module), nnx.clone(module)):
        assert_same(twin(INPUTS), module(INPUTS), "copy")
        assert nnx.graphdef(twin) == nnx.graphdef(module)


def test_help_spells_the_arguments_out():
    for cls in (jaxrnn.nnx.LSTM, jaxrnn.nnx.GRUCell, jaxrnn.linen.LSTM, jaxrnn.linen.GRUCell):
        signature = inspect.signature(cls)
        assert {"features", "cell", "use_bias", "kernel_init"} <= set(signature.parameters)
        assert "<function" not in str(signature)


# Transformations.


class Model(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(4, 8)(tokens)
        return nn.Dense(4)(jaxrnn.linen.LSTM(16)(x))


class Twin(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(4, 8, rngs=rngs)
        self.lstm = jaxrnn.nnx.LSTM(8, 16, rngs=rngs)
        self.dense = nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, tokens):
        return self.dense(self.lstm(self.embed(tokens)))


def echo_task():
    """Random tokens, and the loss of saying the tokens two steps before."""
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 4, (16, 8)))

    def loss(logits):
        targets = jnp.roll(tokens, 2, axis=1)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets)[:, 2:].mean()

    return tokens, loss


@pytest.mark.slow
def test_a_linen_model_trains():
    model, optimizer = Model(), optax.adam(3e-2)
    tokens, task = echo_task()
    params = model.init(jax.random.key(0), tokens)
    assert set(params["params"]["LSTM_0"]) == set(LEAVES)

    @jax.jit
    def train(params):
        def step(carry, _):
            value, gradients = jax.value_and_grad(lambda p: task(model.apply(p, tokens)))(carry[0])
            updates, state = optimizer.update(gradients, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), length=150)[1]

    losses = train(params)
    assert losses[0] > 1.0 > 0.02 > losses[-1]


@pytest.mark.slow
def test_an_nnx_model_trains():
    model = Twin(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-2), wrt=nnx.Param)
    tokens, task = echo_task()

    @nnx.jit
    def step(model, optimizer):
        value, gradients = nnx.value_and_grad(lambda model: task(model(tokens)))(model)
        optimizer.update(model, gradients)
        return value

    losses = [step(model, optimizer) for _ in range(150)]
    assert losses[0] > 1.0 > 0.02 > losses[-1]


@pytest.mark.slow
def test_transformations_of_linen():
    params, inputs, _ = draw(jaxrnn.elman)
    model = jaxrnn.linen.Elman(H)
    f = lambda p, x: apply_linen(model)(p, x, None)  # noqa: E731
    want = f(params, inputs)
    assert_close(jax.jit(f)(params, inputs), want, "jit", 1e-6)
    assert_close(jax.vmap(f, (None, 0))(params, inputs), want, "vmap", 1e-6)
    named = {"params": jaxrnn.linen.from_params(params)}
    assert_close(nn.remat(jaxrnn.linen.Elman)(H).apply(named, inputs), want, "remat", 1e-6)
    assert_close(nn.jit(jaxrnn.linen.Elman)(H).apply(named, inputs), want, "nn.jit", 1e-6)
    axes, split = {"params": 0}, {"params": True}
    many = nn.vmap(jaxrnn.linen.Elman, axes, split, None, axis_size=2)(H)
    ys, drawn = many.init_with_output(jax.random.key(0), inputs)
    for k in range(2):
        one = jax.tree.map(lambda a, k=k: a[k], drawn)
        assert_close(model.apply(one, inputs), ys[k], "nn.vmap", 1e-6)
    assert bool((ys[0] != ys[1]).all())


def test_transformations_of_nnx():
    params, inputs, _ = draw(jaxrnn.elman)
    model = make_nnx(jaxrnn.nnx.Elman, params)
    want = model(inputs)
    assert_close(nnx.jit(lambda m, x: m(x))(model, inputs), want, "jit", 1e-6)
    rows = nnx.vmap(lambda m, x: m(x), in_axes=(None, 0))(model, inputs)
    assert_close(rows, want, "vmap", 1e-6)
    value, gradient = nnx.jit(nnx.value_and_grad(lambda m: (m(inputs) ** 2).sum()))(model)
    loss = lambda p: (apply_linen(jaxrnn.linen.Elman(H))(p, inputs, None) ** 2).sum()  # noqa: E731
    expected = quick(jax.value_and_grad(loss))(params)
    got = value, nnx.to_pure_dict(gradient)
    assert_close(got, (expected[0], jaxrnn.nnx.from_params(expected[1])), "grad", 1e-6)

    @nnx.split_rngs(splits=2)
    @nnx.vmap
    def ensemble(rngs):
        return jaxrnn.nnx.Elman(D, H, rngs=rngs)

    models = ensemble(nnx.Rngs(0))
    assert models.input_kernel.shape == (2, D, H)
    ys = nnx.vmap(lambda m, x: m(x), in_axes=(0, None))(models, inputs)
    assert bool((ys[0] != ys[1]).all())


def test_a_module_called_twice_shares_its_layers():
    class Twice(nn.Module):
        def setup(self):
            self.rnn = jaxrnn.linen.Elman(D, num_layers=2)

        def __call__(self, inputs):
            return self.rnn(self.rnn(inputs))

    ys, variables = Twice().init_with_output(jax.random.key(0), INPUTS)
    assert set(variables["params"]["rnn"]) == {"layer_0", "layer_1"}
    once = lambda xs: jaxrnn.linen.Elman(D, num_layers=2).apply(  # noqa: E731
        {"params": variables["params"]["rnn"]}, xs
    )
    assert_same(once(once(INPUTS)), ys, "twice")


def test_linen_does_not_trace_again():
    traces = []

    def counting(a, b):
        traces.append(1)
        return jnp.concatenate([a, b], -1)

    model = jaxrnn.linen.GRU(H, bidirectional=True, merge=counting)
    variables = model.init(jax.random.key(0), INPUTS)
    f = jax.jit(model.apply)
    f(variables, INPUTS)
    traces.clear()
    f(variables, 2 * INPUTS)
    assert not traces


def test_flax_serialization_and_orbax(tmp_path):
    checkpoint = pytest.importorskip("orbax.checkpoint")
    model = jaxrnn.linen.LSTM(H, num_layers=2, bidirectional=True)
    variables = model.init(jax.random.key(0), INPUTS)
    data = flax.serialization.to_bytes(variables)
    blank = jax.tree.map(jnp.zeros_like, variables)
    assert_same(flax.serialization.from_bytes(blank, data), variables, "bytes")
    with checkpoint.StandardCheckpointer() as saver:
        saver.save(tmp_path / "params", variables)
        saver.wait_until_finished()
        assert_same(saver.restore(tmp_path / "params", blank), variables, "orbax")


# Bad input.


def test_bad_inputs():
    params, inputs, carry = draw(jaxrnn.lstm)
    named = {"params": jaxrnn.linen.from_params(params)}
    model, twin = jaxrnn.linen.LSTM(H), make_nnx(jaxrnn.nnx.LSTM, params)
    wide = jnp.ones((B, T, D + 1))
    with pytest.raises(ValueError, match=r"params\['input_kernel'\]: expected .*3.*got .*2"):
        model.apply(named, wide)
    with pytest.raises(ValueError, match=r"inputs: expected a last axis of 2 \(in_features\)"):
        twin(wide)
    for f in (lambda *a, **o: model.apply(named, *a, **o), twin):
        with pytest.raises(ValueError, match=r"inputs: expected \(\*batch, T, D\)"):
            f(jnp.ones(D))
        with pytest.raises(ValueError, match=r"seq_lengths: expected shape \(3,\)"):
            f(inputs, seq_lengths=jnp.ones(B + 1, jnp.int32))
        with pytest.raises(TypeError, match="seq_lengths: expected integers"):
            f(inputs, seq_lengths=jnp.ones(B))
        with pytest.raises(ValueError, match=r"seq_lengths: expected values in 0\.\.5"):
            f(inputs, seq_lengths=np.full(B, T + 1))
        with pytest.raises(ValueError, match=r"mask: expected shape \(3, 5\) \(\*batch, T\)"):
            f(inputs, mask=np.ones((T, B), bool))
        with pytest.raises(TypeError, match="reset: expected booleans"):
            f(inputs, reset=np.ones((B, T)))
        with pytest.raises(ValueError, match=r"initial_carry.h: expected float32\[3, 4\]"):
            f(inputs, initial_carry=jax.tree.map(lambda a: a[1:], carry))
        with pytest.raises(TypeError, match=r"(?s)initial_carry.*LSTMCarry\(c=…, h=…\)"):
            f(inputs, initial_carry=tuple(carry))  # nothing says whose order it has


def test_bad_constructions():
    rngs, key = nnx.Rngs(0), jax.random.key(0)
    with pytest.raises(TypeError, match="expected a Cell or a Layer"):
        jaxrnn.linen.Recurrent(H, jaxrnn.linen.LSTMCell(H)).init(key, INPUTS)
    with pytest.raises(TypeError, match="expected a Cell or a Layer"):
        jaxrnn.nnx.Recurrent(D, H, rngs=rngs)
    with pytest.raises(TypeError, match="num_layers"):
        jaxrnn.nnx.LSTM(D, H, num_layers=1.5, rngs=rngs)
    with pytest.raises(ValueError, match="merge"):
        jaxrnn.linen.LSTM(H, bidirectional=True, merge="max").init(key, INPUTS)
    with pytest.raises(TypeError, match="forget_bais"):
        jaxrnn.nnx.LSTM(D, H, forget_bais=1.0, rngs=rngs)
    with pytest.raises(ValueError, match="chunk"):
        jaxrnn.linen.LSTM(H, chunk=0).init(key, INPUTS)
    with pytest.raises(ValueError, match="unroll"):
        jaxrnn.nnx.LSTM(D, H, unroll=0, rngs=rngs)(INPUTS)
    with pytest.raises(ValueError, match="gaps"):
        jaxrnn.linen.LSTM(H, gaps="none").init(key, INPUTS)
    taken = jaxrnn.gru._replace(init=lambda *args, **options: {"features": jnp.ones(3)})
    with pytest.raises(ValueError, match="'features'"):
        jaxrnn.nnx.Recurrent(D, H, taken, rngs=rngs)


@pytest.mark.parametrize("dropout", [0.5, 1.0])
def test_dropout_of_a_single_layer_is_an_error(dropout):
    with pytest.raises(ValueError, match="dropout"):
        jaxrnn.linen.LSTM(H, dropout=dropout).init(jax.random.key(0), INPUTS)
    with pytest.raises(ValueError, match="dropout"):
        jaxrnn.nnx.LSTM(D, H, dropout=dropout, rngs=nnx.Rngs(0))


def test_cells_must_step():
    layer = jaxrnn.bidirectional(jaxrnn.gru)
    with pytest.raises(TypeError, match=r"cell: expected .* can step.*needs the whole sequence"):
        jaxrnn.nnx.RecurrentCell(D, H, layer, rngs=nnx.Rngs(0))
    cell = jaxrnn.linen.RecurrentCell(H, layer)
    with pytest.raises(TypeError, match=r"cell: expected .* can step.*needs the whole sequence"):
        nn.RNN(cell).init(jax.random.key(0), INPUTS)


def test_import_of_jaxrnn_leaves_flax_alone():
    code = "import jaxrnn, sys; assert 'flax' not in sys.modules; jaxrnn.linen.LSTM; jaxrnn.nnx.GRU"
    subprocess.run([sys.executable, "-c", code], check=True)
