"""One table: every cell of `jaxrnn.cells.CELLS` × what must be true of every cell.

The reference is a plain Python loop over `cell.step` in float64 with random weights, random
distinct biases and a random carry, D ≠ H. A cell added to the table is tested by being there;
of those whose equations are another's with an option less, the values and what they are made of.
"""

import copy
import inspect
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import jaxrnn
from jaxrnn.cells import CELLS
from jaxrnn.networks import Directions
from tests.reference import (
    FAMILIES,
    KINDS,
    OTHERS,
    SIZES,
    B,
    T,
    assert_close,
    assert_same,
    flip,
    inner,
    loop,
    make,
    quick,
    random_like,
    reference,
    scan,
    some,
    values,
    with_gradients,
)

pytestmark = pytest.mark.usefixtures("x64", "strict")


DEEP = (*KINDS, "gru", "lstm_peephole_full", "lstm_projected", "lstm_prototype_normalized")


@pytest.fixture(params=CELLS, scope="module")
def name(request):
    """Module-wide, so that the tests of one cell run together and share what is cached."""
    return request.param


@pytest.fixture(
    params=[pytest.param(n, marks=() if n in KINDS else pytest.mark.slow) for n in FAMILIES],
    scope="module",
)
def thorough(request):
    """One cell of each family among the slow tests, one of each kind among the others."""
    return request.param


@pytest.fixture(
    params=[pytest.param(n, marks=() if n == "lstm" else pytest.mark.slow) for n in DEEP],
    scope="module",
)
def deep(request):
    """The same for what takes longest to compile: the LSTM, among the slow one of each kind."""
    return request.param


def test_signature(name):
    cell = CELLS[name]

    def positional(f):
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [p for p in inspect.signature(f).parameters.values() if p.kind in kinds]

    arity = {"carry": 2, "project": 2, "recurrent": 2, "update": 3, "output": 3}
    for field, count in arity.items():
        got = [p.name for p in positional(getattr(cell, field))]
        assert len(got) == count, f"{field}{tuple(got)}"
    assert [p.name for p in positional(cell.init)] == ["key", "input_size", "hidden_size"]
    options = inspect.signature(cell.init).parameters
    assert "dtype" in options or any(p.kind is p.VAR_KEYWORD for p in options.values())
    assert positional(cell.carry)[1].default == ()
    assert isinstance(cell.name, str)
    params = cell.init(jax.random.key(0), *SIZES.get(name, (3, 4)))
    of_complex = {leaf.dtype for leaf in jax.tree.leaves(cell.carry(params))} - {np.dtype("f4")}
    assert of_complex <= {np.dtype("c8")}, "float32 by default, also of complex numbers"
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("f4")}
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(cell.carry(params, (2,))))


def test_a_cell_is_what_made_it(name):
    """Equal, hashed, pickled and copied by its spec; changed, it is another; short to print."""
    cell = CELLS[name]
    for again in (cell.spec.make(), pickle.loads(pickle.dumps(cell)), copy.deepcopy(cell)):
        assert again == cell
        assert hash(again) == hash(cell)
    others = [other for key, other in CELLS.items() if key != name]
    assert cell not in others, "the registry lists each once"
    assert cell._replace(name=cell.name) != cell, "whoever changes it makes another"
    assert cell._replace().spec is None
    assert len(repr(cell)) < 80


def test_without_biases(thorough):
    """`use_bias=False`: no leaf of that kind, and the function of zero biases."""
    cell, size = CELLS[thorough], SIZES.get(thorough, (3, 4))
    full = cell.init(jax.random.key(0), *size, dtype=jnp.float64)
    if not any("bias" in name for name in full._fields):
        return
    bare = cell.init(jax.random.key(0), *size, dtype=jnp.float64, use_bias=False)
    zero = jax.tree_util.tree_map_with_path(
        lambda path, leaf: 0 * leaf if "bias" in jax.tree_util.keystr(path) else leaf, full
    )
    paths = {jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(bare)}
    assert not any("bias" in path for path in paths)
    xs = make(thorough).xs
    run = quick(partial(scan, cell))
    assert_close(run(bare, xs, None), run(zero, xs, None), thorough)


