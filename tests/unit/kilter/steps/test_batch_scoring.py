"""Scoring a table: which partitions, which rows, what is kept, and what is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kilter import batch_scoring
from kilter.errors import DataError, InputError, UnavailableError
from kilter.keys import interval_key
from kilter.stores.features import FeatureStore
from kilter.stores.models import load_model
from kilter.stores.objects import FileObjects, read_manifest
from kilter.stores.parquet import frame_to_parquet, to_parquet
from kilter.stores.score_sets import read_scores

from .conftest import Rides


@pytest.fixture
def champion(rides: Rides, snapshot: str, monkeypatch: pytest.MonkeyPatch) -> Rides:
    """Three ingested days and a champion; parts of 100 rows."""
    monkeypatch.setattr(batch_scoring, "ROWS_A_PART", 100)
    rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    return rides


def asked(rides: Rides, rows: int = 250) -> pd.DataFrame:
    """Some rides of the second day, asked about later that day, in no order; and a column that nobody asked for."""
    frame = rides.learnable(1).sample(rows, random_state=0)
    later = frame.started_at + pd.to_timedelta(np.arange(rows) % 5, unit="h")
    return pd.DataFrame({"fare": -1.0, "ride_id": frame.ride_id, "started_at": later}).reset_index(drop=True)


def put(rides: Rides, frame: pd.DataFrame, name: str = "a") -> str:
    rides.objects.put(f"tables/{name}.parquet", frame_to_parquet(frame))
    return f"tables/{name}.parquet"


def score(rides: Rides, partition: str, **inputs: Any) -> Any:
    found = rides.act("list_partitions", table=partition, **inputs)
    return rides.act("score_partition", **found.partitions[0])


def read(rides: Rides, key: str) -> pa.Table:
    found = read_scores(rides.objects, key)
    return pa.concat_tables(pq.read_table(rides.objects.open(f"{key}/{name}")) for name in found.files)


def stored(objects: FileObjects, prefix: str = "scores/") -> dict[str, bytes]:
    return {key: objects.get(key) for key in objects.list(prefix)}


# what is scored


def test_a_table_is_the_parquet_files_that_match_its_pattern(champion: Rides) -> None:
    for name in ("march/2", "march/1", "april/1"):
        put(champion, asked(champion), name)
    champion.objects.put("tables/march/notes.txt", b"")
    for table in ("tables/march/*", champion.objects.uri("tables/march/*.parquet")):
        found = champion.act("list_partitions", table=table)
        assert [one["partition"] for one in found.partitions] == ["tables/march/1.parquet", "tables/march/2.parquet"]


def test_without_a_table_the_ingested_features_say_who_is_scored(champion: Rides) -> None:
    found = champion.act("list_partitions", table="")
    assert [one["partition"] for one in found.partitions] == champion.objects.list("features/rides/")
    scored = champion.act("score_partition", **found.partitions[0])
    assert (scored.rows, scored.without_features) == (480, 0)


def test_the_champion_scores_unless_a_version_is_named(champion: Rides, snapshot: str) -> None:
    table = put(champion, asked(champion))
    second = champion.candidate(snapshot, learn=lambda part: part)
    for version, expected in (("", second - 1), (second, second)):
        found = champion.act("list_partitions", table=table, version=version)
        assert found.version == expected
        scored = champion.act("score_partition", **found.partitions[0])
        assert set(read(champion, scored.scores)["model_version"].to_pylist()) == {expected}


def test_without_a_champion_a_version_is_asked_for(rides: Rides) -> None:
    with pytest.raises(InputError, match="'rides' has no champion yet: give a version"):
        rides.act("list_partitions", table="tables/*.parquet")


def test_a_table_without_files_is_an_error_and_no_empty_success(champion: Rides) -> None:
    with pytest.raises(DataError, match=r"no Parquet file matches file://.*/tables/may"):
        champion.act("list_partitions", table="tables/may/*.parquet")


@pytest.mark.parametrize("table", ["file:///etc/*.parquet", "https://host/a.parquet", "s3:///a.parquet"])
def test_a_table_anywhere_else_is_refused(champion: Rides, table: str) -> None:
    with pytest.raises(InputError, match=r"allowed are keys in the object store file://.* and s3://bucket/key"):
        champion.act("list_partitions", table=table)


def test_a_pattern_that_leaves_the_store_is_refused(champion: Rides) -> None:
    with pytest.raises(InputError, match="points outside the store"):
        champion.act("list_partitions", table="../../*.parquet")


# scores


def test_each_row_is_scored_in_its_order_by_the_features_of_its_time(champion: Rides) -> None:
    frame = asked(champion)
    key = score(champion, put(champion, frame)).scores
    found = read(champion, key)
    assert found.column_names == ["ride_id", "started_at", "score", "model_version"]
    assert found["ride_id"].to_pylist() == frame.ride_id.tolist()
    assert found["started_at"].to_pylist() == frame.started_at.tolist()
    keys = frame[["ride_id", "started_at"]]
    model = load_model(champion.objects, read_scores(champion.objects, key).request.model)
    joined = champion.context("score_partition").features.historical(keys)
    assert (joined.fare > 0).all()
    np.testing.assert_array_equal(found["score"].to_numpy(), model.score(joined))
    assert len(set(found["score"].to_pylist())) > 10


def test_parts_and_manifest_name_model_snapshot_and_request(champion: Rides, snapshot: str) -> None:
    frame = asked(champion)
    table = put(champion, frame)
    outputs = score(champion, table)
    found = read_scores(champion.objects, outputs.scores)
    request = found.request
    assert list(found.files) == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert (found.rows, found.without_features) == (outputs.rows, outputs.without_features) == (250, 0)
    assert outputs.scores == f"scores/rides/{request.digest}"
    # Asked about from day 1 on, and features live for a day.
    assert list(request.features) == [f"features/rides/2024010{day}T000000.parquet" for day in (1, 2, 3)]
    metadata = pq.read_schema(champion.objects.open(f"{outputs.scores}/part-00002.parquet")).metadata
    assert {name.decode(): value.decode() for name, value in metadata.items()} == {
        "model": "rides",
        "model_version": "1",
        "model_digest": request.model.rpartition("/")[2],
        "snapshot": snapshot,
        "request": request.digest,
        "table": table,
        "partition": table,
    }


def test_scores_of_many_classes_are_lists_whose_order_the_column_tells(rides: Rides) -> None:
    rides.turn("multiclass")
    for day in range(3):
        rides.ingest(day, rides.learnable(day))
    snapshot = rides.run("freeze_dataset", as_of=rides.day(3)["start"])["snapshot"]
    rides.registry.set_alias("rides", "champion", rides.candidate(snapshot))
    frame = asked(rides, rows=5)
    frame.loc[2, "ride_id"] = "nobody"
    found = read(rides, score(rides, put(rides, frame)).scores)
    assert json.loads(found.schema.field("score").metadata[b"classes"]) == ["quick", "usual", "slow"]
    scores = found["score"].to_pylist()
    assert scores.pop(2) is None
    assert [len(one) for one in scores] == [3] * 4
    np.testing.assert_allclose([sum(one) for one in scores], 1, atol=1e-6)


def test_a_row_of_which_nothing_was_known_has_no_score_and_is_counted(champion: Rides) -> None:
    frame = asked(champion, rows=4)
    frame.loc[0, "ride_id"] = "nobody"
    frame.loc[1, "started_at"] -= timedelta(hours=30)  # before the ride's features were known
    frame.loc[2, "started_at"] += timedelta(hours=48)  # when they are older than features.ttl
    outputs = score(champion, put(champion, frame))
    assert (outputs.rows, outputs.without_features) == (4, 3)
    assert [value is None for value in read(champion, outputs.scores)["score"].to_pylist()] == [True, True, True, False]


def test_such_a_row_is_scored_where_the_server_would_score_it(champion: Rides) -> None:
    champion.change_spec(lambda text: text + "serving: {request: [zone], missing: default, stale: default}\n")
    outputs = score(champion, put(champion, asked(champion, rows=4).assign(ride_id="nobody")))
    assert outputs.without_features == 4
    assert read(champion, outputs.scores)["score"].null_count == 0


def test_a_pair_that_stands_twice_is_answered_twice(champion: Rides) -> None:
    frame = asked(champion, rows=3)
    found = read(champion, score(champion, put(champion, pd.concat([frame, frame]))).scores)
    assert found.slice(0, 3).equals(found.slice(3, 3))


def test_whole_numbers_name_entities_and_times_without_a_zone_are_utc(champion: Rides) -> None:
    frame = asked(champion, rows=3)
    expected = read(champion, score(champion, put(champion, frame)).scores)
    plain = frame.assign(started_at=frame.started_at.dt.tz_localize(None).astype("datetime64[s]"))
    assert read(champion, score(champion, put(champion, plain)).scores).equals(expected)
    tokyo = frame.assign(started_at=frame.started_at.dt.tz_convert("Asia/Tokyo"))
    assert read(champion, score(champion, put(champion, tokyo)).scores).equals(expected)
    numbered = score(champion, put(champion, frame.assign(ride_id=[1, 2, 3])))
    assert read(champion, numbered.scores)["ride_id"].to_pylist() == ["1", "2", "3"]


# requests


def test_an_equal_request_is_answered_by_what_is_there(champion: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    table = put(champion, asked(champion))
    first = score(champion, table)
    monkeypatch.setattr(FeatureStore, "reader", None)
    assert score(champion, table) == first


def test_scoring_again_gives_the_same_bytes(champion: Rides) -> None:
    table = put(champion, asked(champion))
    key = score(champion, table).scores
    before = stored(champion.objects)
    champion.objects.put(f"{key}/part-00001.parquet", b"altered")
    score(champion, table)
    assert stored(champion.objects) == before
    for name in before:
        champion.objects.delete(name)
    score(champion, table, again=True)
    assert stored(champion.objects) == before


def test_other_rows_features_versions_and_sections_are_other_requests(champion: Rides, snapshot: str) -> None:
    frame = asked(champion)
    table = put(champion, frame)
    keys = [score(champion, table).scores, score(champion, table, version=champion.candidate(snapshot)).scores]
    champion.ingest(1, champion.learnable(1).assign(fare=7.0))
    keys.append(score(champion, table).scores)
    champion.change_spec(lambda text: text.replace("ttl: 1d", "ttl: 2d"))
    keys.append(score(champion, table).scores)
    put(champion, frame.iloc[1:])
    keys.append(score(champion, table).scores)
    assert len(set(keys)) == len(keys)
    assert set(read(champion, keys[2])["score"].to_pylist()) != set(read(champion, keys[0])["score"].to_pylist())


def test_other_code_and_other_packages_are_other_requests(
    champion: Rides, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = put(champion, asked(champion))
    keys = [score(champion, table).scores]
    with (champion.folder / "features.py").open("a") as code:
        code.write("# changed\n")
    keys.append(score(champion, table).scores)
    package = tmp_path / "site/extra-1.0.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: extra\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    keys.append(score(champion, table).scores)
    assert len(set(keys)) == 3


def test_features_of_another_time_do_not_make_another_request(champion: Rides) -> None:
    table = put(champion, asked(champion))
    first = score(champion, table)
    champion.ingest(4)
    assert score(champion, table) == first


def test_features_that_are_built_anew_meanwhile_are_refused(champion: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    table = put(champion, asked(champion))
    made = batch_scoring.score_partition

    def made_while_another_builds(*given: Any) -> Any:
        found = made(*given)
        champion.ingest(1, champion.learnable(1).assign(fare=11.0))
        return found

    monkeypatch.setattr(batch_scoring, "score_partition", made_while_another_builds)
    with pytest.raises(UnavailableError, match="built an interval anew while it was read: try again"):
        score(champion, table)
    assert not [key for key in champion.objects.list("scores/") if key.endswith("manifest.json")]


def test_features_whose_record_was_written_before_scoring_began_are_refused_too(
    champion: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`build_features` writes the record, then the features; here scoring takes place between both."""
    table = put(champion, asked(champion))
    key = interval_key("features", "rides", datetime(2024, 1, 2, tzinfo=UTC))
    old = champion.objects.get(key)
    champion.ingest(1, champion.learnable(1).assign(fare=11.0))
    new = champion.objects.get(key)
    champion.objects.put(key, old)
    made = batch_scoring.score_partition

    def made_while_the_features_follow(*given: Any) -> Any:
        champion.objects.put(key, new)
        return made(*given)

    monkeypatch.setattr(batch_scoring, "score_partition", made_while_the_features_follow)
    with pytest.raises(UnavailableError, match="built an interval anew while it was read"):
        score(champion, table)
    assert not [key for key in champion.objects.list("scores/") if key.endswith("manifest.json")]


