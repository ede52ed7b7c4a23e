"""The whole loop, shortened: two months, one retraining, one canary, through a real Airflow."""

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

import docker
import httpx
import psutil
import pytest
from mlflow.tracking import MlflowClient

from kilter.spec import load_spec
from kilter.stores.router import Router

REPOSITORY = Path(__file__).parents[2]
MODEL = "flight_delay"
PARTS = {"airflow", "haproxy", "mlflow", "server-canary", "server-champion"}

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]


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


@pytest.fixture(scope="module")
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


def test_the_demo_ends_well(demo: Demo) -> None:
    assert demo.returncode == 0, demo.output[-5000:]


def test_it_says_first_in_which_runtime_steps_run_and_why(demo: Demo) -> None:
    assert "steps run in the" in demo.output.splitlines()[0]


def test_quality_decayed_once_and_that_led_to_one_retraining(demo: Demo) -> None:
    decisions = demo.summary["decisions"]
    assert [row["action"] for row in decisions] == ["wait", "retrain"]
    assert "quality decayed: roc_auc" in decisions[1]["reason"]


def test_the_retrained_model_is_the_champion_and_the_first_one_its_predecessor(demo: Demo) -> None:
    versions = {row["version"]: row["role"] for row in demo.summary["versions"]}
    assert versions == {1: "predecessor", 2: "champion"}


def test_the_canary_took_traffic_step_by_step(demo: Demo) -> None:
    traced = json.loads(demo.kilter("lineage", MODEL, "2").stdout)
    (rollout,) = traced["rollouts"]
    assert rollout["state"] == "promoted"
    reasons = " ".join(event["reason"] for event in rollout["events"])
    for step in ("0 -> 10", "10 -> 50", "50 -> 100"):
        assert step in reasons


def test_the_lineage_is_complete(demo: Demo) -> None:
    lineage = json.loads(demo.kilter("lineage", MODEL).stdout)["lineage"]
    for tag in ("dag_id", "run_id", "dag_version", "git_commit", "environment_digest", "snapshot_digest", "reason"):
        assert lineage[tag], tag
    assert lineage["predecessor"] == "1"
    assert lineage["gate_verdict"] == "passed"
    if "the docker runtime" in demo.output:
        assert lineage["image_digest"].startswith("sha256:")


def test_mlflow_shows_the_plots_the_profile_and_the_model(demo: Demo) -> None:
    client = MlflowClient(demo.environment["KILTER_MLFLOW"])
    run = client.get_model_version(MODEL, "2").run_id
    shown = {item.path for folder in ("evaluation", "model", "profile") for item in client.list_artifacts(run, folder)}
    assert {"evaluation/roc.png", "evaluation/calibration.png", "evaluation/importance.png"} <= shown
    assert {"model/model.ubj", "profile/profile.html"} <= shown


def test_both_model_servers_hold_what_the_registry_says(demo: Demo) -> None:
    for role, version in (("CHAMPION", 2), ("CANARY", 1)):
        answer = httpx.get(f"{demo.environment[f'KILTER_{role}']}/models/{MODEL}/ready")
        assert answer.json()["version"] == version


def test_every_request_is_answered_by_the_champion_again(demo: Demo) -> None:
    assert Router(demo.environment["KILTER_ROUTER"]).weights(MODEL) == {"champion": 100, "canary": 0}
    features = [feature.name for feature in load_spec(REPOSITORY / "include" / "models" / MODEL).features.columns]
    body = {"dataframe_split": {"columns": features, "data": [[None] * len(features)]}}
    url = f"{demo.environment['KILTER_ENDPOINT']}/models/{MODEL}/invocations"
    assert {httpx.post(url, json=body).json()["model_version"] for _ in range(20)} == {2}


def test_the_step_containers_are_gone(demo: Demo) -> None:
    if "the docker runtime" not in demo.output:
        pytest.skip("steps ran as processes")
    found = docker.from_env().containers.list(all=True, filters={"label": f"kilter.home={demo.home}"})
    assert found == []


def test_the_summary_shows_tables_and_where_to_look(demo: Demo) -> None:
    for text in ("roc_auc by month", "Decisions", "Model versions", "Stages in Airflow", demo.airflow, "user admin"):
        assert text in demo.output


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
