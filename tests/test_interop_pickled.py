"""Files of torch, read without torch: what is in them comes back, and nothing of them is run."""

import argparse
import pickle
import subprocess
import sys
import tracemalloc
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop import read
from jaxrnn.interop.readers.arrays import Arrays, Budget
from jaxrnn.interop.readers.pickled import LEGACY
from tests.test_interop_readers import assert_arrays, canary  # noqa: F401


def write(path, data, storages=()):
    """A file as torch writes them, around any pickle."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a/data.pkl", data if isinstance(data, bytes) else pickle.dumps(data, 2))
        for name, array in storages:
            file.writestr(f"a/data/{name}", array.tobytes())
    return path


def refuse(path, message, **options):
    with pytest.raises(ValueError, match=message) as caught:
        read(path, **options)
    assert "\x1b" not in str(caught.value)


def states(torch):
    module = torch.nn.LSTM(3, 4)
    return module, {name: leaf.numpy() for name, leaf in module.state_dict().items()}


@pytest.mark.oracle
@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints(tmp_path, legacy):
    torch = pytest.importorskip("torch")
    options = {"_use_new_zipfile_serialization": not legacy}
    module, want = states(torch)
    base = torch.arange(24.0).reshape(2, 3, 4)
    more = {
        "parts": [base[1, 1:], base.permute(2, 0, 1), torch.tensor(3.0), torch.zeros(0, 3)],
        "kinds": {
            str(kind).removeprefix("torch."): torch.ones(3).to(kind)
            for kind in (torch.bfloat16, torch.float16, torch.int64, torch.bool, torch.complex64)
        },
        "leaf": torch.nn.Parameter(torch.ones(2)),
    }
    if not legacy:
        more["fp8"] = torch.ones(3, dtype=torch.float8_e4m3fn)
    beside = {"epoch": 3, "args": argparse.Namespace(lr=0.1), "best": np.float64(0.5), "none": None}
    torch.save({"model": module.state_dict(), **more, **beside}, tmp_path / "a.pth.tar", **options)
    got = read(tmp_path / "a.pth.tar")
    want = {f"model.{name}": leaf for name, leaf in want.items()}
    assert_arrays({name: got[name] for name in want}, want)
    for k, leaf in enumerate(more["parts"]):
        assert_arrays({"": got[f"parts.{k}"]}, {"": leaf.contiguous().numpy()})
    for name, leaf in more["kinds"].items():
        assert str(got[f"kinds.{name}"].dtype) == name
        assert np.array_equal(got[f"kinds.{name}"].astype("complex64"), leaf.to(torch.complex64))
    assert np.array_equal(got["leaf"], np.ones(2))
    assert legacy or np.array_equal(got["fp8"].astype("f"), np.ones(3))
    assert got.skipped.keys() == {"best"}
    params = interop.torch.load(jaxrnn.rnn(jaxrnn.lstm), got, prefix="model")
    back = interop.torch.dump(jaxrnn.rnn(jaxrnn.lstm), params)
    assert np.array_equal(back["weight_hh_l0"], want["model.weight_hh_l0"])


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
def test_whole_modules(tmp_path):
    torch = pytest.importorskip("torch")
    module, want = states(torch)
    whole = torch.nn.Sequential(module)
    want = {f"0.{name}": leaf for name, leaf in want.items()}
    torch.save(whole, tmp_path / "a.model")
    assert_arrays({n: a for n, a in read(tmp_path / "a.model").items() if n in want}, want)
    traced = torch.jit.trace(whole, torch.ones(5, 2, 3))
    torch.jit.save(traced, tmp_path / "b.th")
    assert_arrays({n: a for n, a in read(tmp_path / "b.th").items() if n in want}, want)


@pytest.mark.oracle
def test_tensors_that_are_not_dense_cost_no_other(tmp_path):
    torch = pytest.importorskip("torch")
    path, ones = tmp_path / "a.pt", torch.ones(3)
    torch.save({"a": torch.eye(3).to_sparse(), "b": ones, "c": torch.ones(2) * 1j}, path)
    got = read(path)
    assert got.keys() == {"b", "c"}
    assert "expected a dense tensor, got torch._utils._rebuild_sparse" in got.skipped["a"]
    torch.save({"a": (torch.ones(2) * 1j).conj(), "b": ones}, path)
    assert "conjugated" in read(path).skipped["a"]
    torch.save(ones, path)
    refuse(path, "expected a state_dict, got one tensor")
    torch.save({"a": ones.expand(1 << 40, 3)}, path)  # few numbers, claimed often
    refuse(path, "more than is left of max_bytes")
    torch.save({"a": torch.zeros(300)}, path)
    path.write_bytes(path.read_bytes()[:600])
    refuse(path, "cannot be read")


@pytest.mark.oracle
@pytest.mark.parametrize("legacy", [False, True])
def test_nothing_is_called(tmp_path, canary, legacy):  # noqa: F811
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pt"
    torch.save({"a": canary}, path, _use_new_zipfile_serialization=not legacy)
    refuse(path, "expected arrays, got none: there are 1 io.open")
    torch.save({"a": canary, "b": torch.ones(3)}, path, _use_new_zipfile_serialization=not legacy)
    assert read(path).keys() == {"b"}
    path.write_bytes(pickle.dumps(canary))
    refuse(path, "a pickle of Python's, and to load it is to run it")


def test_torch_is_not_needed(tmp_path):
    code = "import sys, jaxrnn\njaxrnn.interop.read(sys.argv[1])\nassert 'torch' not in sys.modules"
    path = write(tmp_path / "a.pt", one_tensor((2,), (1,)), [("0", np.ones(2, "f"))])
    assert_arrays(read(path), {"a": np.ones(2, "f")})
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def one_tensor(shape, strides, offset=0, function="_rebuild_tensor_v2"):
    """The pickle of one tensor of float32, written by hand."""

    def value(one):
        return pickle.dumps(one, 2)[2:-1]

    storage = b"(" + value("storage") + b"ctorch\nFloatStorage\n" + value("0") + value("cpu")
    call = b"ctorch._utils\n" + function.encode() + b"\n("
    sizes = value(offset) + value(shape) + value(strides) + b"\x89Nt"
    return b"\x80\x02}" + value("a") + call + storage + value(2) + b"tQ" + sizes + b"Rs."


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [((3,), (1,), 0), ((2,), (1,), 1), ((2,), (-1,), 1), ((2,), (1,), -1), ((-2,), (1,), 0),
     ((2, 1), (1,), 0), ((1.0,), (1,), 0), ((2,), (1 << 62,), 0)],
)  # fmt: skip
def test_tensors_stay_within_their_storage(tmp_path, shape, strides, offset):
    path = write(tmp_path / "a.pt", one_tensor(shape, strides, offset), [("0", np.ones(2, "f"))])
    refuse(path, "got none: a: expected ")


def test_what_a_pickle_may_cost(tmp_path):
    path = tmp_path / "a.pt"
    shared = ["x"]
    for _ in range(22):
        shared = [shared, shared]
    refuse(write(path, {"a": shared}), r"expected arrays, got none: a\..*it is the same object as")
    deep = {"x": 1}
    for _ in range(100):
        deep = {"a": deep}
    refuse(write(path, deep), "expected at most 64 levels")
    own = []
    own.append(own)
    refuse(write(path, {"a": own}), r"a\.0: it is the same object as 'a'")
    wide = {"x": {"y": 1}}
    for _ in range(16):
        wide = {"a": wide, "b": wide}
    refuse(write(path, wide), "it is the same object as")
    tracemalloc.start()
    refuse(write(path, b"\x80\x02c__builtin__\nbytearray\n(J\x00\x00\x00\x40tR."), "got none")
    refuse(write(path, b"\x80\x05\x96" + b"\0\0\0\x40\0\0\0\0."), "cannot be read")  # BYTEARRAY8
    refuse(write(path, b"\x80\x04\x8e" + b"\0\0\0\x40\0\0\0\0."), "the part of max_bytes for it")
    refuse(write(path, b"\x80\x02]r\xff\xff\xff\x7f."), "got none")  # LONG_BINPUT
    refuse(write(path, b"\x80\x02" + b"]" * 100_000 + b"."), "its pickle takes", max_bytes=1 << 20)
    assert tracemalloc.get_traced_memory()[1] < 50 << 20
    tracemalloc.stop()


def test_odd_files(tmp_path):
    path = tmp_path / "a.pt"
    for data in (b"", b".", b"\x80\x02R.", b"\x80\x02N", b"\x80\x02K\x01Q.", b"\x80\x02}bb."):
        refuse(write(path, data), "cannot be read")
        path.write_bytes(b"\x80\x02" + LEGACY + data)
        refuse(path, "cannot be read")
    refuse(
        write(path, one_tensor((2,), (1,))),
        "got none: a: its numbers, a/data/0, are not in the archive",
    )
    refuse(write(path, one_tensor((2,), (1,), function="_rebuild_qtensor")), "dequantize")
    for kind in (b"OStorage", b"VStorage", b"nothing"):
        data = one_tensor((2,), (1,)).replace(b"FloatStorage", kind)
        refuse(write(path, data, [("0", np.ones(2))]), "got none: a: ")


def test_cut_and_changed_files_are_value_errors(tmp_path):
    path = tmp_path / "a.pt"
    whole = write(path, one_tensor((2,), (1,)), [("0", np.ones(2, "f"))]).read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 3):
            data[at] = rng.integers(256)
        path.write_bytes(bytes(data[: rng.integers(1, len(data) + 1)]))
        try:
            read(path)
        except ValueError:
            continue


def test_what_a_reader_fills_is_a_dict():
    arrays = Arrays()
    arrays["a"] = np.ones(1)
    with arrays.reading("b"):
        Budget(10).array("b", (-1, -1), np.dtype("f"))
    assert {**arrays} == arrays
    assert jax.tree.map(jnp.asarray, arrays) == {"a": jnp.ones(1)}
    assert "got [-1, -1]" in arrays.skipped["b"]
