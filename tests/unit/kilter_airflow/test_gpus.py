"""Lending GPUs: waited for, renewed while the step lives, and never lent twice; with real leases and a host of names."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from kilter.errors import DeviceError, UnavailableError
from kilter.stores.leases import Leases
from kilter.stores.ledger import Ledger, gpu_leases
from kilter_airflow import gpus
from kilter_airflow.gpus import GpuLender
from kilter_airflow.settings import RuntimeSettings

LOG = logging.getLogger("test")


class Steps:
    """A host whose steps are names."""

    words = "this host"

    def __init__(self) -> None:
        self.alive: set[str] = set()

    def identity(self) -> str:
        return "host"

    def holds(self, owner: str) -> bool:
        return owner in self.alive


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.01)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(f"sqlite:///{tmp_path}/state/ledger.db")
    made.migrate()
    yield made
    made.engine.dispose()


@pytest.fixture
def host() -> Steps:
    return Steps()


Lend = Callable[..., GpuLender]


@pytest.fixture
def lender(tmp_path: Path, host: Steps, ledger: Ledger) -> Lend:
    """Makes lenders of this host, each as in a worker of its own."""

    def make(devices: str = "0,1") -> GpuLender:
        settings = RuntimeSettings.from_environment({"KILTER_HOME": str(tmp_path), "KILTER_GPUS": devices})
        return GpuLender(host, settings, LOG)

    return make


def owners(ledger: Ledger) -> dict[str, str]:
    return {lease["device"]: lease["owner"] for lease in Leases(ledger, "host").held()}


def let_expire(ledger: Ledger) -> None:
    with ledger.transaction() as connection:
        connection.execute(update(gpu_leases).values(expires_at=gpu_leases.c.leased_at))


def wait_until(found: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_gpu_is_lent_and_given_back(lender: Lend, ledger: Ledger) -> None:
    with lender().lent("a", 1) as devices:
        assert devices == ("0",)
        assert owners(ledger) == {"0": "a"}
    assert owners(ledger) == {}


def test_a_step_without_gpus_asks_nobody(tmp_path: Path, host: Steps) -> None:
    settings = RuntimeSettings.from_environment({"KILTER_LEDGER": f"sqlite:///{tmp_path}/none/ledger.db"})
    with GpuLender(host, settings, LOG).lent("a", 0) as devices:
        assert devices == ()


def test_more_gpus_than_there_are_is_a_clear_error(lender: Lend) -> None:
    words = (
        r"3 GPUs were asked for \(resources.gpu in model.yaml\) and this host has 0, 1: .*KILTER_GPUS.*fallback: cpu"
    )
    with pytest.raises(DeviceError, match=words), lender().lent("a", 3):
        pass


def test_without_a_list_the_gpus_are_those_that_nvidia_smi_shows(
    lender: Lend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 0, GPU-a, NVIDIA H200, 570.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with lender("").lent("a", 1) as devices:
        assert devices == ("GPU-a",)
    program.unlink()
    with pytest.raises(DeviceError, match=r"a GPU was asked for .* and this host has none"), lender("").lent("a", 1):
        pass


def test_who_waits_says_for_whom_and_gets_the_gpu_when_it_is_given_back(
    lender: Lend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    got: list[tuple[str, ...]] = []

    def wait() -> None:
        with lender("0").lent("second", 1) as devices:
            got.append(devices)

    with lender("0").lent("first", 1):
        thread = threading.Thread(target=wait)
        thread.start()
        wait_until(lambda: "waiting for 1 of 1 GPUs: 0 is held by first" in caplog.text)
        assert got == []
    thread.join(30)
    assert got == [("0",)]
    assert caplog.text.count("waiting for") == 1


def test_a_killed_task_stops_waiting(lender: Lend, ledger: Ledger) -> None:
    waiting, raised = lender("0"), []

    def wait() -> None:
        with pytest.raises(UnavailableError, match="killed while it waited") as caught, waiting.lent("second", 1):
            pass
        raised.append(caught)

    with lender("0").lent("first", 1):
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.stop()
        thread.join(30)
        assert raised
        assert owners(ledger) == {"0": "first"}


def test_many_steps_at_once_never_share_a_gpu(lender: Lend, tmp_path: Path) -> None:
    def use(number: int) -> None:
        with lender("0,1,2").lent(f"step {number}", 1 + number % 2) as devices:
            for device in devices:
                (tmp_path / device).touch(exist_ok=False)
            time.sleep(0.01)  # long enough for others to be in the way
            for device in devices:
                (tmp_path / device).unlink()
            done.append(number)

    done: list[int] = []
    threads = [threading.Thread(target=use, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(10))


def test_a_lease_is_renewed_for_as_long_as_the_step_is_followed(
    lender: Lend, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "RENEWED_EVERY", timedelta(milliseconds=10))
    with lender().lent("a", 2):
        let_expire(ledger)
        wait_until(lambda: not Leases(ledger, "host").expired())
        let_expire(ledger)
        wait_until(lambda: not Leases(ledger, "host").expired())


def test_the_gpu_of_a_step_that_lives_on_unwatched_is_not_taken(
    lender: Lend, ledger: Ledger, host: Steps, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.alive.add("killed worker")
    leases = Leases(ledger, "host")
    leases.take(["0"], 1, "killed worker", gpus.LEASE)
    let_expire(ledger)
    taken: list[dict[str, str]] = []

    def wait() -> None:
        with lender("0").lent("next", 1):
            taken.append(owners(ledger))

    waiting = threading.Thread(target=wait)
    waiting.start()
    wait_until(lambda: "waiting for 1 of 1 GPUs: 0 is held by killed worker" in caplog.text)
    assert owners(ledger) == {"0": "killed worker"}
    assert leases.expired() == []
    host.alive.clear()
    let_expire(ledger)
    waiting.join(30)
    assert taken == [{"0": "next"}]


def test_a_retry_that_re_attaches_goes_on_renewing_and_gives_back_at_the_end(
    lender: Lend, ledger: Ledger, host: Steps
) -> None:
    leases = Leases(ledger, "host")
    leases.take(["0"], 1, "first try", gpus.LEASE)
    let_expire(ledger)
    host.alive.add("first try")
    with lender("0").renewed("first try"):
        wait_until(lambda: not leases.expired())
        host.alive.clear()
    assert owners(ledger) == {}


def test_a_task_that_ends_before_its_container_keeps_the_gpu_until_that_is_removed(
    lender: Lend, ledger: Ledger, host: Steps
) -> None:
    lending = lender("0")

    def time_out() -> None:
        with lending.lent("a", 1):
            host.alive.add("a")
            raise TimeoutError

    with pytest.raises(TimeoutError):
        time_out()
    assert owners(ledger) == {"0": "a"}
    host.alive.clear()
    lending.give_back("a")
    assert owners(ledger) == {}


def test_a_worker_that_stood_still_does_not_start_on_a_gpu_that_was_lent_on(lender: Lend, ledger: Ledger) -> None:
    slow = lender("0,1")
    with slow.lent("slow", 2):
        with ledger.transaction() as connection:
            connection.execute(delete(gpu_leases).where(gpu_leases.c.device == "1"))
        with pytest.raises(UnavailableError, match="lease of slow expired"):
            slow.confirm("slow", 2)


def test_a_ledger_that_is_away_at_the_end_does_not_fail_a_step_that_ended_well(
    lender: Lend, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    with lender().lent("a", 1), ledger.transaction() as connection:
        gpu_leases.drop(connection)
    assert "not given back, their lease expires" in caplog.text
