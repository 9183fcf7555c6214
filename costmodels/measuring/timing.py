"""Timing several kernels in turn, so that whatever changes meanwhile (clock, temperature, neighbours) changes all of them alike.

A sample is the mean of so many calls as fit into its share of time, after an untimed one that brings the operands into the caches.
Of each kernel the median over the samples is kept, and as spread 1.4826 times their median absolute deviation: the standard deviation
of normal samples, which a few interrupted ones do not move.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import UsageError
from ...interrupts import check

if TYPE_CHECKING:
    from .kernel import Backend, Kernel

NOISY = 0.10  # relative spread above which a time is called noisy
_NORMAL = 1.4826  # standard deviation over median absolute deviation, of normal samples
_LEAST = 1e-5  # seconds of a sample; below, the clock itself would show


@dataclass(frozen=True)
class Timing:
    """Seconds of one call.

    Attributes:
        seconds: median over the samples. spread: their standard deviation, estimated as the module says.
        samples: how many. calls: behind each sample.
    """

    seconds: float
    spread: float
    samples: int
    calls: int

    @property
    def relative(self) -> float:
        """Spread over median."""
        return self.spread / self.seconds

    @property
    def noisy(self) -> bool:
        """Whether the spread is above :data:`NOISY`."""
        return self.relative > NOISY


def summary(samples: Sequence[float], calls: int) -> Timing:
    """Median and spread of samples in seconds."""
    middle = statistics.median(samples)
    spread = _NORMAL * statistics.median(abs(sample - middle) for sample in samples)
    return Timing(middle, spread, len(samples), calls)


def check_effort(repeats: int, seconds: float) -> None:
    """Whether a spread can be told.

    Raises:
        UsageError: fewer than 3 samples, or no time.
    """
    if repeats < 3:
        raise UsageError(f"repeats must be 3 or more, or there is no spread; got {repeats}.")
    if not (math.isfinite(seconds) and seconds > 0):
        raise UsageError(f"seconds per layer must be a finite number above 0, got {seconds}.")


def in_turn(
    backend: Backend, kernels: Sequence[Kernel], repeats: int, seconds: float, say: Callable[[int, int], None] = lambda done, total: None
) -> list[Timing]:
    """Times every kernel, one sample of each in every round.

    Args:
        repeats: rounds, and so samples of each kernel. seconds: that the samples of one kernel shall take together; a kernel that is
            slower than ``seconds / repeats`` is run once a sample. say: told samples done, and in all.
    """
    check_effort(repeats, seconds)
    calls = []
    for number, kernel in enumerate(kernels):
        check()
        say(number, len(kernels) * (repeats + 1))
        calls.append(_calls(backend, kernel, max(seconds / repeats, _LEAST)))
    samples: list[list[float]] = [[] for _ in kernels]
    for turn in range(repeats):
        for number, kernel in enumerate(kernels):
            check()
            say(len(kernels) * (turn + 1) + number, len(kernels) * (repeats + 1))
            if calls[number] > 1:
                backend.seconds(kernel, 1)
            samples[number].append(backend.seconds(kernel, calls[number]) / calls[number])
    return [summary(taken, count) for taken, count in zip(samples, calls, strict=True)]


def _calls(backend: Backend, kernel: Kernel, share: float) -> int:
    """How many calls fit into ``share`` seconds; finding out is the warm-up."""
    backend.seconds(kernel, 1)
    calls, spent = 1, backend.seconds(kernel, 1)
    while spent < share / 2:
        calls *= 2
        spent = backend.seconds(kernel, calls)
    return max(1, round(share * calls / spent))
