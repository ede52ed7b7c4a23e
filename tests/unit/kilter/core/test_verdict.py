"""The four verdicts."""

import pytest

from kilter.core.verdict import Verdict, worst

P, F, I, E = Verdict.PASSED, Verdict.FAILED, Verdict.INCONCLUSIVE, Verdict.ERROR  # noqa: E741


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [([P, P], P), ([P, I], I), ([I, E], E), ([E, F], F), ([P, F, I, E], F)],
)
def test_the_gravest_verdict_wins(verdicts: list[Verdict], expected: Verdict) -> None:
    assert worst(verdicts) is expected


def test_nothing_to_judge_is_inconclusive_and_never_a_pass() -> None:
    assert worst([]) is Verdict.INCONCLUSIVE
