"""The quantisers of AdaQAT: DoReFa weights and PACT activations, with the SAT corrections.

Zhou et al., "DoReFa-Net", arXiv 1606.06160; Choi et al., "PACT", arXiv 1805.06085; Jin et al., "Towards Efficient Training for Neural
Network Quantization" (SAT), arXiv 1912.10207; used together in AdaQAT, arXiv 2404.16876, section III.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .base import Quantizer, check_bits, round_ste


class DoReFa(Quantizer):
    """Weights: ``w~ = tanh(w) / (2 max|tanh w|) + 1/2``, ``q = 2 round(w~ s) / s - 1``, ``s = 2^b - 1``, then a fixed spread.

    DoReFa forgets the magnitude of the weights (q lies in [-1, 1]). SAT rescales layers without batch norm to variance 1/fan_out; here
    every layer is rescaled to the standard deviation that its weight had when :meth:`calibrate` was called, which batch norm
    does not see, which equals SAT's rule for weights initialised that way, and which lets trained weights be fine-tuned (ours).
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("spread", torch.ones(()))
        self.spread: Tensor

    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Remembers the standard deviation to keep."""
        check_bits(bits)
        with torch.no_grad():
            self.spread.copy_(sample.detach().float().pow(2).mean().sqrt())

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """See the class's formula."""
        check_bits(bits)
        squashed = torch.tanh(x)
        steps = 2**bits - 1
        unit = squashed / (2 * squashed.detach().abs().max().clamp_min(1e-8)) + 0.5
        q = 2 * round_ste(unit * steps) / steps - 1
        gain: Tensor = self.spread / q.detach().pow(2).mean().sqrt().clamp_min(1e-8)
        scaled: Tensor = q * gain.to(x.dtype)
        return scaled


class _Pact(torch.autograd.Function):
    """alpha round(clip(x / alpha, low, 1) s) / s with SAT's gradient of alpha: q(x/alpha) - x/alpha inside the clip, the bound outside."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, alpha: Tensor, steps: int, low: float) -> Tensor:
        unit = x / alpha
        q = torch.round(torch.clamp(unit, low, 1.0) * steps) / steps
        ctx.save_for_backward(unit, q)
        ctx.low = low  # type: ignore[attr-defined]  # the way torch passes non-tensors
        return q * alpha

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *grads: Tensor) -> tuple[Tensor | None, ...]:
        unit, q = ctx.saved_tensors  # type: ignore[attr-defined]  # set in forward
        inside = (unit > ctx.low) & (unit < 1.0)  # type: ignore[attr-defined]  # set in forward
        grad_alpha = (grads[0] * torch.where(inside, q - unit, q)).sum()
        return grads[0] * inside, grad_alpha, None, None


class Pact(Quantizer):
    """Activations: ``alpha round(clip(x / alpha, 0, 1) s) / s`` with learnt alpha; clip(-1, 1) with s = 2^(b-1) - 1 for signed inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(()))
        self.register_buffer("signed", torch.tensor(False))
        self.signed: Tensor
        self.is_signed = False

    def _load_from_state_dict(self, *args: object, **kwargs: object) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.is_signed = bool(self.signed)

    def calibrate(self, sample: Tensor, bits: int) -> None:
        """Starts alpha at the 99.9th percentile of the magnitude."""
        check_bits(bits)
        with torch.no_grad():
            flat = sample.detach().float().flatten()
            self.is_signed = bool((flat < 0).any())
            self.signed.fill_(self.is_signed)
            flat = flat.abs()[: 1 << 20]
            self.alpha.fill_(torch.quantile(flat, 0.999).clamp_min(1e-3) if flat.numel() else 1.0)

    def quantize(self, x: Tensor, bits: int) -> Tensor:
        """See the class's formula."""
        check_bits(bits)
        steps = 2 ** (bits - 1) - 1 if self.is_signed else 2**bits - 1
        alpha = self.alpha.abs().clamp_min(1e-6).to(x.dtype)
        result: Tensor = _Pact.apply(x, alpha, steps, -1.0 if self.is_signed else 0.0)  # type: ignore[no-untyped-call]  # torch's stub
        return result
