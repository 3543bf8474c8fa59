"""Graphs and trees against recursive Python references."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import graph
from jaxrnn.cells import LSTMCarry, LSTMParams
from tests.reference import quick

pytestmark = pytest.mark.usefixtures("x64", "strict")

F, H = 3, 2
neighbourhood = quick(graph.neighbourhood, static_argnames=("cell", "sentinel"))
tree_scan, tree_step = quick(graph.tree_scan), quick(graph.tree_step)
lstm_scan, gru_scan = quick(jaxrnn.lstm_scan), quick(jaxrnn.gru_scan)


def randomly(tree, seed=0):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.7), tree)


def values(*shape, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape))


def close(got, expected, tolerance=1e-12):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        got,
        expected,
    )


def weigh(tree):
    """A scalar in which every number counts differently."""
    return sum(
        jnp.vdot(jnp.cos(jnp.arange(leaf.size, dtype=leaf.dtype)), leaf.ravel())
        for leaf in jax.tree.leaves(tree)
    )


def results_and_gradients(f):
    """What f of two arguments gives, and the gradients of what `weigh` makes of it."""

    def weighed(params, xs):
        results = f(params, xs)
        return weigh(results), results

    graded = quick(jax.grad(weighed, (0, 1), has_aux=True))
    return lambda params, xs: graded(params, xs)[::-1]


def sigma(z):
    return 1 / (1 + (np if isinstance(z, np.ndarray) else jnp).exp(-z))


def lstm_reference(params, xs):
    """The last h of an LSTM over a list of inputs."""
    h = c = np.zeros(params.recurrent_kernel.shape[0])
    for x in xs:
        a = x @ params.input_kernel + h @ params.recurrent_kernel + params.bias
        i, f, g, o = (a[k * len(h) : (k + 1) * len(h)] for k in range(4))
        xp = np if isinstance(a, np.ndarray) else jnp
        c = sigma(f) * c + sigma(i) * xp.tanh(g)
        h = sigma(o) * xp.tanh(c)
    return h


def unfold(params, lists, features, node, sentinel=-100.0):
    """The value of a node by recursion over the tree the graph unfolds into."""
    level, *below = params
    if not lists[node]:
        return np.full(level.recurrent_kernel.shape[0], sentinel)
    xp = jnp if isinstance(features, jax.core.Tracer) else np
    xs = []
    for place, child in enumerate(lists[node]):
        x = features[node, place]
        if below:
            x = xp.concatenate([unfold(below, lists, features, child, sentinel), x])
        xs.append(x)
    return lstm_reference(level, xs)


def random_graph(seed, nodes=6, most=3):
    rng = np.random.default_rng(seed)
    lists = [rng.integers(0, nodes, rng.integers(0, most + 1)).tolist() for _ in range(nodes)]
    lists[rng.integers(nodes)] = []
    return lists


def host(*trees):
    return jax.tree.map(np.asarray, trees)


def levels(*sizes, seed=0, **options):
    init = partial(graph.neighbourhood_init, dtype=jnp.float64, **options)
    return randomly(jax.eval_shape(lambda key: init(key, F, sizes), jax.random.key(0)), seed)


# Neighbourhoods


@pytest.mark.parametrize(("sizes", "seed"), [((2,), 0), ((3, 2), 1), ((2, 4, 3), 2)])
def test_neighbourhood_is_the_recursion_over_the_unfolded_graph(sizes, seed):
    lists = random_graph(seed)
    neighbours = graph.from_lists(lists, width=4)
    params, features = levels(*sizes, seed=seed), values(6, 4, F)
    got = neighbourhood(params, neighbours, features, sentinel=-3.0)
    for node in range(6):
        close(got[node], unfold(*host(params), lists, *host(features), node, -3.0))


@pytest.mark.slow
def test_neighbourhood_gradients_equal_the_recursion_s():
    lists = [[1, 2], [0], [], [2, 3]]
    neighbours = graph.from_lists(lists)
    padding = np.arange(2) >= neighbours.lengths[:, None]
    params, clean = levels(3, 2), values(4, 2, F)
    dirty = jnp.where(padding[..., None], jnp.nan, clean)

    def ours(params, features):
        return graph.neighbourhood(params, neighbours, features, sentinel=-1.0)

    def reference(params, features):
        return jnp.stack([unfold(params, lists, features, node, -1.0) for node in range(4)])

    got = results_and_gradients(ours)(params, dirty)
    close(got, results_and_gradients(reference)(params, clean), 1e-11)
    assert bool((got[1][1][padding] == 0).all())


def test_one_level_is_a_plain_lstm_over_the_neighbours():
    lists = [[1, 2, 3], [0], [3, 1], []]
    neighbours = graph.from_lists(lists)
    (params,), nodes = levels(H), values(4, F)
    got = neighbourhood((params,), neighbours, nodes[neighbours.children])
    for node, children in enumerate(lists[:3]):
        carry, _ = lstm_scan(params, nodes[np.array(children)])
        close(got[node], carry.h)
    np.testing.assert_array_equal(got[3], -100.0)


def test_neighbourhood_with_another_cell_and_the_root_s_features():
    lists = [[1], [2, 0], [0]]
    neighbours = graph.from_lists(lists)
    params, features, root = levels(4, 2, cell=jaxrnn.gru), values(3, 2, F), values(3, 5, seed=2)
    got = neighbourhood(params, neighbours, features, cell=jaxrnn.gru, root=root)
    below = [gru_scan(params[1], features[n, : len(lists[n])])[0] for n in range(3)]
    xs = jnp.stack([jnp.concatenate([below[c], features[1, k]]) for k, c in enumerate(lists[1])])
    close(got[1], jnp.concatenate([gru_scan(params[0], xs)[0], root[1]]))


def test_shuffling_permutes_the_children_of_each_node_with_their_features():
    lists = [[1, 2, 3], [0, 2], [3], []]
    neighbours = graph.from_lists(lists, width=5)
    params, features = levels(H), values(4, 5, F)
    dirty = jnp.where((np.arange(5) < neighbours.lengths[:, None])[..., None], features, jnp.nan)
    shuffled = quick(lambda key: graph.neighbourhood(params, neighbours, dirty, shuffle=key))
    seen = [set() for _ in lists]
    for seed in range(40):
        got = np.asarray(shuffled(jax.random.key(seed)))
        for node, children in enumerate(lists):
            every = [
                unfold(
                    *host(params), [[0] * len(c) for c in lists], host(features)[0][:, order], node
                )
                for order in map(list, itertools.permutations(range(len(children))))
            ]
            matches = [k for k, one in enumerate(every) if np.allclose(got[node], one, atol=1e-12)]
            assert len(matches) == 1
            seen[node].update(matches)
    assert [len(orders) for orders in seen] == [6, 2, 1, 1]
    np.testing.assert_array_equal(shuffled(jax.random.key(3)), shuffled(jax.random.key(3)))


def test_shuffling_is_anew_at_each_level_and_follows_the_children():
    # Two levels: whatever the order, children and features must stay together.
    lists = [[1, 2], [0, 2], [1, 0]]
    neighbours = graph.from_lists(lists)
    params, features = levels(2, 3), values(3, 2, F)
    orders = list(itertools.product([[0, 1], [1, 0]], repeat=3))

    def level(p, order, below=None):
        out = []
        for node, mine in enumerate(order):
            xs = [host(features)[0][node, k] for k in mine]
            if below is not None:
                xs = [
                    np.concatenate([below[lists[node][k]], x])
                    for k, x in zip(mine, xs, strict=True)
                ]
            out.append(lstm_reference(host(p)[0], xs))
        return out

    every = {
        (a, b): np.stack(level(params[0], upper, level(params[1], lower)))
        for a, upper in enumerate(orders)
        for b, lower in enumerate(orders)
    }
    shuffled = quick(lambda key: graph.neighbourhood(params, neighbours, features, shuffle=key))
    found = set()
    for seed in range(12):
        got = np.asarray(shuffled(jax.random.key(seed)))
        matches = [pair for pair, one in every.items() if np.allclose(got, one, atol=1e-12)]
        assert len(matches) == 1
        found.add(matches[0])
    assert any(a != b for a, b in found)
    assert len(found) > 4


def test_union_and_vmap_batch_graphs():
    graphs = [graph.from_lists(random_graph(seed), width=3) for seed in (3, 4)]
    params, features = levels(3, 2), values(2, 6, 3, F)
    alone = jnp.stack([neighbourhood(params, g, f) for g, f in zip(graphs, features, strict=True)])
    joined = neighbourhood(params, graph.union(*graphs), features.reshape(12, 3, F))
    close(joined.reshape(2, 6, 3), alone)
    stacked = jax.tree.map(lambda *leaf: jnp.stack(leaf), *graphs)
    mapped = quick(jax.vmap(graph.neighbourhood, (None, 0, 0)))(params, stacked, features)
    close(mapped, alone)


# Padded lists


def test_builders_agree():
    edges = np.array([(0, 2), (3, 1), (0, 1), (3, 3), (0, 0)])
    got = graph.from_edges(edges, 5, width=4)
    assert got.children.shape == (5, 4)
    assert got.lengths.tolist() == [3, 0, 0, 2, 0]
    assert got.children[0, :3].tolist() == [2, 1, 0]
    assert got.children[3, :2].tolist() == [1, 3]
    for node in (0, 3):
        for place in range(got.lengths[node]):
            edge = edges[got.edges[node, place]]
            assert edge.tolist() == [node, got.children[node, place]]
    lists = graph.from_lists({3: [1, 3], 0: [2, 1, 0]}, nodes=5, width=4)
    np.testing.assert_array_equal(lists.children, got.children)
    np.testing.assert_array_equal(lists.lengths, got.lengths)
    assert lists.edges[0, :3].tolist() == [2, 3, 4]
    assert len(graph.from_lists({1: [4]}).lengths) == 5
    parents = [3, 3, -1, 2, 3]
    children = graph.from_parents(parents)
    assert children.children[3].tolist() == [0, 1, 4]
    np.testing.assert_array_equal(graph.parents_of(children), parents)
    empty = graph.from_edges([], 2)
    assert empty.children.shape == (2, 1)
    np.testing.assert_array_equal(graph.parents_of(empty), -1)


def test_union_numbers_nodes_and_edges_on():
    one, two = graph.from_lists([[1], []]), graph.from_lists([[], [0, 2], [1]])
    got = graph.union(one, two, one)
    assert got.lengths.tolist() == [1, 0, 0, 2, 1, 1, 0]
    assert got.children[[0, 3, 4, 5]].tolist() == [[1, 0], [2, 4], [3, 0], [6, 0]]
    assert got.edges[[0, 3, 4, 5]].tolist() == [[0, 0], [1, 2], [3, 0], [4, 0]]
    assert graph.union(one, two._replace(edges=None)).edges is None


# Trees


def random_tree(nodes, seed, roots=1):
    """Parents in random numbering."""
    rng = np.random.default_rng(seed)
    up = np.array([-1 if n < roots else rng.integers(max(0, n - 5), n) for n in range(nodes)])
    name = rng.permutation(nodes)
    parents = np.empty(nodes, int)
    parents[name] = np.where(up < 0, -1, name[up])
    return parents


def tree_reference(params, parents, xs):
    """(h, c) of every node by recursion from the roots."""
    size = params.recurrent_kernel.shape[0]
    xp = jnp if isinstance(xs, jax.core.Tracer) else np
    w, r, b = ([leaf[..., k * size : (k + 1) * size] for k in range(4)] for leaf in params)
    states = {}

    def visit(node):
        children = [child for child, parent in enumerate(parents) if parent == node]
        for child in children:
            visit(child)
        hs, cs = zip(*(states[child] for child in children), strict=True) if children else ((), ())
        h = sum(hs, np.zeros((*xs.shape[1:-1], size)))
        x = xs[node]
        i, g, o = (x @ w[k] + h @ r[k] + b[k] for k in (0, 2, 3))
        c = sigma(i) * xp.tanh(g)
        for h_k, c_k in zip(hs, cs, strict=True):
            c = c + sigma(x @ w[1] + h_k @ r[1] + b[1]) * c_k
        states[node] = (sigma(o) * xp.tanh(c), c)

    for node, parent in enumerate(parents):
        if parent < 0:
            visit(node)
    return LSTMCarry(
        *(xp.stack(leaf) for leaf in zip(*(states[n] for n in range(len(parents))), strict=True))
    )


def lstm_params(seed=0):
    init = lambda key: jaxrnn.lstm.init(key, F, H, dtype=jnp.float64)  # noqa: E731
    return randomly(jax.eval_shape(init, jax.random.key(0)), seed)


def test_tree_scalar_check():
    full = lambda *shape, value: jnp.full(shape, value, jnp.float64)  # noqa: E731
    params = LSTMParams(full(1, 4, value=0.5), full(1, 4, value=0.5), full(4, value=0.1))
    children = LSTMCarry(jnp.array([[0.2], [-0.1]]), jnp.array([[0.3], [0.4]]))
    got = tree_step(params, children, full(1, value=1.0))
    np.testing.assert_allclose(got.h, 0.446975311, atol=1e-8)
    np.testing.assert_allclose(got.c, 0.829703717, atol=1e-8)


def test_one_child_is_the_lstm():
    params, x = lstm_params(), values(4, F)
    carry = randomly(jaxrnn.lstm.carry(params, (4,)), 2)
    got = tree_step(params, jax.tree.map(lambda leaf: leaf[None], carry), x)
    close(got, jaxrnn.lstm.step(params, carry, x)[0])
    xs = values(6, 4, F)
    states = tree_scan(params, xs, graph.make_tree([1, 2, 3, 4, 5, -1]))
    last, ys = lstm_scan(params, xs)
    close(states.h, ys)
    close(jax.tree.map(lambda leaf: leaf[-1], states), last)


def test_no_child_is_a_first_step():
    params, x = lstm_params(), values(F)
    got = tree_step(params, jaxrnn.lstm.carry(params, (0,)), x)
    close(got, jaxrnn.lstm.step(params, jaxrnn.lstm.carry(params), x)[0])


@pytest.mark.parametrize(
    ("nodes", "roots", "width", "batch"),
    [(9, 1, None, ()), (14, 3, 2, (2,)), (7, 7, 1, ()), (12, 1, 12, (2, 2))],
)
def test_tree_scan_is_the_recursion(nodes, roots, width, batch):
    parents = random_tree(nodes, nodes, roots)
    params, xs = lstm_params(), values(nodes, *batch, F)
    got = tree_scan(params, xs, graph.make_tree(parents, width=width))
    close(got, tree_reference(*host(params), parents, *host(xs)))


def test_tree_step_is_a_node_of_tree_scan():
    parents, params, xs = [3, 3, 3, -1], lstm_params(), values(4, F)
    states = tree_scan(params, xs, graph.make_tree(parents))
    got = tree_step(params, jax.tree.map(lambda leaf: leaf[:3], states), xs[3])
    close(got, jax.tree.map(lambda leaf: leaf[3], states))


def test_tree_gradients_equal_the_recursion_s_and_padding_reaches_nothing():
    parents = random_tree(7, 1, 2)
    params, xs = lstm_params(), values(7, F)
    padded = jnp.concatenate([xs, jnp.full((3, F), jnp.nan)])
    tree = graph.make_tree(parents, nodes=10, steps=9, width=2)
    # `weigh` gives the first rows of a leaf the same weights whatever follows them.
    states, (gradient, along) = results_and_gradients(lambda p, xs: graph.tree_scan(p, xs, tree))(
        params, padded
    )
    assert all(bool((leaf[7:] == 0).all()) for leaf in (*states, along))
    expected = results_and_gradients(lambda p, xs: tree_reference(p, parents, xs))(params, xs)
    close(
        (jax.tree.map(lambda leaf: leaf[:7], states), gradient, along[:7]),
        (expected[0], *expected[1]),
        1e-11,
    )


@pytest.mark.slow
def test_forests_and_vmap_batch_trees():
    trees = [random_tree(5, 2), random_tree(8, 3), random_tree(3, 4)]
    params, xs = lstm_params(), values(16, F)
    forest = tree_scan(params, xs, graph.make_tree(*trees))
    starts = [0, 5, 13]
    for parents, start in zip(trees, starts, strict=True):
        rows = slice(start, start + len(parents))
        alone = tree_scan(params, xs[rows], graph.make_tree(parents))
        close(jax.tree.map(lambda leaf, rows=rows: leaf[rows], forest), alone)
    alike = [graph.make_tree(parents, nodes=8, steps=8, width=2) for parents in trees]
    stacked = jax.tree.map(lambda *leaf: jnp.stack(leaf), *alike)
    inputs = jnp.stack([jnp.pad(xs[s : s + 8], ((0, max(0, s + 8 - 16)), (0, 0))) for s in starts])
    mapped = quick(jax.vmap(graph.tree_scan, (None, 0, 0)))(params, inputs, stacked)
    for k, (parents, start) in enumerate(zip(trees, starts, strict=True)):
        n = len(parents)
        close(
            jax.tree.map(lambda leaf, k=k, n=n: leaf[k, :n], mapped),
            jax.tree.map(lambda leaf, a=start, n=n: leaf[a : a + n], forest),
        )


@pytest.mark.slow
def test_tree_is_differentiable_in_every_mode():
    tree = graph.make_tree(random_tree(6, 5))
    params, xs, v = lstm_params(), values(6, F), values(6, F, seed=3)

    def loss(xs):
        return (graph.tree_scan(params, xs, tree).h ** 3).sum()

    def reference(xs):
        return (tree_reference(params, random_tree(6, 5), xs).h ** 3).sum()

    def second(f):
        return quick(lambda xs: jax.jvp(jax.grad(f), (xs,), (v,)))(xs)

    close(second(loss), second(reference), 1e-10)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_tree_dtypes_are_kept(dtype):
    tree = graph.make_tree(random_tree(9, 6))
    low = jax.tree.map(lambda leaf: leaf.astype(dtype), (lstm_params(), values(9, F)))
    states = tree_scan(*low, tree)
    assert states.h.dtype == dtype
    assert states.c.dtype == jnp.float32
    exact = tree_scan(*jax.tree.map(lambda leaf: leaf.astype(jnp.float64), low), tree)
    error = float(abs(states.h.astype(jnp.float64) - exact.h).max())
    assert error < 8 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("width", [None, 1, 3])
def test_plans_are_valid_and_short(seed, width):
    parents = random_tree(40, seed, 1 + seed)
    tree = graph.make_tree(parents, width=width)
    when = {int(n): k for k, step in enumerate(tree.plan) for n in step if n >= 0}
    assert sorted(when) == list(range(40))
    assert (tree.plan >= 0).sum() == 40
    assert all(when[n] < when[p] for n, p in enumerate(parents) if p >= 0)

    def depth(n):
        return 0 if parents[n] < 0 else 1 + depth(parents[n])

    levels = 1 + max(map(depth, range(40)))
    steps, width = tree.plan.shape
    assert steps <= levels + 40 / width
    assert len(graph.make_tree(parents, width=40).plan) == levels


# Bad input


def test_bad_input_is_named():
    neighbours = graph.from_lists([[1, 2], [0], []])
    params, features = levels(H), values(3, 2, F)
    tree, lstm, xs = graph.make_tree([2, 2, -1]), lstm_params(), values(3, F)
    look = lambda **new: graph.neighbourhood(params, neighbours._replace(**new), features)  # noqa: E731
    walk = lambda **new: graph.tree_scan(lstm, xs, tree._replace(**new))  # noqa: E731
    children = jaxrnn.lstm.carry(lstm, (2,))
    bad = [
        (lambda: graph.from_edges([(0, 3)], 3), ValueError, "edges: .* 0..2, .* maximum of 3"),
        (lambda: graph.from_edges([(-1, 0)], 3), ValueError, "edges: .* minimum of -1"),
        (lambda: graph.from_edges([(0.5, 1)], 3), TypeError, "edges: expected integers"),
        (lambda: graph.from_edges([(0, 1, 2)], 3), ValueError, r"edges: expected pairs \(E, 2\)"),
        (lambda: graph.from_edges([(0, 1), (0, 2)], 3, width=1), ValueError, "width: .* least 2"),
        (lambda: graph.from_lists([]), ValueError, "nodes: expected a positive int"),
        (lambda: graph.from_parents([3, -1]), ValueError, "parents: .* maximum of 3"),
        (lambda: graph.union(), ValueError, "graphs: expected at least one"),
        (
            lambda: graph.parents_of(graph.from_lists([[2], [2], []])),
            ValueError,
            r"node 2 as the child of nodes \[0, 1\]",
        ),
        (lambda: graph.make_tree(), ValueError, "parents: expected at least one"),
        (lambda: graph.make_tree([[0]]), ValueError, r"parents: expected shape \(n,\)"),
        (lambda: graph.make_tree([-2]), ValueError, "parents: .* minimum of -2"),
        (lambda: graph.make_tree([-1, 2, 3, 1, 3]), ValueError, r"a cycle of nodes \[1, 2, 3\]"),
        (lambda: graph.make_tree([0]), ValueError, r"a cycle of nodes \[0\]"),
        (lambda: graph.make_tree([-1], nodes=0), ValueError, "nodes: expected at least 1"),
        (lambda: graph.make_tree([1, -1], steps=1), ValueError, "steps: expected at least 2"),
        (lambda: graph.make_tree([-1], width=0), ValueError, "width: expected a positive int"),
        (lambda: graph.neighbourhood_init(jax.random.key(0), F, ()), ValueError, "hidden_sizes"),
        (lambda: graph.neighbourhood((), neighbours, features), ValueError, "params: expected one"),
        (lambda: graph.neighbourhood(params, neighbours, xs), ValueError, "features: .* shape"),
        (lambda: look(children=np.full((3, 2), 3)), ValueError, "children: .* maximum of 3"),
        (lambda: look(children=np.zeros(3, int)), ValueError, r"children: expected shape \(n, K\)"),
        (lambda: look(children=np.zeros((3, 2))), TypeError, "children: expected integers"),
        (lambda: look(lengths=np.array([2, 1])), ValueError, "neighbours.lengths: .* shape"),
        (lambda: look(lengths=np.array([3, 1, 0])), ValueError, "neighbours.lengths: .* 0..2"),
        (
            lambda: graph.neighbourhood(params, neighbours, features, root=xs[:2]),
            ValueError,
            "root: expected shape",
        ),
        (lambda: walk(parents=np.array([2, 3, -1])), ValueError, "tree.parents: .* maximum of 3"),
        (lambda: walk(parents=np.array([2, -1])), ValueError, "tree.parents: expected shape"),
        (lambda: walk(plan=np.array([0, 1, 2])), ValueError, "tree.plan: expected shape"),
        (lambda: walk(plan=np.array([[0.0]])), TypeError, "tree.plan: expected integers"),
        (lambda: walk(plan=np.array([[0, 1], [2, 0]])), ValueError, "node 0 twice"),
        (
            lambda: walk(plan=np.array([[0, 2], [1, -1]])),
            ValueError,
            "node 0 in step 0 and its par",
        ),
        (lambda: graph.tree_scan(lstm, xs[0], tree), ValueError, "xs: expected"),
        (
            lambda: graph.tree_scan(lstm, xs[:, :2], tree),
            ValueError,
            r"xs: expected 3 features \(D\)",
        ),
        (lambda: graph.tree_step(lstm, children, values(4, F)), ValueError, "children.h: expected"),
    ]
    for call, error, message in bad:
        with pytest.raises(error, match=message):
            call()
