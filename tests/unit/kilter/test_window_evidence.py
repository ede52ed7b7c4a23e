"""A window of each task beside its reference, with real Evidently reports."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.unit.kilter.parts import CLASSES, spec_of

from kilter.core.drift import CHANGE_DETECTORS, DATA_DRIFT, ESTIMATED_PERFORMANCE, PERFORMANCE, PREDICTION_DRIFT
from kilter.core.drift.freshness import Stretch
from kilter.core.drift.window import Window
from kilter.core.verdict import Judgement, Verdict
from kilter.scores import to_column
from kilter.window_evidence import Reference, WindowEvidence, judge_window

START = datetime(2024, 1, 8, tzinfo=UTC)
DAY = timedelta(days=1)


def answered(task: str, rows: int = 3000, hotter: float = 0.0, worse: bool = False, seed: int = 1) -> pd.DataFrame:
    """Parts of a day with the scores of a model that knows how they come out, or of a `worse` world."""
    random = np.random.default_rng(seed)
    heat = random.normal(size=rows)
    seen = heat + hotter
    frame = pd.DataFrame(
        {
            "heat": seen,
            "line": random.choice(["a", "b"], rows),
            "made_at": pd.date_range(START, periods=rows, freq=DAY / rows),
        }
    )
    known = -seen if worse else seen
    if task == "regression":
        return frame.assign(score=seen, quality=known + random.normal(size=rows))
    if task == "binary":
        return frame.assign(
            score=1 / (1 + np.exp(-seen)), quality=(random.random(rows) < 1 / (1 + np.exp(-known))).astype(float)
        )
    return frame.assign(
        score=to_column(shares(seen)),
        quality=[CLASSES[random.choice(3, p=row)] for row in shares(known)],
    )


def shares(heat: Any) -> Any:
    odds = np.exp(np.column_stack([heat, np.zeros(len(heat)), -heat]))
    return odds / odds.sum(axis=1, keepdims=True)


def judge(task: str, live: pd.DataFrame) -> WindowEvidence:
    """The live rows beside a reference whose quality is the truth's own."""
    spec = spec_of(task)
    reference = answered(task, seed=0)
    baseline = {"binary": 0.207, "multiclass": 0.545, "regression": 0.8}[task]
    window = Window(
        start=START,
        end=START + DAY,
        frame=live,
        rows=len(live),
        labelled=int(live.quality.notna().sum()),
        null_shares={"heat": 0.0, "line": 0.0},
        newest=live.made_at.max().to_pydatetime(),
    )
    earlier = [Stretch(start=START - DAY, end=START, rows=3000)]
    return judge_window(window, Reference(reference, reference, baseline), earlier, spec, seed=0)


def one(found: WindowEvidence, name: str) -> Judgement:
    return next(item for item in found.judgements if item.name == name)


TASKS = pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])


@TASKS
def test_a_window_like_its_reference_passes_and_has_its_pages(task: str) -> None:
    found = judge(task, answered(task))
    assert (found.verdict, found.alert) == (Verdict.PASSED, False), found.reason
    for name in ("drift", "predictions", "performance"):
        assert b"<html" in found.pages[f"{name}.html"]
        assert json.loads(found.pages[f"{name}.json"])["metrics"]


@TASKS
def test_hotter_parts_are_data_drift_and_prediction_drift(task: str) -> None:
    found = judge(task, answered(task, hotter=1.0))
    assert one(found, DATA_DRIFT).verdict is Verdict.FAILED
    assert "heat" in one(found, DATA_DRIFT).reason
    assert one(found, PREDICTION_DRIFT).verdict is Verdict.FAILED


@TASKS
def test_a_world_that_turned_around_is_decay_without_any_drift(task: str) -> None:
    found = judge(task, answered(task, worse=True))
    assert one(found, PERFORMANCE).verdict is Verdict.FAILED
    assert one(found, DATA_DRIFT).verdict is Verdict.PASSED
    assert one(found, PREDICTION_DRIFT).verdict is Verdict.PASSED


@TASKS
def test_without_labels_there_is_no_page_on_quality(task: str) -> None:
    found = judge(task, answered(task).assign(quality=None))
    assert one(found, PERFORMANCE).verdict is Verdict.INCONCLUSIVE
    assert "performance.html" not in found.pages


def test_shares_of_predicted_classes_and_the_top_probability_are_compared() -> None:
    columns = one(judge("multiclass", answered("multiclass")), PREDICTION_DRIFT).figures["columns"]
    assert {name: item["method"] for name, item in columns.items()} == {
        "predicted class": "jensenshannon",
        "top probability": "wasserstein",
    }


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_without_labels_quality_is_estimated_and_a_strange_window_is_not(task: str) -> None:
    usual = judge(task, answered(task).assign(quality=None))
    assert one(usual, ESTIMATED_PERFORMANCE).verdict is Verdict.PASSED
    strange = judge(task, answered(task).assign(quality=None, line="c"))
    assert "100% of the rows have a feature beyond all" in one(strange, ESTIMATED_PERFORMANCE).reason
    assert one(judge("regression", answered("regression")), ESTIMATED_PERFORMANCE).verdict is Verdict.INCONCLUSIVE


@TASKS
def test_errors_that_grew_within_the_window_are_a_change_with_its_time(task: str) -> None:
    calm, wild = answered(task), answered(task, worse=True, seed=2)
    found = one(judge(task, pd.concat([calm[:2000], wild[2000:]])), CHANGE_DETECTORS)
    assert found.verdict is Verdict.FAILED
    assert "rose at 2024-01-08 1" in found.reason
    assert one(judge(task, calm), CHANGE_DETECTORS).verdict is Verdict.PASSED
