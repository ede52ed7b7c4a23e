"""The prediction log: what is written, and what happens when it cannot be."""

import logging
import re
from datetime import UTC, datetime

import pyarrow.compute as pc

from kilter.encoding import Signature
from kilter.errors import UnavailableError
from kilter.serving.prediction_log import Entry, PredictionLog
from kilter.serving.request import parse
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


def entry(request_id="r1", version=1, model="m"):
    deployment = Deployment(model=model, version=version, key="k", digest=f"d{version}")
    return Entry(deployment, SIGNATURE, request_id, NOW, 0.5, parse(BODY, SIGNATURE, NOW), [0.25, 0.75])


def written(objects):
    return [from_parquet(objects.get(key), key) for key in objects.list("predictions/")]


def log_to(objects, **options):
    return PredictionLog(objects, "champion", logging.getLogger("test"), **options)


def test_a_row_holds_the_score_the_features_as_they_came_and_who_answered():
    objects = MemoryObjects()
    log = log_to(objects)
    log.add(entry())
    log.flush()
    (key,) = objects.list("predictions/")
    assert re.fullmatch(r"predictions/m/20130103T000000_20130104T000000_champion_[0-9a-f]{32}\.parquet", key)
    (table,) = written(objects)
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


def test_versions_and_models_are_written_apart():
    objects = MemoryObjects()
    log = log_to(objects)
    for item in (entry("r1"), entry("r2", version=2), entry("r3"), entry("r4", model="n")):
        log.add(item)
    log.flush()
    assert len(objects.list("predictions/m/")) == 2
    assert len(objects.list("predictions/n/")) == 1


def test_nothing_buffered_writes_nothing():
    objects = MemoryObjects()
    log_to(objects).flush()
    assert objects.list("") == []


def test_while_the_store_is_away_the_newest_rows_wait_and_the_dropped_ones_are_counted(caplog):
    objects = Away()
    objects.away = True
    log = log_to(objects, buffer_rows=4)
    for number in range(5):
        log.add(entry(f"r{number}"))
        log.flush()
    assert "6 rows dropped so far" in caplog.text
    objects.away = False
    log.flush()
    kept = {name for table in written(objects) for name in pc.unique(table["request_id"]).to_pylist()}
    assert kept == {"r3", "r4"}


def test_stopping_writes_the_rest_and_says_what_is_lost(caplog):
    objects = Away()
    log = log_to(objects)
    log.start()
    log.add(entry())
    log.stop()
    assert sum(table.num_rows for table in written(objects)) == 2
    lost = log_to(objects)
    lost.start()
    objects.away = True
    lost.add(entry())
    lost.stop()
    assert "2 rows are lost" in caplog.text
