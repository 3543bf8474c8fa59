"""`stack`, `bidirectional` and `rnn` against loops written out layer by layer."""

import copy
import gc
import pickle
import weakref
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import Cell, Directions, Layer, bidirectional, gru, lstm, rnn, stack
from jaxrnn.cells import gru_reset_before
from tests.reference import (
    B,
    T,
    assert_close,
    assert_same,
    loop,
    quick,
    random_like,
    scan,
    some,
    with_gradients,
)

D, H = 3, 4
exact = pytest.mark.usefixtures("x64", "strict")


MERGES = {
    "concat": lambda a, b: jnp.concatenate([a, b], -1),
    "sum": lambda a, b: a + b,
    "mean": lambda a, b: 0.5 * (a + b),
    "mul": lambda a, b: a * b,
}


def written_out(layer, params, xs, carry, valid=None, reset=None, *, reverse=False):
    """What a layer means: the parts one after the other, the backward one backward."""
    if isinstance(layer, Cell):
        return loop(layer, params, xs, carry, valid, reset, reverse=reverse)
    if isinstance(layer.parts, Directions):
        a, b = (
            written_out(*mine, valid, reset, reverse=reverse != back)
            for *mine, back in (
                (layer.parts[0], params[0], xs, carry[0], False),
                (layer.parts[1], params[1], xs, carry[1], True),
            )
        )
        ys = MERGES[layer.spec.merge](a[1], b[1])
        return Directions(a[0], b[0]), ys, Directions(a[2], b[2])
    found = []
    for cell, p, c in zip(layer.parts, params, carry, strict=True):
        found.append(written_out(cell, p, xs, c, valid, reset, reverse=reverse))
        xs = found[-1][1]
    last, ys, carries = zip(*found, strict=True)
    return last, ys[-1], carries


NETS = {
    "two cells": stack(lstm, gru_reset_before),
    "nested": stack(stack(lstm, gru), lstm),
    "two cells in two directions": bidirectional(gru, lstm, merge="mul"),
    "layers in two directions": rnn(gru, 2, bidirectional=True),
    "a stack in two directions": bidirectional(stack(lstm, gru)),
    "two directions under a cell": stack(bidirectional(gru), lstm),
}


def example(layer, sizes=H):
    params = layer.init(jax.random.key(0), D, sizes, dtype=jnp.float64)
    params = jax.tree.map(jnp.add, params, random_like(params, 1, 0.3))
    xs = random_like(jax.ShapeDtypeStruct((T, B, D), jnp.float64), 2)
    carry = random_like(layer.carry(params, (B,)), 3, 0.5)
    return params, xs, carry


QUICK = ("two cells",)


@pytest.mark.slow
@exact
@pytest.mark.parametrize(
    "label",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in NETS],
)
def test_it_is_its_layers_one_after_the_other(label):
    """Values and gradients, with every option, both ways; padding reaches nothing."""
    net, rng = NETS[label], np.random.default_rng(0)
    inputs = example(net)
    lengths, mask = np.array([3, 5]), rng.random((T, B)) < 0.8
    reset = rng.random((T, B)) < 0.3
    within = np.arange(T)[:, None] < lengths
    valid = mask & within
    weights = random_like(jax.eval_shape(partial(written_out, net), *inputs), 4)

    plain = quick(with_gradients(partial(scan, net)))(weights, *inputs)
    reference = quick(with_gradients(partial(written_out, net)))
    every = np.ones((T, B), bool)
    assert_close(plain, reference(weights, *inputs, every, ~every), "plain: ")

    options = quick(with_gradients(partial(scan, net, chunk=2)))
    rest = lengths, mask, reset
    got = options(weights, *inputs, *rest)
    want = reference(weights, *inputs, valid, reset & within)
    assert_close(got, want, "every option: ")

    params, xs, carry = inputs
    dirty = np.array(xs)
    dirty[~valid] = np.nan
    assert_same(options(weights, params, dirty, carry, *rest), got, "NaN in the padding: ")


@exact
@pytest.mark.parametrize("label", some(["two cells", "a stack in two directions"], ("two cells",)))
def test_reverse(label):
    """`reverse` turns every direction round; a boundary stays where it is."""
    net = NETS[label]
    params, xs, carry = example(net)
    reset = np.random.default_rng(1).random((T, B)) < 0.4
    lengths = np.array([3, 5])
    run = quick(partial(scan, net, reverse=True))
    got = run(params, xs, carry, lengths, None, reset)
    valid = np.arange(T)[:, None] < lengths
    plain = quick(partial(written_out, net, reverse=True))
    assert_close(got, plain(params, xs, carry, valid, reset & valid), "reverse")


