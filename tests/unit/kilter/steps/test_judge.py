"""The step judge: one verdict in ledger, registry, object store and log."""

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kilter.errors import InputError
from kilter.holdout import Facts
from kilter.spec import CHECKS
from kilter.stores.objects import commit_dataset
from kilter.stores.registry import TAG_LENGTH, PipelineRun

START = datetime(2024, 1, 5, tzinfo=UTC)
END = datetime(2024, 1, 9, tzinfo=UTC)


@pytest.fixture
def candidate(rides: Any, tmp_path: Any) -> Any:
    """Rides with a registered version 1."""
    run = {"key": "models/rides/a", "digest": "a", "snapshot": "snapshots/rides/s", "evaluation": "e", "dataset": "d"}
    rest = {"parameters": {}, "metrics": {}, "tags": {}, "dataset_digest": "d", "dataset_rows": 1, "name": "run"}
    rides.registry.register(PipelineRun(model="rides", **run, **rest), tmp_path)
    return rides


def holdout(rides: Any, version: int = 1, end: datetime = END) -> str:
    """Commit the facts of a holdout; the key."""
    facts = Facts(
        version=version, model="models/rides/a", digest="a", snapshot="snapshots/rides/s", champion=None, as_of=end,
        start=START, end=end, rows=300, new_rows=0, prior=0.4, unseen_from=None, look=1, confidence=0.95,
    )  # fmt: skip
    files = {"rows.parquet": b"", "scores.parquet": b""}
    return commit_dataset(rides.objects, "holdouts/rides", files, facts.model_dump(mode="json")).key


def said(**verdicts: str) -> list[dict[str, Any]]:
    """What the checks of a model without slices said: passed, unless told otherwise."""
    names = [name for name in CHECKS if name != "slices"]
    return [{"name": name, "verdict": verdicts.get(name, "passed"), "reason": f"why {name}"} for name in names]


def test_a_verdict_is_in_the_ledger_with_what_it_leads_to_and_what_it_was_reached_on(candidate: Any) -> None:
    key = holdout(candidate)
    outputs = candidate.act("judge", version=1, holdout=key, judgements=said(calibration="inconclusive"))
    assert (outputs.verdict, outputs.action) == ("inconclusive", "hold")
    assert outputs.reason == "calibration inconclusive: why calibration"
    (row,) = candidate.ledger.verdicts("rides")
    assert (row["verdict"], row["action"], row["holdout"]) == ("inconclusive", "hold", key)
    assert (row["evaluation_start"], row["evaluation_end"], row["as_of"]) == (START, END, END)
    assert [item["name"] for item in row["judgements"]] == [name for name in CHECKS if name != "slices"]


def test_judging_the_same_holdout_again_replaces_the_verdict_and_a_new_one_adds_its_own(candidate: Any) -> None:
    first, second = holdout(candidate), holdout(candidate, end=datetime(2024, 1, 10, tzinfo=UTC))
    candidate.act("judge", version=1, holdout=first, judgements=said(sanity="error"))
    candidate.act("judge", version=1, holdout=first, judgements=said(sanity="inconclusive"))
    candidate.act("judge", version=1, holdout=second, judgements=said())
    assert [row["action"] for row in candidate.ledger.verdicts("rides")] == ["hold", "promote"]
    assert candidate.registry.tags("rides", 1)["gate_action"] == "promote"


def test_a_verdict_ends_the_retraining_that_made_the_version(candidate: Any) -> None:
    hour = timedelta(hours=1)
    candidate.ledger.begin_retraining("rides", "decision 7", hour)
    candidate.ledger.retrained("rides", "decision 7", 1)
    candidate.act("judge", version=1, holdout=holdout(candidate), judgements=said(sanity="failed"))
    (ended,) = candidate.ledger.retrainings("rides")
    assert ended["ended_at"] is not None
    assert ended["reason"] == "version 1 was judged: reject"
    assert candidate.ledger.begin_retraining("rides", "decision 8", hour)["id"] == 2


def test_the_report_is_beside_the_version_and_in_the_object_store(candidate: Any) -> None:
    outputs = candidate.act("judge", version=1, holdout=holdout(candidate), judgements=said(sanity="failed"))
    files = candidate.registry.attached["rides", 1]
    report = json.loads(files["gate/gate_report.json"])
    assert (report["verdict"], report["action"], report["rows"]) == ("failed", "reject", 300)
    assert len(report["checks"]) == len(CHECKS) - 1
    assert b"Version 1 is refused" in files["gate/gate_report.html"]
    assert candidate.objects.get(f"{outputs.report}/gate_report.html") == files["gate/gate_report.html"]
    tags = candidate.registry.tags("rides", 1)
    assert (tags["gate_verdict"], tags["gate_reason"]) == ("failed", "sanity failed: why sanity")


def test_a_reason_too_long_for_a_tag_is_cut_and_says_so(candidate: Any) -> None:
    judgements = said(sanity="failed")
    judgements[3]["reason"] = "x" * 2 * TAG_LENGTH
    candidate.act("judge", version=1, holdout=holdout(candidate), judgements=judgements)
    tag = candidate.registry.tags("rides", 1)["gate_reason"]
    assert len(tag) == TAG_LENGTH
    assert tag.endswith("xxx … (cut; all of it is in gate/gate_report.json of this version's run)")
    assert len(candidate.ledger.verdicts("rides")[0]["reason"]) > 2 * TAG_LENGTH


def test_the_log_shows_all_checks_in_one_table(candidate: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "kilter"):
        candidate.act("judge", version=1, holdout=holdout(candidate), judgements=said(prediction_parity="error"))
    (header,) = [line for line in caplog.messages if line.startswith("check ")]
    shown = [line for line in caplog.messages if "  blocking  " in line]
    assert len(shown) == len(CHECKS) - 1
    assert {line.index("why ") for line in shown} == {header.index("because")}
    assert "prediction_parity  error    blocking   why prediction_parity" in shown


def test_checks_of_several_mapped_tasks_are_judged_together(candidate: Any) -> None:
    every = said()
    outputs = candidate.act("judge", version=1, holdout=holdout(candidate), judgements=[every[:6], every[6:]])
    assert (outputs.verdict, outputs.action) == ("passed", "promote")


def test_a_check_that_was_not_made_is_an_error_and_is_named(candidate: Any) -> None:
    outputs = candidate.act("judge", version=1, holdout=holdout(candidate), judgements=said()[1:])
    assert (outputs.verdict, outputs.action) == ("error", "hold")
    assert outputs.reason == "thresholds error: this check was not made"


def test_a_holdout_of_another_version_is_refused(candidate: Any) -> None:
    with pytest.raises(InputError, match="was made for version 2 of 'rides', not 1: run score_holdout for version 1"):
        candidate.act("judge", version=1, holdout=holdout(candidate, version=2), judgements=said())
