"""join_labels: the prediction log meets the labels."""

from __future__ import annotations

import io
import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kilter.errors import DataError
from kilter.keys import CLASSES
from kilter.stores.objects import read_file, read_manifest
from kilter.stores.parquet import from_parquet


def log(
    rides: Any,
    frame: pd.DataFrame,
    name: str = "a",
    logged_at: str = "2024-02-01T00:00:00Z",
    score: float | list[list[float]] = 0.5,
    role: str = "champion",
    classes: tuple[str, ...] = (),
) -> None:
    """Log predictions for rides, as a model server does; `classes` are those of its version."""
    rows = frame[["ride_id", "started_at", "fare", "zone"]].assign(
        request_id=name, logged_at=pd.Timestamp(logged_at), role=role, model_version=3, digest="d", score=score
    )
    table = pa.Table.from_pandas(rows, preserve_index=False)
    if classes:
        place = table.schema.get_field_index("score")
        field = table.schema.field(place).with_metadata({CLASSES: json.dumps(classes)})
        table = table.cast(table.schema.set(place, field))
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    span = "_".join(f"{time:%Y%m%dT%H%M%S}" for time in (rows.started_at.min(), rows.started_at.max()))
    rides.objects.put(f"predictions/rides/{span}_{role}_{name}.parquet", buffer.getvalue())


def of_task(rides: Any, task: str, label: str, metrics: str, labelled: str) -> None:
    """Make the model one of another task, with the label that an expression of `rides` gives."""
    rides.change_spec(
        lambda text: (
            text.replace("task: binary", f"task: {task}")
            .replace("{column: slow", f"{{{label}column: slow")
            .replace("metrics: [roc_auc]", f"metrics: [{metrics}]")
            .replace("{roc_auc: 0.5}", f"{{{metrics}: 0.5}}")
        )
    )
    code = rides.folder / "features.py"
    code.write_text(code.read_text().replace('slow=(ended.minutes > 20).cast("int8")', f"slow={labelled}"))


def of_classes(rides: Any) -> None:
    of_task(rides, "multiclass", "classes: [quick, slow], ", "log_loss", "(ended.minutes > 20).ifelse('slow', 'quick')")


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


def test_a_window_of_classes_has_lists_of_scores_and_names_for_labels(rides: Any) -> None:
    of_classes(rides)
    for day in (0, 1):
        rides.ingest(day)
    frame = rides.frame(0)
    scores = [[place / 100, 1 - place / 100] for place in range(len(frame))]
    log(rides, frame, score=scores, classes=("quick", "slow"))
    outputs = rides.run("join_labels", **rides.day(0))
    found = window(rides, outputs)
    known = frame.ended_at + pd.Timedelta("1h") <= "2024-01-02T00:00:00Z"
    assert outputs["labelled"] == known.sum()
    assert [list(score) for score in found.score] == scores
    assert found.slow[known].tolist() == frame.minutes[known].gt(20).map({True: "slow", False: "quick"}).tolist()
    assert found.slow[~known].isna().all()


def test_scores_of_other_classes_are_put_into_the_order_of_the_specs(rides: Any) -> None:
    of_classes(rides)
    log(rides, rides.frame(0), score=[[0.2, 0.3, 0.5]] * 96, classes=("slow", "lost", "quick"))
    log(rides, rides.frame(1), score=[[1.0]] * 96, classes=("slow",))
    for day, expected in ((0, [0.5, 0.2]), (1, [0.0, 1.0])):
        found = window(rides, rides.run("join_labels", **rides.day(day)))
        assert [list(score) for score in found.score] == [expected] * 96


def test_a_window_of_a_regression_has_numbers_for_labels(rides: Any) -> None:
    of_task(rides, "regression", "", "r2", "ended.minutes")
    for day in (0, 1):
        rides.ingest(day)
    frame = rides.frame(0)
    log(rides, frame, score=12.5)
    found = window(rides, rides.run("join_labels", **rides.day(0)))
    known = frame.ended_at + pd.Timedelta("1h") <= "2024-01-02T00:00:00Z"
    assert found.score.unique().tolist() == [12.5]
    assert found.slow[known].tolist() == frame.minutes[known].tolist()
    assert found.slow[~known].isna().all()


def test_an_empty_window_has_the_types_of_its_task(rides: Any) -> None:
    of_classes(rides)
    manifest = read_manifest(rides.objects, rides.run("join_labels", **rides.day(0))["window"])
    schema = from_parquet(read_file(rides.objects, manifest, "window.parquet"), "window").schema
    assert (schema.field("score").type, schema.field("slow").type) == (pa.list_(pa.float64()), pa.string())


def test_scores_of_another_task_are_a_data_error(rides: Any) -> None:
    log(rides, rides.frame(0), score=[[0.2, 0.8]] * 96, classes=("quick", "slow"))
    with pytest.raises(DataError, match="which none of task binary is: give a model of another task a name of its own"):
        rides.run("join_labels", **rides.day(0))


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