@pytest.mark.slow
@exact
@pytest.mark.parametrize(
    "label",
    [
        "layers in two directions",
        pytest.param("two cells in two directions", marks=pytest.mark.slow),
    ],
)
def test_a_batch_is_its_rows_alone(label):
    """Unpadded, with gradients: what several libraries get wrong in two directions."""
    net = NETS[label]
    params, xs, carry = example(net)
    lengths = [3, 5]
    run = quick(with_gradients(lambda *a: scan(net, *a)[:2]))
    shapes = jax.eval_shape(lambda *a: scan(net, *a)[:2], params, xs, carry)
    last, ys = random_like(shapes, 4)
    (carries, outputs), gradients = run((last, ys), params, xs, carry, np.array(lengths))
    summed = jax.tree.map(jnp.zeros_like, params)
    for row, n in enumerate(lengths):
        mine = lambda tree, row=row: jax.tree.map(lambda leaf: leaf[row], tree)  # noqa: E731
        cut = lambda a, row=row, n=n: a[:n, row]  # noqa: E731
        got, (by_params, by_xs, by_carry) = run((mine(last), cut(ys)), params, cut(xs), mine(carry))
        assert_close(got, (mine(carries), cut(outputs)), f"row {row}: ")
        assert_close(by_xs, cut(gradients[1]), f"gradient of row {row}")
        assert_close(by_carry, mine(gradients[2]), f"gradient of the carry of row {row}")
        assert not np.any(outputs[n:, row])
        summed = jax.tree.map(jnp.add, summed, by_params)
    assert_close(gradients[0], summed, "gradient of the parameters")


@exact
@pytest.mark.parametrize("label", ["two cells", pytest.param("nested", marks=pytest.mark.slow)])
def test_a_stack_streams_step_by_step(label):
    net = NETS[label]
    inputs = example(net)
    assert isinstance(net, Layer)
    want = quick(with_gradients(partial(scan, net)))
    weights = random_like(jax.eval_shape(partial(scan, net), *inputs), 5)
    steps = quick(with_gradients(partial(loop, net)))
    assert_close(steps(weights, *inputs), want(weights, *inputs), "steps: ")


@exact
@pytest.mark.slow
def test_second_derivatives_through_layers():
    net = NETS["layers in two directions"]
    inputs = example(net)
    tangents = random_like(inputs, 6)

    def along(run):
        loss = lambda *a: jnp.sum(jnp.sin(run(net, *a)[1]))  # noqa: E731
        return lambda *a: jax.jvp(jax.grad(loss, argnums=(0, 1, 2)), a, tangents)

    assert_close(quick(along(scan))(*inputs), quick(along(written_out))(*inputs), "hessian: ")


@pytest.mark.slow
def test_what_is_made():
    assert stack(lstm, bidirectional(gru)).advance is None
    with pytest.raises(TypeError, match=r"can step, got 'stack.*needs the whole sequence"):
        rnn(gru, 1, bidirectional=True).step((), (), jnp.ones(3))
    assert rnn(lstm, 2).parts == (lstm, lstm)
    assert [layer.parts for layer in rnn(lstm, 2, bidirectional=True).parts] == [(lstm, lstm)] * 2
    params = stack(lstm, gru, lstm).init(jax.random.key(0), D, (4, 5, 6))
    assert [p.input_kernel.shape for p in params] == [(3, 16), (4, 15), (5, 24)]
    params = rnn(gru, 2, bidirectional=True).init(jax.random.key(0), D, H, dtype="bfloat16")
    assert params[1].backward.input_kernel.shape == (2 * H, 3 * H)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    leaves = jax.tree.leaves(params)
    kernels = [np.asarray(leaf, np.float32) for leaf in leaves if leaf.ndim == 2]
    pairs = [(a, b) for k, a in enumerate(kernels) for b in kernels[:k] if a.shape == b.shape]
    assert not any((a == b).all() for a, b in pairs), "every layer draws its own weights"


