"""Servers as processes of this machine: started in their own sessions, remembered by pid, stopped by pid."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from kilter.errors import InputError, UnavailableError

_STOP_TIMEOUT = 10
_LAST_LINES = 15


@dataclass(frozen=True)
class Service:
    """A server: its command, and the URL or TCP address that answers once it is ready."""

    name: str
    command: Sequence[str]
    ready: str
    environment: Mapping[str, str]
    """All of its environment: it inherits nothing."""
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
                env=dict(service.environment),
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
                tail = "\n".join(self.last_lines(service.name))
                raise UnavailableError(f"{service.name} does not answer at {service.ready}; {log} ends with:\n{tail}")
            time.sleep(0.2)

    def running(self) -> list[str]:
        """Names of the servers that run."""
        return [name for name in self._names() if self._process(name) is not None]

    def last_lines(self, name: str) -> list[str]:
        """The end of a server's log."""
        log = self._logs / f"{name}.log"
        return log.read_text(errors="replace").splitlines()[-_LAST_LINES:] if log.exists() else []

    def stop_all(self, report: Callable[[str], None]) -> None:
        """Stop whatever was started and not stopped."""
        for name in self._names():
            self.stop(name, report)

    def stop(self, name: str, report: Callable[[str], None] = lambda line: None) -> None:
        """Stop a server with all its descendants, and make sure of it; one that was never started is fine."""
        if name in self._names():
            mark = json.loads((self._pids / f"{name}.json").read_text())
            family = _family(mark["pid"], mark["started"])
            if family:
                _end(family)
                report(f"stopped {name} (pid {mark['pid']})")
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


def _family(leader: int, started: float) -> list[psutil.Process]:
    """What is left of a server: all processes of its session, and their descendants, also without the leader.

    A server leads its session, so the session's number is its pid. While any of the session lives the
    system gives that pid to nobody else, and what started before the server is not of its session.
    """
    members = [item for item in psutil.process_iter(["create_time"]) if _is_member(item, leader, started)]
    descendants = [child for item in members for child in _children(item)]
    return list(dict.fromkeys([*members, *descendants]))


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _is_member(process: psutil.Process, leader: int, started: float) -> bool:
    try:
        return os.getsid(process.pid) == leader and process.info["create_time"] >= started
    except (ProcessLookupError, PermissionError):
        return False


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


def free_port() -> int:
    """A port of the loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
