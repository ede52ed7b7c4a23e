"""The gate's judgement of one pair of models, without stores and steps."""

from __future__ import annotations

from rich.console import Console

from kilter.core.gate import against_champion
from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Verdict
from kilter.spec import AgainstChampion, Gate, Slices

CONFIDENCE = 0.95
RATE = (1 - CONFIDENCE) / 2
"""The rate of false alarms that the gate states."""

STRICT = Gate(
    confidence=CONFIDENCE,
    thresholds={"roc_auc": 0.5},
    against_champion=AgainstChampion(require="better", minimum_rows=1),
    slices=Slices(allowed_regression=0.0, minimum_rows=30),
)
"""No margin, so that "no true difference" lies on the bound and alarms are most likely."""

console = Console(highlight=False, soft_wrap=True)


def fails(metric: str, found: Estimate | None, rows: int, gate: Gate = STRICT) -> bool:
    """What the gate itself says."""
    judged = against_champion.judge(metric, found, rows, 1, gate.against_champion)
    return judged.verdict is Verdict.FAILED


def known(found: Estimate | None) -> Estimate:
    assert found is not None
    return found
