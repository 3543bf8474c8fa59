"""`jaxrnn.linen` and `jaxrnn.nnx`: the same leaves and numbers as `jaxrnn.scan`, Flax's habits.

What `jaxrnn.scan` computes is tested elsewhere; here it is the reference.
"""

import subprocess
import sys
from functools import partial

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx

import jaxrnn
from jaxrnn.checks import expected_params
from tests.reference import QUICK, assert_close, assert_same, random_like, with_gradients

B, T, D, H = 3, 5, 2, 4
LENGTHS = np.array([5, 0, 3], np.int32)
KINDS = {
    "elman": (jaxrnn.elman, jaxrnn.linen.Elman, jaxrnn.nnx.Elman),
    "lstm": (jaxrnn.lstm, jaxrnn.linen.LSTM, jaxrnn.nnx.LSTM),
    "gru": (jaxrnn.gru, jaxrnn.linen.GRU, jaxrnn.nnx.GRU),
}
CELLS = {
    "elman": (jaxrnn.linen.ElmanCell, jaxrnn.nnx.ElmanCell),
    "lstm": (jaxrnn.linen.LSTMCell, jaxrnn.nnx.LSTMCell),
    "gru": (jaxrnn.linen.GRUCell, jaxrnn.nnx.GRUCell),
}


def draw(net, dtype=jnp.float32, batch=(B,), seed=0):
    """Random parameters, inputs ``(*batch, T, D)`` and carry, all distinct."""
    params = random_like(expected_params(net, D, H, jnp.dtype(dtype)), seed, 0.5)
    inputs = random_like(jax.ShapeDtypeStruct((*batch, T, D), dtype), seed + 1)
    return params, inputs, random_like(net.carry(params, batch), seed + 2)


def make_nnx(cls, params, *args, **options):
    """An nnx module with these parameters; nothing is drawn, its own streams are empty."""
    module = nnx.eval_shape(lambda: cls(D, H, *args, rngs=nnx.Rngs(0), **options))
    nnx.update(module, jaxrnn.nnx.from_params(params))
    return module


def apply_linen(module):
    """``f(params, inputs, carry, **options)`` of a linen module."""

    def f(params, inputs, carry, **options):
        variables = {"params": jaxrnn.linen.from_params(params)}
        return module.apply(variables, inputs, initial_carry=carry, **options)

    return f


def apply_nnx(module):
    """``f(params, inputs, carry, **options)`` of an nnx module."""

    graph, _, rest = nnx.split(module, nnx.Param, ...)

    def f(params, inputs, carry=None, **options):
        changed = nnx.merge(graph, jaxrnn.nnx.from_params(params), rest)
        return changed(inputs, initial_carry=carry, **options)

    return f


def functional(net, params, inputs, carry, *, lengths=None, reverse=False, keep_order=False):
    """`jaxrnn.scan`, batch-major, the order of the outputs that of Flax by plain indexing."""
    xs = jnp.swapaxes(inputs, 0, 1)
    carry, ys = jaxrnn.scan(net, params, xs, carry, lengths=lengths, reverse=reverse)
    ys = jnp.swapaxes(ys, 0, 1)
    if reverse and not keep_order:
        ends = [T] * B if lengths is None else list(lengths)
        ys = jnp.stack(
            [jnp.concatenate([y[:n][::-1], y[n:]]) for y, n in zip(ys, ends, strict=True)]
        )
    return carry, ys


def values_and_gradients(f, params, inputs, carry):
    """Outputs, and gradients of a random projection of them."""
    weights = random_like(jax.eval_shape(f, params, inputs, carry), 9)
    run = quick(with_gradients(f))
    return run(weights, params, inputs, carry)


quick = partial(jax.jit, compiler_options=QUICK)

CASES = [  # seq_lengths, reverse, keep_order
    (LENGTHS, True, False),
    (LENGTHS, True, True),
    (LENGTHS, False, False),
    (None, True, False),
    (None, True, True),
    (None, False, False),
]


GRID = [(kind, n, both) for kind in KINDS for n in (1, 2) for both in (False, True)]


def three_forms(kind, num_layers, bidirectional):
    """Arguments in float64, and ``f(lengths, reverse, keep_order) -> {form: function}``."""
    _, linen, nnx_class = KINDS[kind]
    options = {"num_layers": num_layers, "bidirectional": bidirectional, "return_carry": True}
    options["param_dtype"] = jnp.float64
    module = linen(H, **options)
    args = draw(module.network, jnp.float64)
    nnx_module = make_nnx(nnx_class, args[0], **options)
    assert nnx_module.network is module.network

    def forms(lengths, reverse, keep_order):
        order = {"reverse": reverse, "keep_order": keep_order}
        mine = {"seq_lengths": lengths, **order}
        return {
            "functional": partial(functional, module.network, lengths=lengths, **order),
            "linen": partial(apply_linen(module), **mine),
            "nnx": partial(apply_nnx(nnx_module), **mine),
        }

    return args, forms


