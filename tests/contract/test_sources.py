"""Every kind of source gives the same tables for the same data: a Python function, files, and S3 objects."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pandas as pd
import pytest

from kilter.errors import DataError, InputError, UnavailableError
from kilter.sources.reader import read_source
from kilter.spec import Source

START = datetime(2024, 1, 2, tzinfo=UTC)
END = START + timedelta(days=1)
DATA = pd.DataFrame(
    {
        "id": ["c", "a", "b", "d", "e"],
        "at": pd.to_datetime(
            ["2024-01-02T12:00Z", "2024-01-02T00:00Z", "2024-01-02T12:00Z", "2024-01-03T00:00Z", "2024-01-01T23:59Z"]
        ),
        "value": [1.5, None, 3.0, 4.0, 5.0],
    }
)
SOURCE_PY = """
import pandas as pd
from pathlib import Path


def extract(start, end):
    frame = pd.read_parquet(Path(__file__).with_name("data") / "all.parquet")
    return {"t": frame[frame["at"].between(start, end, inclusive="left")]}
"""


def as_parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False)
    return buffer.getvalue()


def as_csv(frame: pd.DataFrame) -> bytes:
    return frame.assign(at=frame["at"].dt.strftime("%Y-%m-%dT%H:%M:%SZ")).to_csv(index=False).encode()


class Place:
    """Somewhere to put files for a source, and the source that reads them."""

    def __init__(self, folder: Path, kind: str, suffix: str) -> None:
        self.folder, self.kind, self.suffix = folder, kind, suffix
        self.format: Callable[[pd.DataFrame], bytes] = as_csv if suffix == "csv" else as_parquet
        (folder / "data").mkdir()
        (folder / "source.py").write_text(SOURCE_PY)

    def put(self, name: str, data: bytes) -> None:
        if self.kind == "s3":
            boto3.client("s3").put_object(Bucket="kilter", Key=f"data/{name}", Body=data)
        else:
            (self.folder / "data" / name).write_bytes(data)

    def source(self, **changes: Any) -> Source:
        table = {"timestamp": "at", "key": ["id"], "path": f"data/*.{self.suffix}"}
        bucket = "kilter" if self.kind == "s3" else None
        return Source.model_validate({"kind": self.kind, "bucket": bucket, "tables": {"t": table | changes}})

    def read(self, **changes: Any) -> pd.DataFrame:
        frame: pd.DataFrame = read_source(self.source(**changes), self.folder, START, END)["t"].to_pandas()
        return frame


@pytest.fixture(params=["python parquet", "files parquet", "files csv", "s3 parquet", "s3 csv"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind, suffix = request.param.split()
    if kind == "s3":
        request.getfixturevalue("bucket")
    return Place(tmp_path, kind, suffix)


@pytest.fixture(params=["files parquet", "files csv", "s3 parquet", "s3 csv"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    kind, suffix = request.param.split()
    if kind == "s3":
        request.getfixturevalue("bucket")
    return Place(tmp_path, kind, suffix)


def test_the_rows_of_the_stretch_come_by_time_and_key(place: Place) -> None:
    place.put(f"all.{place.suffix}", place.format(DATA))
    found = place.read()
    assert found.id.tolist() == ["a", "b", "c"]
    assert str(found["at"].dtype) == "datetime64[us, UTC]"
    assert found.value.isna().tolist() == [True, False, False]


def test_several_files_are_one_table(files: Place) -> None:
    files.put(f"1.{files.suffix}", files.format(DATA[:2]))
    files.put(f"2.{files.suffix}", files.format(DATA[2:]))
    assert files.read().id.tolist() == ["a", "b", "c"]


def test_other_files_are_left_alone(files: Place) -> None:
    files.put(f"1.{files.suffix}", files.format(DATA))
    files.put("README.txt", b"not data")
    assert files.read().id.tolist() == ["a", "b", "c"]


def test_a_column_that_only_some_files_have_is_null_elsewhere(files: Place) -> None:
    files.put(f"1.{files.suffix}", files.format(DATA[:2]))
    files.put(f"2.{files.suffix}", files.format(DATA[2:].assign(extra=1)))
    assert files.read().extra.isna().tolist() == [True, False, True]


def test_files_that_disagree_about_a_type_are_a_data_error(files: Place) -> None:
    files.put(f"1.{files.suffix}", files.format(DATA[:2]))
    files.put(f"2.{files.suffix}", files.format(DATA[2:].assign(value="high")))
    with pytest.raises(DataError, match=r"disagree: .*value"):
        files.read()


def test_a_row_without_a_time_is_kept_for_validation(files: Place) -> None:
    files.put(f"1.{files.suffix}", files.format(DATA.assign(at=DATA["at"].where(DATA.id != "d"))))
    assert files.read().id.tolist() == ["a", "b", "c", "d"]


def test_no_file_is_a_data_error(files: Place) -> None:
    with pytest.raises(DataError, match="table 't': no file matches its path"):
        files.read()


def test_a_broken_file_is_a_data_error_that_names_it(files: Place) -> None:
    broken = {"csv": b"id,at\n1,2,3,4\n", "parquet": as_parquet(DATA)[:-30]}[files.suffix]
    files.put(f"1.{files.suffix}", broken)
    with pytest.raises(DataError, match=rf"1\.{files.suffix} is not readable"):
        files.read()


def test_an_empty_file_is_a_data_error(files: Place) -> None:
    files.put(f"1.{files.suffix}", b"")
    with pytest.raises(DataError, match=r"is not readable .*\(0 bytes\)"):
        files.read()


def test_an_unknown_suffix_is_refused(files: Place) -> None:
    files.put("1.xlsx", b"")
    with pytest.raises(InputError, match=r"allowed are \.parquet and \.csv"):
        files.read(path="data/*.xlsx")


def test_an_unreachable_s3_is_unavailable(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnavailableError, match="S3 does not answer"):
        Place(tmp_path, "s3", "parquet").read()


def test_an_absolute_path_is_read_too(tmp_path: Path) -> None:
    place = Place(tmp_path, "files", "parquet")
    place.put("1.parquet", as_parquet(DATA))
    assert place.read(path=f"{tmp_path}/data/*.parquet").id.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\n", r"source\.py has no function 'extract'"),
        ("def extract(start, end):\n    return []\n", "returned list, expected a dict"),
        ("def extract(start, end):\n    return {'t': 3}\n", "table 't' is int, expected a pandas DataFrame"),
    ],
)
def test_a_wrong_source_py_names_the_file_and_the_cure(tmp_path: Path, code: str, message: str) -> None:
    place = Place(tmp_path, "python", "parquet")
    (tmp_path / "source.py").write_text(code)
    with pytest.raises(InputError, match=message):
        place.read()


def test_a_column_of_mixed_types_is_a_data_error(tmp_path: Path) -> None:
    place = Place(tmp_path, "python", "parquet")
    (tmp_path / "source.py").write_text(
        "import pandas as pd\n\n\ndef extract(start, end):\n    return {'t': pd.DataFrame({'at': [1, 'two']})}\n"
    )
    with pytest.raises(DataError, match=r"table 't' has a column of mixed types: .*column at"):
        place.read()
