"""`torch`, eager, as its users run it; with cuDNN where there is a GPU (not run yet)."""

import time

import torch

from _contenders.common import STEPS, norm, sample
from jaxrnn import interop

MODULES = {"lstm": "LSTM", "gru": "GRU", "elman": "RNN"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def tensors(setup):
    arrays = interop.torch.dump(setup.net, setup.params)
    return {name: torch.tensor(array) for name, array in arrays.items()}


def finish():
    if DEVICE == "cuda":
        torch.cuda.synchronize()


class Sequence:
    """Modes forward and gradient."""

    repeats = 1

    def __init__(self, task, setup):
        self.mode, self.lengths = task.mode, setup.lengths
        layers = {"num_layers": 2, "bidirectional": True} if task.deep else {}
        build = getattr(torch.nn, MODULES[task.cell])
        self.module = build(setup.xs.shape[2], setup.hidden, **layers)
        arrays = tensors(setup)
        if not task.deep:  # the arrays of a cell
            arrays = {f"{name}_l0": array for name, array in arrays.items()}
        self.module.load_state_dict(arrays)
        self.module.to(DEVICE)
        self.xs = torch.tensor(setup.xs, device=DEVICE)

    def forward(self):
        if self.lengths is None:
            return self.module(self.xs)[0]
        lengths = torch.tensor(self.lengths, dtype=torch.int64)
        packed = torch.nn.utils.rnn.pack_padded_sequence(self.xs, lengths, enforce_sorted=False)
        ys = self.module(packed)[0]
        return torch.nn.utils.rnn.pad_packed_sequence(ys, total_length=self.xs.shape[0])[0]

    def compile(self):
        began = time.perf_counter()
        self.run()
        return {"compile_s": time.perf_counter() - began, "temp_bytes": None}

    def run(self):
        if self.mode == "forward":
            with torch.inference_mode():
                result = self.forward()
        else:
            self.module.zero_grad(set_to_none=True)
            result = self.forward().square().sum()
            result.backward()
        finish()
        return result

    def check(self):
        result = self.run().detach().cpu().numpy()
        if self.mode == "forward":
            return sample(result, self.lengths)
        slopes = [p.grad.cpu().numpy() for p in self.module.parameters() if p.ndim > 1]
        return [float(result), norm(slopes)]


class Steps:
    """Mode step."""

    repeats = STEPS

    def __init__(self, task, setup):
        self.lstm = task.cell == "lstm"
        build = getattr(torch.nn, MODULES[task.cell] + "Cell")
        self.cell = build(setup.xs.shape[2], setup.hidden)
        self.cell.load_state_dict(tensors(setup))
        self.cell.to(DEVICE)
        self.x = torch.tensor(setup.xs[0], device=DEVICE)

    def compile(self):
        began = time.perf_counter()
        self.steps(1)
        return {"compile_s": time.perf_counter() - began, "temp_bytes": None}

    def steps(self, count):
        with torch.inference_mode():
            carry, ys = None, []
            for _ in range(count):
                carry = self.cell(self.x, carry)
                ys.append(carry[0] if self.lstm else carry)
        finish()
        return ys

    def run(self):
        return self.steps(STEPS)

    def check(self):
        return torch.cat(self.steps(20)).flatten().tolist()


def prepare(task, setup):
    return (Steps if task.mode == "step" else Sequence)(task, setup)
