"""What the demo runs: Airflow, MLflow, HAProxy and two model servers, and in which runtime steps run."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from kilter.demo.airflow import database_url, make_database
from kilter.errors import InputError, KilterError
from kilter.services import Service, Services, executable, free_port
from kilter.serving.haproxy import render
from kilter.settings import Settings
from kilter.spec import load_spec, model_folders
from kilter.stores.ledger import Ledger

Runtime = Literal["docker", "process"]

_MARK = "demo.json"
_IMAGES = ("step", "serving")
_STEP_USER = 10001
"""The user that steps run as when the demo itself runs as root."""
_SHARED = ("store", "state")
"""Folders of the home that step containers write to."""


@dataclass(frozen=True)
class Stack:
    """The demo's servers on one machine.

    Args:
        settings: where everything is.
        repository: the checkout, with its dags, plugins and include folders.
        airflow_port: port of Airflow's API server and UI.
        runtime: what steps run in.
    """

    settings: Settings
    repository: Path
    airflow_port: int
    runtime: Runtime
    images: Mapping[str, str]
    """Environment variables that name the images by digest; empty in the process runtime."""

    @property
    def airflow_url(self) -> str:
        return f"http://127.0.0.1:{self.airflow_port}"

    @property
    def password(self) -> str:
        """Password of Airflow's user `admin`, made at random on first use."""
        password = self._secret("admin_password")
        file = self.settings.home / "airflow" / "passwords.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps({"admin": password}))
        return password

    def _secret(self, name: str) -> str:
        """A secret of this installation, made at random on first use and readable by its owner alone."""
        file = self.settings.home / "airflow" / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(24))
        return file.read_text()

    def prepare(self) -> None:
        """Make the folders, the ledger and HAProxy's configuration."""
        home = self.settings.home
        for folder in (*_SHARED, "airflow", "mlflow", "haproxy"):
            (home / folder).mkdir(parents=True, exist_ok=True)
        (home / _MARK).write_text("{}")
        make_database(home / "airflow")
        Ledger(self.settings.ledger).migrate()
        specs = [load_spec(folder) for folder in model_folders(self.settings.models)]
        (home / "haproxy" / "haproxy.cfg").write_text(render(self.settings, specs))
        if self.runtime == "docker" and os.geteuid() == 0:
            for folder in _SHARED:
                _give(home / folder, _STEP_USER)

    def services(self) -> list[Service]:
        """The servers, in the order in which they are started."""
        return [self._airflow(), self._mlflow(), self._server("champion"), self._server("canary"), self._haproxy()]

    def environment(self) -> dict[str, str]:
        """Environment of Airflow's parts."""
        airflow = self.settings.home / "airflow"
        return {
            **self.settings.to_environment(),
            "KILTER_RUNTIME": self.runtime,
            **self.images,
            "KILTER_STEP_USER": f"{_STEP_USER}:{_STEP_USER}" if os.geteuid() == 0 else f"{os.getuid()}:{os.getgid()}",
            "KILTER_GIT_COMMIT": _git_commit(self.repository),
            # standalone starts its parts as 'airflow …' and finds them here.
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "AIRFLOW_HOME": str(airflow),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.repository / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.repository / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(airflow / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.airflow_url}/execution/",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database_url(airflow),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.airflow_port),
            "AIRFLOW__API__BASE_URL": self.airflow_url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": self._secret("jwt_secret"),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            # A finished task is noticed after at most this many seconds, 1 by default, before the next one starts.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }

    def _airflow(self) -> Service:
        command = [executable("airflow", "run 'make venv'"), "standalone"]
        return self._service("airflow", command, f"{self.airflow_url}/api/v2/version", self.environment())

    def _mlflow(self) -> Service:
        url, home = urlsplit(self.settings.mlflow), self.settings.home / "mlflow"
        command = [
            executable("mlflow", "run 'make venv'"),
            "server",
            "--host",
            str(url.hostname),
            "--port",
            str(url.port),
        ]
        command += ["--backend-store-uri", f"sqlite:///{home}/mlflow.db", "--workers", "1", "--serve-artifacts"]
        command += ["--artifacts-destination", f"file://{home}/artifacts"]
        # Its job workers, which nothing here uses, would take a gigabyte.
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        return self._service("mlflow", command, f"{self.settings.mlflow}/health", quiet)

    def _server(self, role: Literal["champion", "canary"]) -> Service:
        url = getattr(self.settings, role)
        parts = urlsplit(url)
        command = [sys.executable, "-m", "kilter", "serve", "--role", role]
        command += ["--host", str(parts.hostname), "--port", str(parts.port)]
        return self._service(f"server-{role}", command, f"{url}/ping", self.settings.to_environment())

    def _haproxy(self) -> Service:
        cure = "install it with the system's package manager, such as 'apt-get install haproxy'"
        command = [executable("haproxy", cure), "-db", "-f", str(self.settings.home / "haproxy" / "haproxy.cfg")]
        return self._service("haproxy", command, f"tcp://{self.settings.router}", {})

    def _service(self, name: str, command: list[str], ready: str, environment: Mapping[str, str]) -> Service:
        return Service(name, command, ready, {**os.environ, **environment})


def choose_runtime(wanted: Literal["auto", "docker", "process"]) -> tuple[Runtime, str]:
    """Which runtime steps run in, and why.

    Raises:
        InputError: Docker was asked for and no engine answers.
    """
    if wanted == "process":
        return "process", "asked for"
    answer = _engine()
    if answer.startswith("engine"):
        return "docker", answer
    if wanted == "docker":
        raise InputError(f"no Docker engine: {answer}: start one ('make engine' prepares a Debian machine)")
    return "process", f"{answer} ('make engine' prepares a Debian machine)"


def _engine() -> str:
    """`engine <version> answers`, or why none does."""
    client = shutil.which("docker")
    if client is None:
        return "no docker client on the PATH"
    asked = subprocess.run(
        [client, "version", "--format", "{{.Server.Version}}"], capture_output=True, text=True, check=False
    )
    if asked.returncode:
        return f"no Docker engine answers: {asked.stderr.strip().splitlines()[-1]}"
    return f"engine {asked.stdout.strip()} answers"


def build_images(repository: Path) -> dict[str, str]:
    """Build the step and serving images (quick when nothing changed); return the variables that pin them by digest.

    Raises:
        KilterError: the build failed; its own output says why.
    """
    if subprocess.run([str(repository / "docker" / "build"), *_IMAGES], check=False).returncode:
        raise KilterError("the images could not be built: see above; '--runtime process' does without them")
    return {f"KILTER_{name.upper()}_IMAGE": _image_digest(f"kilter-{name}:latest") for name in _IMAGES}


def _image_digest(name: str) -> str:
    command = [executable("docker", "start a Docker engine"), "image", "inspect", "--format", "{{.Id}}", name]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def take_down(settings: Settings, report: Callable[[str], None]) -> None:
    """Stop the demo's servers, and remove step containers that ended workers left behind."""
    Services(settings.home).stop_all(report)
    client = shutil.which("docker")
    if client is None:
        return
    label = f"label=kilter.home={settings.home}"
    found = subprocess.run([client, "ps", "-aq", "--filter", label], capture_output=True, text=True, check=False)
    for container in found.stdout.split():
        subprocess.run([client, "rm", "-f", container], capture_output=True, check=False)
        report(f"removed container {container}")


def clean(home: Path) -> bool:
    """Remove an earlier demo's home; return whether there was one.

    Raises:
        InputError: the folder holds something that no demo made.
    """
    if not home.exists() or not any(home.iterdir()):
        return False
    if not (home / _MARK).exists():
        raise InputError(
            f"{home} was not made by a demo and is not empty: move it away, or set KILTER_HOME to another folder"
        )
    shutil.rmtree(home)
    return True


def _give(folder: Path, user: int) -> None:
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user)


def _git_commit(repository: Path) -> str:
    command = ["git", "-C", str(repository), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
