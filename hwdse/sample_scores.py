"""Scores of every sample, of every trial of a run: ``scores/N.npy`` in its folder, and ``scores/fp32.npy``."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .costs import FloatArray
from .errors import HwdseError
from .run_files import read_held
from .storage import write

FOLDER = "scores"
FP32 = "fp32"
_NEAR = 1e-6  # relative: scores are kept as 32-bit numbers


class Held(NamedTuple):
    """What a record says of the scores of a trial: the file's SHA-256, empty where it kept none, and their mean and number."""

    checksum: str
    mean: float
    samples: int


class SampleScores(Mapping[str, FloatArray]):
    """Scores of the validation split, in the order of its samples: by number of the trial, as text, or :data:`FP32`. Read where asked for.

    Where a file is absent, or is not the one that the record speaks of, there are no scores, and how sure a difference is goes by
    intervals; :attr:`damage` says so.

    Args:
        run: the run folder. held: what the record says of each.
    """

    def __init__(self, run: Path, held: Mapping[str, Held]) -> None:
        self.run, self._held = run, held
        self._read: dict[tuple[str, Held], FloatArray | None] = {}
        self._wrong: dict[str, str] = {}  # name -> what is wrong with its file
        self._absent: set[str] = set()

    def holding(self, held: Mapping[str, Held]) -> SampleScores:
        """The same folder under another record; what was read is not read again."""
        found = SampleScores(self.run, held)
        found._read, found._wrong, found._absent = self._read, self._wrong, self._absent
        return found

    @property
    def damage(self) -> tuple[str, ...]:
        """What was wrong with the files that were asked for, a sentence each, without its full stop."""
        said = list(self._wrong.values())
        if self._absent:
            which = ", ".join(sorted(self._absent)[:5]) + (", ..." if len(self._absent) > 5 else "")
            said.append(
                f"{self.run / FOLDER} lacks {which} of the record: how sure differences of these points are goes by their intervals"
            )
        return tuple(said)

    def __getitem__(self, name: str) -> FloatArray:
        """Raises KeyError where there are no scores that fit the record."""
        held = self._held[name]
        if (name, held) not in self._read:
            self._read[name, held] = self._sound(name, held)
        found = self._read[name, held]
        if found is None:
            raise KeyError(name)
        return found

    def _sound(self, name: str, held: Held) -> FloatArray | None:
        file = f"{FOLDER}/{name}.npy"
        try:
            content = read_held(self.run, file, {file: held.checksum} if held.checksum else {})
        except FileNotFoundError:
            if held.checksum:
                self._absent.add(f"{name}.npy")
            return None
        except HwdseError as error:
            self._leave_out(name, str(error))
            return None
        scores = scores_of(content)
        if scores is None:
            wrong = "is truncated or holds no scores of samples."
        elif len(scores) != held.samples or not math.isclose(scores.mean(), held.mean, rel_tol=_NEAR, abs_tol=_NEAR):
            wrong = f"holds {len(scores)} scores of mean {scores.mean():.6g}, and the record says {held.samples} of {held.mean:.6g}."
        else:
            return scores
        self._leave_out(name, f"{self.run / file}: {wrong}")
        return None

    def _leave_out(self, name: str, why: str) -> None:
        self._wrong[name] = f"{why.removesuffix('.')}. It is left out: how sure differences of this point are goes by its interval"

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._held if (self.run / FOLDER / f"{name}.npy").exists() and name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def scores_of(content: bytes) -> FloatArray | None:
    """(N,) finite scores from the bytes of a file; None where it holds none."""
    try:
        scores = np.asarray(np.load(io.BytesIO(content), allow_pickle=False)).astype(np.float64)
    except Exception:  # numpy raises many kinds for a damaged file
        return None
    return scores if scores.ndim == 1 and len(scores) and np.isfinite(scores).all() else None


def scores_bytes(scores: FloatArray) -> bytes:
    """A file's content: a byte a score where all are 0 or 1, else four."""
    binary = bool(np.isin(scores, (0.0, 1.0)).all())
    buffer = io.BytesIO()
    np.save(buffer, scores.astype(np.uint8 if binary else np.float32))
    return buffer.getvalue()


def keep_scores(run: Path, name: str, scores: FloatArray) -> tuple[str, bytes]:
    """Writes them; the file's name in the run, and its content.

    Raises:
        StorageError: the folder cannot be written.
    """
    file, content = f"{FOLDER}/{name}.npy", scores_bytes(scores)
    write(run / file, content)
    return file, content
