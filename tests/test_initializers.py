"""What initialisers draw."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import initializers
from tests.reference import quick, some

KEY = jax.random.key(0)


def made(cell, *sizes, **options):
    """The initial parameters of a cell."""
    return quick(lambda key: cell.init(key, *sizes, **options))(KEY)


def test_chrono_couples_the_gates():
    size, t_max = 2000, 30
    start = {"bias_init": initializers.chrono(t_max), "forget_bias": 0.0}
    params = made(jaxrnn.lstm, 1, size, recurrent_init=initializers.zeros, **start)
    i, f, g, o = np.split(np.asarray(params.bias), 4)
    np.testing.assert_array_equal(i, -f)
    assert not np.concatenate([g, o]).any()
    u = np.sort(np.exp(f))
    np.testing.assert_allclose(u, np.linspace(1, t_max - 1, size), atol=1.5)  # uniform on [1, 29]


def test_chrono_of_coupled_gates():
    start = {"bias_init": initializers.chrono(30, gates="igo"), "forget_bias": 0.0}
    i, g, o = np.split(np.asarray(made(jaxrnn.cells.lstm_cifg, 1, 8, **start).bias), 3)
    assert (i < 0).all()
    assert not np.concatenate([g, o]).any()
    with pytest.raises(ValueError, match=r"gates: expected .*\(4\), got 'igo'"):
        made(jaxrnn.lstm, 1, 8, **start)
    with pytest.raises(ValueError, match="t_max"):
        initializers.chrono(1)


def test_identity_recurrence():
    assert made(jaxrnn.cells.irnn, 2, 3).recurrent_kernel.tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    ("activation", "factor"),
    [("identity", 1.0), ("sigmoid", 1.0), ("tanh", 5 / 3), ("relu", 2**0.5)],
)
def test_gain_scales_an_initializer(activation, factor):
    assert initializers.gain(activation) == pytest.approx(factor, abs=1e-15)
    init = initializers.scaled(initializers.orthogonal, initializers.gain(activation))
    kernel = init(KEY, (4, 4), jnp.float32)
    np.testing.assert_allclose(kernel.T @ kernel, factor**2 * np.eye(4), atol=1e-5)


def test_unknown_gain():
    with pytest.raises(ValueError, match=r"activation.*'softmax'"):
        initializers.gain("softmax")


ALL = {
    "glorot": initializers.glorot,
    "orthogonal": initializers.orthogonal,
    "torch_uniform": initializers.torch_uniform,
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", some(["float32", "bfloat16", "float16"], ("bfloat16",)))
def test_an_initializer_gives_the_dtype_asked_for_and_follows_its_key(name, dtype):
    draw = ALL[name]
    one, same, other = (draw(jax.random.key(seed), (4, 6), jnp.dtype(dtype)) for seed in (0, 0, 1))
    assert one.shape == (4, 6)
    assert one.dtype == dtype
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


@pytest.mark.parametrize("shape", [(6, 6), (4, 6), (6, 4)])
def test_orthogonal(shape):
    q = np.asarray(initializers.orthogonal(KEY, shape, jnp.float32), np.float64)
    short = q @ q.T if shape[0] <= shape[1] else q.T @ q
    np.testing.assert_allclose(short, np.eye(min(shape)), atol=1e-6)


def test_orthogonal_is_uniform():
    """Mean 0; of the entries the moments of a sphere's, of the trace 1 and 3 (Haar measure)."""
    keys = jax.random.split(KEY, 40_000)
    q = np.asarray(jax.vmap(lambda key: initializers.orthogonal(key, (3, 3)))(keys))
    for power, moment in ((1, 0), (2, 1 / 3), (3, 0), (4, 1 / 5)):
        np.testing.assert_allclose((q**power).mean(0), moment, atol=0.012)
    trace = np.trace(q, axis1=1, axis2=2)
    assert abs((trace**2).mean() - 1) < 0.03
    assert abs((trace**4).mean() - 3) < 0.15
    assert abs(np.linalg.det(q).mean()) < 0.02  # reflections as often as rotations


@pytest.mark.slow
def test_a_compiled_init_does_not_wait_for_itself():
    """Two factorisations that share a pool of two threads wait for ever, each for the other."""
    net = jaxrnn.rnn(jaxrnn.lstm, 2, bidirectional=True)
    init = jax.jit(lambda key: net.init(key, 8, 16)).lower(KEY).compile()
    assert not re.search("geqrf|orgqr|Qr", init.as_text())
    made, plain = init(KEY), net.init(KEY, 8, 16)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), made, plain)


@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_what_a_cell_starts_from(name):
    """Each gate's recurrent kernel is orthogonal, each input kernel has one gate's fan."""
    d, h = 30, 20
    gates = {"lstm": 4, "gru": 3, "elman": 1}[name]
    params = made(getattr(jaxrnn, name), d, h)
    blocks = np.split(np.asarray(params.recurrent_kernel), gates, axis=-1)
    for block in blocks:
        np.testing.assert_allclose(block.T @ block, np.eye(h), atol=1e-5)
    bound = (6 / (d + h)) ** 0.5
    for block in np.split(np.asarray(params.input_kernel), gates, axis=-1):
        assert 0.95 * bound < np.abs(block).max() <= bound
        assert abs(block.std() / bound - 3**-0.5) < 0.05
    for a, b in itertools.pairwise(blocks):
        assert (a != b).any(), "every gate draws its own"
    forget = np.zeros(gates * h)
    if name == "lstm":
        forget[h : 2 * h] = 1
    np.testing.assert_array_equal(params.bias, forget)


def test_torch_uniform():
    """Weights and biases alike on ±1/√H."""
    init = initializers.torch_uniform
    options = {"kernel_init": init, "recurrent_init": init, "bias_init": init}
    params = made(jaxrnn.lstm, 40, 25, **options, forget_bias=0.0)
    for leaf in params:
        assert 0.9 * 0.2 < np.abs(leaf).max() <= 0.2
        assert abs(leaf.std() / 0.2 - 3**-0.5) < 0.05
        assert abs(leaf.mean()) < 0.02


def test_one_initializer_per_gate():
    inits = [initializers.constant(float(k)) for k in range(4)]
    params = made(jaxrnn.lstm, 2, 3, kernel_init=inits, bias_init=inits, forget_bias=0.5)
    np.testing.assert_array_equal(params.input_kernel, np.repeat([[0, 1, 2, 3]] * 2, 3, axis=1))
    np.testing.assert_array_equal(params.bias, np.repeat([0, 1.5, 2, 3], 3))
    gru = made(jaxrnn.gru, 2, 3, reset_bias=-1.0)
    np.testing.assert_array_equal(gru.bias, np.repeat([-1, 0, 0], 3))