@pytest.mark.parametrize("name", some(list(CELLS), (*FAMILIES, "min_gru", "mgu")))
def test_values(name):
    """Every cell's values, from a carry; and a packed row of two sequences, each begun anew."""
    case = make(name)
    reset = np.zeros((T, B), bool)
    reset[2] = True
    got = quick(partial(scan, case.cell))(*case.inputs, None, None, reset)
    assert_close(got, values(name)(*case.inputs, reset), name)


@pytest.mark.parametrize("name", some(OTHERS, ("min_gru", "mgu")))
def test_in_short(name):
    """Of cells whose kind is tested at length: values and gradients with every flag, dtypes."""
    case, rng = make(name), np.random.default_rng(0)
    lengths, mask, reset = np.array([4, 5]), rng.random((T, B)) < 0.6, rng.random((T, B)) < 0.4
    within = np.arange(T)[:, None] < lengths
    dirty = np.array(case.xs)
    dirty[~(mask & within)] = np.nan
    run = quick(with_gradients(partial(scan, case.cell, chunk=2)))
    got = run(case.weights, case.params, dirty, case.carry, lengths, mask, reset)
    flags = {"valid": mask & within, "reset": reset & within}
    assert_close(got, reference(name)(case.weights, *case.inputs, **flags), name)
    every = np.full(B, T), np.ones((T, B), bool), np.zeros((T, B), bool)
    wanted = reference(name)(case.weights, *case.inputs)
    assert_close(run(case.weights, *case.inputs, *every), wanted, name)
    for path, leaf in jax.tree_util.tree_leaves_with_path(wanted[1]):
        assert np.any(leaf != 0), f"{jax.tree_util.keystr(path)} does not matter"
    params = case.cell.init(case.key, *SIZES.get(name, (3, 4)), dtype=jnp.bfloat16)
    given = case.cell.carry(params, (B,))
    carry, ys, _ = quick(partial(scan, case.cell))(params, case.xs.astype(jnp.bfloat16), given)
    kept = [(a.dtype, b.dtype) for a, b in zip(*map(jax.tree.leaves, (carry, given)), strict=True)]
    assert all(a == b for a, b in kept), "the dtype of a carry changes"
    leaves = jax.tree.leaves(ys)
    assert all(np.isfinite(np.asarray(leaf, np.float32)).all() for leaf in leaves)