def assert_forms_agree(runs, *args):
    """Compile and run them together."""
    results = quick(lambda *args: [{k: f(*args) for k, f in run.items()} for run in runs])(*args)
    for case, forms in zip(CASES, results, strict=False):
        for name in ("linen", "nnx"):
            assert_close(forms[name], forms["functional"], f"{name} {case}")


@pytest.mark.usefixtures("x64", "strict")
@pytest.mark.parametrize(("kind", "num_layers", "bidirectional"), GRID)
def test_linen_nnx_and_functional_agree(kind, num_layers, bidirectional):
    args, forms = three_forms(kind, num_layers, bidirectional)
    assert_forms_agree([forms(*case) for case in CASES], *args)


def assert_gradients_agree(net, cases):
    args, forms = three_forms(*net)
    weights = random_like(jax.eval_shape(forms(None, False, False)["functional"], *args), 9)
    runs = [{k: with_gradients(f) for k, f in forms(*case).items()} for case in cases]
    assert_forms_agree(runs, weights, *args)


@pytest.mark.usefixtures("x64", "strict")
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_agree(kind):
    assert_gradients_agree((kind, 2 if kind == "gru" else 1, kind == "gru"), CASES[:1])


@pytest.mark.slow
@pytest.mark.usefixtures("x64", "strict")
@pytest.mark.parametrize(("kind", "num_layers", "bidirectional"), GRID)
def test_gradients_agree_everywhere(kind, num_layers, bidirectional):
    assert_gradients_agree((kind, num_layers, bidirectional), CASES)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_bit_for_bit_the_functional_form(kind):
    cell, linen, nnx_class = KINDS[kind]
    args = draw(cell)
    want = values_and_gradients(lambda *a: functional(cell, *a, lengths=LENGTHS), *args)
    options = {"return_carry": True}
    modules = [apply_linen(linen(H, **options)), apply_nnx(make_nnx(nnx_class, args[0], **options))]
    for f in modules:
        got = values_and_gradients(lambda *a, f=f: f(*a, seq_lengths=LENGTHS), *args)
        assert_same(got, want, kind)


@pytest.mark.usefixtures("x64")  # Flax itself promotes int32 lengths
@pytest.mark.parametrize(("kind", "reverse"), [("elman", True), ("lstm", False), ("gru", True)])
def test_cells_inside_flax_rnn_agree(kind, reverse):
    cell, linen, _ = KINDS[kind]
    params, inputs, carry = draw(cell, jnp.float64)
    lengths = jnp.asarray([5, 1, 3], jnp.int32)  # Flax itself is wrong for length 0
    order = {"seq_lengths": lengths, "reverse": reverse, "return_carry": True}
    f = apply_linen(linen(H))

    def ours(*args):
        return f(*args, **order)

    linen_cell, nnx_cell = CELLS[kind]
    in_linen = nn.RNN(linen_cell(H, param_dtype=jnp.float64))
    in_nnx = nnx.RNN(make_nnx(nnx_cell, params, param_dtype=jnp.float64))
    valid = jnp.arange(T) < lengths[:, None]

    def theirs_linen(p, x, c):
        variables = {"params": {"cell": jaxrnn.linen.from_params(p)}}
        carry, ys = in_linen.apply(variables, x, initial_carry=c, **order)
        return carry, ys * valid[..., None]

    graph, _, rest = nnx.split(in_nnx, nnx.Param, ...)

    def theirs_nnx(p, x, c):
        model = nnx.merge(graph, {"cell": jaxrnn.nnx.from_params(p)}, rest)
        carry, ys = model(x, initial_carry=c, **order)
        return carry, ys * valid[..., None]

    want = values_and_gradients(ours, params, inputs, carry)
    for name, f_ in [("linen", theirs_linen), ("nnx", theirs_nnx)]:
        assert_close(values_and_gradients(f_, params, inputs, carry), want, name)


def test_cells_start_from_zero_inside_flax_rnn():
    cell = jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru)
    params, inputs, _ = draw(cell)
    want = functional(cell, params, inputs, None)[1]
    named = jaxrnn.linen.from_params(params)
    model = nn.RNN(jaxrnn.linen.RecurrentCell(H, cell))
    assert_close(model.apply({"params": {"cell": named}}, inputs), want, "linen", 1e-6)
    inner_cell = make_nnx(jaxrnn.nnx.RecurrentCell, params, cell)
    assert_close(nnx.RNN(inner_cell)(inputs), want, "nnx", 1e-6)
    carry = inner_cell.initialize_carry((B, D), nnx.Rngs(1), nn.initializers.normal())
    assert all(bool((leaf != 0).all()) for leaf in jax.tree.leaves(carry))


