"""A real serving container that holds one candidate, for the time of its validation."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from kilter.errors import InputError, KilterError, UnavailableError
from kilter.step import RunInfo, StepInfo
from kilter_airflow.access import access_of
from kilter_airflow.catalogue import spec_of
from kilter_airflow.conditions import Conditional
from kilter_airflow.job import task_labels
from kilter_airflow.settings import RuntimeSettings

if TYPE_CHECKING:
    from kilter.services import Services
    from kilter_airflow.runtimes.docker import Engine

PORT = 8901
"""Where a server listens in a network of its own."""
GRACE = 2
"""Seconds a server gets to end."""
_OBJECTS_ALONE = StepInfo(stores=frozenset({"objects"}))
_WITH_LOOK_UPS = StepInfo(stores=frozenset({"objects", "online"}))


class StartServerOperator(Conditional):
    """Start the serving image with one version of one model, and return its address.

    The server gets the same hardening as a step, the memory of `gate.serving_fitness.memory` and no more, and the object
    store for reading only: what it logs is lost with it. Where the model looks features up, so it gets the online store. In the `process` runtime it is a plain process.

    A candidate that takes too long or too much memory to load is no fault of this task: the address is returned, and
    the checks find nobody there.

    Args:
        model: name of the model.
        version: version in the registry; templated.
        only_if: facts of which one must hold, else the task is skipped.
    """

    template_fields: Sequence[str] = ("model", "version")
    ui_color = "#dfeaf5"

    def __init__(self, *, model: str, version: str | int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.version = version
        self._remove: Callable[[], None] | None = None

    def execute(self, context: Context) -> str:
        """Start the server, wait until it answers, and return its base URL."""
        try:
            return self._start(context)
        except InputError as error:
            raise AirflowFailException(f"{type(error).__name__}: {error}") from None
        except KilterError as error:
            raise AirflowException(f"{type(error).__name__}: {error}") from error

    def on_kill(self) -> None:
        """Remove the server that is being started."""
        if self._remove is not None:
            self._remove()

    def _start(self, context: Context) -> str:
        settings = RuntimeSettings.from_environment(os.environ)
        held = _held(self.model, int(self.version), settings)
        server = _open(settings, context["ti"], self.task_id)
        self._remove = server.remove
        server.remove()  # of an earlier try
        address = server.start(self.model, held)
        wanted = spec_of(self.model).gate.serving_fitness
        try:
            answers = _answers(f"{address}/ping", server, wanted.ready_within.total_seconds())
        except BaseException:
            for line in server.last_lines():
                self.log.info("server: %s", line)
            server.remove()
            raise
        if answers:
            self.log.info("%s answers at %s", server, address)
        elif server.out_of_memory():
            self.log.warning("%s took more than %s of memory to load the candidate", server, wanted.memory)
        else:
            self.log.warning("%s does not answer at %s within %s", server, address, wanted.ready_within)
        return address


class StopServerOperator(BaseOperator):
    """Show what the server logged, and remove it; fine when there is none.

    Args:
        server: id of the task that started it.
    """

    ui_color = "#dfeaf5"

    def __init__(self, *, server: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.server = server

    def execute(self, context: Context) -> None:
        """Remove the server of this run."""
        try:
            server = _open(RuntimeSettings.from_environment(os.environ), context["ti"], self.server)
            for line in server.last_lines():
                self.log.info("server: %s", line)
            server.remove()
        except KilterError as error:
            raise AirflowException(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class ContainerServer:
    """A server in a container, found by its labels."""

    engine: Engine
    settings: RuntimeSettings
    run: RunInfo

    def start(self, model: str, held: str) -> str:
        """Start it and return its address."""
        from kilter.services import free_port
        from kilter_airflow.runtimes.docker import Container, mount

        spec, settings = spec_of(model), self.settings
        info = _WITH_LOOK_UPS if spec.looked_up else _OBJECTS_ALONE
        access = access_of(info, spec, settings, os.environ, calls=True)
        shared = settings.step_network == "host"
        port = free_port() if shared else PORT
        host = "127.0.0.1" if shared else "0.0.0.0"
        container = Container(
            image=self.engine.image_digest(settings.serving_image),
            command=_command(held, host, port),
            environment={**access.environment, "HOME": "/tmp", "PYTHONUNBUFFERED": "1"},
            labels={**self._labels, "kilter.server": model},
            user=settings.step_user,
            mounts=tuple(mount(folder, settings, read_only=True) for folder in access.folders),
            network=settings.step_network,
            resources=spec.resources.model_copy(update={"memory": spec.gate.serving_fitness.memory}),
        )
        identity = self.engine.create(container)
        self.engine.start(identity)
        return f"http://{host if shared else identity[:12]}:{port}"

    def ended(self) -> bool:
        """Whether it is not running any more."""
        return all(found["State"] != "running" for found in self.engine.find(self._labels))

    def out_of_memory(self) -> bool:
        """Whether it was ended because it took more memory than it may."""
        return any(self.engine.out_of_memory(found["Id"]) for found in self.engine.find(self._labels))

    def last_lines(self) -> list[str]:
        """The end of its log."""
        return [line for found in self.engine.find(self._labels) for line in self.engine.last_lines(found["Id"])]

    def remove(self) -> None:
        """Stop and remove it."""
        for found in self.engine.find(self._labels):
            self.engine.remove(found["Id"], grace=GRACE)

    @property
    def _labels(self) -> dict[str, str]:
        return dict(task_labels(self.run, -1, self.settings.stores.home))

    def __str__(self) -> str:
        return f"container of {self.settings.serving_image}"


@dataclass(frozen=True)
class ProcessServer:
    """A server as a plain process of this machine."""

    settings: RuntimeSettings
    name: str

    def start(self, model: str, held: str) -> str:
        """Start it and return its address."""
        from kilter.services import Service, free_port

        port = free_port()
        url = f"http://127.0.0.1:{port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        environment |= self.settings.stores.to_environment()
        command = [sys.executable, "-m", "kilter", *_command(held, "127.0.0.1", port)]
        self._services.start(Service(self.name, command, url, environment))
        return url

    def ended(self) -> bool:
        """Whether it is not running any more."""
        return self.name not in self._services.running()

    def out_of_memory(self) -> bool:
        """Never known of a plain process, which has no limit of its own."""
        return False

    def last_lines(self) -> list[str]:
        """The end of its log."""
        return self._services.last_lines(self.name)

    def remove(self) -> None:
        """Stop it: asked first, killed when it takes long."""
        self._services.stop(self.name)

    @property
    def _services(self) -> Services:
        from kilter.services import Services

        return Services(self.settings.stores.home)

    def __str__(self) -> str:
        return "server process"


def _open(settings: RuntimeSettings, task: Any, task_id: str) -> ContainerServer | ProcessServer:
    """The server that the task `task_id` of this run starts."""
    if settings.runtime == "process":
        name = f"server-{task.dag_id}-{task.run_id}"
        return ProcessServer(settings, "".join(letter if letter.isalnum() else "-" for letter in name))
    from kilter_airflow.runtimes.docker import connect

    return ContainerServer(connect(), settings, RunInfo(dag_id=task.dag_id, run_id=task.run_id, task_id=task_id))


def _held(model: str, version: int, settings: RuntimeSettings) -> str:
    """What the server shall hold, as `kilter serve --hold` wants it."""
    from kilter.stores.registry import MlflowRegistry

    found = MlflowRegistry(settings.stores.mlflow).version(model, version)
    return f"{model}:{version}:{found.digest}"


def _command(held: str, host: str, port: int) -> list[str]:
    return ["serve", "--role", "canary", "--hold", held, "--host", host, "--port", str(port)]


def _answers(url: str, server: ContainerServer | ProcessServer, within: float) -> bool:
    """Wait until the server answers; False when it does not within so many seconds, or ran out of memory.

    Raises:
        UnavailableError: it ended for another reason.
    """
    import httpx

    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return True
        except httpx.HTTPError:
            pass
        if server.ended():
            if server.out_of_memory():
                return False
            raise UnavailableError(f"the {server} ended before it answered: see its log above")
        time.sleep(0.1)
    return False
