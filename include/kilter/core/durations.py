"""Lengths of time: in words, and before a moment."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EARLIEST = datetime.min.replace(tzinfo=UTC)
"""The earliest moment that can be told."""
_UNITS = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))


def in_words(length: timedelta) -> str:
    """A length in its largest whole unit.

    >>> in_words(timedelta(days=1)), in_words(timedelta(hours=36)), in_words(timedelta(milliseconds=1500))
    ('1 day', '36 hours', '1.5 seconds')
    """
    seconds = length.total_seconds()
    unit, size = next(((unit, size) for unit, size in _UNITS if seconds >= size and seconds % size == 0), _UNITS[-1])
    count = seconds / size
    return f"{count:g} {unit}{'' if count == 1 else 's'}"


def before(moment: datetime, length: timedelta) -> datetime:
    """So much before a moment of UTC, and `EARLIEST` at most.

    >>> before(datetime(2024, 1, 2, tzinfo=UTC), timedelta(days=1))
    datetime.datetime(2024, 1, 1, 0, 0, tzinfo=datetime.timezone.utc)
    >>> before(datetime(2, 1, 1, tzinfo=UTC), timedelta(days=400)) == EARLIEST
    True
    """
    try:
        return moment - length
    except OverflowError:
        return EARLIEST