def test_equal_networks_are_one():
    """However they are asked for: what was compiled for one is found again."""
    spellings = {
        jaxrnn.make_gru: [{}, {"reset": "after"}, {"update": "keep", "reset": "after"}],
        jaxrnn.make_elman: [{}, {"activation": "tanh"}],
        jaxrnn.make_lstm: [{}, {"forget_gate": True}, {"candidate_activation": jnp.tanh}],
        jaxrnn.cells.make_prototype: [{}, {"bound": None, "axis": -1}],
        jaxrnn.grid.make_md_lstm: [{}, {"axes": 2}],
        partial(stack, lstm, gru): [{}, {"dropout": 0.0}, {"dropout": (0, 0)}],
        partial(bidirectional, lstm): [{}, {"backward": lstm}, {"merge": "concat"}],
        partial(rnn, lstm): [{}, {"num_layers": 1, "bidirectional": False}],
        partial(jaxrnn.learned_carry, lstm): [{}],
    }
    for make, options in spellings.items():
        made = [make(**each) for each in options]
        made += [pickle.loads(pickle.dumps(made[0])), copy.deepcopy(made[0])]
        assert len(set(made)) == 1, make
        assert len(repr(made[0])) < 60
    assert rnn(lstm, 2) == stack(lstm, lstm)
    assert stack(lstm, lstm, dropout=0.5) != stack(lstm, lstm)
    assert (
        len(
            {
                jaxrnn.make_gru(reset=r, update=u)
                for r in ("after", "before")
                for u in ("keep", "write")
            }
        )
        == 4
    )
    with pytest.raises(TypeError, match=r"make_gru\(\) got an unexpected keyword argument 'merge'"):
        jaxrnn.make_gru(merge="sum")
    with pytest.raises(TypeError, match=r"cells\[0\]: expected a Cell or a Layer, got list"):
        stack([lstm, lstm])


@pytest.mark.slow
def test_cells_are_not_kept():
    """Two hundred functions of a user's go when the cells made of them do."""
    phis = [lambda z, k=k: k * z for k in range(200)]
    gone = [weakref.ref(phi) for phi in phis]
    cells = [jaxrnn.make_elman(activation=phi) for phi in phis]
    nets = [bidirectional(stack(cell, cell)) for cell in cells]
    params = cells[0].init(jax.random.key(0), D, H)
    for cell in cells:
        cell.step(params, cell.carry(params), jnp.ones(D))
    del phis, cells, nets, cell
    gc.collect()
    assert sum(phi() is not None for phi in gone) < 150


@exact
def test_rates_of_dropout():
    """One for every output but the last, or one each; what would drop nothing is refused."""
    assert stack(lstm, gru, gru, dropout=0.5).spec.dropout == (0.5, 0.5, 0.0)
    assert stack(lstm, gru, gru, dropout=(0.1, 0.2)).spec.dropout == (0.1, 0.2, 0.0)
    net = stack(gru, gru, dropout=(0.0, 0.5))
    params, xs, _ = example(net)
    ys = jaxrnn.scan(net, params, xs, key=jax.random.key(0))[1]
    plain = jaxrnn.scan(net, params, xs)[1]
    assert_close(ys[ys != 0], 2 * plain[ys != 0], "the last output is dropped")
    assert 0.3 < np.mean(ys == 0) < 0.7
    with pytest.raises(ValueError, match=r"dropout: expected 0 for a single layer, got 0.9"):
        rnn(lstm, 1, dropout=0.9)
    with pytest.raises(ValueError, match=r"dropout: expected one rate, or 1 or 2 of them, got 3"):
        rnn(lstm, 2, dropout=(0.1, 0.1, 0.1))


@exact
def test_outputs_that_are_a_pytree_inside_a_stack():
    """A layer above takes them as its inputs."""
    split = gru._replace(output=lambda p, h, z: {"a": h, "b": jnp.abs(h)})
    read = gru._replace(project=lambda p, x: gru.project(p, x["a"] * x["b"]))
    net = stack(split, read, dropout=0.2)
    params = net.init(jax.random.key(0), D, H, dtype=jnp.float64)
    xs = random_like(jax.ShapeDtypeStruct((T, B, D), jnp.float64), 2)
    key = jax.random.key(1)
    got = scan(net, params, xs, None, key=key)
    assert_close(got, loop(net, params, xs, net.carry(params, (B,)), key=key), "")


@exact
@pytest.mark.parametrize("merge", MERGES)
def test_merges(merge):
    layer = bidirectional(gru, merge=merge)
    params, xs, carry = example(layer)
    ys = jaxrnn.scan(layer, params, xs, carry)[1]
    a, b = jnp.split(jaxrnn.scan(bidirectional(gru), params, xs, carry)[1], 2, axis=-1)
    assert_close(ys, MERGES[merge](a, b), merge)


