"""Check `prediction_parity`: known answers."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from kilter.core.gate.prediction_parity import (
    Online,
    OnlineCell,
    Row,
    Served,
    differences,
    differing_cells,
    judge,
    unit_of,
)
from kilter.core.verdict import Verdict
from kilter.spec import PredictionParity

WANTED = PredictionParity(tolerance=0.001)
ROW = Row(entity="a", at=datetime(2024, 1, 1, tzinfo=UTC))
ONLINE = Online(rows=10, largest=0.0)
SERVED = Served(rows=10, largest=0.0005)


def test_no_difference_beyond_the_tolerance_passes() -> None:
    judged = judge(ONLINE, SERVED, WANTED)
    assert judged.verdict is Verdict.PASSED
    assert "served, largest difference of scores 0.0005 <= 0.001" in judged.reason


def test_an_online_value_that_differs_fails_also_where_the_scores_do_not() -> None:
    first = OnlineCell(row=ROW, column="fare", offline=5.0, online=None)
    judged = judge(ONLINE.model_copy(update={"differing": 1, "first": first}), SERVED, WANTED)
    assert judged.verdict is Verdict.FAILED
    assert "first difference online: a at 2024-01-01T00:00:00+00:00: fare is None, offline 5.0" in judged.reason


def test_a_row_that_is_behind_online_fails() -> None:
    assert judge(ONLINE.model_copy(update={"behind": 1}), SERVED, WANTED).verdict is Verdict.FAILED


def test_scores_that_differ_at_the_server_fail_and_name_row_and_feature() -> None:
    served = Served(rows=10, differing=4, largest=0.2, first=ROW, own=0.5, answered=0.7, features=("fare", "zone"))
    judged = judge(ONLINE, served, WANTED)
    assert judged.verdict is Verdict.FAILED
    assert "0.7, training code 0.5: the server handles fare and zone otherwise" in judged.reason


def test_a_difference_that_no_feature_explains_is_the_models() -> None:
    served = Served(rows=10, differing=10, largest=0.2, first=ROW, own=0.5, answered=0.7)
    assert "the server's model itself differs" in judge(ONLINE, served, WANTED).reason


def test_rows_that_the_server_refuses_fail() -> None:
    judged = judge(ONLINE, Served(rows=10, refused="status 400: column 'x' is unknown"), WANTED)
    assert judged.verdict is Verdict.FAILED
    assert "refused rows of the training code: status 400" in judged.reason


def test_a_server_that_could_not_be_asked_is_an_error_but_a_difference_online_still_a_failure() -> None:
    silent = Served(rows=10, silent="Connection refused")
    assert judge(ONLINE, silent, WANTED).verdict is Verdict.ERROR
    assert judge(ONLINE.model_copy(update={"behind": 1}), silent, WANTED).verdict is Verdict.FAILED


def test_nothing_to_compare_online_is_inconclusive() -> None:
    for online in (Online(rows=0), Online(rows=10, behind=10), Online(rows=10, newer=10)):
        assert judge(online, SERVED, WANTED).verdict is Verdict.INCONCLUSIVE


def test_a_server_that_differs_fails_also_when_nothing_is_online_to_compare() -> None:
    for online in (Online(rows=0), Online(rows=10, behind=10), Online(rows=10, newer=10)):
        assert judge(online, Served(rows=10, differing=1, largest=0.4), WANTED).verdict is Verdict.FAILED
        assert judge(online, Served(rows=10, refused="status 400"), WANTED).verdict is Verdict.FAILED


def test_some_newer_and_the_rest_behind_is_a_failure() -> None:
    assert judge(Online(rows=10, newer=4, behind=6), SERVED, WANTED).verdict is Verdict.FAILED


def test_a_regression_is_judged_by_shares_of_its_largest_score() -> None:
    own, answered = np.array([[2000.0], [-3.0]]), np.array([[2001.0], [-3.0]])
    apart = differences(own, answered, unit_of(own, "regression"))
    assert apart.tolist() == [0.0005, 0.0]
    judged = judge(ONLINE, Served(rows=2, largest=float(apart.max())), WANTED, "regression")
    assert judged.verdict is Verdict.PASSED
    assert "served, largest difference of scores as a share of the largest 0.0005 <= 0.001" in judged.reason


def test_scores_that_are_all_zero_are_compared_as_they_are() -> None:
    nothing = np.zeros((3, 1))
    assert differences(nothing, nothing + 0.5, unit_of(nothing, "regression")).tolist() == [0.5] * 3


def test_missing_equals_missing_and_nothing_else() -> None:
    offline, online = np.float32([[np.nan, 1.0, np.nan]]), np.float32([[np.nan, 1.5, 0.0]])
    assert differing_cells(offline, online).tolist() == [[False, True, True]]
