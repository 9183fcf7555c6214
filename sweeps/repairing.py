"""Makes again what a run's own files still know: the record from the study, allocation files from the record."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hwdse.allocation_files import remade
from hwdse.checksums import KEY, altered
from hwdse.errors import FileFormatError, HwdseError
from hwdse.records import SweepRecord, TrialResult
from hwdse.run_files import read_held, refuse_links, sweep_up_run
from hwdse.storage import StorageError, locked, write

from . import log
from .file_database import LOCKS
from .finding import opened

SWEEP = "give the command of the sweep again: it writes it anew"


@dataclass(frozen=True)
class Finding:
    """One file of a run that was not as it was written.

    Attributes:
        file: its name in the run folder. wrong: what is wrong with it. done: what was made again; empty where nothing could be.
        left: what is lost or left to do; empty where all is well again. trial: whose file it is.
    """

    file: str
    wrong: str
    done: str = ""
    left: str = ""
    trial: int | None = None


def repair(folder: Path) -> tuple[SweepRecord, list[Finding]]:
    """Repairs a run folder: ``record.json`` from ``study.db``, allocation files from the record. Runs none of the task's code.

    Damaged scores and checkpoints are set aside under ``NAME.damaged``. Nothing is removed but what killed processes had begun to write.

    Returns:
        The record as it stands now, and what was found.

    Raises:
        FileFormatError: neither the record nor the study can be read. StorageError: no run there, or one that cannot be written.
    """
    refuse_links(folder)
    if not any((folder / name).exists() for name in ("record.json", "study.db")):
        raise StorageError(f"{folder} is no run folder: it holds neither record.json nor study.db.")
    with locked(folder / LOCKS / "study.lock"):
        sweep_up_run(folder)
    with locked(folder / LOCKS / "record.lock"):
        record, found = _record(folder)
        for trial in record.trials:
            found += _of_trial(folder, trial)
        found += _of_run(folder, record)
    return record, found


def _record(folder: Path) -> tuple[SweepRecord, list[Finding]]:
    found: list[Finding] = []
    known = kept = None
    try:
        known = SweepRecord.load(folder, tables=False)
        wrong = "; ".join(known.said)
    except HwdseError as error:
        wrong = str(error)
    if (folder / "study.db").exists():
        try:
            kept = _of_study(folder)
        except HwdseError as error:
            found.append(Finding("study.db", str(error), left="the sweep cannot go on; start another in a new folder"))
    if known is None and kept is None:
        raise FileFormatError(folder, f"holds no record that can be made again: {wrong} A sweep in a new folder measures its trials again.")
    if kept is None or (known is not None and not wrong and _trials(known).items() >= _trials(kept).items()):
        assert known is not None  # one of the two is there
        if wrong:
            left = "there is no study.db that could be read to make it again from; what is left is used"
            found.append(Finding("record.json", wrong, left=left))
        return known, found
    lacking = {} if known is None else {n: t for n, t in _trials(known).items() if n not in _trials(kept)}
    record = kept.with_trials((*kept.trials, *lacking.values()))
    record.write(folder)
    done = f"made again from study.db: {len(record.trials)} trials"
    found.append(Finding("record.json", wrong or "lacks what has ended since it was written", done))
    if lacking:
        which = ", ".join(map(str, lacking))
        found.append(Finding("study.db", f"lacks trials {which}, or does not hold them as they were kept", "kept from the record"))
    return record, found


def _trials(record: SweepRecord) -> dict[int, TrialResult]:
    return {trial.number: trial for trial in record.trials}


def _of_study(folder: Path) -> SweepRecord | None:
    """The run as its study knows it; None where that does not say what the run is about.

    Raises:
        HwdseError: the study cannot be read.
    """
    from .tries import KEPT, tried

    with opened(folder, None, None) as (_, _, study):
        attrs = study.user_attrs
        about, tests = attrs.get("record"), attrs.get("test", {})
        if not isinstance(about, dict) or altered(about):
            return None
        tests = {} if altered(tests) else {n: value for n, value in tests.items() if n != KEY}
        results = []
        for number, one in tried(study.get_trials(deepcopy=False)).items():
            if one.kept is None:
                continue
            result, test = TrialResult.from_dict(one.kept.user_attrs[KEPT]), tests.get(str(number))
            if isinstance(test, str):
                result = replace(result, notes=(*result.notes, test))
            results.append(result if test is None or isinstance(test, str) else replace(result, test=test))
        return SweepRecord.from_dict(about, folder / "study.db").with_scores(folder).with_trials(tuple(results))


def _of_trial(folder: Path, trial: TrialResult) -> Iterator[Finding]:
    for name in trial.files:
        kind = name.partition("/")[0]
        try:
            content = read_held(folder, name, {} if kind == "allocations" else trial.files)
            if kind != "allocations" or content == remade(trial):
                continue
            read_held(folder, name, trial.files)
        except FileNotFoundError:
            if kind == "scores":
                yield Finding(name, "is not there", left="how sure its differences are goes by its interval", trial=trial.number)
        except FileFormatError as error:
            wrong = error.problem.partition(":")[0]
            if kind == "allocations":
                write(folder / name, remade(trial))
                yield Finding(name, wrong, "made again from the record, without how its weights were rounded", trial=trial.number)
            else:
                os.replace(folder / name, folder / f"{name}.damaged")
                yield Finding(name, wrong, f"set aside as {name}.damaged", "only measuring the trial again makes it", trial.number)


def _of_run(folder: Path, record: SweepRecord) -> Iterator[Finding]:
    for name in record.files:
        try:
            read_held(folder, name, record.files)
        except FileNotFoundError:
            yield Finding(name, "is not there", left=SWEEP)
        except FileFormatError as error:
            yield Finding(name, error.problem.partition(":")[0], left=SWEEP)
    damaged = log.read(folder).damaged
    if damaged:
        yield Finding(log.FILE, f"{damaged} of its lines are not as they were written", "passed over: results do not come from it")
