"""The pages for those who come from another library: their programs run, and compute the same.

The build runs the plain blocks of these pages alone; those with a title need the other library.
Here all blocks of a page are one program, in the page's order.
"""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from tests.interop_table import markdown

DOCS = Path(__file__).parents[1] / "docs"
FENCE = re.compile(r"^```python(?: title=\"[^\"\n]*\")?\n(.*?)^```$", re.M | re.S)
PAGES = {
    "coming_from/torch": (["torch"], ["", "_state", "_on"]),
    "coming_from/keras": (["keras"], ["", "_state", "_on"]),
    "coming_from/flax": (["flax"], ["", "_state", "_module", "_linen", "_on"]),
    "coming_from/haiku": (["haiku"], ["", "_state", "_on"]),
    "coming_from/equinox": (["equinox"], ["", "_state", "_back", "_on"]),
    "how_to/weights": (
        ["torch", "keras", "h5py", "onnx", "onnxruntime", "safetensors"],
        ["_torch", "_file", "_keras", "_onnx", "_back"],
    ),
}
"""What a page needs, and what it leaves behind: `theirs` and `ours`, `their_state`, …"""

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn.t accept a copy keyword:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def keras_on_jax(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")


def text_of(page):
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def named(namespace, whose, what):
    """`theirs`, `theirs_on`, `their_state`."""
    found = [name for name in (f"{whose}{what}", f"{whose}s{what}") if name in namespace]
    return namespace[found[-1]]


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.oracle
@pytest.mark.parametrize("page", PAGES)
def test_both_programs_compute_the_same(page, tmp_path, monkeypatch):
    needs, compared = PAGES[page]
    for name in needs:
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)  # where a page may write files
    namespace = {"__name__": "page"}
    for code in FENCE.findall(text_of(page)):
        exec(compile(code, page, "exec"), namespace)
    for what in compared:
        theirs, ours = (leaves(named(namespace, whose, what)) for whose in ("their", "our"))
        assert [leaf.shape for leaf in ours] == [leaf.shape for leaf in theirs], what
        assert any(leaf.any() for leaf in theirs), what
        worst = max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True))
        print(f"{page}: largest difference of ours{what}: {worst:.1e}")
        assert worst <= 1e-5, what


def arguments(*functions):
    names = [name for one in functions for name in inspect.signature(one).parameters]
    return set(names) - {"self", "args", "kwargs", "sequences", "packed_sequences"}


def torch_arguments():
    torch = pytest.importorskip("torch")
    rnn, utils = torch.nn, torch.nn.utils.rnn
    cells = rnn.RNNCell, rnn.LSTMCell, rnn.GRUCell
    functions = (
        utils.pack_padded_sequence,
        utils.pad_packed_sequence,
        utils.pad_sequence,
        utils.pack_sequence,
    )
    own = arguments(rnn.modules.rnn.RNNBase, *cells, *functions, rnn.LSTM.forward)
    return own - {"sequence"} | {function.__name__ for function in functions} | {"nonlinearity"}


def keras_arguments():
    layers = pytest.importorskip("keras").layers
    made = layers.SimpleRNN, layers.LSTM, layers.GRU, layers.Bidirectional, layers.RNN
    cells = layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell
    own = arguments(*made, *cells, layers.LSTM.call, layers.Bidirectional.call)
    return own - {"cell", "layer"}


def flax_arguments():
    linen, nnx = pytest.importorskip("flax.linen"), pytest.importorskip("flax.nnx")
    names = "SimpleCell", "LSTMCell", "OptimizedLSTMCell", "GRUCell", "RNN", "Bidirectional"
    made = [getattr(library, name) for library in (linen, nnx) for name in names]
    calls = [getattr(library, name).__call__ for library in (linen, nnx) for name in names[-2:]]
    return arguments(*made, *calls, linen.MGUCell)


