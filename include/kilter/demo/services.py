"""The demo's servers: started in their own sessions, remembered by pid, stopped by pid."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from kilter.errors import InputError, UnavailableError

_STOP_TIMEOUT = 10


@dataclass(frozen=True)
class Service:
    """A server: its command, and the URL or TCP address that answers once it is ready."""

    name: str
    command: Sequence[str]
    ready: str
    environment: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 90


class Services:
    """The servers of one home folder; their pids are below `home/pids`, their logs below `home/logs`."""

    def __init__(self, home: Path) -> None:
        self._pids = home / "pids"
        self._logs = home / "logs"

    def start(self, service: Service) -> None:
        """Start a server in a session of its own, so that it outlives this command.

        Raises:
            InputError: its port is taken by something that is not ours.
        """
        address = _address(service.ready)
        if _listens(address):
            raise InputError(
                f"{service.name} needs {address[0]}:{address[1]} and something else listens there: "
                "stop it ('make down' if it is an earlier demo), or choose another port (see 'kilter demo up --help')"
            )
        for folder in (self._pids, self._logs):
            folder.mkdir(parents=True, exist_ok=True)
        with (self._logs / f"{service.name}.log").open("ab") as log:
            process = subprocess.Popen(
                service.command,
                env={**os.environ, **service.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        mark = {"pid": process.pid, "started": psutil.Process(process.pid).create_time()}
        (self._pids / f"{service.name}.json").write_text(json.dumps(mark))

    def wait(self, service: Service) -> None:
        """Wait until the server answers.

        Raises:
            UnavailableError: it ended, or does not answer in time; the message ends with its last log lines.
        """
        log = self._logs / f"{service.name}.log"
        deadline = time.monotonic() + service.timeout
        while not _answers(service.ready):
            if self._process(service.name) is None or time.monotonic() > deadline:
                tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                raise UnavailableError(f"{service.name} does not answer at {service.ready}; {log} ends with:\n{tail}")
            time.sleep(0.2)

    def running(self) -> list[str]:
        """Names of the servers that run."""
        return [name for name in self._names() if self._process(name) is not None]

    def stop(self, report: Callable[[str], None]) -> None:
        """Stop what was started, each with all its descendants, and make sure of it."""
        for name in self._names():
            process = self._process(name)
            if process is not None:
                _end(_family(process))
                report(f"stopped {name} (pid {process.pid})")
            (self._pids / f"{name}.json").unlink()

    def _names(self) -> list[str]:
        return sorted(path.stem for path in self._pids.glob("*.json"))

    def _process(self, name: str) -> psutil.Process | None:
        """The process, unless it ended; a pid that another process has got since is not it."""
        mark = json.loads((self._pids / f"{name}.json").read_text())
        try:
            process = psutil.Process(mark["pid"])
            alive = process.create_time() == mark["started"] and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


def _family(process: psutil.Process) -> list[psutil.Process]:
    """The process, its descendants, and what its session still holds of orphans."""
    session = os.getsid(process.pid)
    children = process.children(recursive=True)
    orphans = [item for item in psutil.process_iter() if item not in children and _session(item) == session]
    return list(dict.fromkeys([process, *children, *orphans]))


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except (ProcessLookupError, PermissionError):
        return None


def _end(processes: Sequence[psutil.Process]) -> None:
    """Terminate, wait, and kill what is left."""
    for process in _each_alive(processes):
        process.terminate()
    _, left = psutil.wait_procs(processes, timeout=_STOP_TIMEOUT)
    for process in _each_alive(left):
        process.kill()
    psutil.wait_procs(left, timeout=_STOP_TIMEOUT)


def _each_alive(processes: Sequence[psutil.Process]) -> Iterator[psutil.Process]:
    for process in processes:
        try:
            if process.is_running():
                yield process
        except psutil.NoSuchProcess:
            continue


def _address(ready: str) -> tuple[str, int]:
    parts = urlsplit(ready)
    return str(parts.hostname), int(parts.port or 80)


def _listens(address: tuple[str, int]) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(address) == 0


def _answers(ready: str) -> bool:
    if ready.startswith("tcp:"):
        return _listens(_address(ready))
    try:
        return httpx.get(ready, timeout=2).status_code < 500
    except httpx.TransportError:
        return False


def executable(name: str, cure: str) -> str:
    """Path of a program on the PATH, beside this Python, or in the system's sbin folders.

    Raises:
        InputError: it is not installed; the message gives the cure.
    """
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None:
        raise InputError(f"'{name}' is not installed: {cure}")
    return found
