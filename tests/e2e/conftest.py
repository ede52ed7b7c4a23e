"""One demo for all end-to-end tests: two months, one retraining, one canary, through a real Airflow."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
MODEL = "flight_delay"


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

    def kilter(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "kilter", *arguments]
        return subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, check=False
        )


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    # Not pytest's own folder: its parents are closed to the user that step containers run as.
    home = REPOSITORY / ".kilter-e2e"
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
    command = [sys.executable, "-m", "kilter", "demo", "up", "--until", "2013-05", "--airflow-port", str(airflow)]
    ran = subprocess.run(
        [*command, "--runtime", runtime], cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    made = Demo(home, environment, f"http://127.0.0.1:{airflow}", ran.stdout + ran.stderr, ran.returncode)
    yield made
    made.kilter("demo", "down")
    shutil.rmtree(home)
