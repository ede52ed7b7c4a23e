"""The flights of flight_delay, under another question."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import pandas as pd
import pytest

from kilter.model_code import load_function
from kilter.spec import load_spec
from kilter.step import code_digest

MODELS = Path(__file__).parents[4] / "include/models"
START, END = datetime(2013, 1, 30, tzinfo=UTC), datetime(2013, 1, 31, tzinfo=UTC)

Tables = dict[str, ibis.Table]


@pytest.fixture(scope="module")
def tables() -> Tables:
    found = load_function(MODELS / "arrival_delay", "source.py", "extract")(START, END)
    return {name: ibis.memtable(frame) for name, frame in found.items()}


def evaluate(model: str, name: str, tables: Tables, *arguments: timedelta) -> pd.DataFrame:
    result = load_function(MODELS / model, "features.py", name)(tables, *arguments).execute()
    return result.set_index("flight_id").sort_index()


def test_features_are_those_of_flight_delay(tables: Tables) -> None:
    ours, theirs = (evaluate(model, "build", tables, timedelta(hours=2)) for model in ("arrival_delay", "flight_delay"))
    pd.testing.assert_frame_equal(ours, theirs)
    specs = [load_spec(MODELS / model) for model in ("arrival_delay", "flight_delay")]
    assert specs[0].features == specs[1].features
    assert specs[0].source == specs[1].source


def test_labels_are_minutes_of_the_flights_that_arrived(tables: Tables) -> None:
    found = evaluate("arrival_delay", "labels", tables)
    flights = tables["flights"].execute().set_index("flight_id").sort_index()
    arrived = flights[flights.arrival_delay.notna()]
    assert len(arrived) < len(flights)
    assert found.minutes_late.tolist() == arrived.arrival_delay.tolist()
    assert found.minutes_late.min() < 0
    known = evaluate("flight_delay", "labels", tables)
    assert (found.outcome_known == known.outcome_known).all()
    assert ((found.minutes_late > 15) == known.late).all()


@pytest.mark.parametrize("file", ["source.py", "features.py", "expectations.json"])
def test_a_change_of_what_it_shares_is_a_change_of_its_own_code(tmp_path: Path, file: str) -> None:
    for model in ("arrival_delay", "flight_delay"):
        shutil.copytree(MODELS / model, tmp_path / model, symlinks=True)
    before = code_digest(tmp_path / "arrival_delay")
    with (tmp_path / "flight_delay" / file).open("a") as shared:
        shared.write("\n")
    assert code_digest(tmp_path / "arrival_delay") != before
