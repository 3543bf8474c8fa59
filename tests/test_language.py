"""Language models, CTC, attention: what the pages of the documentation show is learned.

The blocks of a page are run in order in one namespace, as at its build; they are deterministic.
"""

import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxrnn
from jaxrnn import networks

pytestmark = pytest.mark.slow
PAGES = pathlib.Path(__file__).parent.parent / "docs" / "how_to"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


def run(page, upto=None):
    """The names that a page's blocks leave, figures not drawn; up to a heading, if given."""
    path = PAGES / page
    text = path.read_text("utf-8")
    text = text if upto is None else text[: text.index(upto)]
    names = {"__name__": "page"}
    for block in BLOCK.findall(text):
        exec(compile(block, str(path), "exec"), names)
    return names


class TestPages:
    def test_language_model_and_ctc(self):
        found = run("text_and_speech.md")
        assert found["perplexity"] < 2.3  # of 20 words; the best is 2.21
        assert found["accuracy"] > 0.97
        assert found["correct"] > 0.8
        assert found["recogniser"].history["loss"][-1] < 1

    def test_attention(self):
        found = run("attention.md")
        assert found["right"] > 0.95
        assert found["inside"].history["loss"][-1] < 0.3
        lengths, weights = found["lengths"], np.asarray(found["weights"])
        np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-5)
        for row, length in enumerate(lengths):
            assert not weights[:, length:, row].any()
        looked = weights[:, :, found["row"]].argmax(axis=1)[:-1]
        assert np.abs(looked - np.arange(len(looked))[::-1]).max() <= 1


class TestAttentionInsideTheRecurrence:
    def test_is_the_loop_and_its_gradient(self):
        """The cell of the page against a Python loop, with respect to all that it closes over."""
        page = run("attention.md", upto="## Learning")
        text = (PAGES / "attention.md").read_text("utf-8")
        block = next(one for one in BLOCK.findall(text) if "def attending" in one)
        exec(block[: block.index("def inside_loss")], page)
        cell, size = jaxrnn.gru, page["SIZE"]
        keys = jax.random.split(jax.random.key(0), 4)
        params = page["init"](keys[0])
        params["decoder"] = cell.init(keys[1], 2 * size, size)
        memory = jax.random.normal(keys[2], (4, 2, size))
        xs, lengths = jax.random.normal(keys[3], (3, 2, size)), jnp.array([4, 2])

        def scanned(params, memory, xs):
            net = page["attending"](cell, params, memory, lengths)
            return jaxrnn.scan(net, params["decoder"], xs, jnp.zeros((2, size)))[1]

        def looped(params, memory, xs):
            h, ys = jnp.zeros((2, size)), []
            for x in xs:
                weights = page["attend"](params, memory, lengths, h)
                seen = jnp.einsum("sb,sbh->bh", weights, memory)
                h, y = cell.step(params["decoder"], h, jnp.concatenate([x, seen], axis=-1))
                ys.append(y)
            return jnp.stack(ys)

        def with_gradient(function):
            loss = lambda *given: jnp.sum(jnp.sin(function(*given)))  # noqa: E731
            return jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(params, memory, xs)

        found, wanted = with_gradient(scanned), with_gradient(looped)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), found, wanted)
        assert np.abs(found[1][1]).max() > 0.01


class TestRegularisedLanguageModel:
    def test_every_noise_is_drawn_once_a_sequence(self):
        """One key, one network: pieces with the state handed on are the whole."""
        drop = networks.weight_drop(jaxrnn.lstm, 0.3)
        cell = networks.variational_dropout(drop, inputs=0.3)
        params = cell.init(jax.random.key(0), 5, 4)
        xs, key = jax.random.normal(jax.random.key(1), (6, 2, 5)), jax.random.key(2)
        _, ys, carries = jaxrnn.scan(cell, params, xs, key=key, return_carries=True)
        carry, first = jaxrnn.scan(cell, params, xs[:2], key=key)
        _, rest = jaxrnn.scan(cell, params, xs[2:], carry, key=key, start=2)
        np.testing.assert_allclose(jnp.concatenate([first, rest]), ys, atol=1e-6)
        np.testing.assert_array_equal(carries.h, ys)
        assert np.abs(ys - jaxrnn.scan(cell, params, xs)[1]).max() > 1e-3


class TestCTC:
    def test_padding_reaches_neither_loss_nor_gradient(self):
        """A ragged batch is its sequences alone."""
        cell = jaxrnn.bidirectional(jaxrnn.elman)
        params = cell.init(jax.random.key(0), 3, 4)
        head = jax.random.normal(jax.random.key(1), (8, 4))
        xs = jax.random.normal(jax.random.key(2), (9, 2, 3))
        lengths, labels, counts = np.array([9, 5]), np.array([[1, 1, 3], [2, 0, 0]]), (3, 1)

        def loss(params, xs, lengths, labels, counts):
            _, ys = jaxrnn.scan(cell, params, xs, lengths=lengths)
            paddings = (np.arange(len(xs)) >= lengths[:, None]).astype("f")
            label_paddings = (np.arange(labels.shape[1]) >= np.array(counts)[:, None]).astype("f")
            logits = jnp.swapaxes(ys @ head, 0, 1)
            return optax.ctc_loss(logits, paddings, labels, label_paddings).sum()

        value = jax.jit(jax.value_and_grad(loss), static_argnums=4)
        spoilt = xs.at[5:, 1].set(jnp.nan)
        found = value(params, spoilt, lengths, labels, counts)
        alone = [
            value(params, xs[:n, k, None], np.array([n]), labels[k, None, :c], (c,))
            for k, (n, c) in enumerate(zip(lengths, counts, strict=True))
        ]
        wanted = jax.tree.map(jnp.add, *alone)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, wanted)
