"""Time-ordered train, validation and test parts."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from kilter.errors import DataError

Time = TypeVar("Time", datetime, int)

PARTS = ("train", "validation", "test")


def split_by_time(times: Sequence[Time], validation_share: float, test_share: float) -> dict[str, slice]:
    """Cut rows, oldest first, into `train`, then `validation`, then `test`.

    Rows of one time stay together, in the later part, so no part knows a moment that an earlier one holds.

    Args:
        times: event times, or places in a stream, in ascending order.
        validation_share, test_share: wanted shares of the rows; their sum is below 1.

    Raises:
        DataError: a part would be empty.

    >>> days = [datetime(2013, 1, day) for day in (1, 2, 3, 4, 5, 6, 6, 7, 8, 9)]
    >>> {part: (rows.start, rows.stop) for part, rows in split_by_time(days, 0.3, 0.2).items()}
    {'train': (0, 5), 'validation': (5, 8), 'test': (8, 10)}
    """
    count = len(times)
    first_test = _back_to_first(times, round(count * (1 - test_share)))
    first_validation = _back_to_first(times, round(count * (1 - test_share - validation_share)))
    bounds = (0, first_validation, first_test, count)
    parts = {part: slice(bounds[index], bounds[index + 1]) for index, part in enumerate(PARTS)}
    if empty := [part for part, rows in parts.items() if rows.start >= rows.stop]:
        raise DataError(
            f"splitting {count} rows with {len(set(times))} different times by time leaves no rows for "
            f"{', '.join(empty)} (validation {validation_share:.0%}, test {test_share:.0%}): ingest a longer history"
        )
    return parts


def _back_to_first(times: Sequence[Time], index: int) -> int:
    """The first row with the time of row `index`."""
    return bisect_left(times, times[index]) if index < len(times) else len(times)
