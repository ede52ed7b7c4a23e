"""A temporary installation on free ports, to measure on: the demo's own servers, gone again afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins"))

from rich.console import Console

from kilter.demo import MODELS
from kilter.demo.airflow import Airflow
from kilter.demo.loop import Loop
from kilter.demo.stack import Stack, build_images, choose_runtime, take_down
from kilter.services import Services, executable, free_port
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.stores.ledger import Ledger
from kilter.stores.objects import open_objects
from kilter.stores.registry import MlflowRegistry
from kilter_airflow.settings import RuntimeSettings

ROOT = Path(__file__).resolve().parents[2]
_IMAGES = ("KILTER_STEP_IMAGE", "KILTER_SERVING_IMAGE")
console = Console(highlight=False, soft_wrap=True)


class PausingAirflow(Airflow):
    """Airflow, of which a DAG can be kept from running while others are measured."""

    def pause(self, dag_id: str) -> None:
        """Leave this DAG's runs queued."""
        self._answer(self._client.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": True}))


@dataclass(frozen=True)
class Installation:
    """What a benchmark works with; `loop` drives Airflow, which answers only where it was asked for."""

    loop: Loop
    airflow: PausingAirflow
    runtime: RuntimeSettings


@contextmanager
def installation(with_airflow: bool) -> Iterator[Installation]:
    """Start the servers in a home of their own, and stop and remove everything at the end, also of a failure.

    The images are built from this checkout, unless KILTER_STEP_IMAGE and KILTER_SERVING_IMAGE name others.

    Raises:
        KilterError: no engine answers, the images cannot be built, or a server does not come up.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    choose_runtime("docker")
    images = {name: os.environ[name] for name in _IMAGES if name in os.environ} or build_images(ROOT)
    settings = _settings(Path(tempfile.mkdtemp(prefix="kilter-benchmark-")))
    stack = Stack(settings, ROOT, free_port(), "docker", images)
    try:
        yield _start(stack, with_airflow)
    finally:
        take_down(settings, lambda line: None)
        shutil.rmtree(settings.home)


def say(line: str) -> None:
    """Show progress."""
    console.print(line, style="dim", markup=False)


def _settings(home: Path) -> Settings:
    places: dict[str, Any] = {"HOME": home, "MODELS": ROOT / "include/models", "ROUTER": f"127.0.0.1:{free_port()}"}
    servers = {name: f"http://127.0.0.1:{free_port()}" for name in ("MLFLOW", "ENDPOINT", "CHAMPION", "CANARY")}
    return Settings.from_environment({f"KILTER_{name}": str(value) for name, value in {**places, **servers}.items()})


def _start(stack: Stack, with_airflow: bool) -> Installation:
    password = stack.password
    stack.prepare()
    services, settings = Services(stack.settings.home), stack.settings
    started = [service for service in stack.services() if with_airflow or service.name != "airflow"]
    for service in started:
        services.start(service)
    for service in started:
        services.wait(service)
    command = [executable("airflow", "run 'make venv'")]
    airflow = PausingAirflow(stack.airflow_url, password, command, stack.environment())
    if with_airflow:
        airflow.log_in()
    loop = Loop(
        spec=load_spec(settings.models / MODELS[0]),
        settings=settings,
        airflow=airflow,
        ledger=Ledger(settings.ledger),
        registry=MlflowRegistry(settings.mlflow),
        objects=open_objects(settings.objects),
        say=say,
    )
    return Installation(loop, airflow, RuntimeSettings.from_environment(stack.environment()))
