"""Feast's offline store for Kilter: DuckDB's, with a point-in-time join that is quick and takes no more memory as features grow.

Feast imports it by the path in `feature_view.configuration`. DuckDB reads the files of features once, leaving out other
entities and times, in pieces of which `kilter.core.point_in_time` keeps what is newest.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from glob import glob
from typing import Any

import duckdb
import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig, _write_data_source
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.saved_dataset import SavedDatasetStorage
from feast.types import from_feast_to_pyarrow_type

from kilter.core.point_in_time import NONE, Integers, Questions
from kilter.errors import InputError

_PIECE = 1024 * 1024
"""Rows of features in memory at once."""

_EARLIEST = datetime.min.replace(tzinfo=UTC)
_TIME = pa.timestamp("us", "UTC")


class PointInTimeOfflineStoreConfig(DuckDBOfflineStoreConfig):
    """DuckDB's, under this store's name."""

    type: str = f"{__name__}.PointInTimeOfflineStore"


class PointInTimeOfflineStore(DuckDBOfflineStore):
    """DuckDB's store, but for the join: of one view with one key, in Parquet files."""

    @staticmethod
    def get_historical_features(
        config: Any,
        feature_views: list[FeatureView],
        feature_refs: list[str],
        entity_df: pd.DataFrame,
        registry: Any,
        project: str,
        full_feature_names: bool = False,
        filter_by_created_timestamp: bool = False,
    ) -> RetrievalJob:
        """Join each row with the newest row of its entity that was known at its event time and is no older than the view's ttl.

        Of rows with one event time the one created last counts, of those the last one in the files. With
        `filter_by_created_timestamp` a row is known once it was created, else from its event time on. No row of
        `entity_df` is lost, and their order stays.

        Raises:
            InputError: several views, a view with several keys, or features under other names than their own.
        """
        if len(feature_views) != 1 or len(feature_views[0].entity_columns) != 1 or full_feature_names:
            raise InputError(
                f"feature views {[view.name for view in feature_views]}, full_feature_names {full_feature_names}: this store joins "
                "one view with one key, under the features' own names: ask for one view at a time"
            )
        asked = pa.Table.from_pandas(entity_df, preserve_index=False)
        time = infer_event_timestamp_from_entity_df(dict(entity_df.dtypes))
        names = [reference.partition(":")[2] for reference in feature_refs]
        return _Joined(_joined(asked, time, feature_views[0], names, filter_by_created_timestamp), names, time)


class _Joined(RetrievalJob):
    """A joined table, as Feast hands it on."""

    def __init__(self, table: pa.Table, names: list[str], time: str) -> None:
        self._table = table
        self._names = names
        self._time = time

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return self._table

    def _to_df_internal(self, timeout: int | None = None) -> pd.DataFrame:
        return self._table.to_pandas()

    @property
    def full_feature_names(self) -> bool:
        return False

    @property
    def on_demand_feature_views(self) -> list[Any]:
        return []

    @property
    def metadata(self) -> RetrievalMetadata:
        times = pc.min_max(self._table[self._time]).as_py()
        keys = [name for name in self._table.column_names if name not in {*self._names, self._time}]
        return RetrievalMetadata(self._names, keys, times["min"], times["max"])

    def persist(self, storage: SavedDatasetStorage, allow_overwrite: bool = False, timeout: int | None = None) -> None:
        _write_data_source(
            ibis.memtable(self._table), storage.to_data_source(), ".", "overwrite", allow_overwrite=allow_overwrite
        )


def _joined(asked: pa.Table, time: str, view: FeatureView, names: list[str], by_created: bool) -> pa.Table:
    """`asked` with the features `names`."""
    entities = asked[view.entity_columns[0].name].cast(pa.string()).combine_chunks().dictionary_encode()
    times = _microseconds(asked[time])
    questions = Questions(entities.indices.to_numpy().astype(np.int64), times)
    types = {field.name: from_feast_to_pyarrow_type(field.dtype) for field in view.features}
    held = pa.schema([(name, types[name]) for name in names]).empty_table()
    for piece in _pieces(view, names, entities.dictionary, _bounds(asked[time], view.ttl), by_created):
        available, events, created = (_microseconds(piece[name]) for name in ("_available", "_event", "_created"))
        kept = questions.add(piece["_entity"].to_numpy(), available, events, created)
        held = pa.concat_tables([held, piece.select(names).cast(held.schema)]).take(kept)
    answers = questions.newest(view.ttl // timedelta(microseconds=1) if view.ttl else np.iinfo(np.int64).max)
    found = held.take(pa.array(answers, mask=answers == NONE))
    return pa.table([*asked.columns, *found.columns], names=[*asked.column_names, *names])


def _pieces(
    view: FeatureView, names: list[str], entities: pa.Array, bounds: dict[str, Any], by_created: bool
) -> Iterator[pa.Table]:
    """Rows of the view that may be an answer: `_entity` as its place in `entities`, times, and the features."""
    source = view.batch_source
    files = sorted(glob(source.path))
    if not files or not len(entities):
        return
    entity, event = _quoted(view.entity_columns[0].name), f"{_quoted(source.timestamp_field)}::TIMESTAMPTZ"
    created = f"{_quoted(source.created_timestamp_column)}::TIMESTAMPTZ" if source.created_timestamp_column else event
    available = f"greatest({event}, {created})" if by_created else event
    query = f"""
        SELECT _place AS _entity, {event} AS _event, {created} AS _created, {available} AS _available,
            {", ".join(map(_quoted, names))}
        FROM read_parquet($files) JOIN _asked ON {entity} = _name
        WHERE {event} >= $first AND {event} <= $last AND {available} <= $last
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("_asked", pa.table({"_name": entities, "_place": np.arange(len(entities))}))
        for batch in connection.sql(query, params={"files": files, **bounds}).to_arrow_reader(_PIECE):
            yield pa.Table.from_batches([batch])


def _bounds(times: pa.ChunkedArray, ttl: timedelta | None) -> dict[str, Any]:
    """Between which event times an answer can lie."""
    span = pc.min_max(times.cast(_TIME)).as_py()
    try:
        first = span["min"] - ttl if ttl else _EARLIEST
    except OverflowError:
        first = _EARLIEST
    return {"first": first, "last": span["max"]}


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _microseconds(times: pa.ChunkedArray) -> Integers:
    return times.cast(_TIME, safe=False).cast(pa.int64()).to_numpy()
