"""Expected loss increase per layer and width, by several methods with one result: a loss table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from ..choices import Choices
from ..costs import CostTable
from ..quantized import QuantizedModel
from ..registry import find
from ..task import Task
from .fit import FisherTraces, FitLosses, fit
from .measured import measured

SENSITIVITIES: Mapping[str, Callable[[QuantizedModel, Task, Choices], CostTable]] = {
    "fit": partial(fit, noise="measured"),
    "fit_noise": partial(fit, noise="model"),
    "measured": measured,
}
GROUP = "hwdse.sensitivities"


def sensitivity(method: str, model: QuantizedModel, task: Task, choices: Choices) -> CostTable:
    """The loss table by a named method: ``fit`` (Fisher trace, measured error), ``fit_noise`` (the papers' noise model), ``measured``."""
    return find("sensitivity", SENSITIVITIES, method, GROUP)(model, task, choices)


__all__ = ["SENSITIVITIES", "FisherTraces", "FitLosses", "fit", "measured", "sensitivity"]
