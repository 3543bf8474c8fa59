"""Files read as data: what is honest comes back bit for bit, what is not is a ValueError."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile

import jax
import numpy as np
import pytest

import jaxrnn
from jaxrnn import interop
from jaxrnn.interop import read

ARRAYS = {
    "a.weight": np.arange(12, dtype="float32").reshape(4, 3) - 0.5,
    "a.bias": np.array([-0.0, 1e-40, 3.0], "float32"),
    "half": np.ones((2, 2), "float16"),
}


def assert_arrays(got, want):
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert (got[name].dtype, got[name].shape) == (array.dtype, array.shape)
        assert got[name].tobytes() == array.tobytes()


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def canary(tmp_path):
    """An object that would create a file; the test fails if it did."""
    path = tmp_path / "canary"
    yield Bomb(path)
    assert not path.exists(), "code of a pickle was run"


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array)
    return file.getvalue()


def archive(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


# What is honest.


def test_npz(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    assert_arrays(read(tmp_path / "a.npz"), ARRAYS)
    np.savez_compressed(tmp_path / "b.npz", **ARRAYS)
    assert_arrays(read(str(tmp_path / "b.npz")), ARRAYS)


@pytest.mark.oracle
def test_safetensors(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(ARRAYS, tmp_path / "a.safetensors")
    assert_arrays(read(tmp_path / "a.safetensors"), ARRAYS)


@pytest.mark.oracle
def test_hdf5_and_keras(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.weights.h5", "w") as file:
        for name, array in ARRAYS.items():
            file.create_dataset(f"layers/{name}", data=array, compression="gzip")
        file.create_dataset("names", data=["one", "two"])
    want = {f"layers/{name}": array for name, array in ARRAYS.items()}
    assert_arrays(read(tmp_path / "a.weights.h5"), want)
    data = (tmp_path / "a.weights.h5").read_bytes()
    archive(tmp_path / "a.keras", [("config.json", b"{"), ("model.weights.h5", data)])
    assert_arrays(read(tmp_path / "a.keras"), want)


@pytest.mark.oracle
def test_torch(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.LSTM(3, 4)
    torch.save({"model": module.state_dict(), "epoch": 3}, tmp_path / "a.pt")
    got = read(tmp_path / "a.pt")
    want = {f"model.{name}": leaf.numpy() for name, leaf in module.state_dict().items()}
    assert_arrays(got, want)
    params = interop.torch.load(jaxrnn.rnn(jaxrnn.lstm), got, prefix="model")
    back = interop.torch.dump(jaxrnn.rnn(jaxrnn.lstm), params)
    assert np.array_equal(back["weight_hh_l0"], want["model.weight_hh_l0"])
    half = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    torch.save({"half": half}, tmp_path / "b.pt")
    assert str(read(tmp_path / "b.pt")["half"].dtype) == "bfloat16"


@pytest.mark.oracle
def test_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    net = jaxrnn.rnn(jaxrnn.gru, 2, bidirectional=True)
    params = net.init(jax.random.key(0), 3, 4)
    want = {**interop.onnx.dump(net, params)}
    for k in "01":
        want[f"{k}.activations"] = np.array(["Sigmoid", "Tanh"] * 2)
        want[f"{k}.linear_before_reset"] = np.array(1)
    onnx.save(interop.onnx.export(net, params), tmp_path / "a.onnx")
    assert_arrays(read(tmp_path / "a.onnx"), want)
    onnx.save(interop.onnx.export(net, params), tmp_path / "b.onnx", save_as_external_data=True,
              location="b.data", size_threshold=0, convert_attribute=False)  # fmt: skip
    assert_arrays(read(tmp_path / "b.onnx"), want)


def test_the_ending_decides(tmp_path):
    with pytest.raises(ValueError, match=r"path: expected one of .*got 'model\.pickle'"):
        read(tmp_path / "model.pickle")
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "missing.npz")


@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
def test_keras_file(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")
    layer = keras.layers.Bidirectional(keras.layers.GRU(4, return_sequences=True))
    model = keras.Sequential([keras.layers.Input((5, 3)), layer, keras.layers.Dense(2)])
    names = {v.path: np.asarray(v.value) for v in model.variables}
    net = jaxrnn.bidirectional(jaxrnn.gru)
    prefix = next(name for name in names if "forward" in name).split("/forward")[0]
    want = interop.keras.dump(net, interop.keras.load(net, names, prefix))
    model.save(tmp_path / "m.keras")
    model.save_weights(tmp_path / "m.weights.h5")
    for file in ("m.keras", "m.weights.h5"):
        params = interop.keras.load(net, read(tmp_path / file), "layers/bidirectional")
        assert_arrays(interop.keras.dump(net, params), want)


# What is not.


def test_pickles_in_an_npz_are_not_run(tmp_path, canary):
    data = npy(np.ones(3))
    header = data[: data.index(b"\n") + 1].replace(b"'<f8'", b"'|O' ")
    path = archive(tmp_path / "a.npz", [("a.npy", header + pickle.dumps([canary] * 3))])
    with pytest.raises(ValueError, match="expected an array of numbers, got object"):
        read(path)
    archive(path, [("a.npy", pickle.dumps(canary))])
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)
    path.write_bytes(pickle.dumps(canary))
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)


@pytest.mark.oracle
@pytest.mark.parametrize("legacy", [False, True])
def test_pickles_in_a_torch_file_are_not_run(tmp_path, canary, legacy):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pt"
    torch.save({"a": canary}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)
    path.write_bytes(pickle.dumps(canary))
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)


def test_torch_files_are_not_read_without_torch(tmp_path, canary, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "a.pt").write_bytes(pickle.dumps(canary))
    with pytest.raises(ImportError):
        read(tmp_path / "a.pt")


def test_npz_that_claims_too_much(tmp_path):
    data = npy(np.ones(3)).replace(b"(3,), ", b"(3000000000000,), ", 1).replace(b" " * 12, b"", 1)
    with pytest.raises(ValueError, match="more than is left of max_bytes"):
        read(archive(tmp_path / "a.npz", [("a.npy", data)]))
    data = npy(np.ones(30)).replace(b"(30,)", b"(99,)")
    with pytest.raises(ValueError, match="claims more than it holds"):
        read(archive(tmp_path / "b.npz", [("a.npy", data)]))
    with pytest.raises(ValueError, match="cannot be read"):
        read(archive(tmp_path / "c.npz", [("a.npy", npy(np.ones(30))[:-8])]))
    data = b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30) + b"{" * 100
    with pytest.raises(ValueError, match="cannot be read"):
        read(archive(tmp_path / "d.npz", [("a.npy", data)]))


def test_zip_bombs(tmp_path):
    zeros = npy(np.zeros(1 << 20, "uint8"))
    path = tmp_path / "a.npz"
    archive(path, [("a.npy", zeros)], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 14
    with pytest.raises(ValueError, match=r"a\.npy would take .* max_bytes = 100000"):
        read(path, max_bytes=100_000)
    many = [(f"{k}.npy", npy(np.zeros(1 << 14, "uint8"))) for k in range(10)]
    archive(path, many, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=r"6\.npy would take .* left of max_bytes = 100000"):
        read(path, max_bytes=100_000)
    archive(tmp_path / "a.keras", [("model.weights.h5", bytes(1 << 20))],
            compression=zipfile.ZIP_DEFLATED)  # fmt: skip
    with pytest.raises(ValueError, match="more than is left of max_bytes"):
        read(tmp_path / "a.keras", max_bytes=100_000)
    with pytest.raises(ValueError, match="expected at most max_bytes = 10"):
        read(path, max_bytes=10)


def test_odd_archives(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive(tmp_path / "a.npz", [("a.npy", npy(np.ones(3)))] * 2)
    with pytest.raises(ValueError, match="expected each name once"):
        read(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"arrays only, got 'run\.py'"):
        read(archive(tmp_path / "b.npz", [("run.py", b"")]))
    with pytest.raises(ValueError, match=r"expected one model\.weights\.h5"):
        read(archive(tmp_path / "c.keras", [("config.json", b"{}")]))
    np.savez(tmp_path / "d.npz", **ARRAYS)
    whole = (tmp_path / "d.npz").read_bytes()
    (tmp_path / "d.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        read(tmp_path / "d.npz")


@pytest.mark.oracle
def test_hostile_safetensors(tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "a.safetensors"

    def write(header, data=b"", length=None):
        header = json.dumps(header).encode()
        path.write_bytes(
            struct.pack("<Q", len(header) if length is None else length) + header + data
        )

    def one(shape, start, stop):
        return {"a": {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}}

    write(one([2], 0, 8), bytes(8))
    assert read(path)["a"].shape == (2,)
    for header, data, length in [
        (one([2], 0, 8), bytes(8), 1 << 62),  # a huge header
        (one([2], 0, 8), bytes(4), None),  # cut off
        (one([2], 8, 16), bytes(8), None),  # offsets out of range
        (one([1 << 40], 0, 8), bytes(8), None),  # a shape that is not its size
        (one([2], 8, 0), bytes(8), None),
    ]:
        write(header, data, length)
        with pytest.raises(ValueError, match="cannot be read"):
            read(path)


@pytest.mark.oracle
def test_hostile_hdf5(tmp_path):
    h5py = pytest.importorskip("h5py")
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["a"] = np.ones(3)
    path = tmp_path / "a.h5"

    def refuse(build, message, **options):
        with h5py.File(path, "w") as file:
            build(file)
        with pytest.raises(ValueError, match=message):
            read(path, **options)

    def virtual(file):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(secret), "a", (3,))
        file.create_virtual_dataset("a", layout)

    def external(file):
        file.create_dataset("a", (3,), "f8", external=[(str(secret), 0, 24)])

    def cycle(file):
        group = file.create_group("a")
        group["again"] = group

    refuse(lambda file: file.__setitem__("a", h5py.ExternalLink(str(secret), "a")), "no links")
    refuse(lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "no links")
    refuse(virtual, "no data outside the file")
    refuse(external, "no data outside the file")
    refuse(cycle, "expected each object once")
    huge = lambda file: file.create_dataset("a", (1 << 40,), "f4", chunks=(1 << 10,))  # noqa: E731
    refuse(huge, "more than is left of max_bytes")
    zeros = lambda file: file.create_dataset("a", data=np.zeros(1 << 16), compression="gzip")  # noqa: E731
    refuse(zeros, "more than is left", max_bytes=100_000)
    kind = [("x", "f4"), ("y", "i4")]
    refuse(lambda file: file.create_dataset("a", (3,), kind), "expected an array of numbers")
    whole = secret.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)


@pytest.mark.oracle
def test_hostile_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "model"
    folder.mkdir()
    path = folder / "a.onnx"
    (tmp_path / "secret").write_bytes(np.ones(3, "f").tobytes())
    (folder / "short").write_bytes(bytes(4))
    os.symlink(tmp_path / "secret", folder / "link")

    def refuse(message, dims=(3,), **where):
        tensor = onnx.TensorProto(name="a", data_type=onnx.TensorProto.FLOAT, dims=dims)
        if where:
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in where.items():
                tensor.external_data.add(key=key, value=value)
        graph = onnx.helper.make_graph([], "g", [], [], [tensor])
        path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
        with pytest.raises(ValueError, match=message):
            read(path)

    refuse("expected external data in", location="../secret")
    refuse("expected external data in", location=str(tmp_path / "secret"))
    refuse("expected external data in", location="link")
    refuse("expected external data in", location="absent")
    refuse("expected external data in", location="")
    refuse("end before its shape does", location="short")
    refuse("end before its shape does", (1,), location="short", offset="4")
    refuse("end before its shape does", (1,), location="short", offset="-4")
    refuse("more than is left of max_bytes", (1 << 40,), location="short")
    refuse("expected a shape", (-1,), location="short")
    refuse("cannot be read", (3,))
    path.write_bytes(b"\xff" * 100)
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)


@pytest.mark.oracle
def test_hostile_torch(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.pt"
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)  # one number, claimed often
    with pytest.raises(ValueError, match="more than is left of max_bytes"):
        read(path)
    torch.save([torch.zeros(3)], path)
    with pytest.raises(ValueError, match="expected a state_dict, got list"):
        read(path)
    torch.save({"a": torch.eye(3).to_sparse()}, path)
    with pytest.raises(ValueError, match="expected a dense tensor"):
        read(path)
    torch.save({"a": torch.zeros(300)}, path)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)
