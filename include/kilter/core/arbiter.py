"""The arbiter: evidence and the past in, one decision with its reason out."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Arbiter

Action = Literal["retrain", "wait"]


class Evidence(BaseModel):
    """What is known at an event time. `new_labels` counts those since the last training."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_time: datetime
    data_drift: Judgement
    performance: Judgement
    new_labels: int
    last_training: datetime | None
    """Event time up to which the newest version was trained; None before the first."""


class Decision(BaseModel):
    """What to do, and why in words."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    reason: str


def decide(evidence: Evidence, policy: Arbiter) -> Decision:
    """Decide whether to retrain.

    Labels outrank distributions: a window whose quality held is left alone however far its columns
    moved, and drift alone counts only while labels are too few to tell. A reason to retrain still
    waits for the cooldown and for enough new labels; *why not* is said as carefully as why.
    """
    cause = _cause(evidence)
    if cause is None:
        return Decision(action="wait", reason=f"no reason to retrain: {_calm(evidence)}")
    hindrance = _hindrance(evidence, policy)
    if hindrance is not None:
        return Decision(action="wait", reason=f"{cause}; but {hindrance}")
    return Decision(action="retrain", reason=cause)


def _cause(evidence: Evidence) -> str | None:
    if evidence.performance.verdict is Verdict.FAILED:
        return f"quality decayed: {evidence.performance.reason}"
    unknown = evidence.performance.verdict in {Verdict.INCONCLUSIVE, Verdict.ERROR}
    if unknown and evidence.data_drift.verdict is Verdict.FAILED:
        return f"data drifted and quality is unknown: {evidence.data_drift.reason} ({evidence.performance.reason})"
    return None


def _calm(evidence: Evidence) -> str:
    return f"quality {evidence.performance.verdict} ({evidence.performance.reason}), data drift {evidence.data_drift.verdict} ({evidence.data_drift.reason})"


def _hindrance(evidence: Evidence, policy: Arbiter) -> str | None:
    if evidence.last_training is not None:
        since = evidence.event_time - evidence.last_training
        if since < policy.cooldown:
            return f"the last training was {since.days} days ago, less than the cooldown of {policy.cooldown.days}"
    if evidence.new_labels < policy.minimum_new_labels:
        return f"{evidence.new_labels} new labels < {policy.minimum_new_labels} needed"
    return None
