"""The trace of a version: what was decided about it, by whom, and on what."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kilter.lineage import trace
from kilter.stores.ledger import Ledger
from kilter.stores.registry import MemoryRegistry, PipelineRun

START = datetime(2013, 1, 1, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(f"sqlite:///{tmp_path}/ledger.db")
    made.migrate()
    return made


@pytest.fixture
def registry(tmp_path: Path) -> MemoryRegistry:
    """A registry with two versions of model m."""
    made = MemoryRegistry()
    for digest in "ab":
        parts = {
            "key": "k",
            "digest": digest,
            "snapshot": "s",
            "evaluation": "e",
            "dataset": "d",
            "dataset_digest": "d",
        }
        rest: dict[str, Any] = {"parameters": {}, "metrics": {}, "tags": {}, "dataset_rows": 1}
        made.register(PipelineRun(model="m", name="run", **parts, **rest), tmp_path)
    return made


def judged(ledger: Ledger, version: int, **changes: Any) -> None:
    row = {"holdout": "h", "verdict": "passed", "action": "ask", "reason": "all passed", "judgements": []}
    ledger.record_verdict(model="m", version=version, **(row | changes))


def test_a_verdict_shows_what_it_led_to_and_what_it_was_reached_on(ledger: Ledger, registry: MemoryRegistry) -> None:
    end = START + timedelta(days=2)
    judged(ledger, 2, evaluation_start=START, evaluation_end=end, as_of=end)
    judged(ledger, 1)
    (verdict,) = trace("m", 2, registry, ledger)["gate"]  # type: ignore[misc]
    del verdict["at"]
    assert verdict == {
        "verdict": "passed",
        "action": "ask",
        "reason": "all passed",
        "holdout": "h",
        "evaluation_start": "2013-01-01T00:00:00+00:00",
        "evaluation_end": "2013-01-03T00:00:00+00:00",
        "as_of": "2013-01-03T00:00:00+00:00",
    }


def test_approvals_of_this_version_alone_are_shown(ledger: Ledger, registry: MemoryRegistry) -> None:
    for version, person in ((1, "bob"), (2, "ann")):
        ledger.record_approval(
            model="m", version=version, holdout="h", approved=True, person=person, reason="fine", answered_at=START
        )
    assert trace("m", 2, registry, ledger)["approvals"] == [
        {"at": "2013-01-01T00:00:00+00:00", "approved": True, "person": "ann", "reason": "fine", "holdout": "h"}
    ]
    assert trace("m", 1, registry, ledger)["gate"] == []
