r"""Fractional bits under an average-bits budget, in closed form: reverse water-filling.

    min_b  sum_q s_q (R_q / (2^{b_q} - 1))^2     s.t.  mean(b) <= B,   lo <= b_q <= hi

s is the sensitivity (nat per squared unit), R the range (in the tensor's unit), b bits. This is QBitOpt's noise model
(arXiv 2307.04535), not its high-rate limit 4^-b. With u = 2^b the derivative is

    d/db = -2 ln 2 * s R^2 u / (u - 1)^3  =  -nu

so at one water level nu each b_q solves a cubic, (u - 1)^3 = k u with k = 2 ln 2 s R^2 / nu; it has one root above 1:
with v = u - 1, v^3 - k v - k = 0 (Cardano for k <= 27/4, the cosine form above). b clips to [lo, hi], and the mean of b falls as nu
rises: the level is found by bisection.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..costs import FloatArray
from ..errors import InfeasibleBudget, UsageError
from ..metrics import AVERAGE_BITS


def reverse_water_filling(
    scores: npt.ArrayLike, ranges: npt.ArrayLike, average_bits: float, lo: float = 2.0, hi: float = 8.0
) -> FloatArray:
    """(Q,) fractional bits per tensor with mean at most ``average_bits``.

    Args:
        scores: (Q,) s >= 0. ranges: (Q,) R >= 0.
        average_bits: B. lo, hi: bounds on every b, 0 < lo <= hi.

    Tensors whose s R^2 is 0 stay at ``lo``; the mean stays below B where all others are at ``hi``.

    Raises:
        InfeasibleBudget: B < lo. UsageError: shapes that differ, bounds out of order, values negative or not finite.
    """
    s, r = np.asarray(scores, np.float64), np.asarray(ranges, np.float64)
    if s.ndim != 1 or s.shape != r.shape or not len(s):
        raise UsageError(f"scores and ranges must be two vectors of one length, at least 1; got shapes {s.shape} and {r.shape}.")
    if not (np.isfinite(s).all() and np.isfinite(r).all() and (s >= 0).all() and (r >= 0).all()):
        raise UsageError("scores and ranges must be finite and not negative.")
    if not 0 < lo <= hi:
        raise UsageError(f"the bounds must satisfy 0 < lo <= hi; got lo = {lo} and hi = {hi}.")
    if average_bits < lo:
        raise InfeasibleBudget(
            f"average_bits <= {average_bits:g} cannot be met: no tensor goes below {lo:g} bits. Raise the limit or lower lo.",
            AVERAGE_BITS.key, average_bits, lo,
        )  # fmt: skip
    with np.errstate(divide="ignore"):
        weight = np.log(2 * np.log(2) * s) + 2 * np.log(r)  # log of 2 ln 2 s R^2; -inf where nothing is gained by bits

    def at(level: float) -> FloatArray:
        """Bits at log(nu) = ``level``."""
        out: FloatArray = np.clip(_bits(weight - level), lo, hi)
        return out

    used = weight[np.isfinite(weight)]
    if not len(used):
        return np.full(len(s), float(lo))
    # log k of a tensor at hi and at lo bound the level: beyond these nothing changes
    low, high = used.min() - _log_k(hi) - 1, used.max() - _log_k(lo) + 1
    if at(low).mean() <= average_bits:
        return at(low)
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if at(middle).mean() > average_bits else (low, middle)
    return at(high)


def _log_k(bits: float) -> float:
    u = 2.0**bits
    return float(3 * np.log(u - 1) - np.log(u))


def _bits(log_k: FloatArray) -> FloatArray:
    """log2(1 + v) with v > 0 the root of v^3 = k v + k; 0 where k is 0."""
    k = np.exp(np.clip(log_k, -600, 600))
    inside = np.maximum(1 - 4 * k / 27, 0.0)
    cardano = np.cbrt(k / 2 * (1 + np.sqrt(inside))) + np.cbrt(k / 2 * (1 - np.sqrt(inside)))
    angle = np.arccos(np.clip(np.sqrt(27 / (4 * np.maximum(k, 27 / 4))), -1, 1))
    cosine = 2 * np.sqrt(k / 3) * np.cos(angle / 3)
    v = np.where(k <= 27 / 4, cardano, cosine)
    bits: FloatArray = np.log2(1 + v)
    return np.where(np.isneginf(log_k), 0.0, bits)
