"""Which intervals of a model hold features and labels: a record under `intervals/<model>/<start>_<end>`, its key being all of it."""

from __future__ import annotations

from datetime import datetime

from kilter.core.intervals import refuse_overlap
from kilter.keys import interval_key, parse_span, stamp
from kilter.stores.objects import ObjectStore


def check_interval(objects: ObjectStore, model: str, start: datetime, end: datetime) -> None:
    """Refuse an interval that overlaps, without being equal to, one that is in the store.

    Two intervals that begin at once do not see each other: runs of a model follow one another.

    Raises:
        InputError: it does, or it has fractions of a second.
    """
    spans = {parse_span(key): key for key in objects.list(f"intervals/{model}/")}
    refuse_overlap(start, end, spans, lambda span: _parts(spans[span], model, span[0]))


def record_interval(objects: ObjectStore, model: str, start: datetime, end: datetime) -> None:
    """Record that the interval has features and labels; again changes nothing."""
    objects.put(f"intervals/{model}/{stamp(start)}_{stamp(end)}", b"")


def _parts(record: str, model: str, start: datetime) -> list[str]:
    """Everything that the store holds for an interval's start."""
    return [record, *(interval_key(kind, model, start) for kind in ("features", "labels"))]
