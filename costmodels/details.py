"""What an accelerator says of each layer beside its time: arithmetic and traffic by themselves, and which of them is the limit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..formats import LayerFormat
from ..graph import Layer
from .accelerator import Accelerator
from .analytic.models import compute_model
from .answers import Answer
from .signature import Work, work_of_layer


@dataclass(frozen=True)
class Detail:
    """One layer at one pair of widths, before overheads and calibration.

    Attributes:
        layer: its name. runs: the pair it is executed at; None where the device cannot run it.
        time: seconds, with source and estimated error.
        compute: seconds of arithmetic alone. memory: level -> seconds of its traffic alone. bits: level -> bits moved.
        utilisation: share of the peak rate, over the time above. bound: ``compute``, a memory level, or ``least time``
            (of a launch). None and empty without an analytic model.
    """

    layer: str
    runs: LayerFormat | None
    time: Answer
    compute: float | None = None
    memory: Mapping[str, float] | None = None
    bits: Mapping[str, float] | None = None
    utilisation: float | None = None
    bound: str | None = None


def details(accelerator: Accelerator, layers: Sequence[Layer], widths: LayerFormat) -> list[Detail]:
    """Every layer at the same widths; those that take none at ``precision.other``.

    Raises:
        MissingCost: a layer that was not measured and may not be estimated.
    """
    resolver = accelerator.latency.resolver
    model = compute_model(accelerator.keys)
    found = []
    for layer in layers:
        pair = widths if layer.quantisable else accelerator.precision.other
        runs, time = accelerator.precision.executed(pair), resolver.resolve([layer], [pair])[0][0]
        if model is None or runs is None:
            found.append(Detail(layer.name, runs, time))
            continue
        work = Work.of([work_of_layer(layer)])
        one = model.estimate(work, [runs])
        rate = float(one.utilisation(work)[0, 0] * one.seconds[0, 0] / time.value) if time.value else 0.0
        memory = {name: float(seconds[0, 0]) for name, seconds in one.memory.items()}
        moved = {name: float(bits[0, 0]) for name, bits in one.bits.items()}
        # a time that was raised to the least a layer takes is bound by neither
        bound = "least time" if resolver.least and time.source == "analytic" and time.value <= resolver.least else str(one.bound[0, 0])
        found.append(Detail(layer.name, runs, time, float(one.compute[0, 0]), memory, moved, rate, bound))
    return found
