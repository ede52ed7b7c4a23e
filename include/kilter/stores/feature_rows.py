"""The point-in-time join over Parquet files: DuckDB reads them once, leaving out other entities and times, in pieces of which
`kilter.core.point_in_time` keeps what is newest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from kilter.core.durations import EARLIEST, before
from kilter.core.point_in_time import NONE, Integers, Questions
from kilter.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_PIECE = 1024 * 1024
"""Rows of features in memory at once."""


@dataclass(frozen=True)
class FeatureRows:
    """Rows of features in Parquet files.

    Args:
        entity, event, created: their columns; of rows with one event time the one created last is the newest.
        ttl: how old a row may be that answers; None for any age.
        features: the features' columns, with the types that a join gives.
        by_created: whether a row is known once it was created; else from its event time on.
    """

    files: Sequence[str]
    entity: str
    event: str
    created: str | None
    ttl: timedelta | None
    features: pa.Schema
    by_created: bool = True

    def join(self, asked: pa.Table, time: str) -> pa.Table:
        """`asked` with the features: of each row those of its entity that were newest known at its `time`, else null.

        Of rows with one event time the one created last counts, of those the last one in the files. No row of `asked` is
        lost, and their order stays. Of an entity that is null nothing is known.

        Raises:
            DataError: a file lacks a column, or is no Parquet.
        """
        import pyarrow as pa

        entities = asked[self.entity].cast(pa.string()).combine_chunks().dictionary_encode()
        places = entities.indices.fill_null(len(entities.dictionary)).to_numpy().astype(np.int64)
        questions = Questions(places, _microseconds(asked[time]))
        held = self.features.empty_table()
        for piece in self._pieces(entities.dictionary, self._bounds(asked[time])):
            available, events, created = (_microseconds(piece[name]) for name in ("_available", "_event", "_created"))
            kept = questions.add(piece["_entity"].to_numpy(), available, events, created)
            new = piece.select(self.features.names).cast(self.features)
            held = pa.concat_tables([held, new]).take(kept)
        longest = self.ttl // timedelta(microseconds=1) if self.ttl else np.iinfo(np.int64).max
        answers = questions.newest(longest)
        found = held.take(pa.array(answers, mask=answers == NONE))
        return pa.table([*asked.columns, *found.columns], names=[*asked.column_names, *found.column_names])

    def _pieces(self, entities: pa.Array, bounds: dict[str, Any]) -> Iterator[pa.Table]:
        """Rows that may be an answer: `_entity` as its place in `entities`, times, and the features."""
        import duckdb
        import pyarrow as pa

        if not self.files or not len(entities):
            return
        event = f"{_quoted(self.event)}::TIMESTAMPTZ"
        created = f"{_quoted(self.created)}::TIMESTAMPTZ" if self.created else event
        available = f"greatest({event}, {created})" if self.by_created else event
        query = f"""
            SELECT _place AS _entity, {event} AS _event, {created} AS _created, {available} AS _available,
                {", ".join(map(_quoted, self.features.names))}
            FROM read_parquet($files) JOIN _asked ON {_quoted(self.entity)} = _name
            WHERE {event} >= $first AND {event} <= $last AND {available} <= $last
        """
        with _refused(), duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            # The files stay on the side whose order a join keeps, however few their rows are: it breaks ties.
            connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
            connection.register("_asked", pa.table({"_name": entities, "_place": np.arange(len(entities))}))
            found = connection.sql(query, params={"files": list(self.files), **bounds})
            for batch in found.to_arrow_reader(_PIECE):
                yield pa.Table.from_batches([batch])

    def _bounds(self, times: pa.ChunkedArray) -> dict[str, Any]:
        """Between which event times an answer can lie."""
        import pyarrow as pa
        import pyarrow.compute as pc

        span = pc.min_max(times.cast(pa.timestamp("us", "UTC"))).as_py()
        return {"first": before(span["min"], self.ttl) if self.ttl else EARLIEST, "last": span["max"]}


@contextmanager
def _refused() -> Iterator[None]:
    """Turn what DuckDB cannot read into a `DataError`."""
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        told = str(error).partition("\n")[0]
        raise DataError(
            f"features cannot be read: {told}: run feature_ingestion of these intervals again, as they may be "
            "older than a feature of model.yaml"
        ) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _microseconds(times: pa.ChunkedArray) -> Integers:
    import pyarrow as pa

    return times.cast(pa.timestamp("us", "UTC"), safe=False).cast(pa.int64()).to_numpy()
