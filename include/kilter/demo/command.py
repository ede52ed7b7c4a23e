"""`kilter demo up` and `kilter demo down`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console

from kilter.demo import summary
from kilter.demo.airflow import Airflow
from kilter.demo.loop import Loop
from kilter.demo.stack import Stack, build_images, choose_runtime, clean, take_down
from kilter.services import Services, executable
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.stores.ledger import Ledger
from kilter.stores.objects import open_objects
from kilter.stores.registry import MlflowRegistry

_FIRST = datetime(2013, 1, 1, tzinfo=UTC)
_LIVE = datetime(2013, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Options:
    """What a person may choose; `until` is the first month that is not lived through."""

    model: str
    until: datetime
    runtime: Literal["auto", "docker", "process"]
    airflow_port: int


def up(options: Options, settings: Settings) -> None:
    """Start everything from a clean state, drive the loop, and tell what came of it.

    Raises:
        KilterError: any part failed. What was started stays up, to be looked at.
    """
    console = Console(highlight=False, soft_wrap=True)
    started = time.monotonic()

    def say(line: str) -> None:
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        console.print(f"[dim]{minutes}:{seconds:02d}[/dim]  {line.replace('[', chr(92) + '[')}")

    repository = Path.cwd()
    runtime, reason = choose_runtime(options.runtime)
    say(f"steps run in the {runtime} runtime: {reason}")
    take_down(settings, say)
    if clean(settings.home):
        say(f"removed the state of an earlier demo in {settings.home}")
    images = build_images(repository) if runtime == "docker" else {}
    stack = Stack(_with_one_model(settings, options.model), repository, options.airflow_port, runtime, images)
    loop = _start(stack, options.model, say)
    began = time.monotonic()
    loop.wait_for_dags()
    say("Airflow has parsed the DAGs")
    loop.bootstrap(_FIRST, _LIVE)
    loop.live(_LIVE, options.until)
    facts = summary.collect(loop, time.monotonic() - began)
    summary.save(facts, loop)
    summary.show(facts, console, stack.airflow_url, stack.password, settings.mlflow)
    if len(facts["versions"]) < 2:
        console.print(
            "No window led to a retraining yet, so the champion is the first one: to live longer, see '--until'."
        )


def down(settings: Settings) -> None:
    """Stop what `up` started."""
    take_down(settings, print)


def _with_one_model(settings: Settings, model: str) -> Settings:
    """The same installation with the demo's model alone: DAGs of others that begin with Airflow would hold it up in SQLite."""
    models = settings.home / "models"
    models.mkdir(parents=True, exist_ok=True)
    (models / model).symlink_to(settings.models / model)
    return settings.model_copy(update={"models": models})


def _start(stack: Stack, model: str, say: Callable[[str], None]) -> Loop:
    stack.prepare()
    password = stack.password
    services = Services(stack.settings.home)
    servers = stack.services()
    for service in servers:
        services.start(service)
    for service in servers:
        services.wait(service)
        say(f"{service.name} answers at {service.ready}")
    airflow = Airflow(stack.airflow_url, password, [executable("airflow", "run 'make venv'")], stack.environment())
    airflow.log_in()
    airflow.make_pool("gpu", 1)
    settings = stack.settings
    return Loop(
        spec=load_spec(settings.models / model),
        settings=settings,
        airflow=airflow,
        ledger=Ledger(settings.ledger),
        registry=MlflowRegistry(settings.mlflow),
        objects=open_objects(settings.objects),
        say=say,
    )
