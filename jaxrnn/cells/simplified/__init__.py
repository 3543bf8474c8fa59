"""Cells with fewer or simpler gates than an LSTM or a GRU."""

from jaxrnn.cells.simplified.antisymmetric import (
    AntisymmetricSpec,
    antisymmetric_rnn,
    make_antisymmetric_rnn,
)
from jaxrnn.cells.simplified.atr import (
    ATRSpec,
    atr,
    make_atr,
)
from jaxrnn.cells.simplified.brc import (
    BRCSpec,
    brc,
    make_brc,
    nbrc,
)
from jaxrnn.cells.simplified.cfn import (
    CFNSpec,
    cfn,
    make_cfn,
)
from jaxrnn.cells.simplified.fast_grnn import (
    FastGRNNParams,
    FastGRNNSpec,
    fast_grnn,
    make_fast_grnn,
)
from jaxrnn.cells.simplified.fast_rnn import (
    FastRNNParams,
    FastRNNSpec,
    fast_rnn,
    make_fast_rnn,
)
from jaxrnn.cells.simplified.ind_rnn import (
    IndRNNSpec,
    ind_rnn,
    make_ind_rnn,
)
from jaxrnn.cells.simplified.intersection import (
    IntersectionSpec,
    intersection_rnn,
    make_intersection_rnn,
)
from jaxrnn.cells.simplified.janet import (
    JANETSpec,
    janet,
    make_janet,
)
from jaxrnn.cells.simplified.li_gru import (
    LiGRUSpec,
    li_gru,
    make_li_gru,
)
from jaxrnn.cells.simplified.mgu import (
    MGUParams,
    MGUSpec,
    make_mgu,
    mgu,
)
from jaxrnn.cells.simplified.minimal_rnn import (
    MinimalRNNParams,
    MinimalRNNSpec,
    make_minimal_rnn,
    minimal_rnn,
)
from jaxrnn.cells.simplified.mut import (
    MUTPreActivations,
    MUTSpec,
    make_mut,
    mut1,
    mut2,
    mut3,
)
from jaxrnn.cells.simplified.nas import (
    NASSpec,
    make_nas,
    nas,
)
from jaxrnn.cells.simplified.ran import (
    RANSpec,
    make_ran,
    ran,
)
from jaxrnn.cells.simplified.records import (
    DiagonalParams,
    Mixture,
    SimplifiedParams,
    SimplifiedPreActivations,
)
from jaxrnn.cells.simplified.rhn import (
    RHNSpec,
    make_rhn,
    rhn,
)
from jaxrnn.cells.simplified.scrn import (
    SCRNCarry,
    SCRNParams,
    SCRNPreActivations,
    SCRNSpec,
    make_scrn,
    scrn,
)
from jaxrnn.cells.simplified.star import (
    StarSpec,
    light_ru,
    make_star,
    star,
)
from jaxrnn.cells.simplified.ugrnn import (
    UGRNNSpec,
    make_ugrnn,
    ugrnn,
)

__all__ = [
    "ATRSpec",
    "AntisymmetricSpec",
    "BRCSpec",
    "CFNSpec",
    "DiagonalParams",
    "FastGRNNParams",
    "FastGRNNSpec",
    "FastRNNParams",
    "FastRNNSpec",
    "IndRNNSpec",
    "IntersectionSpec",
    "JANETSpec",
    "LiGRUSpec",
    "MGUParams",
    "MGUSpec",
    "MUTPreActivations",
    "MUTSpec",
    "MinimalRNNParams",
    "MinimalRNNSpec",
    "Mixture",
    "NASSpec",
    "RANSpec",
    "RHNSpec",
    "SCRNCarry",
    "SCRNParams",
    "SCRNPreActivations",
    "SCRNSpec",
    "SimplifiedParams",
    "SimplifiedPreActivations",
    "StarSpec",
    "UGRNNSpec",
    "antisymmetric_rnn",
    "atr",
    "brc",
    "cfn",
    "fast_grnn",
    "fast_rnn",
    "ind_rnn",
    "intersection_rnn",
    "janet",
    "li_gru",
    "light_ru",
    "make_antisymmetric_rnn",
    "make_atr",
    "make_brc",
    "make_cfn",
    "make_fast_grnn",
    "make_fast_rnn",
    "make_ind_rnn",
    "make_intersection_rnn",
    "make_janet",
    "make_li_gru",
    "make_mgu",
    "make_minimal_rnn",
    "make_mut",
    "make_nas",
    "make_ran",
    "make_rhn",
    "make_scrn",
    "make_star",
    "make_ugrnn",
    "mgu",
    "minimal_rnn",
    "mut1",
    "mut2",
    "mut3",
    "nas",
    "nbrc",
    "ran",
    "rhn",
    "scrn",
    "star",
    "ugrnn",
]
