"""Data: the sine task's figures, ragged batches, windows, streams, and an order that resumes."""

import itertools

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn import data


class TestSine:
    def test_check_figures(self):
        waves = data.sine_waves()
        assert waves.shape == (100, 1000)
        assert waves.dtype == np.float64
        np.testing.assert_allclose(waves[0, :3], [0.10819513, 0.05837414, 0.00840725], atol=5e-9)
        np.testing.assert_allclose(waves.sum(), 72.03852691, atol=5e-9)
        shifts = np.random.RandomState(2).randint(-80, 80, 100)
        assert shifts[:3].tolist() == [-65, -8, -58]
        np.testing.assert_array_equal(waves[1], np.sin((np.arange(1000) - 8) / 20))

    def test_baselines(self):
        split = data.next_step(data.sine_waves(), dtype=np.float64)
        assert split.train_inputs.shape == (999, 97, 1)
        assert split.test_targets.shape == (999, 3, 1)
        np.testing.assert_allclose(np.mean(split.test_targets**2), 0.50243, atol=5e-6)
        persistence = np.mean((split.test_inputs - split.test_targets) ** 2)
        np.testing.assert_allclose(persistence, 0.0012438, atol=5e-8)
        np.testing.assert_array_equal(split.train_inputs[1:], split.train_targets[:-1])
        np.testing.assert_array_equal(split.test_inputs[:, 2, 0], data.sine_waves()[2, :-1])

    def test_arguments(self):
        assert data.next_step(data.sine_waves(4, 9), test=1).train_inputs.dtype == np.float32
        assert not np.array_equal(data.sine_waves(4, 9), data.sine_waves(4, 9, seed=3))
        with pytest.raises(ValueError, match="waves: expected at least 1, got 0"):
            data.sine_waves(0)
        with pytest.raises(ValueError, match=r"data: expected \(N, L\).*got shape \(5,\)"):
            data.next_step(np.zeros(5))
        with pytest.raises(ValueError, match="test: expected 0 to 4 rows, got 5"):
            data.next_step(np.zeros((4, 5)), test=5)


def least_waste(lengths, shapes):
    """The optimum by trying everything."""
    sizes = sorted(set(lengths))
    best = np.inf
    for k in range(1, shapes + 1):
        for bounds in itertools.combinations(sizes, min(k, len(sizes))):
            if bounds[-1] == sizes[-1]:
                best = min(best, sum(min(b for b in bounds if b >= n) for n in lengths))
    return 1 - sum(lengths) / best


