"""Measures the layers of a network, each distinct shape alone, and beside them what the times have to be read with.

Beside them: a call with next to nothing to do (what every call costs: part of every time, subtracted from none), a copy in memory, and
the whole network in FP32.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import UsageError
from ...formats import LayerFormat, listed
from ...graph import LayerGraph
from ..signature import Signature, work_of_signature
from .kernel import WIDTHS, Backend, Kernel, NoKernel
from .shapes import NotTimed, Shape, distinct_shapes
from .timing import Timing, check_effort, in_turn

EMPTY = Signature("linear", 1, 1, 1)  # one product: the time of a call
MOSTLY_CALL = 2  # a time below so many empty calls says more about the call than about the layer
COPIED = 1 << 26  # bytes; far more than any cache keeps
Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Measured:
    """One shape at one pair of widths: its time, and what ran (see :class:`Kernel`)."""

    signature: Signature
    widths: LayerFormat
    timing: Timing
    ran: str
    output_bits: int


@dataclass(frozen=True)
class Measurement:
    """Everything that one backend gave.

    Attributes:
        tool, device, threads, about: see :class:`Backend`.
        shapes: that at least one time was measured of. rows: their times. left: what has none, and why.
        empty: of :data:`EMPTY` at each pair of widths. copy_rate: bytes read and written a second, in a copy of :data:`COPIED` bytes.
        network: the whole model in FP32; None where ``no_network`` says why not.
    """

    tool: str
    device: str
    threads: int
    about: tuple[str, ...]
    shapes: tuple[Shape, ...]
    rows: tuple[Measured, ...]
    left: tuple[NotTimed, ...]
    empty: Mapping[LayerFormat, Timing]
    copy_rate: float
    network: Timing | None
    no_network: str = ""

    def time(self, signature: Signature, widths: LayerFormat) -> Timing | None:
        """Time of one shape; None where it was not measured."""
        return next((row.timing for row in self.rows if (row.signature, row.widths) == (signature, widths)), None)

    @property
    def widths(self) -> tuple[LayerFormat, ...]:
        """The pairs that anything was measured at, ascending."""
        return listed(row.widths for row in self.rows)

    def total(self, widths: LayerFormat) -> tuple[float, int]:
        """Seconds summed over all layers that have a time at these widths, each layer counted; and how many they are."""
        uses = Counter({shape.signature: len(shape.layers) for shape in self.shapes})
        rows = [row for row in self.rows if row.widths == widths]
        return sum(row.timing.seconds * uses[row.signature] for row in rows), sum(uses[row.signature] for row in rows)

    @property
    def mostly_call(self) -> tuple[Measured, ...]:
        """Rows that take less than :data:`MOSTLY_CALL` empty calls."""
        return tuple(row for row in self.rows if row.timing.seconds < MOSTLY_CALL * self.empty[row.widths].seconds)

    def best_rate(self, widths: LayerFormat) -> float | None:
        """The most multiply-accumulates a second that any shape reached; None where none has any."""
        rates = (work_of_signature(row.signature).macs / row.timing.seconds for row in self.rows if row.widths == widths)
        return max((rate for rate in rates if rate > 0), default=None)


def measure(
    graph: LayerGraph,
    backend: Backend,
    model: Any,
    inputs: tuple[Any, ...],
    *,
    repeats: int = 30,
    seconds: float = 0.5,
    say: Say = lambda what, done, total: None,
) -> Measurement:
    """Times every shape in FP32 and INT8, in turn.

    Args:
        graph: the traced model. model, inputs: for the time of the whole network.
        repeats: samples of each time. seconds: that they take together, for one shape at one pair of widths.

    Raises:
        UsageError: no layer that can be timed; or too little effort to tell a spread.
    """
    check_effort(repeats, seconds)
    shapes, left = distinct_shapes(graph)
    with backend.running():
        built: list[tuple[Shape, LayerFormat, Kernel]] = []
        for number, shape in enumerate(shapes):
            say("preparing layers", number, len(shapes))
            for widths in WIDTHS:
                try:
                    built.append((shape, widths, backend.kernel(shape.signature, widths)))
                except NoKernel as error:
                    left.append(NotTimed(shape.layers, str(widths), str(error)))
        if not built:
            raise UsageError("no layer of this model can be timed alone: " + "; ".join(dict.fromkeys(one.reason for one in left)) + ".")
        pairs = listed(widths for _, widths, _ in built)
        beside, no_network = [*(backend.kernel(EMPTY, widths) for widths in pairs), backend.copy(COPIED)], ""
        try:
            beside.append(backend.network(model, inputs))
        except NoKernel as error:
            no_network = str(error)
        kernels = [*(kernel for _, _, kernel in built), *beside]
        timings = in_turn(backend, kernels, repeats, seconds, lambda done, total: say("timing", done, total))
    rows = [Measured(shape.signature, w, t, k.ran, k.output_bits) for (shape, w, k), t in zip(built, timings, strict=False)]
    empty, (copy, *network) = timings[len(built) : len(built) + len(pairs)], timings[len(built) + len(pairs) :]
    timed = {row.signature for row in rows}
    return Measurement(
        backend.tool, backend.device, backend.threads, backend.about, tuple(s for s in shapes if s.signature in timed), tuple(rows),
        tuple(left), dict(zip(pairs, empty, strict=True)), 2 * COPIED / copy.seconds, network[0] if network else None, no_network,
    )  # fmt: skip
