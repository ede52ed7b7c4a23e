"""Judging quality on labels: known answers."""

from typing import Any

import pytest

from kilter.core.drift.performance import judge_performance
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift


def judge(**changes: Any) -> Judgement:
    fine = {"metric": "roc_auc", "value": 0.74, "baseline": 0.75, "labelled": 900}
    return judge_performance(**fine | changes, drift=Drift(minimum_rows=100, allowed_decay=0.02))


def test_a_small_loss_passes() -> None:
    assert judge().verdict is Verdict.PASSED


def test_decay_beyond_what_is_allowed_fails_and_shows_its_sum() -> None:
    judged = judge(value=0.72)
    assert judged.verdict is Verdict.FAILED
    assert judged.reason == "roc_auc 0.7200 on 900 labelled rows, 0.7500 at its best: +0.0300 lost > 0.02 allowed"


def test_a_metric_that_is_not_finite_is_an_error_and_never_a_pass() -> None:
    assert judge(value=float("nan")).verdict is Verdict.ERROR


def test_labels_of_one_class_only_are_inconclusive_and_say_so() -> None:
    judged = judge(value=None)
    assert (judged.verdict, "of one class" in judged.reason) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize("changes", [{"labelled": 99}, {"value": None}, {"baseline": None}])
def test_too_few_labels_are_inconclusive(changes: dict[str, Any]) -> None:
    assert judge(**changes).verdict is Verdict.INCONCLUSIVE
