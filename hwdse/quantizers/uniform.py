"""Uniform quantiser with a learnt range (LSQ-style).

Esser et al., "Learned Step Size Quantization", ICLR 2020, with the range R in place of the step as the learnt parameter, so that a
change of width keeps the range (QBitOpt, arXiv 2307.04535, leaves this open; ours):

    signed    s = R / 2^(b-1)     q = s clip(round(x / s), -2^(b-1), 2^(b-1) - 1)
    unsigned  s = R / (2^b - 1)   q = s clip(round(x / s), 0, 2^b - 1)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .base import Quantizer, check_bits, round_ste

_CANDIDATES = 40  # ranges tried by the search, as fractions of the largest magnitude
_REFINED = 9  # then around the best of them; odd, so that the best itself is among them
_SEARCHED = 1 << 13  # elements looked at by the search of an activation's range


class LearntRange(Quantizer):
    """See the module's formula. One range for the tensor; ``signed`` is found by :meth:`calibrate`.

    The gradient of R is scaled by 1/sqrt(numel * levels), as in LSQ section 2.2.
    """

    def __init__(self) -> None:
        super().__init__()
        self.range = nn.Parameter(torch.ones(()))
        self.register_buffer("signed", torch.tensor(True))
        self.signed: Tensor
        self.is_signed = True

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.is_signed = bool(self.signed)

    def levels(self, bits: int) -> tuple[int, int, float]:
        """Lowest and highest level, and the number of steps in the range."""
        check_bits(bits)
        if self.is_signed:
            return -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, float(2 ** (bits - 1))
        return 0, 2**bits - 1, float(2**bits - 1)

    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Sets the range that minimises the mean squared error on the sample, by search over fractions of the largest magnitude."""
        with torch.no_grad():
            flat = sample.detach().float().flatten()
            self.is_signed = bool((flat < 0).any())
            self.signed.fill_(self.is_signed)
            largest = float(flat.abs().max()) if flat.numel() else 0.0
            if not math.isfinite(largest) or largest == 0:
                self.range.fill_(1.0)  # a constant zero is exact at any range
                return
            if flat.numel() > _SEARCHED:
                flat = flat[:: flat.numel() // _SEARCHED + 1]
            low, high, steps = self.levels(bits)

            def best_of(candidates: Tensor) -> float:
                scale = (candidates / steps)[:, None]
                error = ((torch.clamp(torch.round(flat / scale), low, high) * scale - flat) ** 2).mean(1)
                return float(candidates[int(error.argmin())])

            # signed levels end one step below R: the largest positive value needs R = largest steps / high
            whole = largest * steps / high
            found = best_of(torch.cat([torch.linspace(whole / _CANDIDATES, whole, _CANDIDATES), torch.tensor([largest])]).to(flat.device))
            near = torch.linspace(-1, 1, _REFINED, device=flat.device) * whole / _CANDIDATES
            self.range.fill_(best_of((found + near).clamp_min(whole / 1000)))

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """See the module's formula."""
        low, high, steps = self.levels(bits)
        bounded = self.range.abs().clamp_min(1e-8)
        if torch.is_grad_enabled() and self.range.requires_grad:
            gain = 1.0 / math.sqrt(x.numel() * max(high, 1))
            bounded = (bounded - bounded * gain).detach() + bounded * gain
        scale = (bounded / steps).to(x.dtype)
        return round_ste(torch.clamp(x / scale, low, high)) * scale