def test_scan_is_the_loop(thorough):
    """Values, gradients and tangents; every leaf matters; a second call does not trace."""
    case, traces = make(thorough), 0
    wanted, gradients = reference(thorough)(case.weights, *case.inputs, key=case.key)

    @jax.jit
    def f(weights, tangents, *inputs):
        nonlocal traces
        traces += 1
        key = None if case.cell.randomize is None else case.key
        run = partial(scan, case.cell, key=key)
        outputs, pull = jax.vjp(run, *inputs)
        return outputs, pull(weights), jax.jvp(run, inputs, tangents)[1]

    tangents = random_like(case.inputs, 6)
    outputs, cotangents, pushed = f(case.weights, tangents, *case.inputs)
    assert_close(outputs, wanted, "outputs")
    assert_close(cotangents, gradients, "gradient of ")
    np.testing.assert_allclose(
        inner(pushed, case.weights), inner(tangents, gradients), rtol=1e-11, atol=1e-11
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(cotangents):
        assert np.any(leaf != 0), f"{jax.tree_util.keystr(path)} does not matter"

    f(case.weights, tangents, case.params, 2 * case.xs, outputs[0])
    assert traces == 1, "a second call with the same shapes traced again"


def test_lengths_masks_and_resets(thorough):
    """Each by itself and all together, both ways, with a chunk that does not divide T."""
    case, rng = make(thorough), np.random.default_rng(0)
    full, mask, reset = np.full(B, T), np.ones((T, B), bool), np.zeros((T, B), bool)
    gaps, restarts = rng.random((T, B)) < 0.6, rng.random((T, B)) < 0.4
    restarts[0, 1] = restarts[4, 0] = True
    flags = {
        "none": (full, mask, reset),
        "lengths": (np.array([5, 3]), mask, reset),
        "length 0": (np.array([0, 4]), mask, reset),
        "mask": (full, gaps, reset),
        "reset": (full, mask, restarts),
        "all": (np.array([4, 5]), gaps, restarts),
    }
    for reverse, wanted in ((False, reference(thorough)), (True, reference(thorough, True))):
        options = {"reverse": True} if reverse else {"chunk": 2}
        run = quick(with_gradients(partial(scan, case.cell, **options)))
        outputs = {}
        for label, (lengths, mask, reset) in flags.items():
            what = f"{label}, {options}: "
            valid = mask & (np.arange(T)[:, None] < lengths)
            within = reset & (np.arange(T)[:, None] < lengths)
            want = wanted(case.weights, *case.inputs, valid=valid, reset=within)
            got = run(case.weights, *case.inputs, lengths, mask, reset)
            outputs[label] = got[0]
            assert_close(got, want, what)

            dirty = np.array(case.xs)
            dirty[~valid] = np.resize([np.nan, np.inf, -np.inf], dirty[~valid].shape)
            padded = run(case.weights, case.params, dirty, case.carry, lengths, mask, reset)
            assert_same(padded, got, what + "NaN and Inf in the padding")

        carry, ys, _ = outputs["length 0"]
        assert_same(*(jax.tree.map(lambda c: c[0], c) for c in (carry, case.carry)), "length 0")
        assert not np.any(ys[:, 0]), "length 0"


def test_windows_and_steps(thorough):
    """A scan with resets = scans of its pieces, the carry handed on = single steps; both ways.

    A boundary lies between two steps: it may be the first of a piece, or be masked.
    """
    case, rng = make(thorough), np.random.default_rng(5)
    params, xs, carry = case.inputs
    mask, reset = rng.random((T, B)) < 0.7, rng.random((T, B)) < 0.5
    reset[2], mask[2, 0] = True, False  # where the second piece begins, and masked
    run = quick(partial(scan, case.cell), static_argnames=("reverse",))
    for reverse in (False, True):
        last, ys, carries = run(params, xs, carry, None, mask, reset, reverse=reverse)
        held, pieces = carry, {}
        for part in (slice(3, T), slice(2, 3), slice(0, 2))[:: 1 if reverse else -1]:
            flags = mask[part], reset[part]
            held, *pieces[part.start] = run(params, xs[part], held, None, *flags, reverse=reverse)
        joined = jax.tree.map(
            lambda *leaves: jnp.concatenate(leaves), *(pieces[k] for k in (0, 2, 3))
        )
        assert_close((held, *joined), (last, ys, carries), f"windows, reverse={reverse}: ")
    last, ys, _ = run(params, xs, carry, None, None, reset)
    step = quick(case.cell.step)
    for t in range(T):
        carry, y = step(params, carry, xs[t], reset=reset[t])
        assert_close(y, ys[t], f"step {t}: ")
    assert_close(carry, last, "steps: ")


def test_a_packed_row_is_its_sequences_alone(thorough):
    """In both directions, with gradients; a NaN of the sequence before does not survive."""
    case, ends = make(thorough), (2, T)
    layer = jaxrnn.bidirectional(case.cell)
    params = Directions(case.params, jax.tree.map(lambda p: 0.5 * p, case.params))
    xs = case.xs[:, 0]
    reset = jnp.zeros(T, bool).at[jnp.array([0, *ends[:-1]])].set(True)
    weights = jnp.asarray(np.random.default_rng(6).normal(size=(T, 64)))

    def loss(params, xs, packed):
        if packed:
            zero = layer.carry(params)
            broken = zero._replace(forward=jax.tree.map(lambda leaf: leaf + jnp.nan, zero.forward))
            ys = jaxrnn.scan(layer, params, xs, broken, reset=reset)[1][: ends[0]]
        else:
            ys = jaxrnn.scan(layer, params, xs[: ends[0]])[1]
        return jnp.sum(ys * weights[: ends[0], : ys.shape[-1]])

    got, want = (
        quick(jax.value_and_grad(partial(loss, packed=packed), (0, 1)))(params, xs)
        for packed in (True, False)
    )
    assert_close(got, want, "the first of a row: ")
    whole = quick(lambda params: jaxrnn.scan(layer, params, xs, reset=reset)[1])(params)
    second = quick(lambda params: jaxrnn.scan(layer, params, xs[ends[0] :])[1])(params)
    assert_close(whole[ends[0] :], second, "the second of a row")


def test_batches(thorough):
    """Rows alone, under `vmap`, in two batch axes; per-example gradients; no time; no batch."""
    case = make(thorough)
    lengths, row = np.array([T, 3]), 1
    valid = np.arange(T)[:, None] < lengths
    last, ys, carries = case.weights
    weights = last, ys, jax.tree.map(jnp.zeros_like, carries)
    at_end = lambda b: jax.tree.map(lambda w: w.at[b].set(0), weights[0])  # noqa: E731
    along = lambda b: jax.tree.map(lambda w: w.at[:, b].set(0), weights[1:])  # noqa: E731
    only = [(at_end(b), *along(b)) for b in range(B)]
    each = [reference(thorough)(only[1 - b], *case.inputs, valid=valid) for b in range(B)]
    outputs, summed = reference(thorough)(weights, *case.inputs, valid=valid)

    axes = (0, 1, 1)
    examples = jax.vmap(
        with_gradients(partial(scan, case.cell)), (axes, None, 1, 0, 0), (axes, (0, 1, 0))
    )
    got, (params, xs, carry) = quick(examples)(weights, *case.inputs, lengths)
    assert_close(got, outputs, "vmap: ")
    assert_close((xs, carry), summed[1:], "vmap: gradient of xs and carry")
    want = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(gradients[0] for _, gradients in each))
    assert_close(params, want, "per-example gradients of params")

    alone = quick(with_gradients(partial(scan, case.cell)))
    ragged = {"forward": (outputs, each[row][1])}
    ragged["reverse"] = reference(thorough, True)(only[1 - row], *case.inputs, valid=valid)
    for way, (outputs, gradients) in ragged.items():
        turn = flip if way == "reverse" else lambda tree: tree
        cut = lambda tree: turn(jax.tree.map(lambda leaf: leaf[:3, row], tree))  # noqa: B023, E731
        end = lambda tree: jax.tree.map(lambda leaf: leaf[row], tree)  # noqa: E731
        mine = end(weights[0]), *cut(weights[1:])
        got = alone(mine, case.params, cut(case.xs), end(case.carry))
        want = (
            (end(outputs[0]), *cut(outputs[1:])),
            (
                gradients[0],
                cut(gradients[1]),
                end(gradients[2]),
            ),
        )
        assert_close(got, want, f"a row alone and unpadded, {way}: ")

    def pair(a, b, axis):
        return jax.tree.map(lambda a, b: jnp.stack([a, b], axis), a, b)

    turned = case._replace(xs=-flip(case.xs), carry=flip(case.carry))
    rest = jax.tree.map(lambda w: w[:0], weights[1:])

    @quick
    def odd(params, xs, carry):
        run = partial(scan, case.cell)
        two = run(params, pair(xs, turned.xs, 2), pair(carry, turned.carry, 1))
        no_time = with_gradients(run)((weights[0], *rest), params, xs[:0], carry)
        nobody = jax.tree.map(lambda leaf: leaf[:0], (weights[0], carry))
        empty = jax.tree.map(lambda leaf: leaf[:, :0], (weights[1:], xs))
        no_batch = with_gradients(run)((nobody[0], *empty[0]), params, empty[1], nobody[1])
        return two, no_time, no_batch

    (last, *both), no_time, no_batch = odd(*case.inputs)
    want = [reference(thorough)(weights, *one.inputs)[0] for one in (case, turned)]
    assert_close(last, pair(*(w[0] for w in want), 1), "two batch axes: ")
    assert_close(tuple(both), pair(*(w[1:] for w in want), 2), "two batch axes: ")
    assert_same(no_time[0], (case.carry, *jax.tree.map(lambda w: w[:0], want[0][1:])), "T = 0: ")
    assert_same(no_time[1][2], weights[0], "T = 0: gradient of carry")
    for what, (_, gradients) in {"T = 0": no_time, "batch 0": no_batch}.items():
        assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradients[:2])), what
    assert all(leaf.size == 0 for leaf in jax.tree.leaves(no_batch[0]))


