"""Runs ``torch.export`` on a model and leaves the model as it was."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram, export

# A failed export prints the graph so far and logs the error that it raises anyway.
_LOGGERS = ("torch.export", "torch._export", "torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes")


@contextmanager
def evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, no fused attention path; afterwards every training flag is as before.

    So are tensors that modules hold as plain attributes: hooks such as weight norm put what they compute there.
    """
    modes = [(module, module.training) for module in model.modules()]
    attributes = [(m, name, value) for m in model.modules() for name, value in vars(m).items() if isinstance(value, torch.Tensor)]
    fast = torch.backends.mha.get_fastpath_enabled()
    # The fused path of encoder layers is one operation that hides its layers from hooks and from the trace.
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes:
            module.training = training
        for module, name, value in attributes:
            vars(module)[name] = value


def exported(model: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any] | None = None) -> ExportedProgram:
    """The program of one forward pass on positional and named arguments, as PyTorch traced it. Raises whatever ``torch.export`` raises."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with evaluation(model), warnings.catch_warnings(), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")  # e.g. recurrent layers refresh their list of weights while traced
            return export(model, inputs, named, strict=False)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
