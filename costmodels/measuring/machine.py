"""What the machine calls its processor."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_INFO = Path("/proc/cpuinfo")


def cpu_name() -> str:
    """``AMD EPYC, 2 processors (x86_64)``, from the kernel's description where there is one."""
    try:
        lines = _INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model", "Hardware")))
    name = next((n for n in named if n), "") or platform.processor() or "a processor without a name"
    return f"{' '.join(name.split())}, {os.cpu_count() or 1} processors ({platform.machine()})"
