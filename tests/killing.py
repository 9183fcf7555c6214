"""Workers that are killed at random moments, as a process of its own: ``python -P killing.py '{"folder": ..., "task": ..., ...}'``.

The workers are forked from one process that has loaded everything, so that they work, and die, from their first moment on. Prints one line
of JSON: how many were killed, how many trials each ended, the seconds.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from hwdse.cli.worker import bench_of
from hwdse.storage import StorageError
from hwdse.sweeps import SweepConfig, run_worker
from hwdse.sweeps.finding import find_study

sys.path.append(str(Path(__file__).parent))  # at the end, and started with -P: there is a folder hwdse beside this file
from postgres import Server

AWAY = 3  # status of a worker that was started while the server was away, and will be again


def killing(
    folder: Path, *, workers: int, kills: int, mean: float, seed: int, url: str | None, study: str, server: Server | None
) -> dict[str, Any]:
    """Runs the study in ``folder`` (or at ``url``) to its end, and kills a worker every ``mean`` seconds, on average, ``kills`` times.

    With a ``server`` the last third of the kills is preceded by a crash and restart of the database.
    """
    place, values = find_study(folder, url, study)
    config = SweepConfig.make("killing", **values)
    bench = bench_of(config, lambda what, done, total: None)  # from the cache: a process that has trained cannot be forked
    chance, alive, killed, over, began = random.Random(seed), set[int](), 0, False, time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    log = (folder / "killing.log").open("a")

    def start() -> None:
        pid = os.fork()
        if pid:
            alive.add(pid)
            return
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            run_worker(bench, config, place, note=lambda text: print(text, flush=True))
            os._exit(0)
        except StorageError as error:  # started while the server was away
            print(error, flush=True)
            os._exit(AWAY if server is not None else 1)
        except BaseException:
            traceback.print_exc()
            sys.stderr.flush()
            os._exit(1)

    def reap() -> None:
        nonlocal over
        while alive and (ended := os.waitpid(-1, os.WNOHANG))[0]:
            alive.discard(ended[0])
            if ended[1] and not os.WIFSIGNALED(ended[1]) and os.WEXITSTATUS(ended[1]) != AWAY:
                raise RuntimeError((folder / "killing.log").read_text()[-3000:])
            over = over or not ended[1]

    restarted, next_kill = server is None, time.monotonic() + chance.uniform(0, 2 * mean)
    while not over or alive:
        reap()
        while not over and len(alive) < workers:
            start()
        if killed < kills and not over and time.monotonic() > next_kill:
            if not restarted and killed >= 2 * kills // 3:
                assert server is not None
                server.stop()
                time.sleep(1)
                server.start()
                restarted = True
            os.kill(chance.choice(sorted(alive)), signal.SIGKILL)
            killed += 1
            next_kill = time.monotonic() + chance.uniform(0, 2 * mean)
        time.sleep(0.005)
    return {"killed": killed, "restarted": restarted and server is not None, "seconds": time.perf_counter() - began}


def main() -> None:
    asked = json.loads(sys.argv[1])
    server = Server.attached(asked.pop("server")) if "server" in asked else None
    print(json.dumps(killing(Path(asked.pop("folder")), url=os.environ.get("HWDSE_STORAGE"), server=server, **asked)))


if __name__ == "__main__":
    main()
