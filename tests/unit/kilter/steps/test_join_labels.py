"""join_labels: the prediction log meets the labels."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from kilter.errors import DataError
from kilter.stores.objects import read_file, read_manifest
from kilter.stores.parquet import frame_to_parquet, from_parquet


def log(
    rides: Any,
    frame: pd.DataFrame,
    name: str = "a",
    logged_at: str = "2024-02-01T00:00:00Z",
    score: float = 0.5,
    role: str = "champion",
) -> None:
    """Log predictions for rides, as a model server does."""
    rows = frame[["ride_id", "started_at", "fare", "zone"]].assign(
        request_id=name, logged_at=pd.Timestamp(logged_at), role=role, model_version=3, digest="d", score=score
    )
    span = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in (rows.started_at.min(), rows.started_at.max()))
    rides.objects.put(f"predictions/rides/{span}_{role}_{name}.parquet", frame_to_parquet(rows))


def window(rides: Any, outputs: dict[str, Any]) -> pd.DataFrame:
    manifest = read_manifest(rides.objects, outputs["window"])
    return from_parquet(read_file(rides.objects, manifest, "window.parquet"), "window").to_pandas()


def test_a_window_joins_predictions_with_labels_known_at_its_end(rides: Any) -> None:
    for day in (0, 1):
        rides.ingest(day)
    frame = rides.frame(0)
    log(rides, frame)
    outputs = rides.run("join_labels", **rides.day(0))
    found = window(rides, outputs)
    assert list(found.columns) == ["ride_id", "started_at", "fare", "zone", "score", "model_version", "role", "slow"]
    known = frame.ended_at + pd.Timedelta("1h") <= "2024-01-02T00:00:00Z"
    assert outputs == {"window": outputs["window"], "rows": 96, "labelled": int(known.sum())}
    assert found.slow.notna().tolist() == known.tolist()
    assert found.slow[known].astype(int).tolist() == (frame.minutes[known] > 20).astype(int).tolist()


def test_labels_that_arrive_after_the_windows_end_do_not_change_it(rides: Any) -> None:
    rides.ingest(0)
    log(rides, rides.frame(0))
    before = rides.run("join_labels", **rides.day(0))
    rides.ingest(1)
    assert rides.run("join_labels", **rides.day(0)) == before


def test_the_last_logged_of_several_predictions_stays(rides: Any) -> None:
    rides.ingest(0)
    frame = rides.frame(0)
    log(rides, frame, "b", "2024-02-01T00:00:02Z", score=0.9, role="canary")
    log(rides, frame, "a", "2024-02-01T00:00:01Z", score=0.1)
    found = window(rides, rides.run("join_labels", **rides.day(0)))
    assert len(found) == 96
    assert found.score.unique().tolist() == [0.9]
    assert found.role.unique().tolist() == ["canary"]


def test_predictions_outside_the_window_are_left_out(rides: Any) -> None:
    log(rides, pd.concat([rides.frame(day) for day in (0, 1, 2)]))
    found = window(rides, rides.run("join_labels", **rides.day(1)))
    assert found.ride_id.tolist() == rides.frame(1).ride_id.tolist()


def test_log_objects_outside_the_window_are_not_even_read(rides: Any) -> None:
    log(rides, rides.frame(0))
    rides.objects.put("predictions/rides/20240105T000000_20240105T235959_champion_x.parquet", b"truncated")
    assert rides.run("join_labels", **rides.day(0))["rows"] == 96


def test_an_empty_log_leaves_an_empty_window(rides: Any) -> None:
    outputs = rides.run("join_labels", **rides.day(0))
    assert (outputs["rows"], outputs["labelled"]) == (0, 0)
    assert window(rides, outputs).empty
    assert len(window(rides, outputs).columns) == 8


def test_predictions_without_labels_are_a_window_without_labels(rides: Any) -> None:
    log(rides, rides.frame(0))
    outputs = rides.run("join_labels", **rides.day(0))
    assert (outputs["rows"], outputs["labelled"]) == (96, 0)


def test_predictions_without_an_entity_stay_and_have_no_label(rides: Any) -> None:
    rides.ingest(0)
    log(rides, rides.frame(0).assign(ride_id=None, started_at=pd.Timestamp("2024-01-01T12:00:00Z")))
    outputs = rides.run("join_labels", **rides.day(0))
    assert (outputs["rows"], outputs["labelled"]) == (96, 0)


def test_the_same_window_twice_is_one_object(rides: Any) -> None:
    rides.ingest(0)
    log(rides, rides.frame(0))
    assert rides.run("join_labels", **rides.day(0)) == rides.run("join_labels", **rides.day(0))
    assert len(rides.objects.list("windows/rides/")) == 2


def test_a_truncated_log_object_is_a_data_error(rides: Any) -> None:
    rides.objects.put("predictions/rides/20240101T000000_20240101T235959_champion_x.parquet", b"PAR1")
    with pytest.raises(DataError, match="is not readable Parquet"):
        rides.run("join_labels", **rides.day(0))


def test_a_foreign_name_in_the_log_is_a_data_error(rides: Any) -> None:
    rides.objects.put("predictions/rides/notes.parquet", b"")
    with pytest.raises(DataError, match=r"has no name like 20130131T000000_20130131T235959_champion_<id>\.parquet"):
        rides.run("join_labels", **rides.day(0))
