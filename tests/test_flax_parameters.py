"""The parameters of `jaxrnn.linen` and `jaxrnn.nnx`: names, initial values, metadata, dtypes."""

import flax
import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from flax import nnx

import jaxrnn
from jaxrnn.checks import expected_params
from tests.flax_forms import KINDS, B, D, H, T, apply_linen, draw, functional, make_nnx, quick
from tests.reference import assert_close, assert_same, random_like

LEAVES = ("input_kernel", "recurrent_kernel", "bias")
INPUTS = jnp.ones((B, T, D))


def names(tree):
    return set(flax.traverse_util.flatten_dict(tree, sep="/"))


def pure(module):
    return nnx.to_pure_dict(nnx.state(module, nnx.Param))


# Names.


@pytest.mark.slow
def test_names_of_leaves():
    options = {"num_layers": 2, "bidirectional": True}
    params = jaxrnn.linen.LSTM(H, **options).init(jax.random.key(0), INPUTS)["params"]
    assert names(params) == {
        f"layer_{k}/{direction}/{leaf}"
        for k in range(2)
        for direction in ("forward", "backward")
        for leaf in LEAVES
    }
    twin = jaxrnn.nnx.LSTM(D, H, **options, rngs=nnx.Rngs(0))
    assert names(pure(twin)) == names(params)
    assert isinstance(twin.layer_1.backward, nnx.Module)
    assert twin.layer_1.backward.input_kernel.shape == (2 * H, 4 * H)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (jaxrnn.lstm, LEAVES),
        (jaxrnn.rnn(jaxrnn.lstm, 1), LEAVES),
        (jaxrnn.learned_carry(jaxrnn.lstm), (*LEAVES, "initial/h", "initial/c")),
        (
            jaxrnn.rnn(jaxrnn.learned_carry(jaxrnn.elman), 1, bidirectional=True),
            [f"{way}/{leaf}" for way in ("forward", "backward") for leaf in (*LEAVES, "initial")],
        ),
        (
            jaxrnn.learned_carry(jaxrnn.rnn(jaxrnn.elman, 2)),
            [f"layer_{k}/{leaf}" for k in range(2) for leaf in LEAVES]
            + ["initial/layer_0", "initial/layer_1"],
        ),
        (
            jaxrnn.stack(jaxrnn.stack(jaxrnn.elman, jaxrnn.elman), jaxrnn.elman),
            [f"{part}/{leaf}" for part in ("layer_0/layer_0", "layer_0/layer_1", "layer_1")
             for leaf in LEAVES],
        ),
    ],
    ids=["cell", "one layer", "learned", "learned both ways", "learned stack", "nested"],
)  # fmt: skip
def test_parameters_of_any_network_get_names_and_come_back(net, expected):
    params, inputs, _ = draw(net)
    named = jaxrnn.linen.from_params(params)
    assert names(named) == set(expected)
    model = jaxrnn.linen.Recurrent(H, net)
    drawn = jax.eval_shape(model.init, jax.random.key(0), inputs)["params"]
    assert jax.tree.structure(drawn) == jax.tree.structure(named)
    assert_same(jaxrnn.linen.to_params(model, named, D), params, "linen")
    module = make_nnx(jaxrnn.nnx.Recurrent, params, net)
    assert_same(jaxrnn.nnx.to_params(module), params, "nnx")
    want = functional(net, params, inputs)
    assert_same((apply_linen(model)(params, inputs), module(inputs)), (want, want), "run")


@pytest.mark.parametrize("kind", KINDS)
def test_parameters_of_one_layer_are_those_of_the_network_of_one(kind):
    cell, linen, nnx_class = KINDS[kind]
    net = jaxrnn.rnn(cell, 1)
    params, inputs, _ = draw(net)
    model, module = linen(H), nnx_class(D, H, rngs=nnx.Rngs(0))
    assert model.network == module.network == cell
    nnx.update(module, jaxrnn.nnx.from_params(params))
    want = functional(net, params, inputs)
    assert_same((apply_linen(model)(params, inputs), module(inputs)), (want, want), kind)
    assert_same(jaxrnn.nnx.to_params(module), params[0], "to_params")


