"""Keras' layers by path, by configuration and in cuDNN's layout; live models, files, old files."""

import contextlib
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop.onnx_activations import Activation
from tests.reference import assert_close, assert_same, random_like

D, H = 3, 4
BLOCKS = {"SimpleRNN": 1, "GRU": 3, "LSTM": 4}


def arrays(path, d=D, h=H, blocks=4, bias=1, seed=0):
    """A cell's arrays below a path."""
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (d, blocks * h), "recurrent_kernel": (h, blocks * h)}
    if bias:
        shapes["bias"] = (blocks * h,) if bias == 1 else (2, blocks * h)
    return {f"{path}/{n}": rng.normal(size=s).astype("f") for n, s in shapes.items()}


def bidirectional(path, first="forward_lstm", second="backward_lstm", **sizes):
    return {
        **arrays(f"{path}/{first}/lstm_cell", seed=1, **sizes),
        **arrays(f"{path}/{second}/lstm_cell", seed=2, **sizes),
    }


LSTM, GRU = jaxrnn.lstm, jaxrnn.gru
BOTH = jaxrnn.bidirectional(LSTM)
SQUARE = {"d": H}
BY_PATH = {
    "a Bidirectional": (bidirectional("m/bidirectional"), BOTH),
    "where D = H": (bidirectional("m/bidirectional_3", **SQUARE), BOTH),
    "a Bidirectional with a name": (bidirectional("m/encoder", **SQUARE), BOTH),
    "a backward layer of one's own": (bidirectional("m/bidirectional_1", second="own"), BOTH),
    "such where D = H": (bidirectional("m/bidirectional_1", second="own", **SQUARE), BOTH),
    "whose name is before": (bidirectional("m/bidirectional_1", second="a", **SQUARE), BOTH),
    "two layers": (
        bidirectional("sequential_1", **SQUARE), jaxrnn.stack(LSTM, LSTM),
    ),
    "two layers of a functional model": (
        {**arrays("backward_lstm/lstm_cell", H), **arrays("forward_lstm/lstm_cell", H)},
        jaxrnn.stack(LSTM, LSTM),
    ),
    "one upon the other": (
        {**arrays("m/backward_lstm/lstm_cell"), **arrays("m/forward_lstm/lstm_cell", H)},
        jaxrnn.stack(LSTM, LSTM),
    ),
    "a model": (
        {**arrays("forward_model/lstm/lstm_cell", H),
         **arrays("forward_model/gru/gru_cell", H, blocks=3, bias=2)},
        jaxrnn.stack(GRU, LSTM),
    ),
    "two models": (
        {**arrays("backward_model/lstm/lstm_cell", H),
         **arrays("backward_model/lstm_1/lstm_cell", H),
         **arrays("forward_model/lstm_2/lstm_cell", H)},
        jaxrnn.stack(LSTM, LSTM, LSTM),
    ),
    "a layer": (arrays("backward/lstm_cell"), LSTM),
    "an RNN of cells": (
        {**arrays("m/forward_rnn/stacked_rnn_cells/lstm_cell", H),
         **arrays("m/forward_rnn/stacked_rnn_cells/lstm_cell_1", H)},
        jaxrnn.stack(LSTM, LSTM),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BY_PATH)
def test_networks_by_their_paths(name):
    source, net = BY_PATH[name]
    assert interop.keras.infer(source) == net
    params = interop.keras.load(net, source)
    kernels = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim == 2]
    assert len(kernels) == sum(leaf.ndim == 2 and leaf.shape[0] != 2 for leaf in source.values())
    if net == BOTH:
        ends = [name for name in source if name.endswith("/recurrent_kernel")]
        (backward,) = (source[name] for name in ends if "/forward" not in name)
        assert_same(params.backward.recurrent_kernel, jnp.asarray(backward), "backward")


