"""Seconds to import the package and to print the help, as whole processes; best of 5. Bounds: 0.2 s and 0.6 s."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "python (nothing)": [sys.executable, "-c", "pass"],
    "import hwdse": [sys.executable, "-c", "import hwdse"],
    "hwdse --help": [str(Path(sys.executable).with_name("hwdse")), "--help"],
    "hwdse accelerators list": [str(Path(sys.executable).with_name("hwdse")), "accelerators", "list"],
}


def seconds(words: list[str]) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        best = min(best, time.perf_counter() - began)
    return best


if __name__ == "__main__":
    found = {name: round(seconds(words), 3) for name, words in COMMANDS.items()}
    result = {"machine": f"{os.cpu_count()} cores, Python {platform.python_version()}", "seconds (best of 5)": found}
    path = Path(__file__).parent / "results" / "startup.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(path.read_text())