def haiku_arguments():
    haiku = pytest.importorskip("haiku")
    made = haiku.VanillaRNN, haiku.LSTM, haiku.GRU, haiku.Conv2DLSTM
    return arguments(*made, haiku.dynamic_unroll, haiku.static_unroll) - {"core"} | {
        "ResetCore",
        "DeepRNN",
        "deep_rnn_with_skip_connections",
        "IdentityCore",
    }


def equinox_arguments():
    nn = pytest.importorskip("equinox").nn
    return arguments(nn.LSTMCell, nn.LSTMCell.__call__, nn.GRUCell, nn.GRUCell.__call__)


@pytest.mark.oracle
@pytest.mark.parametrize(
    "get", [torch_arguments, keras_arguments, flax_arguments, haiku_arguments, equinox_arguments]
)
def test_the_tables_have_every_argument(get):
    wanted = get()
    library = get.__name__.removesuffix("_arguments")
    rows = [line for line in text_of(f"coming_from/{library}").splitlines() if line[:1] == "|"]
    cells = " ".join(re.findall(r"`([^`]*)`", " ".join(rows)))
    assert sorted(name for name in wanted if not re.search(rf"\b{name}\b", cells)) == []


@pytest.mark.parametrize("page", PAGES)
def test_the_functions_that_a_page_names_are_there(page):
    for name in set(re.findall(r"`jaxrnn\.([\w.]+)`|\]\[jaxrnn\.([\w.]+)\]", text_of(page))):
        value = jaxrnn
        for part in "".join(name).split("."):
            value = getattr(value, part)


def test_the_page_has_the_table():
    assert markdown() in text_of("how_to/weights")


