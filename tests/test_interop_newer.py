"""Weights of the newer cells: MGU, convolutional LSTM, RG-LRU, sLSTM and mLSTM.

Round trips, errors, and outputs: against flax always, against Keras as an oracle, and against
steps written here in numpy by what the packages' code computes. Where ``xlstm`` and
``recurrentgemma`` are installed, which no extra asks for, their own modules are run as well.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import cells, interop
from tests.reference import assert_close, assert_same, quick, random_like

T, B, D, H, N = 4, 2, 3, 6, 2
d = H // N
IMAGES = [((3,), (6,), False), ((3, 2), (5, 4), True)]
MGU = cells.make_mgu(reset="after", update="keep")
CONV = cells.make_conv_lstm((3, 2), (5, 4))
RGLRU = cells.make_rg_lru(num_heads=N)
SLSTM = cells.make_slstm(num_heads=N)
MLSTM = cells.make_mlstm(num_heads=N, output_gate=False, eps=1e-6)


def params_of(cell, sizes=(D, H), dtype="float32", **fixed):
    init = lambda key: cell.init(key, *sizes, dtype=jnp.dtype(dtype))  # noqa: E731
    params = random_like(jax.eval_shape(init, jax.random.key(0)), 1, 0.5)
    return params._replace(**{name: jnp.asarray(leaf, dtype) for name, leaf in fixed.items()})


def layer_kernel():
    """A block for each head and gate."""
    there = np.tile(np.kron(np.eye(N), np.ones((d, d))), (1, 4)) == 1
    return np.where(there, np.random.default_rng(2).normal(size=(H, 4 * H)), 0)


CASES = {
    "linen-mgu": (interop.linen, MGU, (D, H)),
    "linen-conv": (interop.linen, CONV, (D, H)),
    "keras-conv": (interop.keras, CONV, (D, H)),
    "recurrentgemma": (interop.recurrentgemma, RGLRU, (H, H)),
    "slstm-cell": (interop.xlstm, SLSTM, (4 * H, H)),
    "slstm-layer": (interop.xlstm, SLSTM, (H, H)),
    "slstm-cuda": (interop.xlstm, SLSTM, (H, H)),
    "mlstm": (interop.xlstm, MLSTM, (3 * H, H)),
}
FIXED = {
    "slstm-cell": {"input_kernel": np.eye(4 * H)},
    "slstm-layer": {"input_kernel": layer_kernel()},
    "slstm-cuda": {"input_kernel": layer_kernel()},
    "mlstm": {"input_kernel": np.eye(3 * H), "bias": np.zeros(3 * H)},
}
OPTIONS = {"slstm-cuda": {"backend": "cuda"}}


def case(name, dtype="float32"):
    """Library, cell, parameters that it has a place for, options of `dump`."""
    library, cell, sizes = CASES[name]
    params = params_of(cell, sizes, dtype, **FIXED.get(name, {}))
    return library, cell, params, OPTIONS.get(name, {})


def flat(arrays):
    return interop.names.flatten(arrays, "/") if "." not in str(list(arrays)) else dict(arrays)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_dump_then_load_is_the_identity(name, dtype):
    library, cell, params, options = case(name, dtype)
    fixed = {field: getattr(params, field) for field in FIXED.get(name, {})}
    params = jax.tree.map(lambda x: x.at[..., 0].set(-0.0), params)._replace(**fixed)
    for prefix in ("", "model.core" if "." in str(library.dump(cell, params)) else "model/core"):
        arrays = library.dump(cell, params, prefix, **options)
        back = library.load(cell, arrays, prefix)
        assert type(back) is type(params)
        assert_same(back, params, name)
        for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
            assert bool((jnp.signbit(a) == jnp.signbit(b)).all()), "a zero changed its sign"


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("linen-conv", "keras-conv")])
def test_infer(name):
    library, cell, params, options = case(name)
    got = library.infer(library.dump(cell, params, "a", **options), "a")
    want = jaxrnn.gru if name == "linen-mgu" else cell
    assert got == want


@pytest.mark.parametrize("name", CASES)
def test_every_wrong_name_is_in_one_error(name):
    library, cell, params, options = case(name)
    nested = library.dump(cell, params, "a", **options)
    separator = "/" if library in (interop.linen, interop.keras) else "."
    arrays = interop.names.flatten(nested, separator)
    first, second = [n for n in arrays if not n.endswith("param")][-2:]
    at = "a/" if library is interop.keras else ""  # whose arrays are called by their layer alone
    size = next(iter(arrays.values())).dtype
    wrong = {n: a for n, a in arrays.items() if n != first}
    wrong |= {second: np.ones((7, 7, 7), size), f"a{separator}more": np.ones(2, size)}
    with pytest.raises(ValueError, match="the arrays do not fit") as error:
        library.load(cell, wrong, "a")
    text = str(error.value)
    assert f"{first.removeprefix(at)}: expected [" in text
    assert "missing" in text
    assert f"{second.removeprefix(at)}: expected [" in text
    assert "got float32[7, 7, 7]" in text
    assert f"more: unexpected {size}[2]" in text


@pytest.mark.parametrize("name", CASES)
@pytest.mark.slow
def test_wrong_dtypes_and_wrong_parameters(name):
    library, cell, params, _ = case(name)
    arrays = flat(library.dump(cell, params))
    ints = {n: a.astype(int) for n, a in arrays.items()}
    with pytest.raises(ValueError, match="expected floating-point numbers, got int"):
        library.load(cell, ints)
    first = next(iter(arrays))
    with pytest.raises(ValueError, match=r"dtypes: expected one, got \['float16', 'float32'\]"):
        library.load(cell, arrays | {first: arrays[first].astype(np.float16)})
    half = library.load(cell, arrays, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(half)} == {jnp.dtype("bfloat16")}
    with pytest.raises(TypeError, match=r"expected .*Params of the cell"):
        library.dump(cell, jaxrnn.gru.init(jax.random.key(0), D, H))
    cut = params._replace(**{params._fields[0]: jax.tree.leaves(params)[0][..., :-1]})
    with pytest.raises((TypeError, ValueError), match="expected"):
        library.dump(cell, cut)


def test_what_has_no_counterpart_is_refused():
    p = params_of(MGU)
    for cell in (cells.mgu, cells.make_mgu(reset="after")):
        with pytest.raises(ValueError, match=r"is 'write', and in flax.linen 'keep'"):
            interop.linen.dump(cell, p)
    with pytest.raises(ValueError, match=r"the cell \"mgu.*: torch has none"):
        interop.torch.load(MGU, {})
    with pytest.raises(ValueError, match="the cell 'gru': xlstm has none"):
        interop.xlstm.load(jaxrnn.gru, {})
    with pytest.raises(TypeError, match="net: "):
        interop.recurrentgemma.load(None, {})
    peepholes = cells.make_conv_lstm((3, 2), (5, 4), peepholes=True)
    with pytest.raises(ValueError, match="peepholes is True, and in Keras False"):
        interop.keras.load(peepholes, {})
    exponential = cells.make_slstm(num_heads=N, forget_gate="exp")
    with pytest.raises(ValueError, match="forget_gate is 'exp', and in xlstm 'sigmoid'"):
        interop.xlstm.load(exponential, {})
    with pytest.raises(
        ValueError, match=r"output_gate is True.*\n.*eps is 0.0, and in xlstm 1e-06"
    ):
        interop.xlstm.dump(cells.mlstm, None)
    with pytest.raises(TypeError, match="prefix: expected a string"):
        interop.xlstm.load(SLSTM, {}, ["a"])


@pytest.mark.slow
def test_input_kernels_that_have_no_place():
    for size in (H, 4 * H, D):
        with pytest.raises(
            ValueError, match="input_kernel: expected the identity of 4H, or blocks"
        ):
            interop.xlstm.dump(SLSTM, params_of(SLSTM, (size, H)))
    with pytest.raises(
        ValueError, match=r"(?s)input_kernel: expected the id.*bias: expected zeros"
    ):
        interop.xlstm.dump(MLSTM, params_of(MLSTM, (3 * H, H)))
    with pytest.raises(ValueError, match="backend: expected"):
        interop.xlstm.dump(*case("slstm-cell")[1:3], backend="tpu")


@pytest.mark.slow
def test_heads_are_those_of_the_arrays():
    library, cell, params, _ = case("recurrentgemma")
    arrays = library.dump(cell, params)
    with pytest.raises(ValueError, match=r"a_gate.w: expected \[3, 2, 2\], got float32\[2, 3, 3\]"):
        library.load(cells.make_rg_lru(num_heads=3), arrays)
    library, cell, params, _ = case("slstm-layer")
    with pytest.raises(ValueError, match=r"slstm_cell._recurrent_kernel_: expected \[1, 24, 6\]"):
        library.load(cells.slstm, library.dump(cell, params))
    with pytest.raises(ValueError, match="weights that fit are below 'x'"):
        library.load(cell, library.dump(cell, params, "x"))


@pytest.mark.slow
def test_norms_are_left_out_and_a_convolution_is_not():
    library, cell, params, _ = case("slstm-layer")
    arrays = library.dump(cell, params) | {"group_norm.weight": np.ones(H, "f")}
    assert_same(library.load(cell, arrays), params, "params")
    with pytest.raises(ValueError, match=r"conv1d.conv.weight: unexpected float32\[6, 1, 4\]"):
        library.load(cell, arrays | {"conv1d.conv.weight": np.ones((H, 1, 4), "f")})


@pytest.mark.parametrize("library", [interop.linen, interop.keras], ids=["linen", "keras"])
@pytest.mark.slow
def test_without_biases(library):
    plain = cells.make_conv_lstm((3, 2), (5, 4), use_bias=False)
    params = params_of(plain)
    assert params.bias is None
    arrays = library.dump(plain, params)
    assert_same(library.load(plain, arrays), params, "without")
    names = interop.names.flatten(arrays, "/")
    if library is interop.keras:  # whose layers may have none
        assert "bias" not in names
        assert_same(library.load(CONV, arrays).bias, jnp.zeros(4 * H), "bias")
        assert not library.dump(plain, params, bias=True)["bias"].any()
        with pytest.raises(ValueError, match="bias: a non-zero bias has no place"):
            library.dump(CONV, params_of(CONV), bias=False)
    else:  # which adds 1 to the forget gate all the same
        none = {name: array for name, array in names.items() if "bias" not in name}
        want = jnp.repeat(jnp.array([0.0, 1.0, 0.0, 0.0]), H)
        assert_same(library.load(CONV, none).bias, want, "bias")
    with pytest.raises(ValueError, match="a non-zero bias has no place"):
        library.load(plain, library.dump(CONV, params_of(CONV)))


# Flax


def run(cell, params, xs):
    scan = lambda *a: jaxrnn.scan(cell, *a, solver=jaxrnn.sequential())  # noqa: E731
    return quick(scan)(params, xs)[1]


@pytest.mark.usefixtures("x64")
def test_mgu_of_flax():
    import flax.linen as nn

    module = nn.RNN(nn.MGUCell(H, param_dtype=jnp.float64), time_major=True)
    xs = random_like(jax.ShapeDtypeStruct((T, B, D), jnp.float64), 3)
    variables = random_like(module.init(jax.random.key(0), xs), 4)
    params = interop.linen.load(MGU, variables)
    assert params.recurrent_kernel.shape == (H, 2 * H)
    assert_close(run(MGU, params, xs), quick(module.apply)(variables, xs), "outputs")
    back = interop.linen.dump(MGU, params, "cell")
    assert_same(back, variables["params"], "variables")
    tied = interop.linen.load(jaxrnn.gru, variables)
    assert_close(run(MGU, params, xs), run(jaxrnn.gru, tied, xs), "the GRU that it is")


@pytest.mark.slow
def test_mgu_of_flax_in_layers_and_directions():
    net = jaxrnn.rnn(MGU, 2, bidirectional=True)
    params = random_like(net.init(jax.random.key(0), D, H), 1)
    arrays = interop.linen.dump(net, params)
    assert "forward_rnn" in arrays["layers_1"]
    assert_same(interop.linen.load(net, arrays), params, "params")


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("window", "space", "bias"), IMAGES)
@pytest.mark.slow
def test_conv_lstm_of_flax(window, space, bias):
    import flax.linen as nn

    cell = cells.make_conv_lstm(window, space)
    inner = nn.ConvLSTMCell(4, window, use_bias=bias, param_dtype=jnp.float64)
    module = nn.RNN(inner, time_major=True)
    xs = random_like(jax.ShapeDtypeStruct((T, B, *space, D), jnp.float64), 3)
    variables = random_like(module.init(jax.random.key(0), xs), 4, 0.3)
    params = interop.linen.load(cell, variables)
    assert_close(run(cell, params, xs), quick(module.apply)(variables, xs), "outputs")
    if bias:
        dumped = {"params": interop.linen.dump(cell, params, "cell")}
        assert_close(quick(module.apply)(dumped, xs), run(cell, params, xs), "outputs of a dump")


# Keras


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
    found = pytest.importorskip("keras")
    if found.backend.backend() != "jax":
        pytest.skip("keras was imported with another backend")
    return found


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of keras
@pytest.mark.parametrize(("window", "space", "bias"), IMAGES)
@pytest.mark.slow
def test_conv_lstm_of_keras(keras, window, space, bias, tmp_path):
    make = getattr(keras.layers, f"ConvLSTM{len(window)}D")
    options = {"padding": "same", "return_sequences": True, "use_bias": bias}
    model = keras.Sequential([keras.Input((T, *space, D)), make(4, window, **options)])
    for v in model.weights:
        v.assign(random_like(v.value, 4, 0.3))
    weights = {v.path: np.asarray(v.value) for v in model.weights}
    xs = np.asarray(random_like(jax.ShapeDtypeStruct((B, T, *space, D), jnp.float32), 3))
    cell = cells.make_conv_lstm(window, space, use_bias=bias)
    source = weights | {"model_config": model.to_json()}
    params = interop.keras.load(cell, source)
    ys = run(cell, params, jnp.moveaxis(jnp.asarray(xs), 1, 0))
    assert_close(jnp.moveaxis(ys, 0, 1), jnp.asarray(model(xs)), "outputs", 1e-6)
    model.save(tmp_path / "a.keras")
    assert_same(interop.keras.load(cell, interop.read(tmp_path / "a.keras")), params, "of a file")
    back = list(interop.keras.dump(cell, params).values())
    assert_same(back, list(weights.values()), "weights")


@pytest.mark.slow
def test_a_configuration_of_keras_that_says_another_function():
    library, cell, params, _ = case("keras-conv")
    arrays = library.dump(cell, params, "m/conv")
    for changed in ({}, {"padding": "valid"}, {"padding": "same", "strides": [1, 2]}):
        layer = {"class_name": "ConvLSTM2D", "config": {"name": "conv"} | changed}
        model = {"class_name": "Sequential", "config": {"name": "m", "layers": [layer]}}
        with pytest.raises(ValueError, match="net: not what model_config says of conv: "):
            library.load(cell, arrays | {"model_config": model})
    layer["config"] = {"name": "conv", "padding": "same", "strides": [1, 1]}
    assert_same(library.load(cell, arrays | {"model_config": model}), params, "params")
    two = arrays | {f"m/other/{name.rpartition('/')[2]}": a for name, a in arrays.items()}
    with pytest.raises(ValueError, match="prefix: expected one layer at '', got m/conv, m/other"):
        library.load(cell, two)
    assert_same(library.load(cell, two, "m/other"), params, "params")


# Steps in numpy, by what the packages compute


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def numpy_rg_lru(arrays, xs):
    """RGLRU of RecurrentGemma at positions after the first."""
    h, ys = 0.0, []
    heads = lambda x: x.reshape(*x.shape[:-1], N, d)  # noqa: E731

    def gate(name, x):
        z = np.einsum("...hi,hij->...hj", heads(x), arrays[f"{name}.w"]) + arrays[f"{name}.b"]
        return sigmoid(z).reshape(x.shape)

    for x in xs:
        log_a = -8 * gate("a_gate", x) * np.log1p(np.exp(arrays["a_param"]))
        h = np.exp(log_a) * h + np.sqrt(1 - np.exp(2 * log_a)) * x * gate("input_gate", x)
        ys.append(h)
    return np.stack(ys)


def numpy_slstm(arrays, zs):
    """sLSTMCell of xlstm, without its backend's stabilizer: f and i are far from overflow."""
    r = arrays["_recurrent_kernel_"].reshape(N, 4, d, d)
    h = c = n = np.zeros((zs.shape[1], N, d))
    ys = []
    for z in zs:
        a = z + arrays["_bias_"]
        a = a.reshape(-1, 4, N, d) + np.einsum("bni,ngoi->bgno", h, r)
        i, f, g, o = np.exp(a[:, 0]), sigmoid(a[:, 1]), np.tanh(a[:, 2]), sigmoid(a[:, 3])
        c, n = f * c + i * g, f * n + i
        h = o * c / n
        ys.append(h.reshape(-1, H))
    return np.stack(ys)