def of_the_table(name):
    """A cell, random parameters and the two modules, all with D = H."""
    cell = jaxrnn.CELLS[name]
    params = random_like(expected_params(cell, H, H, jnp.dtype("float32")), 1, 0.5)
    options = {"time_major": True, "deterministic": True}
    model = jaxrnn.linen.Recurrent(H, cell, **options)
    module = nnx.eval_shape(lambda: jaxrnn.nnx.Recurrent(H, H, cell, rngs=nnx.Rngs(0), **options))
    return cell, params, model, module


@pytest.mark.slow
@pytest.mark.parametrize("name", jaxrnn.CELLS)
def test_every_cell_runs(name):
    cell, params, model, module = of_the_table(name)
    named = jaxrnn.linen.from_params(params)
    assert_same(jaxrnn.linen.to_params(model, named, H), params, name)
    nnx.update(module, named)
    assert_same(jaxrnn.nnx.to_params(module), params, name)
    graph, _, rest = nnx.split(module, nnx.Param, ...)

    @quick
    def forms(params, xs):
        named = jaxrnn.linen.from_params(params)
        got = model.apply({"params": named}, xs), nnx.merge(graph, named, rest)(xs)
        return jaxrnn.scan(cell, params, xs)[1], got

    xs = random_like(jax.ShapeDtypeStruct((T, B, H), jnp.float32), 0)
    want, got = forms(params, xs)
    assert_same(got, (want, want), name)


def test_params_that_do_not_fit():
    net = jaxrnn.rnn(jaxrnn.gru, 2, bidirectional=True)
    params, inputs, _ = draw(net)
    named = jaxrnn.linen.from_params(params)
    model = jaxrnn.linen.GRU(H, num_layers=2, bidirectional=True)
    assert_same(jaxrnn.linen.to_params(model, flax.core.freeze(named), D), params, "frozen")
    del named["layer_1"]["forward"]["bias"]
    named["layer_0"]["forward"]["surplus"] = jnp.ones(3)
    with pytest.raises(TypeError, match=r"(?s)'layer_1'.*'bias'.*missing.*'surplus'.*unexpected"):
        jaxrnn.linen.to_params(model, named, D)
    with pytest.raises(flax.errors.ScopeParamNotFoundError, match="bias"):
        model.apply({"params": named}, inputs)
    with pytest.raises(ValueError, match="twice"):
        jaxrnn.linen.from_params(
            jaxrnn.learned_carry(jaxrnn.learned_carry(jaxrnn.gru)).init(jax.random.key(0), D, H)
        )


def leaky(bare):
    """A cell of someone else, its parameters a bare array or a dict."""

    def init(key, input_size, hidden_size, *, dtype=jnp.float32):
        leak = jax.random.normal(key, (hidden_size,), dtype)
        return leak if bare else {"features": leak}

    leak = (lambda params: params) if bare else (lambda params: params["features"])
    return jaxrnn.Cell(
        name="leaky",
        init=init,
        carry=lambda params, batch_shape=(): jnp.zeros((*batch_shape, *leak(params).shape)),
        project=lambda params, x: x,
        recurrent=lambda params, h: h * leak(params),
        update=lambda params, h, z: z,
    )


@pytest.mark.parametrize("net", [leaky(True), jaxrnn.stack(leaky(True), jaxrnn.elman)])
def test_a_bare_array_is_parameters_too(net):
    inputs = random_like(jax.ShapeDtypeStruct((B, T, D), jnp.float32), 0)
    model = jaxrnn.linen.Recurrent(D, net)
    ys, variables = model.init_with_output(jax.random.key(0), inputs)
    twin = jaxrnn.nnx.Recurrent(D, D, net, rngs=nnx.Rngs(0))
    nnx.update(twin, variables["params"])
    params = jaxrnn.linen.to_params(model, variables["params"], D)
    want = functional(net, params, inputs)
    assert_same((ys, twin(inputs)), (want, want), "leaky")


