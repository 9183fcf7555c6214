"""No form of a database URL, right or mistyped, brings its password to a screen or into a file."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from commands import hwdse
from hypothesis import given
from hypothesis import strategies as st

from hwdse import passwords
from hwdse.passwords import hold, masked, masked_url
from hwdse.sweeps.log import FILE, append

PASSWORDS = (
    "s3cr3t-Hunter",
    "p@ssHunter",
    "a/bHunter",
    "a:bHunter",
    "#Hunter?x",
    "Hunter%40x",
    "Hun&ter=",
    "Hunter+é",
    "Hunter;x",
    "\\Hunter",
    "[Hunter]",
)
FORMS = (
    "postgresql://user:{}@127.0.0.1:1/db", "postgresql+psycopg://user:{}@127.0.0.1:1/db", "postgres://user:{}@127.0.0.1:1/db",
    "postgresql:/user:{}@127.0.0.1:1/db", "postgresql:user:{}@127.0.0.1:1/db", "postgresql//user:{}@127.0.0.1:1/db",
    "postgresql:///user:{}@127.0.0.1:1/db", "postgresql:\\\\user:{}@127.0.0.1:1/db", "postgresq://user:{}@127.0.0.1:1/db",
    "http://user:{}@127.0.0.1:1/db", "mysql+pymysql://user:{}@127.0.0.1:1/db", "sqlite://user:{}@127.0.0.1:1/db", "user:{}@127.0.0.1:1/db",
    "//user:{}@127.0.0.1:1/db", "://user:{}@127.0.0.1:1/db", " postgresql://user:{}@127.0.0.1:1/db ", "POSTGRESQL://USER:{}@127.0.0.1:1/DB",
    "postgresql://:{}@127.0.0.1:1/db", "postgresql://user:{}@127.0.0.1:x/db", "postgresql://user:{}@127.0.0.1:99999/db",
    "postgresql://user:{}@[::1/db", "postgresql://user:{}@[::1]:1/db", "postgresql://user:{}@/db", "postgresql://user:{}@", "postgresql://user:{}@@127.0.0.1:1/db",
    "postgresql://us er:{}@127.0.0.1:1/db", "postgresql://user@127.0.0.1:{}/db", "postgresql://user:{}", "postgresql://user:{}/db",
    "postgresql://127.0.0.1:1/db?user=user&password={}", "postgresql://user@127.0.0.1:1/db?sslpassword={}", "postgresql+asyncpg://user:{}@127.0.0.1:1/db",
    "host=127.0.0.1 port=1 user=user password={} dbname=db", "host=127.0.0.1 password = '{}'", "postgresql://user:{}@127.0.0.1:1,127.0.0.1:2/db",
    "postgresql://user/{}@127.0.0.1:1/db", "postgresql://user;{}@127.0.0.1:1/db", "postgresql://user\n:{}@127.0.0.1:1/db", "postgresql://{{user}}:{}@127.0.0.1:1/db",
)  # fmt: skip
URLS = [form.format(PASSWORDS[0]) for form in FORMS] + [form.format(word) for word in PASSWORDS[1:] for form in FORMS[:3]]


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_known", set())


def leaked(text: str) -> bool:
    """Whether the telling part of every password above stands in a text."""
    return "Hunter" in text or quote("Hunter+é") in text


def test_there_are_many() -> None:
    assert len(set(URLS)) >= 60


@pytest.mark.parametrize("url", URLS)
def test_no_url_shows_its_password(url: str) -> None:
    assert not leaked(masked_url(url))
    hold(url)
    for text in (
        f"cannot parse '{url}'",
        f'could not translate host name "{url.rpartition(":")[2]}" to address',
        json.dumps({"url": url}),
        repr(url),
    ):
        assert not leaked(masked(text)), text


@pytest.mark.parametrize("url", URLS[::2])
def test_no_command_shows_it(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    commands = [("status", "--storage", url)]
    if url in URLS[::10]:
        commands += [("worker", "--storage", url), ("status", url), ("status", "runs/none", url), ("sweep", f"--storag={url}")]
    for command in commands:
        ran = hwdse(*command)
        assert ran.code in (1, 2)
        assert not leaked("".join((ran.out + ran.err).split()).replace("│", "")), command  # however a box broke its lines
        assert "fault of hwdse" not in ran.err, ran.err
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or not leaked(path.read_text(errors="replace"))
        assert not leaked(str(path))


def test_the_log_of_a_run_holds_none(tmp_path: Path) -> None:
    append(tmp_path, "ended", 1, error=f"cannot reach {URLS[0]}", state="failed")
    assert not leaked((tmp_path / FILE).read_text())
    assert json.loads((tmp_path / FILE).read_text())["error"].startswith("cannot reach postgresql://user:***@127")


def test_other_texts_stay_as_they_are() -> None:
    hold("postgresql://user:12345@host/db")  # a number is no piece to be left out everywhere
    for text in (
        "latency@t4 <= 3 ms and weights@npu: 5 KiB", '{"latency@t4": 12345}', "see https://example.org:8080/a?b=c",
        "my.module:Task at 12345",
        "postgresql://user@host:5432/db", "lsq_channel+lsq@mse", "C:/files/a.csv", "'a' = 3", "write to me@example.org: soon",
    ):  # fmt: skip
        assert masked(text) == text


@given(st.text(min_size=4, max_size=20).filter(lambda text: not text.isdigit() and text.strip() == text and len(set(text)) > 2))
def test_any_password_in_a_right_url(password: str) -> None:
    coded = quote(password, safe="")
    assert coded not in masked_url(f"postgresql://user:{coded}@host/db").removeprefix("postgresql://user")


@pytest.mark.parametrize("piece", ["x", "a1", "1", "sqlite", "pwd", "password", ":", "/", "a.", "://", "@:"])
def test_long_text_is_looked_through_once(piece: str) -> None:
    """In proportion to its length: what takes time with the square of it would not end here."""
    text = piece * (200_000 // len(piece)) + " a=b"
    assert masked(text).endswith(" a=b")
