"""ONNX nodes against the onnx library's own cases and onnxruntime; exported models run by it."""

import pickle
import warnings
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop.onnx_activations import FUNCTIONS
from jaxrnn.interop.structure import spread, units
from tests.interop_table import ROWS
from tests.reference import assert_close, assert_same, random_like

OP_TYPES = {"RNN": (1, 1), "GRU": (3, 2), "LSTM": (4, 3)}  # gates, activations
NAMES = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")


@cache
def cases():
    pytest.importorskip("onnx")
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():  # the library makes the cases of every operator
        warnings.simplefilter("ignore")
        found = {}
        for case in collect_testcases(None):
            nodes = case.model.graph.node if case.model else ()
            if len(nodes) == 1 and nodes[0].op_type in OP_TYPES:
                found[case.name] = nodes[0], case.data_sets
    return found


@pytest.mark.oracle
def test_all_cases_of_the_onnx_library():
    assert len(cases()) == 18
    for name, (node, data_sets) in cases().items():
        for inputs, outputs in data_sets:
            got = interop.onnx.run_node(node, [np.asarray(x) for x in inputs])
            assert_close([np.asarray(y) for y in got], [np.asarray(y) for y in outputs], name, 1e-6)


def random_node(seed):
    """A node with random attributes and inputs."""
    rng = np.random.default_rng(seed)
    op_type = list(OP_TYPES)[seed % 3]
    gates, each = OP_TYPES[op_type]
    time, batch, d, h = (int(rng.integers(1, n)) for n in (6, 4, 5, 5))
    direction = ["forward", "reverse", "bidirectional"][rng.integers(3)]
    count = 1 + (direction == "bidirectional")
    attributes = {"direction": direction, "hidden_size": h}
    if rng.random() < 0.3:
        attributes["clip"] = float(rng.uniform(0.2, 1.5))
    if op_type == "GRU":
        attributes["linear_before_reset"] = int(rng.integers(2))
    if op_type == "LSTM":
        attributes["input_forget"] = int(rng.integers(2))
    if rng.random() < 0.5:
        chosen = [list(FUNCTIONS)[rng.integers(len(FUNCTIONS))] for _ in range(count * each)]
        attributes["activations"] = chosen
        for place, key in enumerate(("activation_alpha", "activation_beta")):
            takers = [name for name in chosen if len(FUNCTIONS[name][1]) > place]
            if takers:
                attributes[key] = [float(rng.uniform(0.3, 0.9)) for _ in takers]

    def draw(likely, *shape, scale=0.4):
        return (scale * rng.normal(size=shape)).astype("f") if rng.random() < likely else None

    inputs = [
        draw(1, time, batch, d, scale=1),
        draw(1, count, gates * h, d),
        draw(1, count, gates * h, h),
        draw(0.8, count, 2 * gates * h, scale=1),
        rng.integers(1, time + 1, size=batch).astype("int32") if rng.random() < 0.6 else None,
        draw(0.6, count, batch, h, scale=1),
    ]
    if op_type == "LSTM":
        inputs += [draw(0.6, count, batch, h, scale=1), draw(0.5, count, 3 * h, scale=1)]
    return op_type, inputs, attributes


def session(model):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return runtime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run_by_onnxruntime(op_type, inputs, attributes):
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    feed = {name: x for name, x in zip(NAMES, inputs, strict=False) if x is not None}
    names = [name if name in feed else "" for name in NAMES[: len(inputs)]]
    outputs = ["Y", "Y_h", "Y_c"][: 2 + (op_type == "LSTM")]
    node = helper.make_node(op_type, names, outputs, **attributes)
    kinds = {name: helper.np_dtype_to_tensor_dtype(x.dtype) for name, x in feed.items()}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "one",
        [value(name, kinds[name], x.shape) for name, x in feed.items()],
        [value(name, onnx.TensorProto.FLOAT, None) for name in outputs],
    )
    opsets = [helper.make_opsetid("", 14)]
    return session(helper.make_model(graph, opset_imports=opsets, ir_version=8)).run(None, feed)


