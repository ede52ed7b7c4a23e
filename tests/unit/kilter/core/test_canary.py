"""The canary's truth table, with its sums worked out by hand."""

from datetime import timedelta

import pytest

from kilter.core.canary import Arm, judge
from kilter.core.verdict import Verdict
from kilter.spec import Canary

RULES = Canary(minimum_requests=50, allowed_error_rate=0.01, allowed_latency_ratio=2.0)


def arm(requests=100, errors=0, mean_ms=10.0, up=True, refused=0):
    return Arm(
        requests=requests, errors=errors, refused=refused, answered=requests, seconds=requests * mean_ms / 1000, up=up
    )


def test_equal_arms_pass_and_the_reason_shows_both_sums():
    judged = judge(arm(900), arm(100), RULES)
    assert judged.verdict is Verdict.PASSED
    assert judged.reason == (
        "error rate 0.00% (0 of 100) <= 0.00% (0 of 900) + 1.00% allowed; "
        "refused (4xx) 0.00% (0 of 100) <= 0.00% (0 of 900) + 1.00% allowed + 0.00% chance; "
        "mean latency 10.00 ms <= 10.00 ms x 2 allowed"
    )


def test_errors_at_the_limit_pass_and_one_more_fails():
    champion = arm(900, errors=9)
    assert judge(champion, arm(100, errors=2), RULES).verdict is Verdict.PASSED
    judged = judge(champion, arm(100, errors=3), RULES)
    assert judged.verdict is Verdict.FAILED
    assert judged.reason == "error rate 3.00% (3 of 100) > 1.00% (9 of 900) + 1.00% allowed"


def test_a_candidate_that_refuses_what_the_champion_takes_fails():
    judged = judge(arm(900), arm(50, refused=50), RULES)
    assert judged.verdict is Verdict.FAILED
    # pooled 50 of 950: 3 x sqrt(0.05263 x 0.94737 x (1/900 + 1/50)) = 3 x 0.03244
    assert judged.reason == (
        "error rate 0.00% (0 of 50) <= 0.00% (0 of 900) + 1.00% allowed; "
        "refused (4xx) 100.00% (50 of 50) > 0.00% (0 of 900) + 1.00% allowed + 9.73% chance"
    )


def test_clients_that_err_in_both_arms_do_not_fail_the_candidate():
    assert judge(arm(900, refused=18), arm(50, refused=3), RULES).verdict is Verdict.PASSED
    assert judge(arm(900, refused=900), arm(50, refused=50), RULES).verdict is Verdict.PASSED


def test_refusals_beyond_chance_fail_and_one_fewer_passes():
    # 5 of 100 refused: pooled 14 of 1000, 1 % + 1 % + 3 x sqrt(0.014 x 0.986 x (1/900 + 1/100)) = 5.72 %
    champion = arm(900, refused=9)
    assert judge(champion, arm(100, refused=5), RULES).verdict is Verdict.PASSED
    # 6 of 100: pooled 15 of 1000, 2 % + 3 x sqrt(0.015 x 0.985 x (1/900 + 1/100)) = 5.84 %
    assert judge(champion, arm(100, refused=6), RULES).verdict is Verdict.FAILED


def test_refusals_are_not_judged_before_the_champion_was_asked_enough():
    assert judge(arm(3), arm(50, refused=50), RULES).verdict is Verdict.INCONCLUSIVE


def test_a_mean_latency_beyond_the_ratio_fails():
    assert judge(arm(900), arm(100, mean_ms=20.0), RULES).verdict is Verdict.PASSED
    judged = judge(arm(900), arm(100, mean_ms=20.1), RULES)
    assert judged.verdict is Verdict.FAILED
    assert "mean latency 20.10 ms > 10.00 ms x 2 allowed" in judged.reason


def test_below_the_floor_nothing_is_slow():
    rules = RULES.model_copy(update={"latency_floor": timedelta(milliseconds=50)})
    assert judge(arm(900, mean_ms=1), arm(100, mean_ms=50), rules).verdict is Verdict.PASSED
    judged = judge(arm(900, mean_ms=1), arm(100, mean_ms=51), rules)
    assert judged.verdict is Verdict.FAILED
    assert "or 50 ms, below which nothing is called slow" in judged.reason


@pytest.mark.parametrize(
    ("champion", "canary", "reason"),
    [
        (arm(900), arm(49), "not enough data: canary got 49 of 50 requests needed"),
        (arm(3), arm(100), "not enough data: champion got 3 of 50 requests needed"),
        (
            Arm(),
            Arm(),
            "not enough data: canary got 0 of 50 requests needed; champion got 0 of 50 requests needed",
        ),
    ],
)
def test_too_few_requests_in_either_arm_are_inconclusive_and_never_a_pass(champion, canary, reason):
    judged = judge(champion, canary, RULES)
    assert (judged.verdict, judged.reason) == (Verdict.INCONCLUSIVE, reason)


def test_errors_that_no_further_request_can_make_good_fail_at_once():
    judged = judge(arm(90), arm(10, errors=1), RULES)
    assert judged.verdict is Verdict.FAILED
    assert judged.reason == (
        "error rate 2.00% (1 of 50) > 0.00% (0 of 90) + 1.00% allowed, were the 40 requests still missing all answered"
    )


def test_a_canary_that_is_down_is_an_error_and_not_a_bad_model():
    judged = judge(arm(900), arm(100, up=False), RULES)
    assert judged.verdict is Verdict.ERROR
    assert "the canary server is down" in judged.reason


def test_latency_that_could_not_be_measured_is_an_error():
    judged = judge(arm(900), Arm(requests=100), RULES)
    assert judged.verdict is Verdict.ERROR
    assert "latency of canary could not be measured" in judged.reason


def test_an_error_rate_is_at_most_one():
    assert Arm(requests=2, errors=4).error_rate == 1.0
    assert Arm(requests=0, errors=1).error_rate == 1.0
    assert Arm().error_rate == 0.0
