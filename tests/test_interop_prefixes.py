"""Prefixes, and what errors say of weights that are elsewhere or in another form."""

from itertools import product

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop.names import flatten
from tests.interop_live import D, H
from tests.reference import assert_same, random_like
from tests.test_interop import LSTM4, flat

BOTH = jaxrnn.Directions("LSTMCell_0", "LSTMCell_1")


@pytest.mark.parametrize("name", ["linen", "nnx", "torch", "equinox", "haiku"])
def test_a_prefix_for_each_direction(name):
    library, one = getattr(interop, name), jaxrnn.bidirectional(jaxrnn.lstm)
    net = jaxrnn.stack(one, jaxrnn.lstm)
    params = random_like(net.init(jax.random.key(0), D, H), 1)
    prefix = [BOTH, "LSTMCell_2"]
    arrays = library.dump(net, params, prefix)
    back = library.load(net, arrays, prefix)
    assert_same(back[0].forward.input_kernel, params[0].forward.input_kernel, "forward")
    assert_same(back[0].backward.input_kernel, params[0].backward.input_kernel, "backward")
    assert_same(back[1].input_kernel, params[1].input_kernel, "params")
    if name != "haiku":  # whose names below a prefix of your own it does not infer
        assert flat(library.infer(arrays, prefix)) == flat(net)
    arrays = library.dump(one, params[0], BOTH)
    assert_same(library.load(one, arrays, BOTH).backward.input_kernel,
                params[0].backward.input_kernel, "params")  # fmt: skip
    with pytest.raises(
        ValueError, match="expected a string for layer 1 of one direction, got Dire"
    ):
        library.load(net, arrays, [BOTH, BOTH])


def test_what_is_no_prefix_is_a_type_error():
    net, linen = jaxrnn.rnn(jaxrnn.lstm, 2), interop.linen
    for library, prefix in product((interop.torch, linen, interop.keras), (None, 3, [("a",), "b"])):
        with pytest.raises(TypeError, match="prefix: expected a string"):
            library.load(net, LSTM4, prefix)
        with pytest.raises(TypeError, match="prefix: expected a string"):
            library.infer(LSTM4, prefix)


def test_where_the_weights_are_is_said():
    net = jaxrnn.rnn(jaxrnn.lstm, 2)
    params = random_like(net.init(jax.random.key(0), D, H), 1)
    for name in ("torch", "linen", "nnx", "haiku", "equinox", "keras", "onnx"):
        library = getattr(interop, name)
        separator = "." if name in ("torch", "equinox", "onnx") else "/"
        place = f"model{separator}core"
        arrays = flatten(library.dump(net, params), separator)
        source = {f"{place}{separator}{key}": array for key, array in arrays.items()}
        source[separator.join(("head", "kernel"))] = np.ones((4, 2), "f")
        where = f"weights that fit are below '({place}|model)'"
        with pytest.raises(ValueError, match=where):
            library.infer(source, "encoder")
        with pytest.raises(ValueError, match=where):
            library.load(net, source, "encoder")
    with pytest.raises(ValueError, match=r"and 92 more\n  weights that fit are below 'm'"):
        interop.torch.infer(
            {f"m.{n}": a for n, a in LSTM4.items()} | {f"p.{k}": 1 for k in range(100)}, "p"
        )


@pytest.mark.parametrize(
    ("name", "hint"),
    [("weight_hh_l0_g", "remove_weight_norm"),
     ("parametrizations.weight_hh_l0.original0", "remove_parametrizations"),
     ("weight_hh_l0_mask", "prune.remove"), ("_all_weight_values.0.param", "before it was quant")],
)  # fmt: skip
def test_weights_in_another_form_say_what_to_call(name, hint):
    arrays = {**LSTM4, name: np.ones((16, 4), "f")}
    del arrays["weight_hh_l0"]
    source = {f"core.{key}": array for key, array in arrays.items()}
    with pytest.raises(ValueError, match=hint):
        interop.torch.infer(source, "core")
    with pytest.raises(ValueError, match=hint):
        interop.torch.load(jaxrnn.rnn(jaxrnn.lstm), source, "core")