def of_the_table(name):
    """A cell, random parameters and the two modules, all with D = H."""
    cell = jaxrnn.CELLS[name]
    params = random_like(expected_params(cell, H, H, jnp.dtype("float32")), 1, 0.5)
    options = {"time_major": True, "deterministic": True}
    model = jaxrnn.linen.Recurrent(H, cell, **options)
    module = nnx.eval_shape(lambda: jaxrnn.nnx.Recurrent(H, H, cell, rngs=nnx.Rngs(0), **options))
    return cell, params, model, module


@pytest.mark.parametrize("name", jaxrnn.CELLS)
def test_params_of_every_cell_get_names_and_come_back(name):
    _, params, model, module = of_the_table(name)
    named = jaxrnn.linen.from_params(params)
    assert_same(jaxrnn.linen.to_params(model, named, H), params, name)
    nnx.update(module, named)
    assert_same(jaxrnn.nnx.to_params(module), params, name)


@pytest.mark.slow
@pytest.mark.parametrize("name", jaxrnn.CELLS)
def test_every_cell_runs(name):
    cell, params, model, module = of_the_table(name)
    graph, _, rest = nnx.split(module, nnx.Param, ...)

    @quick
    def forms(params, xs):
        named = jaxrnn.linen.from_params(params)
        got = model.apply({"params": named}, xs), nnx.merge(graph, named, rest)(xs)
        return jaxrnn.scan(cell, params, xs)[1], got

    xs = random_like(jax.ShapeDtypeStruct((T, B, H), jnp.float32), 0)
    want, got = forms(params, xs)
    assert_same(got, (want, want), name)


def test_flax_bidirectional_takes_the_modules():
    module = jaxrnn.linen.LSTM(H, bidirectional=True)
    params, inputs, carry = draw(module.network)
    named, (forward, backward) = jaxrnn.linen.from_params, params
    want = apply_linen(module)(params, inputs, carry, seq_lengths=LENGTHS)
    both = nn.Bidirectional(jaxrnn.linen.LSTM(H), jaxrnn.linen.LSTM(H))
    variables = {"params": {"forward_rnn": named(forward), "backward_rnn": named(backward)}}
    got = both.apply(variables, inputs, initial_carry=tuple(carry), seq_lengths=LENGTHS)
    assert_close(got, want, "linen", 1e-6)
    rnns = [make_nnx(jaxrnn.nnx.LSTM, params) for params in (forward, backward)]
    got = nnx.Bidirectional(*rnns)(inputs, initial_carry=tuple(carry), seq_lengths=LENGTHS)
    assert_close(got, want, "nnx", 1e-6)


@pytest.mark.parametrize("batch", [(), (B,), (2, B)])
def test_time_major_mask_and_reset(batch):
    net = jaxrnn.linen.GRU(H).network
    params, inputs, carry = draw(net, batch=batch)
    rng = np.random.default_rng(3)
    mask, reset = rng.random((*batch, T)) < 0.7, rng.random((*batch, T)) < 0.3
    lengths = rng.integers(1, T + 1, batch)
    lead = lambda a: jnp.moveaxis(jnp.asarray(a), len(batch), 0)  # noqa: E731
    flags = {"mask": lead(mask), "reset": lead(reset)}
    want = jaxrnn.scan(net, params, lead(inputs), carry, lengths=lengths, **flags)
    options = {"return_carry": True, "seq_lengths": lengths}
    modules = apply_linen(jaxrnn.linen.GRU(H)), apply_nnx(make_nnx(jaxrnn.nnx.GRU, params))
    for f in modules:
        got = f(params, lead(inputs), carry, time_major=True, **flags, **options)
        assert_same(got, want, "time-major")
        got = f(params, inputs, carry, mask=mask, reset=reset, **options)
        assert_same((got[0], lead(got[1])), want, "batch-major")


def test_padding_of_nan_reaches_nothing():
    params, inputs, carry = draw(jaxrnn.lstm)
    dirty = jnp.where(np.arange(T)[:, None] < LENGTHS[:, None, None], inputs, jnp.nan)
    options = {"return_carry": True, "reverse": True, "seq_lengths": LENGTHS}
    for f in (apply_linen(jaxrnn.linen.LSTM(H)), apply_nnx(make_nnx(jaxrnn.nnx.LSTM, params))):
        got, want = (
            values_and_gradients(lambda *a, f=f: f(*a, **options), params, x, carry)
            for x in (dirty, inputs)
        )
        assert_same(got, want, "padding")
        assert_same(got[0][0], jax.tree.map(lambda a, b: a.at[1].set(b[1]), got[0][0], carry), "0")


