"""The step record_approval: who, when, why, and whether it still counts."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import InputError
from kilter.holdout import Facts
from kilter.stores.objects import commit_dataset
from kilter.stores.registry import TAG_LENGTH, PipelineRun

ANSWERED = "2024-02-01T12:00:00Z"


@pytest.fixture
def asked(rides: Any, tmp_path: Path) -> Any:
    """Three versions of rides; a person was asked about version 2, beside champion 1."""
    for digest in "abc":
        parts = {"key": f"models/{digest}", "snapshot": "s", "evaluation": "e", "dataset": "d", "dataset_digest": "d"}
        rest = {"parameters": {}, "metrics": {}, "tags": {}, "dataset_rows": 1, "name": "run"}
        rides.registry.register(PipelineRun(model="rides", digest=digest, **parts, **rest), tmp_path)
    rides.registry.set_alias("rides", "champion", 1)
    end = rides.START + timedelta(days=3)
    facts = Facts(
        version=2, model="models/b", digest="b", snapshot="s", champion=1, as_of=end, start=rides.START, end=end,
        rows=9, new_rows=0, prior=0.5, unseen_from=rides.START, look=1, confidence=0.95,
    )  # fmt: skip
    rides.holdout = commit_dataset(rides.objects, "holdouts/rides", {"rows": b""}, facts.model_dump(mode="json")).key
    record(rides, "ask")
    return rides


def record(rides: Any, action: str) -> None:
    rides.ledger.record_verdict(
        model="rides", version=2, holdout=rides.holdout, verdict="passed", action=action, reason="", judgements=[]
    )


def answer(rides: Any, approved: bool, reason: str = "checked by hand", version: int = 2) -> Any:
    return rides.act(
        "record_approval",
        version=version,
        holdout=rides.holdout,
        approved=approved,
        person="ann",
        reason=reason,
        answered_at=ANSWERED,
    )


def test_an_approval_is_kept_and_lets_the_candidate_go_on(asked: Any) -> None:
    outputs = answer(asked, approved=True)
    assert (outputs.approved, outputs.reason) == (True, "approved by ann at 2024-02-01T12:00:00+00:00: checked by hand")
    (row,) = asked.ledger.approvals("rides")
    kept = (row["version"], row["holdout"], row["approved"], row["person"], row["reason"])
    assert kept == (2, asked.holdout, True, "ann", "checked by hand")
    tags = asked.registry.tags("rides", 2)
    assert tags == {
        "approval": "approved by ann",
        "approval_at": "2024-02-01T12:00:00+00:00",
        "approval_reason": "checked by hand",
    }


def test_a_rejection_is_kept_and_promotes_nothing(asked: Any) -> None:
    outputs = answer(asked, approved=False, reason="")
    assert (outputs.approved, outputs.reason) == (
        False,
        "rejected by ann at 2024-02-01T12:00:00+00:00: no reason given",
    )
    assert [row["approved"] for row in asked.ledger.approvals("rides")] == [False]


def test_recording_the_same_answer_again_keeps_it_once(asked: Any) -> None:
    answer(asked, approved=True)
    answer(asked, approved=True)
    assert len(asked.ledger.approvals("rides")) == 1


def test_an_approval_after_another_promotion_is_kept_but_no_longer_counts(asked: Any) -> None:
    asked.registry.set_alias("rides", "champion", 3)
    outputs = answer(asked, approved=True)
    assert not outputs.approved
    assert "not promoted: it was compared with version 1, and version 3 is the champion now; judge it again" in (
        outputs.reason
    )
    assert [row["approved"] for row in asked.ledger.approvals("rides")] == [True]


def test_an_approval_after_the_version_was_judged_again_is_kept_but_no_longer_counts(asked: Any) -> None:
    asked.ledger.record_verdict(
        model="rides", version=2, holdout="holdouts/later", verdict="failed", action="reject", reason="", judgements=[]
    )
    outputs = answer(asked, approved=True)
    assert not outputs.approved
    assert "not promoted: version 2 was judged again since, by more labels: failed" in outputs.reason
    assert [row["approved"] for row in asked.ledger.approvals("rides")] == [True]


def test_a_reason_is_cut_to_what_a_tag_holds_and_kept_whole_in_the_ledger(asked: Any) -> None:
    answer(asked, approved=True, reason="x" * (TAG_LENGTH + 1))
    assert len(asked.registry.tags("rides", 2)["approval_reason"]) == TAG_LENGTH
    assert len(asked.ledger.approvals("rides")[0]["reason"]) == TAG_LENGTH + 1


def test_a_version_that_nobody_was_asked_about_cannot_be_approved(asked: Any) -> None:
    with pytest.raises(InputError, match="version 3 was not judged by holdout"):
        answer(asked, approved=True, version=3)
    record(asked, "reject")
    with pytest.raises(InputError, match="its verdict led to 'reject', not 'ask'"):
        answer(asked, approved=True)
    assert list(asked.ledger.approvals("rides")) == []
