r"""Recurrence over more than one axis: images, volumes, anything on a grid.

A grid cell has one predecessor along each of N axes, zero beyond the border:

.. math:: s_p, y_p = \mathrm{step}(\theta, (s_{p - e_1}, \dots, s_{p - e_N}), x_p)

The positions whose indices have the same sum, an anti-diagonal, depend only on the
anti-diagonal before. `scan` skews the grid so that an anti-diagonal is one time step of
`jaxrnn.scan`: sides n take :math:`1 + \sum_d (n_d - 1)` sequential steps, not
:math:`\prod_d n_d`, and the grid has the derivative, the hoisted input product and the memory
of any other sequence. Steps are as wide as the grid without its longest axis; the corners
that a step does not reach are computed and dropped, for a square twice the arithmetic.

Layout: ``(*grid, *batch, D)``, as the time axis of a sequence comes first.

>>> import jax, jaxrnn
>>> layer = jaxrnn.grid.multidirectional(jaxrnn.grid.make_md_lstm(2), merge="sum")
>>> params = layer.init(jax.random.key(0), 3, 5)
>>> images = jax.random.normal(jax.random.key(1), (8, 6, 2, 3))
>>> carries, ys = jaxrnn.grid.scan(layer, params, images)
>>> ys.shape
(8, 6, 2, 5)
"""

from jaxrnn.grid.cells import GridCell, MDLSTMParams, MDRNNParams, make_md_lstm, make_md_rnn
from jaxrnn.grid.unroll import GridLayer, multidirectional, scan

__all__ = [
    "GridCell",
    "GridLayer",
    "MDLSTMParams",
    "MDRNNParams",
    "make_md_lstm",
    "make_md_rnn",
    "multidirectional",
    "scan",
]
