"""What the prediction log keeps of an answer, as it lies in the spool: msgpack, a batch of records for each version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from kilter.serving.score import Score

if TYPE_CHECKING:
    # The process that makes Parquet of records needs neither, nor what they import.
    from kilter.encoding import Signature
    from kilter.stores.deployment import Deployment


class Record(msgspec.Struct, array_like=True, gc=False):
    """One answered request.

    Args:
        latency_ms: milliseconds from the whole body to its scores.
        entities: one a row, or None where no row has one.
        timestamps: event times, one a row, or None where all are `logged_at`.
        columns: the values of each feature as they were scored, in the order of the version's features.
    """

    request_id: str
    logged_at: datetime
    latency_ms: float
    entities: Sequence[str | None] | None
    timestamps: Sequence[datetime] | None
    scores: Sequence[Score]
    columns: Sequence[Sequence[Any]]


class Version(msgspec.Struct, array_like=True, frozen=True):
    """Who answered: the role, the model's version, and the columns that its rows have.

    Args:
        features: names in order, and whether each holds texts.
        classes: of a multiclass model, in the order of its scores; records of before there were any have none.
    """

    role: str
    model: str
    version: int
    digest: str
    entity: str
    timestamp: str
    features: tuple[tuple[str, bool], ...]
    classes: tuple[str, ...] = ()

    @classmethod
    def of(cls, role: str, deployment: Deployment, signature: Signature) -> Version:
        """The version of a deployment, in this role."""
        features = tuple((feature.name, bool(feature.categories)) for feature in signature.features)
        return cls(
            role,
            deployment.model,
            deployment.version,
            deployment.digest,
            signature.entity,
            signature.timestamp,
            features,
            signature.classes,
        )


class Batch(msgspec.Struct, array_like=True):
    """Records of one version."""

    version: Version
    records: list[Record]


class _RawBatch(msgspec.Struct, array_like=True):
    """A batch whose records are encoded already."""

    version: Version
    records: list[msgspec.Raw]


def _plain(value: Any) -> Any:
    """A number of numpy's as one of Python's, wherever it came from; a text of anything else, which no feature is."""
    return value.item() if hasattr(value, "item") else str(value)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain)
_decoder = msgspec.msgpack.Decoder(Batch)


def encode(record: Record) -> bytes:
    """The record as msgpack.

    A number beyond 64 bits, which JSON may hold and msgpack may not, becomes the nearest float.
    """
    try:
        return _encoder.encode(record)
    except OverflowError:
        columns = [[float(value) if type(value) is int else value for value in column] for column in record.columns]
        return _encoder.encode(msgspec.structs.replace(record, columns=columns))


def batch(version: Version, records: Iterable[bytes]) -> bytes:
    """A batch of encoded records, as msgpack."""
    return _encoder.encode(_RawBatch(version, [msgspec.Raw(record) for record in records]))


def decode(data: bytes) -> Batch:
    """The batch; `msgspec.DecodeError` where the bytes are none."""
    return _decoder.decode(data)
