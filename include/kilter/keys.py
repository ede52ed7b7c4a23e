"""What objects are called by those who write them and those who read them: keys that carry event times, so that a reader
can skip objects by name, and metadata within.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from kilter.errors import DataError

STAMP = "%Y%m%dT%H%M%S"
CLASSES = b"classes"
"""Of a column `score`, in the prediction log and in scored tables, where it holds lists: the classes in their order, as JSON."""


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
    """Start of the interval that an `interval_key` belongs to.

    Raises:
        DataError: the key has another form.
    """
    try:
        return parse_stamp(key.rpartition("/")[2].removesuffix(".parquet"))
    except ValueError:
        raise _foreign(key, "20130131T000000.parquet") from None


def intervals_touching(keys: Sequence[str], start: datetime, end: datetime) -> list[str]:
    """Of sorted `interval_key`s, those whose interval may hold event times of `[start, end]`.

    An interval lasts until the next one starts, the last one for ever.

    >>> keys = [f"features/m/2013{month:02}01T000000.parquet" for month in (1, 2, 3)]
    >>> intervals_touching([], datetime(2013, 1, 30, tzinfo=UTC), datetime(2013, 2, 2, tzinfo=UTC))
    []
    >>> intervals_touching(keys, datetime(2013, 1, 30, tzinfo=UTC), datetime(2013, 2, 2, tzinfo=UTC)) == keys[:2]
    True
    """
    starts = [interval_start(key) for key in keys]
    ends = [*starts, datetime.max.replace(tzinfo=UTC)][1:]
    return [key for key, first, last in zip(keys, starts, ends, strict=True) if first <= end and last > start]


def prediction_span(key: str) -> tuple[datetime, datetime]:
    """First and last event time, to the second, in the log object `<first>_<last>_<role>_<id>.parquet`.

    Raises:
        DataError: the key has another form.
    """
    return parse_span(key, "_champion_<id>.parquet")


def parse_span(key: str, rest: str = "") -> tuple[datetime, datetime]:
    """The two times that the last part of a key begins with, joined by `_`.

    Args:
        rest: what may follow them, for the error.

    Raises:
        DataError: the key has another form.

    >>> [time.day for time in parse_span("intervals/m/20130101T000000_20130131T000000")]
    [1, 31]
    """
    first, _, others = key.rpartition("/")[2].partition("_")
    try:
        return parse_stamp(first), parse_stamp(others.partition("_")[0])
    except ValueError:
        raise _foreign(key, f"20130131T000000_20130131T235959{rest}") from None


def _foreign(key: str, form: str) -> DataError:
    return DataError(f"object '{key}' has no name like {form}: remove it from there")
