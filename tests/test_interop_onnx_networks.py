"""Whole ONNX models: the networks of their nodes, and rows of length 0 in exported ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop.structure import spread
from tests.reference import assert_close, assert_same, random_like
from tests.test_interop_onnx import BACK, session


@pytest.mark.oracle
@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("name", BACK)
def test_the_networks_of_an_exported_model(name, layers, tmp_path):
    """Exactly what was exported; of a cell that ONNX lays out otherwise, exactly its arrays."""
    onnx = pytest.importorskip("onnx")
    cell = BACK[name]
    net = jaxrnn.rnn(cell, layers, bidirectional=layers == 2) if layers else cell
    shape = jax.eval_shape(lambda key: net.init(key, 3, 4), jax.random.key(0))
    params = random_like(shape, 1)
    model = interop.onnx.export(net, params)
    onnx.save(model, tmp_path / "a.onnx")
    for source in (model, model.SerializeToString(), tmp_path / "a.onnx", str(tmp_path / "a.onnx")):
        nodes = interop.onnx.networks(source)
        assert [node.name for node in nodes] == [f"Y_{k}" for k in range(max(layers, 1))]
        assert all(node.carry is None for node in nodes)
        found = jaxrnn.stack(*[node.network for node in nodes]) if layers else nodes[0].network
        back = tuple(node.params for node in nodes) if layers else nodes[0].params
        if name in ("lstm_reference", "write"):
            mine, theirs = interop.onnx.dump(found, back), interop.onnx.dump(net, params)
            assert mine.keys() == theirs.keys()
            assert all((mine[k] == theirs[k]).all() for k in mine)
        else:
            assert found == net
            assert_same(back, params, "params")


def behind(how, name, array):
    """Arrays and a node that makes `array` out of them, by name."""
    half = array.shape[1] // 2
    stored, options = {
        "Constant": ({}, {}),
        "Identity": ({"_": array}, {}),
        "Unsqueeze": ({"_": array[0], "axes": np.array([0])}, {}),
        "Transpose": ({"_": array.T}, {"perm": range(array.ndim)[::-1]}),
        "Concat": ({"_": array[:, :half], "__": array[:, half:]}, {"axis": 1}),
        "Slice": ({"_": np.stack([array + 1, array])[:, 0], "from": np.array([1]),
                   "to": np.array([2])}, {}),
        "Cast": ({"_": array.astype("float64")}, {"to": 1}),
        "Reshape": ({"_": array.reshape(-1), "shape": np.array(array.shape)}, {}),
        "Split": ({"_": np.concatenate([array + 1, array])}, {"axis": 0}),
    }[how]  # fmt: skip
    helper, from_array = pytest.importorskip("onnx").helper, onnx_array
    if how == "Constant":
        options = {"value": from_array(array)}
    outputs = ["", name] if how == "Split" else [name]
    node = helper.make_node(how, [name + one for one in stored], outputs, **options)
    return [from_array(a, name + one) for one, a in stored.items()], node


def onnx_array(array, name=None):
    return pytest.importorskip("onnx").numpy_helper.from_array(np.ascontiguousarray(array), name)


def hidden(model, how):
    """The model with the weights of its nodes renamed, and made by other nodes."""
    onnx = pytest.importorskip("onnx")
    graph, tensors, nodes = model.graph, [], []
    for k, tensor in enumerate(graph.initializer):
        name, array = f"onnx::w_{378 + k}", onnx.numpy_helper.to_array(tensor)
        stored, made = behind(how, name, array) if how else ([onnx_array(array, name)], None)
        tensors += stored
        nodes += [made] if made else []
        for node in graph.node:
            node.input[:] = [name if one == tensor.name else one for one in node.input]
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(tensors)
    graph.node.extend(nodes)
    return model


HIDING = (
    "", "Constant", "Identity", "Unsqueeze", "Transpose", "Concat", "Slice", "Cast", "Reshape",
    "Split",
)  # fmt: skip


@pytest.mark.oracle
@pytest.mark.parametrize("how", HIDING)
def test_networks_find_weights_behind_constants(how, tmp_path):
    onnx = pytest.importorskip("onnx")
    net = jaxrnn.stack(jaxrnn.gru, jaxrnn.make_lstm(use_bias=False))
    params = random_like(net.init(jax.random.key(0), 3, 4), 1)
    model = hidden(interop.onnx.export(net, params), how)
    nodes = interop.onnx.networks(model)
    assert jaxrnn.stack(*[node.network for node in nodes]) == net
    assert_same(tuple(node.params for node in nodes), params, "params")
    onnx.save(model, tmp_path / "a.onnx")
    arrays = interop.read(tmp_path / "a.onnx")
    weights = interop.onnx.dump(net, params)
    assert all(any(np.array_equal(a, w) for a in arrays.values()) for w in weights.values())


@pytest.mark.oracle
def test_networks_of_external_data_and_of_a_dtype(tmp_path):
    onnx = pytest.importorskip("onnx")
    params = random_like(jaxrnn.gru.init(jax.random.key(0), 3, 4), 1)
    model = interop.onnx.export(jaxrnn.gru, params)
    where = {"save_as_external_data": True, "location": "a.data", "size_threshold": 0}
    onnx.save(model, tmp_path / "a.onnx", **where)
    (node,) = interop.onnx.networks(tmp_path / "a.onnx")
    assert_same(node.params, params, "params")
    half = interop.onnx.networks(tmp_path / "a.onnx", dtype="float16")[0].params
    assert half.input_kernel.dtype == jnp.float16
    apart = onnx.load(tmp_path / "a.onnx", load_external_data=False)
    with pytest.raises(ValueError, match="in another file; give the path of the model"):
        interop.onnx.networks(apart)


@pytest.mark.oracle
def test_networks_of_the_nodes_of_torch():
    """A model as torch wrote it: bytes for strings, weights in three dimensions by Unsqueeze."""
    onnx = pytest.importorskip("onnx")
    torch = pytest.importorskip("torch")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    module = torch.nn.GRU(3, 4)
    state = {name: w.detach().numpy() for name, w in module.state_dict().items()}
    order = np.r_[4:8, 0:4, 8:12]  # ONNX's z, r, n of torch's r, z, n
    w, r = state["weight_ih_l0"][order], state["weight_hh_l0"][order]
    biases = state["bias_ih_l0"][order], state["bias_hh_l0"][order]
    unsqueeze = lambda one: helper.make_node("Unsqueeze", [one], [one + "3"], axes=[0])  # noqa: E731
    h = np.full((1, 2, 4), 0.5, "f")
    nodes = [
        *map(unsqueeze, ("w", "r", "b")),
        helper.make_node("GRU", ["x", "w3", "r3", "b3", "", "h"], ["y"], "/rnn/GRU", hidden_size=4,
                         linear_before_reset=1, direction="reverse"),
    ]  # fmt: skip
    constants = {"w": w, "r": r, "b": np.concatenate(biases), "h": h}
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [5, 2, 3])
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    graph = helper.make_graph(
        nodes, "main", [value], [output], [from_array(a, n) for n, a in constants.items()]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    (node,) = interop.onnx.networks(model.SerializeToString())
    assert (node.name, node.network) == ("/rnn/GRU", jaxrnn.gru)
    assert node.attributes == {
        "hidden_size": 4, "linear_before_reset": 1, "direction": "reverse",
    }  # fmt: skip
    assert_same(node.carry, jnp.asarray(h[0]), "carry")
    x = torch.randn(5, 2, 3)
    want, _ = module(torch.flip(x, [0]), torch.tensor(h))
    ys = jaxrnn.scan(node.network, node.params, jnp.asarray(x), node.carry, reverse=True)[1]
    assert_close(ys, jnp.asarray(torch.flip(want, [0]).detach().numpy()), "ys", 1e-5)


@pytest.mark.oracle
def test_networks_in_a_branch_and_in_a_function():
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    params = random_like(jaxrnn.gru.init(jax.random.key(0), 3, 4), 1)
    model = interop.onnx.export(jaxrnn.gru, params)
    (gru,) = (node for node in model.graph.node if node.op_type == "GRU")
    gru.output[:] = ["Y_0"]
    info = helper.make_tensor_value_info("Y_0", onnx.TensorProto.FLOAT, None)
    branch = helper.make_graph([gru], "branch", [], [info])
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    value = helper.make_tensor_value_info("yes", onnx.TensorProto.BOOL, [])
    inputs, weights = [value, model.graph.input[0]], model.graph.initializer
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    outer = helper.make_graph([node], "main", inputs, [output], weights)
    function = helper.make_function(
        "mine", "Layer", ["xs", "W", "R", "B"], ["Y_0"], [gru], model.opset_import
    )
    call = helper.make_node("Layer", ["xs", "W", "R", "B"], ["y"], domain="mine")
    plain = helper.make_graph([call], "main", inputs[1:], [output], weights)
    opsets = [*model.opset_import, helper.make_opsetid("mine", 1)]
    called = helper.make_model(plain, opset_imports=opsets, functions=[function])
    branched = helper.make_model(outer, opset_imports=model.opset_import)
    for made, count in ((branched, 2), (called, 1)):
        nodes = interop.onnx.networks(made)
        assert len(nodes) == count
        assert_same(nodes[0].params, params, "params")


@pytest.mark.oracle
def test_models_without_networks_are_refused():
    onnx = pytest.importorskip("onnx")
    params = random_like(jaxrnn.gru.init(jax.random.key(0), 3, 4), 1)
    model = interop.onnx.export(jaxrnn.gru, params)
    with pytest.raises(TypeError, match="model: expected a path, bytes or a ModelProto, got dict"):
        interop.onnx.networks({})
    with pytest.raises(ValueError, match="model: expected the bytes of a ModelProto"):
        interop.onnx.networks(b"no model")
    (gru,) = (node for node in model.graph.node if node.op_type == "GRU")
    gru.attribute.append(onnx.helper.make_attribute("colour", 3))
    with pytest.raises(ValueError, match=r"Y_0: attributes: expected some of .*got \['colour'\]"):
        interop.onnx.networks(model)
    del gru.attribute[-1]
    gru.input[1] = "xs"
    with pytest.raises(ValueError, match=r"Y_0: W: expected initializers.*'xs' is an input"):
        interop.onnx.networks(model)
    gru.input[1] = "ys"
    with pytest.raises(ValueError, match=r"'Y_0' is computed by GRU"):
        interop.onnx.networks(model)
    loop = onnx.helper.make_node("Identity", ["again"], ["again"])
    model.graph.node.insert(0, loop)
    gru.input[1] = "again"
    with pytest.raises(ValueError, match="'again' depends on itself"):
        interop.onnx.networks(model)
    gru.op_type = "Relu"
    with pytest.raises(ValueError, match="model: expected nodes RNN, GRU, LSTM, got"):
        interop.onnx.networks(model)


@pytest.mark.oracle
def test_constants_that_grow_are_refused(tmp_path):
    """Each Concat doubles: a file of few bytes, and more than any machine holds."""
    onnx = pytest.importorskip("onnx")
    params = random_like(jaxrnn.gru.init(jax.random.key(0), 3, 4), 1)
    model = interop.onnx.export(jaxrnn.gru, params)
    (gru,) = (node for node in model.graph.node if node.op_type == "GRU")
    for k in range(60):
        names = [f"w{k - 1}" if k else "W"] * 2
        model.graph.node.insert(k, onnx.helper.make_node("Concat", names, [f"w{k}"], axis=0))
    gru.input[1] = "w59"
    with pytest.raises(ValueError, match="constants would take more than max_bytes"):
        interop.onnx.networks(model, max_bytes=100_000)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(ValueError, match="constants would take more than max_bytes"):
        interop.read(tmp_path / "a.onnx", max_bytes=100_000)


def test_attributes_may_be_the_bytes_of_the_onnx_library():
    given = {"activations": [b"Sigmoid", b"Relu"] * 2, "direction": b"bidirectional"}
    plain = {"activations": ["Sigmoid", "Relu"] * 2, "direction": "bidirectional"}
    assert interop.onnx.network("GRU", given) == interop.onnx.network("GRU", plain)
    x, w, r = np.ones((4, 2, 3), "f"), np.ones((1, 15, 3), "f"), np.ones((1, 15, 5), "f")
    mine, other = (
        interop.onnx.run("GRU", [x, w, r], {"direction": d}) for d in (b"reverse", "reverse")
    )
    assert_close(mine, other, "", 0.0)


@pytest.mark.oracle
@pytest.mark.parametrize("cell", [jaxrnn.lstm, jaxrnn.gru], ids=["lstm", "gru"])
@pytest.mark.parametrize("rows", [[0, 4, 2], [0, 0, 0]])
def test_an_exported_model_keeps_the_state_of_a_row_of_length_0(cell, rows):
    net = jaxrnn.rnn(cell, 2, bidirectional=True)
    params = random_like(net.init(jax.random.key(0), 3, 4), 1)
    xs, lengths = random_like(jnp.ones((4, 3, 3)), 2), jnp.array(rows, jnp.int32)
    carry = random_like(net.carry(params, (3,)), 3)
    feed = {"xs": np.asarray(xs), "lengths": np.asarray(lengths)}
    letters = "hc" if cell is jaxrnn.lstm else "h"
    parts = lambda row: [np.stack(p) for p in zip(*map(jax.tree.leaves, row), strict=True)]  # noqa: E731
    for k, row in enumerate(spread(net, carry)):
        feed |= {f"{letter}_{k}": p for letter, p in zip(letters, parts(row), strict=True)}
    made = session(interop.onnx.export(net, params, lengths=True, carry=True))
    got = dict(zip([o.name for o in made.get_outputs()], made.run(None, feed), strict=True))
    last, ys = jaxrnn.scan(net, params, xs, carry, lengths=lengths)
    assert_close(got["ys"], ys, "ys", 1e-5)
    for k, row in enumerate(spread(net, last)):
        for letter, want in zip(letters, parts(row), strict=True):
            assert_close(got[f"{letter}_{k}_last"], want, f"{letter}_{k}", 1e-5)
            assert (want[:, 0] == feed[f"{letter}_{k}"][:, 0]).all()
