"""``python -m orbresearch up`` and ``down``: a lab that outlives its notebooks, one per home folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from orbresearch.errors import BadInput, Unreachable
from orbresearch.settings import Settings, read_settings

_PATIENCE_SECONDS = 60.0


def state_file(settings: Settings) -> Path:
    """Return the file that names the running lab of a home folder: its process and scheduler, no secret."""
    return settings.home / ".orbresearch" / "lab.json"


def read_state(settings: Settings) -> dict[str, Any] | None:
    """Return what is known of the running lab, None where there is none (a file left by a dead one is removed)."""
    path = state_file(settings)
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        if psutil.Process(int(found["pid"])).create_time() == found["started"]:
            return found
    except (FileNotFoundError, psutil.Error, ValueError, KeyError):
        pass
    path.unlink(missing_ok=True)
    return None


def up(env_file: str | None = None, n_workers: int | None = None, port: int = 0) -> str:
    """Start a lab that stays, and return its scheduler's address. One that runs already is named instead.

    Raises
    ------
    Unreachable
        It did not come up; the message shows its last words.
    """
    settings = read_settings(env_file)
    if (running := read_state(settings)) is not None:
        return str(running["address"])
    path = state_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "orbresearch", "serve", "--port", str(port)]
    command += ["--workers", str(n_workers)] if n_workers else []
    command += ["--env-file", str(env_file)] if env_file else []
    words = path.with_name("lab.log")
    environ = {**os.environ, "ORB_HOME": str(settings.home)}
    with words.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environ
        )
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        if (running := read_state(settings)) is not None:
            return str(running["address"])
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.terminate()
    said = (words.read_text().strip().splitlines() or ["nothing"])[-1]
    raise Unreachable("lab", str(settings.home), said, f"the whole story is in {words}")


def down(env_file: str | None = None) -> bool:
    """End the lab of this home folder, after what is staged was moved into the store; False where none runs."""
    settings = read_settings(env_file)
    running = read_state(settings)
    if running is None:
        return False
    pid = int(running["pid"])
    os.kill(pid, signal.SIGTERM)
    try:
        psutil.Process(pid).wait(_PATIENCE_SECONDS)
    except psutil.NoSuchProcess:
        pass
    except psutil.TimeoutExpired:
        raise BadInput("down", f"process {pid} does not end", f"end it with kill {pid}") from None
    state_file(settings).unlink(missing_ok=True)
    return True


def serve(env_file: str | None = None, n_workers: int | None = None, port: int = 0) -> None:
    """Hold a lab open until SIGTERM or SIGINT: the process behind ``up``."""
    from orbresearch.lab.lab import Lab

    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    with Lab(env_file=env_file, n_workers=n_workers, scheduler_port=port) as lab:
        path = state_file(lab.settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        own = {"pid": os.getpid(), "started": psutil.Process().create_time()}
        part.write_text(json.dumps({**own, "address": lab.cluster.scheduler_address}))
        part.replace(path)
        ending.wait()
    path.unlink(missing_ok=True)