@pytest.mark.parametrize("steps", [0, 1])
def test_short_sequences(steps):
    params, inputs, carry = draw(jaxrnn.lstm)
    for f in (apply_linen(jaxrnn.linen.LSTM(H)), apply_nnx(make_nnx(jaxrnn.nnx.LSTM, params))):
        lengths = np.minimum(LENGTHS, steps)
        options = {"seq_lengths": lengths, "reverse": True, "return_carry": True}
        got, ys = f(params, inputs[:, :steps], carry, **options)
        assert ys.shape == (B, steps, H)
        if not steps:
            assert_same(got, carry, "carry")


# Dropout.


def dropout_modules(**options):
    """``f(params, inputs, key)`` and ``f(params, inputs)`` of linen and of nnx."""
    module = jaxrnn.linen.Elman(H, **options)
    params, inputs, _ = draw(module.network)
    twin = apply_nnx(make_nnx(jaxrnn.nnx.Elman, params, **options))

    def in_linen(params, inputs, key=None, **more):
        variables, rngs = {"params": jaxrnn.linen.from_params(params)}, {"dropout": key}
        if key is None:
            return module.apply(variables, inputs, deterministic=True, **more)
        return module.apply(variables, inputs, deterministic=False, rngs=rngs, **more)

    def in_nnx(params, inputs, key=None, **more):
        carry = more.pop("initial_carry", None)
        return twin(params, inputs, carry, deterministic=key is None, rngs=key, **more)

    return params, inputs, {"linen": in_linen, "nnx": in_nnx}


@pytest.mark.parametrize("bidirectional", [False, True])
def test_dropout_follows_its_stream(bidirectional):
    options = {"num_layers": 2, "bidirectional": bidirectional}
    params, inputs, modules = dropout_modules(dropout=0.5, **options)
    _, _, plain = dropout_modules(**options)
    key = jax.random.key(5)
    for name, f in modules.items():
        f, without = quick(f), quick(plain[name])
        once, other = f(params, inputs, key), f(params, inputs, jax.random.key(6))
        assert_same(f(params, inputs, key), once, name)
        assert bool((once != other).any())
        assert_same(f(params, inputs), without(params, inputs), name)
        assert bool((once != f(params, inputs)).any())
        # The last layer is not dropped out: a tanh is never exactly 0.
        assert bool((once != 0).all())
    net = jaxrnn.rnn(jaxrnn.elman, 2, bidirectional=bidirectional, dropout=0.5)
    want = quick(partial(jaxrnn.scan, net))(params, jnp.swapaxes(inputs, 0, 1), key=key)[1]
    assert_same(quick(modules["nnx"])(params, inputs, key), jnp.swapaxes(want, 0, 1), "functional")


def test_dropout_does_nothing_in_a_single_layer():
    params, inputs, modules = dropout_modules(dropout=0.5)
    for f in map(quick, modules.values()):
        assert_same(f(params, inputs, jax.random.key(1)), f(params, inputs), "one layer")


@pytest.mark.usefixtures("x64")
def test_dropout_gradient_is_the_finite_difference():
    options = {"dropout": 0.5, "num_layers": 2, "param_dtype": jnp.float64}
    _, inputs, modules = dropout_modules(**options)
    net, key = jaxrnn.rnn(jaxrnn.elman, 2, dropout=0.5), jax.random.key(5)
    params, inputs, _ = draw(net, jnp.float64)
    direction, step = random_like(params, 7), 1e-6

    def loss(epsilon):
        moved = jax.tree.map(lambda p, d: p + epsilon * d, params, direction)
        return (modules["linen"](moved, inputs, key) ** 2).sum()

    @quick
    def both():
        return jax.grad(loss)(0.0), (loss(step) - loss(-step)) / (2 * step)

    assert_close(*both(), "gradient", 1e-7)


def test_dropout_of_a_sequence_in_pieces_is_that_of_the_whole():
    params, inputs, modules = dropout_modules(dropout=0.5, num_layers=2, return_carry=True)
    key = jax.random.key(5)
    for f in map(quick, modules.values()):
        carry, want = f(params, inputs, key)
        state, head = f(params, inputs[:, :2], key)
        state, tail = f(params, inputs[:, 2:], key, initial_carry=state, start=2)
        assert_close((state, jnp.concatenate([head, tail], 1)), (carry, want), "pieces", 1e-6)


def test_linen_dropout_asks_for_what_is_missing():
    model, inputs = jaxrnn.linen.Elman(H, num_layers=2, dropout=0.5), jnp.ones((B, T, D))
    with pytest.raises(ValueError, match="deterministic"):
        model.init(jax.random.key(0), inputs)
    variables = model.init(jax.random.key(0), inputs, deterministic=True)
    with pytest.raises(flax.errors.InvalidRngError, match="dropout"):
        model.apply(variables, inputs, deterministic=False)
    own = model.clone(deterministic=False)
    own.apply(variables, inputs, rngs={"dropout": jax.random.key(0)})
    with pytest.raises(ValueError, match="deterministic"):
        own.apply(variables, inputs, deterministic=False, rngs={"dropout": jax.random.key(0)})
    # What has nothing random in it needs neither.
    jaxrnn.linen.Elman(H, num_layers=2).apply(variables, inputs)


