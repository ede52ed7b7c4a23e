"""Object keys that carry event times, so that a reader can skip objects by name."""

from __future__ import annotations

from datetime import UTC, datetime

STAMP = "%Y%m%dT%H%M%S"


def stamp(time: datetime) -> str:
    """A time as it stands in a key.

    >>> stamp(datetime(2013, 1, 31, 23, 30, tzinfo=UTC))
    '20130131T233000'
    """
    return time.astimezone(UTC).strftime(STAMP)


def parse_stamp(text: str) -> datetime:
    """The time of a key's stamp, to the second.

    >>> parse_stamp("20130131T233000").isoformat()
    '2013-01-31T23:30:00+00:00'
    """
    return datetime.strptime(text, STAMP).replace(tzinfo=UTC)


def interval_key(kind: str, model: str, start: datetime) -> str:
    """Key of the one object that `kind` (features or labels) has for the interval from `start`.

    >>> interval_key("features", "flight_delay", datetime(2013, 2, 1, tzinfo=UTC))
    'features/flight_delay/20130201T000000.parquet'
    """
    return f"{kind}/{model}/{stamp(start)}.parquet"


def interval_start(key: str) -> datetime:
    """Start of the interval that an `interval_key` belongs to."""
    return parse_stamp(key.rpartition("/")[2].removesuffix(".parquet"))


def prediction_span(key: str) -> tuple[datetime, datetime]:
    """First and last event time in a prediction log object, `<first>_<last>_<role>_<id>.parquet`."""
    first, last, *_ = key.rpartition("/")[2].split("_")
    return parse_stamp(first), parse_stamp(last)
