"""Intervals share no moment."""

from datetime import UTC, datetime, timedelta

import pytest

from kilter.core.intervals import refuse_overlap
from kilter.errors import InputError

EXISTING = [(datetime(2024, 1, day, tzinfo=UTC), datetime(2024, 1, day + 2, tzinfo=UTC)) for day in (3, 5, 9)]


def day(number: int) -> datetime:
    return datetime(2024, 1, number, tzinfo=UTC)


@pytest.mark.parametrize(("start", "end"), [(3, 5), (9, 11), (1, 3), (7, 9), (11, 30), (8, 9)])
def test_an_existing_interval_and_one_beside_all_are_fine(start: int, end: int) -> None:
    refuse_overlap(day(start), day(end), EXISTING, lambda _: [])


@pytest.mark.parametrize(("start", "end"), [(3, 4), (4, 5), (2, 4), (4, 6), (3, 7), (1, 30), (10, 12)])
def test_an_interval_that_shares_a_moment_with_another_is_refused(start: int, end: int) -> None:
    with pytest.raises(InputError, match=r"overlaps .* remove its objects: a, b"):
        refuse_overlap(day(start), day(end), EXISTING, lambda _: ["a", "b"])


def test_fractions_of_a_second_are_refused_because_keys_cannot_tell_them_apart() -> None:
    with pytest.raises(InputError, match="has fractions of a second: give whole seconds"):
        refuse_overlap(day(1) + timedelta(milliseconds=1), day(2), [], lambda _: [])
