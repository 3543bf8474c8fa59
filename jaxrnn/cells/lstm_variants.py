"""The LSTMs that have a name, as options of `make_lstm`.

Those of Greff et al. (2017), LSTM: a search space odyssey, arXiv:1503.04069, are the LSTM with
diagonal peepholes and eight cells that each differ from it in one thing.
"""

from jaxrnn.cells.lstm import make_lstm

__all__ = [
    "lstm_1997",
    "lstm_cifg",
    "lstm_fgr",
    "lstm_nfg",
    "lstm_niaf",
    "lstm_nig",
    "lstm_noaf",
    "lstm_nog",
    "lstm_np",
    "lstm_peephole",
    "lstm_peephole_full",
    "lstm_projected",
]

lstm_peephole = make_lstm(peepholes="diagonal")
r"""The LSTM with diagonal peepholes, also the "vanilla" LSTM of the search space odyssey.

.. math::
    i &= \sigma(a_i + p_i \odot c_{t-1}), \quad f = \sigma(a_f + p_f \odot c_{t-1}) \\
    c_t &= f \odot c_{t-1} + i \odot \tanh(a_g) \\
    o &= \sigma(a_o + p_o \odot c_t), \quad h_t = o \odot \tanh(c_t)

with :math:`a = W x_t + R h_{t-1} + b`. Source: Gers and Schmidhuber (2000), Recurrent nets
that time and count.
"""

lstm_peephole_full = make_lstm(peepholes="full")
r"""The LSTM whose gates see the whole cell: :math:`W_{ci} c_{t-1}, W_{cf} c_{t-1}, W_{co} c_t`
in place of the three terms of `lstm_peephole`. Source: Graves (2013), Generating sequences
with recurrent neural networks, arXiv:1308.0850, whose own matrices are diagonal.
"""

lstm_1997 = make_lstm(forget_gate=False)
r"""The LSTM of 1997, without a forget gate or peepholes: :math:`c_t = c_{t-1} + i \odot g`.

The candidate and the output use tanh; the paper's squashing functions were logistic ones
scaled to (−2, 2) and (−1, 1). Source: Hochreiter and Schmidhuber (1997), Long short-term
memory.
"""

lstm_nig = make_lstm(peepholes="diagonal", input_gate=False)
"""`lstm_peephole` without an input gate, i = 1. Source: Greff et al. (2017)."""

lstm_nfg = make_lstm(peepholes="diagonal", forget_gate=False)
"""`lstm_peephole` without a forget gate, f = 1. Source: Greff et al. (2017)."""

lstm_nog = make_lstm(peepholes="diagonal", output_gate=False)
"""`lstm_peephole` without an output gate, o = 1. Source: Greff et al. (2017)."""

lstm_niaf = make_lstm(peepholes="diagonal", candidate_activation="identity")
"""`lstm_peephole` without the candidate's activation, g = a_g. Source: Greff et al. (2017)."""

lstm_noaf = make_lstm(peepholes="diagonal", output_activation="identity")
"""`lstm_peephole` without the output's activation, h = o ⊙ c. Source: Greff et al. (2017)."""

lstm_cifg = make_lstm(peepholes="diagonal", forget_gate="coupled")
"""`lstm_peephole` with coupled gates, f = 1 − i. Source: Greff et al. (2017)."""

lstm_np = make_lstm()
"""`lstm_peephole` without peepholes: `jaxrnn.lstm` itself. Source: Greff et al. (2017)."""

lstm_fgr = make_lstm(peepholes="diagonal", gate_recurrence=True)
r"""`lstm_peephole` with full gate recurrence: each of i, f and o adds

.. math:: G\,[i_{t-1}, f_{t-1}, o_{t-1}]

nine matrices in one kernel ``(3H, 3H)``, to its pre-activation; the carry is
`LSTMGateCarry`, zero gates at first. Source: Greff et al. (2017).
"""

lstm_projected = make_lstm(proj_size=0.5)
r"""The LSTM with a projected output of half its size, :math:`h_t = W_r (o \odot \tanh c_t)`.

``make_lstm(proj_size=128)`` is the one of 128 features. Source: Sak, Senior and Beaufays
(2014), Long short-term memory based recurrent neural network architectures for large
vocabulary speech recognition, arXiv:1402.1128, whose cells also have peepholes.
"""
