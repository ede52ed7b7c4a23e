"""Check `serving_fitness`: known answers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kilter.core.gate.serving_fitness import Seen, judge, not_ready
from kilter.core.verdict import Verdict
from kilter.spec import Gate, ServingFitness

FITNESS = ServingFitness(p99=timedelta(milliseconds=100), memory="300m", ready_within=timedelta(seconds=20))
GATE = Gate(thresholds={"roc_auc": 0.6}, serving_fitness=FITNESS)
MEBIBYTE = 2**20


def seen(**changes: Any) -> Seen:
    """A fit server, but for the changes."""
    fine = {
        "ready_after": 2.0,
        "malformed": {"no rows": 400},
        "latencies": (0.005,) * 500,
        "late": (0.0,) * 500,
        "peak_memory": 299.0 * MEBIBYTE,
    }
    return Seen(**(fine | changes))


def test_a_fit_server_passes_and_its_sentence_shows_the_arithmetic() -> None:
    judged = judge(seen(), GATE)
    assert judged.verdict is Verdict.PASSED
    for part in ("ready after 2 s <= 20 s", "p99 5 ms (95 %: 5 … 5) <= 100 ms", "peak memory 299 MiB <= 300 MiB"):
        assert part in judged.reason


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"ready_after": 21.0}, "ready after 21 s > 20 s"),
        ({"wrong_answers": ("no request_id",)}, "no request_id"),
        ({"malformed": {"no rows": 200}}, "a body with no rows was answered with 200, wanted 4xx"),
        ({"malformed": {"no rows": 500}}, "a body with no rows was answered with 500, wanted 4xx"),
        ({"failures": {"status 503": 2}}, "2 requests under load: status 503"),
        ({"latencies": (0.2,) * 500}, "p99 200 ms (95 %: 200 … 200) > 100 ms"),
        ({"peak_memory": 301.0 * MEBIBYTE}, "peak memory 301 MiB > 300 MiB"),
        ({"ended_while": "it was sent 50 requests/s"}, "ended while it was sent 50 requests/s, under a memory limit"),
    ],
)
def test_an_unfit_server_fails_and_the_reason_names_why(changes: dict[str, Any], cause: str) -> None:
    judged = judge(seen(**changes), GATE)
    assert judged.verdict is Verdict.FAILED
    assert cause in judged.reason


def test_a_p99_whose_interval_holds_the_bound_is_inconclusive() -> None:
    # Six of 500 beyond the bound: the 99th percentile lies among the slowest, on either side of it.
    judged = judge(seen(latencies=(0.005,) * 494 + (0.15,) * 6), GATE)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "p99 150 ms (95 %: 5 … 150) not surely <= 100 ms" in judged.reason


def test_requests_too_few_for_an_interval_of_the_p99_cannot_pass_it_and_can_fail_it() -> None:
    few = judge(seen(latencies=(0.005,) * 100), GATE)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "p99 5 ms <= 100 ms, of 100 answers, too few for an interval: raise rate or duration" in few.reason
    assert judge(seen(latencies=(0.5,) * 100), GATE).verdict is Verdict.FAILED


def test_a_machine_that_sends_too_late_blames_itself_and_not_the_server() -> None:
    judged = judge(seen(latencies=(0.2,) * 500, late=(0.19,) * 500), GATE)
    assert judged.verdict is Verdict.ERROR
    assert "this machine itself sent up to 190 ms late" in judged.reason


def test_late_requests_that_were_answered_in_time_all_the_same_pass() -> None:
    assert judge(seen(latencies=(0.09,) * 500, late=(0.08,) * 500), GATE).verdict is Verdict.PASSED


def test_a_memory_that_could_not_be_measured_is_an_error() -> None:
    assert judge(seen(peak_memory=float("nan")), GATE).verdict is Verdict.ERROR


def test_requests_that_all_failed_are_a_failure_without_a_p99() -> None:
    judged = judge(seen(latencies=(), failures={"no answer within 10 s": 500}), GATE)
    assert judged.verdict is Verdict.FAILED
    assert "p99" not in judged.reason


def test_a_server_that_was_never_ready_fails_and_a_dead_one_names_its_memory_limit() -> None:
    alive, dead = (not_ready(listens, "some words", GATE) for listens in (True, False))
    assert (alive.verdict, dead.verdict) == (Verdict.FAILED, Verdict.FAILED)
    assert alive.reason == "not ready within 20 s: it was there and said: some words"
    assert "more than its limit of 300m of memory" in dead.reason
