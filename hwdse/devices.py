"""Where torch computes: a device by its name, refused where it is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    import torch


def find_device(name: str, what: str = "networks are trained") -> torch.device:
    """The device called ``name``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``. ``what`` is done there, for the message.

    Raises:
        UsageError: torch does not know it, it is of another kind, or it is not there.
    """
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"torch knows no device '{name}'; write cpu, cuda, or cuda:0.") from None
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"{what} on cpu or cuda, got the device '{name}'.")
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"the device '{name}' is not there: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs. Use cpu.")
    return device
