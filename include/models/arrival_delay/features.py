"""What is known of a flight when it is scheduled to leave, as in `flight_delay`, and by how much it arrived late.

flights.py, source.py and expectations.json are links into that model's folder: the same flights, one text.
"""

from __future__ import annotations

from pathlib import Path

from ibis import Table

from kilter.model_code import load_function

_FOLDER = Path(__file__).parent

build = load_function(_FOLDER, "flights.py", "build")
landed = load_function(_FOLDER, "flights.py", "landed")


def labels(tables: dict[str, Table]) -> Table:
    """The flights that arrived: how many minutes late, below zero for early, and when that became known."""
    arrived = landed(tables)
    minutes = arrived.arrival_delay.cast("float64")
    return arrived.select("flight_id", "scheduled_departure", "outcome_known", minutes_late=minutes)
