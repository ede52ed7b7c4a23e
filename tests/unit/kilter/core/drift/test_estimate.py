"""An estimate without labels: how often it holds, when it says that it is not valid, and what it cannot see."""

from typing import Any

import numpy as np
import pytest
from tests.unit.kilter.parts import spec_of

from kilter.core.drift.estimate import Shown, estimate_performance, hold_back, judge_estimate
from kilter.core.metrics import measure
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import ModelSpec


def sample(
    seed: int, rows: int = 2000, shift: float = 0.0, turned: bool = False, many: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Labels and honest scores of rows whose log odds are `shift`ed; or labels that have `turned` around."""
    random = np.random.default_rng(seed)
    odds = random.normal(scale=1.5, size=rows) + shift
    if many:
        scores = np.exp(np.column_stack([odds, np.zeros(rows), -odds / 2]))
        scores /= scores.sum(axis=1, keepdims=True)
        below = scores.cumsum(axis=1)
        return (random.random(rows)[:, None] > below[:, :-1]).sum(axis=1).astype(float), scores
    truth = 1 / (1 + np.exp(odds if turned else -odds))
    return (random.random(rows) < truth).astype(float), 1 / (1 + np.exp(-odds))


def shown(labels: np.ndarray, scores: np.ndarray) -> Shown:
    return Shown(labels, scores, np.arange(len(labels)))


def judge(scores: np.ndarray, test: Shown | None = None, strange: float = 0.0, task: str = "binary") -> Judgement:
    spec: ModelSpec = spec_of(task)
    test = test or shown(*sample(0))
    baseline = measure([spec.evaluation.primary], test.labels, test.scores).get(spec.evaluation.primary)
    return judge_estimate(scores, np.arange(len(scores)), test, strange, baseline, len(scores), spec, seed=0)


@pytest.mark.parametrize(
    ("metric", "many", "shift"),
    [
        ("roc_auc", False, 0.0),
        ("accuracy", False, 0.7),
        ("brier", False, -0.7),
        ("macro_f1", True, 0.5),
        ("log_loss", True, 0.0),
    ],
)
def test_of_honest_scores_the_interval_holds_the_metric_as_often_as_it_says(
    metric: str, many: bool, shift: float
) -> None:
    held = 0
    for trial in range(40):
        labels, scores = sample(1000 + trial, rows=600, shift=shift, many=many)
        test = shown(*sample(trial, rows=600, many=many))
        found = estimate_performance(metric, scores, np.arange(600), test, 0.9, seed=trial)
        assert found is not None
        held += found.low <= measure([metric], labels, scores)[metric] <= found.high
    assert held >= 33


def test_scores_as_sure_as_before_pass() -> None:
    judged = judge(sample(1)[1])
    assert judged.verdict is Verdict.PASSED, judged.reason
    assert "brier estimated 0.1" in judged.reason
    assert "without their labels" in judged.reason


def test_scores_that_are_far_less_sure_fail() -> None:
    scores = 0.5 + (sample(1)[1] - 0.5) / 4
    judged = judge(scores)
    assert judged.verdict is Verdict.FAILED
    assert judged.figures["low"] < judged.figures["value"] < judged.figures["high"]


def test_it_cannot_see_that_the_world_turned_around_under_the_same_features() -> None:
    labels, scores = sample(1, turned=True)
    assert measure(["brier"], labels, scores)["brier"] > 0.35
    assert judge(scores).verdict is Verdict.PASSED


def test_a_pass_is_held_back_where_features_drifted_and_an_alarm_is_not() -> None:
    calm, alarm = judge(sample(1)[1]), judge(0.5 + (sample(1)[1] - 0.5) / 4)
    moved = Judgement(name="data_drift", verdict=Verdict.FAILED, reason="heat")
    still = moved.model_copy(update={"verdict": Verdict.PASSED})
    assert hold_back(calm, moved).verdict is Verdict.INCONCLUSIVE
    assert hold_back(calm, still) == calm
    assert hold_back(alarm, moved) == alarm


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"task": "regression"}, "scores of a regression are no probabilities"),
        ({"test": shown(sample(0)[0], sample(0)[1] ** 3)}, "the model is not calibrated: calibration error 0.2"),
        ({"test": shown(*sample(0, rows=2000, turned=True))}, "the model is not calibrated"),
        ({"test": shown(np.zeros(500), np.full(500, 0.1))}, "too few to tell whether the model is calibrated"),
        ({"strange": 0.4}, "40% of the rows have a feature beyond all that the model learnt from, 10% allowed"),
        ({"shift": 6.0}, "of the scores lie beyond those of the test part, 5% allowed"),
    ],
)
def test_it_says_why_it_is_not_valid(given: dict[str, Any], reason: str) -> None:
    scores = sample(1, shift=given.pop("shift", 0.0))[1]
    judged = judge(scores, **given)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "an estimate of" in judged.reason
    assert "without labels is not valid" in judged.reason
    assert reason in judged.reason


def test_few_rows_are_inconclusive_and_a_score_that_is_no_number_is_an_error() -> None:
    assert judge(sample(1, rows=50)[1]).verdict is Verdict.INCONCLUSIVE
    scores = sample(1)[1]
    scores[3] = np.nan
    assert judge(scores).verdict is Verdict.ERROR