BOUNDS = {"float32": 32, "bfloat16": 8, "float16": 8}
"""How far off outputs may be, in units of the dtype's epsilon times the largest output."""
HALF = {"bfloat16": 16, "float16": 16}
"""The same for gradients."""


def cast(name, dtype):
    """The case's arguments rounded to the dtypes that the cell gives itself, and rounded back."""
    case, size = make(name), SIZES.get(name, (3, 4))
    to = lambda tree, like: jax.tree.map(lambda x, y: x.astype(y.dtype), tree, like)  # noqa: E731
    params = to(case.params, case.cell.init(case.key, *size, dtype=dtype))
    low = params, case.xs.astype(dtype), to(case.carry, case.cell.carry(params))
    return low, to(low, case.inputs)


def test_dtypes(thorough):
    """Dtype in is dtype out; the half types round no more than they must."""
    case = make(thorough)
    low, exact = {}, {}
    for dtype in BOUNDS:
        low[dtype], exact[dtype] = cast(thorough, dtype)
    results = quick(lambda low: {d: scan(case.cell, *args) for d, args in low.items()})(low)
    for dtype, bound in BOUNDS.items():
        (params, _, carry), (last, ys, carries) = low[dtype], results[dtype]
        assert {leaf.dtype for leaf in jax.tree.leaves((params, ys))} == {jnp.dtype(dtype)}
        for kept in (last, carries):
            pairs = zip(*map(jax.tree.leaves, (kept, carry)), strict=True)
            assert all(a.dtype == b.dtype for a, b in pairs), dtype
        if hasattr(carry, "c"):
            assert carry.c.dtype == jnp.float32, "c accumulates: it stays float32"
        want, _ = reference(thorough)(case.weights, *exact[dtype])
        assert_close((last, ys, carries), want, dtype, bound * float(jnp.finfo(dtype).eps))


