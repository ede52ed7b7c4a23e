"""build_features, on a small model."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from kilter.errors import DataError, InputError
from kilter.stores.parquet import from_parquet


def test_features_have_the_columns_types_and_order_that_the_spec_says(rides: Any) -> None:
    key = rides.ingest(0)["features"]
    table = from_parquet(rides.objects.get(key), key)
    assert key == "features/rides/20240101T000000.parquet"
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("ride_id", "string"),
        ("started_at", "timestamp[us, tz=UTC]"),
        ("created", "timestamp[us, tz=UTC]"),
        ("fare", "double"),
        ("zone", "string"),
    ]
    assert table["created"].equals(table["started_at"])
    assert table["started_at"].to_pylist() == sorted(table["started_at"].to_pylist())


def test_labels_leave_out_rows_without_an_outcome(rides: Any) -> None:
    key = rides.ingest(0)["labels"]
    table = from_parquet(rides.objects.get(key), key)
    assert [(field.name, str(field.type)) for field in table.schema] == [
        ("ride_id", "string"),
        ("started_at", "timestamp[us, tz=UTC]"),
        ("slow", "int8"),
        ("ended_at", "timestamp[us, tz=UTC]"),
    ]
    assert table.num_rows == int(rides.frame(0).ended_at.notna().sum())


def test_the_same_interval_twice_gives_equal_bytes(rides: Any) -> None:
    first = rides.ingest(0)
    before = [rides.objects.get(first[kind]) for kind in ("features", "labels")]
    again = rides.ingest(0)
    assert again["digest"] == first["digest"]
    assert [rides.objects.get(again[kind]) for kind in ("features", "labels")] == before


def test_the_record_tells_the_batch_and_the_objects_that_were_made_of_it(rides: Any) -> None:
    outputs = rides.ingest(0)
    record = json.loads(rides.objects.get("intervals/rides/20240101T000000_20240102T000000"))
    assert record == {
        "batch": outputs["batch"].rpartition("/")[2],
        "features": outputs["digest"],
        "labels": hashlib.sha256(rides.objects.get(outputs["labels"])).hexdigest(),
    }


def test_context_rows_are_not_written_again(rides: Any) -> None:
    rides.deliver(0)
    assert rides.ingest(1)["rows"] == 96


def test_an_interval_rebuilt_from_corrected_data_replaces_its_features(rides: Any) -> None:
    first = rides.ingest(0)
    second = rides.ingest(0, rides.frame(0).assign(fare=7.0))
    assert second["digest"] != first["digest"]
    assert rides.objects.list("features/") == [first["features"]]


def test_a_missing_feature_names_the_column_and_the_cure(rides: Any) -> None:
    rides.change_spec(lambda text: text.replace("{name: fare}", "{name: fare}\n    - {name: tip}"))
    with pytest.raises(InputError, match=r"features\.py gives no column tip; it gives ride_id, .*: add it there"):
        rides.ingest(0)


def test_two_rows_for_one_entity_and_time_are_refused(rides: Any) -> None:
    file = rides.folder / "features.py"
    file.write_text(
        file.read_text().replace(
            '"zone", "fare")', '"zone", "fare").union(tables["rides"].select("ride_id", "started_at", "zone", "fare"))'
        )
    )
    with pytest.raises(InputError, match="gives 96 rows more than there are pairs of ride_id and started_at"):
        rides.ingest(0)


def test_a_batch_that_features_py_does_not_fit_is_a_data_error_and_writes_nothing(rides: Any) -> None:
    file = rides.folder / "features.py"
    file.write_text(file.read_text().replace('"zone", "fare")', '"zone", "toll")'))
    with pytest.raises(DataError, match=r"features\.py does not fit the batch"):
        rides.ingest(0)
    assert [key for kind in ("features", "labels", "intervals") for key in rides.objects.list(f"{kind}/")] == []


def test_a_batch_that_failed_never_becomes_features_even_by_hand(rides: Any) -> None:
    bad = rides.ingest(0, rides.frame(0).assign(fare=-5.0))
    assert bad["verdict"] == "failed"
    with pytest.raises(InputError, match=r"failed: .*fare.*: only a passed batch becomes features; repair the source"):
        rides.run("build_features", batch=bad["batch"], **rides.day(0))
    assert rides.objects.list("features/") == []


def test_a_batch_that_was_never_validated_never_becomes_features(rides: Any) -> None:
    rides.deliver(0)
    batch = rides.run("extract", **rides.day(0))["batch"]
    with pytest.raises(
        InputError, match=r"was never validated for the interval from 2024-01-01T00:00:00\+00:00 .*first"
    ):
        rides.run("build_features", batch=batch, **rides.day(0))


def test_an_interval_that_overlaps_one_in_the_store_is_refused_with_the_cure(rides: Any) -> None:
    rides.ingest(0)
    half = {"start": "2024-01-01T12:00:00Z", "end": "2024-01-02T12:00:00Z"}
    before = rides.objects.list("")
    for step, inputs in (("extract", half), ("build_features", half | {"batch": "any"}), ("join_labels", half)):
        with pytest.raises(InputError) as error:
            rides.run(step, **inputs)
        for words in (
            "interval [2024-01-01T12:00:00+00:00, 2024-01-02T12:00:00+00:00) overlaps "
            "[2024-01-01T00:00:00+00:00, 2024-01-02T00:00:00+00:00), which has features and labels already",
            "remove its objects: intervals/rides/20240101T000000_20240102T000000, "
            "features/rides/20240101T000000.parquet, labels/rides/20240101T000000.parquet",
        ):
            assert words in str(error.value)
    assert rides.objects.list("") == before


def test_the_same_interval_written_with_another_offset_is_the_same(rides: Any) -> None:
    first = rides.ingest(0)
    day = {"start": "2024-01-01T05:30:00+05:30", "end": "2024-01-01T19:00:00-05:00"}
    assert rides.run("extract", **day)["batch"] == first["batch"]
    assert rides.run("build_features", batch=first["batch"], **day)["digest"] == first["digest"]


def test_a_missing_features_py_names_the_file_and_the_function(rides: Any) -> None:
    (rides.folder / "features.py").unlink()
    with pytest.raises(InputError, match=r"features\.py is missing: add it, with a function build"):
        rides.ingest(0)
