"""What a client sends to be scored, parsed once at the edge; every refusal says which field is wrong.

`parse` reads MLflow's `/invocations`; `kilter.serving.open_inference` reads the Open Inference Protocol. Both end in
`rows_of`, so that a feature means the same in either. A missing value is `null`; NaN and Infinity are not JSON.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from kilter.encoding import Matrix, Signature, encode
from kilter.errors import DataError, InputError

_YEARS = (1900, 2199)
"""A time outside is a mistake, and readers of the log with nanoseconds could not hold it."""


_T = TypeVar("_T")


class RefusedRequest(InputError):
    """A request that cannot be answered.

    Args:
        status: the HTTP status, always 4xx or 503.
        allowed: the method that the path has, where another was used (405).
    """

    def __init__(self, status: int, message: str, allowed: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.allowed = allowed


class Split(msgspec.Struct, forbid_unknown_fields=True):
    """MLflow's `dataframe_split`: column names, and rows of values in that order."""

    columns: list[str]
    data: list[list[Any]]
    index: list[Any] | None = None


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an invocation: exactly one of MLflow's three forms, and no `params`."""

    dataframe_split: Split | UnsetType = UNSET
    dataframe_records: list[dict[str, Any]] | UnsetType = UNSET
    instances: list[dict[str, Any] | list[Any]] | UnsetType = UNSET
    params: dict[str, Any] | None = None


@dataclass(frozen=True)
class Rows:
    """Rows to score: encoded for the model, and as they came for the log.

    Args:
        matrix: rows × features in the signature's order.
        columns: the features' values as they came.
        entities: one key a row, None where the client gave none.
        timestamps: one event time a row; the time of the request where the client gave none.
        id: what the client calls this request, in a protocol that asks it; else empty.
        absent: features that the client left out to have them looked up; here they are null.
    """

    matrix: Matrix
    columns: dict[str, Sequence[Any]]
    entities: Sequence[str | None]
    timestamps: Sequence[datetime]
    id: str = ""
    absent: tuple[str, ...] = ()


_decoder = msgspec.json.Decoder(Body)


def parse(body: bytes, signature: Signature, now: datetime, optional: Sequence[str] = ()) -> Rows:
    """Parse the body of an invocation.

    Args:
        optional: features that may be left out.

    Raises:
        RefusedRequest: not JSON, or a field is missing, unknown, or of the wrong type.
    """
    columns, count = _columns(decode(body, _decoder), signature)
    return rows_of(columns, count, signature, now, optional)


def decode(body: bytes, decoder: msgspec.json.Decoder[_T]) -> _T:
    """The body as the decoder's type.

    Raises:
        RefusedRequest: 400, with the place in the body that is at fault.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise RefusedRequest(400, f"body: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedRequest(400, _no_number(body) or f"body: not JSON: {error}") from None


def rows_of(
    columns: dict[str, Sequence[Any]],
    count: int,
    signature: Signature,
    now: datetime,
    optional: Sequence[str] = (),
    id: str = "",
) -> Rows:
    """Columns by name, each of `count` values, as rows to score.

    Raises:
        RefusedRequest: 400; a feature is missing, a value is of the wrong type, or there is no entity to look up the
            features of that were left out.
    """
    absent = tuple(name for name in optional if name not in columns)
    columns = columns | {name: [None] * count for name in absent}
    try:
        return Rows(
            encode(columns, signature),
            {name: columns[name] for name in signature.names},
            _entities(signature.entity, columns, count, absent),
            _timestamps(signature.timestamp, columns, count, now),
            id,
            absent,
        )
    except DataError as error:
        raise RefusedRequest(400, str(error)) from None


def _no_number(body: bytes) -> str:
    """What to say of a body that is JSON but for NaN or Infinity; empty where it is broken elsewhere too."""
    if b"NaN" not in body and b"Infinity" not in body:
        return ""
    try:
        content = json.loads(body, parse_constant=_NoNumber)
    except (ValueError, RecursionError):
        return ""
    for place, literal in _no_numbers(content):
        # Half a surrogate pair, which JSON can spell in a name, could not be sent back.
        at = place.encode(errors="replace").decode()
        return f"body: not JSON: {literal} at `{at}`: a missing value is null, and no feature is infinite"
    return ""


class _NoNumber(str):
    """NaN, Infinity or -Infinity, where JSON has a value."""


def _no_numbers(content: Any) -> Iterator[tuple[str, str]]:
    """Where such literals are, as msgspec names places."""
    waiting = [("$", content)]
    while waiting:
        at, value = waiting.pop()
        if isinstance(value, _NoNumber):
            yield at, value
        elif isinstance(value, dict):
            waiting += [(f"{at}.{name}", inner) for name, inner in value.items()]
        elif isinstance(value, list):
            waiting += [(f"{at}[{place}]", inner) for place, inner in enumerate(value)]


def _columns(body: Body, signature: Signature) -> tuple[dict[str, Sequence[Any]], int]:
    """The request's columns by name, and the number of rows."""
    if body.params:
        raise RefusedRequest(
            400, f"params: got {', '.join(sorted(body.params))}: no model here takes any: leave it out"
        )
    names, data = _table(body, signature)
    if not data:
        raise RefusedRequest(400, "body: no rows: give at least one")
    check_names(names, signature)
    return dict(zip(names, zip(*data, strict=True), strict=True)), len(data)


