"""Workers on a Ray cluster: Ray finds each a machine with room, and a share of a GPU. The study does all the rest."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwdse.errors import UsageError
from hwdse.interrupts import PARENT

from .workers import Launch, Process

CPUS = 1  # of one worker
PATIENCE = 20.0  # seconds without an answer after which a machine is asked again, and without room after which that is said


class Host:
    """On the machine that Ray has chosen: starts the worker's process there, with the GPUs that Ray gave it."""

    def start(self, command: Sequence[str], environment: Mapping[str, str], folder: str, log: str) -> int:
        """Its process id. ``folder``: where the sweep was started, in which tasks are looked for; not needed where it is not shared."""
        Path(log).parent.mkdir(parents=True, exist_ok=True)
        threads = {name: os.environ.get(name, str(CPUS)) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        with Path(log).open("ab") as said:
            self.process = subprocess.Popen(
                command, env={**os.environ, **threads, **environment, PARENT: str(os.getpid())},
                cwd=folder if os.path.isdir(folder) else None, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
            )  # fmt: skip
        return self.process.pid

    def poll(self) -> int | None:
        """See :class:`Process`."""
        return self.process.poll()

    def signal(self, number: int) -> None:
        """Sends it."""
        self.process.send_signal(number)


class _Remote:
    """A worker's process on another machine. A machine that is gone counts as killed: its trial is put back by whoever looks next."""

    pid = -1

    def __init__(self, host: Any, started: Any, lacking: Callable[[], None]) -> None:
        self._host, self._started, self._lacking = host, started, lacking
        self._began, self._told = time.monotonic(), False
        self._code: int | None = None

    def poll(self) -> int | None:
        import ray
        from ray.exceptions import GetTimeoutError, RayError

        if self._code is not None:
            return self._code
        try:
            if self._started is not None and not ray.wait([self._started], timeout=0)[0]:
                if not self._told and time.monotonic() > self._began + PATIENCE:
                    self._told = True
                    self._lacking()
                return None
            if self._started is not None:
                ray.get(self._started)  # raises what went wrong there
                self._started = None
            code: int | None = ray.get(self._host.poll.remote(), timeout=PATIENCE)
        except GetTimeoutError:
            return None
        except RayError:
            code = -int(signal.SIGKILL)
        if code is not None:
            ray.kill(self._host)  # its room is for others
            self._code = code
        return code

    def send_signal(self, sig: int) -> None:
        self._host.signal.remote(int(sig))

    def kill(self) -> None:
        import ray
        from ray.exceptions import RayError

        with contextlib.suppress(RayError):  # not started yet, or gone
            ray.get(self._host.signal.remote(int(signal.SIGKILL)), timeout=PATIENCE)
        ray.kill(self._host)
        self._code = -int(signal.SIGKILL)

    def wait(self) -> int:
        while (code := self.poll()) is None:
            time.sleep(0.1)
        return code


def on_ray(command: Sequence[str], environment: Mapping[str, str], gpus: float, *, shared: bool, say: Callable[[str], None]) -> Launch:
    """Starts workers on the cluster at ``RAY_ADDRESS``, or on one that is made of this machine.

    Args:
        command, environment: of a worker; the rest of its environment is that of its machine. gpus: of one worker, such as 0.25.
        shared: whether the study is on a server that every machine reaches. say: told of workers for which there is no room.

    Raises:
        UsageError: several machines have no study to share, or none of them has so many GPUs.
    """
    import ray

    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="error")
    machines = [node for node in ray.nodes() if node["Alive"]]
    if len(machines) > 1 and not shared:
        raise UsageError(
            f"the Ray cluster has {len(machines)} machines, which cannot share a study in a file: keep it on a server "
            "(--storage postgresql://...; see examples/cluster/)."
        )
    most = max((float(node["Resources"].get("GPU", 0)) for node in machines), default=0.0)
    if gpus > most:
        raise UsageError(f"a worker shall have {gpus:g} GPUs, and no machine of the Ray cluster has more than {most:g}.")
    actor = ray.remote(num_cpus=CPUS, num_gpus=gpus, max_restarts=0)(Host)

    def launch(number: int, log: Path) -> Process:
        host = actor.remote()
        room = f"{CPUS} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        return _Remote(
            host, host.start.remote(list(command), dict(environment), os.getcwd(), str(log.resolve())),
            lambda: say(f"worker {number + 1} waits for room on the Ray cluster ({room})."),
        )  # fmt: skip

    return launch
