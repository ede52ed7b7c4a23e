"""A history out of any Parquet file with a column of time: no model folder needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kilter.backtest.history import History
from kilter.errors import DataError, InputError
from kilter.spec import METRICS, ModelSpec, Task

if TYPE_CHECKING:
    import pandas as pd

WINDOWS = 40
_FEWEST_ROWS = 20
"""Of a window."""
_MOST_CLASSES = 20
"""Distinct whole numbers that are still taken for classes."""
_MOST_CATEGORIES = 200
"""Of a column of text; rarer ones count as missing."""
_DAY = timedelta(days=1)
_BEGIN = datetime(2000, 1, 1, tzinfo=UTC)


def read_stream(
    file: Path, label: str, time: str, task: Task | None = None, metric: str | None = None, windows: int | None = None
) -> History:
    """Read a stream, and cut it into windows of equally many rows, of which the first tenth trains the first model.

    Numbers, truth values and times are numeric features, everything else is categorical, by the categories in the file.
    Rows of one time keep their order in the file. A label is known at the end of its window. For the arbiter a window counts
    as a day, so that `cooldown: 4d` in a policy means four windows.

    Args:
        task: default by the label: text, truth values and up to 20 distinct whole numbers are classes.
        metric: the primary one; default accuracy, or MAE for a regression.
        windows: default 40, or fewer so that each has 20 rows.

    Raises:
        InputError: there is no such file, column, task or metric.
        DataError: no Parquet, a time is missing, the label has one value only, or too few rows.
    """
    frame = _read(file)
    for option, column in (("--label", label), ("--time", time)):
        if column not in frame:
            raise InputError(f"{option}: {file} has no column '{column}'; it has: {', '.join(map(str, frame.columns))}")
    if frame[time].isna().any():
        raise DataError(
            f"{file}: {int(frame[time].isna().sum())} rows have no '{time}': remove them or give them a time"
        )
    frame = frame[frame[label].notna()].sort_values(time, kind="stable", ignore_index=True)
    count = windows or min(WINDOWS, len(frame) // _FEWEST_ROWS)
    if count < 4 or len(frame) < count * 2:
        raise DataError(
            f"{file}: {len(frame)} rows with a label, too few for {max(count, 4)} windows: bring a longer history"
        )
    chosen = task or _task(frame[label])
    spec = _spec(frame.drop(columns=[label, time]), chosen, _classes(frame[label], chosen), metric, file)
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
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(file)
    except FileNotFoundError:
        raise InputError(f"--data: there is no file {file}") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"--data: {file} cannot be read as Parquet: {error}") from error


def _task(labels: pd.Series[Any]) -> Task:
    import pandas as pd

    values = pd.unique(labels)
    if len(values) < 2:
        raise DataError(
            f"the label '{labels.name}' is {values[0] if len(values) else 'missing'} in every row: nothing to learn"
        )
    numeric = pd.api.types.is_numeric_dtype(labels) and not pd.api.types.is_bool_dtype(labels)
    whole = not numeric or bool((labels % 1 == 0).all())
    if numeric and (not whole or len(values) > _MOST_CLASSES):
        return "regression"
    return "binary" if len(values) == 2 else "multiclass"


def _classes(labels: pd.Series[Any], task: Task) -> tuple[str, ...]:
    return tuple(_text(value) for value in sorted(labels.unique(), key=_order)) if task != "regression" else ()


def _order(value: Any) -> tuple[bool, float, str]:
    number = isinstance(value, int | float | np.number | np.bool_)
    return (not number, float(value) if number else 0.0, str(value))


def _text(value: Any) -> str:
    """A class's name; 1.0 and 1 are one class."""
    return str(int(value)) if isinstance(value, float | np.floating) and value == int(value) else str(value)


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
            columns[feature.name] = values.to_numpy("datetime64[s]").astype("float64")
        else:
            columns[feature.name] = values.astype("float64")
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


def _spec(features: pd.DataFrame, task: Task, classes: tuple[str, ...], metric: str | None, file: Path) -> ModelSpec:
    primary = metric or ("mae" if task == "regression" else "accuracy")
    if primary not in METRICS[task]:
        raise InputError(f"--metric: got {primary}; of a {task} model there are: {', '.join(METRICS[task])}")
    if not len(features.columns):
        raise DataError(f"{file}: there is no column beside label and time, so nothing to learn from")
    label: dict[str, Any] = {"column": "label", "timestamp": "label_known", "delay": "0s"}
    if task == "multiclass":
        label["classes"] = classes
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
                "thresholds": {primary: 0.0 if primary not in ("mae", "rmse", "log_loss", "brier") else 1.0},
                "against_champion": {"minimum_rows": 30},
                "inconclusive": "approve",
            },
            "arbiter": {"cooldown": "4d", "saved": 3, "minimum_new_labels": 1},
        }
    )