@pytest.mark.parametrize("folder", ["layers", "_layer_checkpoint_dependencies"])
def test_files_of_a_model_with_other_layers(folder):
    names = ("kernel", "recurrent_kernel", "bias")
    cell = arrays("cell")
    source = {f"{folder}/lstm/cell/vars/{k}": cell[f"cell/{n}"] for k, n in enumerate(names)}
    source |= {f"{folder}/dense/vars/0": np.ones((4, 2), "f"), f"{folder}/dense/vars/1": np.ones(2)}
    ((name, net, params, _, _),) = interop.keras.networks(source)
    assert (name, net) == ("layers/lstm", LSTM)
    assert_same(interop.keras.load(LSTM, source, f"{folder}/lstm"), params, "params")
    with pytest.raises(ValueError, match=r"got \['0/kernel', '0/bias'\]"):
        interop.keras.infer(source)


def test_what_paths_do_not_tell_is_refused():
    with pytest.raises(ValueError, match="may be a Bidirectional or two layers; give a prefix"):
        interop.keras.infer(bidirectional("m/encoder", second="own"))
    with pytest.raises(ValueError, match=r"which of .* goes backward"):
        interop.keras.infer(bidirectional("m/bidirectional", second="forward_own"))
    cells = "stacked_rnn_cells/lstm_cell"
    many = {}
    for direction in ("forward_rnn", "backward_rnn"):
        for end in ("", "_1"):
            many |= arrays(f"m/bidirectional/{direction}/{cells}{end}", H)
    with pytest.raises(ValueError, match="a Bidirectional of several cells, which has no"):
        interop.keras.infer(many)
    one = interop.keras.infer(many, "m/bidirectional/forward_rnn")
    assert one == jaxrnn.stack(LSTM, LSTM)


@pytest.mark.parametrize(
    "name",
    ["seed_generator_1/seed_generator_state", "dropout/seed_generator_12/seed_generator_state",
     "m/lstm/lstm_cell/seed_generator_state", "layers/lstm/cell/seed_generator/vars/0"],
)  # fmt: skip
def test_seeds_are_no_weights(name):
    source = arrays("m/lstm/lstm_cell") | {name: np.ones(2, "uint32")}
    assert interop.keras.infer(source) == LSTM
    interop.keras.load(LSTM, source)


def config(*layers, version="2.2.4", name="m"):
    """A configuration, as an old file has it."""
    made = {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}
    return json.dumps(made | ({"keras_version": version} if version else {}))


def layer(kind, name, **options):
    return {"class_name": kind, "config": {"name": name, "units": H, **options}}


def of(kind, **options):
    """A source of one layer, with its configuration."""
    version = options.pop("version", "2.2.4")
    after = options.get("reset_after")
    blocks, use_bias = BLOCKS[kind], options.get("use_bias", True)
    source = arrays("m/one/cell", blocks=blocks, bias=use_bias * (2 if after else 1))
    return source | {"model_config": config(layer(kind, "one", **options), version=version)}


HARD3 = Activation("HardSigmoid", (1 / 6, 0.5))
HARD = {"recurrent_activation": "hard_sigmoid"}
CONFIGURED = [
    (of("LSTM", **HARD), jaxrnn.make_lstm(gate_activation="hard_sigmoid")),
    (of("LSTM", version="3.8.0", **HARD), jaxrnn.make_lstm(gate_activation=HARD3)),
    (of("LSTM", activation="relu"),
     jaxrnn.make_lstm(candidate_activation="relu", output_activation="relu")),
    (of("GRU", reset_after=False, activation="linear", **HARD),
     jaxrnn.make_gru(reset="before", gate_activation="hard_sigmoid",
                     candidate_activation="identity")),
    (of("GRU", reset_after=True), GRU),
    (of("GRU", reset_after=False, use_bias=False), jaxrnn.make_gru(reset="before", use_bias=False)),
    (of("SimpleRNN", activation="relu", use_bias=False),
     jaxrnn.make_elman(activation="relu", use_bias=False)),
]  # fmt: skip