@pytest.mark.oracle
@pytest.mark.parametrize("start", range(0, 120, 24))
def test_random_nodes_against_onnxruntime(start):
    for seed in range(start, start + 24):
        op_type, inputs, attributes = random_node(seed)
        want = run_by_onnxruntime(op_type, inputs, attributes)
        if max(np.abs(y).max() for y in want) > 1e4:
            continue  # unbounded activations can explode
        got = [np.asarray(y) for y in interop.onnx.run(op_type, inputs, attributes)]
        assert_close(got, list(want), f"seed {seed}, {op_type} {attributes}: ", 1e-5)


@pytest.mark.oracle
def test_few_random_nodes_explode():
    """So that the test above cannot pass by leaving everything out."""
    wild = 0
    for seed in range(24):
        op_type, inputs, attributes = random_node(seed)
        outputs = interop.onnx.run(op_type, inputs, attributes)
        wild += max(float(jnp.abs(y).max()) for y in outputs) > 1e4
    assert wild <= 2


FURTHER = {
    "relu": jaxrnn.make_elman(activation="relu"),
    "identity": jaxrnn.make_elman(activation="identity"),
    "lstm_reference": jaxrnn.cells.lstm_reference,
    "coupled peepholes": jaxrnn.make_lstm(peepholes="diagonal", forget_gate="coupled"),
    "activations": jaxrnn.make_lstm(candidate_activation="identity", output_activation="relu"),
    "write": jaxrnn.make_gru(update="write"),
}
EXPORTS = [
    pytest.param(row.cell, layers, directions == 2, id=f"{row.module}-{layers}x{directions}")
    for row in ROWS
    if row.library == "onnx"
    for layers in (0, row.layers[-1])
    for directions in row.directions
]
EXPORTS += [pytest.param(cell, 2, True, id=f"{name}-2x2") for name, cell in FURTHER.items()]


@pytest.mark.oracle
@pytest.mark.parametrize(("cell", "layers", "both"), EXPORTS)
def test_export(cell, layers, both):
    pytest.importorskip("onnx")
    alone = jaxrnn.bidirectional(cell) if both else cell
    net = jaxrnn.rnn(cell, layers, bidirectional=both) if layers else alone
    shape = jax.eval_shape(lambda key: net.init(key, 3, 4), jax.random.key(0))
    params = random_like(shape, layers, 0.5)
    xs = random_like(jnp.ones((6, 3, 3)), 2)
    lengths = jnp.array([6, 1, 4], jnp.int32)
    carry = random_like(net.carry(params, (3,)), 3)
    rows = [[jax.tree.leaves(one) for one in row] for row in spread(net, carry)]
    feed = {"xs": np.asarray(xs), "lengths": np.asarray(lengths)}
    for k, row in enumerate(rows):
        for letter, parts in zip("hc", zip(*row, strict=True), strict=False):
            feed[f"{letter}_{k}"] = np.stack(parts)
    made = session(interop.onnx.export(net, params, lengths=True, carry=True))
    got = dict(zip([o.name for o in made.get_outputs()], made.run(None, feed), strict=True))
    last, ys = jaxrnn.scan(net, params, xs, carry, lengths=lengths)
    assert_close(got.pop("ys"), ys, "ys", 1e-5)
    for k, row in enumerate(spread(net, last)):
        for letter, parts in zip("hc", zip(*map(jax.tree.leaves, row), strict=True), strict=False):
            assert_close(got.pop(f"{letter}_{k}_last"), jnp.stack(parts), f"{letter}_{k}", 1e-5)
    assert not got
    assert len(rows) == len(units(net))
    plain = session(interop.onnx.export(net, params))
    assert [one.name for one in plain.get_inputs()] == ["xs"]
    assert_close(
        plain.run(["ys"], {"xs": feed["xs"]})[0], jaxrnn.scan(net, params, xs)[1], "", 1e-5
    )