def test_layers_may_differ_in_size():
    net = jaxrnn.stack(jaxrnn.elman, jaxrnn.elman)
    ys, variables = jaxrnn.linen.Recurrent((3, 5), net).init_with_output(jax.random.key(0), INPUTS)
    twin = jaxrnn.nnx.Recurrent(D, (3, 5), net, rngs=nnx.Rngs(0))
    nnx.update(twin, variables["params"])
    assert variables["params"]["layer_1"]["input_kernel"].shape == (3, 5)
    assert ys.shape == (B, T, 5)
    assert_same(twin(INPUTS), ys, "sizes")


def test_inputs_of_several_axes():
    """A cell over images, channels last, with a product over channels alone."""
    init = lambda key, D, H, **_: jax.random.normal(key, (D, H))  # noqa: E731
    cell = jaxrnn.Cell(
        name="pixels",
        init=init,
        carry=lambda w, batch_shape=(): jnp.zeros((*batch_shape, 3, 3, w.shape[1])),
        project=lambda w, x: x @ w,
        recurrent=lambda w, h: 0.5 * h,
        update=lambda w, h, z: jnp.tanh(z),
        axes=3,
    )
    inputs = jax.random.normal(jax.random.key(1), (B, T, 3, 3, D))
    ys, variables = jaxrnn.linen.Recurrent(H, cell).init_with_output(jax.random.key(0), inputs)
    in_rnn = nn.RNN(jaxrnn.linen.RecurrentCell(H, cell))
    assert ys.shape == (B, T, 3, 3, H)
    got = in_rnn.apply({"params": {"cell": variables["params"]}}, inputs)
    assert_close(got, ys, "RNN", 1e-6)


# Initial values.


def test_initializers_reach_the_cell():
    fill = jax.nn.initializers.constant
    options = {"kernel_init": fill(1.0), "recurrent_kernel_init": fill(2.0), "bias_init": fill(3.0)}
    key, rngs, zero = jax.random.key(0), nnx.Rngs(0), jnp.zeros((B, H))
    lstm = jaxrnn.linen.LSTM(H, forget_bias=0.5, **options)
    cell = jaxrnn.linen.LSTMCell(H, forget_bias=0.5, **options)
    by_hand = jaxrnn.linen.Recurrent(H, jaxrnn.lstm, init_options={"forget_bias": 0.5}, **options)
    drawn = [
        lstm.init(key, INPUTS)["params"],
        cell.init(key, jaxrnn.LSTMCarry(zero, zero), INPUTS[:, 0])["params"],
        by_hand.init(key, INPUTS)["params"],
        pure(jaxrnn.nnx.LSTM(D, H, forget_bias=0.5, rngs=rngs, **options)),
        pure(jaxrnn.nnx.LSTMCell(D, H, forget_bias=0.5, rngs=rngs, **options)),
    ]
    inits = {"kernel_init": fill(1.0), "recurrent_init": fill(2.0), "bias_init": fill(3.0)}
    want = jaxrnn.linen.from_params(jaxrnn.lstm.init(key, D, H, forget_bias=0.5, **inits))
    for got in drawn:
        assert_same(got, want, "init")
    bias = jaxrnn.linen.GRU(H, reset_bias=0.5).init(key, INPUTS)["params"]["bias"]
    assert bias.tolist() == [0.5] * H + [0.0] * (2 * H)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_without_biases(num_layers):
    model = jaxrnn.linen.GRU(H, num_layers=num_layers, use_bias=False)
    ys, variables = model.init_with_output(jax.random.key(0), INPUTS)
    assert {name.rpartition("/")[2] for name in names(variables["params"])} == set(LEAVES[:2])
    params = jaxrnn.linen.to_params(model, variables["params"], D)
    assert_same(functional(model.network, params, INPUTS), ys, "functional")
    twin = jaxrnn.nnx.GRU(D, H, num_layers=num_layers, use_bias=False, rngs=nnx.Rngs(0))
    nnx.update(twin, variables["params"])
    assert_same((twin(INPUTS), jaxrnn.nnx.to_params(twin)), (ys, params), "nnx")
    cell = jaxrnn.nnx.GRUCell(D, H, use_bias=False, rngs=nnx.Rngs(0))
    assert names(pure(cell)) == set(LEAVES[:2])


