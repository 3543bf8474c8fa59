"""Serving: a network goes through a file, one step, `jax.export` and ONNX, and stays itself."""

import json
import pathlib
import re
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

import jaxrnn
from jaxrnn import cells, interop, networks, serving

D = 4
KEY = jax.random.key(0)


def wrapped():
    """What goes around a cell, and networks of several."""
    drop = networks.weight_drop(jaxrnn.lstm, 0.5)
    return [
        networks.zoneout(jaxrnn.lstm, (0.1, 0.05)),
        networks.variational_dropout(drop, inputs=0.2, state=0.1),
        networks.recurrent_dropout(jaxrnn.gru, 0.25),
        networks.residual(jaxrnn.gru),
        networks.highway(jaxrnn.elman, gate_bias=-2.0),
        networks.normalize(jaxrnn.lstm, epsilon=1e-3),
        networks.project_output(jaxrnn.lstm, 3),
        networks.dilated(jaxrnn.gru, 2),
        jaxrnn.learned_carry(jaxrnn.rnn(jaxrnn.lstm, 2)),
        jaxrnn.bidirectional(jaxrnn.lstm, jaxrnn.gru),
        jaxrnn.rnn(jaxrnn.gru, 2, bidirectional=True, merge="sum", dropout=(0.1, 0.2)),
        jaxrnn.rnn(jaxrnn.lstm, 3, skip=True, dilation=(1, 2, 4), around=networks.normalize),
        jaxrnn.stack(jaxrnn.lstm, jaxrnn.stack(jaxrnn.gru, cells.min_gru)),
        jaxrnn.make_lstm(peepholes="diagonal", proj_size=0.5, cell_clip=3.0, forget_bias=2.0),
        jaxrnn.make_gru(reset="before", candidate_activation="relu", use_bias=False),
        cells.make_cfc(backbone=(6, 5), activation="relu"),
        cells.make_clockwork(periods=(1, 2)),
    ]


NETS = [*jaxrnn.CELLS.values(), *wrapped()]
IMAGES = [
    cells.make_conv_lstm((3, 3), space=(4, 4), peepholes=True),
    cells.make_conv_gru((3,), space=(4,)),
]


def inputs(net, time=5, batch=(2,), seed=1):
    return jax.random.normal(jax.random.key(seed), (time, *batch, D))


def equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.fixture(scope="module")
def small():
    """A network, its parameters, and a file of both."""
    net = jaxrnn.rnn(jaxrnn.lstm, 2, dropout=0.1)
    return net, net.init(KEY, D, 3)


@pytest.fixture
def file(small, tmp_path):
    serving.save(tmp_path / "model.npz", *small)
    return tmp_path / "model.npz"


