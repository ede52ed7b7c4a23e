"""Leases of GPUs on SQLite and PostgreSQL: a device has one owner, whoever asks at the same time."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from kilter.stores.leases import Leases
from kilter.stores.ledger import Ledger, gpu_leases

MINUTE = timedelta(minutes=1)
DEVICES = ("0", "1", "2")


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = f"sqlite:///{tmp_path}/ledger.db" if request.param == "sqlite" else request.getfixturevalue("postgresql")
    made = Ledger(url)
    made.migrate()
    with made.transaction() as connection:
        connection.execute(gpu_leases.delete())
    yield made
    made.engine.dispose()


@pytest.fixture
def leases(ledger: Ledger) -> Leases:
    return Leases(ledger, "here")


def let_expire(ledger: Ledger) -> None:
    with ledger.transaction() as connection:
        connection.execute(update(gpu_leases).values(expires_at=gpu_leases.c.leased_at))


def test_free_devices_are_leased_and_given_back(leases: Leases) -> None:
    assert leases.take(DEVICES, 2, "a", MINUTE) == ("0", "1")
    assert leases.take(DEVICES, 1, "b", MINUTE) == ("2",)
    leases.release("a")
    assert leases.take(DEVICES, 1, "c", MINUTE) == ("0",)
    assert [(lease["device"], lease["owner"]) for lease in leases.held()] == [("0", "c"), ("2", "b")]


def test_who_wants_more_than_is_free_gets_nothing(leases: Leases) -> None:
    leases.take(DEVICES, 2, "a", MINUTE)
    assert leases.take(DEVICES, 2, "b", MINUTE) == ()
    assert [lease["owner"] for lease in leases.held()] == ["a", "a"]


def test_another_hosts_devices_of_the_same_name_are_others(ledger: Ledger, leases: Leases) -> None:
    leases.take(DEVICES, 3, "a", MINUTE)
    assert Leases(ledger, "there").take(DEVICES, 3, "b", MINUTE) == DEVICES
    assert len(leases.held()) == 3


def test_an_expired_lease_stays_until_it_is_freed(ledger: Ledger, leases: Leases) -> None:
    leases.take(DEVICES, 3, "a", MINUTE)
    assert leases.expired() == []
    let_expire(ledger)
    assert leases.take(DEVICES, 1, "b", MINUTE) == ()
    for lease in leases.expired():
        leases.free(lease)
    assert leases.take(DEVICES, 1, "b", MINUTE) == ("0",)


def test_a_lease_that_was_renewed_after_somebody_saw_it_expired_is_not_freed(ledger: Ledger, leases: Leases) -> None:
    leases.take(DEVICES, 2, "a", MINUTE)
    let_expire(ledger)
    seen = leases.expired()
    assert leases.renew("a", MINUTE) == 2
    for lease in seen:
        leases.free(lease)
    assert len(leases.held()) == 2


def test_of_many_threads_at_once_each_device_has_one_owner(ledger: Ledger) -> None:
    barrier = threading.Barrier(12)

    def take(number: int) -> tuple[str, ...]:
        barrier.wait()
        return Leases(ledger, "here").take(DEVICES, 1, f"owner {number}", MINUTE)

    with ThreadPoolExecutor(12) as pool:
        taken = list(pool.map(take, range(12)))
    assert sorted(devices for devices in taken if devices) == [("0",), ("1",), ("2",)]


def use_and_give_back(url: str, folder: Path, number: int) -> int:
    """Twenty times: take one or two devices, mark each with a file that nobody else may have made; how often it got them."""
    leases, got = Leases(Ledger(url), "here"), 0
    while got < 20:
        owner = f"owner {number}"
        devices = leases.take(DEVICES, 1 + number % 2, owner, MINUTE)
        for device in devices:
            os.close(os.open(folder / device, os.O_CREAT | os.O_EXCL))
        for device in devices:
            (folder / device).unlink()
        if devices:
            leases.release(owner)
            got += 1
    return got


def test_processes_that_each_want_one_or_two_never_share_a_device_and_never_block_each_other(
    ledger: Ledger, tmp_path: Path
) -> None:
    url = ledger.engine.url.render_as_string(hide_password=False)
    ledger.engine.dispose()
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        done = [pool.submit(use_and_give_back, url, tmp_path, number) for number in range(4)]
        assert [future.result(timeout=120) for future in done] == [20] * 4
    assert Leases(ledger, "here").held() == []
