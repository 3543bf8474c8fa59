"""`torch`, eager, as its users run it; with cuDNN where there is a GPU (not run yet)."""

import torch
from _task import STEPS

MODULES = {"lstm": "LSTM", "gru": "GRU", "elman": "RNN"}
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Torch:
    """A layer or a cell, as the mode says."""

    def __init__(self, task):
        *_, size, hidden = task.sizes
        name, (w, r, b) = MODULES[task.cell], map(torch.tensor, task.weights)
        arrays = {"weight_ih": w.T, "weight_hh": r.T, "bias_ih": b, "bias_hh": 0 * b}
        if task.mode == "step":
            name += "Cell"
        else:
            arrays = {f"{key}_l0": array for key, array in arrays.items()}
        self.module = getattr(torch.nn, name)(size, hidden)
        self.module.load_state_dict(arrays)
        self.module.to(DEVICE)
        self.xs, *rest = (torch.tensor(array) for array in task.inputs)
        self.xs, self.lengths = self.xs.to(DEVICE), rest[0].long() if rest else None
        self.mode = task.mode

    def forward(self):
        if self.lengths is None:
            return self.module(self.xs)[0]
        tools = torch.nn.utils.rnn
        packed = tools.pack_padded_sequence(self.xs, self.lengths, enforce_sorted=False)
        return tools.pad_packed_sequence(self.module(packed)[0], total_length=len(self.xs))[0]

    def gradient(self):
        self.module.zero_grad(set_to_none=True)
        loss = self.forward().square().sum()
        loss.backward()
        return loss.detach()

    def step(self):
        carry, ys = None, []
        for _ in range(STEPS):
            carry = self.module(self.xs[0], carry)
            ys.append(carry[0] if isinstance(carry, tuple) else carry)
        return ys

    def run(self):
        with torch.inference_mode(self.mode != "gradient"):
            result = getattr(self, self.mode)()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return result

    def compile(self):
        self.run()  # there is nothing to compile: the first run

    def outputs(self):
        ys = self.run()
        return (torch.stack(ys) if isinstance(ys, list) else ys).cpu().numpy()
