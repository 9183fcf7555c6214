"""Scores of every sample, of every trial of a run: ``scores/N.npy`` in its folder, and ``scores/fp32.npy``."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from .costs import FloatArray
from .errors import FileFormatError
from .storage import write

FOLDER = "scores"
FP32 = "fp32"


class SampleScores(Mapping[str, FloatArray]):
    """Of the validation split, in the order of its samples: by number of the trial, as text, or :data:`FP32`. Read where asked for.

    Where a file is absent, how sure a difference is goes by intervals. A damaged one is an error: verdicts would change without a word.
    """

    def __init__(self, run: Path) -> None:
        self._folder = run / FOLDER
        self._read: dict[str, FloatArray] = {}

    def __getitem__(self, name: str) -> FloatArray:
        """Raises FileFormatError where the file cannot be read as scores."""
        if name not in self._read:
            path = self._folder / f"{name}.npy"
            try:
                self._read[name] = np.load(path, allow_pickle=False).astype(np.float64)
            except FileNotFoundError:
                raise KeyError(name) from None
            except (OSError, ValueError, EOFError):
                said = (
                    "is truncated or holds no scores of samples. Delete it: differences of this point are then judged by intervals, and "
                    "pick --sure may have to leave it out."
                )
                raise FileFormatError(path, said) from None
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return (path.stem for path in sorted(self._folder.glob("*.npy")))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def keep_scores(run: Path, name: str, scores: FloatArray) -> None:
    """Writes them: a byte each where all are 0 or 1, else four.

    Raises:
        StorageError: the folder cannot be written.
    """
    binary = bool(np.isin(scores, (0.0, 1.0)).all())
    buffer = io.BytesIO()
    np.save(buffer, scores.astype(np.uint8 if binary else np.float32))
    write(run / FOLDER / f"{name}.npy", buffer.getvalue())
