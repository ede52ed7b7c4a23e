"""The end of the demo; last, as it takes down what the other end-to-end tests use."""

from __future__ import annotations

import json

import httpx
import psutil
import pytest

from .conftest import Demo

PARTS = {"airflow", "haproxy", "mlflow", "server-canary", "server-champion"}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


def test_down_stops_exactly_what_was_started(demo: Demo) -> None:
    pids = {path.stem: json.loads(path.read_text())["pid"] for path in (demo.home / "pids").glob("*.json")}
    assert pids.keys() == PARTS
    families = [
        process
        for pid in pids.values()
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    ]
    assert demo.kilter("demo", "down").returncode == 0
    assert [process for process in families if process.is_running()] == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(demo.airflow)
