"""Conversion of mappings, without any other library: round trips, errors, `infer`, `probe`."""

import inspect
import pickle
import subprocess
import sys
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop.names import flatten
from jaxrnn.interop.structure import units
from tests.interop_live import D, H, network
from tests.interop_table import LIBRARIES, ROWS, markdown
from tests.reference import assert_same, random_like

LSTM4 = {
    "weight_ih_l0": np.ones((16, 3), "f"),
    "weight_hh_l0": np.ones((16, 4), "f"),
    "bias_ih_l0": np.ones(16, "f"),
    "bias_hh_l0": np.ones(16, "f"),
}


def sizes(library):
    return {"input_size": D, "hidden_size": H} if library == "cudnn" else {}


def random_params(net, row, dtype="float32"):
    """Random parameters that have a place in the row's library."""
    init = lambda key: net.init(key, D, H, dtype=jnp.dtype(dtype))  # noqa: E731
    params = random_like(jax.eval_shape(init, jax.random.key(0)), 1)
    params = jax.tree.map(lambda x: x.at[..., 0].set(-0.0), params)
    if row.module == "GRUCell" and row.library == "nnx":  # no bias inside the reset product
        params = _gru(params, lambda p: p._replace(recurrent_bias=jnp.zeros_like(p.recurrent_bias)))
    if row.module == "MGUCell":  # one gate for both
        params = _gru(params, lambda p: jaxrnn.GRUParams(*(_tie(leaf) for leaf in p[:3]), p[3]))
    return params


def _gru(params, change):
    leaf = lambda x: isinstance(x, jaxrnn.GRUParams)  # noqa: E731
    return jax.tree.map(change, params, is_leaf=leaf)


def _tie(leaf):
    r, _, n = jnp.split(leaf, 3, axis=-1)
    return jnp.concatenate([r, r, n], axis=-1)


def case(row, layers, directions, dtype="float32"):
    name = f"{row.library}-{row.module}-{layers}x{directions}-{dtype}"
    marks = [pytest.mark.slow] if layers in (2, 3) and dtype == "float32" else []
    return pytest.param(row, layers, directions, dtype, id=name, marks=marks)


CASES = [case(row, *at) for row in ROWS for at in product(row.layers, row.directions)]
CASES += [case(row, row.layers[-1], row.directions[-1], "bfloat16") for row in ROWS]


@pytest.mark.parametrize(("row", "layers", "directions", "dtype"), CASES)
def test_dump_then_load_is_the_identity(row, layers, directions, dtype):
    if row.library == "haiku" and row.module == "LSTM":
        row = row._replace(cell=interop.haiku.lstm)
    net, module = network(row, layers, directions), getattr(interop, row.library)
    params = random_params(net, row, dtype)
    options = {"mgu": True} if row.module == "MGUCell" else {}
    options = {"optimized": False} if (row.library, row.module) == ("nnx", "LSTMCell") else options
    arrays = module.dump(net, params, **options)
    back = module.load(net, arrays, **sizes(row.library))
    assert_same(back, params, "params")
    signs = jax.tree.map(lambda a, b: bool((jnp.signbit(a) == jnp.signbit(b)).all()), back, params)
    assert jax.tree.all(signs), "a zero changed its sign"


@pytest.mark.slow
def test_haiku_rounds_only_the_forget_bias():
    params = random_like(jaxrnn.lstm.init(jax.random.key(0), D, H), 1)
    back = interop.haiku.load(jaxrnn.lstm, interop.haiku.dump(jaxrnn.lstm, params))
    forget = slice(H, 2 * H)
    assert_same(back.input_kernel, params.input_kernel, "input_kernel")
    assert_same(back.recurrent_kernel, params.recurrent_kernel, "recurrent_kernel")
    assert_same(jnp.delete(back.bias, jnp.arange(H, 2 * H)),
                jnp.delete(params.bias, jnp.arange(H, 2 * H)), "bias")  # fmt: skip
    bound = jnp.finfo("float32").eps * (1 + jnp.abs(params.bias[forget]))
    assert (jnp.abs(back.bias[forget] - params.bias[forget]) <= bound).all()
    cell, state = interop.haiku.lstm, jaxrnn.LSTMCarry(*random_like((jnp.ones(H),) * 2, 2))
    shifted = params._replace(bias=params.bias.at[forget].add(1))
    one, other = (
        c.step(p, state, jnp.ones(D))[1] for c, p in ((cell, params), (jaxrnn.lstm, shifted))
    )
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_haiku_numbers_the_modules_of_each_class():
    net = jaxrnn.stack(jaxrnn.lstm, jaxrnn.cells.gru_reset_before, jaxrnn.lstm)
    init = lambda key: net.init(key, D, H)  # noqa: E731
    params = random_like(jax.eval_shape(init, jax.random.key(0)), 1)
    arrays = interop.haiku.dump(net, params)
    assert list(arrays) == ["lstm/linear", "gru", "lstm_1/linear"]  # as a DeepRNN of these three
    back = interop.haiku.load(net, arrays)
    assert_same(back[1], params[1], "params")
    assert_same(back[2].input_kernel, params[2].input_kernel, "params")
    with pytest.raises(ValueError, match="cores of one class"):
        interop.haiku.infer(arrays)


