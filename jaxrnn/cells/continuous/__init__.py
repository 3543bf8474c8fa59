"""Cells of continuous time: oscillators, liquid networks, memories of a window.

Those that take time gaps, `cfc`, `ltc`, `lem`, `cornn` and `unicornn`, are given them beside the
features: ``xs`` is a pair ``(features, gaps)``, ``(T, *batch, D)`` and ``(T, *batch, 1)``, or
features alone, whose gaps are 1.
"""

from jaxrnn.cells.continuous.cfc import (
    CfCGates,
    CfCParams,
    CfCPreActivations,
    CfCSpec,
    cfc,
    lecun_tanh,
    make_cfc,
)
from jaxrnn.cells.continuous.cornn import CoRNNParams, CoRNNSpec, cornn, make_cornn
from jaxrnn.cells.continuous.lem import (
    LEMCarry,
    LEMGates,
    LEMParams,
    LEMPreActivations,
    LEMSpec,
    lem,
    make_lem,
)
from jaxrnn.cells.continuous.lmu import (
    LMUCarry,
    LMUParams,
    LMUPreActivations,
    LMUSpec,
    legendre_delay,
    lmu,
    make_lmu,
)
from jaxrnn.cells.continuous.ltc import LTCParams, LTCPreActivations, LTCSpec, ltc, make_ltc
from jaxrnn.cells.continuous.oscillators import OscillatorCarry, OscillatorPreActivations
from jaxrnn.cells.continuous.unicornn import (
    UnICORNNParams,
    UnICORNNSpec,
    make_unicornn,
    unicornn,
)

__all__ = [
    "CfCGates",
    "CfCParams",
    "CfCPreActivations",
    "CfCSpec",
    "CoRNNParams",
    "CoRNNSpec",
    "LEMCarry",
    "LEMGates",
    "LEMParams",
    "LEMPreActivations",
    "LEMSpec",
    "LMUCarry",
    "LMUParams",
    "LMUPreActivations",
    "LMUSpec",
    "LTCParams",
    "LTCPreActivations",
    "LTCSpec",
    "OscillatorCarry",
    "OscillatorPreActivations",
    "UnICORNNParams",
    "UnICORNNSpec",
    "cfc",
    "cornn",
    "lecun_tanh",
    "legendre_delay",
    "lem",
    "lmu",
    "ltc",
    "make_cfc",
    "make_cornn",
    "make_lem",
    "make_lmu",
    "make_ltc",
    "make_unicornn",
    "unicornn",
]