class TestDefaults:
    """What the pages say of other libraries' defaults."""

    pytestmark = pytest.mark.oracle

    def test_torch(self):
        torch = pytest.importorskip("torch")
        bound = 1 / np.sqrt(16)
        for weight in torch.nn.LSTM(3, 16).parameters():
            assert 0.8 * bound < float(weight.detach().abs().max()) <= bound
        with pytest.raises(RuntimeError, match="greater than 0"):
            torch.nn.utils.rnn.pack_padded_sequence(
                torch.zeros(4, 2, 3), torch.tensor([4, 0]), enforce_sorted=False
            )
        with pytest.warns(UserWarning, match="num_layers greater than 1"):
            torch.nn.LSTM(3, 4, dropout=0.5)
        with pytest.raises(ValueError, match="dropout"):
            jaxrnn.rnn(jaxrnn.lstm, dropout=0.5)
        assert torch.nn.LSTM(3, 4).training

    def test_keras(self):
        layers = pytest.importorskip("keras").layers
        xs = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("f")
        mask = np.array([[False, True, False, True, False], [False] * 5])
        layer = layers.LSTM(4, return_sequences=True, return_state=True)
        ys, h, _ = map(np.asarray, layer(xs, mask=mask))
        assert not ys[0, 0].any()
        assert (ys[0, 1] == ys[0, 2]).all()
        assert (ys[0, 3] == ys[0, 4]).all()
        assert not h[1].any()  # nothing of this row was valid
        both = layers.Bidirectional(layers.LSTM(4, return_sequences=True))
        assert not np.asarray(both(xs, mask=mask))[0, [0, 2, 4]].any()
        weights = [np.asarray(v) for v in layer.cell.trainable_variables]
        np.testing.assert_array_equal(weights[2], np.repeat([0, 1, 0], [4, 4, 8]))
        np.testing.assert_allclose(weights[1] @ weights[1].T, np.eye(4), atol=1e-5)
        ours = jaxrnn.lstm_init(jax.random.key(0), 3, 4).recurrent_kernel
        np.testing.assert_allclose(ours[:, :4].T @ ours[:, :4], np.eye(4), atol=1e-5)
        masks = [layers.GRUCell(4, dropout=0.5, recurrent_dropout=p) for p in (0.0, 0.5)]
        assert [getattr(cell, "dropout_mask_count", 1) for cell in masks] == [1, 3]
        backward = layers.LSTM(4, return_sequences=True, go_backwards=True)
        ys = np.asarray(backward(xs))
        arrays = {v.path: np.asarray(v) for v in backward.variables}
        params = jaxrnn.interop.keras.load(jaxrnn.lstm, arrays)
        ours = jaxrnn.scan(jaxrnn.lstm, params, xs.swapaxes(0, 1), reverse=True)[1]
        np.testing.assert_allclose(jnp.flip(ours, 0), ys.swapaxes(0, 1), atol=1e-5)

    def test_keras_merges(self):
        both = jaxrnn.bidirectional(jaxrnn.gru, merge=lambda a, b: (a, b))
        params = both.init(jax.random.key(0), 3, 4)
        one, other = jaxrnn.scan(both, params, jnp.ones((5, 2, 3)), lengths=jnp.array([5, 3]))[1]
        assert one.shape == other.shape == (5, 2, 4)

    @pytest.mark.parametrize("kind", ["linen", "nnx"])
    def test_flax(self, kind):
        xs = np.random.default_rng(0).normal(size=(2, 7, 3)).astype("f")
        xs[0, 4:] = np.nan
        lengths = jnp.array([4, 0])
        if kind == "linen":
            nn = pytest.importorskip("flax.linen")
            model = nn.RNN(nn.OptimizedLSTMCell(4), return_carry=True)
            params = model.init(jax.random.key(0), xs)
            run = lambda p: model.apply(p, xs, seq_lengths=lengths)  # noqa: E731
            biases = [gate["bias"] for gate in params["params"]["cell"].values() if "bias" in gate]
        else:
            nnx = pytest.importorskip("flax.nnx")
            cell = nnx.OptimizedLSTMCell(3, 4, rngs=nnx.Rngs(0))
            graph, params = nnx.split(nnx.RNN(cell, return_carry=True, rngs=nnx.Rngs(0)))
            run = lambda p: nnx.merge(graph, p)(xs, seq_lengths=lengths)  # noqa: E731
            biases = [cell.dense_h.bias[...]]
        assert not any(bias.any() for bias in biases)
        (_, h), ys = run(params)
        assert jnp.isnan(ys[0, 4:]).all()
        assert (h[1] == ys[1, -1]).all()
        slopes = jax.grad(lambda p: run(p)[1][0, :4].sum(), allow_int=True)(params)
        floats = [x for x in jax.tree.leaves(slopes) if jnp.issubdtype(x.dtype, jnp.floating)]
        assert any(jnp.isnan(slope).any() for slope in floats)

    def test_haiku(self):
        haiku = pytest.importorskip("haiku")

        def unroll(xs):
            core = haiku.deep_rnn_with_skip_connections([haiku.LSTM(4), haiku.LSTM(4)])
            return haiku.dynamic_unroll(core, xs, core.initial_state(2))[0]

        xs = np.random.default_rng(0).normal(size=(5, 2, 3)).astype("f")
        model = haiku.without_apply_rng(haiku.transform(unroll))
        weights = model.init(jax.random.key(0), xs)
        assert not weights["lstm/linear"]["b"].any()
        load, lstm = jaxrnn.interop.haiku.load, jaxrnn.interop.haiku.lstm
        params = [load(lstm, weights, prefix=name) for name in ("lstm", "lstm_1")]
        kernel = params[1].input_kernel
        turned = params[1]._replace(input_kernel=jnp.concatenate([kernel[3:], kernel[:3]]))
        net = jaxrnn.stack(lstm, lstm, skip=True)
        ours = jaxrnn.scan(net, (params[0], turned), xs)[1]
        np.testing.assert_allclose(ours, model.apply(weights, xs), atol=1e-5)

    def test_equinox(self):
        equinox = pytest.importorskip("equinox")
        cell = equinox.nn.LSTMCell(3, 16, key=jax.random.key(0))
        for weight in (cell.weight_ih, cell.weight_hh, cell.bias):
            assert 0.8 / 4 < float(abs(weight).max()) <= 1 / 4