def test_float64_is_kept_or_refused():
    arrays = {name: array.astype("float64") for name, array in LSTM4.items()}
    net = jaxrnn.rnn(jaxrnn.lstm)
    with pytest.raises(ValueError, match="float64 needs jax_enable_x64"):
        interop.torch.load(net, arrays)
    assert interop.torch.load(net, arrays, dtype="float32")[0].bias.dtype == jnp.float32
    with jax.enable_x64(True):
        assert interop.torch.load(net, arrays)[0].bias.dtype == jnp.float64


def test_every_problem_is_in_one_error():
    arrays = dict(LSTM4)
    del arrays["bias_hh_l0"]
    arrays["weight_ih_l0"] = np.ones((15, 3), "f")
    arrays["bias_ih_l0"] = np.ones(16, int)
    arrays["surplus"] = np.ones((2, 2), "f")
    arrays["epoch"] = 3
    with pytest.raises(ValueError, match="do not fit 'stack\\(lstm\\)' as torch") as caught:
        interop.torch.load(jaxrnn.rnn(jaxrnn.lstm), arrays)
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert lines == [
        "weight_ih_l0: expected [16, 3], got float32[15, 3]",
        "bias_ih_l0: expected floating-point numbers, got int64[16]",
        "bias_hh_l0: expected [16], missing",
        "surplus: unexpected float32[2, 2]",
        "epoch: unexpected int",
    ]


def test_what_can_be_told_is_told():
    arrays = {name: array for name, array in LSTM4.items() if "weight" not in name}
    with pytest.raises(ValueError, match="weight_ih_l0: expected a matrix, missing\n"):
        interop.torch.load(jaxrnn.rnn(jaxrnn.lstm), arrays)
    arrays["weight_hh_l0"] = LSTM4["weight_hh_l0"]
    with pytest.raises(ValueError, match=r"weight_ih_l0: expected \[16, \?\], missing$"):
        interop.torch.load(jaxrnn.rnn(jaxrnn.lstm), arrays)
    for shape in ((16,), (0, 0), (4, 16)):
        with pytest.raises(ValueError, match=r"weight_hh_l0: expected \["):
            interop.torch.load(
                jaxrnn.rnn(jaxrnn.lstm), {**LSTM4, "weight_hh_l0": np.ones(shape, "f")}
            )


def test_mixed_dtypes_are_a_problem():
    arrays = {**LSTM4, "bias_ih_l0": np.ones(16, "float16")}
    with pytest.raises(ValueError, match="dtypes: expected one, got \\['float16', 'float32'\\]"):
        interop.torch.load(jaxrnn.rnn(jaxrnn.lstm), arrays)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.library}-{row.module}")
def test_missing_and_misshaped_arrays_are_named(row):
    net, module = network(row, row.layers[-1], 1), getattr(interop, row.library)
    if row.library == "cudnn":
        flat = module.dump(net, net.init(jax.random.key(0), D, H))
        with pytest.raises(ValueError, match="source: expected shape"):
            module.load(net, flat[:-1], **sizes("cudnn"))
        return
    separator = "." if row.library in ("torch", "equinox", "onnx") else "/"
    arrays = flatten(module.dump(net, random_params(net, row)), separator)
    axis = {"torch": 0, "equinox": 0, "onnx": 1}.get(row.library, -1)  # that of the gates
    for name in arrays:
        if not optional(name):
            with pytest.raises(ValueError, match=rf"{name}(\.0)?: expected .*, missing"):
                module.load(net, {k: v for k, v in arrays.items() if k != name})
        short = np.delete(arrays[name], 0, axis)
        with pytest.raises(ValueError, match="expected \\["):
            module.load(net, {**arrays, name: short})