def test_initial_values_are_drawn_once():
    net = jaxrnn.rnn(jaxrnn.lstm, 2)
    twin = jaxrnn.nnx.LSTM(D, H, num_layers=2, rngs=nnx.Rngs(params=3))
    assert_same(jaxrnn.nnx.to_params(twin), net.init(nnx.Rngs(params=3).params(), D, H), "nnx")
    model = jaxrnn.linen.LSTM(H, num_layers=2)
    a, b = (model.init(jax.random.key(k), INPUTS)["params"] for k in (0, 1))
    assert all(bool((a[k]["input_kernel"] != b[k]["input_kernel"]).all()) for k in a)
    first, second = (a[k]["recurrent_kernel"] for k in ("layer_0", "layer_1"))
    assert bool((first != second).all())
    # A module applied with what it has and no more keeps it, and draws what is missing.
    partial = {"params": {"layer_0": a["layer_0"]}}
    rngs = {"params": jax.random.key(7)}
    _, state = model.apply(partial, INPUTS, mutable=["params"], rngs=rngs)
    assert_same(state["params"]["layer_0"], a["layer_0"], "kept")
    assert bool((state["params"]["layer_1"]["input_kernel"] != 0).all())
    with pytest.raises(flax.errors.ScopeParamNotFoundError, match="layer_1"):
        model.apply(partial, INPUTS)


@pytest.mark.slow
@pytest.mark.parametrize("logical", [False, True])
def test_partitioning(logical):
    P = jax.sharding.PartitionSpec
    init = jaxrnn.initializers
    wrap = nn.with_logical_partitioning if logical else nn.with_partitioning
    options = {
        "kernel_init": wrap(init.glorot, (None, "model")),
        "bias_init": wrap(init.zeros, ("model",)),
    }
    want = {"input_kernel": P(None, "model"), "recurrent_kernel": P(), "bias": P("model")}
    model = jaxrnn.linen.LSTM(H, num_layers=2, bidirectional=True, **options)
    mesh = jax.make_mesh((1,), ("model",), (jax.sharding.AxisType.Auto,))
    with jax.set_mesh(mesh):
        variables = model.init(jax.random.key(0), INPUTS)
        ys = model.apply(variables, INPUTS)
    specs = nn.get_partition_spec(variables)["params"]
    both = {"forward": want, "backward": want}
    assert specs == {"layer_0": both, "layer_1": both}
    kind = nn.LogicallyPartitioned if logical else nn.Partitioned
    assert type(variables["params"]["layer_0"]["forward"]["bias"]) is kind
    plain = jaxrnn.linen.LSTM(H, num_layers=2, bidirectional=True)
    assert_same(ys, plain.apply(nn.unbox(variables), INPUTS), "boxes")
    assert_same(plain.init(jax.random.key(0), INPUTS), nn.unbox(variables), "same numbers")
    jaxrnn.linen.to_params(model, variables["params"], D)