def numpy_mlstm(arrays, xs):
    """mLSTMCell of xlstm before its norm, unstabilized; 1e-6 is in units of e^m there."""
    c, n, m, ys = np.zeros((B, N, d, d)), np.zeros((B, N, d)), np.zeros((B, N)), []
    for x in xs:
        q, k, v = (part.reshape(B, N, d) for part in np.split(x, 3, axis=-1))
        i, f = (x @ arrays[f"{g}gate.weight"].T + arrays[f"{g}gate.bias"] for g in "if")
        m = np.maximum(np.log(sigmoid(f)) + m, i)
        i, f, k = np.exp(i)[..., None], sigmoid(f)[..., None], k / np.sqrt(d)
        c = f[..., None] * c + i[..., None] * k[..., :, None] * v[..., None, :]
        n = f * n + i * k
        below = np.maximum(abs((n * q).sum(-1)), 1) + 1e-6 * np.exp(m)
        ys.append((np.einsum("bnk,bnkv->bnv", q, c) / below[..., None]).reshape(B, H))
    return np.stack(ys)


def normal(*shape, seed=3):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(
    ("name", "step", "width"),
    [
        ("recurrentgemma", numpy_rg_lru, H),
        ("slstm-cell", numpy_slstm, 4 * H),
        ("mlstm", numpy_mlstm, 3 * H),
    ],
)
def test_steps_in_numpy(name, step, width):
    library, cell, params, _ = case(name, "float64")
    xs = normal(T, B, width)
    want = step(library.dump(cell, params), xs)
    assert_close(run(cell, params, jnp.asarray(xs)), jnp.asarray(want), "outputs")