@pytest.mark.parametrize(("source", "net"), CONFIGURED, ids=range(len(CONFIGURED)))
def test_a_configuration_is_gone_by(source, net):
    assert interop.keras.infer(source) == net
    interop.keras.load(net, source)
    (found,) = interop.keras.networks(source)
    assert (found.name, found.network) == ("m/one", net)
    assert found.attributes["units"] == H
    given = {**source, "model_config": np.array(source["model_config"])}  # as of a file
    assert interop.keras.infer(given) == net
    given["model_config"] = json.loads(source["model_config"])
    assert interop.keras.infer(given) == net


@pytest.mark.parametrize(("mode", "merge"), [("sum", "sum"), ("ave", "mean"), ("mul", "mul")])
def test_merge_modes(mode, merge):
    inner = layer("LSTM", "lstm", **HARD)
    wrapped = layer("Bidirectional", "bidirectional_1", layer=inner, merge_mode=mode)
    source = bidirectional("m/bidirectional_1") | {"model_config": config(wrapped)}
    cell = jaxrnn.make_lstm(gate_activation="hard_sigmoid")
    net = jaxrnn.bidirectional(cell, merge=merge)
    assert interop.keras.infer(source) == net
    assert interop.keras.networks(source)[0].network == net
    with pytest.raises(ValueError, match=f"merge is {merge!r}, and 'concat' in the network"):
        interop.keras.load(jaxrnn.bidirectional(cell), source)
    wrapped["config"]["merge_mode"] = None
    source["model_config"] = config(wrapped)
    with pytest.raises(ValueError, match=r"merge_mode: expected one of .*got None"):
        interop.keras.infer(source)


def test_a_configuration_settles_pairs_and_order():
    two = [layer("LSTM", "forward_lstm"), layer("LSTM", "backward_lstm")]
    source = bidirectional("encoder", **SQUARE)
    assert interop.keras.infer(source) == BOTH
    source["model_config"] = config(*two, name="encoder")
    assert interop.keras.infer(source) == jaxrnn.stack(LSTM, LSTM)
    first, last = layer("GRU", "z"), layer("LSTM", "a")
    source = arrays("a/lstm_cell", H) | arrays("z/gru_cell", blocks=3, bias=2)
    assert interop.keras.infer(source) == jaxrnn.stack(LSTM, GRU)
    source["model_config"] = config(first, last)
    assert interop.keras.infer(source) == jaxrnn.stack(GRU, LSTM)
    nested = {"class_name": "Model", "config": {"name": "z", "layers": [last]}}
    source = arrays("w/z/z/a/lstm_cell", H) | arrays("w/a/a/gru_cell", blocks=3, bias=2, h=H)
    source["model_config"] = config(layer("GRU", "a"), nested)
    assert interop.keras.infer(source) == jaxrnn.stack(GRU, LSTM)


def test_configurations_of_old_forms():
    """The layers of a Sequential were its configuration; cells were numbered through."""
    inner = {"name": "lstm_1", "units": H, **HARD}
    wrapped = layer("Bidirectional", "bidirectional", layer={"class_name": "LSTM", "config": inner})
    source = arrays("m/bidirectional/forward_lstm_1/lstm_cell_1", H)
    source |= arrays("m/bidirectional/backward_lstm_1/lstm_cell_2", H)
    old = {"class_name": "Sequential", "config": [wrapped], "keras_version": "2.1.6-tf"}
    source["model_config"] = json.dumps(old)
    cell = jaxrnn.make_lstm(gate_activation="hard_sigmoid")
    assert interop.keras.infer(source) == jaxrnn.bidirectional(cell)


JUNK = [None, 3, "x", [], {}, [3], {"config": 3}, {"class_name": [], "config": {"units": []}}]


@pytest.mark.parametrize("kind", ["LSTM", "RNN", "Bidirectional", "Sequential", "TimeDistributed"])
def test_a_broken_configuration_is_a_value_error(kind):
    """If anything: not all that stands there matters."""
    keys = ("units", "activation", "use_bias", "merge_mode", "layer", "cell", "layers", "name")
    source = bidirectional("m/one")
    for key in keys:
        for junk in JUNK:
            made = layer(kind, "one")
            made["config"] |= {"layer": layer("LSTM", "a"), key: junk}
            for inside in (made, {"class_name": "RNN", "config": {"name": "one", "cell": made}}):
                with contextlib.suppress(ValueError):
                    interop.keras.networks(source | {"model_config": config(inside)})


