"""Opening the database of a study, and finding a study that exists."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwdse.errors import UsageError

from .database import Database, Place, shown, translated
from .file_database import FileDatabase
from .server_database import ServerDatabase

if TYPE_CHECKING:
    import optuna

_MAKE = "hwdse sweep makes one, and workers take part in it."


def open_database(place: Place) -> Database:
    """The study's database; made where it is absent."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return FileDatabase(place) if place.url is None else ServerDatabase(place)


def find_study(folder: Path | None, url: str | None, name: str | None) -> tuple[Place, dict[str, Any]]:
    """Where a study is that exists, and its configuration.

    Args:
        folder: the run folder; None: ``runs/NAME``. url: of a server; None: the folder holds the study. name: None: the only one there.

    Raises:
        UsageError: there is none of that name, or several without one; those that are there are named.
    """
    with opened(folder, url, name) as (place, _, study):
        return place, dict(study.user_attrs["config"])


@contextlib.contextmanager
def opened(folder: Path | None, url: str | None, name: str | None) -> Iterator[tuple[Place, Database, optuna.Study]]:
    """The same, open: where it is, its database, and the study itself."""
    import optuna

    database = open_database(Place(folder or Path(), url, name or "sweep"))
    try:
        with translated(database):
            names = optuna.get_all_study_names(database.storage)
            where = f"the run folder {folder}" if url is None else shown(url)
            if name is None and len(names) != 1:
                raise UsageError(
                    f"{where} holds {len(names)} studies; {'name one with --study: ' + ', '.join(sorted(names)) if names else _MAKE}"
                )
            name = name or names[0]
            if name not in names:
                raise UsageError(f"{where} holds no study '{name}'. There: {', '.join(sorted(names)) or 'none'}; {_MAKE}")
            study = optuna.load_study(study_name=name, storage=database.storage)
            if not isinstance(study.user_attrs.get("config"), dict):
                raise UsageError(f"the study '{name}' in {where} is no sweep of hwdse.")
            yield Place(folder or Path("runs") / name, url, name), database, study
    finally:
        database.close()