def optional(name):
    """Whether it may be absent by itself: the only bias of its module."""
    return name.endswith(("bias", "B", "P", "linear_1/b"))


def test_another_variant_of_equal_shapes_is_refused():
    gru = jaxrnn.gru.init(jax.random.key(0), D, H)
    gru = gru._replace(recurrent_bias=jnp.ones(H))
    torch = interop.torch.dump(jaxrnn.gru, gru)
    with pytest.raises(ValueError, match="reset is 'before', and in torch 'after'"):
        interop.torch.load(jaxrnn.cells.gru_reset_before, torch)
    with pytest.raises(ValueError, match="bias inside the reset product of the gate n"):
        interop.nnx.dump(jaxrnn.gru, gru)
    with pytest.raises(ValueError, match="reset is 'after', and in haiku 'before'"):
        interop.haiku.dump(jaxrnn.gru, gru)
    with pytest.raises(ValueError, match=r"resets after the product, and .*before'"):
        interop.keras.load(jaxrnn.cells.gru_reset_before, interop.keras.dump(jaxrnn.gru, gru))
    with pytest.raises(ValueError, match="the gates r and z share W"):
        interop.linen.dump(jaxrnn.gru, gru, mgu=True)
    with pytest.raises(ValueError, match="activation is 'tanh', and in haiku 'relu'"):
        interop.haiku.dump(jaxrnn.elman, jaxrnn.elman.init(jax.random.key(0), D, H))
    projected = jaxrnn.make_lstm(proj_size=2)
    with pytest.raises(ValueError, match="proj_size is 2, and in ONNX None"):
        interop.onnx.dump(projected, projected.init(jax.random.key(0), D, H))
    clipped = jaxrnn.make_lstm(cell_clip=1.0)
    with pytest.raises(ValueError, match=r"cell_clip is 1\.0, and in torch None"):
        interop.torch.dump(clipped, clipped.init(jax.random.key(0), D, H))


def test_a_bias_that_has_no_place_is_refused():
    params = jaxrnn.lstm.init(jax.random.key(0), D, H)  # a forget bias of 1
    with pytest.raises(ValueError, match="a non-zero bias of the gate f"):
        interop.torch.dump(jaxrnn.lstm, params, bias=False)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if False in row.bias], ids=lambda row: f"{row.library}-{row.module}"
)
def test_absent_biases_are_zero(row):
    net, module = network(row, row.layers[-1], 1), getattr(interop, row.library)
    init = lambda key: net.init(key, D, H)  # noqa: E731
    zero = lambda x: jnp.zeros_like(x) if x.ndim == 1 else x  # noqa: E731
    params = jax.tree.map(zero, random_like(jax.eval_shape(init, jax.random.key(0)), 1))
    absent = {"haiku": {"double_bias": False}}.get(row.library, {"bias": False})
    arrays = flatten(module.dump(net, params, **absent), "/" if row.library == "haiku" else ".")
    assert not any(name.endswith(("bias", "bias_n", "bias_ih_l0", "B", "1/b")) for name in arrays)
    assert_same(module.load(net, arrays), params, "params")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.library}-{row.module}")
def test_a_cell_without_biases_comes_back_without_them(row):
    """Where the library has none either nothing is written, zeros elsewhere."""
    module = getattr(interop, row.library)
    for layers, directions in {(row.layers[0], 1), (row.layers[-1], row.directions[-1])}:
        cell = row.cell.spec._replace(use_bias=False).make()
        net = network(row._replace(cell=cell), layers, directions)
        init = lambda key: net.init(key, D, H)  # noqa: B023, E731
        params = random_like(jax.eval_shape(init, jax.random.key(0)), 1)
        if row.module == "MGUCell":
            params = _gru(params, lambda p: jaxrnn.GRUParams(*map(_tie, p[:2])))
        arrays = module.dump(net, params, **{"mgu": True} if row.module == "MGUCell" else {})
        assert_same(module.load(net, arrays, **sizes(row.library)), params, "params")
        if False in row.bias and row.library != "haiku":
            assert not any("bias" in name or name.endswith("B") for name in arrays)
            if row.infers:
                options = {"nonlinearity": "relu"} if row.module == "RNN(relu)" else {}
                assert flat(module.infer(arrays, **options)) == flat(net)


def flat(net):
    return [unit.cell for row in units(net) for unit in row]


