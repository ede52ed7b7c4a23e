"""Tables to be scored: Parquet files in the installation's object store, or in a bucket beside it.

Each file is a partition. It is named by its key, or as `s3://bucket/key` where it lies elsewhere. Files outside both are
refused: a step reaches no folder but those of its stores, in no runtime.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO

from kilter.errors import DataError, InputError, UnavailableError
from kilter.sources.reader import canonical_column
from kilter.spec import ModelSpec
from kilter.stores.objects import ObjectStore, S3Objects, digest_of, matching

if TYPE_CHECKING:
    import pyarrow as pa

_BUFFER = 1024 * 1024
"""Bytes of a column that are read at once, however large a row group is."""
_SCANNED = 1024 * 1024
"""Rows whose times are looked at at once."""
_FIRST, _LAST = datetime(2, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""Times of rows lie between both: others stand for no time, such as year 1, or are beyond what can be told."""


def partitions(objects: ObjectStore, table: str) -> list[str]:
    """The Parquet files of a table, by name.

    Args:
        table: a glob of keys, such as `tables/march/*.parquet`, or the same behind the object store's address, or behind
            `s3://bucket/`; `*` also matches slashes.

    Raises:
        InputError: it lies elsewhere.
        DataError: no file matches.
        UnavailableError: S3 does not answer or refuses.
    """
    store, pattern = _located(objects, table)
    found = [key for key in matching(store, pattern) if key.endswith(".parquet")]
    if not found:
        raise DataError(
            f"table '{table}': no Parquet file matches {store.uri(pattern)}: put the files there or correct the pattern"
        )
    return found if store is objects else [store.uri(key) for key in found]


class Partition:
    """One Parquet file, of which only the entity's column and the event time's are read, in pieces.

    Args:
        file: is left open.
        name: of the file, for errors.

    Raises:
        DataError: it is no Parquet, or lacks one of both columns.
    """

    def __init__(self, file: BinaryIO, name: str, spec: ModelSpec) -> None:
        import pyarrow.parquet as pq

        self._entity, self._time = spec.entity, spec.timestamp
        self.name = name
        self._bytes = file
        self.digest = digest_of(file)
        with self._readable():
            self._file = pq.ParquetFile(file, buffer_size=_BUFFER)
        columns = self._file.schema_arrow.names
        if lost := [column for column in (spec.entity, spec.timestamp) if column not in columns]:
            raise DataError(
                f"partition {name}: no column {' and no column '.join(lost)}; it has {', '.join(columns)}: add it"
            )

    def span(self) -> tuple[datetime, datetime] | None:
        """The first and the last event time; None without rows."""
        import pyarrow.compute as pc

        found = [pc.min_max(piece[self._time]).as_py() for piece in self._pieces(_SCANNED, self._time)]
        return (min(one["min"] for one in found), max(one["max"] for one in found)) if found else None

    def pieces(self, rows: int) -> Iterator[pa.Table]:
        """Entities as text and event times as UTC microseconds, so many rows at once, in the file's order.

        Whole numbers are taken for text, and a time without a zone for UTC.

        Raises:
            DataError: a value is missing, or a column has another type.
        """
        return self._pieces(rows, self._entity, self._time)

    def refuse_replaced(self) -> None:
        """Make sure that what was read are still the bytes of `digest`.

        Raises:
            UnavailableError: they were written over meanwhile.
        """
        self._bytes.seek(0)
        if digest_of(self._bytes) != self.digest:
            raise UnavailableError(f"partition {self.name} was replaced while it was read: try again")

    def _pieces(self, rows: int, *columns: str) -> Iterator[pa.Table]:
        import pyarrow as pa

        start = 0
        with self._readable():
            for batch in self._file.iter_batches(rows, columns=columns):
                found = {name: self._canonical(pa.chunked_array([batch[name]]), name, start) for name in columns}
                start += len(batch)
                yield pa.table(found)

    def _canonical(self, column: pa.ChunkedArray, name: str, start: int) -> pa.ChunkedArray:
        import pyarrow as pa
        import pyarrow.compute as pc

        plain = canonical_column(column)
        if name == self._entity and pa.types.is_integer(plain.type):
            plain = plain.cast(pa.string())
        wanted, words = (
            (pa.timestamp("us", "UTC"), "times") if name == self._time else (pa.string(), "texts or whole numbers")
        )
        if plain.type != wanted:
            raise DataError(f"partition {self.name}: column '{name}' is {column.type}: expected {words}")
        if plain.null_count:
            row = start + pc.index(pc.is_null(plain), True).as_py()
            raise DataError(
                f"partition {self.name}: {plain.null_count} values of '{name}' are missing, the first in row {row}: "
                "features are looked up by who and when: leave such rows out"
            )
        if name == self._time:
            self._refuse_no_times(plain, start)
        return plain

    def _refuse_no_times(self, times: pa.ChunkedArray, start: int) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        first, last = (pa.scalar(bound, times.type) for bound in (_FIRST, _LAST))
        row = pc.index(pc.or_(pc.less(times, first), pc.greater(times, last)), True).as_py()
        if row >= 0:
            raise DataError(
                f"partition {self.name}: '{self._time}' of row {start + row} lies outside the years 2 to 9999: "
                "correct it, or leave such rows out"
            )

    @contextmanager
    def _readable(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"partition {self.name} is not readable Parquet: {error}: write it again") from error


@contextmanager
def open_partition(objects: ObjectStore, name: str, spec: ModelSpec) -> Iterator[Partition]:
    """Open one of the files that `partitions` named; errors as of `Partition`, and a DataError where it is gone."""
    store, key = _located(objects, name)
    with store.open(key) as file:
        yield Partition(file, name, spec)


def _located(objects: ObjectStore, address: str) -> tuple[ObjectStore, str]:
    own = objects.uri("")
    if address.startswith(own) or "://" not in address:
        return objects, address.removeprefix(own)
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme != "s3" or not bucket:
        raise InputError(
            f"table '{address}': allowed are keys in the object store {own} and s3://bucket/key: copy the files to one of them"
        )
    return S3Objects(bucket), key
