"""A snapshot's part as rows for a trainer, read a piece at a time: it may be larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from kilter.encoding import Signature, encode_labels
from kilter.errors import DataError
from kilter.stores.models import PartName, encode_table
from kilter.stores.objects import ObjectStore, open_file, read_manifest
from kilter.trainers import Part


class ParquetRows:
    """Rows of a Parquet file; a piece is a row group, encoded when it is asked for.

    Args:
        file: open for as long as rows are read.
        owner: what the file is, for errors.

    Raises:
        DataError: it is not Parquet.
    """

    def __init__(self, file: BinaryIO, signature: Signature, label: str, owner: str) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._signature, self._label, self._owner = signature, label, owner
        self._faults = (pa.ArrowException, OSError)
        try:
            self._file = pq.ParquetFile(file)
        except self._faults as error:
            raise self._unreadable(error) from error
        groups = range(self._file.metadata.num_row_groups)
        self._groups = [group for group in groups if self._file.metadata.row_group(group).num_rows]

    def __len__(self) -> int:
        return int(self._file.metadata.num_rows)

    @property
    def count(self) -> int:
        return len(self._groups)

    def pieces(self, order: Iterable[int] | None = None) -> Iterator[Part]:
        """As `kilter.trainers.Rows` describes."""
        columns = [*self._signature.names, self._label]
        for place in range(self.count) if order is None else order:
            try:
                table = self._file.read_row_group(self._groups[place], columns=columns)
            except self._faults as error:
                raise self._unreadable(error) from error
            labels = encode_labels(table[self._label].to_pandas(), self._signature.classes)
            yield Part(encode_table(table, self._signature), labels)

    def _unreadable(self, error: Exception) -> DataError:
        return DataError(f"{self._owner} is not readable Parquet: {error}: freeze the data set again")


@contextmanager
def open_rows(
    objects: ObjectStore, snapshot: str, part: PartName, signature: Signature, label: str
) -> Iterator[ParquetRows]:
    """One part of a frozen training set, checked against its digest.

    Raises:
        DataError: it was never committed, was altered, or is not Parquet.
    """
    name = f"{part}.parquet"
    with open_file(objects, read_manifest(objects, snapshot), name) as file:
        yield ParquetRows(file, signature, label, f"{snapshot}/{name}")
