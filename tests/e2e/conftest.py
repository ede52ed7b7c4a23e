"""One demo for all end-to-end tests: two months, one retraining, one canary, through a real Airflow."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kilter.demo.airflow import Airflow
from kilter.services import executable

REPOSITORY = Path(__file__).parents[2]
MODEL = "flight_delay"
PATIENCE = 300.0


@dataclass(frozen=True)
class Demo:
    """A demo that has been driven to its end, its servers still up."""

    home: Path
    environment: dict[str, str]
    airflow: str
    output: str
    returncode: int

    @property
    def summary(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "summary.json").read_text()))

    def airflow_client(self) -> Airflow:
        """Its Airflow, logged in."""
        password = (self.home / "airflow/admin_password").read_text()
        client = Airflow(self.airflow, password, [executable("airflow", "run 'make venv'")], self.environment)
        client.log_in()
        return client

    def kilter(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kilter", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=False
        )


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what}"
        time.sleep(0.3)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


@contextmanager
def driven(model: str, until: str, home: Path) -> Iterator[Demo]:
    """A demo of one model in a home of its own; it is taken down at the end of the block."""
    shutil.rmtree(home, ignore_errors=True)
    airflow, mlflow, router, endpoint, champion, canary = free_ports(6)
    environment = {
        **os.environ,
        "KILTER_HOME": str(home),
        "KILTER_MLFLOW": f"http://127.0.0.1:{mlflow}",
        "KILTER_ROUTER": f"127.0.0.1:{router}",
        "KILTER_ENDPOINT": f"http://127.0.0.1:{endpoint}",
        "KILTER_CHAMPION": f"http://127.0.0.1:{champion}",
        "KILTER_CANARY": f"http://127.0.0.1:{canary}",
    }
    runtime = "docker" if os.environ.get("KILTER_REQUIRE_ENGINE") else "auto"
    command = [sys.executable, "-m", "kilter", "demo", "up", "--model", model, "--until", until]
    command += ["--airflow-port", str(airflow), "--runtime", runtime]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    made = Demo(home, environment, f"http://127.0.0.1:{airflow}", ran.stdout + ran.stderr, ran.returncode)
    yield made
    made.kilter("demo", "down")
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def demo() -> Iterator[Demo]:
    # Not pytest's own folder: its parents are closed to the user that step containers run as.
    with driven(MODEL, "2013-05", REPOSITORY / ".kilter-e2e") as made:
        yield made