@pytest.mark.parametrize(
    ("op_type", "attributes", "message"),
    [
        ("CNN", {}, "op_type: expected one of"),
        ("GRU", {"colour": 3}, "got \\['colour'\\]"),
        ("GRU", {"direction": "up"}, "direction: expected one of"),
        ("GRU", {"activations": ["Tanh"]}, "activations: expected 2 for GRU"),
        ("RNN", {"activations": ["Gelu"]}, "got 'Gelu'"),
        ("GRU", {"clip": -1.0}, "clip: expected a positive number"),
    ],
)
def test_wrong_attributes(op_type, attributes, message):
    with pytest.raises(ValueError, match=message):
        interop.onnx.network(op_type, attributes)


def test_wrong_inputs_of_a_node():
    x, w, r = np.ones((4, 2, 3), "f"), np.ones((1, 15, 3), "f"), np.ones((1, 15, 5), "f")
    with pytest.raises(ValueError, match="expected hidden_size 5"):
        interop.onnx.run("GRU", [x, w, r], {"hidden_size": 4})
    with pytest.raises(ValueError, match="initial_h: expected shape"):
        interop.onnx.run("GRU", [x, w, r, None, None, np.ones((2, 2, 5), "f")])
    with pytest.raises(ValueError, match=r"R\.1: unexpected"):
        interop.onnx.run("GRU", [x, w, np.concatenate([r, r])])
    with pytest.raises(ValueError, match="expected at most 6 of GRU, got 7"):
        interop.onnx.run("GRU", [x, w, r, None, None, None, np.ones((1, 2, 5), "f")])
    with pytest.raises(ValueError, match="expected X, W and R, missing R"):
        interop.onnx.run("GRU", [x, w])
    with pytest.raises(ValueError, match=r"inputs: expected one dtype, got .*float16"):
        interop.onnx.run("GRU", [x, w, r, None, None, np.ones((1, 2, 5), "float16")])


def test_an_input_left_out_is_none_or_an_empty_name():
    x, w, r = np.ones((4, 2, 3), "f"), np.ones((1, 15, 3), "f"), np.ones((1, 15, 5), "f")
    one, other = (interop.onnx.run("GRU", [x, w, r, no, no, no]) for no in (None, ""))
    assert_close(one, other, "", 0.0)


