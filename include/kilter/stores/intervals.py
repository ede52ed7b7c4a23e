"""Which intervals of a model hold features and labels, and what of: a record under `intervals/<model>/<start>_<end>`."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from kilter.core.intervals import Span, refuse_overlap
from kilter.core.origin import Origin
from kilter.keys import interval_key, interval_start, intervals_touching, parse_span, stamp
from kilter.stores.objects import ObjectStore, sha256


class Record(BaseModel):
    """What `build_features` made of which batch: the batch's digest, and the SHA-256 of both objects."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    batch: str
    features: str
    labels: str


def check_interval(objects: ObjectStore, model: str, start: datetime, end: datetime) -> None:
    """Refuse an interval that overlaps, without being equal to, one that is in the store.

    Two intervals that begin at once do not see each other: runs of a model follow one another.

    Raises:
        InputError: it does, or it has fractions of a second.
    """
    spans = {parse_span(key): key for key in objects.list(f"intervals/{model}/")}
    refuse_overlap(start, end, spans, lambda span: _parts(spans[span], model, span[0]))


def record_interval(objects: ObjectStore, model: str, start: datetime, end: datetime, record: Record) -> None:
    """Record what the interval's features and labels are built of; the same again changes nothing."""
    objects.put(f"intervals/{model}/{stamp(start)}_{stamp(end)}", record.model_dump_json().encode())


def records(objects: ObjectStore, model: str, since: datetime, until: datetime) -> dict[Span, Record | None]:
    """The records of the intervals that share a moment with `[since, until]`; None for one that was made before
    records said anything."""
    spans = {parse_span(key): key for key in objects.list(f"intervals/{model}/")}
    return {
        (start, end): _parse(objects.get(key)) for (start, end), key in spans.items() if start <= until and end > since
    }


def origins(
    objects: ObjectStore, model: str, known: dict[Span, Record | None], since: datetime, until: datetime
) -> list[Origin]:
    """Where the features that may hold rows of `[since, until]` come from, oldest first.

    Args:
        known: what `records` gave for the same times. `build_features` writes a record before the objects, so
            records that are the same after the objects were read are those of the objects.
    """
    ends = {start: (end, record) for (start, end), record in known.items()}
    keys = intervals_touching(objects.list(f"features/{model}/"), since, until)
    return [_origin(objects, model, key, *ends.get(interval_start(key), (None, None))) for key in keys]


def _origin(objects: ObjectStore, model: str, key: str, end: datetime | None, record: Record | None) -> Origin:
    start = interval_start(key)
    labels_key = interval_key("labels", model, start)
    features = sha256(objects.get(key))
    labels = sha256(objects.get(labels_key)) if objects.exists(labels_key) else None
    fits = record is not None and (record.features, record.labels) == (features, labels)
    return Origin(
        start=start, end=end, batch=record.batch if record and fits else None, features=features, labels=labels
    )


def _parse(data: bytes) -> Record | None:
    return Record.model_validate_json(data) if data else None


def _parts(record: str, model: str, start: datetime) -> list[str]:
    """Everything that the store holds for an interval's start."""
    return [record, *(interval_key(kind, model, start) for kind in ("features", "labels"))]
