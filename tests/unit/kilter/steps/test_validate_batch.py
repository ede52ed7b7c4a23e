"""validate_batch: one bad delivery after another, by Great Expectations and the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from kilter.errors import DataError, SpecError
from kilter.stores.objects import read_file, read_manifest

Change = Callable[[pd.DataFrame], pd.DataFrame]


def with_value(column: str, value: Any, rows: slice) -> Change:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[rows, column] = value
        return frame

    return change


BAD: dict[str, tuple[Change, str]] = {
    "a missing column": (
        lambda frame: frame.drop(columns="zone"),
        "rides: expect_table_columns_to_match_set: observed missing zone; allowed exactly ride_id, started_at",
    ),
    "an unexpected column": (
        lambda frame: frame.assign(tip=1.0),
        "rides: expect_table_columns_to_match_set: observed unexpected tip; allowed",
    ),
    "a renamed column": (
        lambda frame: frame.rename(columns={"fare": "price"}),
        "observed missing fare and unexpected price",
    ),
    "a mistyped column": (
        lambda frame: frame.assign(fare=frame.fare.astype(str)),
        "rides.fare: expect_column_values_to_be_in_type_list: observed 96 of 96 rows (100.00%) otherwise, "
        "such as 5.0, 6.0, 7.0; allowed type number",
    ),
    "a number where a text should be": (
        lambda frame: frame.assign(zone=1),
        "rides.zone: expect_column_values_to_be_in_type_list: observed int64; allowed type text",
    ),
    "a time as text": (
        lambda frame: frame.assign(ended_at=frame.ended_at.astype(str)),
        "rides.ended_at: expect_column_values_to_be_in_type_list",
    ),
    "values out of range": (
        with_value("fare", -3.0, slice(0, 4)),
        "rides.fare: expect_column_values_to_be_between: observed 5 of 96 rows (5.21%) otherwise, such as -3.0; "
        "allowed 0 … 500, 1.00% outside",
    ),
    "too many nulls": (
        with_value("minutes", None, slice(0, 47)),
        "rides.minutes: expect_column_values_to_not_be_null: observed",
    ),
    "nulls where none may be": (
        with_value("zone", None, slice(3, 3)),
        "rides.zone: expect_column_values_to_not_be_null: observed 1 of 96 rows (1.04%) otherwise, such as None; "
        "allowed 0.00% null",
    ),
    "an unknown category": (
        with_value("zone", "moon", slice(3, 3)),
        "rides.zone: expect_column_values_to_be_in_set: observed 1 of 96 rows (1.04%) otherwise, such as moon; "
        "allowed north, south",
    ),
    "duplicate rows": (
        lambda frame: pd.concat([frame, frame.head(2)]),
        "rides.ride_id: expect_column_values_to_be_unique: observed 4 of 98 rows (4.08%) otherwise, "
        "such as 0-0, 0-1; allowed one row for each ride_id",
    ),
    "an empty batch": (lambda frame: frame.head(0), "rides: 0 rows in the interval, allowed at least 1"),
    "no event times": (with_value("started_at", None, slice(0, 95)), "rides: 0 rows in the interval"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_delivery_fails_with_what_was_observed_and_allowed(rides: Any, name: str) -> None:
    change, reason = BAD[name]
    verdict = rides.ingest(0, change(rides.frame(0)))
    assert verdict["verdict"] == "failed"
    assert reason in verdict["reason"]


def test_a_clock_that_jumps_fails_a_source_that_delivers_what_it_likes(rides: Any) -> None:
    rides.change_spec(lambda text: text.replace("kind: files", "kind: python"))
    rides.deliver(0, with_value("started_at", rides.START.replace(year=2031), slice(90, 95))(rides.frame(0)))
    (rides.folder / "source.py").write_text(
        "import pandas as pd\nfrom pathlib import Path\n\n\ndef extract(start, end):\n"
        "    return {'rides': pd.read_parquet(Path(__file__).with_name('data') / '0.parquet')}\n"
    )
    batch = rides.run("extract", **rides.day(0))["batch"]
    verdict = rides.run("validate_batch", batch=batch, **rides.day(0))
    assert verdict["verdict"] == "failed"
    assert (
        "rides.started_at: expect_column_values_to_be_between: observed 6 of 96 rows (6.25%) otherwise, "
        "such as 2031-01-01 00:00:00; allowed 2023-12-31 00:00:00 ≤ time < 2024-01-02 00:00:00 UTC"
    ) in verdict["reason"]


def test_a_good_batch_passes_and_goes_to_the_ledger(rides: Any) -> None:
    verdict = rides.ingest(0)
    assert verdict["verdict"] == "passed"
    (row,) = rides.ledger.batches("rides")
    assert (row["verdict"], row["rows"], row["key"]) == ("passed", 96, verdict["batch"])
    assert row["reason"] == verdict["reason"]
    assert rides.objects.list("quarantine/") == []


def test_the_first_batches_pass_and_say_that_the_row_count_was_not_compared(rides: Any) -> None:
    assert "96 rows, not compared: 0 recent passed intervals, 2 needed" in rides.ingest(0)["reason"]
    assert "96 rows, not compared: 1 recent passed intervals, 2 needed" in rides.ingest(1)["reason"]
    assert "allowed 48 … 192 (0.5 … 2 × the median rate of the last 2 passed intervals)" in rides.ingest(2)["reason"]


def test_half_a_delivery_fails_against_the_recent_intervals(rides: Any) -> None:
    for day in (0, 1):
        rides.ingest(day)
    verdict = rides.ingest(2, rides.frame(2, rows=40))
    assert verdict["verdict"] == "failed"
    assert "rides: 40 rows, allowed 48 … 192" in verdict["reason"]


def test_a_batch_is_not_compared_with_itself_or_with_later_intervals(rides: Any) -> None:
    for day in (3, 4, 5):
        rides.ingest(day)
    assert "not compared: 0 recent passed intervals" in rides.ingest(2, rides.frame(2, rows=10))["reason"]
    assert "not compared: 0 recent passed intervals" in rides.ingest(2)["reason"]


def test_failed_batches_are_nothing_to_compare_with(rides: Any) -> None:
    for day in (0, 1):
        rides.ingest(day, rides.frame(day).assign(fare=-1.0))
    assert "not compared: 0 recent passed intervals" in rides.ingest(2)["reason"]


def test_a_failed_batch_is_kept_in_quarantine(rides: Any) -> None:
    verdict = rides.ingest(0, rides.frame(0).assign(fare=-1.0))
    batch = read_manifest(rides.objects, verdict["batch"])
    kept = read_manifest(rides.objects, f"quarantine/rides/{batch.digest}")
    assert read_file(rides.objects, kept, "rides.parquet") == read_file(rides.objects, batch, "rides.parquet")
    (row,) = rides.ledger.batches("rides", verdict="failed")
    assert row["digest"] == batch.digest


def test_a_failed_batch_leaves_the_last_good_features_as_they_were(rides: Any) -> None:
    good = rides.ingest(0)
    before = rides.objects.get(good["features"])
    assert rides.ingest(0, rides.frame(0).assign(fare=-1.0))["verdict"] == "failed"
    assert rides.objects.get(good["features"]) == before


def test_the_report_lists_every_expectation(rides: Any) -> None:
    verdict = rides.ingest(0, rides.frame(0).assign(fare=-1.0))
    report = json.loads(rides.objects.get(f"{verdict['report']}/validation.json"))
    failed = [finding for finding in report["findings"] if not finding["passed"]]
    assert [finding["column"] for finding in failed] == ["fare"]
    assert len(report["findings"]) == report["judgement"]["figures"]["expectations"] > 12


def test_a_truncated_batch_is_a_data_error(rides: Any) -> None:
    rides.deliver(0)
    batch = rides.run("extract", **rides.day(0))["batch"]
    rides.objects.put(f"{batch}/rides.parquet", rides.objects.get(f"{batch}/rides.parquet")[:-50])
    with pytest.raises(DataError, match="was altered"):
        rides.run("validate_batch", batch=batch, **rides.day(0))
    assert rides.ledger.batches("rides") == []


def test_wrong_expectations_are_refused_with_file_and_key(rides: Any) -> None:
    rides.deliver(0)
    batch = rides.run("extract", **rides.day(0))["batch"]
    (rides.folder / "expectations.json").write_text('{"tables": {"rides": {"fare": {"type": "money"}}}}')
    with pytest.raises(SpecError, match=r"expectations\.json: tables\.rides\.fare\.type: got 'money'"):
        rides.run("validate_batch", batch=batch, **rides.day(0))
