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
        for name, path in step.model.module.items():
            bits = step.model.weights[path].bits
            step.model.weight_quantizer(name).adapt(step.model.weight_of(name), bits)
        return super().observe(step)
