"""Every row of `interop_table` against the live library: outputs, states and gradients.

Weights, biases and initial states are random. The gradient with respect to each of the library's
arrays is compared through a random direction v in it: loading is affine, so <g, v> there is
<gradient here, load(v) - load(0)>; those with respect to inputs and states directly.
"""

from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop import structure
from tests.interop_live import MAKE, D, H, network, spread
from tests.interop_table import ROWS
from tests.reference import QUICK, assert_close, inner, random_like, with_gradients

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
]

T, B = 5, 2
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def name(row, layers, directions, bias):
    return f"{row.library}-{row.module}-{layers}x{directions}{'' if bias else '-nobias'}"


def is_run(row, layers, directions, bias):
    """One layer and, with biases, three; a cell where there is nothing else."""
    return layers in ({1, 3} if bias else {1}) or row.layers == (0,)


LIVE = [row for row in ROWS if row.library in MAKE]
EVERY = [one for row in LIVE for one in product([row], row.layers, row.directions, row.bias)]
ONCE = [(row, min(row.layers, key=lambda n: n != 1), row.directions[-1], True) for row in LIVE]
RUN = [pytest.param(*one, "float64", id=name(*one)) for one in EVERY if is_run(*one)]
RUN += [pytest.param(*one, "float32", id=name(*one) + "-float32") for one in ONCE]
NAMED = [pytest.param(*one, id=name(*one)) for one in EVERY if not is_run(*one)]


def load(row, net, arrays):
    sizes = {"input_size": D, "hidden_size": H} if row.library == "cudnn" else {}
    source = arrays["flat"] if row.library == "cudnn" else arrays
    return getattr(interop, row.library).load(net, source, **sizes)


@cache
def ours(net):
    def run(params, xs, carry):
        carry, ys = jaxrnn.scan(net, params, xs, carry)
        return ys, spread(net, carry)

    return jax.jit(with_gradients(run), compiler_options=QUICK)


def random_arrays(shapes, dtype, seed):
    rng = np.random.default_rng(seed)
    return {name: (0.5 * rng.normal(size=s)).astype(dtype) for name, s in shapes.items()}


def check_names(row, net, arrays):
    """Our parameters, and whether `infer` finds our network."""
    if row.infers:
        options = {"nonlinearity": "relu"} if row.module == "RNN(relu)" else {}
        assert flat(getattr(interop, row.library).infer(arrays, **options)) == flat(net)
    return load(row, net, arrays)


@pytest.mark.parametrize(("row", "layers", "directions", "bias"), NAMED)
def test_names_of_other_numbers_of_layers(row, layers, directions, bias):
    """That they are found, all of them; the function is that of the others, which are run."""
    live = MAKE[row.library](row, layers, directions, bias, "float32")
    net = network(row, layers, directions, bias)
    check_names(row, net, random_arrays(live.shapes, "float32", 0))


@pytest.mark.parametrize(("row", "layers", "directions", "bias", "dtype"), RUN)
def test_live(row, layers, directions, bias, dtype, request):
    if dtype == "float64":
        request.getfixturevalue("x64")
    net = network(row, layers, directions, bias)
    live = MAKE[row.library](row, layers, directions, bias, dtype)
    arrays = random_arrays(live.shapes, dtype, 0)
    params = check_names(row, net, arrays)
    xs = random_like(jax.ShapeDtypeStruct((T, B, D), dtype), 1)
    carry = random_like(net.carry(params, (B,)), 2)
    grid = spread(net, carry)
    shapes = jax.eval_shape(lambda *a: jaxrnn.scan(net, *a), params, xs, carry)
    weights = random_like((shapes[1], spread(net, shapes[0])), 3)
    mine, (g_params, g_xs, g_carry) = ours(net)(weights, params, xs, carry)
    gradients = live.gradients or jax.jit(with_gradients(live.run), compiler_options=QUICK)
    theirs, (h_arrays, h_xs, h_grid) = gradients(weights, arrays, xs, grid)
    tolerance = TOLERANCE[dtype]
    assert_close(list(mine), list(theirs), "outputs", tolerance)
    assert_close(g_xs, jnp.asarray(h_xs), "gradient of xs", tolerance)
    assert_close(spread(net, g_carry), h_grid, "gradient of the carry", tolerance)
    zero = load(row, net, {name: np.zeros_like(a) for name, a in arrays.items()})
    for name in arrays:
        v = random_arrays(live.shapes, dtype, 4)
        v = {key: a if key == name else np.zeros_like(a) for key, a in v.items()}
        direction = jax.tree.map(jnp.subtract, load(row, net, v), zero)
        assert_close(
            inner(g_params, direction) / np.sqrt(v[name].size),
            jnp.asarray(np.sum(h_arrays[name] * v[name]) / np.sqrt(v[name].size)),
            f"gradient of {name}",
            tolerance,
        )


def test_a_state_of_nnx_moves_whole():
    """With its variables and the PRNG states that are in it."""
    nnx = pytest.importorskip("flax.nnx")

    def rnn():
        return nnx.RNN(nnx.LSTMCell(D, H, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0))

    module = nnx.Bidirectional(rnn(), rnn(), rngs=nnx.Rngs(0))
    net = jaxrnn.bidirectional(jaxrnn.lstm)
    shapes = jax.eval_shape(lambda key: net.init(key, D, H), jax.random.key(0))
    params = random_like(shapes, 0)
    nnx.update(module, interop.nnx.dump(net, params, optimized=False))
    assert flat(interop.nnx.infer(nnx.state(module))) == flat(net)
    assert_close(interop.nnx.load(net, nnx.state(module)), params, "params", 0.0)
    xs = random_like(jnp.ones((B, T, D)), 1)
    assert interop.probe(net, params, xs.swapaxes(0, 1), module(xs).swapaxes(0, 1)) <= 1e-5


def flat(net):
    return [unit.cell for row in structure.units(net) for unit in row]
