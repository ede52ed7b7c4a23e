"""A history out of any Parquet file with a column of time: no model folder needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kilter.backtest.history import History
from kilter.core.record import guess_loss
from kilter.errors import DataError, InputError
from kilter.spec import IN_LABEL_UNITS, LOWER_IS_BETTER, METRICS, ModelSpec, Task

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

WINDOWS = 40
_FEWEST_WINDOWS = 4
_FEWEST_ROWS = 20
"""Of a window."""
_MOST_CLASSES = 20
"""Distinct whole numbers that are still taken for classes."""
_MOST_NAMES = 200
"""Classes: each is a tree more in every round of a training."""
_MOST_CATEGORIES = 200
"""Of a column of text; rarer ones count as missing."""
_ALLOWED = 0.01
"""Of a guess's loss: what the gate allows a candidate to lose, where the metric is in the label's unit."""
_LARGEST = float(np.finfo(np.float32).max)
_DAY = timedelta(days=1)
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


def read_stream(
    file: Path, label: str, time: str, task: Task | None = None, metric: str | None = None, windows: int | None = None
) -> History:
    """Read a stream, and cut it into windows of equally many rows, of which the first tenth trains the first model.

    Numbers, truth values, times and spans of time are numeric features, everything else is categorical, by the categories in
    the file; infinite numbers and those beyond float32 count as missing. Text in the column of time is read as numbers or as
    ISO 8601. Rows of one time keep their order in the file. A label is known at the end of its window. For the arbiter a window counts
    as a day, so that `cooldown: 4d` in a policy means four windows.

    Args:
        task: default by the label: text, truth values, two values of any kind and up to 20 distinct whole numbers are classes.
        metric: the primary one; default accuracy, or MAE for a regression.
        windows: 4 or more; default 40, or fewer so that each has 20 rows.

    Raises:
        InputError: there is no such file, column, task or metric, the task does not fit the label, or too few windows.
        DataError: no Parquet, a time is missing or not to be read, the label has one value only, too many classes, or is
            infinite, or too few rows.
    """
    if windows is not None and windows < _FEWEST_WINDOWS:
        raise InputError(f"--windows: got {windows}, expected {_FEWEST_WINDOWS} or more")
    if label == time:
        raise InputError(f"--label and --time: got '{label}' for both: name two columns")
    frame = _read(file)
    for option, column in (("--label", label), ("--time", time)):
        if column not in frame:
            raise InputError(f"{option}: {file} has no column '{column}'; it has: {', '.join(frame.columns)}")
    frame[time] = _times(frame[time], file)
    if frame[time].isna().any():
        raise DataError(
            f"{file}: {int(frame[time].isna().sum())} rows have no '{time}': remove them or give them a time"
        )
    frame = frame[frame[label].notna()].sort_values(time, kind="stable", ignore_index=True)
    count = windows or min(WINDOWS, len(frame) // _FEWEST_ROWS)
    if count < _FEWEST_WINDOWS or len(frame) < count * 2:
        fewest = max(count, _FEWEST_WINDOWS)
        raise DataError(f"{file}: {len(frame)} rows with a label, too few for {fewest} windows: bring a longer history")
    chosen = _task(frame[label], task)
    spec = _spec(frame.drop(columns=[label, time]), chosen, frame[label], metric, file)
    edges = np.linspace(0, len(frame), count + 1).astype(int)
    spans = [(_BEGIN + place * _DAY, _BEGIN + (place + 1) * _DAY) for place in range(count)]
    place = np.repeat(np.arange(count), np.diff(edges))
    ends = np.array([end.replace(tzinfo=None) for _, end in spans], dtype="datetime64[us]")
    rows = _features(frame.drop(columns=[label, time]), spec)
    rows["label"] = _labels(frame[label], chosen)
    rows["at"] = ends[place] - np.timedelta64(1, "h")
    return History(
        spec=spec,
        frame=rows,
        edges=edges.tolist(),
        spans=spans,
        names=[f"window {number} ({frame[time].iloc[edge]})" for number, edge in enumerate(edges[:-1])],
        known_at=ends[place],
        initial=max(2, round(count / 10)),
    )


def _read(file: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except FileNotFoundError:
        raise InputError(f"--data: there is no file {file}") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"--data: {file} cannot be read as Parquet: {error}") from error
    plain = table.cast(pa.schema([field.with_type(_plain(field.type)) for field in table.schema]))
    # Pandas keeps its index, and how it wrote the names of columns, beside the columns: here all are columns, by their names.
    return plain.replace_schema_metadata(None).to_pandas()


def _plain(kind: pa.DataType) -> pa.DataType:
    """What pandas would hold as objects though it is a number or a time."""
    import pyarrow as pa

    if pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_date(kind):
        return pa.timestamp("ms")
    return pa.int64() if pa.types.is_duration(kind) else kind


def _times(times: pd.Series[Any], file: Path) -> pd.Series[Any]:
    """Times in the order that they mean: the text '10' comes after '9'."""
    import pandas as pd

    if not pd.api.types.is_object_dtype(times) and not pd.api.types.is_string_dtype(times):
        return times
    try:
        return pd.to_numeric(times)
    except (ValueError, TypeError):
        pass
    try:
        return pd.to_datetime(times, format="ISO8601", utc=True)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{file}: '{times.name}' holds text that is neither a number nor ISO 8601, such as 2013-03-01T12:00: "
            f"{str(error).partition(', at position')[0]}"
        ) from None


def _task(labels: pd.Series[Any], wanted: Task | None) -> Task:
    """The task that the values allow, or the wanted one if they do."""
    import pandas as pd

    values = pd.unique(labels)
    if len(values) < 2:
        raise DataError(
            f"the label '{labels.name}' is {values[0] if len(values) else 'missing'} in every row: nothing to learn"
        )
    numeric = pd.api.types.is_numeric_dtype(labels)
    if numeric and not np.isfinite(labels.astype(float)).all():
        raise DataError(f"the label '{labels.name}' is infinite in some rows: remove them")
    task = wanted or _usual_task(labels, len(values))
    if task == "regression" and not numeric:
        raise InputError(
            f"--task: got regression, but the label '{labels.name}' is {values[0]!r}: name a column of numbers"
        )
    if task == "binary" and len(values) != 2:
        raise InputError(
            f"--task: got binary, but the label '{labels.name}' has {len(values)} distinct values: leave the option out"
        )
    if task == "multiclass" and len(values) > _MOST_NAMES:
        raise DataError(
            f"the label '{labels.name}' has {len(values)} distinct values, expected {_MOST_NAMES} classes at most: join some"
        )
    return task


def _usual_task(labels: pd.Series[Any], values: int) -> Task:
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(labels) and not pd.api.types.is_bool_dtype(labels)
    if values == 2:
        return "binary"
    return "regression" if numeric and (values > _MOST_CLASSES or not (labels % 1 == 0).all()) else "multiclass"


def _classes(labels: pd.Series[Any], task: Task) -> tuple[str, ...]:
    return tuple(_text(value) for value in sorted(labels.unique(), key=_order)) if task != "regression" else ()


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float | np.number | np.bool_)
    return (not number, float(value) if number else 0.0, str(value))


def _text(value: Any) -> str:
    """A class's name; 1.0 and 1 are one class."""
    return (
        str(int(value)) if isinstance(value, float | np.floating) and value == int(value) else str(value) or "(empty)"
    )