@exact
def test_a_merge_of_ones_own():
    """Its outputs past a row's length are zero too."""
    layer = bidirectional(gru, merge=lambda a, b: a - b + 1)
    params, xs, carry = example(layer)
    (ahead, back), ys = jaxrnn.scan(layer, params, xs, carry, lengths=[5, 2])
    a = jaxrnn.scan(gru, params.forward, xs, carry.forward, lengths=[5, 2])
    b = jaxrnn.scan(gru, params.backward, xs, carry.backward, lengths=[5, 2], reverse=True)
    assert_same((ahead, back), (a[0], b[0]), "carries")
    valid = np.arange(T)[:, None, None] < np.array([5, 2])[:, None]
    assert_close(ys, np.where(valid, a[1] - b[1] + 1, 0), "outputs")


# Dropout

RATE = 0.4
DROPPED = stack(lstm, gru, gru, dropout=RATE)
TWO_WAYS = rnn(gru, 2, bidirectional=True, dropout=RATE)


def identity_cell():
    """A cell that hands on its input: what arrives shows the dropout masks themselves."""

    return Cell(
        name="identity",
        init=lambda key, d, h, *, dtype=jnp.float32: (),
        carry=lambda params, batch_shape=(): jnp.zeros((*batch_shape, 1)),
        project=lambda params, x: x,
        recurrent=lambda params, carry: None,
        update=lambda params, carry, z: carry,
        output=lambda params, carry, z: z,
    )


def masks(layers, key, shape=(20, 3, 50), start=0):
    """The product of the masks of a stack of identities, one fewer than layers."""
    net = stack(*[identity_cell()] * layers, dropout=RATE if layers > 1 else 0)
    ones = jnp.ones(shape, jnp.float32)
    return np.asarray(jaxrnn.scan(net, ((),) * layers, ones, key=key, start=start)[1])


def test_dropout_masks():
    """Inverted, of the rate asked for, anew at every step, row, layer and key; none at the end."""
    key = jax.random.key(0)
    one = masks(2, key)
    assert set(np.unique(one)) == {np.float32(0), np.float32(1 / (1 - RATE))}
    n, kept = one.size, np.count_nonzero(one)
    assert abs(kept - n * (1 - RATE)) < 4 * np.sqrt(n * RATE * (1 - RATE))
    for axis in (0, 1, 2):
        step = np.moveaxis(one, axis, 0)
        assert (step[1:] != step[:1]).any(axis=(1, 2)).all(), f"frozen along axis {axis}"
    assert (masks(2, jax.random.key(1)) != one).any(), "another call"
    both = masks(3, key)
    second = both[one != 0]
    share = np.count_nonzero(second) / second.size
    assert abs(share - (1 - RATE)) < 4 * np.sqrt(RATE * (1 - RATE) / second.size), "another layer"
    np.testing.assert_array_equal(masks(1, key), 1)
    np.testing.assert_array_equal(masks(3, None), 1)
    np.testing.assert_array_equal(masks(2, jax.random.PRNGKey(0)), one)  # keys of either style


@exact
def test_dropout_depends_on_key_and_absolute_time_only():
    """Whole, in chunks, in pieces and step by step."""
    params, xs, carry = example(DROPPED)
    key = jax.random.key(3)
    run = quick(partial(jaxrnn.scan, DROPPED), static_argnames=("chunk",))
    whole = run(params, xs, carry, key=key)
    steps = quick(partial(loop, DROPPED))
    assert_close(steps(params, xs, carry, key=key)[:2], whole, "steps: ")
    assert_close(run(params, xs, carry, key=key, chunk=2), whole, "chunks: ")
    middle, head = run(params, xs[:2], carry, key=key)
    last, tail = run(params, xs[2:], middle, key=key, start=2)
    assert_close((last, jnp.concatenate([head, tail])), whole, "pieces: ")
    plain = run(params, xs, carry)
    assert_close(
        plain, quick(partial(jaxrnn.scan, stack(lstm, gru, gru)))(params, xs, carry), "no key: "
    )
    assert np.abs(plain[1] - whole[1]).max() > 1e-3