def test_biases_of_a_source_are_not_lost():
    net = jaxrnn.make_lstm(use_bias=False)
    arrays = interop.torch.dump(jaxrnn.lstm, jaxrnn.lstm.init(jax.random.key(0), D, H))
    with pytest.raises(ValueError, match="a non-zero bias of the gate f has no place"):
        interop.torch.load(net, arrays)
    with pytest.raises(ValueError, match="bias: expected True or None, got False: all of haiku"):
        interop.haiku.dump(net, net.init(jax.random.key(0), D, H), bias=False)
    zeros = interop.torch.dump(net, net.init(jax.random.key(0), D, H), bias=True)
    assert not zeros["bias_ih"].any()
    assert interop.torch.load(net, zeros).bias is None


def test_update_convention_is_converted():
    write = jaxrnn.make_gru(reset="before", update="write")
    params = random_like(write.init(jax.random.key(0), D, H), 1)
    arrays = interop.haiku.dump(write, params)
    keep = interop.haiku.load(jaxrnn.cells.gru_reset_before, arrays)
    assert_same(interop.haiku.load(write, arrays), params, "params")
    h, x = random_like((jnp.ones(H), jnp.ones(D)), 2)
    one, other = write.step(params, h, x)[1], jaxrnn.cells.gru_reset_before.step(keep, h, x)[1]
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert not np.allclose(one, jaxrnn.cells.gru_reset_before.step(params, h, x)[1], atol=1e-3)


def test_unknown_cells_and_shapes_of_networks_are_type_errors():
    for other in (
        jaxrnn.lstm._replace(update=jaxrnn.lstm.update),  # whatever it is called
        jaxrnn.cells.lstm_prototype,
    ):
        with pytest.raises(TypeError, match=r"got '.*', which was changed or is not one of these"):
            interop.torch.load(other, LSTM4)
    with pytest.raises(TypeError, match="expected a cell or both directions of one"):
        interop.torch.load(jaxrnn.stack(jaxrnn.stack(jaxrnn.lstm)), LSTM4)
    with pytest.raises(TypeError, match=r"params: expected LSTMParams .* got GRUParams"):
        interop.torch.dump(jaxrnn.lstm, jaxrnn.gru.init(jax.random.key(0), D, H))
    short = jaxrnn.lstm.init(jax.random.key(0), D, H)._replace(bias=jnp.ones(H))
    with pytest.raises(ValueError, match=r"params\.bias: expected"):
        interop.torch.dump(jaxrnn.lstm, short)
    with pytest.raises(TypeError, match="params: expected LSTMParams of the cell 'lstm', got dict"):
        interop.torch.dump(jaxrnn.lstm, {})
    with pytest.raises(TypeError, match="params: expected a tuple of 2"):
        interop.torch.dump(jaxrnn.rnn(jaxrnn.lstm, 2), ())


@pytest.mark.parametrize(
    ("net", "sizes"),
    [
        (jaxrnn.stack(jaxrnn.lstm, jaxrnn.gru), H),
        (jaxrnn.stack(jaxrnn.lstm, jaxrnn.lstm), (H, H + 1)),
        (jaxrnn.stack(jaxrnn.lstm, jaxrnn.make_lstm(proj_size=2)), H),
        (jaxrnn.stack(jaxrnn.elman, jaxrnn.make_elman(activation="relu")), H),
        (jaxrnn.stack(jaxrnn.lstm, jaxrnn.bidirectional(jaxrnn.lstm)), H),
        (jaxrnn.bidirectional(jaxrnn.gru, jaxrnn.elman), H),
    ],
    ids=["kinds", "sizes", "projections", "activations", "directions", "both"],
)
def test_what_no_module_of_torch_is_needs_a_prefix_for_each_layer(net, sizes):
    params = net.init(jax.random.key(0), D, sizes)
    with pytest.raises(ValueError, match=r"net: expected the same cell in all .* got "):
        interop.torch.dump(net, params)
    if isinstance(params, tuple) and not isinstance(params, jaxrnn.Directions):
        arrays = interop.torch.dump(net, params, ["a", "b"])
        assert_same(interop.torch.load(net, arrays, ["a", "b"]), params, "params")


def test_the_cell_of_haiku_is_pickled_and_differs_from_the_plain_one():
    assert pickle.loads(pickle.dumps(interop.haiku.lstm)) == interop.haiku.lstm != jaxrnn.lstm