def test_what_a_configuration_says_and_none_here_is():
    cases = [
        (of("LSTM", activation="cube"), "one: activation: expected one of .*got 'cube'"),
        (of("LSTM", version="", **HARD), "those of Keras 2 and 3 differ"),
        (of("LSTM", units=5), r"LSTM\(units=5"),
        (of("LSTM") | {"model_config": config(layer("LSTM", "one", use_bias=False))}, "use_bias=F"),
        (of("LSTM", go_backwards=True), "one goes backward.*go_backwards=True"),
        (of("LSTM") | {"model_config": config(layer("NormLSTM", "one"))}, "NormLSTM has no count"),
        (of("LSTM") | {"model_config": config(layer("LSTM", "two"))}, "says nothing of m/one/cell"),
        (of("LSTM") | {"model_config": "{"}, "model_config: expected JSON"),
    ]  # fmt: skip
    for source, message in cases:
        with pytest.raises(ValueError, match=message):
            interop.keras.infer(source)
    back = of("LSTM", go_backwards=True)
    assert interop.keras.infer(back, "m/one", go_backwards=True) == LSTM
    assert interop.keras.networks(back)[0].attributes["go_backwards"]
    with pytest.raises(ValueError, match="gate_activation is 'hard_sigmoid', and 'sigmoid' in"):
        interop.keras.load(LSTM, of("LSTM", **HARD))


def to_cudnn(source):
    """Arrays of a GRU or LSTM as its CuDNN layer stored them: each gate's (H, D) read as (D, H)."""
    made = {}
    for name, array in source.items():
        if name.endswith("kernel"):
            gates = np.split(array, array.shape[1] // H, axis=1)
            array = np.concatenate([g.T.reshape(g.shape) for g in gates], axis=1)
        elif array.ndim == 1:
            array = np.concatenate([array - 1, np.ones_like(array)])
        made[name] = array.reshape(-1) if name.endswith("bias") else array
    return made


@pytest.mark.parametrize(("net", "blocks", "bias"), [(GRU, 3, 2), (LSTM, 4, 1)])
def test_cudnn_layers_of_keras_2(net, blocks, bias):
    """Their layout is that of ``_convert_rnn_weights`` in Keras 2.15."""
    plain = arrays("m/cu/cu", blocks=blocks, bias=bias)
    stored = to_cudnn(plain)
    kind = "CuDNN" + ("GRU" if blocks == 3 else "LSTM")
    for extra in ({}, {"model_config": config(layer(kind, "cu"))}):
        source = {**stored, **extra}
        assert interop.keras.infer(source) == net
        assert_close(interop.keras.load(net, source), interop.keras.load(net, plain), "", 1e-6)
    kernel = stored["m/cu/cu/kernel"]
    by_keras = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, blocks)])
    assert_same(by_keras, plain["m/cu/cu/kernel"], "kernel")
    with pytest.raises(ValueError, match="resets after the product"):
        interop.keras.load(
            jaxrnn.cells.gru_reset_before, to_cudnn(arrays("m/g/c", blocks=3, bias=2))
        )


def test_one_activation_of_an_lstm():
    net = jaxrnn.make_lstm(output_activation="relu")
    with pytest.raises(ValueError, match="expected one activation of candidate and output"):
        interop.keras.dump(net, net.init(jax.random.key(0), D, H))


def old_file(path, version="2.2.4", **attributes):
    """An HDF5 file as Keras 2 saved it."""
    h5py = pytest.importorskip("h5py")
    inner = layer("LSTM", "lstm_1", **HARD)
    wrapped = layer("Bidirectional", "bidirectional_1", layer=inner, merge_mode="sum")
    layers = [layer("Embedding", "embedding_1"), wrapped, layer("Dense", "dense_1")]
    source = {}
    for direction in ("forward", "backward"):
        at = f"model_weights/bidirectional_1/bidirectional_1/{direction}_lstm_1"
        source |= {f"{name}:0": array for name, array in arrays(at, seed=len(direction)).items()}
    source["model_weights/dense_1/dense_1/kernel:0"] = np.ones((4, 2), "f")
    with h5py.File(path, "w") as file:
        for name, array in source.items():
            file[name] = array
        given = {"model_config": config(*layers, version=None).encode(), "keras_version": version}
        for name, value in (given | attributes).items():
            file.attrs[name] = value
    return source