def test_partitioning_of_nnx():
    P = jax.sharding.PartitionSpec
    kernel = nnx.with_partitioning(jaxrnn.initializers.orthogonal, (None, "model"))
    options = {"recurrent_kernel_init": [kernel] * 4, "num_layers": 2}
    with jax.set_mesh(jax.make_mesh((1,), ("model",), (jax.sharding.AxisType.Auto,))):
        module = jaxrnn.nnx.LSTM(D, H, rngs=nnx.Rngs(0), **options)
        specs = nnx.to_pure_dict(nnx.get_partition_spec(nnx.state(module)))
        assert module(INPUTS).shape == (B, T, H)
    want = {"input_kernel": P(), "recurrent_kernel": P(None, "model"), "bias": P()}
    assert specs == {"layer_0": want, "layer_1": want}
    plain = jaxrnn.nnx.LSTM(D, H, num_layers=2, rngs=nnx.Rngs(0))
    assert_same(pure(module), pure(plain), "same numbers")


def test_boxes_that_cannot_be():
    zeros = jaxrnn.initializers.zeros
    box = nn.with_partitioning(zeros, ("model",))
    with pytest.raises(TypeError, match=r"bias_init: expected .*VariableMetadata.*Partitioned"):
        jaxrnn.nnx.GRU(D, H, bias_init=box, rngs=nnx.Rngs(0))

    def init(key, D, H, *, dtype=jnp.float32, kernel_init=zeros, bias_init=zeros):
        return {"w": kernel_init(key, (3,), dtype) + bias_init(key, (3,), dtype)}

    cell = jaxrnn.elman._replace(init=init)
    other = nn.with_partitioning(zeros, (None,))
    with pytest.raises(ValueError, match="same metadata"):
        jaxrnn.linen.Recurrent(H, cell, kernel_init=other, bias_init=box).init(
            jax.random.key(0), INPUTS
        )


# Dtypes.


@pytest.mark.slow
@pytest.mark.parametrize("num_layers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_dtype_of_computation_and_of_storage(num_layers):
    options = {"dtype": jnp.bfloat16, "return_carry": True, "num_layers": num_layers}
    module = jaxrnn.linen.LSTM(H, **options)
    net = module.network
    params, inputs, carry = draw(net)
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, inputs))
    expected = net.carry(low[0], (B,))
    low_carry = jax.tree.map(lambda a, like: a.astype(like.dtype), carry, expected)
    want = functional(net, *low, low_carry, return_carry=True)
    twin = make_nnx(jaxrnn.nnx.LSTM, params, **options)
    for got in (apply_linen(module)(params, inputs, carry), twin(inputs, initial_carry=carry)):
        assert got[1].dtype == jnp.bfloat16
        assert_same(got, want, "bfloat16")
    gradient = jax.grad(lambda p: module.apply(p, inputs)[1].astype(jnp.float32).sum())(
        {"params": jaxrnn.linen.from_params(params)}
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}

    half = jaxrnn.linen.LSTM(H, param_dtype=jnp.bfloat16, num_layers=num_layers)
    stored = half.init(jax.random.key(0), inputs)
    twin = jaxrnn.nnx.LSTM(D, H, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    for tree in (stored, nnx.state(twin, nnx.Param)):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype("bfloat16")}
    assert half.apply(stored, inputs).dtype == twin(inputs).dtype == jnp.float32
    assert half.apply(stored, low[1]).dtype == twin(low[1]).dtype == jnp.bfloat16


def test_dtype_inside_flax_rnn():
    params, inputs, _ = draw(jaxrnn.lstm)
    dtype = jnp.bfloat16
    want = apply_linen(jaxrnn.linen.LSTM(H, dtype=dtype))(params, inputs)
    named = jaxrnn.linen.from_params(params)
    model = nn.RNN(jaxrnn.linen.LSTMCell(H, dtype=dtype))
    twin = nnx.RNN(make_nnx(jaxrnn.nnx.LSTMCell, params, dtype=dtype))
    for got in (model.apply({"params": {"cell": named}}, inputs), twin(inputs)):
        assert got.dtype == dtype
        assert_close(got, want, "RNN", 2**-7)
