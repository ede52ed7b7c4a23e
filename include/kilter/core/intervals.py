"""Intervals of event time, `[start, end)`, of which no two may share a moment."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from kilter.errors import InputError

Span = tuple[datetime, datetime]


def refuse_overlap(
    start: datetime, end: datetime, existing: Iterable[Span], parts: Callable[[Span], Sequence[str]]
) -> None:
    """Raise unless `[start, end)` is one of the existing intervals or lies beside them all.

    Overlapping intervals would hold rows twice, and lose labels, for ever.

    Args:
        start, end: in whole seconds, as keys name times to the second.
        existing: intervals that hold features and labels, in any order.
        parts: the object keys of an existing interval, for the error.

    Raises:
        InputError: names both intervals and the cure.
    """
    if start.microsecond or end.microsecond:
        raise InputError(f"interval {_text(start, end)} has fractions of a second: give whole seconds")
    for span in existing:
        if span != (start, end) and span[0] < end and start < span[1]:
            raise InputError(
                f"interval {_text(start, end)} overlaps {_text(*span)}, which has features and labels already: give "
                f"that one, or one that begins where it ends. If {_text(*span)} is the mistake, remove its objects: "
                f"{', '.join(parts(span))}"
            )


def _text(start: datetime, end: datetime) -> str:
    return f"[{start.isoformat()}, {end.isoformat()})"