def _table(body: Body, signature: Signature) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Column names and rows of values, from the one form that was given."""
    if (body.dataframe_split is UNSET) + (body.dataframe_records is UNSET) + (body.instances is UNSET) != 2:
        raise RefusedRequest(400, "body: give one of dataframe_split, dataframe_records and instances")
    if body.dataframe_split is not UNSET:
        return body.dataframe_split.columns, _split_rows(body.dataframe_split)
    if body.dataframe_records is not UNSET:
        return _record_rows("dataframe_records", body.dataframe_records)
    return _instance_rows(body.instances or [], signature)


def _split_rows(split: Split) -> list[list[Any]]:
    width = len(split.columns)
    for position, row in enumerate(split.data):
        if len(row) != width:
            raise RefusedRequest(400, f"dataframe_split.data[{position}] has {len(row)} values for {width} columns")
    return split.data


def _record_rows(form: str, records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    names = list(records[0]) if records else []
    for position, record in enumerate(records):
        if record.keys() != records[0].keys():
            differing = ", ".join(sorted(record.keys() ^ records[0].keys()))
            raise RefusedRequest(400, f"{form}[{position}] and [0] differ in: {differing}")
    return names, [[record[name] for name in names] for record in records]


def _instance_rows(instances: Sequence[Any], signature: Signature) -> tuple[Sequence[str], Sequence[Sequence[Any]]]:
    """Records, or lists of values in the order of the signature."""
    kinds = {type(instance) for instance in instances}
    if len(kinds) > 1:
        raise RefusedRequest(400, "instances: records and lists are mixed: send one of them")
    if kinds == {dict}:
        return _record_rows("instances", instances)
    for position, instance in enumerate(instances):
        if len(instance) != len(signature.names):
            raise RefusedRequest(
                400,
                f"instances[{position}] has {len(instance)} values for {len(signature.names)} features: "
                f"give them in this order: {', '.join(signature.names)}",
            )
    return signature.names, instances


def check_names(names: Sequence[str], signature: Signature, what: str = "column") -> None:
    """Refuse columns that are unknown or given twice; `what` is what the protocol calls them."""
    if not signature.columns.issuperset(names):
        unknown = next(name for name in names if name not in signature.columns)
        raise RefusedRequest(400, f"{what} '{unknown}' is unknown; allowed: {', '.join(sorted(signature.columns))}")
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise RefusedRequest(400, f"{what} {', '.join(twice)} is given twice: keep one")


def _entities(name: str, columns: dict[str, Sequence[Any]], count: int, absent: Sequence[str]) -> Sequence[str | None]:
    values = columns.get(name, [None] * count)
    for value in values:
        if value is None and absent:
            raise RefusedRequest(
                400, f"column '{name}' is missing or null: {', '.join(absent)} are looked up by it: give it, or them"
            )
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
