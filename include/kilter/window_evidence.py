"""All that a window says of the version that served it: measured, judged, and shown on pages.

One function for production and for a backtest: frames in, judgements out, without a store.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from kilter.core.drift import alerts, doubt, verdict_of
from kilter.core.drift.change import row_errors
from kilter.core.drift.columns import Comparison
from kilter.core.drift.data import judge_data_drift
from kilter.core.drift.detectors import judge_change
from kilter.core.drift.estimate import Shown, hold_back, judge_estimate
from kilter.core.drift.freshness import Stretch, judge_freshness
from kilter.core.drift.performance import judge_performance
from kilter.core.drift.prediction import judge_prediction_drift
from kilter.core.drift.window import Window
from kilter.core.metrics import measure
from kilter.core.uncertainty.blocks import blocks_of
from kilter.core.verdict import Judgement, Verdict
from kilter.drift_report import SCORE, as_json, compare_features, compare_performance, compare_predictions, html
from kilter.encoding import encode_labels
from kilter.scores import from_column
from kilter.spec import ModelSpec

Array = npt.NDArray[np.float64]

STREAM_ROWS = 100_000
"""Rows that the detectors run through at most: a fifth of a second."""


@dataclass(frozen=True)
class Reference:
    """What a version learnt from and was tested on, and what it has shown since."""

    train: pd.DataFrame
    test: pd.DataFrame
    """With a column of the version's scores."""
    baseline: float | None
    """The best value of the primary metric: on the test part, or in an earlier window."""
    served: pd.DataFrame | None = None
    """Event time, score and label of what it answered in earlier windows, as many as `STREAM_ROWS` at most."""


@dataclass(frozen=True)
class WindowEvidence:
    """The judgements of a window, the primary metric on it, and pages to look at."""

    judgements: tuple[Judgement, ...]
    value: float | None
    pages: dict[str, bytes] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        return verdict_of(self.judgements)

    @property
    def alert(self) -> bool:
        return alerts(self.judgements)

    @property
    def reason(self) -> str:
        """Every judgement in words."""
        return "; ".join(f"{item.name} {item.verdict}: {item.reason}" for item in self.judgements)


def judge_window(
    window: Window, reference: Reference | None, earlier: Sequence[Stretch], spec: ModelSpec, seed: int
) -> WindowEvidence:
    """Compare a window with its reference, of which there is none where no row was served.

    Evidently sees `drift.sample` rows of each side at most, drawn under `seed`.

    Args:
        earlier: the volume of windows before this one.
    """
    drift, metric = spec.drift, spec.evaluation.primary
    stretch = Stretch(start=window.start, end=window.end, rows=window.rows)
    freshness = judge_freshness(stretch, window.newest, earlier, drift)
    labels, scores = outcomes(window.frame, spec)
    value = measure([metric], labels, scores).get(metric) if len(labels) else None
    features, answers, pages = Comparison(), Comparison(), dict[str, bytes]()
    if reference is not None and window.rows >= drift.minimum_rows:
        features, answers, pages = _compare(window.frame, reference, spec, seed)
    data_drift = judge_data_drift(features, window.null_shares, window.rows, drift)
    judgements = [
        freshness,
        data_drift,
        judge_prediction_drift(answers, window.rows, drift),
        judge_performance(metric, value, reference.baseline if reference else None, window.labelled, drift),
    ]
    if reference is not None:
        judgements += [
            hold_back(_judge_estimate(window, reference, spec, seed), data_drift),
            _judge_change(window.frame, reference, spec, seed),
        ]
    return WindowEvidence(tuple(doubt(item, freshness) for item in judgements), value, pages)


def outcomes(frame: pd.DataFrame, spec: ModelSpec) -> tuple[Array, Array]:
    """Labels and scores of the rows whose label is known, as metrics take them."""
    known = _known(frame, spec)
    return encode_labels(known[spec.label.column].tolist(), spec.label.classes), scores_of(known, spec)


def _known(frame: pd.DataFrame, spec: ModelSpec) -> pd.DataFrame:
    return frame[frame[spec.label.column].notna()]


def scores_of(frame: pd.DataFrame, spec: ModelSpec) -> Array:
    """The scores of a window or a reference."""
    return from_column(frame[SCORE], spec.label.classes)