@pytest.mark.parametrize("name", LIBRARIES)
def test_help_is_of_use(name):
    module = getattr(interop, name)
    assert "eights of" in inspect.getdoc(module) or "weight array" in inspect.getdoc(module)
    for verb in ("load", "dump", "infer"):
        if hasattr(module, verb):
            assert ">>> " in inspect.getdoc(getattr(module, verb))


def test_prefixes():
    net, two = jaxrnn.rnn(jaxrnn.lstm), jaxrnn.rnn(jaxrnn.lstm, 2)
    params = random_like(two.init(jax.random.key(0), D, H), 1)
    whole = interop.torch.dump(two, params, prefix="encoder.lstm")
    whole["head.weight"] = np.ones((2, 4), "f")
    assert_same(interop.torch.load(two, whole, prefix="encoder.lstm"), params, "params")
    assert interop.torch.infer(whole, "encoder.lstm").name == two.name
    cells = interop.torch.dump(two, params, prefix=["lstm1", "lstm10"])
    assert "lstm1.weight_ih" in cells
    assert_same(interop.torch.load(two, cells, prefix=["lstm1", "lstm10"]), params, "params")
    with pytest.raises(ValueError, match="one for each of 1 layers, got 2"):
        interop.torch.load(net, cells, prefix=["lstm1", "lstm10"])
    linen = interop.linen.dump(two, params, prefix=["LSTMCell_0", "LSTMCell_1"])
    assert set(linen["LSTMCell_0"]) >= {"ii", "hf"}
    assert_same(interop.linen.load(two, linen, prefix=["LSTMCell_0", "LSTMCell_1"]), params, "p")


def test_keras_names_in_all_their_forms():
    net = jaxrnn.rnn(jaxrnn.gru, 2, bidirectional=True)
    params = random_like(net.init(jax.random.key(0), D, H), 1)
    names = list(interop.keras.dump(net, params).items())
    live, file = {}, {}
    for name, array in names:
        layer, direction, last = name.split("/")
        number = ("kernel", "recurrent_kernel", "bias").index(last)
        live[f"m/bidirectional_{9 + int(layer)}/{direction}_gru_1/gru_cell/{last}:0"] = array
        place = "bidirectional" + "_10" * int(layer)
        file[f"layers/{place}/{direction}_layer/cell/vars/{number}"] = array
    file["optimizer/vars/0"] = np.ones(3)
    file["layers/bidirectional/seed_generator/vars/0"] = np.ones(2, "uint32")
    for source in (live, dict(reversed(file.items()))):
        assert_same(interop.keras.load(net, source), params, "params")
        assert interop.keras.infer(source).name == net.name


def test_what_infer_cannot_place_is_an_error():
    nothing = {"other": np.ones((3, 3), "f")}
    for name in set(LIBRARIES) - {"cudnn"}:
        with pytest.raises(ValueError, match="source: expected"):
            getattr(interop, name).infer(nothing)
    with pytest.raises(ValueError, match="1, 3 or 4 blocks of 4"):
        interop.torch.infer({"weight_hh": np.ones((8, 4))})


def test_probe_tells_variants_apart():
    relu = jaxrnn.make_elman(activation="relu")
    params = random_like(relu.init(jax.random.key(0), D, H), 1)
    xs = random_like(jnp.ones((5, 2, D)), 2)
    ys = jaxrnn.scan(relu, params, xs)[1]
    assert interop.probe(relu, params, xs, ys) == 0
    with pytest.raises(ValueError, match="not the same function"):
        interop.probe(jaxrnn.elman, params, xs, ys)
    with pytest.raises(ValueError, match="ys: expected shape"):
        interop.probe(relu, params, xs, ys[1:])
    with pytest.raises(ValueError, match="difference of nan"):
        interop.probe(relu, params, xs, ys * jnp.nan)


def test_no_library_is_imported():
    code = (
        "import sys, jaxrnn, numpy as np\n"
        "from jaxrnn import interop\n"
        "for name in interop.__all__: getattr(interop, name)\n"
        "a = {'weight_ih': np.ones((5, 3), 'f'), 'weight_hh': np.ones((5, 5), 'f')}\n"
        "interop.torch.dump(jaxrnn.elman, interop.torch.load(jaxrnn.elman, a))\n"
        "names = 'torch flax haiku equinox keras onnx onnxruntime h5py safetensors'.split()\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_table_has_a_line_for_every_row():
    lines = markdown().splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert {line.count("|") for line in lines} == {8}
