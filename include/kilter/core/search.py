"""Is a search for parameters due, and why."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple


class Due(NamedTuple):
    """Whether to search, and why or why not in words."""

    search: bool
    reason: str


def due(asked: bool, every: timedelta | None, last: datetime | None, now: datetime) -> Due:
    """Decide whether this training searches for parameters first.

    | first that holds                                   | search |
    | -------------------------------------------------- | ------ |
    | somebody asks: a person or the arbiter             | yes    |
    | there is no schedule (`tuning.every`)              | no     |
    | no search was ever made                            | yes    |
    | the last one is as old as the schedule says        | yes    |
    | else                                               | no     |

    Args:
        asked: whether this run was told to.
        every: the schedule; None for none.
        last: event time of the last search; None before the first.
        now: event time of this training.
    """
    if asked:
        return Due(True, "asked for")
    if every is None:
        return Due(False, "no search was asked for, and there is no schedule (tuning.every)")
    if last is None:
        return Due(True, f"the schedule asks for one in each {_days(every)}, and there was none yet")
    age = now - last
    if age >= every:
        return Due(True, f"the last search is {_days(age)} old, and the schedule asks for one in each {_days(every)}")
    return Due(
        False, f"the last search is {_days(age)} old, of the {_days(every)} that the schedule leaves between two"
    )


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):.3g} days"
