"""Whether a study is of this very sweep: the same task, weights, costs and versions, and the same configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwdse.errors import HwdseError, UsageError

from .config import SweepConfig
from .database import Place
from .finding import opened

SCHEMA = "hwdse.study/2"  # of the rows and their attributes
SAID = ("hwdse", "torch", "seed")  # parts of an identity that are no fingerprints


def check_study(place: Place, known: Mapping[str, Any], config: SweepConfig, identity: Mapping[str, str], join: bool) -> None:
    """A study goes on only with its own task and configuration; the number of trials may grow.

    Args:
        known: what the study says of itself. identity: what must be equal for costs and scores to compare: name -> fingerprint.
        join: whether a worker takes part, who has the configuration from the study.

    Raises:
        UsageError: what differs.
    """
    if known.get("schema") != SCHEMA:
        raise UsageError(
            f"{place} holds a study of the schema '{known.get('schema', 'hwdse.study/1')}', and this version of hwdse reads "
            f"'{SCHEMA}'. Go on with the version that made it; or {_instead(place)}."
        )
    theirs: Mapping[str, Any] = known.get("identity", {})
    differs = sorted(part for part in {*identity, *theirs} if identity.get(part) != theirs.get(part))
    if differs:
        said = ", ".join(f"{p} ({theirs[p]} there, {identity[p]} here)" if p in SAID and p in theirs else p for p in differs)
        hint = " Workers share the trained weights through the cache: set HWDSE_CACHE to one folder for all." if join else ""
        raise UsageError(
            f"{place} belongs to another task, model, seed, accelerator file or version of hwdse or torch (task "
            f"'{known.get('config', {}).get('task')}'); what differs: {said}. Its costs or scores would not compare; "
            f"{_instead(place)}, or delete this one.{hint}"
        )
    _check_configuration(place, known["config"], config)


def check_before_work(place: Place, config: SweepConfig) -> None:
    """Refuses another configuration before anything is trained for it; all else that may be wrong is said when the study is opened.

    Raises:
        UsageError: what differs.
    """
    if place.url is None and not (place.folder / "study.db").exists():
        return
    try:
        with opened(place.folder, place.url, place.study) as (_, _, study):
            known = dict(study.user_attrs)
    except HwdseError:
        return
    if known.get("schema") == SCHEMA:
        _check_configuration(place, known["config"], config)


def _check_configuration(place: Place, old: Mapping[str, Any], config: SweepConfig) -> None:
    new = config.plain()
    changed = sorted(key for key in {*old, *new} - {"trials", "keep_checkpoints"} if old.get(key) != new.get(key))
    if changed:
        text = "; ".join(f"{key}: was {old.get(key)}, now {new.get(key)}" for key in changed)
        raise UsageError(f"{place} was made with another configuration ({text}); {_instead(place)}.")


def _instead(place: Place) -> str:
    return "give another folder" if place.url is None else "give another name (--study)"
