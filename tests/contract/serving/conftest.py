"""A real installation on free ports: a store, two model servers, HAProxy, and models to deploy."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import xgboost
import yaml

from kilter.encoding import Signature
from kilter.serving.haproxy import render
from kilter.settings import Settings
from kilter.spec import ModelSpec, load_spec
from kilter.stores.objects import FileObjects, Manifest, commit_dataset
from kilter.stores.router import Router
from kilter.stores.servers import Servers

MODEL = "flight_delay"
OTHER = "other_model"
STICKY = "x-passenger"
"""Requests for the other model are answered by one version for each value of this header."""
SPEC = Path(__file__).parents[3] / "include/models" / MODEL
ROW = {
    "hour": 17,
    "weekday": 4,
    "origin": "JFK",
    "carrier": "B6",
    "distance": 1069,
    "origin_late_share": 0.2,
    "carrier_late_share": None,
    "route_late_share": 0.25,
    "temperature": 40.5,
    "dew_point": 30,
    "humidity": 60.1,
    "wind_speed": 10.2,
    "precipitation": 0,
    "pressure": 1012.9,
    "visibility": 10,
}
KEYS = {"flight_id": "B6-583-20130103", "scheduled_departure": "2013-01-03T17:29:00-05:00"}


TASKS: dict[str, dict[str, Any]] = {
    "multiclass": {
        "label": {"classes": ["never", "on time", "late"]},
        "evaluation": {"metrics": ["log_loss"]},
        "gate": {"thresholds": {"log_loss": 5}},
    },
    "regression": {
        "label": {},
        "evaluation": {"metrics": ["r2"]},
        "gate": {"thresholds": {"r2": -9}},
    },
}
"""What the flights' spec becomes with another task."""


def write_spec(models: Path, name: str, task: str) -> None:
    """A model folder with the flights' features and another task."""
    content = yaml.safe_load((SPEC / "model.yaml").read_text())
    changed = TASKS[task] | {"name": name, "task": task, "label": content["label"] | TASKS[task]["label"]}
    (models / name).mkdir(exist_ok=True)
    (models / name / "model.yaml").write_text(yaml.safe_dump(content | changed))


def split(*rows: dict) -> dict:
    """Rows as the body of an invocation."""
    return {"dataframe_split": {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}}


def make_model(objects: FileObjects, spec: ModelSpec, seed: int) -> Manifest:
    """Train and commit a small model under the spec's signature."""
    signature = Signature.of(spec)
    random = np.random.default_rng(seed)
    rows = random.random((200, len(signature.names)), dtype=np.float32)
    for position, feature in enumerate(signature.features):
        if feature.categories:
            rows[:, position] = random.integers(0, len(feature.categories), 200)
    classes = max(2, len(signature.classes))
    parameters, labels = {
        "binary": ({"objective": "binary:logistic"}, random.integers(0, 2, 200)),
        "multiclass": ({"objective": "multi:softprob", "num_class": classes}, random.integers(0, classes, 200)),
        "regression": ({"objective": "reg:squarederror"}, 1000 * random.random(200)),
    }[signature.task]
    data = xgboost.DMatrix(
        rows,
        label=labels,
        feature_names=list(signature.names),
        feature_types=signature.feature_types,
        enable_categorical=True,
    )
    booster = xgboost.train({**parameters, "max_depth": 3, "nthread": 1}, data, 10)
    files = {"model.ubj": bytes(booster.save_raw("ubj")), "signature.json": signature.model_dump_json().encode()}
    return commit_dataset(objects, f"models/{spec.name}", files, {"trainer": "xgboost"})


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20) -> None:
    """Wait for a condition; fail by its name."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


class Installation:
    """Two model servers and HAProxy on free ports, over a store below `home`."""

    def __init__(self, home: Path) -> None:
        runtime, endpoint, champion, canary = free_ports(4)
        models = home / "models"
        for name in (MODEL, OTHER):
            shutil.copytree(SPEC, models / name)
        other = models / OTHER / "model.yaml"
        text = other.read_text().replace(f"name: {MODEL}", f"name: {OTHER}")
        other.write_text(text.replace("canary:", f"canary:\n  sticky_header: {STICKY}"))
        self.settings = Settings.from_environment(
            {
                "KILTER_HOME": str(home),
                "KILTER_MODELS": str(models),
                "KILTER_ROUTER": f"127.0.0.1:{runtime}",
                "KILTER_ENDPOINT": f"http://127.0.0.1:{endpoint}",
                "KILTER_CHAMPION": f"http://127.0.0.1:{champion}",
                "KILTER_CANARY": f"http://127.0.0.1:{canary}",
            }
        )
        self.home = home
        self.spec = load_spec(models / MODEL)
        self.objects = FileObjects(home / "store")
        self.router = Router(self.settings.router)
        self.servers = Servers(self.objects, {"champion": self.settings.champion, "canary": self.settings.canary})
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        self.start_haproxy()
        for role in ("champion", "canary"):
            self.start_server(role)
        for role in ("champion", "canary"):
            self.wait_for_server(role)

    def start_haproxy(self) -> None:
        config = self.home / "haproxy.cfg"
        specs = [load_spec(self.settings.models / name) for name in (MODEL, OTHER)]
        config.write_text(render(self.settings, specs))
        self._spawn(
            "haproxy", [shutil.which("haproxy", path="/usr/sbin:/usr/bin") or "haproxy", "-db", "-f", str(config)]
        )
        wait_until(lambda: self._answers(f"{self.settings.endpoint}/", "haproxy"), "HAProxy answers")

    def start_server(self, role: str) -> None:
        port = str(httpx.URL(self.url(role)).port)
        self._spawn(role, [sys.executable, "-m", "kilter", "serve", "--role", role, "--port", port])

    def wait_for_server(self, role: str) -> None:
        wait_until(lambda: self._answers(f"{self.url(role)}/ping", role), f"the {role} server answers")

    def url(self, role: str) -> str:
        return str(getattr(self.settings, role))

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        self.processes[name].send_signal(number)
        self.processes[name].wait(timeout=20)

    def stop(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(timeout=20)

    def log(self, name: str) -> str:
        return (self.home / f"{name}.log").read_text()

    def deploy(self, role: str, seed: int, version: int | None = None) -> Manifest:
        """Make a model and deploy it as version `seed`; wait until HAProxy sends to it."""
        made = make_model(self.objects, self.spec, seed)
        self.servers.deploy(role, MODEL, version or seed, made.key, made.digest)
        wait_until(lambda: self.router.counters(MODEL)[role].up, f"HAProxy finds the {role} up")
        return made

    def _spawn(self, name: str, command: list[str]) -> None:
        environment = os.environ | self.settings.to_environment()
        with (self.home / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)

    def _answers(self, url: str, name: str) -> bool:
        assert self.processes[name].poll() is None, f"{name} has ended: {self.log(name)}"
        try:
            httpx.get(url)
        except httpx.HTTPError:
            return False
        return True


class Traffic:
    """Requests without pause through HAProxy; keeps every answer and every failure."""

    def __init__(self, endpoint: str, clients: int = 2) -> None:
        self._url = f"{endpoint}/models/{MODEL}/invocations"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]
        self.versions: list[int] = []
        self.failures: list[str] = []

    def __enter__(self) -> Traffic:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        body = split({**KEYS, **ROW})
        with httpx.Client() as client:
            while not self._stop.is_set():
                try:
                    answer = client.post(self._url, json=body)
                    answer.raise_for_status()
                    self.versions.append(answer.json()["model_version"])
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("installation"))
    try:
        made.start()
        yield made
    finally:
        made.stop()
