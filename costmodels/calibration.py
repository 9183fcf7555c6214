"""End-to-end time from the sum over layers: ``t = a + b · sum``, a >= 0, b > 0, fitted on measured networks.

What a sum over layers leaves out (launches, pooling, reformatting) is a fixed part and a factor, and three to five measured networks
determine both. The error that is stated is leave-one-out: how far off each network is when the others alone are fitted, which is
what to expect of the next network. Least squares of relative errors, as a network of 1 ms matters as much as one of 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..costs import FloatArray
from ..errors import UsageError
from .file_edits import with_block

LEAST = 3  # networks: two parameters, and one left out


@dataclass(frozen=True)
class Calibrated:
    """A fit.

    Attributes:
        offset: a in seconds. scale: b.
        errors: (N,) relative deviation of each network from the fit of the others; positive where it predicts too much.
    """

    offset: float
    scale: float
    errors: FloatArray

    @property
    def error(self) -> float:
        """Mean of the absolute leave-one-out errors, relative."""
        return float(np.abs(self.errors).mean())


def calibrate(sums: Sequence[float] | FloatArray, measured: Sequence[float] | FloatArray) -> Calibrated:
    """Fits ``measured = a + b · sums``.

    Args:
        sums: (N,) modelled seconds of N networks, before any calibration. measured: (N,) seconds, end to end.

    Raises:
        UsageError: fewer than :data:`LEAST` networks, values that are not positive, sums that do not differ, or measurements that
            do not rise with the sums.
    """
    x, y = np.asarray(sums, np.float64), np.asarray(measured, np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < LEAST:
        raise UsageError(f"calibration needs {LEAST} or more measured networks, got {len(y)}: measure more, of different size.")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all() and (y > 0).all()):
        raise UsageError("calibration needs finite times above 0, modelled and measured.")
    offset, scale = _fitted(x, y)
    left_out = np.empty(len(x))
    for i in range(len(x)):
        a, b = _fitted(np.delete(x, i), np.delete(y, i))
        left_out[i] = (a + b * x[i]) / y[i] - 1
    return Calibrated(offset, scale, left_out)


def _fitted(x: FloatArray, y: FloatArray) -> tuple[float, float]:
    """(a, b) of the least relative squares with a >= 0."""
    if np.ptp(x) <= 1e-9 * x.max():
        raise UsageError(
            "the networks have the same modelled time: offset and scale cannot be told apart. Measure networks of different size."
        )
    design = np.stack([1 / y, x / y], axis=1)
    a, b = np.linalg.lstsq(design, np.ones(len(y)), rcond=None)[0]
    if a < 0:
        a, b = 0.0, float((x / y).sum() / ((x / y) ** 2).sum())
    if b <= 0:
        raise UsageError("the measured times do not rise with the modelled ones: another device was measured, or names were swapped.")
    return float(a), float(b)


def with_calibration(text: str, found: Calibrated, note: str) -> str:
    """The text of an accelerator file with its ``[calibration]`` replaced, or added at its end; comments stay."""
    block = (
        "[calibration]\n"
        f"offset_s = {found.offset:.6g}\nscale = {found.scale:.6g}\nerror = {found.error:.4g}  # mean, leave one out\n"
        f"networks = {len(found.errors)}\nnote = {_quoted(note)}\n"
    )
    return with_block(text, "calibration", block)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
