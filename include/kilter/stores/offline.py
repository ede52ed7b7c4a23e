"""Feast's offline store for Kilter: DuckDB's, with Kilter's own point-in-time join, so that who asks Feast gets what a training gets.

Feast imports it by the path in `feature_view.configuration`.
"""

from __future__ import annotations

from glob import glob
from typing import Any

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from feast import FeatureView
from feast.infra.offline_stores.duckdb import DuckDBOfflineStore, DuckDBOfflineStoreConfig, _write_data_source
from feast.infra.offline_stores.offline_store import RetrievalJob, RetrievalMetadata
from feast.infra.offline_stores.offline_utils import infer_event_timestamp_from_entity_df
from feast.saved_dataset import SavedDatasetStorage
from feast.types import from_feast_to_pyarrow_type

from kilter.errors import InputError
from kilter.stores.feature_rows import FeatureRows


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
        rows = _rows(feature_views[0], names, filter_by_created_timestamp)
        return _Joined(rows.join(asked, time), names, time)


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


def _rows(view: FeatureView, names: list[str], by_created: bool) -> FeatureRows:
    """A view's rows; a row is known once it was created, or without `by_created` from its event time on."""
    source = view.batch_source
    types = {field.name: from_feast_to_pyarrow_type(field.dtype) for field in view.features}
    return FeatureRows(
        files=sorted(glob(source.path)),
        entity=view.entity_columns[0].name,
        event=source.timestamp_field,
        created=source.created_timestamp_column or None,
        ttl=view.ttl or None,
        features=pa.schema([(name, types[name]) for name in names]),
        by_created=by_created,
    )
