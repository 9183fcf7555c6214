from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdse import storage
from hwdse.costs import CostTable
from hwdse.errors import FileFormatError
from hwdse.formats import grid
from hwdse.metrics import LATENCY, Metric
from hwdse.storage import StorageError, key_of, read_json, tables_from_bytes, tables_to_bytes, write

OPTIONS = grid([2, 4], [8])


def test_write_makes_folders_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.json"
    write(path, "one")
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("broken", ["mkstemp", "fsync", "replace", "mkdir"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, code: int) -> None:
    path = tmp_path / "file"
    write(path, "old")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(code, os.strerror(code))

    owner = {"mkstemp": tempfile, "fsync": os, "replace": os, "mkdir": Path}[broken]
    monkeypatch.setattr(owner, broken, fail)
    with pytest.raises(StorageError) as caught:
        write(path, "new" * 1000)
    monkeypatch.undo()
    assert str(caught.value) == f"cannot write {path}: {os.strerror(code)}. Give a folder that can be written and has room."
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file_whole_and_no_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write(path, "old")

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="cannot write"):
        write(tmp_path / "file" / "inside", "x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1: is empty"),
        (b'{"a": 1', "line 1: is truncated or not JSON"),
        (b'{\n"a": }', "line 2: is truncated or not JSON"),
        (b"[1]", "must hold a JSON object, got list"),
        (b"\xff\xfe\x00", "line 1: is not UTF-8 text"),
    ],
)
def test_json_that_cannot_be_read(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=f"x.json.*{message}"):
        read_json(path)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*none\.json: No such file or directory"):
        read_json(tmp_path / "none.json")
    with pytest.raises(StorageError, match="Is a directory"):
        read_json(tmp_path)


def test_keys_depend_on_every_part_and_on_nothing_else() -> None:
    assert key_of({"a": 1, "b": 2}, [3]) == key_of({"b": 2, "a": 1}, [3])
    parts: list[tuple[Any, ...]] = [
        ({"a": 1},), ({"a": 2},), ({"a": 1}, 0), (["x", "y"],), ("x", "y"), ("xy",), ("x", "", "y"),
        (b"x", b"y"), (b"x\0y",), (b"xy",), (b'"x"', b'"y"'), (1,), ("1",), (1.5,), (None,), (b"",), (),
    ]  # fmt: skip
    assert len({key_of(*p) for p in parts}) == len(parts)
    assert all(len(key_of(*p)) == 24 for p in parts)


def test_cache_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HWDSE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/h")
    assert storage.cache_folder() == Path("/h/.cache/hwdse")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert storage.cache_folder() == Path("/x/hwdse")
    monkeypatch.setenv("HWDSE_CACHE", "/c")
    assert storage.cache_folder() == Path("/c")


def example() -> dict[str, CostTable]:
    cells = np.array([[1.0, np.inf], [0.1, 1e15], [1e-12, 2.0]])
    many = CostTable(
        Metric("activations", "B", on="npu"), ("a", "ü"), OPTIONS, cells, np.array([0, 0, 1]), np.array([0, 1, 1]),
        np.array([0.5, 0.0]), np.array([[1, 6], [2, 3], [4, 5]], np.int8), "a rule", ("note one", "note two"), ("x", "y"),
    )  # fmt: skip
    return {"loss": CostTable.one_row(LATENCY, ("a",), OPTIONS, np.array([[1.0, 2.0]])), "activations@npu": many}


def test_tables_round_trip() -> None:
    again = tables_from_bytes(tables_to_bytes(example()))
    assert list(again) == list(example())
    for name, table in example().items():
        for part in ("metric", "layers", "options", "convention", "notes", "row_names"):
            assert getattr(again[name], part) == getattr(table, part)
        for part in ("cells", "row", "layer", "fixed", "sources"):
            np.testing.assert_array_equal(getattr(again[name], part), getattr(table, part))
            assert getattr(again[name], part).dtype == getattr(table, part).dtype
    assert tables_from_bytes(tables_to_bytes({})) == {}


