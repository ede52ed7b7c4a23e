"""Servers as processes: what was started is stopped, all of it and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from kilter.errors import InputError, UnavailableError
from kilter.services import Service, Services, free_port

SERVER = "import http.server, sys; http.server.HTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()"
FAMILY = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SERVER!r}, sys.argv[1]]).wait()"


def service(name: str = "web", code: str = SERVER) -> Service:
    port = free_port()
    return Service(
        name, [sys.executable, "-c", code, str(port)], f"http://127.0.0.1:{port}", dict(os.environ), timeout=20
    )


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    made = Services(tmp_path)
    yield made
    made.stop_all(lambda line: None)


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def pid_of(services: Services, web: Service) -> int:
    lines: list[str] = []
    found = [item for item in psutil.process_iter(["cmdline"]) if item.info["cmdline"] == list(web.command)]
    assert found, lines
    return found[0].pid


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_started_server_answers_and_a_stopped_one_is_gone(services: Services) -> None:
    web = service()
    services.start(web)
    services.wait(web)
    assert services.running() == ["web"]
    said: list[str] = []
    services.stop("web", said.append)
    assert services.running() == []
    assert said[0].startswith("stopped web (pid ")


def test_children_that_outlive_their_parent_are_stopped_too(services: Services) -> None:
    web = service(code=FAMILY)
    services.start(web)
    services.wait(web)
    parent = pid_of(services, web)
    (child,) = children(parent)
    psutil.Process(parent).kill()
    wait_until(lambda: services.running() == [])
    assert child.is_running()
    services.stop("web")
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_bystander_is_left_alone(services: Services) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", SERVER, str(free_port())], start_new_session=True)
    web = service()
    services.start(web)
    services.wait(web)
    services.stop_all(lambda line: None)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_taken_port_is_refused_before_anything_is_started(services: Services) -> None:
    web = service()
    services.start(web)
    services.wait(web)
    with pytest.raises(InputError, match="something else listens there"):
        services.start(Service("other", web.command, web.ready, dict(os.environ)))
    assert services.running() == ["web"]


def test_a_server_that_ends_shows_its_last_words(services: Services) -> None:
    web = service(code="print('no such file'); raise SystemExit(1)")
    services.start(web)
    with pytest.raises(UnavailableError, match="no such file"):
        services.wait(web)


def test_stopping_what_was_never_started_is_fine(services: Services) -> None:
    services.stop("nobody")
