"""A PostgreSQL server of one's own, for tests and benchmarks: started in a temporary folder, without root's help where we are not root."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

USER, PASSWORD, DATABASE = "me", "se{c%r:t", "studies"
URL_PASSWORD = "se%7Bc%25r%3At"


class NoServer(Exception):
    """Why none can be started here."""


class Server:
    """A running server. ``url`` holds the password."""

    def __init__(self) -> None:
        found = [shutil.which("pg_ctl"), *sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")), reverse=True)]
        self.bin = next((Path(p).resolve().parent for p in found if p), None)
        if self.bin is None:
            raise NoServer("no PostgreSQL server is installed (pg_ctl)")
        self.owner: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            user = next((u.pw_name for u in pwd.getpwall() if u.pw_name in ("postgres", "nobody")), None)
            if user is None or shutil.which("runuser") is None:
                raise NoServer("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")
            self.owner = ["runuser", "-u", user, "--"]
        self.folder = Path(tempfile.mkdtemp(prefix="hwdse-postgres-"))
        if self.owner:
            shutil.chown(self.folder, self.owner[2])
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._run("initdb", "-D", self.folder / "data", "-A", "scram-sha-256", "-U", USER, "--pwfile", secret, "--no-sync")
        self.start()
        self.url = f"postgresql://{USER}:{URL_PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"
        self.psql(f"CREATE DATABASE {DATABASE}", "postgres")

    def described(self) -> dict[str, object]:
        """For another process, which may stop and start it."""
        return {"bin": str(self.bin), "owner": self.owner, "folder": str(self.folder), "port": self.port, "url": self.url}

    @classmethod
    def attached(cls, described: dict[str, object]) -> Server:
        made = cls.__new__(cls)
        vars(made).update(described, bin=Path(str(described["bin"])), folder=Path(str(described["folder"])))
        return made

    def _run(self, program: str, *arguments: object) -> None:
        assert self.bin is not None
        done = subprocess.run(
            [*self.owner, str(self.bin / program), *map(str, arguments)], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
        if done.returncode:
            raise NoServer(f"{program}: {done.stderr.strip()}")

    def psql(self, statement: str, database: str = DATABASE) -> None:
        assert self.bin is not None
        subprocess.run(
            [str(self.bin / "psql"), "-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database, "-q", "-c", statement],
            env={**os.environ, "PGPASSWORD": PASSWORD}, capture_output=True, timeout=60, check=True,
        )  # fmt: skip

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-D", self.folder / "data", "-l", self.folder / "log", "-o", options, "-w", "start")

    def stop(self, how: str = "immediate") -> None:
        """``immediate`` is a crash: no connection is told, and the log is replayed at the next start."""
        self._run("pg_ctl", "-D", self.folder / "data", "-m", how, "-w", "stop")

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
