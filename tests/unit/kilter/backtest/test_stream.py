"""Any Parquet file with a column of time becomes a history, or says why it cannot."""

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from kilter.backtest.history import History
from kilter.backtest.stream import read_stream
from kilter.errors import DataError, InputError

ROWS = 200


def frame(rows: int = ROWS, **columns: Any) -> pd.DataFrame:
    """A numeric feature, a label that follows it, and a time."""
    number = np.random.default_rng(1).normal(size=rows)
    usual = {"number": number, "y": (number > 0).astype(int), "t": np.arange(rows)}
    return pd.DataFrame(usual | columns)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def made(rows: pd.DataFrame, label: str = "y", time: str = "t", **options: Any) -> History:
        rows.to_parquet(tmp_path / "stream.parquet")
        return read_stream(tmp_path / "stream.parquet", label, time, **options)

    return made


THREE = np.arange(ROWS) % 3


@pytest.mark.parametrize(
    ("labels", "task", "classes"),
    [
        (np.arange(ROWS) % 2, "binary", ()),
        (np.arange(ROWS) % 2 * 2.0 - 1, "binary", ()),
        (np.arange(ROWS) % 2 * 0.5, "binary", ()),
        (np.arange(ROWS) % 2 == 0, "binary", ()),
        (np.where(np.arange(ROWS) % 2, "yes", "no"), "binary", ()),
        (THREE, "multiclass", ("0", "1", "2")),
        (THREE * 10.0, "multiclass", ("0", "10", "20")),
        (np.array(["b", "a", ""])[THREE], "multiclass", ("(empty)", "a", "b")),
        (pd.Categorical.from_codes(THREE, ["z", "y", "x", "never"]), "multiclass", ("x", "y", "z")),
        (np.arange(ROWS) % 20, "multiclass", tuple(map(str, range(20)))),
        (np.arange(ROWS) % 21, "regression", ()),
        (THREE + 0.5, "regression", ()),
        (np.linspace(-1, 1, ROWS), "regression", ()),
    ],
)
def test_the_label_tells_the_task(read: Any, labels: Any, task: str, classes: tuple[str, ...]) -> None:
    history = read(frame(y=labels))
    assert (history.spec.task, history.spec.label.classes) == (task, classes)
    assert len(history.labels) == ROWS


def test_the_task_can_be_given(read: Any) -> None:
    assert read(frame(y=THREE), task="regression").spec.task == "regression"
    assert read(frame(), task="multiclass").spec.label.classes == ("0", "1")


def test_one_of_two_classes_is_the_later_in_order(read: Any) -> None:
    history = read(frame(y=np.where(np.arange(ROWS) % 4 == 0, "a", "b")))
    assert history.labels[:5].tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("metric", ["mae", "rmse", "r2"])
def test_bounds_of_numbers_grow_with_their_unit(read: Any, metric: str) -> None:
    def margin(scale: float) -> float:
        return read(frame(y=np.linspace(-1, 1, ROWS) * scale), metric=metric).spec.gate.against_champion.margin

    assert margin(1000.0) == pytest.approx(margin(1.0) * (1 if metric == "r2" else 1000))


