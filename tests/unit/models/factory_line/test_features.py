"""The features of a part: right, and never from its future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import pandas as pd
import pytest

from kilter.model_code import load_function

FOLDER = Path(__file__).parents[4] / "include/models/factory_line"
START = datetime(2024, 3, 4, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def parts() -> pd.DataFrame:
    found: pd.DataFrame = load_function(FOLDER, "source.py", "extract")(START, START + timedelta(days=2))["parts"]
    return found.reset_index(drop=True)


def evaluate(name: str, parts: pd.DataFrame, *arguments: timedelta) -> pd.DataFrame:
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    connection.con.register("parts", parts)
    result = load_function(FOLDER, "features.py", name)({"parts": connection.table("parts")}, *arguments).execute()
    return result.set_index("part_id").sort_index()


def features(parts: pd.DataFrame) -> pd.DataFrame:
    return evaluate("build", parts, timedelta(hours=1))


def test_every_part_has_one_row_without_its_outcome(parts: pd.DataFrame) -> None:
    found = features(parts)
    assert found.index.tolist() == sorted(parts.part_id)
    assert not {"quality", "inspected_at"} & set(found)


def test_the_trend_is_the_mean_of_the_lines_vibration_in_the_last_two_hours(parts: pd.DataFrame) -> None:
    found = features(parts)
    for part in parts.sample(60, random_state=0).itertuples():
        seen = parts[
            (parts.line == part.line)
            & (parts.moulded_at <= part.moulded_at)
            & (parts.moulded_at >= part.moulded_at - timedelta(hours=2))
        ]
        assert found.loc[part.part_id, "vibration_trend"] == pytest.approx(seen.vibration.mean(), nan_ok=True)


def test_another_future_leaves_the_features_of_the_past_as_they_were(parts: pd.DataFrame) -> None:
    now = pd.Timestamp(START) + timedelta(hours=20, minutes=30)
    later = parts.moulded_at > now
    changed = parts.assign(vibration=parts.vibration.mask(later, 9.0), quality=parts.quality.where(~later, "scrap"))
    before = parts.part_id[~later].sort_values()
    pd.testing.assert_frame_equal(features(changed).loc[before], features(parts).loc[before])


def test_labels_are_the_inspected_parts(parts: pd.DataFrame) -> None:
    found = evaluate("labels", parts)
    inspected = parts[parts.quality.notna()].set_index("part_id").sort_index()
    assert 0 < len(parts) - len(inspected) < 60
    assert found.quality.tolist() == inspected.quality.tolist()
    assert (found.inspected_at == inspected.inspected_at).all()
