"""The prediction log: what is written, what happens when it cannot be, and what a killed process leaves."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kilter.encoding import Signature
from kilter.errors import UnavailableError
from kilter.keys import CLASSES as CLASSES_KEY
from kilter.serving import spool as spools
from kilter.serving.log_record import decode
from kilter.serving.log_table import to_table
from kilter.serving.prediction_log import Entry, PredictionLog
from kilter.serving.request import parse
from kilter.serving.spool import Spool
from kilter.spec import Feature
from kilter.stores.deployment import Deployment
from kilter.stores.objects import MemoryObjects
from kilter.stores.parquet import from_parquet

SIGNATURE = Signature(
    entity="flight_id",
    timestamp="departure",
    features=(Feature(name="distance"), Feature(name="origin", kind="categorical", categories=("EWR",))),
)
NOW = datetime(2013, 5, 1, 12, tzinfo=UTC)
BODY = b"""{"dataframe_records": [
    {"flight_id": "a", "departure": "2013-01-03T00:00:00Z", "distance": true, "origin": "EWR"},
    {"flight_id": null, "departure": "2013-01-04T00:00:00Z", "distance": null, "origin": "LAX"}]}"""


class Away(MemoryObjects):
    """A store that can be taken away."""

    away = False

    def put(self, key, data):
        if self.away:
            raise UnavailableError("the store is away")
        super().put(key, data)


class Log:
    """A prediction log whose threads are moved by hand."""

    def __init__(self, folder: Path, **options: int) -> None:
        self.objects = Away()
        self.spool = Spool(folder / "spool", options.pop("spool", 10**9))
        self.log = PredictionLog(self.spool, self.objects, "champion", logging.getLogger("test"), **options)
        self.spool.take()
        self.shipper = self.log.__dict__["_shipper"]

    def add(self, *entries: Entry) -> None:
        for item in entries:
            self.log.add(item)

    def spooled(self) -> None:
        """Write what waits, and close the segment."""
        self.log.__dict__["_stop"].set()
        PredictionLog.__dict__["_turn"](self.log, last=True)

    def ship(self) -> None:
        self.spooled()
        self.shipper.ship()

    def tables(self):
        return [from_parquet(self.objects.get(key), key) for key in self.objects.list("predictions/")]

    def requests(self) -> set[str]:
        return {name for table in self.tables() for name in pc.unique(table["request_id"]).to_pylist()}

    def end(self) -> None:
        """What a kill does."""
        self.shipper.__dict__["_converter"].stop()
        self.spool.release()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(tmp_path)
    yield made
    made.end()


CLASSES = Signature.model_validate(
    SIGNATURE.model_dump() | {"task": "multiclass", "classes": ("früh", "late", "never")}
)


def entry(request_id="r1", version=1, model="m", body=BODY, signature=SIGNATURE, scores=(0.25, 0.75)):
    deployment = Deployment(model=model, version=version, key="k", digest=f"d{version}")
    rows = parse(body, signature, NOW)
    return Entry(deployment, signature, request_id, NOW, 0.5, rows, scores[: len(rows.entities)])


def test_a_row_holds_the_score_the_features_as_they_came_and_who_answered(log: Log) -> None:
    log.add(entry())
    log.ship()
    (key,) = log.objects.list("predictions/")
    assert re.fullmatch(r"predictions/m/20130103T000000_20130104T000000_champion_[0-9a-f]{32}\.parquet", key)
    (table,) = log.tables()
    at = [datetime(2013, 1, day, tzinfo=UTC) for day in (3, 4)]
    same = {
        "request_id": "r1",
        "logged_at": NOW,
        "role": "champion",
        "model_version": 1,
        "digest": "d1",
        "latency_ms": 0.5,
    }
    assert table.to_pylist() == [
        same | {"flight_id": "a", "departure": at[0], "score": 0.25, "distance": 1.0, "origin": "EWR"},
        same | {"flight_id": None, "departure": at[1], "score": 0.75, "distance": None, "origin": "LAX"},
    ]


def test_scores_of_classes_are_lists_that_tell_of_which_classes_they_are(log: Log) -> None:
    scores = [[0.5, 0.25, 0.25], [0.125, 0.125, 0.75]]
    log.add(entry(signature=CLASSES, scores=scores), entry("r2", version=2))
    log.ship()
    of_classes, binary = sorted(log.tables(), key=lambda table: table["model_version"][0].as_py())
    assert of_classes["score"].to_pylist() == scores
    assert of_classes.schema.field("score").type == pa.list_(pa.float64())
    assert json.loads(of_classes.schema.field("score").metadata[CLASSES_KEY]) == ["früh", "late", "never"]
    assert binary.schema.field("score").type == pa.float64()


def test_records_of_before_there_were_classes_are_read_on() -> None:
    """What an earlier Kilter left in the spool."""
    version = ["champion", "m", 1, "d1", "flight_id", "departure", [["distance", False]]]
    record = ["r1", msgspec.to_builtins(NOW), 0.5, None, None, [0.25], [[7.0]]]
    found = decode(msgspec.msgpack.encode([version, [record]]))
    assert found.version.classes == ()
    assert to_table(found.version, found.records)["score"].to_pylist() == [0.25]


def test_a_row_without_keys_has_the_time_of_its_request(log: Log) -> None:
    log.add(entry(body=b'{"instances": [[1, "EWR"]]}'))
    log.ship()
    ((row,),) = [table.to_pylist() for table in log.tables()]
    assert (row["flight_id"], row["departure"]) == (None, NOW)


@pytest.mark.parametrize("number", [10**30, 2**63 - 1, -(2**70), 9007199254740993])
def test_a_number_that_no_integer_type_holds_is_logged_as_the_nearest_float(log: Log, number: int) -> None:
    log.add(entry(body=b'{"instances": [[%d, "EWR"], [0.5, null]]}' % number))
    log.ship()
    (table,) = log.tables()
    assert table["distance"].to_pylist() == [float(number), 0.5]


def test_versions_and_models_are_written_apart(log: Log) -> None:
    log.add(entry("r1"), entry("r2", version=2), entry("r3"), entry("r4", model="n"))
    log.ship()
    assert len(log.objects.list("predictions/m/")) == 2
    assert len(log.objects.list("predictions/n/")) == 1


def test_a_copy_is_written_apart_with_the_role_shadow(log: Log) -> None:
    log.add(entry("r1"), replace(entry("r2"), copy=True))
    log.ship()
    roles = {row["request_id"]: row["role"] for table in log.tables() for row in table.to_pylist()}
    assert roles == {"r1": "champion", "r2": "shadow"}


def test_nothing_added_writes_nothing(log: Log) -> None:
    log.ship()
    assert log.objects.list("") == []
    assert not list(log.spool.folder.glob("*.*"))


def test_what_the_store_has_is_gone_from_the_spool_and_counted(log: Log) -> None:
    log.add(entry())
    assert log.log.state[:3] == (0, 2, 0)
    log.spooled()
    assert log.log.state[:3] == (0, 2, 0)
    assert log.log.state.spool_bytes > 0
    log.shipper.ship()
    assert log.log.state == (2, 0, 0, 0, 0)
    assert not list(log.spool.folder.glob("*.segment"))


def test_while_the_store_is_away_rows_wait_in_the_spool_and_the_oldest_beyond_its_limit_are_dropped(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(tmp_path, spool=600)
    for number in range(6):
        log.add(entry(f"r{number}"))
        log.spooled()
    dropped = log.log.state.dropped
    assert 2 <= dropped < 12
    assert f"{dropped} rows dropped so far" in caplog.text
    assert log.log.state.spool_bytes <= 600
    log.ship()
    assert log.requests() == {f"r{number}" for number in range(dropped // 2, 6)}
    log.end()


def test_a_shipper_that_ends_while_the_store_is_away_leaves_its_segment_on_the_disk(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    monkeypatch.setattr(spools.os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")))
    log.add(entry())
    log.spooled()
    log.objects.away = True
    log.shipper.__dict__["_stop"].set()
    with pytest.raises(UnavailableError, match="the store is away"):
        log.shipper.ship()
    assert log.log.state.waiting == 2
    assert synced == [str(log.spool.oldest())]
    log.objects.away = False
    log.shipper.ship()
    assert log.requests() == {"r1"}


def test_while_the_spool_cannot_be_written_the_newest_rows_wait_in_memory(tmp_path: Path) -> None:
    log = Log(tmp_path, memory=500)
    log.spool.folder.rename(tmp_path / "elsewhere")
    for number in range(20):
        log.add(entry(f"r{number}"))
        log.spooled()
    state = log.log.state
    assert state.waiting + state.dropped == 40
    assert 0 < state.waiting < 40
    (tmp_path / "elsewhere").rename(log.spool.folder)
    log.ship()
    assert log.requests() == {f"r{number}" for number in range(state.dropped // 2, 20)}
    log.end()


def test_a_frame_that_the_disk_took_in_part_is_written_again(log: Log) -> None:
    log.add(entry("r1"))
    log.log.flush()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.spool.size + 20, hard))
    try:
        log.add(entry("r2"))
        with pytest.raises(OSError, match="too large"):
            log.log.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert log.log.state.waiting == 4
    log.log.flush()
    log.ship()
    assert log.requests() == {"r1", "r2"}
    assert log.log.state.torn_bytes == 0


def test_what_a_killed_process_left_open_is_shipped_by_the_next_and_its_torn_end_counted(tmp_path: Path) -> None:
    killed = Log(tmp_path)
    killed.add(entry("r1"))
    killed.log.flush()
    killed.add(entry("r2"))
    killed.log.flush()
    killed.end()
    (left,) = killed.spool.folder.glob("*.open")
    os.truncate(left, left.stat().st_size - 1)
    log = Log(tmp_path)
    assert log.log.state.waiting == 2
    log.shipper.ship()
    assert log.requests() == {"r1"}
    state = log.log.state
    assert (state.logged, state.waiting, state.dropped) == (2, 0, 0)
    assert state.torn_bytes > 0
    log.end()


def test_an_altered_frame_ends_its_segment_and_its_rows_count_as_dropped(log: Log) -> None:
    for name in ("r1", "r2"):
        log.add(entry(name))
        log.log.flush()
    log.spooled()
    segment = log.spool.oldest()
    assert segment is not None
    data = bytearray(segment.read_bytes())
    data[-1] ^= 1
    segment.write_bytes(data)
    log.shipper.ship()
    assert log.requests() == {"r1"}
    assert log.log.state[:3] == (2, 0, 2)


def test_what_is_shipped_again_replaces_and_never_doubles(tmp_path: Path) -> None:
    log = Log(tmp_path)
    log.add(entry())
    log.spooled()
    segment = log.spool.oldest()
    assert segment is not None
    data = segment.read_bytes()
    log.shipper.ship()
    log.end()
    segment.write_bytes(data)
    again = Log(tmp_path)
    again.objects = log.objects
    again.shipper.__dict__["_objects"] = log.objects
    again.shipper.ship()
    assert len(log.objects.list("predictions/")) == 1
    again.end()


def test_a_segment_of_something_else_is_set_aside(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    log.spool.append(b"\xc1 no records", 3)
    log.spool.roll(now=True)
    log.add(entry())
    log.ship()
    assert log.requests() == {"r1"}
    assert "3 rows are set aside" in caplog.text
    assert len(list(log.spool.folder.glob("*.damaged"))) == 1
    assert log.log.state[:3] == (2, 0, 3)


def test_a_converting_process_that_died_is_started_again(log: Log) -> None:
    log.add(entry("r1"))
    log.ship()
    process = log.shipper.__dict__["_converter"].__dict__["_process"]
    process.kill()
    process.wait()
    log.add(entry("r2"))
    log.spooled()
    with pytest.raises(UnavailableError, match="ended with -9"):
        log.shipper.ship()
    log.shipper.ship()
    assert log.requests() == {"r1", "r2"}


def test_a_spool_is_one_server_s_alone(log: Log) -> None:
    other = Spool(log.spool.folder, 10**9)
    with pytest.raises(UnavailableError, match=r"is another server's: .* a KILTER_SPOOL of its own"):
        other.take()
    log.spool.release()
    other.take()
    other.release()


def test_a_spool_that_is_another_server_s_is_not_written_to(
    tmp_path: Path, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    second = PredictionLog(Spool(log.spool.folder, 10**9), log.objects, "champion", logging.getLogger("test"))
    second.add(entry())
    PredictionLog.__dict__["_turn"](second, last=True)
    assert "is another server's" in caplog.text
    assert second.state.waiting == 2
    assert [path.name for path in log.spool.folder.iterdir()] == ["lock"]


def test_segments_are_numbered_upwards_whatever_the_clock_does(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spools.time, "time_ns", lambda: 7)
    for name in ("r1", "r2"):
        log.add(entry(name))
        log.spooled()
    assert [int(path.stem) for path in sorted(log.spool.folder.glob("*.segment"))] == [7, 8]


def test_stopping_ships_the_rest_and_leaves_what_the_store_does_not_take(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log(tmp_path)
    log.log.start()
    log.add(entry("r1"))
    log.log.stop()
    assert log.requests() == {"r1"}
    away = Log(tmp_path)
    away.objects.away = True
    away.log.start()
    away.add(entry("r2"))
    away.log.stop()
    assert "2 rows wait in" in caplog.text
    following = Log(tmp_path)
    following.shipper.ship()
    assert following.requests() == {"r2"}
    following.end()
