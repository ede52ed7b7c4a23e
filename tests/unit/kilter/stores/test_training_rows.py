"""A snapshot's part in pieces."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kilter.encoding import Signature
from kilter.errors import DataError
from kilter.spec import Feature, Training
from kilter.stores.models import read_part, to_part
from kilter.stores.objects import FileObjects, commit_dataset
from kilter.stores.parquet import ROW_GROUP, frame_to_parquet
from kilter.stores.training_rows import ParquetRows, open_rows
from kilter.trainers import TrainingRun, trainer, whole

SIGNATURE = Signature(
    entity="id",
    timestamp="at",
    features=(Feature(name="x"), Feature(name="y", kind="categorical", categories=("a", "b"))),
)


def frame(rows: int) -> pd.DataFrame:
    place = pd.Series(range(rows))
    return pd.DataFrame(
        {
            "id": place,
            "y": place.mod(3).map({0: "a", 1: "b", 2: None}),
            "x": (place / 2).mask(place % 5 == 0),
            "late": (place % 2).astype("int8"),
        }
    )


def committed(home: Path, rows: int) -> tuple[FileObjects, str]:
    objects = FileObjects(home)
    return objects, commit_dataset(objects, "snapshots/m", {"train.parquet": frame_to_parquet(frame(rows))}).key


def test_the_pieces_are_the_rows_of_the_part_in_their_order(tmp_path: Path) -> None:
    objects, key = committed(tmp_path, 2 * ROW_GROUP + 10)
    expected = to_part(read_part(objects, key, "train"), SIGNATURE, "late")
    with open_rows(objects, key, "train", SIGNATURE, "late") as rows:
        assert (len(rows), rows.count) == (2 * ROW_GROUP + 10, 3)
        assert [len(piece) for piece in rows.pieces()] == [ROW_GROUP, ROW_GROUP, 10]
        found = whole(rows)
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_pieces_come_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    objects, key = committed(tmp_path, ROW_GROUP + 10)
    with open_rows(objects, key, "train", SIGNATURE, "late") as rows:
        assert [len(piece) for piece in rows.pieces([1, 0])] == [10, ROW_GROUP]


def test_an_altered_part_is_refused(tmp_path: Path) -> None:
    objects, key = committed(tmp_path, 10)
    with (tmp_path / key / "train.parquet").open("ab") as file:
        file.write(b"more")
    with pytest.raises(DataError, match="was altered"), open_rows(objects, key, "train", SIGNATURE, "late"):
        pass


def test_what_is_no_parquet_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"m/train.parquet is not readable Parquet: .*: freeze the data set again"):
        ParquetRows(io.BytesIO(b"PAR1 or not"), SIGNATURE, "late", "m/train.parquet")


def test_a_column_that_is_not_there_is_named() -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame(10).drop(columns="x")), buffer)
    with pytest.raises(DataError, match="feature 'x' is missing"):
        next(ParquetRows(buffer, SIGNATURE, "late", "m/train.parquet").pieces())


@pytest.mark.parametrize(
    ("name", "parameters"), [("xgboost", {}), ("torch", {"width": 8, "depth": 1, "learning_rate": 0.01})]
)
def test_a_model_is_trained_although_columns_hold_no_value(
    tmp_path: Path, name: str, parameters: dict[str, int]
) -> None:
    signature = Signature(entity="id", timestamp="at", features=(*SIGNATURE.features, Feature(name="z")))
    empty = frame(400).assign(y=None, z=None)
    objects = FileObjects(tmp_path)
    key = commit_dataset(objects, "snapshots/m", {"train.parquet": frame_to_parquet(empty)}).key
    run = TrainingRun(signature, Training(trainer=name, rounds=2, parameters=parameters), "log_loss")
    with open_rows(objects, key, "train", signature, "late") as rows:
        files = trainer(name).train(rows, rows, run).files
        assert np.isfinite(trainer(name).load(files).predict(whole(rows).rows)).all()
