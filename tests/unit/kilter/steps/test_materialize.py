"""materialize: Feast's online store on SQLite."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError, UnavailableError
from kilter.spec import load_spec
from kilter.stores.features import FeatureStore


def store(rides: Any, **changes: str) -> FeatureStore:
    settings = rides.settings.model_copy(update=changes)
    return FeatureStore(load_spec(rides.folder), rides.objects, settings.feast_registry, settings.online_store)


def materialize(rides: Any, day: int) -> int:
    rows: int = rides.run("materialize", digest=rides.ingest(day)["digest"], **rides.day(day))["rows"]
    return rows


def test_the_last_hours_of_the_interval_go_online(rides: Any) -> None:
    assert materialize(rides, 0) == 48
    answer = store(rides).online(["0-95", "0-48", "0-47", "unknown"])
    assert list(answer.columns) == ["ride_id", "started_at", "fare", "zone"]
    assert answer.ride_id.tolist() == ["0-95", "0-48", "0-47", "unknown"]
    assert answer.fare[:2].tolist() == [5.0 + 95 % 30, 5.0 + 48 % 30]
    assert answer.zone[:2].tolist() == ["south", "north"]
    assert answer[["fare", "zone"]][2:].isna().all().all()


def test_the_same_interval_again_changes_nothing(rides: Any) -> None:
    assert materialize(rides, 0) == materialize(rides, 0) == 48


def test_corrected_features_replace_those_online(rides: Any) -> None:
    materialize(rides, 0)
    digest = rides.ingest(0, rides.frame(0).assign(fare=99.0))["digest"]
    rides.run("materialize", digest=digest, **rides.day(0))
    assert store(rides).online(["0-95"]).fare.tolist() == [99.0]


def test_an_older_interval_leaves_what_is_online(rides: Any) -> None:
    materialize(rides, 1)
    assert materialize(rides, 0) == 0
    assert store(rides).online(["1-95", "0-95"]).fare.notna().tolist() == [True, False]


def test_features_built_anew_meanwhile_are_refused(rides: Any) -> None:
    digest = rides.ingest(0)["digest"]
    rides.ingest(0, rides.frame(0).assign(fare=7.0))
    with pytest.raises(DataError, match="built anew meanwhile"):
        rides.run("materialize", digest=digest, **rides.day(0))


@pytest.fixture
def in_utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_times_online_are_right_wherever_the_machine_that_wrote_them_stands(rides: Any, in_utc: None) -> None:
    inputs = json.dumps(rides.day(0) | {"digest": rides.ingest(0)["digest"]})
    settings = rides.settings.model_copy(update={"models": rides.folder.parent})
    command = [sys.executable, "-m", "kilter", "step", "materialize", "--model", "rides", "--inputs", inputs]
    environment = os.environ | settings.to_environment() | {"TZ": "Asia/Tokyo"}
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    found = store(rides).online(["0-95"])
    assert found.started_at.tolist() == [rides.START.replace(hour=23, minute=45)]


def test_reading_before_anything_is_online_is_unavailable(rides: Any) -> None:
    with pytest.raises(UnavailableError, match=r"is absent: run rides\.feature_ingestion first"):
        store(rides).online(["0-95"])


def test_a_registry_that_cannot_be_opened_is_unavailable(rides: Any, tmp_path: Path) -> None:
    rides.ingest(0)
    (tmp_path / "folder.db").mkdir()
    broken = store(rides, feast_registry=f"sqlite:///{tmp_path}/folder.db")
    with pytest.raises(UnavailableError, match="unable to open database file"):
        broken.materialize(rides.START, rides.START.replace(day=2))


def _materialize_in_a_process(rides: Any, day: int) -> None:
    start = rides.START.replace(day=1 + day)
    store(rides).materialize(start, start.replace(day=2 + day))


def test_two_processes_at_once_both_succeed(rides: Any) -> None:
    for day in (0, 1):
        rides.ingest(day)
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=_materialize_in_a_process, args=(rides, day)) for day in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert store(rides).online(["1-95"]).fare.notna().all()
