"""Reports: read a run folder, run nothing.

``write_report(run)`` draws the page; ``pick(record, maxima, minima)`` chooses a point. Drawing libraries are imported when a page
is written, not here.
"""

from __future__ import annotations

from .export import front_frame, trials_frame
from .page import write_report
from .picking import Pick, pick
from .sensitivity_figure import draw_sensitivity

__all__ = ["Pick", "draw_sensitivity", "front_frame", "pick", "trials_frame", "write_report"]
