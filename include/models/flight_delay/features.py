"""What was known of a flight when it was scheduled to leave: Ibis expressions, tables in, table out.

Nothing from after the scheduled departure enters: an outcome counts from `label_delay` after it became
known, the weather from an hour after it was observed.
"""

from __future__ import annotations

from datetime import timedelta

import ibis
from ibis import Table
from ibis.expr.types import IntegerColumn

LATE_MINUTES = 15
TAXI_MINUTES = 30
"""From touch-down to the gate, and the record of it."""

WEATHER_DELAY = timedelta(hours=1)
WEATHER = ("temperature", "dew_point", "humidity", "wind_speed", "precipitation", "pressure", "visibility")

LATE_SHARES = {
    "origin_late_share": ("origin", timedelta(hours=6)),
    "carrier_late_share": ("carrier", timedelta(hours=24)),
    "route_late_share": ("destination", timedelta(hours=24)),
}
"""Feature: the column that groups flights, and how far back outcomes count."""


def build(tables: dict[str, Table], label_delay: timedelta) -> Table:
    """One row of features for each flight, cancelled ones included.

    Late shares are null where no outcome reached us within their time, weather where none was observed.
    """
    flights = tables["flights"]
    known = _with_weather(_calendar(flights), tables["weather"])
    for name, (group, period) in LATE_SHARES.items():
        known = known.left_join(_late_share(tables, group, period, label_delay, name), "flight_id").drop(
            "flight_id_right"
        )
    return known


def labels(tables: dict[str, Table]) -> Table:
    """The flights with an outcome: whether it was late (0 or 1), and when that became known."""
    arrived = landed(tables)
    return arrived.select("flight_id", "scheduled_departure", "outcome_known", late=_late(arrived).cast("int8"))


def landed(tables: dict[str, Table]) -> Table:
    """The flights that arrived, neither cancelled nor diverted, with `outcome_known`: when that became known."""
    flights = tables["flights"]
    arrived = flights.filter(flights.arrival_delay.notnull())
    minutes = arrived.departure_delay + arrived.air_time + TAXI_MINUTES
    return arrived.mutate(outcome_known=arrived.scheduled_departure + minutes.cast("int64").as_interval("m"))


def _calendar(flights: Table) -> Table:
    return flights.select(
        "flight_id",
        "scheduled_departure",
        "origin",
        "carrier",
        "distance",
        hour=flights.local_hour,
        weekday=flights.local_date.cast("date").day_of_week.index(),
    )


def _with_weather(flights: Table, weather: Table) -> Table:
    reached = weather.select("origin", *WEATHER, reached_at=weather.observed_at + ibis.literal(WEATHER_DELAY))
    joined = flights.asof_join(reached, on=flights.scheduled_departure >= reached.reached_at, predicates="origin")
    return joined.select(*flights.columns, *WEATHER)


def _late_share(tables: dict[str, Table], group: str, period: timedelta, label_delay: timedelta, name: str) -> Table:
    """Share of late flights among the outcomes that reached us within `period` before each flight.

    Outcomes and flights stand in one line ordered by time; a window over it sees only what came before.
    """
    arrived, flights = landed(tables), tables["flights"]
    outcomes = arrived.select(
        group,
        flight_id=ibis.null("string"),
        time=arrived.outcome_known + ibis.literal(label_delay),
        late=_late(arrived),
    )
    questions = flights.select(group, "flight_id", time=flights.scheduled_departure, late=ibis.null("int64"))
    line = ibis.union(outcomes, questions)
    before = ibis.range_window(group_by=group, order_by=line.time, preceding=ibis.literal(period), following=0)
    return (
        line.mutate(line.late.mean().over(before).name(name)).filter(line.flight_id.notnull()).select("flight_id", name)
    )


def _late(arrived: Table) -> IntegerColumn:
    return (arrived.arrival_delay > LATE_MINUTES).cast("int64")
