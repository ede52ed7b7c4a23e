"""build_features, on a small model."""

from __future__ import annotations

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
    rides.deliver(0, rides.frame(0).drop(columns="fare"))
    batch = rides.run("extract", **rides.day(0))["batch"]
    with pytest.raises(DataError, match=r"features\.py does not fit the batch"):
        rides.run("build_features", batch=batch, **rides.day(0))
    assert rides.objects.list("features/") + rides.objects.list("labels/") == []


def test_a_missing_features_py_names_the_file_and_the_function(rides: Any) -> None:
    (rides.folder / "features.py").unlink()
    with pytest.raises(InputError, match=r"features\.py is missing: add it, with a function build"):
        rides.ingest(0)