@pytest.mark.oracle
def test_an_old_file(tmp_path):
    source = old_file(tmp_path / "a.h5")
    read = {**interop.read(tmp_path / "a.h5")}
    assert json.loads(read.pop("model_config").item())["keras_version"] == "2.2.4"
    assert_same(read, source, "arrays")
    (found,) = interop.keras.networks(interop.read(tmp_path / "a.h5"))
    cell = jaxrnn.make_lstm(gate_activation="hard_sigmoid")
    assert found.network == jaxrnn.bidirectional(cell, merge="sum")
    assert found.name == "model_weights/bidirectional_1/bidirectional_1"
    old_file(tmp_path / "b.h5", model_config="{")
    assert interop.read(tmp_path / "b.h5").keys() == source.keys()


# Live models


@pytest.fixture
def keras(monkeypatch):
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "jax"))
    found = pytest.importorskip("keras")
    if found.backend.backend() != "jax":
        pytest.skip("keras was imported with another backend")
    return found


def layers_of(keras):
    """One model after the other, of one layer each: layer, our network, whether paths tell."""
    one = keras.layers
    seq = {"return_sequences": True}
    hard = jaxrnn.make_gru(gate_activation=HARD3, reset="before")
    own = one.LSTM(H, go_backwards=True, name="own", **seq)
    cells = [one.LSTMCell(H), one.GRUCell(H, reset_after=False)]
    return [
        (one.LSTM(H, dropout=0.5, recurrent_dropout=0.5, **seq), LSTM, True),
        (one.GRU(H, recurrent_activation="hard_sigmoid", reset_after=False, **seq), hard, False),
        (one.Bidirectional(one.LSTM(H, dropout=0.5, **seq), merge_mode="ave"),
         jaxrnn.bidirectional(LSTM, merge="mean"), False),
        (one.Bidirectional(one.LSTM(H, **seq), backward_layer=own), BOTH, True),
        (one.RNN(cells, **seq), jaxrnn.stack(LSTM, jaxrnn.cells.gru_reset_before), False),
        (one.SimpleRNN(H, activation="gelu", use_bias=False, **seq), None, False),
        (one.LSTM(H, name="forward_lstm", activation="softsign", **seq), None, False),
    ]  # fmt: skip


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:__array__ implementation", "ignore:You are saving your model")
def test_live_models_and_their_files(keras, tmp_path):
    """Every form of every model, of a process's later ones too, against what Keras computes."""
    xs = random_like(jnp.ones((2, 5, H)), 0)
    for k, (layer, net, by_path) in enumerate(layers_of(keras)):
        model = keras.Sequential([keras.layers.Input((5, H)), layer, keras.layers.Dense(2)])
        for v in model.trainable_variables:
            v.assign(random_like(jnp.ones(v.shape), k, 0.5))
        live = {v.path: v.numpy() for v in model.variables}
        model.save(tmp_path / "a.keras")
        model.save(tmp_path / "a.h5")
        want = np.asarray(keras.Model(model.inputs, layer.output)(xs)).swapaxes(0, 1)
        sources = {
            "live": live | {"model_config": model.to_json()},
            "keras": interop.read(tmp_path / "a.keras"),
            "h5": interop.read(tmp_path / "a.h5"),
        }
        sources |= {"paths": live} if by_path else {}
        for name, source in sources.items():
            (found,) = interop.keras.networks(source)
            assert net is None or found.network == net, (name, found.network)
            ys = jaxrnn.scan(found.network, found.params, xs.swapaxes(0, 1))[1]
            assert_close(ys, jnp.asarray(want), f"{k} {name}", 1e-5)
