"""extract, on files in a folder."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kilter.errors import DataError, InputError
from kilter.stores.objects import read_manifest
from kilter.stores.parquet import from_parquet


def table(rides: Any, batch: str) -> Any:
    return from_parquet(rides.objects.get(f"{batch}/rides.parquet"), "rides").to_pandas()


def test_the_same_interval_twice_is_one_batch_with_equal_bytes(rides: Any) -> None:
    rides.deliver(0)
    first = rides.run("extract", **rides.day(0))
    before = rides.objects.get(f"{first['batch']}/rides.parquet")
    assert rides.run("extract", **rides.day(0)) == first
    assert rides.objects.get(f"{first['batch']}/rides.parquet") == before
    assert len(rides.objects.list("batches/rides/")) == 2


def test_the_order_of_the_delivered_rows_does_not_matter(rides: Any) -> None:
    rides.deliver(0)
    first = rides.run("extract", **rides.day(0))
    rides.deliver(0, rides.frame(0).sample(frac=1, random_state=1))
    assert rides.run("extract", **rides.day(0)) == first


def test_corrected_data_makes_another_batch(rides: Any) -> None:
    rides.deliver(0)
    first = rides.run("extract", **rides.day(0))
    rides.deliver(0, rides.frame(0).assign(fare=7.0))
    assert rides.run("extract", **rides.day(0))["digest"] != first["digest"]


def test_a_batch_carries_context_rows_that_do_not_count(rides: Any) -> None:
    for day in range(4):
        rides.deliver(day)
    outputs = rides.run("extract", **rides.day(2))
    found = table(rides, outputs["batch"])
    assert outputs["rows"] == {"rides": 96}
    assert sorted(found.started_at.dt.day.unique()) == [2, 3]
    assert read_manifest(rides.objects, outputs["batch"]).facts == {
        "start": "2024-01-03T00:00:00+00:00",
        "end": "2024-01-04T00:00:00+00:00",
        "rows": {"rides": 96},
    }


def test_a_truncated_file_is_a_data_error_and_leaves_nothing(rides: Any) -> None:
    rides.deliver(0)
    file = rides.folder / "data/0.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"0\.parquet is not readable Parquet"):
        rides.run("extract", **rides.day(0))
    assert rides.objects.list("") == []


def test_no_file_at_all_is_a_data_error(rides: Any) -> None:
    with pytest.raises(DataError, match="no file matches its path"):
        rides.run("extract", **rides.day(0))


def test_an_interval_without_rows_is_an_empty_batch_for_validation_to_judge(rides: Any) -> None:
    rides.deliver(5)
    assert rides.run("extract", **rides.day(0))["rows"] == {"rides": 0}


def test_rows_without_a_readable_event_time_are_kept_for_validation(rides: Any) -> None:
    rides.deliver(0, rides.frame(0).drop(columns="started_at"))
    outputs = rides.run("extract", **rides.day(0))
    assert outputs["rows"] == {"rides": 0}
    assert len(table(rides, outputs["batch"])) == 96


def test_an_interval_that_ends_before_it_starts_is_refused(rides: Any) -> None:
    day = rides.day(0)
    with pytest.raises(InputError, match="swap them"):
        rides.run("extract", start=day["end"], end=day["start"])


def test_a_time_without_its_offset_is_refused(rides: Any) -> None:
    with pytest.raises(InputError, match="expected a time with its offset"):
        rides.run("extract", start="2024-01-01T00:00:00", end="2024-01-02T00:00:00Z")


def test_a_killed_commit_leaves_no_batch(rides: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The manifest is written last: without it the files that lie there are no batch."""
    rides.deliver(0)
    put = type(rides.objects).put

    def killed_before_the_manifest(self: Any, key: str, data: bytes) -> None:
        if key.endswith("manifest.json"):
            raise KeyboardInterrupt
        put(self, key, data)

    monkeypatch.setattr(type(rides.objects), "put", killed_before_the_manifest)
    with pytest.raises(KeyboardInterrupt):
        rides.run("extract", **rides.day(0))
    (left,) = rides.objects.list("batches/rides/")
    with pytest.raises(DataError, match="never committed"):
        rides.run("validate_batch", batch=left.rpartition("/")[0], **rides.day(0))
    monkeypatch.undo()
    assert rides.run("validate_batch", batch=rides.run("extract", **rides.day(0))["batch"], **rides.day(0))


def test_a_python_source_that_misses_a_table_is_a_data_error(rides: Any) -> None:
    rides.change_spec(lambda text: text.replace("kind: files", "kind: python"))
    (rides.folder / "source.py").write_text("def extract(start, end):\n    return {}\n")
    with pytest.raises(DataError, match=r"gave the tables \[\], model.yaml lists \['rides'\]"):
        rides.run("extract", **rides.day(0))


def test_the_outputs_are_small_facts(rides: Any) -> None:
    rides.deliver(0)
    assert len(json.dumps(rides.run("extract", **rides.day(0)))) < 1000
