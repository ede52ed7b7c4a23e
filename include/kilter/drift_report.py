"""Evidently reports: what live rows look like beside the rows that the champion learnt from.

Columns, methods and thresholds are pinned, because Evidently otherwise drops columns it cannot
type and changes its method, and the direction of its threshold, with the number of rows.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from kilter.core.drift import ColumnDrift
from kilter.spec import Drift, ModelSpec

if TYPE_CHECKING:
    import pandas as pd

os.environ.setdefault("DO_NOT_TRACK", "1")

SCORE = "score"
_LARGER_IS_DRIFT = frozenset({"wasserstein", "jensenshannon", "psi"})
"""Distances; the other methods give a p-value, which is small under drift."""


def evidently_dataset(frame: pd.DataFrame, spec: ModelSpec, scored: bool = False) -> Any:
    """Wrap a frame with an explicit definition of its features, and of label and score if `scored`."""
    from evidently import BinaryClassification, DataDefinition, Dataset

    features = [feature for feature in spec.features.columns if feature.name in frame]
    performance = BinaryClassification(target=spec.label.column, prediction_probas=SCORE, pos_label=1)
    definition = DataDefinition(
        numerical_columns=[item.name for item in features if not item.categories],
        categorical_columns=[item.name for item in features if item.categories],
        classification=[performance] if scored else None,
    )
    return Dataset.from_pandas(frame, data_definition=definition)


def compare_columns(
    current: pd.DataFrame, reference: pd.DataFrame, spec: ModelSpec
) -> tuple[Any, dict[str, ColumnDrift], tuple[str, ...]]:
    """Run Evidently's drift report over every feature that has values on both sides.

    Returns:
        Evidently's snapshot, the drift of each column compared, and the names of those for which Evidently
        found no finite distance. Columns without a value on one side are left out, as they cannot be
        compared: judge null shares beside this.
    """
    from evidently import Report
    from evidently.presets import DataDriftPreset

    drift = spec.drift
    names = [name for name in spec.features.names if current[name].notna().any() and reference[name].notna().any()]
    preset = DataDriftPreset(
        columns=names,
        num_method=drift.numeric_method,
        cat_method=drift.categorical_method,
        num_threshold=drift.threshold,
        cat_threshold=drift.threshold,
    )
    snapshot = Report([preset]).run(evidently_dataset(current[names], spec), evidently_dataset(reference[names], spec))
    values = {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith("ValueDrift")
    }
    categorical = {feature.name for feature in spec.features.columns if feature.categories}
    measured = {
        name: _column(name in categorical, value, drift) for name, value in values.items() if math.isfinite(value)
    }
    return snapshot, measured, tuple(sorted(set(names) - set(measured)))


def compare_performance(current: pd.DataFrame, reference: pd.DataFrame, spec: ModelSpec) -> Any:
    """Run Evidently's classification report on labelled and scored rows; both need both classes."""
    from evidently import Report
    from evidently.presets import ClassificationPreset

    columns = [spec.label.column, SCORE]
    return Report([ClassificationPreset()]).run(
        evidently_dataset(current[columns], spec, scored=True), evidently_dataset(reference[columns], spec, scored=True)
    )


def html(snapshot: Any) -> bytes:
    """A report as one HTML page."""
    page: str = snapshot.get_html_str(as_iframe=False)
    return page.encode()


def _column(categorical: bool, value: float, drift: Drift) -> ColumnDrift:
    method = drift.categorical_method if categorical else drift.numeric_method
    drifted = value >= drift.threshold if method in _LARGER_IS_DRIFT else value < drift.threshold
    return ColumnDrift(method=method, value=value, threshold=drift.threshold, drifted=drifted)
