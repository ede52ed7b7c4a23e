"""When a search for parameters is due."""

from datetime import UTC, datetime, timedelta

import pytest

from kilter.core.search import due

NOW = datetime(2013, 7, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.mark.parametrize(
    ("asked", "every", "age", "search", "reason"),
    [
        (True, None, None, True, "asked for"),
        (True, 90, 1, True, "asked for"),
        (False, None, None, False, "no search was asked for, and there is no schedule"),
        (False, None, 1000, False, "no search was asked for, and there is no schedule"),
        (False, 90, None, True, "there was none yet"),
        (False, 90, 90, True, "the last search is 90 days old"),
        (False, 90, 89.5, False, "the last search is 89.5 days old, of the 90 days"),
    ],
)
def test_a_search_is_due_when_somebody_asks_or_its_schedule_does(
    asked: bool, every: float | None, age: float | None, search: bool, reason: str
) -> None:
    schedule = None if every is None else timedelta(days=every)
    last = None if age is None else NOW - timedelta(days=age)
    found = due(asked, schedule, last, NOW)
    assert found.search is search
    assert reason in found.reason
