"""The made-up plant: what docs/factory-line.md says of it is so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost as xgb

from kilter.model_code import load_function
from kilter.stores.parquet import to_parquet

FOLDER = Path(__file__).parents[4] / "include/models/factory_line"
extract = load_function(FOLDER, "source.py", "extract")
plant = load_function(FOLDER, "source.py", "plant")

START = datetime(2024, 3, 4, 6, tzinfo=UTC)
READINGS = [
    "melt_temperature",
    "mould_temperature",
    "injection_pressure",
    "holding_pressure",
    "cushion",
    "cycle_time",
    "vibration",
    "humidity",
]


def day(number: float) -> datetime:
    return START + timedelta(days=number)


@pytest.fixture(scope="module")
def parts() -> pd.DataFrame:
    """All of the sixty days, with what nobody in the plant knows."""
    made: pd.DataFrame = plant(day(0), day(60))
    return made.assign(day=(made.moulded_at - START) / timedelta(days=1))


class Inspector:
    """A classifier of the parts of some days, without a look at recipe or wear."""

    def __init__(self, parts: pd.DataFrame, first: float, last: float) -> None:
        known = parts[parts.day.between(first, last) & parts.quality.notna()]
        self._model = xgb.XGBClassifier(n_estimators=60, max_depth=4, learning_rate=0.2, n_jobs=1)
        self._model.fit(known[READINGS], known.quality.map({"good": 0, "rework": 1, "scrap": 2}))
        guesses = np.array(["good", "rework", "scrap"])[self._model.predict(parts[READINGS])]
        self._days, self._right = parts.day, (guesses == parts.quality).where(parts.quality.notna())

    def accuracy(self, first: float, last: float) -> float:
        return float(self._right[self._days.between(first, last)].mean())


@pytest.fixture(scope="module")
def of_a(parts: pd.DataFrame) -> Inspector:
    """A classifier of the first ten days."""
    return Inspector(parts, 0, 10)


def equal_bytes(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    first, second = (to_parquet(pa.Table.from_pandas(frame, preserve_index=False)) for frame in (one, other))
    return first == second


def test_the_same_interval_gives_equal_bytes_and_another_seed_other_parts() -> None:
    once, again, other = (extract(day(14), day(16), seed=seed)["parts"] for seed in (1, 1, 2))
    assert equal_bytes(once, again)
    assert not equal_bytes(once, other)


@pytest.mark.parametrize("hours", [1, 8, 13.5, 30])
def test_an_interval_gives_the_same_parts_however_it_is_cut(hours: float) -> None:
    start, end = day(24.7), day(26.3)
    whole = extract(start, end)["parts"]
    cuts = [*pd.date_range(start, end, freq=timedelta(hours=hours)), end]
    pieces = [extract(*cut)["parts"] for cut in pairwise(cuts)]
    assert equal_bytes(pd.concat(pieces), whole)


def test_an_interval_holds_its_start_and_not_its_end() -> None:
    found = extract(day(0), START + timedelta(minutes=2))["parts"]
    assert found.part_id.tolist() == ["000-000", "000-001"]
    assert found.moulded_at.tolist() == [pd.Timestamp("2024-03-04T06:00Z"), pd.Timestamp("2024-03-04T06:01Z")]


def test_the_plant_makes_a_part_a_minute_from_its_start_to_its_end(parts: pd.DataFrame) -> None:
    assert len(parts) == 60 * 24 * 60
    assert parts.part_id.is_unique
    assert parts.moulded_at.diff().dropna().eq(timedelta(minutes=1)).all()
    before, after = extract(day(-2), day(0))["parts"], extract(day(60), day(62))["parts"]
    assert before.empty
    assert after.empty
    assert after.dtypes.equals(extract(day(0), day(1))["parts"].dtypes)


def test_no_column_of_the_table_tells_recipe_or_wear() -> None:
    found = extract(day(0), day(1))["parts"]
    assert list(found) == ["part_id", "moulded_at", "line", "supplier", *READINGS, "inspected_at", "quality"]


def test_the_recipe_changes_on_the_days_that_are_documented(parts: pd.DataFrame) -> None:
    begins = parts[parts.recipe.ne(parts.recipe.shift())]
    assert list(zip(begins.day, begins.recipe, strict=True)) == [(0, "A"), (15, "B"), (25, "A"), (35, "C"), (45, "A")]


def test_a_model_of_a_is_wrong_about_b_and_c_and_right_when_a_returns(of_a: Inspector) -> None:
    at_home = of_a.accuracy(10, 15)
    assert at_home > 0.78
    assert of_a.accuracy(15, 25) < 0.45
    assert of_a.accuracy(35, 45) < 0.45
    for returned in (25, 45):
        assert of_a.accuracy(returned, returned + 1) > at_home - 0.02


def test_a_model_of_each_other_recipe_is_as_good_at_home_and_as_wrong_abroad(parts: pd.DataFrame) -> None:
    for first, last, abroad in ((15, 20, 25), (35, 40, 45)):
        model = Inspector(parts, first, first + 2.5)
        assert model.accuracy(first + 2.5, last) > 0.78
        assert model.accuracy(abroad, abroad + 10) < 0.5


def test_all_sensors_stay_plausible_when_the_recipe_changes(parts: pd.DataFrame) -> None:
    """A change is seen in a window of parts; a single part could be of either recipe."""
    readings = parts[READINGS]
    spread = readings[parts.day < 15].std()
    for before, after in ((14, 15), (24, 25), (34, 35), (44, 45)):
        moved = readings[parts.day.between(after, after + 1)].mean() - readings[parts.day.between(before, after)].mean()
        assert (moved / spread).abs().max() < 1
        assert ((moved / spread).abs() > 0.35).sum() >= 4


def test_wear_grows_for_twenty_days_and_ends_with_new_screws(parts: pd.DataFrame) -> None:
    daily = parts.groupby(parts.day // 1)[["wear", "vibration"]].mean()
    for replaced in (20, 40):
        assert daily.wear[replaced - 1] > 0.95
        assert daily.wear[replaced] < 0.05
        assert daily.vibration[replaced - 1] - daily.vibration[replaced] > 0.4
    assert daily.vibration.loc[:14].corr(daily.wear.loc[:14]) > 0.95


def test_worn_screws_cost_a_model_of_new_ones_accuracy_little_by_little(parts: pd.DataFrame) -> None:
    model = Inspector(parts, 0, 5)
    by_wear = [model.accuracy(first, first + 5) for first in (45, 50, 55)]
    assert by_wear[0] > by_wear[1] + 0.01 > by_wear[2] + 0.02


def test_outcomes_are_known_hours_later_and_of_a_few_parts_never(parts: pd.DataFrame) -> None:
    late = (parts.inspected_at - parts.moulded_at).dropna()
    assert timedelta(hours=1) <= late.min()
    assert late.max() < timedelta(hours=4)
    assert parts.quality.isna().equals(parts.inspected_at.isna())
    assert parts.quality.isna().mean() == pytest.approx(0.01, abs=0.002)
    shift = extract(day(0), day(1 / 3))["parts"]
    assert (shift.inspected_at > day(1 / 3)).mean() == pytest.approx(0.31, abs=0.03)


def test_sensors_lose_readings_and_die_for_a_shift_of_their_line(parts: pd.DataFrame) -> None:
    missing = parts[READINGS].isna()
    assert set(missing.columns[missing.any()]) == {"mould_temperature", "cushion", "vibration"}
    shares = missing.cushion.groupby([parts.day // (1 / 3), parts.line]).mean()
    assert (shares == 1).mean() == pytest.approx(0.03, abs=0.02)
    assert shares[shares < 1].mean() == pytest.approx(0.01, abs=0.003)


def test_qualities_come_as_often_as_their_probabilities_say(parts: pd.DataFrame) -> None:
    inspected = parts[parts.quality.notna()]
    for quality in ("good", "rework", "scrap"):
        expected = inspected[quality]
        share = (inspected.quality == quality).mean()
        spread = np.sqrt((expected * (1 - expected)).sum()) / len(inspected)
        assert share == pytest.approx(expected.mean(), abs=3 * spread)
