"""The `docker` runtime: hardened containers that outlive a killed task and are found again by their labels."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from logging import Logger
from pathlib import Path
from typing import Any

from docker import APIClient
from docker.errors import APIError, DockerException, ImageNotFound, NotFound
from docker.types import DeviceRequest, LogConfig, Mount
from requests import RequestException

from kilter.errors import DeviceError, InputError, UnavailableError
from kilter.spec import Resources
from kilter_airflow.gpus import GpuLender
from kilter_airflow.job import LAST_LINES, Ended, StepJob, task_labels
from kilter_airflow.settings import RuntimeSettings

CPU_PERIOD = 100_000
"""Microseconds in which a container may use its share of the CPUs."""
LEASE_LABEL = "kilter.lease"
"""Owner of the GPUs that a container was given."""
_ENDED = frozenset({"exited", "dead"})
_NO_GPU = ("could not select device driver", "failed to discover GPU vendor from CDI", "nvidia-container-cli")
_NO_SUCH_GPU = "unknown device"


@dataclass(frozen=True)
class Container:
    """A container to start. Everything else about it is the same for all: see `Engine._host_config`."""

    image: str
    command: list[str]
    environment: Mapping[str, str]
    labels: Mapping[str, str]
    user: str
    mounts: tuple[Mount, ...]
    network: str
    resources: Resources
    gpus: tuple[str, ...] = ()


class Engine:
    """The few things that Kilter asks of a container engine.

    Args:
        cli: docker's low-level client.
    """

    words = "this Docker engine"

    def __init__(self, cli: APIClient) -> None:
        self._cli = cli

    def identity(self) -> str:
        """The engine's own id, the same for whoever asks it.

        Raises:
            UnavailableError: it does not answer.
        """
        with _answered():
            return str(self._cli.info()["ID"])

    def holds(self, owner: str) -> bool:
        """Whether a container with this owner's GPUs may be using them, or is about to."""
        return any(found["State"] not in _ENDED for found in self.find({LEASE_LABEL: owner}))

    def image_digest(self, name: str) -> str:
        """The content digest of an image, by which containers are started; pulled where it is missing.

        Raises:
            UnavailableError: it is neither here nor in its registry.
        """
        try:
            return str(self._cli.inspect_image(name)["Id"])
        except ImageNotFound:
            pass
        try:
            self._cli.pull(name)
            return str(self._cli.inspect_image(name)["Id"])
        except APIError as error:
            raise UnavailableError(
                f"image '{name}' is not on this engine and cannot be pulled ({error.explanation}): "
                "build it with 'make images', or set KILTER_STEP_IMAGE and KILTER_SERVING_IMAGE"
            ) from error

    def find(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Containers with all these labels, running or not.

        Raises:
            UnavailableError: the engine does not answer.
        """
        wanted = [f"{name}={value}" for name, value in labels.items()]
        with _answered():
            found: list[dict[str, Any]] = self._cli.containers(all=True, filters={"label": wanted})
        return found

    def create(self, container: Container) -> str:
        """Create a container and return its id; it does not run yet."""
        made = self._cli.create_container(
            image=container.image,
            command=container.command,
            environment=dict(container.environment),
            labels=dict(container.labels),
            user=container.user,
            host_config=self._host_config(container),
        )
        return str(made["Id"])

    def start(self, identity: str) -> None:
        """Start a created container.

        Raises:
            DeviceError: it asks for GPUs and the engine has none.
            InputError: it asks for a GPU that the engine does not know.
        """
        try:
            self._cli.start(identity)
        except APIError as error:
            told = str(error.explanation)
            if _NO_SUCH_GPU in told:
                raise InputError(f"this Docker engine has no such GPU: {told}: correct KILTER_GPUS") from None
            if any(sign in told for sign in _NO_GPU):
                raise DeviceError(
                    "a GPU was asked for (resources.gpu in model.yaml) and this Docker engine has none: run it where "
                    "there is one with the NVIDIA container toolkit, or set resources.fallback: cpu"
                ) from None
            raise

    def lines(self, identity: str) -> Iterator[str]:
        """What the container prints, from its start to its end."""
        rest = b""
        for chunk in self._cli.logs(identity, stdout=True, stderr=True, stream=True, follow=True):
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace").rstrip()
        if rest:
            yield rest.decode(errors="replace").rstrip()

    def last_lines(self, identity: str) -> list[str]:
        """The end of what the container printed so far."""
        text: bytes = self._cli.logs(identity, stdout=True, stderr=True, tail=LAST_LINES)
        return text.decode(errors="replace").splitlines()

    def wait(self, identity: str) -> tuple[int, bool]:
        """Wait for its end; return the exit code and whether it was killed for its memory."""
        code = int(self._cli.wait(identity)["StatusCode"])
        return code, self.out_of_memory(identity)

    def out_of_memory(self, identity: str) -> bool:
        """Whether a container that ended was killed for its memory."""
        return bool(self._cli.inspect_container(identity)["State"]["OOMKilled"])

    def remove(self, identity: str, grace: int = 0) -> None:
        """Stop and remove a container, asked to end `grace` seconds before it is killed; gone already is fine."""
        try:
            if grace:
                self._cli.stop(identity, timeout=grace)
            self._cli.remove_container(identity, force=True, v=True)
        except NotFound:
            pass
        except APIError as error:
            if "already in progress" not in str(error.explanation):
                raise

    def _host_config(self, container: Container) -> dict[str, Any]:
        resources = container.resources
        config: dict[str, Any] = self._cli.create_host_config(
            read_only=True,
            tmpfs={"/tmp": "rw,nosuid,nodev,mode=1777"},
            cap_drop=["ALL"],
            security_opt=["no-new-privileges:true"],
            mem_limit=resources.memory,
            memswap_limit=resources.memory,
            # Not nano_cpus, which an engine with fewer CPUs than that refuses.
            cpu_period=CPU_PERIOD,
            cpu_quota=round(resources.cpus * CPU_PERIOD),
            pids_limit=resources.pids,
            mounts=list(container.mounts),
            network_mode=container.network,
            device_requests=_device_requests(container.gpus),
            log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "64m"}),
        )
        return config


@contextmanager
def _answered() -> Iterator[None]:
    """Turn an engine that refuses or does not answer into an `UnavailableError`."""
    try:
        yield
    except (DockerException, RequestException) as error:
        raise UnavailableError(f"this Docker engine does not answer: {error}: does it run (docker info)?") from error


def _device_requests(gpus: tuple[str, ...]) -> list[DeviceRequest]:
    """These GPUs and no other: a count would give everybody the same first ones."""
    return [DeviceRequest(device_ids=list(gpus), capabilities=[["gpu", "compute", "utility"]])] if gpus else []


def connect() -> Engine:
    """The engine at DOCKER_HOST, else at its usual socket.

    Raises:
        UnavailableError: no engine answers there.
    """
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        client = APIClient(base_url=address, version="auto")
        client.ping()
    except DockerException as error:
        raise no_engine(address) from error
    return Engine(client)


def no_engine(address: str | list[str]) -> UnavailableError:
    """The error for an engine that does not answer."""
    return UnavailableError(
        f"no Docker engine answers at {address}: start one ('make engine' on a bare Debian machine), "
        "set DOCKER_HOST, or set KILTER_RUNTIME=process to run steps without containers"
    )


class DockerRuntime:
    """Runs a step in a container, or takes over the one that an earlier try of the task left.

    Args:
        image: digest of the step image.
    """

    def __init__(self, engine: Engine, settings: RuntimeSettings, log: Logger) -> None:
        self._engine = engine
        self._settings = settings
        self._log = log
        self._gpus = GpuLender(engine, settings, log)
        self._labels: Mapping[str, str] = {}
        self._stopped = False
        self.image = engine.image_digest(settings.step_image)
        self.environment = self.image  # which fixes the packages that steps import

    def resume(self, job: StepJob) -> Ended | None:
        """Follow the container that an earlier try of this task left, or take its result.

        Containers with other inputs or code, and those that failed, are removed.
        """
        self._labels = task_labels(job.run, job.map_index, self._settings.stores.home)
        for found in self._engine.find(self._labels):
            labels, identity = found["Labels"], found["Id"]
            earlier = job.as_attempt(labels.get("kilter.attempt", ""))
            if earlier.key == labels.get("kilter.result") and found["State"] in {"running", "exited"}:
                self._log.info(
                    "re-attached to container %s, %s, which try %s of this task started",
                    identity[:12], found["State"], labels["kilter.try"],
                )  # fmt: skip
                owner = labels.get(LEASE_LABEL)
                with self._gpus.renewed(owner) if owner else nullcontext():
                    ended = self._follow(identity, earlier.key)
                if found["State"] == "running" or ended.code == 0:
                    return ended
            else:
                self._log.info("removing container %s (%s), which runs something else", identity[:12], found["State"])
                self._remove(found)
        return None

    def start(self, job: StepJob) -> Ended:
        """Run the step in a new container to its end, its lines going to the task's log."""
        try:
            with self._gpus.lent(job.owner, job.gpus) as devices:
                return self._follow(self._begin(self._container(job, devices)), job.key)
        except DeviceError as error:
            if job.spec.resources.fallback != "cpu":
                raise DeviceError(f"step '{job.step}' of '{job.spec.name}': {error}") from None
            self._log.warning("no GPU on this engine: the step runs on the CPU (resources.fallback: cpu): %s", error)
        return self._follow(self._begin(self._container(job, ())), job.key)

    def stop(self, grace: float) -> None:
        """Stop and remove every container of this task, also one being created right now."""
        self._stopped = True
        self._gpus.stop()
        for found in self._engine.find(self._labels) if self._labels else []:
            self._remove(found, round(grace))

    def _remove(self, found: Mapping[str, Any], grace: int = 0) -> None:
        self._engine.remove(found["Id"], grace)
        if owner := found["Labels"].get(LEASE_LABEL):
            self._gpus.give_back(owner)

    def _begin(self, container: Container) -> str:
        identity = self._engine.create(container)
        try:
            # A kill that came while the container was being created could not see it.
            if self._stopped:
                raise UnavailableError("the task was killed while its container was being created")
            if container.gpus:
                self._gpus.confirm(container.labels[LEASE_LABEL], len(container.gpus))
            self._engine.start(identity)
        except BaseException:
            self._engine.remove(identity)
            raise
        self._log.info("container %s runs image %s", identity[:12], container.image)
        return identity

    def _follow(self, identity: str, key: str) -> Ended:
        lines: deque[str] = deque(maxlen=LAST_LINES)
        try:
            for line in self._engine.lines(identity):
                self._log.info("%s", line)
                lines.append(line)
            code, out_of_memory = self._engine.wait(identity)
        except NotFound:
            raise UnavailableError(f"container {identity[:12]} was removed before it ended") from None
        self._engine.remove(identity)
        return Ended(code, key, tuple(lines), out_of_memory)

    def _container(self, job: StepJob, gpus: tuple[str, ...]) -> Container:
        settings = self._settings
        return Container(
            image=job.image,
            command=job.command,
            environment={**job.access.environment, "HOME": "/tmp", "PYTHONUNBUFFERED": "1"},
            labels={
                **self._labels,
                "kilter.try": str(job.run.try_number),
                "kilter.attempt": job.attempt,
                "kilter.result": job.key,
                **({LEASE_LABEL: job.owner, "kilter.gpus": ",".join(gpus)} if gpus else {}),
            },
            user=settings.step_user,
            mounts=(
                *(mount(folder, settings) for folder in job.access.folders),
                *(mount(folder, settings, read_only=True) for folder in job.access.sources),
            ),
            network=settings.step_network if job.access.network else "none",
            resources=job.spec.resources,
            gpus=gpus,
        )


def mount(folder: Path, settings: RuntimeSettings, read_only: bool = False) -> Mount:
    """Mount a folder at the same path as Airflow sees it, so that addresses mean the same everywhere."""
    if not read_only:
        hand_over(folder, settings.step_user)
    source = folder
    if folder.is_relative_to(settings.stores.home):
        source = settings.host_home / folder.relative_to(settings.stores.home)
    return Mount(target=str(folder), source=str(source), type="bind", read_only=read_only)


def hand_over(folder: Path, user: str) -> None:
    """Make sure that the step's user can write to a store's folder.

    Raises:
        InputError: it belongs to somebody else, and Airflow does not run as root, which could change that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    uid, gid = (int(part) for part in user.split(":"))
    facts = folder.stat()
    if (facts.st_uid == uid) or (facts.st_gid == gid and facts.st_mode & 0o020) or facts.st_mode & 0o002:
        return
    if os.geteuid() != 0:
        raise InputError(
            f"folder {folder} belongs to user {facts.st_uid}, and steps run as {user}, who may not write there: "
            f"set KILTER_STEP_USER={facts.st_uid}:{facts.st_gid}"
        )
    for path in [*folder.rglob("*"), folder]:
        os.chown(path, uid, gid)