def _labels(labels: pd.Series[Any], task: Task) -> Any:
    if task == "regression":
        return labels.astype(float).to_numpy()
    names = labels.map(_text)
    if task == "multiclass":
        return names.to_numpy()
    return (names == _classes(labels, task)[1]).astype("int8").to_numpy()


def _features(frame: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, Any] = {}
    for feature, name in zip(spec.features.columns, frame.columns, strict=True):
        values = frame[name]
        if feature.categories:
            columns[feature.name] = values.map(str, na_action="ignore").astype(object)
        elif pd.api.types.is_datetime64_any_dtype(values):
            seconds = values.to_numpy("datetime64[s]").astype("float64")
            columns[feature.name] = np.where(values.isna(), np.nan, seconds)
        else:
            numbers = values.astype("float64")
            columns[feature.name] = numbers.where(numbers.abs() <= _LARGEST)
    return pd.DataFrame(columns)


def _feature(place: int, values: pd.Series[Any]) -> dict[str, Any]:
    import pandas as pd

    # Columns of a stranger's file may have any name; a feature's is that of its place.
    name = f"column_{place}"
    types = pd.api.types
    if types.is_numeric_dtype(values) or types.is_datetime64_any_dtype(values) or not values.notna().any():
        return {"name": name}
    most = values.dropna().map(str).value_counts().index[:_MOST_CATEGORIES]
    return {"name": name, "kind": "categorical", "categories": sorted(most)}


def _allowed(primary: str, labels: pd.Series[Any]) -> float:
    """How much a candidate may lose, in the label's unit."""
    guess = guess_loss("regression", primary, labels.to_numpy(float))
    return _ALLOWED * (guess if primary == "mae" else guess**0.5)


def _spec(features: pd.DataFrame, task: Task, labels: pd.Series[Any], metric: str | None, file: Path) -> ModelSpec:
    primary = metric or ("mae" if task == "regression" else "accuracy")
    if primary not in METRICS[task]:
        raise InputError(f"--metric: got {primary}; of a {task} model there are: {', '.join(METRICS[task])}")
    if not len(features.columns):
        raise DataError(f"{file}: there is no column beside label and time, so nothing to learn from")
    label: dict[str, Any] = {"column": "label", "timestamp": "label_known", "delay": "0s"}
    if task == "multiclass":
        label["classes"] = _classes(labels, task)
    allowed = {"allowed_regression": _allowed(primary, labels)} if primary in IN_LABEL_UNITS else {}
    return ModelSpec.model_validate(
        {
            "name": "stream",
            "description": f"The stream in {file.name}.",
            "owner": "backtest",
            "task": task,
            "entity": "row",
            "timestamp": "at",
            "schedule": {"cron": "0 0 * * *", "start": _BEGIN.isoformat()},
            "source": {"kind": "files", "tables": {"stream": {"timestamp": "at", "path": file.name}}},
            "label": label,
            "features": {
                "columns": [_feature(place, features[name]) for place, name in enumerate(features.columns, start=1)],
                "ttl": "1d",
                "online": "1d",
            },
            "training": {
                "trainer": "xgboost",
                "rounds": 300,
                "early_stopping": 20,
                "parameters": {"max_depth": 6, "eta": 0.1, "subsample": 0.8},
            },
            "evaluation": {"metrics": [primary], "block": "0s"},
            "gate": {
                "thresholds": {primary: 1.0 if primary in LOWER_IS_BETTER else 0.0},
                "against_champion": {"minimum_rows": 30, **allowed},
                "inconclusive": "approve",
            },
            "watch": allowed,
            "drift": {"allowed_decay": allowed["allowed_regression"]} if allowed else {},
            "arbiter": {"cooldown": "4d", "saved": 3, "minimum_new_labels": 1},
        }
    )
