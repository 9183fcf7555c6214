"""ADQ: adaptive codebooks and sensitivity-driven widths (arXiv 2510.19760)."""

from __future__ import annotations

from ..bits import Allocation
from ..quantizers import Scheme
from ..training import Step
from .reallocation import Reallocating


class ADQ(Reallocating):
    """Quantile-initialised weight codebooks that follow the weights, N2UQ activations, widths from the codebook's own error.

    The widths are solved for like QBitOpt's, with the error that the codebook makes at each width. No distillation.
    """

    scheme = Scheme("codebook", "n2uq")

    def observe(self, step: Step) -> Allocation | None:
        """One moving-average step of every codebook, then as :class:`Reallocating`."""
        for weight, quantizer, bits in step.model.distinct_weights():
            quantizer.adapt(weight, bits)
        return super().observe(step)
