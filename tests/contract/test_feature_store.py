"""The feature store keeps its promises whether its objects lie in files or in S3."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kilter.errors import DataError, InputError
from kilter.keys import interval_key
from kilter.spec import ModelSpec, load_spec
from kilter.stores.features import CREATED, FeatureStore
from kilter.stores.objects import FileObjects, ObjectStore, S3Objects
from kilter.stores.parquet import frame_to_parquet

SPEC = load_spec(Path(__file__).parents[2] / "include/models/flight_delay")
START = datetime(2013, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(params=["file", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return FileObjects(tmp_path / "store")
    return S3Objects(request.getfixturevalue("bucket"), "kilter")


@pytest.fixture
def store(objects: ObjectStore, tmp_path: Path) -> FeatureStore:
    return FeatureStore(SPEC, objects, f"sqlite:///{tmp_path}/state/registry.db", f"{tmp_path}/state/online.db")


@pytest.fixture
def in_tokyo() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def rows(spec: ModelSpec, entities: list[str], times: list[datetime], values: list[float]) -> pd.DataFrame:
    frame = pd.DataFrame({spec.entity: entities, spec.timestamp: times, CREATED: times})
    for feature in spec.features.columns:
        frame[feature.name] = "EWR" if feature.kind == "categorical" else values
    return frame


def put(objects: ObjectStore, day: int, frame: pd.DataFrame) -> None:
    objects.put(interval_key("features", SPEC.name, START + day * DAY), frame_to_parquet(frame))


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def ask(*pairs: tuple[str, datetime]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=[SPEC.entity, SPEC.timestamp])


def test_a_row_gets_the_newest_features_of_its_time_and_never_later_ones(
    objects: ObjectStore, store: FeatureStore
) -> None:
    put(objects, 0, rows(SPEC, ["a", "a", "b"], [at(1), at(3), at(2)], [1.0, 3.0, 2.0]))
    found = store.historical(ask(("a", at(3)), ("a", at(2.9)), ("a", at(0.9)), ("b", at(20))))
    assert found.distance.tolist() == pytest.approx([3.0, 1.0, np.nan, 2.0], nan_ok=True)


def test_a_value_that_arrived_late_is_not_used_before_it_arrived(objects: ObjectStore, store: FeatureStore) -> None:
    late = rows(SPEC, ["a"], [at(1)], [9.0]).assign(created=[at(5)])
    put(objects, 0, pd.concat([rows(SPEC, ["a"], [at(0)], [1.0]), late]))
    found = store.historical(ask(("a", at(2)), ("a", at(5))))
    assert found.distance.tolist() == [1.0, 9.0]


def test_features_older_than_their_time_to_live_are_null(objects: ObjectStore, store: FeatureStore) -> None:
    put(objects, 0, rows(SPEC, ["a"], [at(1)], [1.0]))
    found = store.historical(ask(("a", at(25)), ("a", at(25.1))))
    assert found.distance.tolist() == pytest.approx([1.0, np.nan], nan_ok=True)


def test_no_entity_row_is_lost_and_the_order_stays(objects: ObjectStore, store: FeatureStore) -> None:
    put(objects, 0, rows(SPEC, ["a"], [at(1)], [1.0]))
    asked = ask(("z", at(2)), ("a", at(2)), ("y", at(1)), ("a", at(400))).assign(late=[0, 1, 0, 1])
    found = store.historical(asked)
    pd.testing.assert_frame_equal(found[asked.columns], asked, check_dtype=False)
    assert list(found.columns) == [*asked.columns, *SPEC.features.names]


def test_intervals_are_joined_across_their_border(objects: ObjectStore, store: FeatureStore) -> None:
    put(objects, 0, rows(SPEC, ["a"], [at(23)], [1.0]))
    put(objects, 1, rows(SPEC, ["b"], [at(30)], [2.0]))
    put(objects, 9, rows(SPEC, ["a"], [at(9 * 24)], [3.0]))
    found = store.historical(ask(("a", at(25)), ("b", at(31)), ("a", at(9 * 24))))
    assert found.distance.tolist() == [1.0, 2.0, 3.0]


def test_a_repeated_entity_row_is_a_data_error(objects: ObjectStore, store: FeatureStore) -> None:
    put(objects, 0, rows(SPEC, ["a"], [at(1)], [1.0]))
    with pytest.raises(DataError, match="may stand once only"):
        store.historical(ask(("a", at(2)), ("a", at(2))))


def test_no_entity_rows_are_refused(store: FeatureStore) -> None:
    with pytest.raises(InputError, match="no entity rows"):
        store.historical(ask())


def test_no_features_at_all_is_a_data_error(store: FeatureStore) -> None:
    with pytest.raises(DataError, match=r"has no features yet: run flight_delay\.feature_ingestion first"):
        store.historical(ask(("a", at(2))))


def test_what_is_materialised_is_read_online_in_the_specs_order(objects: ObjectStore, store: FeatureStore) -> None:
    put(objects, 0, rows(SPEC, ["a", "a", "b"], [at(1), at(3), at(2)], [1.0, 3.0, 2.0]))
    assert store.materialize(at(0), at(24)) == 2
    found = store.online(["b", "a"])
    assert list(found.columns) == [SPEC.entity, SPEC.timestamp, *SPEC.features.names]
    assert found[SPEC.timestamp].tolist() == [at(2), at(3)]
    assert found.distance.tolist() == [2.0, 3.0]
    assert found.origin.tolist() == ["EWR", "EWR"]


def test_the_end_of_the_stretch_is_not_materialised(objects: ObjectStore, store: FeatureStore) -> None:
    put(objects, 0, rows(SPEC, ["a", "b"], [at(23), at(24)], [1.0, 2.0]))
    assert store.materialize(at(0), at(24)) == 1
    assert store.online(["a", "b"]).distance.notna().tolist() == [True, False]


def test_a_stretch_without_rows_puts_nothing_online(objects: ObjectStore, store: FeatureStore) -> None:
    put(objects, 0, rows(SPEC, ["a"], [at(1)], [1.0]))
    assert store.materialize(at(12), at(24)) == 0
    found = store.online(["a"])
    assert found.distance.isna().all()
    assert found[SPEC.timestamp].isna().all()


def test_times_are_utc_wherever_the_machine_stands(objects: ObjectStore, store: FeatureStore, in_tokyo: None) -> None:
    put(objects, 0, rows(SPEC, ["a", "b"], [at(1), at(23)], [1.0, 2.0]))
    assert store.materialize(at(12), at(24)) == 1
    assert store.online(["a", "b"]).distance.notna().tolist() == [False, True]
    assert store.historical(ask(("b", at(23)))).distance.tolist() == [2.0]


def test_a_read_leaves_no_trace(objects: ObjectStore, store: FeatureStore, tmp_path: Path) -> None:
    put(objects, 0, rows(SPEC, ["a"], [at(1)], [1.0]))
    store.historical(ask(("a", at(2))))
    assert not (tmp_path / "state").exists()