def edited(file, change, drop=()):
    """The file with its JSON changed, and without some of its arrays."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist() if name not in drop}
    content = json.loads(members["jaxrnn.json"])
    change(content)
    members["jaxrnn.json"] = json.dumps(content)
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file


class TestArchitecture:
    @pytest.mark.parametrize("net", [*NETS, *IMAGES], ids=lambda net: net.name)
    def test_is_the_same_network_again(self, net):
        again = serving.from_json(serving.to_json(net))
        assert again == net
        assert again.spec == net.spec
        assert again.name == net.name

    def test_says_every_option(self):
        options = json.loads(serving.to_json(jaxrnn.lstm))["net"]["options"]
        assert list(options) == list(jaxrnn.lstm.spec._fields)

    def test_an_option_that_is_not_said_is_the_default(self):
        text = '{"format": "jaxrnn", "version": 1, "net": {"make": "GRU", "options": {}}}'
        assert serving.from_json(text) == jaxrnn.gru

    @pytest.mark.parametrize(
        ("net", "words"),
        [
            (jaxrnn.gru._replace(name="mine"), "net: .*'mine', which was changed"),
            (
                jaxrnn.make_elman(activation=jnp.sin),
                r"net.activation: .*got 'sin', which a file cannot hold",
            ),
            (
                jaxrnn.stack(jaxrnn.bidirectional(jaxrnn.gru, merge=lambda a, b: a - b)),
                r"net.cells\[0\].merge: .*lambda",
            ),
            (
                jaxrnn.make_elman(recurrent_init=jaxrnn.initializers.constant(0.1)),
                "net.recurrent_init",
            ),
            (interop.haiku.lstm, "net: .*which is none of them"),
        ],
    )
    def test_refuses_what_it_cannot_hold(self, net, words):
        with pytest.raises(ValueError, match=words):
            serving.to_json(net)

    def test_refuses_what_is_no_network(self):
        with pytest.raises(TypeError, match="net: expected a Cell or a Layer"):
            serving.to_json({"cell": "lstm"})

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("lstm", "text: expected JSON"),
            ("[1]", "text: expected the JSON of jaxrnn.serving"),
            ('{"format": "keras"}', "with its format 'jaxrnn'"),
            ('{"format": "jaxrnn", "version": 2}', "expected version 1, got 2"),
            ('{"format": "jaxrnn", "version": 1}', "net: expected a constructor"),
            ("[" * 100_000, "text: expected JSON"),
        ],
    )
    def test_refuses_another_text(self, text, words):
        with pytest.raises(ValueError, match=words):
            serving.from_json(text)

    @pytest.mark.parametrize(
        ("net", "words"),
        [
            ({"make": "Transformer", "options": {}}, "net: expected one of .*GRU.*'Transformer'"),
            ({"make": "GRU", "options": {"heads": 2}}, r"net: expected of GRU .*\['heads'\]"),
            ({"make": "GRU", "options": {"reset": "never"}}, "GRU cannot be made: reset"),
            ({"make": "Zoneout", "options": {}}, "Zoneout cannot be made: .*missing"),
            ({"make": "Stack", "options": {"cells": []}}, "Stack cannot be made: cells"),
            ({"make": "LearnedCarry", "options": {"cell": "gru"}}, "cannot be made: cell"),
            ({"make": ["GRU"], "options": {}}, "net: expected one of"),
            (
                {"make": "Elman", "options": {"recurrent_init": {"function": "eval"}}},
                "net.recurrent_init: expected one of .*'eval'",
            ),
        ],
    )
    def test_refuses_what_it_does_not_know(self, net, words):
        with pytest.raises(ValueError, match=words):
            serving.from_json(json.dumps({"format": "jaxrnn", "version": 1, "net": net}))


class TestFile:
    @pytest.mark.slow
    @pytest.mark.parametrize("net", NETS, ids=lambda net: net.name)
    def test_is_the_same_model_again(self, net, tmp_path):
        params = net.init(KEY, D, D)
        serving.save(tmp_path / "model.npz", net, params)
        saved = serving.load(tmp_path / "model.npz")
        assert saved.net == net
        equal(saved.params, params)
        xs = inputs(net)
        equal(jaxrnn.scan(saved.net, saved.params, xs), jaxrnn.scan(net, params, xs))

    @pytest.mark.slow
    @pytest.mark.parametrize("net", [cells.lru, *wrapped()[1:12:5]], ids=lambda net: net.name)
    def test_holds_parameters_of_every_kind(self, net, tmp_path):
        params = net.init(KEY, D, D)
        serving.save(tmp_path / "model.npz", net, params)
        saved = serving.load(tmp_path / "model.npz")
        assert saved.net == net
        equal(saved.params, params)

    @pytest.mark.slow
    @pytest.mark.parametrize("net", IMAGES[1:], ids=lambda net: net.name)
    def test_convolutions(self, net, tmp_path):
        params = net.init(KEY, D, 3)
        serving.save(tmp_path / "model.npz", net, params)
        equal(serving.load(tmp_path / "model.npz").params, params)

    @pytest.mark.parametrize("dtype", [jnp.bfloat16])
    def test_a_half_type(self, dtype, tmp_path):
        params = jaxrnn.gru.init(KEY, D, 3, dtype=dtype)
        serving.save(tmp_path / "model.npz", jaxrnn.gru, params)
        equal(serving.load(tmp_path / "model.npz").params, params)

    @pytest.mark.usefixtures("x64")
    def test_float64_is_not_narrowed_without_a_word(self, tmp_path):
        params = jaxrnn.gru.init(KEY, D, 3, dtype=jnp.float64)
        serving.save(tmp_path / "model.npz", jaxrnn.gru, params)
        equal(serving.load(tmp_path / "model.npz").params, params)
        with jax.enable_x64(False), pytest.raises(ValueError, match="needs jax_enable_x64"):
            serving.load(tmp_path / "model.npz")

    def test_holds_more(self, small, tmp_path):
        more = {
            "head": {"kernel": np.ones((3, 2), "f"), "bias": None},
            "a/b": (jnp.arange(3), [True, 1, 0.5, "word", {}]),
            "carry": jaxrnn.LSTMCarry(jnp.ones(3), jnp.zeros((0, 2))),
            "scale": np.float64(0.1),
        }
        serving.save(tmp_path / "model.npz", *small, more)
        found = serving.load(tmp_path / "model.npz").more
        assert found["a/b"][1] == more["a/b"][1]
        equal(found["carry"], more["carry"])
        equal(found["head"]["kernel"], jnp.ones((3, 2)))
        assert found["head"]["bias"] is None
        equal(found["scale"], jnp.float32(0.1))

    def test_names_that_meet_are_kept_apart(self, small, tmp_path):
        more = {"a.b": jnp.zeros(2), "a": {"b": jnp.ones(2)}}
        serving.save(tmp_path / "model.npz", *small, more)
        equal(serving.load(tmp_path / "model.npz").more, more)

    def test_others_see_the_arrays(self, file, small):
        name = "params.0.input_kernel"
        np.testing.assert_array_equal(np.load(file)[name], small[1][0].input_kernel)
        np.testing.assert_array_equal(interop.read(file)[name], small[1][0].input_kernel)

    def test_replaces_a_file_only_when_complete(self, file, small):
        with pytest.raises(TypeError, match=r"more.0: expected numbers, strings or arrays"):
            serving.save(file, *small, [object()])
        assert serving.load(file).net == small[0]
        assert [path.name for path in file.parent.iterdir()] == ["model.npz"]

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({1: 2}, "more: expected strings for keys, got 1"),
            (lambda x: x, "more: expected numbers, strings or arrays, got function"),
            ([np.array(["a"])], r"more.0: expected an array of numbers, got <U1"),
            (np.array([None]), "more: expected an array of numbers, got object"),
            (serving.Saved(1, 2), "more: expected records of jaxrnn, dicts or tuples, got Saved"),
            (jax.random.key(0), r"more: expected an array of numbers, got key<fry>"),
        ],
    )
    def test_refuses_other_leaves(self, small, tmp_path, more, words):
        with pytest.raises(TypeError, match=words):
            serving.save(tmp_path / "model.npz", *small, more)

    @pytest.mark.parametrize("more", [float("inf"), [float("nan")]])
    def test_refuses_what_json_has_not(self, small, tmp_path, more):
        with pytest.raises(ValueError, match="expected a finite number"):
            serving.save(tmp_path / "model.npz", *small, more)

    def test_refuses_parameters_of_another_network(self, small, tmp_path):
        net, (first, second) = small
        wide = first._replace(recurrent_kernel=jnp.zeros((5, 20)))
        for params in ((first,), (first, first), (wide, second), first, {"a": 1}, ()):
            with pytest.raises(ValueError, match="params: expected those of 'stack"):
                serving.save(tmp_path / "model.npz", net, params)
        assert not list(tmp_path.iterdir())

    def test_refuses_another_file(self, tmp_path):
        path = tmp_path / "model.npz"
        with pytest.raises(FileNotFoundError):
            serving.load(path)
        path.write_bytes(b"\x80\x04N.")
        with pytest.raises(ValueError, match=r"model.npz: expected a file of jaxrnn.serving.save"):
            serving.load(path)
        np.savez(path, a=np.ones(3))
        with pytest.raises(ValueError, match=r"got one without jaxrnn.json"):
            serving.load(path)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("jaxrnn.json", "{}" + " " * 1000)
        with pytest.raises(ValueError, match="not compressed"):
            serving.load(path)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda content: content.update(version=99), "expected version 1, got 99"),
            (lambda content: content["net"].update(make="Unheard"), "net: expected one of"),
            (
                lambda content: content["net"]["options"].update(depth=2),
                r"net: expected of Stack the options cells, dropout, got \['depth'\]",
            ),
            (
                lambda content: (
                    content["net"]["options"]["cells"].reverse()
                    or content["net"]["options"].update(
                        cells=content["net"]["options"]["cells"][:1]
                    )
                ),
                "Stack cannot be made: dropout",
            ),
            (lambda content: content.update(input_size=9), "params: expected those of 'stack"),
            (lambda content: content.update(input_size=None), "input_size: expected a positive"),
            (lambda content: content["params"]["tuple"].pop(), "params: expected those of"),
            (
                lambda content: content["params"]["tuple"][0].update(record="Popen"),
                "params.0: expected a record of jaxrnn, got 'Popen'",
            ),
            (
                lambda content: content["params"]["tuple"][0]["fields"].pop("input_kernel"),
                "params.0: expected the fields of LSTMParams",
            ),
            (
                lambda content: content["params"]["tuple"][0]["fields"]["bias"].update(array="x"),
                "x: missing",
            ),
            (
                lambda content: content["params"]["tuple"][0]["fields"]["bias"].update(
                    dtype="int32"
                ),
                "params.0.bias: expected int32, got float32",
            ),
            (
                lambda content: content["params"]["tuple"][0]["fields"].update(bias={"eval": "1"}),
                "params.0.bias: expected a tree of arrays",
            ),
        ],
    )
    def test_refuses_a_changed_file(self, file, change, words):
        with pytest.raises(ValueError, match=words):
            serving.load(edited(file, change))

    def test_refuses_a_missing_array(self, file):
        edited(file, lambda content: None, drop=["params.1.bias.npy"])
        with pytest.raises(ValueError, match=r"params.1.bias: missing"):
            serving.load(file)

    def test_refuses_a_broken_file(self, file):
        data = file.read_bytes()
        for at in range(0, len(data), 211):
            file.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
            try:
                serving.load(file)  # a byte that nobody reads may be another
            except ValueError:
                continue

    def test_never_unpickles(self, file):
        array = np.array([print], object)
        with zipfile.ZipFile(file, "a") as archive, archive.open("evil.npy", "w") as member:
            np.lib.format.write_array(member, array)

        def change(content):
            content["more"] = {"array": "evil", "dtype": "float32"}

        with pytest.raises(ValueError, match="evil: expected float32, got object"):
            serving.load(edited(file, change))


def step(net):
    """One step, as it is served."""
    return lambda params, carry, x: net.step(params, carry, x)


class TestStep:
    def test_donated_carry_is_the_same_and_is_gone(self, small):
        net, params = small
        served = jax.jit(step(net), donate_argnums=1)
        xs, carry = inputs(net), net.carry(params, (2,))
        want, ys = jaxrnn.scan(net, params, xs)
        for t, x in enumerate(xs):
            before = carry
            carry, y = served(params, carry, x)
            np.testing.assert_allclose(y, ys[t], atol=1e-6)
        assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), carry, want)
        assert served._cache_size() == 1


class TestExport:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "net",
        [
            pytest.param(
                jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True, dropout=0.1), marks=pytest.mark.slow
            ),
            pytest.param(
                networks.variational_dropout(jaxrnn.gru, state=0.1), marks=pytest.mark.slow
            ),
            cells.min_gru,
        ],
        ids=lambda net: net.name,
    )
    def test_any_batch_and_any_time(self, net):
        params = net.init(KEY, D, 3)
        b, t = export.symbolic_shape("b, t")

        def run(params, xs, lengths):
            options = {} if isinstance(net, jaxrnn.Layer) else {"solver": jaxrnn.sequential()}
            return jaxrnn.scan(net, params, xs, lengths=lengths, **options)

        shapes = jax.ShapeDtypeStruct((t, b, D), "float32"), jax.ShapeDtypeStruct((b,), "int32")
        like = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), params)
        data = export.export(jax.jit(run))(like, *shapes).serialize()
        served = export.deserialize(data)
        for time, batch in ((7, 2), (60, 3)):
            xs, lengths = inputs(net, time, (batch,)), jnp.arange(batch) % (time + 1)
            found, wanted = served.call(params, xs, lengths), run(params, xs, lengths)
            assert jax.tree.structure(found) == jax.tree.structure(wanted)
            jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), found, wanted)

    def test_a_step_with_its_state(self, small):
        net, params = small
        (b,) = export.symbolic_shape("b")
        sized = lambda leaf: jax.ShapeDtypeStruct((b, *leaf.shape), leaf.dtype)  # noqa: E731
        x = jax.ShapeDtypeStruct((b, D), "float32")
        with_params = lambda carry, x: net.step(params, carry, x)  # noqa: E731
        exported = export.export(jax.jit(with_params))(jax.tree.map(sized, net.carry(params)), x)
        served = export.deserialize(exported.serialize())
        xs, carry = inputs(net), net.carry(params, (2,))
        for x in xs:
            carry, y = served.call(carry, x)
        _, ys = jaxrnn.scan(net, params, xs)
        np.testing.assert_allclose(y, ys[-1], atol=1e-6)
        assert type(carry[0]) is jaxrnn.LSTMCarry

    @pytest.mark.slow
    def test_generating(self):
        """For any number of rows."""
        params = jaxrnn.gru.init(KEY, 5, 5)
        (b,) = export.symbolic_shape("b")

        def write(prompt, lengths):
            embed = lambda token: jax.nn.one_hot(token, 5)  # noqa: E731
            options = {"steps": 4, "embed": embed, "lengths": lengths}
            return jaxrnn.generate(jaxrnn.gru, params, prompt, **options).sequence

        shapes = [jax.ShapeDtypeStruct(shape, "int32") for shape in ((2, b), (b,))]
        served = export.export(jax.jit(write))(*shapes)
        prompt, lengths = jnp.array([[1, 2], [3, 0]], "int32"), jnp.array([2, 1], "int32")
        equal(served.call(prompt, lengths), write(prompt, lengths))


@pytest.mark.oracle
class TestONNX:
    def test_steps_with_its_state(self, small):
        runtime = pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        net, params = small
        model = interop.onnx.export(net, params, carry=True)
        session = runtime.InferenceSession(model.SerializeToString())
        fields = [(k, name) for k in range(2) for name in "hc"]
        state = {f"{name}_{k}": np.zeros((1, 2, 3), "f") for k, name in fields}
        xs = inputs(net)
        for x in np.asarray(xs):
            y, *last = session.run(
                ["ys", *(f"{name}_last" for name in state)], {"xs": x[None], **state}
            )
            state = dict(zip(state, last, strict=True))
        carry, ys = jaxrnn.scan(net, params, xs)
        np.testing.assert_allclose(y[0], ys[-1], atol=1e-6)
        for k, name in fields:
            np.testing.assert_allclose(state[f"{name}_{k}"][0], getattr(carry[k], name), atol=1e-6)

    def test_what_the_page_shows(self):
        """The blocks of the page, and the one that only tests run."""
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnx")
        page = pathlib.Path(__file__).parent.parent / "docs" / "how_to" / "serving.md"
        blocks = re.findall(
            r'^```python(?: title="onnxruntime")?\n(.*?)^```', page.read_text("utf-8"), re.M | re.S
        )
        names = {"__name__": "page"}
        for block in blocks:
            exec(compile(block, str(page), "exec"), names)
        _, ys = jaxrnn.scan(names["net"], names["params"], names["stream"])
        np.testing.assert_allclose(names["ys"][0], ys[-1], atol=1e-6)