ARCHIVE = tables_to_bytes(example())


@given(st.integers(0, len(ARCHIVE) - 1))
def test_truncated_archives(length: int) -> None:
    with pytest.raises(FileFormatError, match=r"mine.npz: is truncated or not a table archive \("):
        tables_from_bytes(ARCHIVE[:length], "mine.npz")


@given(st.integers(0, len(ARCHIVE) - 1), st.integers(1, 255))
def test_damaged_archives_are_noticed_or_harmless(place: int, flip: int) -> None:
    damaged = bytearray(ARCHIVE)
    damaged[place] ^= flip
    try:
        again = tables_from_bytes(bytes(damaged))
    except FileFormatError:
        return
    for name, table in example().items():  # damage in a part that says nothing (a date, a flag)
        np.testing.assert_array_equal(again[name].cells, table.cells)


def test_another_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", head=np.array('{"schema": "hwdse.tables/9"}'))
    with pytest.raises(FileFormatError, match=r"must have schema 'hwdse.tables/1', got 'hwdse.tables/9'"):
        tables_from_bytes((tmp_path / "a.npz").read_bytes())
    np.savez(tmp_path / "b.npz", x=np.ones(3))
    with pytest.raises(FileFormatError, match="not a table archive"):
        tables_from_bytes((tmp_path / "b.npz").read_bytes())
    for head in ("[]", "null", "3", '{"schema": "hwdse.tables/1"}', '{"schema": "hwdse.tables/1", "tables": [1]}', "{"):
        np.savez(tmp_path / "c.npz", head=np.array(head))
        with pytest.raises(FileFormatError):
            tables_from_bytes((tmp_path / "c.npz").read_bytes())


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", head=np.array([{"schema": "hwdse.tables/1"}], dtype=object), allow_pickle=True)
    with pytest.raises(FileFormatError, match="not a table archive"):
        tables_from_bytes((tmp_path / "p.npz").read_bytes())


def test_what_a_dead_writer_left_is_swept_up_and_nothing_else(tmp_path: Path) -> None:
    killed = (
        "import os, sys; from pathlib import Path; from hwdse import storage\n"
        "os.fsync = lambda handle: os.kill(os.getpid(), 9)\n"
        "storage.write(Path(sys.argv[1]), 'half')"
    )
    for name in ("record.json", "7.pt"):
        assert subprocess.run([sys.executable, "-c", killed, tmp_path / name]).returncode == -9
    mine = [tmp_path / name for name in (".record.json.abcdefgh", ".x.hwdse-unfinished", "7.pt", "notes.hwdse-unfinished")]
    for path in mine:
        path.write_text("mine")
    (tmp_path / ".link.abcdefgh.hwdse-unfinished").symlink_to(mine[0])
    handle, name = storage._beside(tmp_path / "alive")
    assert len(storage.sweep_up(tmp_path, "*.pt")) == 1
    assert len(storage.sweep_up(tmp_path)) == 1
    assert set(tmp_path.iterdir()) == {*mine, Path(name), tmp_path / ".link.abcdefgh.hwdse-unfinished"}
    os.close(handle)
    assert storage.sweep_up(tmp_path) == [Path(name)]
    assert storage.sweep_up(tmp_path / "nowhere") == []


def test_a_file_that_is_swept_up_before_it_is_held_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, first = storage._hold, []

    def swept(handle: int) -> bool:
        if not first:
            first.append(storage.sweep_up(tmp_path))
        return real(handle)

    calls = iter([swept])
    monkeypatch.setattr(storage, "_hold", lambda handle: next(calls, real)(handle))
    write(tmp_path / "file", "content")
    assert len(first[0]) == 1
    assert [p.read_text() for p in tmp_path.iterdir()] == ["content"]
