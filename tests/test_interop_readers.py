"""Files read as data: what is honest comes back bit for bit, what is not is a ValueError."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
import zlib

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
        file["layers/link"] = h5py.SoftLink("/layers/half")
        file["layers\\windows\\half"] = ARRAYS["half"]
        options = {"shuffle": True, "fletcher32": True}
        for kind in ("gzip", "lzf"):
            file.create_dataset(kind, data=ARRAYS["a.weight"], compression=kind, **options)
    want = {f"layers/{name}": array for name, array in ARRAYS.items()}
    want |= {"layers/windows/half": ARRAYS["half"]}
    want |= dict.fromkeys(("gzip", "lzf"), ARRAYS["a.weight"])
    got = read(tmp_path / "a.weights.h5")
    assert_arrays(got, want)
    assert got.skipped.keys() == {"names", "layers/link"}
    data = (tmp_path / "a.weights.h5").read_bytes()
    archive(tmp_path / "a.keras", [("config.json", b"{"), ("model.weights.h5", data)])
    assert_arrays(read(tmp_path / "a.keras"), want)


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


def test_an_array_that_cannot_be_read_costs_no_other(tmp_path):
    np.savez(tmp_path / "a.npz", names=np.array(["a"], object), **ARRAYS)
    arrays = read(tmp_path / "a.npz")
    assert_arrays(arrays, ARRAYS)
    assert list(arrays.skipped) == ["names"]
    assert "names" not in arrays
    with pytest.raises(ValueError, match="names: was not read: expected an array of numbers, got"):
        arrays["names"]
    with pytest.raises(KeyError):
        arrays["absent"]
    state = {"weight_ih": np.ones((5, 3), "f"), "weight_hh": np.array(["x"], object)}
    np.savez(tmp_path / "b.npz", **state)
    with pytest.raises(ValueError, match=r"weight_hh: was not read: expected an array of numbers"):
        interop.torch.load(jaxrnn.elman, read(tmp_path / "b.npz"))
    np.savez(tmp_path / "c.npz")
    with pytest.raises(ValueError, match="expected arrays, got none: nothing is in it"):
        read(tmp_path / "c.npz")


@pytest.mark.oracle
def test_numbers_that_numpy_lacks_cost_no_other(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    library.save_file(ARRAYS | {"b": np.ones(3, "uint8")}, tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes().replace(b'"U8"', b'"F4"', 1)
    header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
    header["b"] = {**header["b"], "dtype": "F8_E8M0"}
    text = json.dumps(header).encode()
    rest = data[8 + struct.unpack("<Q", data[:8])[0] :]
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + rest)
    arrays = read(tmp_path / "a.safetensors")
    assert {**arrays}.keys() | arrays.skipped.keys() == {*ARRAYS, "b"}
    assert_arrays({name: arrays[name] for name in ARRAYS}, ARRAYS)


def test_the_contents_decide(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    for name in ("weights.ckpt", "model.pth.tar", "plain"):
        shutil.copy(tmp_path / "a.npz", tmp_path / name)
        assert_arrays(read(tmp_path / name), ARRAYS)
    for data, hint in [
        (b"\x1f\x8b" + bytes(9), "a compressed file: gunzip it"),
        (npy(np.ones(3)), r"numpy\.load\(path, allow_pickle=False\)"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (bytes(257) + b"ustar", "unpack it"),
        (b"what is this?", "begins with b'what is '"),
        (b"", "begins with b''"),
    ]:
        (tmp_path / "a.pt").write_bytes(data)
        with pytest.raises(ValueError, match=f"expected a file of safetensors, .*{hint}"):
            read(tmp_path / "a.pt")
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
    with pytest.raises(ValueError, match=r"a pickle of Python's.*numpy\.savez"):
        read(path)


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
    with pytest.raises(ValueError, match=r"run\.py: expected an array"):
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

    def swollen(file):  # a chunk of ten numbers that unpacks to more
        data = file.create_dataset("a", (10,), "f4", chunks=(10,), compression="gzip")
        data.id.write_direct_chunk((0,), zlib.compress(bytes(1 << 20)))

    def twice(file):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((10,))
        plist.set_deflate(9)
        plist.set_filter(h5py.h5z.FILTER_DEFLATE, 0, (9,))
        h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((10,)), plist)

    refuse(lambda file: file.__setitem__("a", h5py.ExternalLink(str(secret), "a")), "no links")
    refuse(lambda file: file.__setitem__("a", h5py.SoftLink("/b")), "no links")
    refuse(virtual, "no data outside the file")
    refuse(external, "no data outside the file")
    refuse(cycle, "expected each object once, it is 'a'")
    huge = lambda file: file.create_dataset("a", (1 << 40,), "f4", chunks=(1 << 10,))  # noqa: E731
    refuse(huge, "more than is left of max_bytes")
    zeros = lambda file: file.create_dataset("a", data=np.zeros(1 << 16), compression="gzip")  # noqa: E731
    refuse(zeros, "more than is left", max_bytes=100_000)
    chunk = {"chunks": (1 << 20,), "maxshape": (None,), "compression": "gzip"}
    wide = lambda file: file.create_dataset("a", data=np.zeros(10, "f4"), **chunk)  # noqa: E731
    refuse(wide, "a chunk of a would take 4194304 bytes, more than is left", max_bytes=100_000)
    refuse(lambda file: file.create_dataset("a", data=["x"]), "got none: a: .* got strings")
    refuse(lambda file: file.create_dataset("a", data=[file.ref], dtype=h5py.ref_dtype),
           "got none: a: expected numbers, got strings, references")  # fmt: skip
    refuse(swollen, "a: a chunk of it holds more than the 40 bytes of its shape")
    refuse(twice, r"a: expected shuffle.*got \[1, 1\]; save it without compression")
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
def test_what_an_onnx_model_has_beside_arrays(tmp_path):
    onnx = pytest.importorskip("onnx")
    make, path = onnx.helper.make_tensor, tmp_path / "a.onnx"
    kinds = onnx.TensorProto
    words = make("words", kinds.STRING, [1], [b"x"])
    sparse = onnx.helper.make_sparse_tensor(
        make("sparse", kinds.FLOAT, [1], [1.0]), make("at", kinds.INT64, [1], [0]), [3]
    )
    constant = onnx.helper.make_node("Constant", [], ["constant"], sparse_value=sparse)
    relu = onnx.helper.make_node("Relu", ["x"], ["y"])

    def save(*initializers):
        graph = onnx.helper.make_graph([constant, relu], "g", [], [], initializers)
        graph.sparse_initializer.append(sparse)
        path.write_bytes(onnx.helper.make_model(graph).SerializeToString())

    save(words, make("a", kinds.FLOAT, [2], [1.0, 2.0]))
    got = read(path)
    assert_arrays(got, {"a": np.array([1, 2], "f")})
    assert got.skipped.keys() == {"words", "sparse", "constant"}
    save(words)
    with pytest.raises(ValueError, match=r"got none: words: .*sparse: .*; there are 1 Relu node"):
        read(path)


@pytest.mark.oracle
def test_every_tensor_of_an_onnx_model_counts(tmp_path):
    onnx = pytest.importorskip("onnx")
    (tmp_path / "data").write_bytes(bytes(1000))
    tensors = []
    for k in range(20):
        one = onnx.TensorProto(name=f"{k}.W", data_type=onnx.TensorProto.FLOAT, dims=(1, 5, 50))
        one.data_location = onnx.TensorProto.EXTERNAL
        one.external_data.add(key="location", value="data")
        tensors.append(one)
    nodes = [onnx.helper.make_node("RNN", ["x", f"{k}.W", f"{k}.W"], ["y"]) for k in range(20)]
    graph = onnx.helper.make_graph(nodes, "g", [], [], tensors)
    (tmp_path / "a.onnx").write_bytes(onnx.helper.make_model(graph).SerializeToString())
    assert len(read(tmp_path / "a.onnx")) == 20
    with pytest.raises(ValueError, match=r"9\.W would take 1000 bytes, more than is left of max_b"):
        read(tmp_path / "a.onnx", max_bytes=9500)
