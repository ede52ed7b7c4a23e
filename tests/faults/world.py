"""A real installation whose processes are started again when they die, with traffic through it at a fixed rate."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.contract.serving.conftest import MODEL, Installation, make_model, wait_until

from kilter.errors import UnavailableError
from kilter.services import Service, Services, executable, free_port
from kilter.stores.ledger import Ledger
from kilter.stores.registry import MlflowRegistry, PipelineRun

from .burst import LARGE_ROWS, body
from .traffic import Traffic

RESTART_SECONDS = 0.2
"""After which a dead process is started again; systemd's RestartSec is 0.1 s and Docker's first pause 0.1 s."""
VERSIONS = 3
"""So many are rolled out in turn: one that is neither champion nor candidate must never answer."""
_CANARY = {
    "weights": [25, 50, 100],
    "minimum_requests": 20,
    "maximum_duration": "20s",
    "inconclusive": "roll_back",
    "second_rollout": "supersede",
    "allowed_error_rate": 0.2,
    "allowed_latency_ratio": 4,
    "latency_floor": "200ms",
    "allowed_score_shift": None,
}
"""Rules by which some fifty requests tell, of models that score as they like."""


class World(Installation):
    """HAProxy, two model servers, MLflow, the ledger, three versions and traffic.

    Args:
        home: an empty folder for all of it.
        rate: requests a second.
    """

    def __init__(self, home: Path, rate: float) -> None:
        super().__init__(home)
        self._mlflow = free_port()
        self.settings = self.settings.model_copy(update={"mlflow": f"http://127.0.0.1:{self._mlflow}"})
        self._services = Services(home)
        self._commands: dict[str, list[str]] = {}
        self._stopping = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        bodies = {"small": body(1), "large": body(LARGE_ROWS)}
        self.traffic = Traffic(f"{self.settings.endpoint}/models/{MODEL}/invocations", rate, bodies, home)
        self.ledger = Ledger(self.settings.ledger)

    def start(self) -> None:
        """Start everything and register the versions; no version is champion yet."""
        self._write_rules()
        service = self._mlflow_service()
        self._services.start(service)
        super().start()
        self._supervisor.start()
        self.ledger.migrate()
        self._services.wait(service)
        self.registry = MlflowRegistry(self.settings.mlflow)
        for seed in range(1, VERSIONS + 1):
            self._register(seed)

    def stop(self) -> None:
        self._stopping.set()
        if self._supervisor.is_alive():
            self._supervisor.join()
        super().stop()
        self._services.stop_all(lambda line: None)

    def kill_all(self, names: Sequence[str]) -> None:
        """SIGKILL for processes at once; returns when they are gone. The supervisor starts them again."""
        processes = [self.processes[name] for name in names]
        for process in processes:
            process.kill()
        for process in processes:
            process.wait(timeout=20)

    def is_well(self) -> bool:
        """Whether HAProxy answers, and every server with what it shall hold, and HAProxy knows that."""
        counters = self.router.counters(MODEL)
        wanted = {role: self.servers.deployed(role, MODEL) for role in counters}
        return all(
            counters[role].up and self.serving(role) == deployment.version
            for role, deployment in wanted.items()
            if deployment is not None
        )

    def serving(self, role: str) -> int | None:
        """The version with which a role's server answers, asked from itself."""
        try:
            answer = httpx.get(f"{self.url(role)}/models/{MODEL}/ready", timeout=5)
        except httpx.HTTPError:
            return None
        return answer.json()["version"] if answer.status_code == 200 else None

    def _supervise(self) -> None:
        while not self._stopping.wait(0.02):
            if dead := [name for name in self._commands if self.processes[name].poll() is not None]:
                time.sleep(RESTART_SECONDS)
                for name in dead:
                    super()._spawn(name, self._commands[name])

    def _spawn(self, name: str, command: list[str]) -> None:
        super()._spawn(name, command)
        self._commands[name] = command

    def _write_rules(self) -> None:
        path = self.settings.models / MODEL / "model.yaml"
        document: dict[str, Any] = yaml.safe_load(path.read_text())
        document["canary"] = _CANARY
        path.write_text(yaml.safe_dump(document, sort_keys=False))

    def _mlflow_service(self) -> Service:
        command = [executable("mlflow", "run 'make venv'"), "server", "--host", "127.0.0.1"]
        command += ["--port", str(self._mlflow), "--workers", "1", "--serve-artifacts"]
        command += ["--backend-store-uri", f"sqlite:///{self.home}/mlflow.db"]
        command += ["--artifacts-destination", f"file://{self.home}/artifacts"]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return Service("mlflow", command, f"{self.settings.mlflow}/health", environment)

    def _register(self, seed: int) -> None:
        made = make_model(self.objects, self.spec, seed)
        none: dict[str, Any] = dict.fromkeys(("name", "dataset", "dataset_digest", "snapshot", "evaluation"), "none")
        run = PipelineRun(
            model=MODEL, key=made.key, digest=made.digest, parameters={}, metrics={}, tags={}, dataset_rows=0, **none
        )
        self.registry.register(run, self.settings.models)


def wait_until_well(world: World, seconds: float) -> None:
    """Wait until nothing is missing any more; fail after `seconds`."""

    def well() -> bool:
        with suppress(UnavailableError):
            return world.is_well()
        return False

    wait_until(well, "the installation is well again", seconds)
