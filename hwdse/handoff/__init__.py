"""Handing a trial over: widths, checkpoint, costs that are worked out again, and the network as ONNX that computes the same.

``hand_off(record, 17, run, folder, task)`` writes, ``load(folder)`` reads it back. The ONNX files need the extra ``hwdse[onnx]``.
"""

from __future__ import annotations

from .folder import HandOff, load
from .marking import ExportError
from .recount import CostMismatch
from .writing import hand_off

__all__ = ["CostMismatch", "ExportError", "HandOff", "hand_off", "load"]
