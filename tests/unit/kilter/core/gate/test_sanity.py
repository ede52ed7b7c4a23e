"""What no sane model does: known answers."""

import math
from typing import Any

import pytest

from kilter.core.gate.sanity import Evidence, judge
from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Judgement
from kilter.spec import Sanity


def better_by(value: float, width: float = 0.02) -> Estimate:
    return Estimate(value=-value, low=-value - width, high=-value + width, error=width / 2, confidence=0.95, blocks=30)


def judged(sanity: Sanity | None = None, **changes: Any) -> Judgement:
    """The judgement on a sane model, changed."""
    sane = {
        "rows": 1000,
        "task": "binary",
        "wrong": 0,
        "first_wrong": "",
        "spread": 0.7,
        "probes": 12,
        "unscored": [],
        "losses": [0.6, 0.5, 0.45, 0.45, 0.45, 0.46, 0.46, 0.46, 0.47, 0.47],
        "start": 0.69,
        "baselines": {"prior": better_by(0.2), "last value": better_by(0.19)},
        "shares": {"distance": 0.4, "carrier": 0.7},
    }
    return judge(Evidence(**(sane | changes)), "roc_auc", sanity or Sanity())


def test_a_sane_model_passes_and_shows_what_was_measured() -> None:
    judgement = judged()
    assert judgement.verdict == "passed"
    assert "roc_auc lost to the prior -0.2 (95 %: -0.22 … -0.18) < 0" in judgement.reason
    assert "feature 'carrier' reaches alone 0.7 <= 0.9" in judgement.reason


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"wrong": 3, "first_wrong": "id '7', which scores nan"}, "The first of 3 rows is id '7', which scores nan"),
        ({"spread": 0.0}, "The model gives every row one score"),
        (
            {"unscored": ["feature 'y' = 'b' scores nan"]},
            "The first of 1 among 12 inputs: feature 'y' = 'b' scores nan",
        ),
        ({"losses": [0.6, math.nan]}, "The training diverged: lower the learning rate"),
        ({"losses": [0.6899, 0.7]}, "No round brought the validation loss clearly below 0.69"),
        (
            {"losses": [0.69 - place / 100 for place in range(20)]},
            "had not converged after 20 rounds: raise training.rounds",
        ),
        ({"baselines": {"last value": better_by(-0.2)}}, "A guess, the last value, is better than the model"),
        ({"shares": {"arrival": 0.97}}, "Feature 'arrival' may hold the answer: remove it from features.columns"),
    ],
)
def test_what_no_sane_model_does_fails_and_tells_cause_and_cure(changes: dict[str, Any], cause: str) -> None:
    judgement = judged(**changes)
    assert judgement.verdict == "failed"
    assert cause in judgement.reason


def test_scores_that_are_no_numbers_fail_although_nothing_can_be_compared() -> None:
    nothing = Estimate(**dict.fromkeys(("value", "low", "high", "error"), math.nan), confidence=0.95, blocks=9)
    judgement = judged(wrong=1, first_wrong="id '1', which scores nan", spread=math.nan, baselines={"prior": nothing})
    assert judgement.verdict == "failed"


def test_a_model_that_is_not_surely_better_than_a_guess_is_inconclusive() -> None:
    judgement = judged(baselines={"prior": better_by(0.01)}, shares={})
    assert judgement.verdict == "inconclusive"
    assert "not surely < 0" in judgement.reason


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"baselines": {"prior": None}}, "roc_auc against the prior has no interval: 1000 rows lie in too few blocks"),
        ({"losses": []}, "no loss of it was kept: train the model again"),
    ],
)
def test_what_could_not_be_measured_is_never_a_pass(changes: dict[str, Any], cause: str) -> None:
    judgement = judged(**changes)
    assert judgement.verdict == "inconclusive"
    assert cause in judgement.reason


def test_a_trusted_feature_may_carry_the_model_and_no_other_may() -> None:
    trusting = Sanity(trusted_features=("arrival",))
    assert judged(trusting, shares={"arrival": 1.1, "carrier": 0.2}).verdict == "passed"
    failed = judged(trusting, shares={"arrival": 1.1, "landing": 0.95, "taxi": 1.2, "carrier": 0.2})
    assert failed.verdict == "failed"
    assert [item.label.split("'")[1] for item in failed.measured if "alone" in item.label] == ["taxi", "landing"]


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("multiclass", "rows whose score is no distribution over the classes 0 <= 0"),
        ("regression", "greatest less least score, as a share of the greatest 0.7 >= 1e-06"),
    ],
)
def test_what_a_score_is_depends_on_the_task(task: str, told: str) -> None:
    assert told in judged(task=task).reason
