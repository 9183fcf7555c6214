"""QBitOpt: sensitivities and a constrained program, re-solved during training (arXiv 2307.04535)."""

from __future__ import annotations

from ..quantizers import Scheme
from .reallocation import Reallocating


class QBitOpt(Reallocating):
    """FIT sensitivities from the training gradients, LSQ-style quantisers with learnt ranges. See :class:`Reallocating`."""

    scheme = Scheme("lsq", "lsq")
