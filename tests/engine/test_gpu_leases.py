"""GPUs lent to real containers on a real engine. The engine need not have any: it is not told of the devices, all else is real."""

import logging
import multiprocessing
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from sqlalchemy import update

from kilter.errors import DeviceError
from kilter.spec import load_spec
from kilter.step import RunInfo, code_digest, load_step, parse_inputs
from kilter.stores.leases import Leases
from kilter.stores.ledger import Ledger, gpu_leases
from kilter_airflow.access import access_of
from kilter_airflow.job import Ended, StepJob
from kilter_airflow.runtimes.docker import Container, DockerRuntime, Engine
from kilter_airflow.settings import RuntimeSettings

from .live import Live, wait_for

pytestmark = pytest.mark.engine
LOG = logging.getLogger("lent")


class WithoutDevices(Engine):
    """The engine, asked for everything but devices, which it does not have."""

    def _host_config(self, container: Container) -> dict[str, Any]:
        return super()._host_config(replace(container, gpus=()))


def job_of(settings: RuntimeSettings, year: int, image: str) -> StepJob:
    """Extract a year, as a step that uses the GPU that its model asks for: inside it waits until the test says go."""
    folder = settings.stores.models / "wants_gpu"
    spec, info = load_spec(folder), replace(load_step("extract").STEP, gpu=True)
    inputs = {"start": f"{year - 1}-01-01T00:00:00Z", "end": f"{year}-01-01T00:00:00Z"}
    return StepJob(
        step="extract",
        info=info,
        spec=spec,
        inputs=parse_inputs("extract", inputs),
        run=RunInfo(dag_id="lent", run_id=str(year), task_id="extract"),
        code=code_digest(folder),
        image=image,
        attempt=f"attempt-{year}",
        map_index=-1,
        access=access_of(info, spec, settings, {}, calls=False),
    )


def run(environment: Mapping[str, str], year: int) -> Ended:
    """What a task does: take over what an earlier try left, else start the step."""
    settings = RuntimeSettings.from_environment(environment)
    runtime = DockerRuntime(WithoutDevices(docker.from_env().api), settings, LOG)
    job = job_of(settings, year, runtime.image)
    return runtime.resume(job) or runtime.start(job)


class Task(threading.Thread):
    """A task of this process."""

    def __init__(self, environment: Mapping[str, str], year: int) -> None:
        super().__init__(daemon=True)
        self._arguments = (environment, year)
        self.ended: Ended | None = None
        self.start()

    def run(self) -> None:
        self.ended = run(*self._arguments)

    def code(self) -> int:
        """Its step's exit code, waited for."""
        self.join(120)
        assert self.ended is not None
        return self.ended.code


def two_gpus(live: Live) -> dict[str, str]:
    return live._environment() | {"KILTER_GPUS": "0,1"}


def one_gpu(live: Live) -> dict[str, str]:
    return live._environment() | {"KILTER_GPUS": "0"}


@pytest.fixture
def leases(live: Live) -> Iterator[Leases]:
    ledger = Ledger(live.settings.ledger)
    yield Leases(ledger, Engine(live.engine.api).identity())
    ledger.engine.dispose()


def gpu(live: Live, year: int) -> str:
    """The GPU of this year's container, which runs."""
    return str(live.running("lent", str(year), year).labels["kilter.gpus"])


def test_steps_at_once_get_different_gpus_and_who_finds_none_waits(
    live: Live, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    first, second = Task(two_gpus(live), 2081), Task(two_gpus(live), 2082)
    given = {gpu(live, 2081), gpu(live, 2082)}
    assert given == {"0", "1"}
    third = Task(two_gpus(live), 2083)
    wait_for(
        lambda: "waiting for 1 of 2 GPUs: 0 is held by extract of lent in run 208" in caplog.text, "the third to wait"
    )
    assert live.containers("2083") == []
    freed = gpu(live, 2082)
    live.go(2082)
    assert second.code() == 0
    assert gpu(live, 2083) == freed
    for year in (2081, 2083):
        live.go(year)
    assert (first.code(), third.code()) == (0, 0)
    assert leases.held() == []


def test_a_container_whose_worker_was_killed_keeps_its_gpu_until_it_ends(
    live: Live, leases: Leases, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    worker = multiprocessing.get_context("fork").Process(target=run, args=(one_gpu(live), 2084))
    worker.start()
    container = live.running("lent", "2084", 2084)
    worker.kill()
    worker.join()
    ledger = Ledger(live.settings.ledger)
    with ledger.transaction() as connection:
        connection.execute(update(gpu_leases).values(expires_at=gpu_leases.c.leased_at))
    other = Task(one_gpu(live), 2085)
    wait_for(lambda: "0 is held by extract of lent in run 2084" in caplog.text, "the other to find the container")
    assert leases.expired() == []
    retry = Task(one_gpu(live), 2084)
    wait_for(lambda: f"re-attached to container {container.id[:12]}, running" in caplog.text, "the retry to take over")
    live.go(2084)
    assert retry.code() == 0
    assert gpu(live, 2085) == "0"
    live.go(2085)
    assert other.code() == 0
    assert leases.held() == []


def test_a_killed_task_gives_its_gpu_back_with_its_container(live: Live, leases: Leases) -> None:
    settings = RuntimeSettings.from_environment(one_gpu(live))
    runtime = DockerRuntime(WithoutDevices(live.engine.api), settings, LOG)
    job = job_of(settings, 2086, runtime.image)
    runtime.resume(job)
    failed: list[BaseException] = []

    def start() -> None:
        try:
            runtime.start(job)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    live.running("lent", "2086", 2086)
    runtime.stop(grace=3)
    thread.join(60)
    assert live.containers("2086") == []
    assert leases.held() == []


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="this machine has a GPU")
def test_an_engine_without_the_gpu_that_was_named_is_a_clear_failure_and_leaves_no_lease(
    live: Live, leases: Leases
) -> None:
    settings = RuntimeSettings.from_environment(one_gpu(live))
    runtime = DockerRuntime(Engine(live.engine.api), settings, LOG)
    with pytest.raises(DeviceError, match=r"step 'extract' of 'wants_gpu': a GPU was asked for .* engine has none"):
        runtime.start(job_of(settings, 2087, runtime.image))
    assert leases.held() == []
    assert live.containers("2087") == []