@pytest.mark.usefixtures("x64")
@pytest.mark.slow
def test_a_layer_of_slstm_in_numpy():
    library, cell, params, _ = case("slstm-layer", "float64")
    arrays, xs = library.dump(cell, params), normal(T, B, H)
    heads = xs.reshape(T, B, N, d)
    # What is called fgate there feeds the input gate.
    z = [np.einsum("tbnd,nod->tbno", heads, arrays[f"{g}gate.weight"]) for g in "fizo"]
    z = np.concatenate([part.reshape(T, B, H) for part in z], axis=-1)
    inner = {n.removeprefix("slstm_cell."): array for n, array in arrays.items()}
    want = numpy_slstm(inner, z)
    assert_close(run(cell, params, jnp.asarray(xs)), jnp.asarray(want), "outputs")


# The packages themselves


def state(arrays):
    torch = pytest.importorskip("torch")
    return {name: torch.tensor(np.asarray(array)) for name, array in arrays.items()}


@pytest.mark.oracle
@pytest.mark.slow
def test_recurrentgemma_itself():
    torch = pytest.importorskip("torch")
    layers = pytest.importorskip("recurrentgemma.torch.layers")
    library, cell, params, _ = case("recurrentgemma")
    module = layers.RGLRU(H, N)
    module.load_state_dict(state(library.dump(cell, params)))
    assert_same(library.load(cell, module.state_dict()), params, "params")
    xs, at = normal(B, T, H).astype("f"), torch.arange(1, T + 1).expand(B, T)
    with torch.no_grad():
        want, _ = module(torch.tensor(xs), at, torch.zeros(B, H))
    ys = run(cell, params, jnp.asarray(np.moveaxis(xs, 1, 0)))
    assert_close(ys, jnp.asarray(np.moveaxis(want.numpy(), 1, 0)), "outputs", 1e-6)


