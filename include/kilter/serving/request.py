"""What a client sends, parsed once at the edge; every refusal says which field is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from kilter.encoding import Matrix, Signature, encode
from kilter.errors import DataError, InputError

_YEARS = (1900, 2199)
"""A time outside is a mistake, and readers of the log with nanoseconds could not hold it."""


class RefusedRequest(InputError):
    """A request that cannot be answered; `status` is the HTTP status, always 4xx or 503."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """MLflow's `dataframe_split`: column names, and rows of values in that order."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an invocation: exactly one of the two forms."""

    dataframe_split: Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None


@dataclass(frozen=True)
class Rows:
    """Rows to score: encoded for the model, and as they came for the log.

    Args:
        matrix: rows × features in the signature's order.
        columns: the features' values as they came.
        entities: one key a row, None where the client gave none.
        timestamps: one event time a row; the time of the request where the client gave none.
    """

    matrix: Matrix
    columns: dict[str, Sequence[Any]]
    entities: Sequence[str | None]
    timestamps: Sequence[datetime]


_decoder = msgspec.json.Decoder(Body)


def parse(body: bytes, signature: Signature, now: datetime) -> Rows:
    """Parse the body of an invocation.

    Raises:
        RefusedRequest: not JSON, or a field is missing, unknown, or of the wrong type.
    """
    try:
        columns, count = _columns(_decode(body), signature)
        return Rows(
            encode(columns, signature),
            {name: columns[name] for name in signature.names},
            _entities(signature.entity, columns, count),
            _timestamps(signature.timestamp, columns, count, now),
        )
    except DataError as error:
        raise RefusedRequest(400, str(error)) from None


def _decode(body: bytes) -> Body:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RefusedRequest(400, f"body: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedRequest(400, f"body: not JSON: {error}") from None


def _columns(body: Body, signature: Signature) -> tuple[dict[str, Sequence[Any]], int]:
    """The request's columns by name, and the number of rows."""
    if (body.dataframe_split is None) == (body.dataframe_records is None):
        raise RefusedRequest(400, "body: give one of dataframe_split and dataframe_records")
    if body.dataframe_split is not None:
        names, data = body.dataframe_split.columns, _split_rows(body.dataframe_split)
    else:
        names, data = _record_rows(body.dataframe_records or [])
    if not data:
        raise RefusedRequest(400, "body: no rows: give at least one")
    _known(names, signature)
    return dict(zip(names, zip(*data, strict=True), strict=True)), len(data)


def _split_rows(split: Split) -> list[list[Any]]:
    width = len(split.columns)
    for position, row in enumerate(split.data):
        if len(row) != width:
            raise RefusedRequest(400, f"dataframe_split.data[{position}] has {len(row)} values for {width} columns")
    return split.data


def _record_rows(records: list[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    names = list(records[0]) if records else []
    for position, record in enumerate(records):
        if record.keys() != records[0].keys():
            differing = ", ".join(sorted(record.keys() ^ records[0].keys()))
            raise RefusedRequest(400, f"dataframe_records[{position}] and [0] differ in: {differing}")
    return names, [[record[name] for name in names] for record in records]


def _known(names: Sequence[str], signature: Signature) -> None:
    allowed = {signature.entity, signature.timestamp, *signature.names}
    for name in names:
        if name not in allowed:
            raise RefusedRequest(400, f"column '{name}' is unknown; allowed: {', '.join(sorted(allowed))}")
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RefusedRequest(400, f"column {', '.join(twice)} is given twice: keep one")


def _entities(name: str, columns: dict[str, Sequence[Any]], count: int) -> Sequence[str | None]:
    values = columns.get(name, [None] * count)
    for value in values:
        if value is not None and type(value) not in (str, int):
            raise RefusedRequest(400, f"column '{name}' got {value!r}: an entity is a text, an integer or null")
    return [None if value is None else str(value) for value in values]


def _timestamps(name: str, columns: dict[str, Sequence[Any]], count: int, now: datetime) -> Sequence[datetime]:
    if name not in columns:
        return [now] * count
    return [_timestamp(name, value) for value in columns[name]]


def _timestamp(name: str, value: Any) -> datetime:
    try:
        parsed = datetime.fromisoformat(value)
        if parsed.tzinfo is None or not _YEARS[0] <= parsed.year <= _YEARS[1]:
            raise ValueError
        return parsed.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise RefusedRequest(
            400,
            f"column '{name}' got {value!r}: a time is a text with its offset, such as 2013-01-01T05:15:00Z, "
            f"in the years {_YEARS[0]} to {_YEARS[1]}",
        ) from None