def bounded(frame: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """At most so many rows, the same ones each time, in their order."""
    return frame if len(frame) <= rows else frame.sample(rows, random_state=seed).sort_index()


def _judge_estimate(window: Window, reference: Reference, spec: ModelSpec, seed: int) -> Judgement:
    live, test = (bounded(part, spec.drift.sample, seed) for part in (window.frame, reference.test))
    labels, scores = outcomes(test, spec)
    shown = Shown(labels, scores, _blocks(test, spec))
    strange = share_beyond(live, reference.train, spec)
    return judge_estimate(
        scores_of(live, spec), _blocks(live, spec), shown, strange, reference.baseline, window.rows, spec, seed
    )


def _judge_change(frame: pd.DataFrame, reference: Reference, spec: ModelSpec, seed: int) -> Judgement:
    """Run the detectors over the test part and what the version answered since, in the order of event time.

    Of more than `STREAM_ROWS` rows every so manieth is taken: a change is then seen as surely, and told a little less exactly.
    """
    columns = [spec.timestamp, SCORE, spec.label.column]
    parts = [_known(part, spec)[columns] for part in (reference.served, frame) if part is not None]
    live = pd.concat([part for part in parts if len(part)] or parts)
    live = live.sort_values(spec.timestamp, kind="stable")
    live = live.iloc[np.unique(np.linspace(0, len(live) - 1, min(len(live), STREAM_ROWS)).astype(int))]
    test = _known(bounded(reference.test, spec.drift.sample, seed), spec).sort_values(spec.timestamp, kind="stable")
    stream = pd.concat([test[columns], live]) if len(live) else test
    labels, scores = outcomes(stream, spec)
    scale = _scale(labels[: len(test)], scores[: len(test)]) if spec.task == "regression" else 1.0
    return judge_change(
        row_errors(spec.task, labels, scores, scale),
        _times(stream, spec),
        _blocks(stream, spec),
        len(test),
        spec.drift.minimum_rows,
        spec.gate.confidence,
    )


def _scale(labels: Array, scores: Array) -> float:
    """The error that 99 of 100 rows of a regression's test part keep to."""
    return float(np.quantile(np.abs(labels - scores), 0.99)) or 1.0 if len(labels) else 1.0


def share_beyond(frame: pd.DataFrame, train: pd.DataFrame, spec: ModelSpec) -> float:
    """The share of rows with a feature beyond all that was learnt from: its range, or its categories."""
    beyond = np.zeros(len(frame), dtype=bool)
    for feature in spec.features.columns:
        now, then = frame[feature.name], train[feature.name].dropna()
        if feature.categories:
            beyond |= (now.notna() & ~now.isin(then.unique())).to_numpy(bool)
        elif len(then):
            beyond |= ((now < then.min()) | (now > then.max())).to_numpy(bool)
    return float(beyond.mean()) if len(beyond) else 0.0


def _blocks(frame: pd.DataFrame, spec: ModelSpec) -> npt.NDArray[np.int64]:
    return blocks_of(_times(frame, spec), spec.evaluation.block)


def _times(frame: pd.DataFrame, spec: ModelSpec) -> npt.NDArray[np.datetime64]:
    return frame[spec.timestamp].dt.tz_localize(None).to_numpy()


def _compare(
    frame: pd.DataFrame, reference: Reference, spec: ModelSpec, seed: int
) -> tuple[Comparison, Comparison, dict[str, bytes]]:
    """Evidently's reports: features beside the train part, scores and quality beside the test part."""
    rows = spec.drift.sample
    live, train, test = (bounded(part, rows, seed) for part in (frame, reference.train, reference.test))
    shown = {}
    shown["drift"], features = compare_features(live, train, spec)
    shown["predictions"], answers = compare_predictions(scores_of(live, spec), scores_of(test, spec), spec)
    now = outcomes(bounded(_known(frame, spec), rows, seed), spec)
    then = outcomes(test, spec)
    if _tells(now[0], spec) and _tells(then[0], spec):
        shown["performance"] = compare_performance(now, then, spec)
    pages: dict[str, bytes] = {}
    for name, snapshot in shown.items():
        if snapshot is not None:
            pages |= {f"{name}.html": html(snapshot), f"{name}.json": as_json(snapshot)}
    return features, answers, pages


def _tells(labels: Array, spec: ModelSpec) -> bool:
    """Whether there are labels enough for a report on quality."""
    return len(labels) > 1 and (spec.task == "regression" or len(np.unique(labels)) > 1)