def test_nnx_train_eval_view_and_streams():
    inputs = jnp.ones((B, T, D))
    rngs = nnx.Rngs(params=0, dropout=1)
    model = jaxrnn.nnx.LSTM(D, H, num_layers=2, dropout=0.5, rngs=rngs)
    model.eval()
    quiet = model(inputs)
    assert_same(model(inputs), quiet, "eval")
    model.train()
    assert bool((model(inputs) != model(inputs)).any())  # the stream moves on
    assert_same(nnx.view(model, deterministic=True)(inputs), quiet, "view")
    a, b = (model(inputs, rngs=nnx.Rngs(dropout=3)) for _ in range(2))
    assert_same(a, b, "streams given")
    with pytest.raises(KeyError, match="dropout"):
        jaxrnn.nnx.LSTM(D, H, num_layers=2, dropout=0.5, rngs=nnx.Rngs(params=0))
    model.rngs = None
    with pytest.raises(ValueError, match="rngs"):
        model(inputs)


def test_dropout_inside_flax_rnn():
    cell = jaxrnn.stack(jaxrnn.elman, jaxrnn.elman, dropout=0.5)
    inputs = jnp.broadcast_to(
        random_like(jax.ShapeDtypeStruct((B, 1, D), jnp.float32), 0), (B, T, D)
    )
    params = cell.init(jax.random.key(0), D, H)
    params = tuple(p._replace(recurrent_kernel=jnp.zeros((H, H))) for p in params)
    named = jaxrnn.linen.from_params(params)
    split = {"params": False, "dropout": True}
    model = nn.RNN(jaxrnn.linen.RecurrentCell(H, cell, deterministic=False), split_rngs=split)
    f = lambda key: model.apply({"params": {"cell": named}}, inputs, rngs={"dropout": key})  # noqa: E731
    inner_cell = jaxrnn.nnx.RecurrentCell(D, H, cell, rngs=nnx.Rngs(0))
    nnx.update(inner_cell, named)
    once = f(jax.random.key(0))
    assert_same(f(jax.random.key(0)), once, "same key")
    for ys in (once, nnx.RNN(inner_cell)(inputs)):
        # Constant input, no memory: only the masks can differ between steps.
        assert bool((ys[:, 1:] != ys[:, :-1]).any((0, 2)).all())


# Dtypes, names, initialisers.


@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_dtype_of_computation_and_of_storage(kind):
    cell, linen, nnx_class = KINDS[kind]
    params, inputs, carry = draw(cell)
    low = jax.tree.map(lambda a: a.astype(jnp.bfloat16), (params, inputs))
    expected = cell.carry(low[0], (B,))
    low_carry = jax.tree.map(lambda a, like: a.astype(like.dtype), carry, expected)
    want = functional(cell, *low, low_carry)
    options = {"dtype": jnp.bfloat16, "return_carry": True}
    module, twin = linen(H, **options), make_nnx(nnx_class, params, **options)
    for got in (apply_linen(module)(params, inputs, carry), twin(inputs, initial_carry=carry)):
        assert got[1].dtype == jnp.bfloat16
        assert_same(got, want, kind)
    stored = module.init(jax.random.key(0), inputs)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(stored)} == {jnp.dtype("float32")}

    half = linen(H, param_dtype=jnp.bfloat16)
    stored = half.init(jax.random.key(0), inputs)
    twin = nnx_class(D, H, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    for tree in (stored, nnx.state(twin, nnx.Param)):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype("bfloat16")}
    assert half.apply(stored, inputs).dtype == twin(inputs).dtype == jnp.float32
    assert half.apply(stored, low[1]).dtype == twin(low[1]).dtype == jnp.bfloat16
    gradient = jax.grad(lambda p: module.apply(p, inputs)[1].astype(jnp.float32).sum())(
        {"params": jaxrnn.linen.from_params(params)}
    )
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtype_inside_flax_rnn(dtype):
    params, inputs, _ = draw(jaxrnn.lstm)
    want = apply_linen(jaxrnn.linen.LSTM(H, dtype=dtype))(params, inputs, None)
    named = jaxrnn.linen.from_params(params)
    model = nn.RNN(jaxrnn.linen.LSTMCell(H, dtype=dtype))
    twin = nnx.RNN(make_nnx(jaxrnn.nnx.LSTMCell, params, dtype=dtype))
    for got in (model.apply({"params": {"cell": named}}, inputs), twin(inputs)):
        assert got.dtype == dtype
        assert_close(got, want, "RNN", 1e-6 if dtype == jnp.float32 else 2**-7)


