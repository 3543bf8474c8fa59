"""`make_lstm`: every combination of options against the equations, and what it refuses."""

import random
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import LSTMCarry, initializers, make_lstm
from jaxrnn.cells import LSTMGateCarry
from tests.reference import assert_close, quick, random_like, with_gradients

pytestmark = pytest.mark.usefixtures("x64", "strict")

T, B, D, H = 4, 2, 3, 5
KEY = jax.random.key(0)
OPTIONS = {
    "peepholes": [None, "diagonal", "full"],
    "input_gate": [True, True, False],
    "forget_gate": [True, True, False, "coupled"],
    "output_gate": [True, True, False],
    "gate_activation": ["sigmoid", "sigmoid", "hard_sigmoid"],
    "candidate_activation": ["tanh", "identity", "sigmoid"],
    "output_activation": ["tanh", "identity", "relu"],
    "gate_recurrence": [False, True],
    "cell_clip": [None, 0.4],
    "proj_size": [None, 3, 0.5],
    "projection_clip": [None, 0.2],
}
PHI = {"tanh": jnp.tanh, "relu": jax.nn.relu, "identity": lambda z: z}
PHI["sigmoid"] = lambda z: 1 / (1 + jnp.exp(-z))
PHI["hard_sigmoid"] = lambda z: jnp.minimum(jnp.maximum(z / 5 + 0.5, 0), 1)


def some_options(seed):
    """A legal combination."""
    rng = random.Random(seed)
    while True:
        options = {name: rng.choice(values) for name, values in OPTIONS.items()}
        try:
            return options, make_lstm(**options)
        except ValueError:
            continue


def plain_step(options, params, carry, x):
    """The equations, one gate at a time, sharing nothing with the library."""
    names = {"i": "input_gate", "f": "forget_gate", "o": "output_gate"}
    there = {k: options[name] for k, name in names.items()}
    coupled = there["f"] == "coupled"
    gates = [k for k in "ifo" if there[k] is True]
    blocks = [k for k in "ifgo" if k in gates or k == "g"]
    n = carry.c.shape[-1]

    def block(leaf, k, among):
        at = among.index(k) * n
        return leaf[..., at : at + n]

    def a(k):
        z = x @ block(params.input_kernel, k, blocks) + block(params.bias, k, blocks)
        z = z + carry.h @ block(params.recurrent_kernel, k, blocks)
        if options["gate_recurrence"] and k != "g":
            for row, source in enumerate(gates):
                rows = params.gate_kernel[row * n : (row + 1) * n]
                z = z + getattr(carry, source) @ block(rows, k, gates)
        return z

    def gate(k, c):
        if k not in gates:
            return jnp.ones_like(c)
        z = a(k)
        if options["peepholes"]:
            p = block(params.peephole_kernel, k, gates)
            z = z + (c @ p if options["peepholes"] == "full" else c * p)
        return PHI[options["gate_activation"]](z)

    def clip(z, bound):
        return z if bound is None else jnp.minimum(jnp.maximum(z, -bound), bound)

    i = gate("i", carry.c)
    f = 1 - i if coupled else gate("f", carry.c)
    g = PHI[options["candidate_activation"]](a("g"))
    c = clip(f * carry.c + i * g, options["cell_clip"])
    o = gate("o", c)
    h = o * PHI[options["output_activation"]](c)
    if options["proj_size"]:
        h = clip(h @ params.projection_kernel, options["projection_clip"])
    if not options["gate_recurrence"]:
        return LSTMCarry(h, c), h
    held = {k: v for k, v in zip("ifo", (i, f, o), strict=True) if k in gates}
    return LSTMGateCarry(h, c, **held), h


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in (0, *range(3, 14)))]
)
def test_any_combination_is_its_equations(seed):
    """Values and gradients; and every parameter has one."""
    options, cell = some_options(seed)
    params = jax.eval_shape(lambda key: cell.init(key, D, H, dtype=jnp.float64), KEY)
    carry = jax.eval_shape(lambda params: cell.carry(params, (B,)), params)
    xs = jax.ShapeDtypeStruct((T, B, D), jnp.float64)
    params, xs, carry = random_like((params, xs, carry), seed, 0.6)

    def looped(params, xs, carry):
        ys = []
        for x in xs:
            carry, y = plain_step(options, params, carry, x)
            ys.append(y)
        return carry, jnp.stack(ys)

    weights = random_like(jax.eval_shape(looped, params, xs, carry), seed + 1)
    want = quick(with_gradients(looped))(weights, params, xs, carry)
    got = quick(with_gradients(partial(jaxrnn.scan, cell)))(weights, params, xs, carry)
    assert_close(got, want, str(options))
    assert all(bool((leaf != 0).any()) for leaf in jax.tree.leaves(got[1])), "a dead leaf"

    half = jax.eval_shape(lambda key: cell.init(key, D, H, dtype=jnp.bfloat16), KEY)
    before = jax.eval_shape(lambda params: cell.carry(params, (B,)), half)
    after, y = jax.eval_shape(cell.step, half, before, jnp.ones((B, D), jnp.bfloat16))
    assert y.dtype == before.h.dtype == jnp.bfloat16
    assert before.c.dtype == jnp.float32
    assert jax.tree.map(lambda leaf: leaf.dtype, before) == jax.tree.map(lambda s: s.dtype, after)


