"""Evidently reports: what live rows look like beside the rows that the champion learnt from.

Columns, methods and thresholds are pinned, because Evidently otherwise drops columns it cannot
type and changes its method, and the direction of its threshold, with the number of rows.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kilter.core.drift.columns import ColumnDrift, Comparison
from kilter.spec import Drift, ModelSpec

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[np.float64]

os.environ.setdefault("DO_NOT_TRACK", "1")

SCORE = "score"
TOP_PROBABILITY = "top probability"
PREDICTED_CLASS = "predicted class"
_ACTUAL_CLASS = "actual class"
_LARGER_IS_DRIFT = frozenset({"wasserstein", "jensenshannon", "psi"})
"""Distances; the other methods give a p-value, which is small under drift."""


def features_dataset(frame: pd.DataFrame, spec: ModelSpec) -> Any:
    """Wrap the features that a frame holds, each with its type said."""
    names = [name for name in spec.features.names if name in frame]
    return _dataset(frame[names], _categorical(spec))


def compare_features(current: pd.DataFrame, reference: pd.DataFrame, spec: ModelSpec) -> tuple[Any | None, Comparison]:
    """Run Evidently's drift report over every feature that has values on both sides.

    Returns:
        Evidently's snapshot, None where nothing can be compared, and the drift of each column. Columns without a value
        on one side are left out, as they cannot be compared: judge null shares beside this.
    """
    return _compare(current, reference, spec.features.names, _categorical(spec), spec.drift)


def compare_predictions(current: Array, reference: Array, spec: ModelSpec) -> tuple[Any | None, Comparison]:
    """Run Evidently's drift report over the scores, shapes as `predictions` takes them; otherwise as `compare_features`."""
    now, then = predictions(current, spec), predictions(reference, spec)
    return _compare(now, then, list(now.columns), {PREDICTED_CLASS}, spec.drift)


def predictions(scores: Array, spec: ModelSpec) -> pd.DataFrame:
    """What of a score is compared: itself, or the most probable class and its probability.

    Args:
        scores: shape (rows,), of a multiclass model (rows, classes).
    """
    import pandas as pd

    if spec.task != "multiclass":
        return pd.DataFrame({SCORE: scores})
    classes = np.array(spec.label.classes, dtype=object)
    return pd.DataFrame({PREDICTED_CLASS: classes[scores.argmax(axis=1)], TOP_PROBABILITY: scores.max(axis=1)})


def compare_performance(current: tuple[Array, Array], reference: tuple[Array, Array], spec: ModelSpec) -> Any:
    """Run Evidently's report on quality for the task, over labels and scores of each side.

    Args:
        current: labels, shape (rows,), a class as its place in `label.classes`; and scores as in `predictions`. Of a
            classifier each side needs two classes or more.
    """
    from evidently import Report
    from evidently.presets import ClassificationPreset, RegressionPreset

    preset = RegressionPreset() if spec.task == "regression" else ClassificationPreset()
    return Report([preset]).run(_outcomes(*current, spec), _outcomes(*reference, spec))


def html(snapshot: Any) -> bytes:
    """A report as one HTML page."""
    page: str = snapshot.get_html_str(as_iframe=False)
    return page.encode()


def as_json(snapshot: Any) -> bytes:
    """A report's figures."""
    text: str = snapshot.json()
    return text.encode()


def _outcomes(labels: Array, scores: Array, spec: ModelSpec) -> Any:
    """Labels and scores with their roles said."""
    import pandas as pd
    from evidently import BinaryClassification, DataDefinition, Dataset, MulticlassClassification, Regression

    label = spec.label.column
    if spec.task == "multiclass":
        classes = list(spec.label.classes)
        frame = pd.DataFrame(scores, columns=classes)
        frame[_ACTUAL_CLASS] = np.array(classes, dtype=object)[labels.astype(int)]
        frame[PREDICTED_CLASS] = predictions(scores, spec)[PREDICTED_CLASS]
        roles = MulticlassClassification(
            target=_ACTUAL_CLASS, prediction_labels=PREDICTED_CLASS, prediction_probas=classes
        )
        definition = DataDefinition(
            numerical_columns=classes, categorical_columns=[_ACTUAL_CLASS, PREDICTED_CLASS], classification=[roles]
        )
    elif spec.task == "binary":
        frame = pd.DataFrame({label: labels.astype(int), SCORE: scores})
        definition = DataDefinition(
            numerical_columns=[SCORE],
            categorical_columns=[label],
            classification=[BinaryClassification(target=label, prediction_probas=SCORE, pos_label=1)],
        )
    else:
        frame = pd.DataFrame({label: labels, SCORE: scores})
        definition = DataDefinition(
            numerical_columns=[label, SCORE], regression=[Regression(target=label, prediction=SCORE)]
        )
    return Dataset.from_pandas(frame, data_definition=definition)


def _compare(
    current: pd.DataFrame, reference: pd.DataFrame, columns: Iterable[str], categorical: Collection[str], drift: Drift
) -> tuple[Any | None, Comparison]:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    names = [name for name in columns if current[name].notna().any() and reference[name].notna().any()]
    if not names:
        return None, Comparison()
    preset = DataDriftPreset(
        columns=names,
        num_method=drift.numeric_method,
        cat_method=drift.categorical_method,
        num_threshold=drift.threshold,
        cat_threshold=drift.threshold,
    )
    snapshot = Report([preset]).run(_dataset(current[names], categorical), _dataset(reference[names], categorical))
    values = {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith("ValueDrift")
    }
    measured = {
        name: _column(name in categorical, value, drift) for name, value in values.items() if math.isfinite(value)
    }
    return snapshot, Comparison(columns=measured, unmeasured=tuple(sorted(set(names) - set(measured))))


def _dataset(frame: pd.DataFrame, categorical: Collection[str]) -> Any:
    from evidently import DataDefinition, Dataset

    definition = DataDefinition(
        numerical_columns=[name for name in frame if name not in categorical],
        categorical_columns=[name for name in frame if name in categorical],
    )
    return Dataset.from_pandas(frame, data_definition=definition)


def _categorical(spec: ModelSpec) -> set[str]:
    return {feature.name for feature in spec.features.columns if feature.categories}


def _column(categorical: bool, value: float, drift: Drift) -> ColumnDrift:
    method = drift.categorical_method if categorical else drift.numeric_method
    drifted = value >= drift.threshold if method in _LARGER_IS_DRIFT else value < drift.threshold
    return ColumnDrift(method=method, value=value, threshold=drift.threshold, drifted=drifted)
