"""ADQ: adaptive codebooks and sensitivity-driven widths (arXiv 2510.19760)."""

from __future__ import annotations

from ..quantizers import Scheme
from .reallocation import Reallocating


class ADQ(Reallocating):
    """Weight codebooks that follow the weights, N2UQ activations, widths from the error that the codebook itself makes.

    The codebooks' moving averages step once an update, whichever allocator chose the widths (see :mod:`hwdse.training`). The paper's
    teacher is the recipe's ``distillation``.
    """

    scheme = Scheme("codebook", "n2uq")
