"""Scores of a partition, in Parquet files under the digest of the request that they answer.

    scores/<model>/<digest of the request>/part-00000.parquet …
    scores/<model>/<digest of the request>/manifest.json          written last; without it nothing was scored

A request names all that the scores follow from, so that an equal one has the same key and the same bytes, whoever runs it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from kilter.errors import DataError
from kilter.stores.objects import MANIFEST, ObjectStore, sha256


class Request(BaseModel):
    """What is scored, and by what."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    name: str
    """The model's."""
    version: int
    model: str
    """Key of the model, which ends with its digest."""
    snapshot: str
    """Key of what it was trained on."""
    table: str
    partition: str
    content: str
    """SHA-256 of the partition's file."""
    features: dict[str, str]
    """The features objects that may hold rows for it, each with its SHA-256."""
    spec: str
    """Digest of the sections of model.yaml that say how features are looked up."""
    rows_a_part: int
    code: str
    """Digest of the code of Kilter and of the model's folder."""
    environment: str
    """Digest of the installed packages."""

    @property
    def digest(self) -> str:
        return sha256(self.model_dump_json().encode())

    @property
    def key(self) -> str:
        """Where its scores go."""
        return f"scores/{self.name}/{self.digest}"


class ScoreSet(BaseModel):
    """The manifest of a scored partition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    request: Request
    files: dict[str, str]
    """SHA-256 of each part."""
    rows: int
    without_features: int
    """Rows of which nothing was known at their time."""


def part_name(place: int) -> str:
    """Name of a part's file.

    >>> part_name(0)
    'part-00000.parquet'
    """
    return f"part-{place:05}.parquet"


def commit_scores(objects: ObjectStore, scores: ScoreSet) -> None:
    """Write the manifest, once all parts are there."""
    objects.put(f"{scores.request.key}/{MANIFEST}", scores.model_dump_json(indent=1).encode())


def read_scores(objects: ObjectStore, key: str) -> ScoreSet:
    """The manifest of a scored partition.

    Raises:
        DataError: it was never committed, or is not what was committed under this key.
    """
    data = objects.get(f"{key}/{MANIFEST}")
    try:
        found = ScoreSet.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{objects.uri(key)}/{MANIFEST} is no manifest of scores: {error}: {_CURE}") from None
    if found.request.key != key:
        raise DataError(f"{objects.uri(key)}/{MANIFEST} was altered: its request has key {found.request.key}: {_CURE}")
    return found


def committed(objects: ObjectStore, request: Request) -> ScoreSet | None:
    """What was committed for an equal request; None where nothing was, or a part is gone or was altered since."""
    if not objects.exists(f"{request.key}/{MANIFEST}"):
        return None
    found = read_scores(objects, request.key)
    return found if _whole(objects, request.key, list(found.files.items())) else None


def _whole(objects: ObjectStore, key: str, files: Sequence[tuple[str, str]]) -> bool:
    return all(
        objects.exists(f"{key}/{name}") and sha256(objects.get(f"{key}/{name}")) == digest for name, digest in files
    )


_CURE = "score the partition again (in Airflow with the DAG's Param no_cache)"