def test_names_of_leaves():
    model = jaxrnn.linen.LSTM(H, num_layers=2, bidirectional=True)
    variables = model.init(jax.random.key(0), jnp.ones((B, T, D)))
    names = set(flax.traverse_util.flatten_dict(variables["params"], sep="/"))
    leaves = ("input_kernel", "recurrent_kernel", "bias")
    assert names == {
        f"layer_{k}/{direction}/{leaf}"
        for k in range(2)
        for direction in ("forward", "backward")
        for leaf in leaves
    }
    twin = jaxrnn.nnx.LSTM(D, H, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    state = nnx.state(twin, nnx.Param)
    assert {
        "/".join(path) for path in flax.traverse_util.flatten_dict(nnx.to_pure_dict(state))
    } == names
    assert twin.layer_1.backward.input_kernel.shape == (2 * H, 4 * H)
    single = jaxrnn.linen.LSTM(H).init(jax.random.key(0), jnp.ones((B, T, D)))
    assert set(single["params"]) == set(leaves)


def test_params_go_to_the_functional_form_and_back():
    net = jaxrnn.rnn(jaxrnn.gru, 2, bidirectional=True)
    params, inputs, _ = draw(net)
    named = jaxrnn.linen.from_params(params)
    model = jaxrnn.linen.GRU(H, num_layers=2, bidirectional=True)
    back = jaxrnn.linen.to_params(model, named, D)
    assert_same(back, params, "round trip")
    frozen = flax.core.freeze(named)
    assert_same(jaxrnn.linen.to_params(model, frozen, D), params, "frozen")
    del named["layer_1"]["forward"]["bias"]
    named["layer_0"]["forward"]["surplus"] = jnp.ones(3)
    with pytest.raises(TypeError, match=r"(?s)'layer_1'.*'bias'.*missing.*'surplus'.*unexpected"):
        jaxrnn.linen.to_params(model, named, D)
    with pytest.raises(TypeError, match="missing"):
        model.apply({"params": named}, inputs)


def test_a_bare_array_and_a_dict_are_parameters_too():
    def init(key, input_size, hidden_size, *, dtype=jnp.float32):
        return jax.random.normal(key, (hidden_size,), dtype)

    leaky = jaxrnn.Cell(
        name="leaky",
        init=init,
        carry=lambda params, batch_shape=(): jnp.zeros((*batch_shape, *params.shape), params.dtype),
        project=lambda params, x: x,
        recurrent=lambda params, h: h * params,
        update=lambda params, h, zx, zh: (zx + zh, zx + zh),
        hidden_size=None,
    )
    inputs = random_like(jax.ShapeDtypeStruct((B, T, D), jnp.float32), 0)
    model = jaxrnn.linen.Recurrent(D, leaky)
    ys, variables = model.init_with_output(jax.random.key(0), inputs)
    twin = jaxrnn.nnx.Recurrent(D, D, leaky, rngs=nnx.Rngs(0))
    nnx.update(twin, variables["params"])
    params = jaxrnn.linen.to_params(model, variables["params"], D)
    want = jaxrnn.scan(leaky, params, inputs.swapaxes(0, 1))[1].swapaxes(0, 1)
    assert_same((ys, twin(inputs)), (want, want), "leaky")


def test_layers_may_differ_in_size():
    net = jaxrnn.stack(jaxrnn.elman, jaxrnn.elman)
    inputs = jnp.ones((B, T, D))
    ys, variables = jaxrnn.linen.Recurrent((3, 5), net).init_with_output(jax.random.key(0), inputs)
    twin = jaxrnn.nnx.Recurrent(D, (3, 5), net, rngs=nnx.Rngs(0))
    nnx.update(twin, variables["params"])
    assert variables["params"]["layer_1"]["input_kernel"].shape == (3, 5)
    assert ys.shape == (B, T, 5)
    assert_same(twin(inputs), ys, "sizes")


def test_initializers_reach_the_cell():
    fill = jax.nn.initializers.constant
    options = {"kernel_init": fill(1.0), "recurrent_kernel_init": fill(2.0), "bias_init": fill(3.0)}
    inputs, rngs = jnp.ones((B, T, D)), nnx.Rngs(0)
    lstm = jaxrnn.linen.LSTM(H, forget_bias=0.5, **options)
    cell = jaxrnn.linen.LSTMCell(H, forget_bias=0.5, **options)
    by_hand = jaxrnn.linen.Recurrent(H, jaxrnn.lstm, init_options={"forget_bias": 0.5}, **options)
    key, carry = jax.random.key(0), jaxrnn.LSTMCarry(jnp.zeros((B, H)), jnp.zeros((B, H)))
    drawn = [
        lstm.init(key, inputs)["params"],
        cell.init(key, carry, inputs[:, 0])["params"],
        by_hand.init(key, inputs)["params"],
        nnx.to_pure_dict(nnx.state(jaxrnn.nnx.LSTM(D, H, forget_bias=0.5, rngs=rngs, **options))),
        nnx.to_pure_dict(
            nnx.state(jaxrnn.nnx.LSTMCell(D, H, forget_bias=0.5, rngs=rngs, **options))
        ),
    ]
    want = jaxrnn.lstm.init(
        key,
        D,
        H,
        kernel_init=fill(1.0),
        recurrent_init=fill(2.0),
        bias_init=fill(3.0),
        forget_bias=0.5,
    )
    for got in drawn:
        assert_same(got, jaxrnn.linen.from_params(want), "init")
    bias = jaxrnn.linen.GRU(H, reset_bias=0.5).init(key, inputs)["params"]["bias"]
    assert bias.tolist() == [0.5] * H + [0.0] * (2 * H)


def test_initial_values_are_drawn_once_from_one_key():
    inputs, net = jnp.ones((B, T, D)), jaxrnn.rnn(jaxrnn.lstm, 2)
    twin = jaxrnn.nnx.LSTM(D, H, num_layers=2, rngs=nnx.Rngs(params=3))
    assert_same(jaxrnn.nnx.to_params(twin), net.init(nnx.Rngs(params=3).params(), D, H), "nnx")
    model = jaxrnn.linen.LSTM(H, num_layers=2)
    a, b = (model.init(jax.random.key(k), inputs)["params"] for k in (0, 1))
    assert all(bool((a[k]["input_kernel"] != b[k]["input_kernel"]).all()) for k in a)
    first, second = (a[k]["recurrent_kernel"] for k in ("layer_0", "layer_1"))
    assert bool((first != second).all())
    # A module applied with what it has and no more keeps it, and draws what is missing.
    partial = {"params": {"layer_0": a["layer_0"]}}
    rngs = {"params": jax.random.key(7)}
    _, state = model.apply(partial, inputs, mutable=["params"], rngs=rngs)
    assert_same(state["params"]["layer_0"], a["layer_0"], "kept")
    assert bool((state["params"]["layer_1"]["input_kernel"] != 0).all())
    with pytest.raises(flax.errors.ScopeParamNotFoundError, match="layer_1"):
        model.apply(partial, inputs)


def test_partitioning():
    P = jax.sharding.PartitionSpec
    sharding = {"input_kernel": (None, "model"), "bias": ("model",)}
    want = {"input_kernel": P(None, "model"), "recurrent_kernel": P(), "bias": P("model")}
    inputs = jnp.ones((B, T, D))
    model = jaxrnn.linen.Elman(H, num_layers=2, sharding=sharding)
    variables = model.init(jax.random.key(0), inputs)
    specs = nn.get_partition_spec(variables)["params"]
    assert specs == {"layer_0": want, "layer_1": want}
    plain = jaxrnn.linen.Elman(H, num_layers=2)
    assert_same(model.apply(variables, inputs), plain.apply(nn.unbox(variables), inputs), "boxes")
    jaxrnn.linen.to_params(model, variables["params"], D)
    with jax.set_mesh(jax.make_mesh((1,), ("model",), (jax.sharding.AxisType.Auto,))):
        twin = jaxrnn.nnx.Elman(D, H, sharding=sharding, rngs=nnx.Rngs(0))
        specs = nnx.get_partition_spec(nnx.state(twin))
        assert nnx.to_pure_dict(specs) == want
        assert twin(inputs).shape == (B, T, H)
    for make in (
        lambda s: jaxrnn.linen.Elman(H, sharding=s).init(jax.random.key(0), inputs),
        lambda s: jaxrnn.nnx.Elman(D, H, sharding=s, rngs=nnx.Rngs(0)),
    ):
        with pytest.raises(ValueError, match=r"sharding: .*'kernel'"):
            make({"kernel": ("model",)})


# Inside Flax models and transformations.

VOCABULARY = 4


def echo_task():
    """Random tokens, and as targets the tokens two steps before."""
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (16, 8))
    return jnp.asarray(tokens), jnp.asarray(np.roll(tokens, 2, axis=1))