class TestRagged:
    def test_pad(self):
        random = np.random.default_rng(0)
        rows = [random.normal(size=(t, 2)).astype(np.float32) for t in (3, 0, 5)]
        values, lengths = data.pad(rows, length=6, rows=4)
        assert values.shape == (6, 4, 2)
        assert values.dtype == np.float32
        assert lengths.tolist() == [3, 0, 5, 0]
        for b, row in enumerate(rows):
            np.testing.assert_array_equal(values[: len(row), b], row)
            assert not values[len(row) :, b].any()

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: data.pad([]), "sequences: expected at least one, got none"),
            (lambda: data.pad([np.zeros((2, 3)), np.zeros(2)]), r"features \(3,\).*\(\) at 1"),
            (lambda: data.pad([np.zeros(())]), "got a scalar at 0"),
            (lambda: data.pad([np.zeros(4)], 3), "length: expected at least 4, got 3"),
            (lambda: data.pad([np.zeros(4)] * 2, rows=1), "rows: expected at least 2, got 1"),
            (lambda: data.bucket([]), r"lengths: expected \(N,\) whole numbers"),
            (lambda: data.bucket([1.5]), "lengths"),
            (lambda: data.bucket([-1]), "lengths"),
            (lambda: data.bucket([1], 0), "shapes: expected at least 1, got 0"),
            (lambda: data.bucket([1], multiple=0), "multiple: expected at least 1, got 0"),
            (lambda: data.pack([]), "sequences: expected at least one"),
            (lambda: data.pack([[1], []]), "lengths from 1 to 1, got 0 to 1"),
            (lambda: data.pack([[1, 2, 3]], 2), "lengths from 1 to 2, got 3 to 3"),
            (lambda: data.pad([[[1, 2], [3]]]), r"sequences\[0\]: .* rows of unequal shapes"),
            (lambda: data.pad([np.zeros((0, 3))], -1), "length: expected at least 0, got -1"),
            (lambda: data.pack([[1], [[2]]]), r"features \(\) as in the first, got \(1,\) at 1"),
            (lambda: data.bucket([[1], [1, 2]]), "lengths: .* rows of unequal shapes"),
        ],
    )
    def test_errors(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()

    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("shapes", [1, 2, 3, 20])
    def test_buckets_are_optimal(self, seed, shapes):
        lengths = np.random.default_rng(seed).integers(0, 12, 15)
        buckets = data.bucket(lengths, shapes)
        assert len(buckets.bounds) <= shapes
        np.testing.assert_allclose(buckets.waste, least_waste(lengths.tolist(), shapes))
        assert sorted(np.concatenate(buckets.groups)) == list(range(15))
        for bound, rows in zip(buckets.bounds, buckets.groups, strict=True):
            assert (lengths[rows] <= bound).all()
            assert (buckets.padded[rows] == bound).all()
        np.testing.assert_allclose(buckets.waste, 1 - lengths.sum() / buckets.padded.sum())

    def test_multiple(self):
        buckets = data.bucket([1, 7, 9, 30], 3, multiple=8)
        assert buckets.bounds.tolist() == [8, 16, 32]

    def test_waste_on_lengths_from_7_to_361(self):
        """Few shapes and little waste, measured as batches are made, partial ones included."""
        lengths = np.random.default_rng(0).integers(7, 362, 1000)
        sequences = [np.ones((n, 1), np.float32) for n in lengths]
        buckets = data.bucket(lengths, 8)

        def get(rows):
            return data.pad([sequences[i] for i in rows], buckets.padded[rows[0]])

        made = list(data.Batches(get, buckets.groups, 16))
        assert len({values.shape[0] for values, _ in made}) <= 8
        steps = sum(values.size for values, _ in made)
        assert sum(lengths.sum() for _, lengths in made) == lengths.sum()
        assert 1 - lengths.sum() / steps <= 0.10
        assert data.pack(sequences, 722).waste <= 0.02
        # Every length as often as any other: what no 8 buckets can do, 9 can, and packing can.
        every = np.arange(7, 362)
        assert 0.105 < data.bucket(every, 8).waste < 0.106
        assert data.bucket(every, 9).waste < 0.10
        assert data.pack([np.ones(n) for n in every]).waste <= 0.02

    @pytest.mark.parametrize("length", [None, 40])
    def test_pack_keeps_every_sequence_whole(self, length):
        random = np.random.default_rng(1)
        sequences = [random.normal(size=(n, 2)) for n in random.integers(1, 17, 60)]
        packed = data.pack(sequences, length)
        assert packed.values.shape[0] == (length or max(map(len, sequences)))
        for number, sequence in enumerate(sequences):
            steps, rows = np.nonzero(packed.segment == number)
            assert set(rows) == {rows[0]}
            assert np.diff(steps).tolist() == [1] * (len(sequence) - 1)
            np.testing.assert_array_equal(packed.values[steps, rows], sequence)
            assert packed.reset[steps[0], rows[0]]
        assert packed.reset.sum() == len(sequences)
        assert packed.lengths.sum() == sum(map(len, sequences))
        assert not packed.values[packed.segment < 0].any()
        np.testing.assert_allclose(packed.waste, (packed.segment < 0).mean())
        assert packed.waste < 0.15

    @pytest.mark.parametrize("length", [None, 40])
    def test_unpack_is_the_inverse_of_pack(self, length):
        random = np.random.default_rng(2)
        sequences = [random.normal(size=(n, 2)) for n in random.integers(1, 17, 60)]
        packed = data.pack(sequences, length)
        row, first, last = data.spans(packed.segment)
        again = data.unpack(packed.values, packed.segment)
        for number, (one, sequence) in enumerate(zip(again, sequences, strict=True)):
            np.testing.assert_array_equal(one, sequence)
            at = first[number], row[number]
            np.testing.assert_array_equal(packed.values[at], sequence[0])
            np.testing.assert_array_equal(packed.values[last[number], row[number]], sequence[-1])
            assert packed.reset[at]
        again[0][:] = 0.0
        assert packed.values[first[0], row[0]].all()

    def test_outputs_of_a_packed_batch_are_those_of_its_sequences(self):
        """Both directions, and the ends under jit: what each direction has seen all of."""
        random = np.random.default_rng(3)
        sequences = [random.normal(size=(n, 3)).astype(np.float32) for n in (4, 1, 7, 3)]
        packed = data.pack(sequences)
        where = data.spans(packed.segment)
        net = jaxrnn.bidirectional(jaxrnn.gru)
        params = net.init(jax.random.key(0), 3, 5)

        @jax.jit
        def run(params, packed, where):
            options = {"lengths": packed.lengths, "reset": packed.reset}
            ys = jaxrnn.scan(net, params, packed.values, **options)[1]
            return ys, ys[where.last, where.row, :5], ys[where.first, where.row, 5:]

        ys, forward, backward = run(params, packed, where)
        unpacked = data.unpack(ys, packed.segment)
        for number, sequence in enumerate(sequences):
            carry, alone = jaxrnn.scan(net, params, sequence)
            np.testing.assert_allclose(unpacked[number], alone, atol=1e-6)
            np.testing.assert_allclose(forward[number], carry.forward, atol=1e-6)
            np.testing.assert_allclose(backward[number], carry.backward, atol=1e-6)

    @pytest.mark.parametrize(
        ("values", "segment", "message"),
        [
            (np.zeros((3, 1)), [0, 0, 1], r"segment: expected integers \(T, B\), got int"),
            (np.zeros((3, 1)), np.zeros((3, 1)), r"segment: expected integers .* float64\[3, 1\]"),
            (np.zeros((3, 2)), [[0], [0], [1]], r"values: expected leading axes \(3, 1\)"),
            (np.zeros((3, 1)), [[1], [1], [2]], "numbers 0 to N - 1, .* another order at 1"),
            (np.zeros((3, 1)), [[0], [1], [0]], "another order at 0"),
            (np.zeros((2, 2)), [[0, 0], [-1, 1]], "another order at 0"),
            (np.zeros((2, 2)), [[1, 0], [0, -1]], "another order at 0"),
            (np.zeros((2, 2)), [[-1, 0], [0, -1]], "another order at 0"),
        ],
    )
    def test_unpack_errors(self, values, segment, message):
        with pytest.raises(ValueError, match=message):
            data.unpack(values, segment)

    def test_nothing_to_unpack(self):
        assert data.unpack(np.zeros((2, 1)), [[-1], [-1]]) == []


class TestSeries:
    def test_windows(self):
        series = np.random.default_rng(0).normal(size=(20, 3))
        inputs, targets = data.windows(series, 5, 2, stride=4)
        assert inputs.shape == (5, 4, 3)
        assert targets.shape == (2, 4, 3)
        for b in range(4):
            np.testing.assert_array_equal(inputs[:, b], series[4 * b : 4 * b + 5])
            np.testing.assert_array_equal(targets[:, b], series[4 * b + 5 : 4 * b + 7])
        assert data.windows(series[:, 0], 18).inputs.shape == (18, 2, 1)

    def test_streams(self):
        series = np.random.default_rng(0).integers(0, 9, size=(101, 2))
        inputs, targets = data.streams(series, 3, 8)
        assert inputs.shape == targets.shape == (4, 8, 3, 2)
        for b in range(3):  # the windows of a stream, end to end, are the series
            start = 33 * b
            np.testing.assert_array_equal(
                inputs[:, :, b].reshape(-1, 2), series[start : start + 32]
            )
            np.testing.assert_array_equal(
                targets[:, :, b].reshape(-1, 2), series[start + 1 : start + 33]
            )

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: data.windows(range(5), 5), "series: .*L >= 6, got shape"),
            (lambda: data.windows(np.zeros((9, 2, 2)), 5), "series: "),
            (lambda: data.windows(range(5), 1, stride=0), "stride: expected at least 1, got 0"),
            (lambda: data.streams(range(6), 2, 3), "series: .*L >= 7, got shape"),
            (lambda: data.streams(3, 2, 3), "series: "),
            (lambda: data.streams(range(6), 0, 3), "batch_size: expected at least 1, got 0"),
            (lambda: data.windows([[1], [1, 2]], 1), "series: .* rows of unequal shapes"),
            (lambda: data.streams([[1], [1, 2]], 1, 1), "series: .* rows of unequal shapes"),
        ],
    )
    def test_errors(self, call, message):
        with pytest.raises(ValueError, match=message):
            call()


