"""freeze_dataset: point in time, by time, under a digest."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from kilter.core.origin import Origin
from kilter.errors import DataError, InputError, UnavailableError
from kilter.stores.objects import read_file, read_manifest
from kilter.stores.parquet import from_parquet, to_parquet

from .conftest import Rides


def parts(rides: Any, snapshot: str) -> dict[str, pd.DataFrame]:
    manifest = read_manifest(rides.objects, snapshot)
    return {
        name.removesuffix(".parquet"): from_parquet(read_file(rides.objects, manifest, name), name).to_pandas()
        for name in manifest.files
    }


def rows(rides: Any, snapshot: str) -> pd.DataFrame:
    return pd.concat([parts(rides, snapshot)[name] for name in ("train", "validation", "test")], ignore_index=True)


@pytest.fixture(scope="module")
def four_days(tmp_path_factory: pytest.TempPathFactory) -> Rides:
    """Ingested once."""
    rides = Rides(tmp_path_factory.mktemp("four_days"))
    for day in range(4):
        rides.ingest(day)
    return rides


@pytest.fixture
def ingested(rides: Rides, four_days: Rides) -> Rides:
    """A copy of those four days."""
    rides.become(four_days)
    return rides


def test_a_snapshot_is_labels_joined_with_features_split_by_time(ingested: Any) -> None:
    outputs = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    found = parts(ingested, outputs["snapshot"])
    assert outputs["rows"] == {name: len(frame) for name, frame in found.items()}
    for frame in found.values():
        assert list(frame.columns) == ["ride_id", "started_at", "fare", "zone", "slow", "ended_at"]
    assert found["train"].started_at.max() < found["validation"].started_at.min()
    assert found["validation"].started_at.max() < found["test"].started_at.min()
    reference = pd.concat([ingested.frame(day) for day in range(4)])
    expected = reference[reference.ended_at + timedelta(hours=1) <= "2024-01-05T00:00:00Z"]
    everything = rows(ingested, outputs["snapshot"])
    assert everything.ride_id.tolist() == expected.ride_id.tolist()
    assert everything.fare.tolist() == expected.fare.tolist()
    assert everything.slow.tolist() == (expected.minutes > 20).astype(int).tolist()


def test_a_label_counts_only_from_its_delay_after_the_outcome(ingested: Any) -> None:
    """Ride 2-47 started 11:45 and ended 11:54 (329 % 40 = 9 minutes later), known to us at 12:54."""
    before = ingested.run("freeze_dataset", as_of="2024-01-03T12:53:59Z")["snapshot"]
    after = ingested.run("freeze_dataset", as_of="2024-01-03T12:54:00Z")["snapshot"]
    assert "2-47" not in set(rows(ingested, before).ride_id)
    assert "2-47" in set(rows(ingested, after).ride_id)


def test_intervals_ingested_later_do_not_change_a_snapshot_of_the_past(rides: Any) -> None:
    for day in range(3):
        rides.ingest(day)
    before = rides.run("freeze_dataset", as_of="2024-01-04T00:00:00Z")
    rides.ingest(3)
    assert rides.run("freeze_dataset", as_of="2024-01-04T00:00:00Z") == before


def test_the_same_world_gives_the_same_bytes(ingested: Any) -> None:
    first = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    assert ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z") == first
    assert len(ingested.objects.list("snapshots/rides/")) == 4


def origins(rides: Any, as_of: str = "2024-01-05T00:00:00Z") -> list[Origin]:
    snapshot = rides.run("freeze_dataset", as_of=as_of)["snapshot"]
    return [Origin.model_validate(item) for item in read_manifest(rides.objects, snapshot).facts["origins"]]


def test_the_facts_name_the_time_the_rows_and_the_origin_of_each_interval(ingested: Any) -> None:
    ingested.ingest(1, ingested.frame(1).assign(fare=-1.0))
    outputs = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    facts = read_manifest(ingested.objects, outputs["snapshot"]).facts
    assert {key: facts[key] for key in facts if key != "origins"} == {
        "as_of": "2024-01-05T00:00:00+00:00",
        "scope": {"kind": "all", "spans": [], "reason": "nothing speaks against any of it"},
        "rows": outputs["rows"],
        "without_features": 0,
    }
    passed = ingested.ledger.batches("rides", verdict="passed")
    assert [(origin.start, origin.end, origin.batch) for origin in origins(ingested)] == [
        (row["interval_start"], row["interval_end"], row["digest"]) for row in passed
    ]
    assert len(passed) == 4


def test_the_origin_is_the_batch_that_the_features_were_built_of_not_the_newest_that_passed(ingested: Any) -> None:
    built = origins(ingested)[1].batch
    ingested.deliver(1, ingested.frame(1).assign(fare=9.0))
    newer = ingested.run("extract", **ingested.day(1))["batch"]
    assert ingested.run("validate_batch", batch=newer, **ingested.day(1))["verdict"] == "passed"
    assert origins(ingested)[1].batch == built
    ingested.run("build_features", batch=newer, **ingested.day(1))
    assert newer.endswith(f"/{origins(ingested)[1].batch}")


@pytest.mark.parametrize("kind", ["features", "labels"])
def test_an_object_that_build_features_did_not_write_is_of_unknown_origin(ingested: Any, kind: str) -> None:
    key = f"{kind}/rides/20240102T000000.parquet"
    table = from_parquet(ingested.objects.get(key), key)
    ingested.objects.put(key, to_parquet(table.slice(0, table.num_rows - 1)))
    assert [origin.batch is None for origin in origins(ingested)] == [False, True, False, False]
    assert origins(ingested)[1].end is not None


@pytest.mark.parametrize("empty", [True, False])
def test_an_interval_whose_record_says_nothing_or_is_gone_is_of_unknown_origin(ingested: Any, empty: bool) -> None:
    record = ingested.objects.root / "intervals/rides/20240104T000000_20240105T000000"
    record.write_bytes(b"") if empty else record.unlink()
    last = origins(ingested)[3]
    assert (last.batch, last.end is None) == (None, not empty)


def test_an_interval_that_no_row_and_no_feature_of_a_row_came_from_is_not_named(ingested: Any) -> None:
    """Rows of two days before the 5th, and features that count for a day."""
    ingested.change_spec(lambda text: text.replace("minimum_rows: 100", "minimum_rows: 100, window: 36h"))
    assert [origin.start.day for origin in origins(ingested)] == [2, 3, 4]


def test_an_interval_that_is_built_anew_while_it_is_read_is_refused(
    ingested: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kilter import labelled_rows

    read = labelled_rows.labelled_rows

    def read_while_another_builds(*given: Any) -> Any:
        rows = read(*given)
        ingested.ingest(2, ingested.frame(2).assign(fare=11.0))
        return rows

    monkeypatch.setattr(labelled_rows, "labelled_rows", read_while_another_builds)
    with pytest.raises(UnavailableError, match="built an interval anew while it was read: try again"):
        ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    assert ingested.objects.list("snapshots/") == []


def test_the_training_window_leaves_older_labels_out(ingested: Any) -> None:
    ingested.change_spec(lambda text: text.replace("minimum_rows: 100", "minimum_rows: 100, window: 2d"))
    snapshot = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")["snapshot"]
    assert rows(ingested, snapshot).started_at.min() >= pd.Timestamp("2024-01-02T23:00:00Z")


def test_labels_whose_features_are_gone_are_left_out_and_counted(ingested: Any) -> None:
    (ingested.objects.root / "features/rides/20240102T000000.parquet").unlink()
    outputs = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    assert not rows(ingested, outputs["snapshot"]).ride_id.str.startswith("1-").any()
    facts = read_manifest(ingested.objects, outputs["snapshot"]).facts
    assert facts["without_features"] == int(ingested.frame(1).ended_at.notna().sum())


@pytest.mark.parametrize("given", [{}, {"as_of": None}, {"as_of": ""}])
def test_without_as_of_the_end_of_the_newest_passed_interval_is_taken(ingested: Any, given: dict[str, Any]) -> None:
    newest = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    assert ingested.ingest(4, ingested.frame(4).assign(fare=-5.0))["verdict"] == "failed"
    assert ingested.run("freeze_dataset", **given) == newest


def test_without_as_of_and_without_a_passed_batch_the_error_says_what_to_do(rides: Any) -> None:
    with pytest.raises(InputError, match=r"has no passed batch .* run rides\.feature_ingestion first, or give as_of"):
        rides.run("freeze_dataset")


def test_the_same_instant_with_another_offset_is_the_same_snapshot(ingested: Any) -> None:
    first = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    assert ingested.run("freeze_dataset", as_of="2024-01-05T02:00:00+02:00") == first


def test_no_labels_is_a_data_error_with_the_cure(rides: Any) -> None:
    with pytest.raises(DataError, match=r"no labels known by 2024-01-05.*run rides\.feature_ingestion"):
        rides.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")


def test_too_few_rows_is_a_data_error_with_the_figures(rides: Any) -> None:
    rides.ingest(0)
    with pytest.raises(DataError, match=r"has 82 labelled rows .* training\.minimum_rows asks for 100"):
        rides.run("freeze_dataset", as_of="2024-01-02T00:00:00Z")


def test_one_class_only_is_a_data_error_that_names_the_part(rides: Any) -> None:
    for day in range(3):
        rides.ingest(day, rides.frame(day).assign(minutes=5.0))
    with pytest.raises(DataError, match=r"the train part's .* have the labels \[0\] of 'slow', needed are 0 and 1"):
        rides.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")


def test_a_truncated_label_object_is_a_data_error(ingested: Any) -> None:
    key = "labels/rides/20240102T000000.parquet"
    ingested.objects.put(key, ingested.objects.get(key)[:-20])
    with pytest.raises(DataError, match=r"20240102T000000\.parquet is not readable Parquet"):
        ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z")
    assert ingested.objects.list("snapshots/") == []


def span(first: int, last: int) -> list[str]:
    """The days from `first` until before `last`."""
    return [Rides.START.replace(day=1 + day).isoformat() for day in (first, last)]


def test_a_scope_leaves_out_the_rows_of_other_times_and_the_snapshot_says_so(ingested: Any) -> None:
    scope = {"kind": "regime", "spans": [span(0, 1), span(2, 3)]}
    found = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", scope=json.dumps(scope))
    assert {name.split("-")[0] for name in rows(ingested, found["snapshot"]).ride_id} == {"0", "2"}
    facts = read_manifest(ingested.objects, found["snapshot"]).facts
    assert facts["scope"]["kind"] == "regime"
    # Features live for a day, so those of day 1 may be in rows of day 2; nothing of day 3 is.
    assert [origin["start"][:10] for origin in facts["origins"]] == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_a_span_may_reach_further_back_than_the_training_window(ingested: Any) -> None:
    ingested.change_spec(lambda text: text.replace("minimum_rows: 100", "minimum_rows: 100, window: 1d"))
    scope = {"kind": "regime", "spans": [span(0, 2)]}
    found = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", scope=scope)
    assert {name.split("-")[0] for name in rows(ingested, found["snapshot"]).ride_id} == {"0", "1"}


def test_no_scope_is_all_history_however_it_is_said(ingested: Any) -> None:
    found = {
        ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", scope=scope)["digest"]
        for scope in (None, "", {}, "{}", {"kind": "all", "spans": []})
    }
    assert len(found) == 1


@pytest.mark.parametrize(
    ("scope", "words"),
    [
        ({"kind": "recent"}, "scope recent with 0 spans"),
        ({"kind": "all", "spans": [span(0, 1)]}, "'all' has none"),
        ({"kind": "recent", "spans": [span(1, 0)]}, "ends before it begins: swap them"),
        ({"kind": "recent", "spans": [["2024-01-01T00:00:00", "2024-01-02T00:00:00"]]}, "with their offset"),
        ({"kind": "newest"}, "kind"),
        ("not json", "scope"),
    ],
)
def test_a_scope_that_means_nothing_is_refused(ingested: Any, scope: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", scope=scope)


def test_a_second_retraining_is_refused_while_one_is_under_way(ingested: Any) -> None:
    first = ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", retraining="run a")
    assert ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", retraining="run a") == first
    with pytest.raises(InputError, match="retraining 1 by run a is under way"):
        ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", retraining="run b")
    assert ingested.run("end_retraining", retraining="run a") == {"ended": True}
    ingested.run("freeze_dataset", as_of="2024-01-05T00:00:00Z", retraining="run b")
