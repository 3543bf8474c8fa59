"""What initialisers draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import initializers

KEY = jax.random.key(0)


def test_chrono_couples_the_gates():
    size, t_max = 2000, 30
    start = {"bias_init": initializers.chrono(t_max), "forget_bias": 0.0}
    params = jaxrnn.lstm.init(KEY, 1, size, recurrent_init=initializers.zeros, **start)
    i, f, g, o = np.split(np.asarray(params.bias), 4)
    np.testing.assert_array_equal(i, -f)
    assert not np.concatenate([g, o]).any()
    u = np.sort(np.exp(f))
    np.testing.assert_allclose(u, np.linspace(1, t_max - 1, size), atol=1.5)  # uniform on [1, 29]


def test_chrono_of_coupled_gates():
    start = {"bias_init": initializers.chrono(30, gates="igo"), "forget_bias": 0.0}
    i, g, o = np.split(np.asarray(jaxrnn.lstm_cifg.init(KEY, 1, 8, **start).bias), 3)
    assert (i < 0).all()
    assert not np.concatenate([g, o]).any()
    with pytest.raises(ValueError, match=r"gates: expected .*\(4\), got 'igo'"):
        jaxrnn.lstm.init(KEY, 1, 8, **start)
    with pytest.raises(ValueError, match="t_max"):
        initializers.chrono(1)


def test_identity_recurrence():
    assert jaxrnn.irnn.init(KEY, 2, 3).recurrent_kernel.tolist() == np.eye(3).tolist()


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
