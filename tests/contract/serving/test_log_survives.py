"""The prediction log of a real server: killed, with a full disk, and with its store away."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.contract.small_disk import small_disk

from kilter.stores.parquet import from_parquet

from .conftest import KEYS, MODEL, ROW, Installation, make_model, split, wait_until


class Asking:
    """Requests without pause to the champion server itself; knows when each was answered."""

    def __init__(self, url: str, clients: int = 4) -> None:
        self._url = f"{url}/models/{MODEL}/invocations"
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(client,)) for client in range(clients)]
        self.answered: dict[str, float] = {}
        self.failures: list[str] = []

    def __enter__(self) -> Asking:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, client: int) -> None:
        body = split({**KEYS, **ROW})
        begun = time.monotonic_ns()
        with httpx.Client() as http:
            for number in range(10**9):
                if self._stop.is_set():
                    return
                name = f"{begun}-{client}-{number}"
                try:
                    http.post(self._url, json=body, headers={"x-request-id": name}).raise_for_status()
                    self.answered[name] = time.monotonic()
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))
                    return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Installation]:
    """A champion server alone, with a version; a test starts it."""
    made = Installation(tmp_path)
    try:
        yield made
    finally:
        made.stop()


def start(installation: Installation) -> None:
    installation.start_server("champion")
    installation.wait_for_server("champion")
    model = make_model(installation.objects, installation.spec, 1)
    installation.servers.deploy("champion", MODEL, 1, model.key, model.digest)


def stored(installation: Installation) -> list[str]:
    """Ids of the requests that the store has."""
    objects = installation.objects
    tables = [from_parquet(objects.get(key), key) for key in objects.list(f"predictions/{MODEL}/")]
    return [name for table in tables for name in table["request_id"].to_pylist()]


def metric(installation: Installation, name: str) -> float:
    lines = httpx.get(f"{installation.url('champion')}/metrics").text.splitlines()
    return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))


def all_stored(installation: Installation, names: set[str]) -> Callable[[], bool]:
    return lambda: names <= set(stored(installation))


@pytest.mark.parametrize("seconds", [1.1, 1.7, 2.3])
def test_a_killed_server_loses_no_answer_older_than_a_second(server: Installation, seconds: float) -> None:
    start(server)
    with Asking(server.url("champion")) as asking:
        wait_until(lambda: len(asking.answered) > 20, "answers")
        time.sleep(seconds)
        server.processes["champion"].send_signal(signal.SIGKILL)
        killed = time.monotonic()
    server.processes["champion"].wait()
    start(server)
    old = {name for name, answered in asking.answered.items() if answered < killed - 1}
    assert old
    wait_until(all_stored(server, old), f"{len(old)} answers are in the store")
    wait_until(lambda: metric(server, "kilter_log_waiting_rows") == 0, "the spool is empty")
    names = stored(server)
    assert len(names) == len(set(names))


def test_while_the_store_is_away_answers_go_on_and_are_stored_later(server: Installation) -> None:
    start(server)
    # Not by permissions: whoever runs the tests may be root.
    predictions = server.home / "store/predictions"
    predictions.write_text("not a folder")
    with Asking(server.url("champion")) as asking:
        wait_until(lambda: "rows wait in the spool" in server.log("champion"), "the server says so")
        enough = len(asking.answered) + 100
        wait_until(lambda: len(asking.answered) > enough, "answers")
        assert metric(server, "kilter_log_waiting_rows") > 0
        predictions.unlink()
        wait_until(lambda: stored(server) != [], "the store has some")
    assert asking.failures == []
    wait_until(all_stored(server, set(asking.answered)), "the store has all")
    wait_until(lambda: metric(server, "kilter_log_spool_bytes") == 0, "the spool is empty")
    assert metric(server, "kilter_log_dropped_rows_total") == 0
    assert metric(server, "kilter_log_rows_total") == len(asking.answered)


def test_a_killed_server_with_its_store_away_has_it_all_in_the_spool(server: Installation) -> None:
    start(server)
    predictions = server.home / "store/predictions"
    predictions.write_text("not a folder")
    with Asking(server.url("champion")) as asking:
        wait_until(lambda: len(asking.answered) > 20, "answers")
        time.sleep(1.5)
        server.processes["champion"].send_signal(signal.SIGKILL)
        killed = time.monotonic()
    server.processes["champion"].wait()
    predictions.unlink()
    start(server)
    old = {name for name, answered in asking.answered.items() if answered < killed - 1}
    assert old
    wait_until(all_stored(server, old), f"{len(old)} answers are in the store")


def test_a_full_disk_costs_no_answer_and_nothing_is_lost_when_there_is_room_again(server: Installation) -> None:
    spool = server.settings.spool / "champion"
    with small_disk(spool):
        start(server)
        filler = spool / "filler"
        with pytest.raises(OSError, match="No space left"):
            filler.write_bytes(b"x" * 2**20)
        with Asking(server.url("champion")) as asking:
            wait_until(lambda: "No space left on device" in server.log("champion"), "the server says so")
            enough = len(asking.answered) + 200
            wait_until(lambda: len(asking.answered) > enough, "answers")
            filler.unlink()
            wait_until(lambda: "the spool is written again" in server.log("champion"), "the server says so")
        assert asking.failures == []
        wait_until(all_stored(server, set(asking.answered)), "the store has all")
        assert metric(server, "kilter_log_dropped_rows_total") == 0
        server.kill("champion", signal.SIGTERM)


def test_a_server_starts_and_answers_without_a_spool(server: Installation) -> None:
    server.settings.spool.parent.mkdir(parents=True)
    server.settings.spool.write_text("not a folder")
    start(server)
    with Asking(server.url("champion")) as asking:
        wait_until(lambda: len(asking.answered) > 20, "answers")
        server.settings.spool.unlink()
        wait_until(lambda: stored(server) != [], "the store has some")
    assert asking.failures == []
    wait_until(all_stored(server, set(asking.answered)), "the store has all")


def test_two_servers_of_one_role_and_spool_do_not_start(server: Installation) -> None:
    start(server)
    server.processes["first"] = server.processes["champion"]
    server.start_server("champion")
    assert server.processes["champion"].wait(timeout=20) == 75
    assert "is another server's" in server.log("champion")
