"""The features of a flight: right, and never from its future."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from kilter.model_code import load_function
from kilter.spec import load_spec

FOLDER = Path(__file__).parents[4] / "include/models/flight_delay"
SPEC = load_spec(FOLDER)
DELAY = SPEC.label.delay
START, END = datetime(2013, 1, 30, tzinfo=UTC), datetime(2013, 2, 2, tzinfo=UTC)
SHARES = {
    "origin_late_share": ("origin", 6),
    "carrier_late_share": ("carrier", 24),
    "route_late_share": ("destination", 24),
}

Tables = dict[str, pd.DataFrame]


@pytest.fixture(scope="module")
def tables() -> Tables:
    found: Tables = load_function(FOLDER, "source.py", "extract")(START, END)
    return {name: frame.reset_index(drop=True) for name, frame in found.items()}


def evaluate(name: str, tables: Tables, *arguments: timedelta) -> pd.DataFrame:
    connection = ibis.duckdb.connect()
    connection.raw_sql("SET TimeZone = 'UTC'")
    for table, frame in tables.items():
        connection.con.register(table, frame)
    function = load_function(FOLDER, "features.py", name)
    result = function({table: connection.table(table) for table in tables}, *arguments).execute()
    return result.set_index(SPEC.entity).sort_index()


@pytest.fixture(scope="module")
def features(tables: Tables) -> pd.DataFrame:
    return evaluate("build", tables, DELAY)


def outcome_known(flights: pd.DataFrame) -> pd.Series:
    minutes = flights.departure_delay + flights.air_time + 30
    return flights.scheduled_departure + pd.to_timedelta(minutes, unit="m")


def with_another_future(tables: Tables, now: pd.Timestamp) -> Tables:
    """The same world up to `now`, and a wholly different one after it.

    Flights whose outcome had not reached us by then end otherwise, later flights are others, and
    observations that had not reached us say something else.
    """
    flights, weather = tables["flights"].copy(), tables["weather"].copy()
    unknown = ~(outcome_known(flights) + DELAY <= now)
    flights.loc[unknown, "arrival_delay"] = 500.0 - flights.arrival_delay.fillna(0)
    minutes_to_now = (now - flights.scheduled_departure) / timedelta(minutes=1)
    flights.loc[unknown, "departure_delay"] = minutes_to_now.clip(lower=0) + 60
    flights.loc[unknown, "air_time"] = flights.air_time.fillna(0) + 100
    later = flights.scheduled_departure > now
    flights.loc[later, ["origin", "carrier", "destination"]] = ["JFK", "AA", "LAX"]
    to_come = weather.observed_at + timedelta(hours=1) > now
    weather.loc[to_come, "temperature"] += 50
    weather.loc[to_come, "pressure"] = None
    return {"flights": flights, "weather": weather}


# Observations come on the hour: the minutes decide whether one of them has just not reached us.
@pytest.mark.parametrize("moment", ["12:59", "26:10", "26:55", "41:30", "43:50", "57:58", "66:05", "67:45"])
def test_another_future_leaves_the_features_of_the_past_as_they_were(
    tables: Tables, features: pd.DataFrame, moment: str
) -> None:
    now = pd.Timestamp(START) + pd.Timedelta(f"{moment}:00")
    changed = evaluate("build", with_another_future(tables, now), DELAY)
    past = features.scheduled_departure <= now
    assert past.sum() > 100
    pd.testing.assert_frame_equal(changed[past], features[past])
    assert not changed[~past].equals(features[~past]), "the changed future shows nowhere: this test has no power"


def test_late_shares_equal_a_count_by_hand(tables: Tables, features: pd.DataFrame) -> None:
    flights = tables["flights"]
    landed = flights[flights.arrival_delay.notna()]
    reached = outcome_known(landed) + DELAY
    for row in flights.sample(60, random_state=0).itertuples():
        for name, (group, hours) in SHARES.items():
            seen = landed[
                (landed[group] == getattr(row, group))
                & (reached <= row.scheduled_departure)
                & (reached >= row.scheduled_departure - timedelta(hours=hours))
            ]
            expected = (seen.arrival_delay > 15).mean() if len(seen) else np.nan
            assert features.loc[row.flight_id, name] == pytest.approx(expected, nan_ok=True)


def test_weather_is_the_last_observation_that_is_an_hour_old(tables: Tables, features: pd.DataFrame) -> None:
    weather = tables["weather"]
    for row in tables["flights"].sample(60, random_state=1).itertuples():
        seen = weather[
            (weather.origin == row.origin) & (weather.observed_at <= row.scheduled_departure - timedelta(hours=1))
        ]
        found = features.loc[row.flight_id]
        expected = seen.sort_values("observed_at").iloc[-1] if len(seen) else None
        for column in ("temperature", "humidity", "wind_speed", "visibility"):
            assert found[column] == pytest.approx(expected[column] if expected is not None else np.nan, nan_ok=True)


def test_calendar_features_are_new_yorks(features: pd.DataFrame) -> None:
    """2013-01-31 was a Thursday; at 23:59 there it is the next day in UTC."""
    flight = features.loc["2013-01-31-B6-739-JFK"]
    assert flight.scheduled_departure == pd.Timestamp("2013-02-01T04:59Z")
    assert (flight.hour, flight.weekday) == (23, 3)


def test_every_flight_has_one_row_also_a_cancelled_one(tables: Tables, features: pd.DataFrame) -> None:
    assert sorted(features.index) == sorted(tables["flights"].flight_id)
    assert tables["flights"].arrival_delay.isna().any()


def test_features_do_not_depend_on_the_order_of_rows(tables: Tables, features: pd.DataFrame) -> None:
    shuffled = {name: frame.sample(frac=1, random_state=3) for name, frame in tables.items()}
    pd.testing.assert_frame_equal(evaluate("build", shuffled, DELAY), features)


def test_labels_are_late_by_more_than_fifteen_minutes(tables: Tables) -> None:
    labels = evaluate("labels", tables)
    flights = tables["flights"].set_index("flight_id").sort_index()
    landed = flights[flights.arrival_delay.notna()]
    assert labels.index.equals(landed.index)
    assert (labels.late == (landed.arrival_delay > 15)).all()
    assert (labels.outcome_known == outcome_known(landed)).all()
    assert (labels.outcome_known > labels.scheduled_departure).all()


def test_flights_before_any_weather_still_have_features(tables: Tables) -> None:
    weather = tables["weather"].assign(observed_at=tables["weather"].observed_at + timedelta(days=100))
    found = evaluate("build", tables | {"weather": weather}, DELAY)
    assert found.temperature.isna().all()
    assert len(found) == len(tables["flights"])
