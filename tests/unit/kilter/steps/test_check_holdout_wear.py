"""check_holdout_wear on verdicts in the ledger."""

from __future__ import annotations

from typing import Any

from kilter.core.verdict import Judgement
from kilter.holdout import read_holdout
from kilter.spec import load_spec


def judged(rides: Any, holdout: str) -> Judgement:
    return rides.act("check_holdout_wear", holdout=holdout).judgement


def test_a_window_is_refused_after_it_decided_as_often_as_it_may(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("gate: {", "gate: {holdout_wear: {maximum_decisions: 2}, "))
    version = rides.candidate(snapshot)
    holdout = rides.act("score_holdout", version=version).holdout
    facts = read_holdout(rides.objects, holdout, load_spec(rides.folder)).facts
    verdicts = []
    for other in (version, 7, 8):
        rides.ledger.record_verdict(
            model="rides",
            version=other,
            holdout=f"holdouts/rides/{other}",
            verdict="failed",
            reason="",
            judgements=[],
            action="reject",
            evaluation_start=facts.start,
            evaluation_end=facts.end,
            as_of=facts.as_of,
        )
        verdicts.append(judged(rides, holdout).verdict.value)
    assert verdicts == ["passed", "passed", "failed"]


def test_a_later_as_of_makes_a_fresh_window(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("gate: {", "gate: {holdout_wear: {maximum_decisions: 1}, "))
    version = rides.candidate(snapshot)
    worn = rides.act("score_holdout", version=version).holdout
    facts = read_holdout(rides.objects, worn, load_spec(rides.folder)).facts
    rides.ledger.record_verdict(
        model="rides", version=7, holdout="h", verdict="passed", reason="", judgements=[], action="promote",
        evaluation_start=facts.start, evaluation_end=facts.end, as_of=facts.as_of,
    )  # fmt: skip
    assert judged(rides, worn).verdict == "failed"
    for day in (3, 4):
        rides.ingest(day, rides.learnable(day))
    fresh = rides.act("score_holdout", version=version, as_of=rides.day(5)["start"]).holdout
    assert judged(rides, fresh).verdict == "passed"
