"""The step choose_candidate, on a real ledger."""

import logging
from datetime import timedelta
from typing import Any

import pytest


def judged(rides: Any, version: int, action: str, day: int) -> None:
    """Record a verdict reached on the labels known at the start of a day."""
    as_of = rides.START + timedelta(days=day)
    rides.ledger.record_verdict(
        model="rides", version=version, holdout=f"holdouts/{version}-{day}", verdict="inconclusive", action=action,
        reason="why", judgements=[], evaluation_start=rides.START, evaluation_end=as_of, as_of=as_of,
    )  # fmt: skip


def ingested(rides: Any, *days: int) -> None:
    """Record that the batches of these days passed."""
    for day in days:
        start = rides.START + timedelta(days=day)
        rides.ledger.record_batch(
            model="rides", interval_start=start, interval_end=start + timedelta(days=1), key=f"b{day}", digest="d",
            rows=1, verdict="passed", reason="",
        )  # fmt: skip


@pytest.mark.parametrize(("version", "chosen"), [("3", 3), (3, 3)])
def test_the_version_that_was_asked_for_is_taken(rides: Any, version: Any, chosen: int) -> None:
    outputs = rides.act("choose_candidate", version=version, as_of="")
    assert (outputs.chosen, outputs.version) == (True, chosen)


def test_a_held_candidate_is_chosen_once_another_interval_was_ingested(rides: Any) -> None:
    ingested(rides, 0, 1)
    judged(rides, 2, "hold", day=2)
    assert not rides.act("choose_candidate").chosen
    ingested(rides, 2)
    outputs = rides.act("choose_candidate", version="", as_of="")
    assert (outputs.chosen, outputs.version) == (True, 2)


def test_labels_up_to_a_given_time_count_instead(rides: Any) -> None:
    ingested(rides, 0, 1, 2, 3)
    judged(rides, 2, "hold", day=2)
    assert not rides.act("choose_candidate", as_of=rides.day(2)["start"]).chosen
    assert rides.act("choose_candidate", as_of=rides.day(3)["start"]).version == 2


def test_a_candidate_that_another_verdict_or_promotion_overtook_stays_held(rides: Any) -> None:
    ingested(rides, 0, 1, 2, 3)
    judged(rides, 2, "hold", day=1)
    judged(rides, 3, "reject", day=1)
    assert not rides.act("choose_candidate").chosen
    judged(rides, 4, "hold", day=1)
    assert rides.act("choose_candidate").version == 4
    rollout = rides.ledger.begin_rollout("rides", 3, None)
    for state in ("promoting", "settled"):
        rides.ledger.advance_rollout(rides.ledger.rollout(rollout), state, 0, "")
    assert not rides.act("choose_candidate").chosen


def test_without_any_verdict_nothing_is_chosen_and_the_log_says_why(
    rides: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "kilter"):
        assert rides.act("choose_candidate").version is None
    assert "nothing to do: no version was ever judged" in caplog.text