def echo_loss(logits, targets):
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return losses[:, 2:].mean()


def test_a_linen_model_trains():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, tokens):
            x = nn.Embed(VOCABULARY, 8)(tokens)
            return nn.Dense(VOCABULARY)(jaxrnn.linen.LSTM(16)(x))

    model, optimizer = Model(), optax.adam(3e-2)
    tokens, targets = echo_task()
    params = model.init(jax.random.key(0), tokens)
    assert set(params["params"]["LSTM_0"]) == {"input_kernel", "recurrent_kernel", "bias"}

    @jax.jit
    def train(params):
        def loss(params):
            return echo_loss(model.apply(params, tokens), targets)

        def step(carry, _):
            value, gradients = jax.value_and_grad(loss)(carry[0])
            updates, state = optimizer.update(gradients, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), value

        return jax.lax.scan(step, (params, optimizer.init(params)), length=150)[1]

    losses = train(params)
    assert losses[0] > 1.0 > 0.02 > losses[-1]


def test_an_nnx_model_trains():
    class Model(nnx.Module):
        def __init__(self, rngs):
            self.embed = nnx.Embed(VOCABULARY, 8, rngs=rngs)
            self.lstm = jaxrnn.nnx.LSTM(8, 16, rngs=rngs)
            self.dense = nnx.Linear(16, VOCABULARY, rngs=rngs)

        def __call__(self, tokens):
            return self.dense(self.lstm(self.embed(tokens)))

    model = Model(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-2), wrt=nnx.Param)
    tokens, targets = echo_task()

    @nnx.jit
    def step(model, optimizer):
        loss = lambda model: echo_loss(model(tokens), targets)  # noqa: E731
        value, gradients = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradients)
        return value

    losses = [step(model, optimizer) for _ in range(150)]
    assert losses[0] > 1.0 > 0.02 > losses[-1]


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