@pytest.mark.slow
def test_second_derivatives(deep):
    """Forward over reverse, reverse over reverse and forward over forward."""
    case, time = make(deep), 3
    point, unravel = ravel_pytree((case.params, case.xs[:time, :1], first_row(case.carry)))
    last, ys, carries = case.weights
    weights = first_row(last), ys[:time, :1], jax.tree.map(lambda w: w[:time, :1], carries)
    v = random_like(point, 7)

    def hessian(run):
        return jax.hessian(lambda z: inner(run(case.cell, *unravel(z)), weights))

    def derivatives(z):
        f = lambda z: inner(scan(case.cell, *unravel(z)), weights)  # noqa: E731
        along = lambda z: jax.jvp(f, (z,), (v,))[1]  # noqa: E731
        return hessian(scan)(z), jax.grad(lambda z: jax.grad(f)(z) @ v)(z), jax.grad(along)(z)

    full, reverse, forward = quick(derivatives)(point)
    want = quick(hessian(loop))(point)
    assert np.any(want)
    assert_close(full, want, "hessian")
    assert_close((reverse, forward), (want @ v, want @ v), "hessian times a vector")


def first_row(carry):
    return jax.tree.map(lambda leaf: leaf[:1], carry)


@pytest.mark.slow
def test_transformations(deep):
    """Chunks, pieces, unrolling, `jax.checkpoint`, a scan around it, Jacobians, ensembles."""
    case = make(deep)
    want = reference(deep)(case.weights, *case.inputs)
    backward = reference(deep, True)(case.weights, *case.inputs)

    def pieces(params, xs, carry, *, at=2, **options):
        carry, *head = scan(case.cell, params, xs[:at], carry, **options)
        carry, *tail = scan(case.cell, params, xs[at:], carry, **options)
        return carry, *jax.tree.map(lambda a, b: jnp.concatenate([a, b]), head, tail)

    def steps(params, xs, carry):
        """A scan around a scan."""
        run = lambda carry, x: (lambda c, *rest: (c, rest))(*scan(case.cell, params, x, carry))  # noqa: E731
        carry, out = jax.lax.scan(run, carry, xs[:, None])
        return carry, *jax.tree.map(lambda leaf: leaf[:, 0], out)

    run = partial(scan, case.cell)
    forward = {
        "chunk = 1": partial(run, chunk=1),
        "chunk = 4": partial(run, chunk=4),
        "chunk = T": partial(run, chunk=T),
        "unroll = 2": partial(run, unroll=2),
        "two pieces": pieces,
        "lax.scan around it": steps,
        "jax.checkpoint": jax.checkpoint(run),
        "jit inside": jax.jit(run),
    }
    reverse = {
        "reverse, chunk = 1": partial(run, reverse=True, chunk=1),
        "reverse, chunk = 2": partial(run, reverse=True, chunk=2),
        "reverse, unroll = 3": partial(run, reverse=True, unroll=3),
    }
    for ways, expected in ((forward, want), (reverse, backward)):
        fs = {label: with_gradients(f) for label, f in ways.items()}
        got = quick(lambda *a, fs=fs: {k: f(*a) for k, f in fs.items()})(case.weights, *case.inputs)
        for label, each in got.items():
            assert_close(each, expected, f"{label}: ")

    def jacobians(carry):
        f = lambda carry: run(case.params, case.xs, carry)[0]  # noqa: E731
        g = lambda carry: loop(case.cell, case.params, case.xs, carry)[0]  # noqa: E731
        return jax.jacrev(f)(carry), jax.jacfwd(f)(carry), jax.jacfwd(g)(carry)

    by_rows, by_columns, jacobian = quick(jacobians)(case.carry)
    assert_close(by_rows, jacobian, "jacrev")
    assert_close(by_columns, jacobian, "jacfwd")

    other = jax.tree.map(jnp.add, case.params, random_like(case.params, 8, 0.1))
    pair = jax.tree.map(lambda a, b: jnp.stack([a, b]), case.params, other)
    ensemble = jax.vmap(with_gradients(run), (None, 0, None, None))
    got = quick(ensemble)(case.weights, pair, case.xs, case.carry)
    each = want, reference(deep)(case.weights, other, case.xs, case.carry)
    assert_close(got, jax.tree.map(lambda a, b: jnp.stack([a, b]), *each), "vmap over params: ")


