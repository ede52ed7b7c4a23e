"""Judging a window: known answers."""

from typing import Any

import pytest

from kilter.core.drift import ColumnDrift, Window, judge_data_drift, judge_performance
from kilter.core.verdict import Verdict
from kilter.spec import Drift

DRIFT = Drift(share=0.5, minimum_rows=100, allowed_decay=0.02, maximum_null_share=0.5)


def column(drifted: bool) -> ColumnDrift:
    return ColumnDrift(method="wasserstein", value=0.3 if drifted else 0.01, threshold=0.1, drifted=drifted)


def window(**changes: Any) -> Window:
    fine = {
        "rows": 1000,
        "labelled": 900,
        "null_shares": {"a": 0.0, "b": 0.1},
        "columns": {"a": column(False), "b": column(False)},
        "metric": "roc_auc",
        "value": 0.74,
        "baseline": 0.75,
    }
    return Window(**(fine | changes))


def test_a_quiet_window_passes_both() -> None:
    assert judge_data_drift(window(), DRIFT).verdict is Verdict.PASSED
    assert judge_performance(window(), DRIFT).verdict is Verdict.PASSED


def test_half_of_the_columns_drifted_is_drift_and_names_them() -> None:
    judged = judge_data_drift(window(columns={"a": column(True), "b": column(False)}), DRIFT)
    assert judged.verdict is Verdict.FAILED
    assert "1 of 2 columns drifted (50%): a" in judged.reason


def test_a_column_that_went_empty_is_drift_although_evidently_sees_none() -> None:
    judged = judge_data_drift(window(null_shares={"a": 0.75, "b": 0.0}), DRIFT)
    assert judged.verdict is Verdict.FAILED
    assert "a 75%" in judged.reason


@pytest.mark.parametrize("changes", [{"rows": 99}, {"columns": {}}, {"rows": 0, "columns": {}, "null_shares": {}}])
def test_too_little_data_is_inconclusive_drift(changes: dict[str, Any]) -> None:
    assert judge_data_drift(window(**changes), DRIFT).verdict is Verdict.INCONCLUSIVE


def test_decay_beyond_what_is_allowed_fails_and_shows_its_sum() -> None:
    judged = judge_performance(window(value=0.72), DRIFT)
    assert judged.verdict is Verdict.FAILED
    assert judged.reason == "roc_auc 0.7200 on 900 labelled rows, 0.7500 at its best: +0.0300 lost > 0.02 allowed"


def test_a_column_without_a_finite_distance_is_an_error_and_never_a_pass() -> None:
    judged = judge_data_drift(window(unmeasured=("a",)), DRIFT)
    assert (judged.verdict, judged.reason) == (Verdict.ERROR, "no finite distance from the reference for: a")


def test_a_metric_that_is_not_finite_is_an_error_and_never_a_pass() -> None:
    assert judge_performance(window(value=float("nan")), DRIFT).verdict is Verdict.ERROR


def test_labels_of_one_class_only_are_inconclusive_and_say_so() -> None:
    judged = judge_performance(window(value=None), DRIFT)
    assert (judged.verdict, "of one class" in judged.reason) == (Verdict.INCONCLUSIVE, True)


@pytest.mark.parametrize("changes", [{"labelled": 99}, {"value": None}, {"baseline": None}])
def test_too_few_labels_are_inconclusive_performance(changes: dict[str, Any]) -> None:
    assert judge_performance(window(**changes), DRIFT).verdict is Verdict.INCONCLUSIVE
