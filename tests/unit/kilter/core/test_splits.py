"""Splits by time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilter.core.splits import PARTS, split_by_time
from kilter.errors import DataError

START = datetime(2013, 1, 1, tzinfo=UTC)


def hours(*numbers: int) -> list[datetime]:
    return [START + timedelta(hours=number) for number in numbers]


def test_a_hundred_rows_are_cut_at_the_shares() -> None:
    cuts = split_by_time(hours(*range(100)), 0.15, 0.2)
    assert cuts == {"train": slice(0, 65), "validation": slice(65, 80), "test": slice(80, 100)}


def test_rows_of_one_time_go_together_to_the_later_part() -> None:
    cuts = split_by_time(hours(0, 1, 2, 3, 5, 5, 5, 7, 8, 9), 0.3, 0.2)
    assert cuts == {"train": slice(0, 4), "validation": slice(4, 8), "test": slice(8, 10)}


@pytest.mark.parametrize("times", [[], hours(0), hours(0, 0, 0, 0, 0, 0), hours(0, 1)])
def test_too_few_different_times_are_a_data_error(times: list[datetime]) -> None:
    with pytest.raises(DataError, match=r"leaves no rows for .*: ingest a longer history"):
        split_by_time(times, 0.15, 0.15)


@given(st.lists(st.integers(0, 500), min_size=1, max_size=200), st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_parts_cover_all_rows_and_never_share_a_time(numbers: list[int], validation: float, test: float) -> None:
    times = hours(*sorted(numbers))
    try:
        cuts = split_by_time(times, validation, test)
    except DataError:
        return
    rows = [times[cuts[part]] for part in PARTS]
    assert [time for part in rows for time in part] == times
    assert rows[0][-1] < rows[1][0]
    assert rows[1][-1] < rows[2][0]
