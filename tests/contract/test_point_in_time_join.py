"""Kilter's join over real Parquet files, by itself and through Feast, beside Feast's own store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import feast
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kilter.errors import DataError, InputError
from kilter.keys import interval_key
from kilter.spec import load_spec
from kilter.stores import feature_rows, offline
from kilter.stores.feature_view import PROJECT, configuration, definitions
from kilter.stores.features import CREATED, FeatureStore
from kilter.stores.objects import FileObjects
from kilter.stores.parquet import frame_to_parquet

SPEC = load_spec(Path(__file__).parents[2] / "include/models/flight_delay")
START = datetime(2013, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
NUMBERS = [feature.name for feature in SPEC.features.columns if feature.kind == "numeric"]


@pytest.fixture
def objects(tmp_path: Path) -> FileObjects:
    return FileObjects(tmp_path / "store")


@pytest.fixture
def store(objects: FileObjects, tmp_path: Path) -> FeatureStore:
    return FeatureStore(SPEC, objects, f"sqlite:///{tmp_path}/registry.db", f"{tmp_path}/online.db")


def some_rows(count: int, seed: int) -> pd.DataFrame:
    """Rows of four days: a third arrived late, a fifth of the values are null, no pair of entity and time stands twice."""
    random = np.random.default_rng(seed)
    times = START + pd.to_timedelta(random.integers(0, 96, count), unit="h")
    late = pd.to_timedelta(np.where(random.random(count) < 0.33, random.integers(1, 40, count), 0), unit="h")
    frame = pd.DataFrame(
        {SPEC.entity: random.choice(list("abcde"), count), SPEC.timestamp: times, CREATED: times + late}
    )
    for feature in SPEC.features.columns:
        values = random.choice(feature.categories, count) if feature.categories else random.normal(size=count)
        frame[feature.name] = pd.Series(values).where(random.random(count) > 0.2)
    return frame.drop_duplicates([SPEC.entity, SPEC.timestamp], ignore_index=True)


def some_questions(count: int, seed: int) -> pd.DataFrame:
    """Also of an entity without rows, before any row, and after all of them."""
    random = np.random.default_rng(seed)
    times = START + pd.to_timedelta(random.integers(-10, 140, count), unit="h")
    frame = pd.DataFrame({SPEC.entity: random.choice(list("abcdez"), count), SPEC.timestamp: times})
    return frame.drop_duplicates(ignore_index=True)


def put(objects: FileObjects, frame: pd.DataFrame) -> None:
    """Each day as an object."""
    for day, rows in frame.groupby(frame[SPEC.timestamp].dt.floor("D")):
        objects.put(interval_key("features", SPEC.name, day.to_pydatetime()), frame_to_parquet(rows))


def by_feast(asked: pd.DataFrame, objects: FileObjects, folder: Path, own_store: bool) -> pd.DataFrame:
    """What Feast gives, with its own offline store or with Kilter's."""
    config = configuration({"path": f"{folder}/feasts.db"}, f"{folder}/online.db")
    if own_store:
        config.offline_config = "duckdb"
    store = feast.FeatureStore(config=config)
    entity, view = definitions(SPEC, f"{objects.root}/features/{SPEC.name}/*.parquet")
    store.registry.apply_entity(entity, PROJECT)
    store.registry.apply_feature_view(view, PROJECT)
    found = store.get_historical_features(
        asked.rename(columns={SPEC.timestamp: "event_timestamp"}),
        [f"{SPEC.name}:{name}" for name in SPEC.features.names],
        filter_by_created_timestamp=True,
    )
    # In the order of the questions, which it loses.
    return asked.merge(found.to_df().rename(columns={"event_timestamp": SPEC.timestamp}))