def same(rows):
    return rows


class TestBatches:
    @pytest.mark.parametrize("drop_last", [False, True])
    @pytest.mark.parametrize("size", [11, [[0, 1, 2], [], range(3, 11)]])
    def test_every_row_once_an_epoch(self, size, drop_last):
        batches = data.Batches(same, size, 4, drop_last=drop_last)
        epochs = [list(batches) for _ in range(3)]
        for epoch in epochs:
            assert len(epoch) == len(batches)
            rows = np.concatenate(epoch)
            assert len(set(rows)) == len(rows)
            if drop_last:
                assert {len(batch) for batch in epoch} == {4}
            else:
                assert sorted(rows) == list(range(11))
        assert not all(map(np.array_equal, epochs[0], epochs[1]))
        if size != 11:
            assert all(
                (batch < 3).all() or (batch >= 3).all() for batch in itertools.chain(*epochs)
            )

    def test_order(self):
        plain = data.Batches(same, 5, 2, shuffle=False)
        assert [batch.tolist() for batch in plain] == [[0, 1], [2, 3], [4]]
        one, two = (list(data.Batches(same, 50, 5, seed=seed)) for seed in (1, 2**40))
        again = list(data.Batches(same, 50, 5, seed=1))
        assert all(map(np.array_equal, one, again))
        assert not all(map(np.array_equal, one, two))

    @pytest.mark.parametrize("stop", range(8))
    def test_resumes_anywhere(self, stop):
        def forever(batches):
            while True:
                yield from batches

        whole = list(itertools.islice(forever(data.Batches(same, 7, 3, seed=5)), 12))
        first = data.Batches(same, 7, 3, seed=5)
        begun = list(itertools.islice(forever(first), stop))
        second = data.Batches(same, 7, 3)
        second.set_state(first.get_state())
        rest = list(itertools.islice(forever(second), 12 - stop))
        for a, b in zip(whole, begun + rest, strict=True):
            np.testing.assert_array_equal(a, b)
        assert all(type(value) is int for value in first.get_state().values())

    def test_errors(self):
        with pytest.raises(ValueError, match="size: expected at least one row, got 0"):
            data.Batches(same, 0, 4)
        with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
            data.Batches(same, 4, 0)
        with pytest.raises(ValueError, match="batch_size: expected at most 3 with drop_last"):
            data.Batches(same, 3, 4, drop_last=True)
        batches = data.Batches(same, 4, 2)
        for state in ({"seed": 1}, {"seed": 1, "epoch": -1, "position": 0}):
            with pytest.raises(ValueError, match="state: expected whole numbers"):
                batches.set_state(state)
        with pytest.raises(ValueError, match="the last from 0 to 2"):
            batches.set_state({"seed": 1, "epoch": 0, "position": 3})
        for group in ([-1, 1], [[0, 1], [-2, 3]]):
            with pytest.raises(ValueError, match="size: expected groups of row numbers from 0"):
                data.Batches(same, [group], 2)
        with pytest.raises(ValueError, match="size: expected an array, got rows of unequal"):
            data.Batches(same, [[[0], [1, 2]]], 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n: data.sine_waves(n), "waves: "),
        (lambda n: data.sine_waves(2, n), "length: "),
        (lambda n: data.next_step(np.zeros((4, 5)), test=n), "test: "),
        (lambda n: data.pad([np.zeros(2)], n), "length: "),
        (lambda n: data.pad([np.zeros(2)], rows=n), "rows: "),
        (lambda n: data.bucket([1, 2], n), "shapes: "),
        (lambda n: data.bucket([1, 2], multiple=n), "multiple: "),
        (lambda n: data.pack([[1, 2]], n), "length: "),
        (lambda n: data.windows(range(9), n), "length: "),
        (lambda n: data.windows(range(9), 2, n), "horizon: "),
        (lambda n: data.windows(range(9), 2, stride=n), "stride: "),
        (lambda n: data.streams(range(9), n, 2), "batch_size: "),
        (lambda n: data.streams(range(9), 2, n), "length: "),
        (lambda n: data.Batches(same, 4, n), "batch_size: "),
        (lambda n: data.Batches(same, 4, 2, seed=n), "seed: "),
    ],
)
@pytest.mark.parametrize("value", [2.5, "2", True, [2]])
def test_sizes_are_whole_numbers(call, message, value):
    with pytest.raises(TypeError, match=message + "expected a whole number, got"):
        call(value)


def test_what_is_no_data():
    for call in (data.pad, data.pack):
        with pytest.raises(TypeError, match=r"sequences: expected arrays .*, got 3"):
            call(3)
        with pytest.raises(TypeError, match=r"sequences\[1\]: expected an array, got dict"):
            call([[1], {}])
    with pytest.raises(TypeError, match="series: expected an array, got NoneType"):
        data.windows(None, 1)
    with pytest.raises(TypeError, match="get: expected a function of row numbers, got list"):
        data.Batches([1, 2], 4, 2)
    with pytest.raises(TypeError, match=r"size: expected a whole number, got 4\.5"):
        data.Batches(same, 4.5, 2)
    with pytest.raises(TypeError, match="size: expected groups of whole numbers, got dtype float"):
        data.Batches(same, [[0.5, 1]], 2)
