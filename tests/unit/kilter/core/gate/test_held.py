"""When a held candidate may be judged again: a truth table."""

from datetime import UTC, datetime

import pytest

from kilter.core.gate.held import Choice, LastVerdict, choose

DAY = [datetime(2024, 1, number, tzinfo=UTC) for number in range(1, 6)]


def last(action: str | None = "hold", as_of: datetime | None = DAY[0]) -> LastVerdict:
    return LastVerdict(version=7, action=action, as_of=as_of, at=DAY[2])


def test_a_held_candidate_is_judged_again_when_more_is_known() -> None:
    chosen = choose(last(), promoted_at=None, known=DAY[1])
    assert chosen == Choice(7, "version 7 is held, and labels until 2024-01-02T00:00:00+00:00 are known now")


@pytest.mark.parametrize("known", [DAY[0], DAY[0].replace(year=2023)])
def test_without_newer_labels_it_stays_held(known: datetime) -> None:
    chosen = choose(last(), promoted_at=None, known=known)
    assert chosen.version is None
    assert "judged with all labels known by 2024-01-01" in chosen.reason


@pytest.mark.parametrize("action", ["promote", "reject", "ask", None])
def test_only_a_held_candidate_is_chosen(action: str | None) -> None:
    chosen = choose(last(action), promoted_at=None, known=DAY[1])
    assert chosen.version is None
    assert "no candidate is held: the newest verdict, on version 7" in chosen.reason


def test_a_promotion_since_overtakes_it_and_one_before_does_not() -> None:
    assert choose(last(), promoted_at=DAY[1], known=DAY[4]).version == 7
    overtaken = choose(last(), promoted_at=DAY[3], known=DAY[4])
    assert overtaken == Choice(None, "version 7 was held, and a version was promoted since")