def test_a_node_is_run_inside_jit():
    x, w, r = np.ones((4, 2, 3), "f"), np.ones((1, 15, 3), "f"), np.ones((1, 15, 5), "f")
    run = lambda x, h: interop.onnx.run("GRU", [x, w, r, None, None, h])  # noqa: E731
    h = np.ones((1, 2, 5), "f")
    assert_close(jax.jit(run)(x, h), run(x, h), "", 1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_node_of_a_half_type_has_outputs_of_it(dtype):
    draw = np.random.default_rng(0).normal
    shapes = (4, 2, 3), (1, 20, 3), (1, 20, 5), (1, 2, 5), (1, 2, 5)
    x, w, r, h, c = (jnp.asarray(draw(size=shape), dtype) for shape in shapes)
    outputs = interop.onnx.run("LSTM", [x, w, r, None, None, h, c])
    assert [str(y.dtype) for y in outputs] == [dtype] * 3
    wide = [None if a is None else a.astype("float32") for a in (x, w, r, None, None, h, c)]
    for got, want in zip(outputs, interop.onnx.run("LSTM", wide), strict=True):
        np.testing.assert_allclose(got.astype("float32"), want, atol=0.05, rtol=0.02)


def test_activations_are_equal_and_pickled():
    attributes = {"activations": ["LeakyRelu", "Tanh"], "activation_alpha": [0.5], "clip": 2.0}
    one, other = (interop.onnx.network("GRU", attributes) for _ in range(2))
    assert one == other == pickle.loads(pickle.dumps(one)) != jaxrnn.cells.gru_reset_before
    plain = {"activations": ["sigmoid", "Tanh"], "linear_before_reset": 1}
    assert interop.onnx.network("GRU", plain) == jaxrnn.gru


def test_layout_is_a_transposition():
    op_type, inputs, attributes = "LSTM", *random_node(2)[1:]
    attributes = {k: v for k, v in attributes.items() if k == "direction"}
    y, h, c = interop.onnx.run(op_type, inputs, attributes)
    turned = [None if x is None else np.swapaxes(x, 0, 1) if k in (0, 5, 6) else x
              for k, x in enumerate(inputs)]  # fmt: skip
    other = interop.onnx.run(op_type, turned, {**attributes, "layout": 1})
    assert_close(list(other), [jnp.moveaxis(y, 2, 0), *(jnp.swapaxes(s, 0, 1) for s in (h, c))], "")


@pytest.mark.oracle
def test_the_inputs_of_a_node_are_those_that_it_names():
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("GRU", ["x", "w", "r", "", "", "h"], ["y"], hidden_size=5)
    x, w, r = np.ones((4, 2, 3), "f"), np.ones((1, 15, 3), "f"), np.ones((1, 15, 5), "f")
    h = np.ones((1, 2, 5), "f")
    want = interop.onnx.run_node(node, [x, w, r, h])
    assert_close(interop.onnx.run_node(node, [x, w, r, "", None, h]), want, "", 0.0)
    for wrong in ([x, w, r], [x, w, r, h, h]):
        with pytest.raises(ValueError, match="inputs: expected 4, x, w, r, h, got"):
            interop.onnx.run_node(node, wrong)


@pytest.mark.oracle
def test_what_cannot_be_exported_is_refused():
    pytest.importorskip("onnx")
    mine = jaxrnn.make_elman(activation=jnp.sin)
    shape = jax.eval_shape(lambda key: mine.init(key, 3, 4), jax.random.key(0))
    with pytest.raises(ValueError, match="expected activations"):
        interop.onnx.export(mine, random_like(shape, 0))
    half = random_like(jaxrnn.gru.init(jax.random.key(0), 3, 4, dtype=jnp.float16), 0)
    with pytest.raises(ValueError, match="expected float32 or float64, got float16"):
        interop.onnx.export(jaxrnn.gru, half)
    mixed = jaxrnn.bidirectional(jaxrnn.gru, jaxrnn.cells.gru_reset_before)
    params = mixed.init(jax.random.key(0), 3, 4)
    with pytest.raises(ValueError, match="net: expected the same cell in all directions"):
        interop.onnx.export(mixed, params)
    clipped = interop.onnx.network("RNN", {"clip": 1.0})
    both = jaxrnn.bidirectional(clipped, jaxrnn.elman)
    with pytest.raises(ValueError, match="expected one clip for all activations"):
        interop.onnx.export(both, both.init(jax.random.key(0), 3, 4))


@pytest.mark.parametrize(
    "net",
    [
        jaxrnn.bidirectional(jaxrnn.lstm, jaxrnn.gru),
        jaxrnn.bidirectional(jaxrnn.lstm, jaxrnn.make_lstm(peepholes="diagonal")),
    ],
)
def test_both_directions_of_a_node_are_alike(net):
    with pytest.raises(ValueError, match="net: expected the same cell in all directions"):
        interop.onnx.dump(net, net.init(jax.random.key(0), 3, 4))


BACK = {
    **FURTHER,
    "gru": jaxrnn.gru,
    "no bias": jaxrnn.make_lstm(use_bias=False),
    "hard": jaxrnn.make_gru(reset="before", gate_activation="hard_sigmoid"),
    "clip": interop.onnx.network(
        "LSTM", {"clip": 0.5, "activations": ["LeakyRelu", "Elu", "ScaledTanh"],
                 "activation_alpha": [0.25, 0.5, 0.75], "activation_beta": [1.5]},
    ),
}  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("name", [name for name in BACK if name not in ("lstm_reference", "write")])
def test_an_exported_file_is_read_inferred_and_loaded(name, layers, tmp_path):
    onnx = pytest.importorskip("onnx")
    cell = BACK[name]
    net = jaxrnn.rnn(cell, layers, bidirectional=True) if layers else cell
    shape = jax.eval_shape(lambda key: net.init(key, 3, 4), jax.random.key(0))
    params = random_like(shape, 1)
    onnx.save(interop.onnx.export(net, params), tmp_path / "a.onnx")
    arrays = interop.read(tmp_path / "a.onnx")
    found = interop.onnx.infer(arrays)
    assert [u.cell for row in units(found) for u in row] == [
        u.cell for row in units(net) for u in row
    ]
    assert_same(interop.onnx.load(net, arrays), params, "params")
