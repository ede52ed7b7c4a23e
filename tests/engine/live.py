"""A live Airflow on free ports, whose steps run in containers of the test models."""

from __future__ import annotations

import io
import json
import os
import re
import secrets
import shutil
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import docker
import psutil

from kilter.demo.airflow import Airflow, database_url, make_database
from kilter.services import Service, Services, executable, free_port
from kilter.settings import Settings
from kilter.stores.ledger import Ledger
from kilter.stores.objects import FileObjects
from kilter_airflow.operators import GPU_POOL
from kilter_airflow.runtimes.docker import hand_over

ROOT = Path(__file__).parents[2]
RESOURCES = "{cpus: 1, memory: 1g, pids: 128, timeout: 5m}"
MODELS = {
    "waiting": RESOURCES,
    "hasty": "{cpus: 1, memory: 1g, timeout: 4s}",
    "small": "{cpus: 1, memory: 100m}",
    "wants_gpu": "{cpus: 1, memory: 1g, gpu: 1}",
    "wants_gpu_or_cpu": "{cpus: 1, memory: 1g, gpu: 1, fallback: cpu}",
}
"""Test models: the waiting one under several names, with these resources."""
IMAGE = "kilter-step:engine-tests"
BYTECODE = shutil.ignore_patterns("__pycache__")
USER = "10001:10001" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}"
PATIENCE = 120.0
UNFINISHED = (None, "scheduled", "queued", "running", "deferred", "restarting", "up_for_retry")

Found = TypeVar("Found")


def wait_for(find: Callable[[], Found], what: str) -> Found:
    """Wait until `find` finds something, and return it."""
    deadline = time.monotonic() + PATIENCE
    while not (found := find()):
        assert time.monotonic() < deadline, f"waited {PATIENCE:g} s in vain for {what}"
        time.sleep(0.1)
    return found