def test_a_partition_that_is_written_over_meanwhile_is_refused(
    champion: Rides, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = put(champion, asked(champion))
    made = batch_scoring.score_partition

    def made_and_written_over(*given: Any) -> Any:
        found = made(*given)
        with (champion.objects.root / table).open("r+b") as file:
            file.write(b"other")
        return found

    monkeypatch.setattr(batch_scoring, "score_partition", made_and_written_over)
    with pytest.raises(
        UnavailableError, match=r"partition tables/a\.parquet was replaced while it was read: try again"
    ):
        score(champion, table)
    assert not [key for key in champion.objects.list("scores/") if key.endswith("manifest.json")]


# bad input


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="ride_id"), "no column ride_id; it has fare, started_at: add it"),
        (lambda frame: frame[["fare"]], "no column ride_id and no column started_at"),
        (lambda frame: frame.assign(started_at=1), "column 'started_at' is int64: expected times"),
        (lambda frame: frame.assign(ride_id=1.5), "column 'ride_id' is double: expected texts or whole numbers"),
        (lambda frame: frame.assign(ride_id=frame.ride_id.where(frame.index != 201)), "1 values of 'ride_id' .* in row 201"),
        (lambda frame: frame.assign(started_at=frame.started_at.where(frame.index < 7)), "'started_at' .* in row 7"),
    ],
)  # fmt: skip
def test_a_partition_without_who_and_when_in_every_row_is_refused(champion: Rides, change: Any, words: str) -> None:
    with pytest.raises(DataError, match=rf"partition tables/a\.parquet: .*{words}"):
        score(champion, put(champion, change(asked(champion))))
    assert not [key for key in champion.objects.list("scores/") if key.endswith("manifest.json")]