def noisy(cell):
    """A cell disturbed at every step where a key is given."""

    def randomize(params, zx, key):
        return jax.tree.map(lambda z: z + jax.random.normal(key, z.shape, z.dtype), zx)

    return cell._replace(randomize=randomize)


@exact
@pytest.mark.slow
@pytest.mark.parametrize("dropout", [0.0, RATE])
def test_a_stack_of_stochastic_cells(dropout):
    """Each layer has randomness of its own, the same step by step as at once."""
    net = stack(noisy(lstm), stack(noisy(lstm), noisy(gru)), dropout=dropout)
    inputs = example(net)
    key = jax.random.key(4)
    whole = quick(partial(scan, net))(*inputs, key=key)
    assert_close(quick(partial(loop, net))(*inputs, key=key), whole, "steps: ")
    assert np.abs(whole[1] - scan(net, *inputs)[1]).max() > 1e-3

    twins = bidirectional(noisy(gru))
    params, xs, carry = example(twins)
    one = Directions(params.forward, params.forward), xs[:1], Directions(*[carry.forward] * 2)
    a, b = jnp.split(scan(twins, *one, key=key)[1], 2, axis=-1)
    assert np.abs(a - b).max() > 1e-3, "and so has each direction"


@exact
@pytest.mark.parametrize("net", some([TWO_WAYS, DROPPED], (DROPPED,)), ids=["two ways", "stack"])
def test_gradient_under_dropout(net):
    """Against finite differences at a fixed key, in a random direction."""
    inputs = example(net)
    tangents = random_like(inputs, 7)

    def loss(inputs, key):
        return jnp.sum(jnp.sin(scan(net, *inputs, key=key, lengths=jnp.array([5, 3]))[1]))

    value, gradient_of = quick(loss), quick(jax.grad(loss))

    def moved(by):
        return jax.tree.map(lambda x, t: x + by * t, inputs, tangents)

    key, eps = jax.random.key(8), 1e-5
    gradient = gradient_of(inputs, key)
    slope = sum(
        np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, tangents)), strict=True)
    )
    difference = (value(moved(eps), key) - value(moved(-eps), key)) / (2 * eps)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)
    other = gradient_of(inputs, jax.random.key(9))
    leaves = zip(*map(jax.tree.leaves, (gradient[0], other[0])), strict=True)
    assert all(np.any(a != b) for a, b in leaves), "the key must matter to every gradient"


@pytest.mark.slow
def test_a_network_is_exported_and_read_again():
    """Its named tuples go into the file; batch and time may be symbols."""
    net = stack(bidirectional(gru), lstm)
    params = net.init(jax.random.key(0), D, H)
    run = jax.jit(lambda params, xs: jaxrnn.scan(net, params, xs))
    shape = jax.export.symbolic_shape("t, b, 3")
    made = jax.export.export(run)(params, jax.ShapeDtypeStruct(shape, jnp.float32))
    again = jax.export.deserialize(made.serialize())
    for time, batch in ((4, 2), (7, 1)):
        xs = jax.random.normal(jax.random.key(1), (time, batch, D))
        assert_close(again.call(params, xs), run(params, xs), "exported: ", 1e-6)


def plain(tree):
    """As orbax gives it back without a target."""
    if hasattr(tree, "_asdict"):
        return {name: plain(part) for name, part in tree._asdict().items()}
    return [plain(part) for part in tree] if isinstance(tree, tuple) else tree


@pytest.mark.parametrize("use_bias", [True, False])
def test_parameters_from_dicts_and_lists(use_bias):
    net = stack(bidirectional(jaxrnn.learned_carry(gru)), stack(lstm, gru_reset_before))
    params = net.init(jax.random.key(0), D, H, use_bias=use_bias)
    with pytest.raises(TypeError, match="params_from makes parameters"):
        jaxrnn.scan(net, plain(params), jnp.ones((T, B, D)))
    assert_same(jaxrnn.networks.params_from(net, plain(params)), params, "plain")
    by_place = {str(k): part for k, part in enumerate(plain(params))}
    assert_same(jaxrnn.networks.params_from(net, by_place), params, "by place")
    short = plain(params)
    del short[1][0]["input_kernel"]
    with pytest.raises(ValueError, match=r"tree\[1\]\[0\]: expected input_kernel, .*got recurr"):
        jaxrnn.networks.params_from(net, short)
    with pytest.raises(ValueError, match=r"tree: expected 0, 1, got 0$"):
        jaxrnn.networks.params_from(net, short[:1])
