"""How far a uniform quantiser's range reaches, found on a sample: one rule a function, all channels at once.

The rule is part of what is handed over: ranges found by another rule are another network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

# (values by channel (C, N), lowest level, highest level, steps in the range) -> ranges (C,)
Calibrator = Callable[[Tensor, int, int, float], Tensor]

_CANDIDATES = 16  # ranges tried by the search, as fractions of the largest magnitude
_REFINED = 7  # then twice between the neighbours of the best; odd, so that the best itself is among them
PERCENTILE = 99.99


def min_max(rows: Tensor, low: int, high: int, steps: float) -> Tensor:
    """The range that clips nothing; signed levels end one step below R, so the largest positive value needs R = max steps / high."""
    need = rows.amax(1).clamp_min(0) * (steps / high)
    return torch.maximum(need, -rows.amin(1)) if low else need


def percentile(rows: Tensor, low: int, high: int, steps: float) -> Tensor:
    """Clips the largest 0.01 % of the magnitudes (Li et al., "Fully Quantized Network for Object Detection", CVPR 2019)."""
    magnitude = rows.abs()
    kept = max(1, round(rows.shape[1] * PERCENTILE / 100))
    return magnitude.kthvalue(kept, dim=1).values * (steps / high)


def mean_square(rows: Tensor, low: int, high: int, steps: float) -> Tensor:
    """The range with the smallest mean squared error, among fractions of the largest magnitude."""
    largest = rows.abs().amax(1)
    whole = largest * (steps / high)
    fractions = torch.linspace(1 / _CANDIDATES, 1, _CANDIDATES, device=rows.device)
    found = _best(rows, torch.cat([whole[:, None] * fractions, largest[:, None]], 1), low, high, steps)
    reach = 1 / _CANDIDATES
    for _ in range(2):
        near = torch.linspace(-reach, reach, _REFINED, device=rows.device)
        candidates = torch.maximum(found[:, None] + whole[:, None] * near, whole[:, None] / 1000)
        found = _best(rows, candidates, low, high, steps)
        reach *= 2 / (_REFINED - 1)
    return found


def _best(rows: Tensor, candidates: Tensor, low: int, high: int, steps: float) -> Tensor:
    """(C,) of the candidates (C, K), the one with the smallest error."""
    errors = torch.empty_like(candidates)
    for k in range(candidates.shape[1]):  # one candidate at a time: in place, in cache
        scale = (candidates[:, k : k + 1] / steps).clamp_min(1e-30)
        q = rows.div(scale).round_().clamp_(low, high).mul_(scale).sub_(rows)
        errors[:, k] = torch.linalg.vector_norm(q, dim=1)
    return candidates.gather(1, errors.argmin(1, keepdim=True)).squeeze(1)


CALIBRATORS: Mapping[str, Calibrator] = {"mse": mean_square, "minmax": min_max, "percentile": percentile}
