"""Optuna samplers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from hwdse.registry import find

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler


def _tpe(seed: int) -> BaseSampler:
    from optuna.samplers import TPESampler

    return TPESampler(seed=seed, n_startup_trials=8)


def _random(seed: int) -> BaseSampler:
    from optuna.samplers import RandomSampler

    return RandomSampler(seed=seed)


def _nsgaii(seed: int) -> BaseSampler:
    from optuna.samplers import NSGAIISampler

    return NSGAIISampler(seed=seed, population_size=16)


SAMPLERS: Mapping[str, Callable[[int], BaseSampler]] = {"tpe": _tpe, "random": _random, "nsgaii": _nsgaii}


def make_sampler(name: str, seed: int) -> BaseSampler:
    """A fresh sampler.

    Raises:
        UnknownName: nobody provides it.
    """
    return find("sampler", SAMPLERS, name, "hwdse.samplers")(seed)