@pytest.mark.slow
def test_half_gradients(deep):
    """Gradients in the half types against float64, and their dtypes."""
    case = make(deep)
    low, exact = {}, {}
    for dtype in HALF:
        low[dtype], exact[dtype] = cast(deep, dtype)
    _, ys, _ = case.weights

    def gradients(args):
        f = lambda *inputs: scan(case.cell, *inputs)[1]  # noqa: E731
        outputs, pull = jax.vjp(f, *args)
        return pull(ys.astype(outputs.dtype))

    got = quick(lambda low: {d: gradients(args) for d, args in low.items()})(low)
    for dtype, bound in HALF.items():
        pairs = zip(*map(jax.tree.leaves, (got[dtype], low[dtype])), strict=True)
        assert all(a.dtype == b.dtype for a, b in pairs), dtype
        last, _, carries = jax.tree.map(jnp.zeros_like, case.weights)
        rounded = ys.astype(dtype).astype(ys.dtype)
        _, want = reference(deep)((last, rounded, carries), *exact[dtype])
        assert_close(got[dtype], want, dtype, bound * float(jnp.finfo(dtype).eps))


def test_what_scan_takes_for_granted(thorough):
    """The recurrent map is affine, and `jaxrnn.analysis.check` tells where it is not."""
    case = make(thorough)
    jaxrnn.analysis.check(case.cell, case.params, case.xs, tolerance=1e-12)
    read = jax.eval_shape(case.cell.recurrent, case.params, case.carry)
    if not jax.tree.leaves(read):  # nothing of the carry is read outside of the update
        return
    bend = lambda params, s: case.cell.recurrent(params, jax.tree.map(jnp.sin, s))  # noqa: E731
    with pytest.raises(ValueError, match="to be affine in the carry"):
        jaxrnn.analysis.check(case.cell._replace(recurrent=bend), case.params, case.xs)
