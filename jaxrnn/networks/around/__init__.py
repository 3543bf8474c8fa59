"""What goes around a cell: noise, ways past it, readouts, normalisation. All of it composes.

Each wrapper takes a `Cell` and gives one. What is random depends on the key and the absolute time,
or on the key alone, so a sequence in pieces, or step by step, is the same as the whole.
"""

from jaxrnn.networks.around.candidate import RecurrentDropoutSpec, recurrent_dropout
from jaxrnn.networks.around.dilation import DilatedSpec, dilated
from jaxrnn.networks.around.normalize import NormalizeParams, NormalizeSpec, normalize
from jaxrnn.networks.around.readout import (
    ProjectOutputParams,
    ProjectOutputSpec,
    project_output,
)
from jaxrnn.networks.around.shared import Beside
from jaxrnn.networks.around.skips import (
    HighwayParams,
    HighwaySpec,
    ResidualSpec,
    highway,
    residual,
)
from jaxrnn.networks.around.variational import (
    VariationalDropoutParams,
    VariationalDropoutSpec,
    variational_dropout,
)
from jaxrnn.networks.around.weight_drop import WeightDropSpec, weight_drop
from jaxrnn.networks.around.zoneout import ZoneoutSpec, zoneout

__all__ = [
    "Beside",
    "DilatedSpec",
    "HighwayParams",
    "HighwaySpec",
    "NormalizeParams",
    "NormalizeSpec",
    "ProjectOutputParams",
    "ProjectOutputSpec",
    "RecurrentDropoutSpec",
    "ResidualSpec",
    "VariationalDropoutParams",
    "VariationalDropoutSpec",
    "WeightDropSpec",
    "ZoneoutSpec",
    "dilated",
    "highway",
    "normalize",
    "project_output",
    "recurrent_dropout",
    "residual",
    "variational_dropout",
    "weight_drop",
    "zoneout",
]
