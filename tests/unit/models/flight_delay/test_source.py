"""The flights and the weather, from the data package."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from kilter.model_code import load_function

FOLDER = Path(__file__).parents[4] / "include/models/flight_delay"
extract = load_function(FOLDER, "source.py", "extract")


@pytest.fixture(scope="module")
def year() -> dict[str, pd.DataFrame]:
    tables: dict[str, pd.DataFrame] = extract(datetime(2013, 1, 1, tzinfo=UTC), datetime(2014, 1, 2, tzinfo=UTC))
    return tables


def test_every_flight_and_observation_is_there_once(year: dict[str, pd.DataFrame]) -> None:
    assert len(year["flights"]) == 336_776
    assert len(year["weather"]) == 26_115
    assert year["flights"].flight_id.is_unique
    assert not year["weather"].duplicated(["origin", "observed_at"]).any()


def test_a_known_flight_stands_as_it_was(year: dict[str, pd.DataFrame]) -> None:
    """The year's first: United 1545 left Newark for Houston, scheduled 5:15 in New York."""
    flight = year["flights"].set_index("flight_id").loc["2013-01-01-UA-1545-EWR"]
    assert flight.scheduled_departure == pd.Timestamp("2013-01-01T10:15Z")
    assert (flight.local_date, flight.local_hour) == ("2013-01-01", 5)
    assert (flight.destination, flight.distance) == ("IAH", 1400)
    assert (flight.departure_delay, flight.arrival_delay, flight.air_time) == (2, 11, 227)


def test_summer_flights_are_four_hours_from_utc(year: dict[str, pd.DataFrame]) -> None:
    july = year["flights"][year["flights"].local_date == "2013-07-15"]
    assert ((july.scheduled_departure.dt.hour - july.local_hour) % 24 == 4).all()


def test_an_interval_holds_its_start_and_not_its_end() -> None:
    start, end = datetime(2013, 1, 1, 10, 15, tzinfo=UTC), datetime(2013, 1, 1, 10, 29, tzinfo=UTC)
    assert extract(start, end)["flights"].flight_id.tolist() == ["2013-01-01-UA-1545-EWR"]
    assert extract(end, end)["flights"].empty
