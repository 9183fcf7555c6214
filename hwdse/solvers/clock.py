"""How much of a time limit is left."""

from __future__ import annotations

import time


class Clock:
    """Starts when made. ``limit`` is in seconds; None never ends."""

    def __init__(self, limit: float | None = None) -> None:
        self.begin, self.limit = time.perf_counter(), limit

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self.begin

    @property
    def left(self) -> float | None:
        """Until the limit, at least 0; None without one."""
        return None if self.limit is None else max(0.0, self.limit - self.seconds)

    @property
    def over(self) -> bool:
        """Whether the limit has passed."""
        return self.limit is not None and self.seconds >= self.limit