@pytest.mark.parametrize("piece", [7, 1_000_000])
def test_the_join_is_that_of_feasts_store_whatever_the_pieces(
    objects: FileObjects, store: FeatureStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    put(objects, some_rows(300, seed=1))
    asked = some_questions(200, seed=2)
    monkeypatch.setattr(feature_rows, "_PIECE", piece)
    ours = store.historical(asked)
    for own_store in (True, False):
        theirs = by_feast(asked, objects, tmp_path, own_store)
        pd.testing.assert_frame_equal(ours, theirs[ours.columns], check_dtype=False)
    assert 0.2 < ours[NUMBERS].isna().all(axis=1).mean() < 0.8


def test_of_rows_about_one_time_the_one_created_last_counts_once_it_is_known(
    objects: FileObjects, store: FeatureStore
) -> None:
    rows = some_rows(1, seed=1).iloc[[0, 0, 0]].assign(distance=[1.0, 2.0, 3.0])
    rows = rows.assign(**{SPEC.entity: "a", SPEC.timestamp: START, CREATED: [START, START + 2 * HOUR, START + HOUR]})
    put(objects, rows[[SPEC.entity, SPEC.timestamp, CREATED, *SPEC.features.names]])
    times = [START + hours * HOUR for hours in (0, 1, 2)]
    found = store.historical(pd.DataFrame({SPEC.entity: "a", SPEC.timestamp: times}))
    assert found.distance.tolist() == [1.0, 3.0, 2.0]


def test_of_rows_alike_the_last_one_counts_also_where_entities_outnumber_rows(
    objects: FileObjects, store: FeatureStore
) -> None:
    """Which DuckDB would join the other way round, in another order."""
    entities = [f"e{number}" for number in range(40)]
    rows = some_rows(1, seed=1).iloc[np.zeros(120, int)].assign(distance=np.arange(120.0))
    put(objects, rows.assign(**{SPEC.entity: np.repeat(entities, 3), SPEC.timestamp: START, CREATED: START}))
    asked = pd.DataFrame({SPEC.entity: [*entities, *(f"other {n}" for n in range(100_000))], SPEC.timestamp: START})
    assert store.historical(asked).distance[:40].tolist() == list(range(2, 120, 3))


@pytest.mark.parametrize("entities", [["a", None, "b"], [None]])
def test_of_an_entity_that_is_null_nothing_is_known(
    objects: FileObjects, store: FeatureStore, entities: list[str | None]
) -> None:
    rows = some_rows(1, seed=1).iloc[[0, 0]].assign(distance=[1.0, 2.0])
    put(objects, rows.assign(**{SPEC.entity: ["a", "b"], SPEC.timestamp: START, CREATED: START}))
    found = store.historical(pd.DataFrame({SPEC.entity: entities, SPEC.timestamp: START}))
    assert found.distance.isna().tolist() == [name is None for name in entities]


@pytest.mark.parametrize("older", [0, 1])
def test_features_older_than_one_that_is_new_in_the_spec_are_an_error_with_its_cure(
    objects: FileObjects, store: FeatureStore, older: int
) -> None:
    rows = some_rows(1, seed=1)
    for day in range(2):
        time = START + day * 24 * HOUR
        frame = rows.assign(**{SPEC.entity: "a", SPEC.timestamp: time, CREATED: time})
        put(objects, frame.drop(columns="distance") if day == older else frame)
    asked = pd.DataFrame({SPEC.entity: ["a"], SPEC.timestamp: [START + 24 * HOUR]})
    with pytest.raises(DataError, match=r'"distance".*: run feature_ingestion of these intervals again'):
        store.historical(asked)


def test_a_newer_row_with_a_null_counts_as_null(objects: FileObjects, store: FeatureStore) -> None:
    rows = some_rows(1, seed=1).iloc[[0, 0]].assign(distance=[1.0, None])
    put(
        objects,
        rows.assign(**{SPEC.entity: "a", SPEC.timestamp: [START, START + HOUR], CREATED: [START, START + HOUR]}),
    )
    found = store.historical(pd.DataFrame({SPEC.entity: ["a"], SPEC.timestamp: [START + 2 * HOUR]}))
    assert found.distance.isna().all()


def test_before_the_first_interval_nothing_is_known(objects: FileObjects, store: FeatureStore) -> None:
    put(objects, some_rows(5, seed=1))
    found = store.historical(pd.DataFrame({SPEC.entity: ["a"], SPEC.timestamp: [START - HOUR]}))
    assert found[list(SPEC.features.names)].isna().all(axis=None)


def test_pieces_of_a_table_may_repeat_a_pair(objects: FileObjects, store: FeatureStore) -> None:
    put(objects, some_rows(300, seed=1))
    time = START + 50 * HOUR
    rows = pa.table({SPEC.entity: ["a", "b", "a"], SPEC.timestamp: pa.array([time] * 3, pa.timestamp("us", "UTC"))})
    with store.reader(time, time) as join:
        found = join(rows)
    assert found.column_names == list(SPEC.features.names)
    assert found.slice(0, 1).equals(found.slice(2, 1))
    with pytest.raises(DataError, match="1 of 3 entity rows repeat others"):
        store.historical(rows.to_pandas())


def test_several_views_at_once_are_refused() -> None:
    _, view = definitions(SPEC, "x")
    with pytest.raises(InputError, match="joins one view with one key"):
        offline.PointInTimeOfflineStore.get_historical_features(None, [view, view], [], pd.DataFrame(), None, "kilter")
