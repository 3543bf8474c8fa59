"""What moves between jaxrnn and other libraries: the table of the tests, and of the weights page.

``python -m tests.interop_table`` prints it as Markdown. Every row is run against the live library:
by ``test_interop_live.py``, in float64 with one and three layers and in float32 once, and those of
ONNX by ``test_interop_onnx.py`` in float32. The names of all its cases are compared.
"""

from typing import NamedTuple

import jaxrnn


class Row(NamedTuple):
    """One kind of module of one library."""

    library: str  # the module of jaxrnn.interop
    module: str  # what it is called there
    cell: jaxrnn.Cell
    here: str  # what the cell is called here
    layers: tuple[int, ...] = (1, 2, 3)  # 0 is a cell by itself
    directions: tuple[int, ...] = (1, 2)
    bias: tuple[bool, ...] = (True,)
    infers: bool = True  # whether `infer` finds the cell
    note: str = ""


RELU = jaxrnn.make_elman(activation="relu")
BOTH = (True, False)

ROWS = [
    Row("torch", "RNN", jaxrnn.elman, "elman", bias=BOTH),
    Row("torch", "RNN(relu)", RELU, 'make_elman(activation="relu")', bias=BOTH,
        note="`infer` needs `nonlinearity`"),
    Row("torch", "LSTM", jaxrnn.lstm, "lstm", bias=BOTH),
    Row("torch", "LSTM(proj_size=2)", jaxrnn.make_lstm(proj_size=2), "make_lstm(proj_size=2)",
        bias=BOTH),
    Row("torch", "GRU", jaxrnn.gru, "gru", bias=BOTH),
    Row("torch", "RNNCell", jaxrnn.elman, "elman", (0,), (1,), BOTH),
    Row("torch", "LSTMCell", jaxrnn.lstm, "lstm", (0,), (1,), BOTH),
    Row("torch", "GRUCell", jaxrnn.gru, "gru", (0,), (1,), BOTH),
    Row("linen", "SimpleCell", jaxrnn.elman, "elman", (0, 1, 2, 3)),
    Row("linen", "LSTMCell", jaxrnn.lstm, "lstm", (0, 1, 2, 3)),
    Row("linen", "OptimizedLSTMCell", jaxrnn.lstm, "lstm", (0, 1, 2, 3)),
    Row("linen", "GRUCell", jaxrnn.gru, "gru", (0, 1, 2, 3)),
    Row("linen", "MGUCell", jaxrnn.gru, "gru", (0, 1, 2, 3), note="a GRU with r = z"),
    Row("nnx", "SimpleCell", jaxrnn.elman, "elman", (0, 1, 2, 3)),
    Row("nnx", "LSTMCell", jaxrnn.lstm, "lstm", (0, 1, 2, 3)),
    Row("nnx", "OptimizedLSTMCell", jaxrnn.lstm, "lstm", (0, 1, 2, 3)),
    Row("nnx", "GRUCell", jaxrnn.gru, "gru", (0, 1, 2, 3), note="has no `recurrent_bias`"),
    Row("haiku", "VanillaRNN", RELU, 'make_elman(activation="relu")', (1, 2, 3), (1,), BOTH,
        note="False: `double_bias=False`"),
    Row("haiku", "LSTM", jaxrnn.lstm, "lstm", (1, 2, 3), (1,),
        note="adds 1 to the forget gate; bit for bit with `interop.haiku.lstm`"),
    Row("haiku", "GRU", jaxrnn.cells.gru_reset_before, "gru_reset_before", (1, 2, 3), (1,)),
    Row("equinox", "LSTMCell", jaxrnn.lstm, "lstm", (0, 1, 2, 3), bias=BOTH),
    Row("equinox", "GRUCell", jaxrnn.gru, "gru", (0, 1, 2, 3), bias=BOTH),
    Row("keras", "SimpleRNN", jaxrnn.elman, "elman", bias=BOTH),
    Row("keras", "LSTM", jaxrnn.lstm, "lstm", bias=BOTH),
    Row("keras", "GRU", jaxrnn.gru, "gru", bias=BOTH),
    Row("keras", "GRU(reset_after=False)", jaxrnn.cells.gru_reset_before, "gru_reset_before",
        bias=BOTH, infers=False, note="`infer` needs the bias"),
    Row("onnx", "RNN", jaxrnn.elman, "elman", bias=BOTH),
    Row("onnx", "LSTM", jaxrnn.lstm, "lstm", bias=BOTH),
    Row("onnx", "LSTM(P)", jaxrnn.make_lstm(peepholes="diagonal"),
        'make_lstm(peepholes="diagonal")', bias=BOTH),
    Row("onnx", "LSTM(input_forget=1)", jaxrnn.make_lstm(forget_gate="coupled"),
        'make_lstm(forget_gate="coupled")', bias=BOTH, infers=False,
        note="`infer` needs `attributes`"),
    Row("onnx", "GRU", jaxrnn.cells.gru_reset_before, "gru_reset_before", bias=BOTH),
    Row("onnx", "GRU(linear_before_reset=1)", jaxrnn.gru, "gru", bias=BOTH, infers=False,
        note="`infer` needs `attributes`"),
    Row("cudnn", "LSTM", jaxrnn.lstm, "lstm", infers=False, note="`jax.experimental.rnn`"),
]  # fmt: skip

LIBRARIES = {
    "torch": "PyTorch",
    "linen": "flax.linen",
    "nnx": "flax.nnx",
    "haiku": "Haiku",
    "equinox": "Equinox",
    "keras": "Keras 3",
    "onnx": "ONNX",
    "cudnn": "cuDNN",
}


def markdown():
    """The table for docs/how_to/weights.md."""
    lines = [
        "| library | module | here | layers | directions | without bias | |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        layers = ", ".join("cell" if n == 0 else str(n) for n in row.layers)
        directions = " or ".join(map(str, row.directions))
        bias = "yes" if False in row.bias and row.module != "VanillaRNN" else "–"
        cells = (LIBRARIES[row.library], f"`{row.module}`", f"`{row.here}`", layers, directions)
        lines.append(f"| {' | '.join((*cells, bias, row.note))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(markdown())