@pytest.mark.oracle
@pytest.mark.slow
def test_recurrentgemma_in_flax_itself():
    layers = pytest.importorskip("recurrentgemma.jax.layers")
    from flax.traverse_util import unflatten_dict

    library, cell, params, _ = case("recurrentgemma")
    variables = unflatten_dict(library.dump(cell, params), sep=".")
    assert_same(library.load(cell, variables), params, "params")
    xs, at = jnp.asarray(normal(B, T, H), "float32"), jnp.tile(jnp.arange(1, T + 1), (B, 1))
    module = layers.RGLRU(H, N)
    want, _ = module.apply({"params": variables}, xs, at, jnp.zeros((B, H)))
    ys = run(cell, params, jnp.moveaxis(xs, 1, 0))
    assert_close(jnp.moveaxis(ys, 0, 1), want, "outputs", 1e-6)


@pytest.mark.oracle
@pytest.mark.usefixtures("x64")
@pytest.mark.slow
def test_slstm_of_xlstm_itself():
    torch = pytest.importorskip("torch")
    slstm = pytest.importorskip("xlstm.blocks.slstm.layer")
    library, cell, params, _ = case("slstm-layer", "float64")
    given = slstm.sLSTMLayerConfig(
        embedding_dim=H, num_heads=N, conv1d_kernel_size=0, backend="vanilla", dtype="float32"
    )
    module = slstm.sLSTMLayer(given).double()
    module.load_state_dict(state(library.dump(cell, params)), strict=False)
    assert_same(library.load(cell, module.state_dict()), params, "params")
    module.group_norm = torch.nn.Identity()
    xs = normal(B, T, H)
    with torch.no_grad():
        want = module(torch.tensor(xs)).numpy()
    ys = run(cell, params, jnp.asarray(np.moveaxis(xs, 1, 0)))
    assert_close(ys, jnp.asarray(np.moveaxis(want, 1, 0)), "outputs")
    alone = library.load(cell, module.slstm_cell.state_dict())
    with torch.no_grad():
        zs = torch.cat([getattr(module, f"{g}gate")(torch.tensor(xs)) for g in "fizo"], -1)
    ys = run(cell, alone, jnp.asarray(np.moveaxis(zs.numpy(), 1, 0)))
    assert_close(ys, jnp.asarray(np.moveaxis(want, 1, 0)), "outputs of the cell alone")


