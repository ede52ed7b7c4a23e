"""The DAG `canary_promotion` with its real steps: what runs when `stage` is killed, and what can run after that."""

from __future__ import annotations

import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from kilter.services import Service, Services, executable
from kilter.settings import Settings
from kilter.step import RunInfo, run_step
from kilter.stores.ledger import Ledger
from kilter.stores.objects import Manifest
from kilter.stores.registry import MlflowRegistry, PipelineRun

from .conftest import MODEL, Installation, free_ports, make_model, wait_until

DAGS = Path(__file__).parents[3] / "dags"


class World:
    """An installation with its ledger and its MLflow, and the DAG run in this process."""

    def __init__(self, installation: Installation, mlflow: str) -> None:
        self.installation = installation
        self.ledger = Ledger(installation.settings.ledger)
        self.ledger.migrate()
        self.registry = MlflowRegistry(mlflow)

    def register(self, made: Manifest) -> int:
        names = dict.fromkeys(("name", "dataset", "dataset_digest", "snapshot", "evaluation"), "none")
        run = PipelineRun(
            model=MODEL, key=made.key, digest=made.digest, parameters={}, metrics={}, tags={}, dataset_rows=0, **names
        )
        return self.registry.register(run, self.installation.home / "models").version

    def stage(self, version: int) -> dict[str, Any]:
        """Run step `stage` alone, in this process; return its outputs."""
        settings = Settings.from_environment(os.environ)
        folder = settings.models / MODEL
        log = logging.getLogger("test")
        return run_step("stage", folder, {"version": version}, RunInfo(), settings, log).outputs

    def promote(self, version: int) -> tuple[str, dict[str, str]]:
        """Run the DAG without retries; return its state and those of its tasks."""
        from airflow.dag_processing.dagbag import DagBag

        dag = DagBag(dag_folder=str(DAGS)).dags[f"{MODEL}.canary_promotion"]
        for task in dag.tasks:
            task.retries = 0
        run: Any = dag.test(run_conf={"version": version})
        return str(run.state), {task.task_id: str(task.state) for task in run.get_task_instances()}


@pytest.fixture
def world(installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = [executable("mlflow", "run 'make venv'"), "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/mlflow.db", "--workers", "1", "--serve-artifacts"]
    command += ["--artifacts-destination", f"file://{tmp_path}/artifacts"]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    service = Service("mlflow", command, f"{url}/health", {**os.environ, **quiet})
    services = Services(tmp_path)
    settings = {**installation.settings.to_environment(), "KILTER_MLFLOW": url, "KILTER_RUNTIME": "process"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # `dag.test` gives its tasks no bundle, of which StepOperator asks the version.
    monkeypatch.setattr(RuntimeTaskInstance, "bundle_instance", SimpleNamespace(version=None), raising=False)
    try:
        services.start(service)
        subprocess.run([executable("airflow", "run 'make venv'"), "db", "migrate"], check=True, capture_output=True)
        services.wait(service)
        yield World(installation, url)
    finally:
        services.stop_all(lambda line: None)


def kill_stage(ledger: Ledger) -> None:
    """Kill the process of step `stage` once it has begun a rollout."""
    wait_until(lambda: ledger.open_rollout(MODEL), "stage begins the rollout", 60)
    for child in psutil.Process().children(recursive=True):
        if child.cmdline()[2:5] == ["kilter", "step", "stage"]:
            child.kill()


def test_after_stage_was_killed_the_run_is_red_the_rollout_ended_and_another_candidate_can_begin(world: World) -> None:
    installation = world.installation
    made = [make_model(installation.objects, installation.spec, seed) for seed in (1, 2)]
    missing = made[1].model_copy(update={"key": f"models/{MODEL}/missing", "digest": "missing"})
    champion, never_loaded, good = (world.register(item) for item in (made[0], missing, made[1]))
    world.registry.set_alias(MODEL, "champion", champion)

    killer = threading.Thread(target=kill_stage, args=(world.ledger,))
    killer.start()
    state, tasks = world.promote(never_loaded)
    killer.join()
    assert state == "failed"
    ends = {name: tasks[name] for name in ("stage", "promote", "roll_back", "ended")}
    assert ends == {
        "stage": "failed",
        "promote": "upstream_failed",
        "roll_back": "success",
        "ended": "upstream_failed",
    }
    assert world.ledger.open_rollout(MODEL) is None
    assert world.registry.alias(MODEL, "canary") is None
    assert installation.servers.deployed("canary", MODEL) is None
    assert installation.servers.deployed("champion", MODEL).version == champion

    assert world.stage(good)["rollout"] == 2
    assert installation.servers.deployed("canary", MODEL).version == good
