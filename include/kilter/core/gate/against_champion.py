"""Check `against_champion`: not worse than the champion on the same rows."""

from __future__ import annotations

from kilter.core.metrics import loss_of
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import AgainstChampion

NAME = "against_champion"


def judge(
    metric: str, candidate: float | None, champion: float | None, rows: int, allowed: AgainstChampion
) -> Judgement:
    """Judge the difference of one metric, measured for both on the same rows.

    Too few rows, or a metric that cannot be computed on them, is inconclusive.
    """
    figures = {"metric": metric, "candidate": candidate, "champion": champion, "rows": rows}
    if candidate is None or champion is None or rows < allowed.minimum_rows:
        reason = f"{rows} rows, {allowed.minimum_rows} needed to compare {metric}"
        return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    loss = loss_of(metric, candidate, champion)
    fine = loss <= allowed.allowed_regression
    reason = (
        f"{metric} {candidate:.4f}, champion {champion:.4f} on the same {rows} rows: "
        f"{loss:+.4f} lost {'<=' if fine else '>'} {allowed.allowed_regression} allowed"
    )
    return Judgement(name=NAME, verdict=Verdict.PASSED if fine else Verdict.FAILED, reason=reason, figures=figures)


def no_champion() -> Judgement:
    """There is none to compare with: said, not taken for a pass."""
    return Judgement(
        name=NAME, verdict=Verdict.INCONCLUSIVE, reason="no champion yet to compare with", figures={"champion": None}
    )