@pytest.mark.oracle
@pytest.mark.slow
def test_the_cuda_form_of_xlstm_itself():
    cell = pytest.importorskip("xlstm.blocks.slstm.cell")
    torch = pytest.importorskip("torch")
    options = {"hidden_size": H, "num_heads": N, "dtype": "float32"}
    one = cell.sLSTMCell_cuda(cell.sLSTMCellConfig(**options), skip_backend_init=True)
    other = cell.sLSTMCell_vanilla(cell.sLSTMCellConfig(backend="vanilla", **options))
    library, ours, params, _ = case("slstm-cell")
    other.load_state_dict(state(library.dump(ours, params)))
    one.load_state_dict(state(library.dump(ours, params, backend="cuda")))
    for name in ("_recurrent_kernel", "_bias"):
        to = [getattr(each, f"{name}_int2ext")(getattr(each, f"{name}_")) for each in (one, other)]
        assert torch.equal(*to)
    assert_same(library.load(ours, one.state_dict()), params, "params")


@pytest.mark.oracle
@pytest.mark.usefixtures("x64")
@pytest.mark.slow
def test_mlstm_of_xlstm_itself():
    torch = pytest.importorskip("torch")
    mlstm = pytest.importorskip("xlstm.blocks.mlstm.cell")
    library, cell, params, _ = case("mlstm", "float64")
    module = mlstm.mLSTMCell(mlstm.mLSTMCellConfig(T, H, N)).double()
    module.load_state_dict(state(library.dump(cell, params)), strict=False)
    assert_same(library.load(cell, module.state_dict()), params, "params")
    module.outnorm = torch.nn.Identity()
    xs, kept, ys = normal(T, B, 3 * H), None, []
    with torch.no_grad():
        for x in torch.tensor(xs):
            q, k, v = (part.contiguous() for part in x[:, None].chunk(3, -1))
            y, kept = module.step(q, k, v, kept)
            ys.append(y[:, 0].numpy())
    assert_close(run(cell, params, jnp.asarray(xs)), jnp.asarray(np.stack(ys)), "outputs")