@pytest.mark.parametrize("years", [-1969, 9000])
def test_a_time_that_stands_for_none_is_refused(champion: Rides, years: int) -> None:
    """Year 1, and one that Python's dates do not reach."""
    table = pa.Table.from_pandas(asked(champion), preserve_index=False)
    times = table["started_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
    times[201] = int(years * 365.2425 * 86400e6) + 86400_000_000
    column = pa.array(times, pa.timestamp("us", "UTC"))
    champion.objects.put("tables/a.parquet", to_parquet(table.set_column(2, "started_at", column)))
    with pytest.raises(DataError, match=r"partition tables/a\.parquet: 'started_at' of row 201 lies outside the years"):
        score(champion, "tables/a.parquet")


def test_the_earliest_times_have_no_features(champion: Rides) -> None:
    champion.change_spec(lambda text: text.replace("ttl: 1d", "ttl: 400d"))
    frame = asked(champion, rows=3).astype({"started_at": "datetime64[us, UTC]"})
    frame.loc[1, "started_at"] = pd.Timestamp("0002-01-01", tz="UTC")
    outputs = score(champion, put(champion, frame))
    assert read(champion, outputs.scores)["score"].is_null().to_pylist() == [False, True, False]


@pytest.mark.parametrize("cut", [slice(0, 100), slice(0, 0)])
def test_a_file_that_is_no_parquet_is_refused(champion: Rides, cut: slice) -> None:
    champion.objects.put("tables/a.parquet", frame_to_parquet(asked(champion))[cut])
    with pytest.raises(DataError, match=r"partition tables/a\.parquet is not readable Parquet"):
        score(champion, "tables/a.parquet")


def test_a_partition_that_is_gone_is_named(champion: Rides) -> None:
    table = put(champion, asked(champion))
    listed = champion.act("list_partitions", table=table)
    champion.objects.delete(table)
    with pytest.raises(DataError, match=r"no object at file://.*/tables/a\.parquet"):
        champion.act("score_partition", **listed.partitions[0])


def test_a_version_that_takes_a_feature_that_the_spec_lost_is_refused(champion: Rides) -> None:
    table = put(champion, asked(champion))
    champion.change_spec(lambda text: text.replace("    - {name: fare}\n", ""))
    with pytest.raises(InputError, match=r"version 1 takes fare, which features\.columns does not name any more"):
        score(champion, table)


def test_an_altered_model_is_refused(champion: Rides) -> None:
    table = put(champion, asked(champion))
    model = champion.objects.list("models/rides/")[-1]
    champion.objects.put(model, champion.objects.get(model) + b" ")
    with pytest.raises(DataError, match="was altered"):
        score(champion, table)


def test_an_altered_manifest_is_refused(champion: Rides) -> None:
    key = score(champion, put(champion, asked(champion))).scores
    manifest = champion.objects.get(f"{key}/manifest.json")
    for data, words in (
        (b"{}", "is no manifest of scores"),
        (manifest.replace(b'"version": 1', b'"version": 2'), "altered"),
    ):
        champion.objects.put(f"{key}/manifest.json", data)
        with pytest.raises(DataError, match=words):
            read_scores(champion.objects, key)


# the whole table


def collect(rides: Rides, table: str) -> Any:
    listed = rides.act("list_partitions", table=table)
    scores = [rides.act("score_partition", **one).scores for one in listed.partitions]
    return rides.act("collect_scores", table=listed.table, version=listed.version, scores=scores)


def test_a_manifest_covers_all_partitions_and_names_the_run(champion: Rides) -> None:
    put(champion, asked(champion, rows=3), "1")
    put(champion, asked(champion, rows=3).assign(ride_id="nobody"), "2")
    put(champion, asked(champion, rows=3).iloc[:0], "3")
    found = collect(champion, "tables/*.parquet")
    assert (found.rows, found.without_features) == (6, 3)
    facts = read_manifest(champion.objects, found.scored).facts
    assert (facts["dag_id"], facts["run_id"], facts["version"]) == ("rides.test", "run", 1)
    assert [(one["partition"], one["rows"]) for one in facts["partitions"]] == [
        (f"tables/{place}.parquet", rows) for place, rows in ((1, 3), (2, 3), (3, 0))
    ]
    assert collect(champion, "tables/*.parquet") == found


def test_a_table_without_rows_is_an_error(champion: Rides) -> None:
    put(champion, asked(champion).iloc[:0])
    with pytest.raises(DataError, match="has no rows in its 1 files: nothing was scored"):
        collect(champion, "tables/*.parquet")


def test_scores_that_were_never_committed_are_no_part_of_a_table(champion: Rides) -> None:
    with pytest.raises(DataError, match="no object at"):
        champion.act("collect_scores", table="t", version=1, scores=["scores/rides/0"])
