"""Expected loss increase per layer and width, by several methods with one result: a loss table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Protocol

from ..choices import Choices
from ..costs import CostTable
from ..quantized import QuantizedModel
from ..registry import find
from ..task import Task
from .fit import FisherTraces, FitLosses, fit
from .fit_exact import fit_exact
from .hessian import hessian
from .measured import measured
from .parts import Progress, quiet


class Sensitivity(Protocol):
    """A method: the model in floating point, as :class:`QuantizedModel` wraps it, to a loss table, monotone in both widths."""

    def __call__(self, model: QuantizedModel, task: Task, choices: Choices, *, progress: Progress) -> CostTable:
        """``progress`` is told (steps done, steps in all) by methods that take their time."""
        ...


SENSITIVITIES: Mapping[str, Sensitivity] = {
    "fit": partial(fit, noise="measured"),
    "fit_noise": partial(fit, noise="model"),
    "fit_exact": fit_exact,
    "hessian": hessian,
    "measured": measured,
}
GROUP = "hwdse.sensitivities"


def sensitivity(method: str, model: QuantizedModel, task: Task, choices: Choices, progress: Progress = quiet) -> CostTable:
    """The loss table by a named method.

    ``fit`` (Fisher trace, measured error), ``fit_noise`` (the papers' noise model), ``fit_exact`` (error and gradient element by element),
    ``hessian`` (Hutchinson's trace), ``measured`` (the loss itself), or a plug-in's.
    """
    return find("sensitivity", SENSITIVITIES, method, GROUP)(model, task, choices, progress=progress)


__all__ = ["GROUP", "SENSITIVITIES", "FisherTraces", "FitLosses", "Sensitivity", "fit", "fit_exact", "hessian", "measured", "sensitivity"]
