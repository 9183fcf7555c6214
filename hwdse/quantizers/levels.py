"""What the values of a quantiser are on a device: codes of a uniform grid, or counts of thresholds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]
STORED = (2, 4, 8, 16)  # integer widths that ONNX has


@dataclass(frozen=True, eq=False)
class Grid:
    """Uniform levels: ``value = (code - zero) * scale - offset``, with ``low <= code <= high``.

    Attributes:
        bits: width that was allocated.
        scale: () or (C,), one per output channel; axis: the dimension that those are along.
        zero: the zero point.
        offset: half-steps of levels without a zero (DoReFa), ``scale * (2^bits - 1) / 2``; 0 for all others.
    """

    bits: int
    low: int
    high: int
    scale: Floats
    axis: int = 0
    offset: float = 0.0
    zero: int = 0

    @property
    def stored(self) -> int:
        """The narrowest integer width of ONNX that holds the codes."""
        return next(b for b in STORED if b >= self.bits)

    @property
    def signed(self) -> bool:
        """Whether codes are signed integers."""
        return self.low < 0

    @property
    def kind(self) -> str:
        """``"int4"``, ``"uint8"``: the type that codes are stored in."""
        return f"{'int' if self.signed else 'uint'}{self.stored}"

    @property
    def ends(self) -> tuple[int, int]:
        """Lowest and highest integer of the stored type."""
        return (-(2 ** (self.stored - 1)), 2 ** (self.stored - 1) - 1) if self.signed else (0, 2**self.stored - 1)

    def spread(self, ndim: int) -> Floats:
        """The scale in a shape that multiplies a tensor of ``ndim`` dimensions."""
        return self.scale.reshape([-1 if d == self.axis else 1 for d in range(ndim)]) if self.scale.ndim else self.scale

    def values(self, codes: Integers) -> Floats:
        """What codes stand for."""
        return ((codes - self.zero).astype(np.float32) * self.spread(codes.ndim) - np.float32(self.offset)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Thresholds:
    """Uneven steps to uniform levels (N2UQ): ``value = scale * (number of thresholds below x / half)``."""

    bits: int
    half: float
    thresholds: Floats
    scale: float
