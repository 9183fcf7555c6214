"""Allocators: each chooses bit-widths inside a budget, from a shared :class:`~hwdse.problem.Problem`."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..registry import find
from ..training import Allocator
from .adaqat import AdaQAT
from .adq import ADQ
from .fixed import Fixed
from .qbitopt import QBitOpt
from .uniform import Uniform

ALLOCATORS: Mapping[str, Callable[[], Allocator]] = {"qbitopt": QBitOpt, "adaqat": AdaQAT, "adq": ADQ, "uniform": Uniform}
GROUP = "hwdse.allocators"


def make_allocator(name: str) -> Allocator:
    """A fresh allocator with its defaults.

    Raises:
        UnknownName: nobody provides it.
    """
    return find("allocator", ALLOCATORS, name, GROUP)()


__all__ = ["ADQ", "ALLOCATORS", "AdaQAT", "Fixed", "QBitOpt", "Uniform", "make_allocator"]