def test_linen_does_not_trace_again():
    traces = []

    def counting(a, b):
        traces.append(1)
        return jnp.concatenate([a, b], -1)

    model = jaxrnn.linen.GRU(H, bidirectional=True, merge=counting)
    inputs = jnp.ones((B, T, D))
    variables = model.init(jax.random.key(0), inputs)
    f = jax.jit(model.apply)
    f(variables, inputs)
    traces.clear()
    f(variables, 2 * inputs)
    assert not traces


def test_flax_serialization_and_orbax(tmp_path):
    checkpoint = pytest.importorskip("orbax.checkpoint")
    model, inputs = jaxrnn.linen.LSTM(H, num_layers=2, bidirectional=True), jnp.ones((B, T, D))
    variables = model.init(jax.random.key(0), inputs)
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
        with pytest.raises(TypeError, match="initial_carry"):
            f(inputs, initial_carry=tuple(carry))  # Flax's own order is (c, h): not by position


def test_bad_constructions():
    rngs, inputs, key = nnx.Rngs(0), jnp.ones((B, T, D)), jax.random.key(0)
    with pytest.raises(TypeError, match="expected a Cell or a Layer"):
        jaxrnn.linen.Recurrent(H, jaxrnn.linen.LSTMCell(H)).init(key, inputs)
    with pytest.raises(TypeError, match="expected a Cell or a Layer"):
        jaxrnn.nnx.Recurrent(D, H, rngs=rngs)
    with pytest.raises(TypeError, match="num_layers"):
        jaxrnn.nnx.LSTM(D, H, num_layers=1.5, rngs=rngs)
    with pytest.raises(ValueError, match="dropout"):
        jaxrnn.linen.LSTM(H, dropout=1.0).init(key, inputs)
    with pytest.raises(ValueError, match="merge"):
        jaxrnn.linen.LSTM(H, bidirectional=True, merge="max").init(key, inputs)
    with pytest.raises(TypeError, match="forget_bais"):
        jaxrnn.nnx.LSTM(D, H, forget_bais=1.0, rngs=rngs)
    with pytest.raises(ValueError, match="chunk"):
        jaxrnn.linen.LSTM(H, chunk=0).init(key, inputs)
    with pytest.raises(ValueError, match="unroll"):
        jaxrnn.nnx.LSTM(D, H, unroll=0, rngs=rngs)(inputs)
    layer = jaxrnn.bidirectional(jaxrnn.gru)
    with pytest.raises(TypeError, match="cell: expected a Cell, which can step"):
        jaxrnn.nnx.RecurrentCell(D, H, layer, rngs=rngs)
    with pytest.raises(TypeError, match="cell: expected a Cell, which can step"):
        nn.RNN(jaxrnn.linen.RecurrentCell(H, layer)).init(key, inputs)
    taken = jaxrnn.gru._replace(
        hidden_size=None, init=lambda *args, **options: {"features": jnp.ones(3)}
    )
    with pytest.raises(ValueError, match="'features'"):
        jaxrnn.nnx.Recurrent(D, H, taken, rngs=rngs)


def test_import_of_jaxrnn_leaves_flax_alone():
    code = "import jaxrnn, sys; assert 'flax' not in sys.modules; jaxrnn.linen.LSTM; jaxrnn.nnx.GRU"
    subprocess.run([sys.executable, "-c", code], check=True)
