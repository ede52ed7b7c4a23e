"""Scores of a partition, made and written piece by piece, so that memory does not grow with it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from kilter.errors import InputError
from kilter.scores import to_arrow
from kilter.spec import ModelSpec
from kilter.stores.features import FeatureStore, Join
from kilter.stores.models import Model, encode_table
from kilter.stores.objects import ObjectStore, sha256
from kilter.stores.parquet import to_parquet
from kilter.stores.score_sets import Request, ScoreSet, part_name
from kilter.stores.tables import Partition

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_PART = 512 * 1024
"""Rows that are joined, scored and written at once; the parts' sizes follow from it, so that it is in every request."""

Missing = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


class Scorer:
    """Scores rows of one model with one version.

    Rows of which nothing was known at their time are answered as the model server answers them: with a null, unless
    the spec says `default` of missing and stale features; then they are scored with all features missing.

    Raises:
        InputError: model.yaml lost a feature that the version takes.
    """

    def __init__(self, model: Model, spec: ModelSpec, version: int) -> None:
        if lost := sorted(set(model.signature.names) - set(spec.features.names)):
            raise InputError(
                f"model '{spec.name}' version {version} takes {', '.join(lost)}, which features.columns does not name any more: "
                "train again, or score with a newer version"
            )
        self._model = model
        self._version = version
        self._keys = [spec.entity, spec.timestamp]
        self._score_unknown = spec.serving.missing == spec.serving.stale == "default"

    def score(self, rows: pa.Table, join: Join) -> tuple[pa.Table, int]:
        """Columns entity, event time, score and model_version, in the rows' order; and of how many rows nothing was known."""
        import pyarrow as pa

        features = join(rows)
        unknown = _unknown(features)
        scores = self._model.predictor.predict(encode_table(features, self._model.signature))
        missing = np.zeros_like(unknown) if self._score_unknown else unknown
        field, column = to_arrow(scores, missing, self._model.signature.classes)
        versions = pa.repeat(pa.scalar(self._version, pa.int64()), len(rows))
        fields = [*(rows.schema.field(name) for name in self._keys), field, pa.field("model_version", pa.int64())]
        table = pa.table([*(rows[name] for name in self._keys), column, versions], schema=pa.schema(fields))
        return table, int(unknown.sum())


def score_partition(
    partition: Partition,
    request: Request,
    scorer: Scorer,
    features: FeatureStore,
    objects: ObjectStore,
    log: logging.Logger,
) -> ScoreSet:
    """Write the parts of a partition's scores; the caller commits what is returned."""
    files: dict[str, str] = {}
    rows = without = 0
    if span := partition.span():
        with features.reader(*span) as join:
            for piece in partition.pieces(request.rows_a_part):
                table, unknown = scorer.score(piece, join)
                data = to_parquet(table, _metadata(request))
                name = part_name(len(files))
                objects.put(f"{request.key}/{name}", data)
                files[name] = sha256(data)
                rows, without = rows + len(piece), without + unknown
                log.info("%s: %d rows scored, of %d of them nothing was known", partition.name, rows, without)
    return ScoreSet(request=request, files=files, rows=rows, without_features=without)


def _unknown(features: pa.Table) -> Missing:
    """Rows without any feature."""
    import pyarrow.compute as pc

    unknown = np.ones(len(features), np.bool_)
    for column in features.columns:
        unknown &= pc.is_null(column, nan_is_null=True).to_numpy()
    return unknown


def _metadata(request: Request) -> dict[str, Any]:
    """What a file of scores says of itself."""
    return {
        "model": request.name,
        "model_version": str(request.version),
        "model_digest": request.model.rpartition("/")[2],
        "snapshot": request.snapshot,
        "request": request.digest,
        "table": request.table,
        "partition": request.partition,
    }