def test_equal_options_are_the_same_cell():
    assert make_lstm() == jaxrnn.lstm
    assert make_lstm(peepholes=None, forget_bias=1.0, output_activation=jnp.tanh) == jaxrnn.lstm
    assert jaxrnn.cells.lstm_np == jaxrnn.lstm
    assert make_lstm(peepholes="diagonal") == jaxrnn.cells.lstm_peephole
    assert make_lstm(forget_gate=False) == make_lstm(forget_gate=False, forget_bias=0.0)
    assert make_lstm(proj_size=2) != make_lstm(proj_size=3)


def test_the_four_gates_and_nothing_more_take_the_plain_parameters():
    cell, arguments = make_lstm(cell_clip=1.0, forget_bias=2.0), (jax.random.key(0), D, H)
    want = jaxrnn.lstm.init(*arguments, forget_bias=2.0)
    assert_close(cell.init(*arguments), want, "params", 0)
    assert cell.spec == jaxrnn.cells.LSTMSpec(cell_clip=1.0, forget_bias=2.0)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"forget_gate": "coupled", "input_gate": False}, "forget_gate='coupled'.*input_gate"),
        ({"projection_clip": 1.0}, "projection_clip.*proj_size"),
        ({"forget_gate": False, "forget_bias": 1.0}, "forget_bias=1.*forget_gate"),
        (dict.fromkeys(("input_gate", "forget_gate", "output_gate"), False), None),
        ({"peepholes": "diag"}, "peepholes.*'diagonal'.*'diag'"),
        ({"input_gate": "coupled"}, "input_gate.*'coupled'"),
        ({"output_activation": "tan"}, "output_activation.*'tan'"),
        ({"cell_clip": 0.0}, "cell_clip.*positive.*0"),
        ({"proj_size": 1.5}, "proj_size.*fraction.*1.5"),
        ({"proj_size": 0}, "proj_size.*positive.*0"),
        ({"forget_bias": 2.0, "use_bias": False}, "forget_bias=2.*use_bias"),
        ({"forget_bias": 1.0, "use_bias": False}, "forget_bias=1.*use_bias"),
    ],
)
def test_impossible_options_are_errors_that_name_them(options, words):
    if words is not None:
        with pytest.raises(ValueError, match=words):
            make_lstm(**options)
        return
    make_lstm(**options)  # without gates: legal, until something needs one
    for name, value in (("peepholes", "full"), ("gate_recurrence", True)):
        with pytest.raises(ValueError, match=f"{name}={value!r}.*output_gate=False"):
            make_lstm(**options, **{name: value})


def test_numbers_of_the_wrong_type_are_type_errors():
    for options in ({"cell_clip": "1"}, {"cell_clip": True}, {"proj_size": "3"}):
        with pytest.raises(TypeError, match=next(iter(options))):
            make_lstm(**options)
    with pytest.raises(ValueError, match="forget_bias"):
        jaxrnn.cells.lstm_1997.init(jax.random.key(0), D, H, forget_bias=1.0)


def test_parameters_of_another_cell_are_refused():
    params = jaxrnn.lstm.init(jax.random.key(0), D, H)
    cell, xs = jaxrnn.cells.lstm_peephole, jnp.ones((T, D), jnp.float32)
    with pytest.raises(TypeError, match=r"params: expected LSTMVariantParams .* got LSTMParams"):
        jaxrnn.scan(cell, params, xs)
    with pytest.raises(TypeError, match=r"peephole_kernel: expected float32\[15\], missing"):
        jaxrnn.scan(cell, jaxrnn.cells.LSTMVariantParams(*params), xs)


def test_initial_parameters():
    arguments = (jax.random.key(0), D, H)
    plain = jaxrnn.lstm.init(*arguments)
    peephole = jaxrnn.cells.lstm_peephole.init(*arguments)
    assert_close(peephole[:3], tuple(plain), "the same draws", 0)
    assert not peephole.peephole_kernel.any()
    ones = initializers.constant(1.0)
    full = jaxrnn.cells.lstm_peephole_full.init(*arguments, peephole_init=ones)
    assert full.peephole_kernel.tolist() == np.ones((H, 3 * H)).tolist()
    coupled = make_lstm(forget_gate="coupled").init(*arguments)
    assert coupled.bias.tolist() == [-1.0] * H + [0.0] * (2 * H)
    two = make_lstm(gate_recurrence=True, input_gate=False).init(*arguments)
    assert two.gate_kernel.shape == (2 * H, 2 * H)
    projected = jaxrnn.cells.lstm_projected.init(jax.random.key(0), D, 9)
    assert projected.projection_kernel.shape == (9, 4)
    assert projected.recurrent_kernel.shape == (4, 36)
    assert jaxrnn.cells.lstm_projected.carry(projected).c.shape == (9,)
