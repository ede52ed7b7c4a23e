"""Judging how far columns have moved: known answers."""

from typing import Any

import pytest

from kilter.core.drift.columns import ColumnDrift, Comparison
from kilter.core.drift.data import judge_data_drift
from kilter.core.drift.prediction import judge_prediction_drift
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift

DRIFT = Drift(share=0.5, minimum_rows=100, maximum_null_share=0.5)


def column(drifted: bool) -> ColumnDrift:
    return ColumnDrift(method="wasserstein", value=0.3 if drifted else 0.01, threshold=0.1, drifted=drifted)


def judge(rows: int = 1000, nulls: float = 0.1, unmeasured: tuple[str, ...] = (), **columns: bool) -> Judgement:
    found = Comparison(columns={name: column(drifted) for name, drifted in columns.items()}, unmeasured=unmeasured)
    return judge_data_drift(found, {"a": 0.0, "b": nulls}, rows, DRIFT)


def test_columns_near_their_reference_pass() -> None:
    assert judge(a=False, b=False).verdict is Verdict.PASSED


def test_half_of_the_columns_drifted_is_drift_and_names_them() -> None:
    judged = judge(a=True, b=False)
    assert judged.verdict is Verdict.FAILED
    assert "1 of 2 columns drifted (50%): a" in judged.reason


def test_a_column_that_went_empty_is_drift_although_evidently_sees_none() -> None:
    judged = judge(nulls=0.75, a=False, b=False)
    assert (judged.verdict, "b 75%" in judged.reason) == (Verdict.FAILED, True)


@pytest.mark.parametrize("given", [{"rows": 99, "a": True}, {}, {"rows": 0}])
def test_too_little_data_is_inconclusive(given: dict[str, Any]) -> None:
    assert judge(**given).verdict is Verdict.INCONCLUSIVE


def test_a_column_without_a_finite_distance_is_an_error_and_never_a_pass() -> None:
    judged = judge(a=False, unmeasured=("b",))
    assert (judged.verdict, judged.reason) == (Verdict.ERROR, "no finite distance from the reference for: b")


def test_one_score_that_moved_is_prediction_drift_and_shows_its_sum() -> None:
    judged = judge_prediction_drift(Comparison(columns={"score": column(True)}), 1000, DRIFT)
    assert (judged.verdict, judged.reason) == (
        Verdict.FAILED,
        "score drifted: score wasserstein 0.3 of 0.1 allowed",
    )


def test_scores_as_they_were_pass_and_few_of_them_are_inconclusive() -> None:
    found = Comparison(columns={"score": column(False)})
    assert judge_prediction_drift(found, 1000, DRIFT).verdict is Verdict.PASSED
    assert judge_prediction_drift(found, 99, DRIFT).verdict is Verdict.INCONCLUSIVE