class Live:
    """The installation and its Airflow.

    Args:
        home: its home folder, which must be empty.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.engine = docker.from_env()
        self.objects = FileObjects(home / "store")
        self._services = Services(home)
        self._port = free_port()
        self._mlflow_port = free_port()
        self._password = secrets.token_urlsafe(48)

    # set-up

    def start(self) -> None:
        """Make the test models, their image and the ledger, and start Airflow."""
        shutil.copytree(ROOT / "include/kilter", self.home / "include/kilter", ignore=BYTECODE)
        self._make_models()
        make_image(self.engine, self.home)
        Ledger(self.settings.ledger).migrate()
        for folder in ("store", "state"):
            hand_over(self.home / folder, USER)
        airflow = self.home / "airflow"
        airflow.mkdir()
        make_database(airflow)
        (airflow / "passwords.json").write_text(json.dumps({"admin": self._password}))
        shutil.copytree(ROOT / "tests/engine/dags", airflow / "dags")
        shutil.copy(ROOT / "dags/model_validation.py", airflow / "dags")
        command = [executable("airflow", "run 'make venv'"), "standalone"]
        service = Service("airflow", command, f"{self._url}/api/v2/version", self._environment())
        self._services.start(service)
        self._services.wait(service)
        self.airflow = Airflow(self._url, self._password, command[:1], self._environment())
        self.airflow.log_in()
        self.airflow._post("/api/v2/pools", {"name": GPU_POOL, "slots": 1})
        wanted = {"tests.reaper", *(f"{model}.extract" for model in MODELS)}
        wait_for(lambda: wanted <= self.airflow.dag_ids(), "the DAGs")

    def stop(self) -> None:
        """Stop Airflow, and remove what it left."""
        self._services.stop_all(lambda line: None)
        for container in self.containers():
            container.remove(force=True)
        self.engine.images.remove(IMAGE, force=True)

    def _make_models(self) -> None:
        for name, resources in MODELS.items():
            folder = self.home / "models" / name
            shutil.copytree(ROOT / "tests/models/waiting", folder, ignore=BYTECODE)
            text = (folder / "model.yaml").read_text().replace("name: waiting", f"name: {name}")
            assert RESOURCES in text
            (folder / "model.yaml").write_text(text.replace(RESOURCES, resources))

    @property
    def settings(self) -> Settings:
        """The installation's settings."""
        return Settings.from_environment(self._environment())

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _environment(self) -> dict[str, str]:
        airflow = self.home / "airflow"
        return {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            # The code as it was when the image was made: an edit meanwhile would make every step refuse to run.
            "PYTHONPATH": str(self.home / "include"),
            "KILTER_HOME": str(self.home),
            "KILTER_MLFLOW": f"http://127.0.0.1:{self._mlflow_port}",
            "KILTER_MODELS": str(self.home / "models"),
            "KILTER_STEP_IMAGE": IMAGE,
            "KILTER_STEP_USER": USER,
            "KILTER_RUNTIME": "docker",
            "AWS_SECRET_ACCESS_KEY": "not for steps on local objects",
            "AIRFLOW_HOME": str(airflow),
            "AIRFLOW__CORE__DAGS_FOLDER": str(airflow / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url(airflow),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self._port),
            "AIRFLOW__API__BASE_URL": self._url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._password,
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            # Silent workers and triggerers are noticed within seconds, not minutes.
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "1",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "1",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "3",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    # what tests do

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run; return its id."""
        return self.airflow.trigger(dag_id, conf)

    def question(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any]:
        """What a task asks a person, as the UI shows it."""
        found: dict[str, Any] = self.airflow._get(_question_path(dag_id, run_id, task_id))
        return found

    def answer(self, dag_id: str, run_id: str, task_id: str, option: str, reason: str) -> None:
        """Answer a task's question, as somebody does in the UI."""
        body = {"chosen_options": [option], "params_input": {"reason": reason}}
        self.airflow._answer(self.airflow._client.patch(_question_path(dag_id, run_id, task_id), json=body))

    def extract(self, model: str, year: int) -> str:
        """Extract the year before `year`; the source waits until `go(year)`."""
        return self.trigger(f"{model}.extract", start=f"{year - 1}-01-01T00:00:00Z", end=f"{year}-01-01T00:00:00Z")

    def go(self, year: int) -> None:
        """Let the sources that wait for this year go on."""
        self.objects.put(f"go/{year}", b"")

    def begun(self, year: int) -> int:
        """How often the source of this year began."""
        return len(self.objects.list(f"begun/{year}-"))

    def task(self, dag_id: str, run_id: str, task_id: str = "") -> dict[str, Any]:
        """The task instance of a run with one task, or the one named."""
        wanted = task_id or dag_id.partition(".")[2]
        return next(task for task in self.airflow.tasks(dag_id, run_id) if task["task_id"] == wanted)

    def wait_for_task(self, dag_id: str, run_id: str, *states: str, task_id: str = "") -> dict[str, Any]:
        """Wait until the task is in one of these states; return the task instance."""

        def reached() -> dict[str, Any] | None:
            task = self.task(dag_id, run_id, task_id)
            assert task["state"] in (*states, *UNFINISHED), f"{task['state']}: {self.log(dag_id, run_id)}"
            return task if task["state"] in states else None

        return wait_for(reached, f"{dag_id} {run_id} to be {' or '.join(states)}")

    def wait_for_note(self, dag_id: str, run_id: str, task_id: str) -> None:
        """Wait until the scheduler has taken note that the worker of the task's present try has ended."""
        run, task = re.escape(run_id), re.escape(task_id)
        tries = self.task(dag_id, run_id, task_id)["try_number"]
        note = re.compile(rf"Received executor event .*task_id='{task}', run_id='{run}', try_number={tries}\b")
        log = self.home / "logs/airflow.log"
        wait_for(lambda: note.search(log.read_text(errors="replace")), f"the scheduler's note of {task_id} in {run_id}")

    def clear(self, dag_id: str, run_id: str) -> None:
        """Clear the run's tasks, as somebody does in the UI."""
        body = {"dag_run_id": run_id, "dry_run": False, "only_failed": False, "reset_dag_runs": True}
        self.airflow._post(f"/api/v2/dags/{dag_id}/clearTaskInstances", body)

    def mark_failed(self, dag_id: str, run_id: str) -> None:
        """Mark the run's task as failed, as somebody does in the UI."""
        task_id = dag_id.partition(".")[2]
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.airflow._answer(self.airflow._client.patch(path, json={"new_state": "failed"}))

    def log(self, dag_id: str, run_id: str) -> str:
        """What the run's tasks logged, one attempt after the other."""
        folder = self.home / "airflow/logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        files = sorted(folder.rglob("attempt=*.log"))
        return "\n".join(_readable(line) for file in files for line in file.read_text().splitlines())

    def containers(self, run_id: str | None = None) -> list[Any]:
        """Containers of this installation, or of one run, running or not."""
        labels = [f"kilter.home={self.home}", *([f"kilter.run_id={run_id}"] if run_id else [])]
        found: list[Any] = self.engine.containers.list(all=True, filters={"label": labels})
        return found

    def running(self, dag_id: str, run_id: str, year: int) -> Any:
        """Wait until the run's source waits in its container; return the container."""
        wait_for(lambda: self.begun(year), f"the source of {year} in {run_id}")
        (container,) = self.containers(run_id)
        return container

    def processes(self, words: str) -> list[psutil.Process]:
        """Processes of this Airflow with these words in their command."""
        family = psutil.Process(self._services._process("airflow").pid).children(recursive=True)  # type: ignore[union-attr]
        alive = [process for process in family if process.status() != psutil.STATUS_ZOMBIE]
        return [process for process in alive if words in " ".join(process.cmdline())]

    def start_triggerer(self) -> None:
        """Start one more triggerer."""
        command = [executable("airflow", "run 'make venv'"), "triggerer", "--skip-serve-logs"]
        self._services.start(Service("triggerer", command, f"tcp://127.0.0.1:{free_port()}", self._environment()))

    def start_mlflow(self) -> None:
        """Start an MLflow server for the steps that talk to the registry."""
        url, store = self.settings.mlflow, self.home / "mlflow"
        store.mkdir()
        command = [executable("mlflow", "run 'make venv'"), "server", "--host", "127.0.0.1"]
        command += ["--port", str(self._mlflow_port), "--workers", "1", "--serve-artifacts"]
        command += ["--backend-store-uri", f"sqlite:///{store}/mlflow.db"]
        command += ["--artifacts-destination", f"file://{store}/artifacts"]
        service = Service(
            "mlflow", command, f"{url}/health", {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        )
        self._services.start(service)
        self._services.wait(service)

    def stop_mlflow(self) -> None:
        """Stop it."""
        self._services.stop("mlflow")


def _question_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails"


def make_image(engine: Any, home: Path) -> None:
    """The step image with the code and the models of this home, in folders of their own."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for part in ("include", "models"):
            tar.add(home / part, f"engine-tests/{part}")
    container = engine.containers.create("kilter-step:latest", ["--help"])
    container.put_archive("/opt", archive.getvalue())
    changes = ["ENV PYTHONPATH=/opt/engine-tests/include", "ENV KILTER_MODELS=/opt/engine-tests/models"]
    container.commit(*IMAGE.split(":"), changes=changes)
    container.remove()


def _readable(line: str) -> str:
    try:
        event = json.loads(line)
    except ValueError:
        return line
    causes = [detail["exc_value"] for detail in event.get("error_detail") or []]
    return " ".join([event["event"], *causes])
