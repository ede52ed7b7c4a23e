"""score_holdout → check_calibration on rides whose length follows from the fare."""

from __future__ import annotations

from typing import Any

import numpy as np

from kilter.trainers import Part


def scores_that_are_too_high(part: Part) -> Part:
    """Half of the negatives are taught as positives."""
    return Part(part.rows, np.where(np.arange(len(part.labels)) % 2, part.labels, 1.0))


def judged(rides: Any, snapshot: str, learn: Any = lambda part: part) -> Any:
    holdout = rides.act("score_holdout", version=rides.candidate(snapshot, learn)).holdout
    return rides.act("check_calibration", holdout=holdout).judgement


def test_scores_that_are_too_high_are_refused_for_their_calibration_error(rides: Any, snapshot: str) -> None:
    lifted, honest = judged(rides, snapshot, scores_that_are_too_high), judged(rides, snapshot)
    assert lifted.verdict == "failed"
    errors = [
        next(item for item in found.measured if item.label == "expected calibration error")
        for found in (lifted, honest)
    ]
    assert errors[0].low > 0.05
    assert errors[1].value < errors[0].value / 2
    assert sum(bin["rows"] for bin in honest.figures["bins"]) == honest.figures["rows"]


def test_rows_in_too_few_blocks_are_inconclusive(rides: Any, snapshot: str) -> None:
    rides.change_spec(lambda text: text.replace("block: 30m", "block: 1d"))
    judgement = judged(rides, snapshot)
    assert judgement.verdict == "inconclusive"
    assert "too few blocks of evaluation.block" in judgement.reason