@pytest.mark.parametrize(
    ("rows", "windows", "initial"), [(80, 4, 2), (200, 10, 2), (400, 20, 2), (800, 40, 4), (5000, 40, 4)]
)
def test_windows_are_of_equally_many_rows(read: Any, rows: int, windows: int, initial: int) -> None:
    history = read(frame(rows))
    assert (len(history.spans), history.initial) == (windows, initial)
    assert set(np.diff(history.edges)) == {rows // windows}
    assert history.edges[-1] == rows


def test_rows_are_ordered_by_time_and_keep_their_order_within_one(read: Any) -> None:
    rows = frame(number=np.arange(float(ROWS)), t=np.repeat([3, 1, 2, 0], ROWS // 4))
    history = read(rows)
    assert history.frame["column_1"].tolist() == [*range(150, 200), *range(50, 100), *range(100, 150), *range(50)]


@pytest.mark.parametrize(
    "times",
    [
        [str(place) for place in range(ROWS)],
        pd.date_range("2013-01-01", periods=ROWS, freq="h").astype(str),
        pd.date_range("2013-01-01", periods=ROWS, freq="h", tz="America/New_York"),
        [date(2013, 1, 1) + timedelta(days=place) for place in range(ROWS)],
        np.arange(ROWS) / 7,
        [Decimal(place) / 3 for place in range(ROWS)],
    ],
    ids=["text of numbers", "ISO 8601", "zoned", "days", "floats", "decimals"],
)
def test_times_of_any_kind_are_ordered_by_what_they_mean(read: Any, times: Any) -> None:
    rows = frame(number=np.arange(float(ROWS)), t=times).sample(frac=1, random_state=1)
    assert read(rows).frame["column_1"].tolist() == list(range(ROWS))


def test_a_time_in_the_index_is_a_column(read: Any) -> None:
    assert len(read(frame().set_index("t")).frame) == ROWS


def test_columns_may_have_any_name(read: Any) -> None:
    rows = frame().rename(columns={"number": "at"}).assign(**{"label": 1.0, "a b\n'": "x", "": 2, "row": 3})
    assert read(rows).spec.features.names == tuple(f"column_{place}" for place in range(1, 6))


def test_columns_may_have_numbers_for_names(read: Any) -> None:
    rows = frame()
    rows.columns = pd.Index([0, 1, 2])
    assert read(rows, "1", "2").spec.features.names == ("column_1",)


def feature(history: History, place: int = 2) -> Any:
    """Values of one feature as models take them."""
    return history.matrix[:, place - 1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.5, np.nan, np.inf, -np.inf, 1e300], [1.5, np.nan, np.nan, np.nan, np.nan]),
        (pd.array([1, None, 3, 4, 5], dtype="Int64"), [1, np.nan, 3, 4, 5]),
        ([True, False, True, True, False], [1, 0, 1, 1, 0]),
        (pd.to_datetime(["1970-01-01", None, "1970-01-02", None, None]), [0, np.nan, 86400, np.nan, np.nan]),
        (pd.to_datetime(["1970-01-01", None, None, None, None]).tz_localize("Etc/GMT-1"), [-3600, *[np.nan] * 4]),
        ([Decimal("0.5"), None, Decimal(2), None, None], [0.5, np.nan, 2, np.nan, np.nan]),
        ([None] * 5, [np.nan] * 5),
        (["u", "v", None, "u", ""], [1, 2, np.nan, 1, 0]),
        ([None, True, False, None, True], [np.nan, 1, 0, np.nan, 1]),
        (pd.Categorical(["u", None, "v", "u", "v"]), [0, np.nan, 1, 0, 1]),
        ([b"u", b"v", None, b"u", b"u"], [0, 1, np.nan, 0, 0]),
    ],
    ids=[
        "floats",
        "integers",
        "truth",
        "times",
        "zoned",
        "decimals",
        "nothing",
        "text",
        "truth-or-not",
        "categories",
        "bytes",
    ],
)
def test_features_are_numbers_or_categories(read: Any, values: Any, expected: list[float]) -> None:
    rows = frame().iloc[: ROWS // 5 * 5]
    column = pd.concat([pd.Series(values)] * (ROWS // 5), ignore_index=True)
    assert feature(read(rows.assign(other=column)))[:5].tolist() == pytest.approx(expected, nan_ok=True)


def test_rare_categories_count_as_missing(read: Any) -> None:
    names = np.array([f"name {place % 250}" for place in range(1000)])
    names[:2] = "name 5"
    known = feature(read(frame(1000, other=names)))
    assert len(np.unique(known[~np.isnan(known)])) == 200
    assert np.isnan(known).any()


def test_rows_without_a_label_are_left_out(read: Any) -> None:
    labels = np.where(np.arange(ROWS) % 5 == 0, np.nan, np.arange(ROWS) % 2)
    history = read(frame(y=labels))
    assert history.spec.task == "binary"
    assert len(history.frame) == ROWS * 4 // 5


def test_labels_of_a_window_are_known_at_its_end(read: Any) -> None:
    history = read(frame())
    assert history.known(3, 3).all()
    assert not history.known(4, 3).any()
    assert history.rows([0, 2], 9).tolist() == [*range(20), *range(40, 60)]


def test_the_digest_follows_the_rows(read: Any) -> None:
    digests = {read(rows).digest for rows in (frame(), frame(), frame(number=1.0), frame(y=THREE))}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("rows", "options", "error", "said"),
    [
        (frame(), {"label": "z"}, InputError, "--label: .* has no column 'z'; it has: number, y, t"),
        (frame(), {"time": "z"}, InputError, "--time: .* has no column 'z'"),
        (frame(), {"time": "y"}, InputError, "got 'y' for both: name two columns"),
        (frame(), {"windows": 3}, InputError, "--windows: got 3, expected 4 or more"),
        (frame(), {"windows": 150}, DataError, "200 rows with a label, too few for 150 windows"),
        (frame(), {"metric": "mae"}, InputError, "--metric: got mae; of a binary model there are: roc_auc"),
        (frame(y=THREE), {"task": "binary"}, InputError, "--task: got binary, but the label 'y' has 3 distinct values"),
        (frame(y="a").assign(y=["a", "b"] * 100), {"task": "regression"}, InputError, "--task: got regression, but"),
        (frame(79), {}, DataError, "79 rows with a label, too few for 4 windows: bring a longer history"),
        (frame(0), {}, DataError, "0 rows with a label"),
        (frame(y=1), {}, DataError, "the label 'y' is 1 in every row: nothing to learn"),
        (frame(y=None), {}, DataError, "0 rows with a label"),
        (
            frame(201, y=[f"id {place}" for place in range(201)]),
            {},
            DataError,
            "has 201 distinct values, expected 200 ",
        ),
        (frame(y=np.where(np.arange(ROWS) == 7, np.inf, 0.5)), {}, DataError, "the label 'y' is infinite in some rows"),
        (frame(t=[None, *range(ROWS - 1)]), {}, DataError, "1 rows have no 't': remove them or give them a time"),
        (frame(t="01/02/2013"), {}, DataError, "'t' holds text that is neither a number nor ISO 8601"),
        (frame()[["y", "t"]], {}, DataError, "there is no column beside label and time"),
    ],
)
def test_what_cannot_be_replayed_says_why(
    read: Any, rows: pd.DataFrame, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        read(rows, **options)


def test_a_file_that_is_not_there_or_no_parquet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--data: there is no file"):
        read_stream(tmp_path / "none.parquet", "y", "t")
    (tmp_path / "text.parquet").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        read_stream(tmp_path / "text.parquet", "y", "t")
