"""Check `against_champion`: surely not worse than the champion on the same rows."""

from __future__ import annotations

from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Judgement, Verdict, judge_measured
from kilter.spec import AgainstChampion

NAME = "against_champion"


def judge(metric: str, loss: Estimate | None, rows: int, champion: int, allowed: AgainstChampion) -> Judgement:
    """Judge how much worse than the champion the candidate is, measured for both on the same rows.

    Passed when the whole interval lies within the margin: non-inferiority as in Piaggio et al. (2012),
    Reporting of noninferiority and equivalence randomized trials; with `require: better` it must lie below 0.
    Failed when the whole interval lies beyond it, so that a candidate that loses no more than the margin
    fails at most at a rate of (1 - confidence) / 2. Anything between is inconclusive, and so are too few rows.

    Args:
        loss: of the primary metric, positive where the candidate is worse; None without an interval.
        rows: rows that neither of the two learned from.
    """
    figures = {"metric": metric, "champion": champion, "rows": rows, "require": allowed.require}
    if loss is None or rows < allowed.minimum_rows:
        reason = (
            f"{rows} rows that neither version {champion}, the champion, nor the candidate learned from: "
            f"{allowed.minimum_rows} in several blocks of evaluation.block are needed to compare {metric}"
        )
        return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    label = f"{metric} lost to version {champion}, the champion, on the same {rows} rows"
    measured = loss.measured(label, "at_most", allowed.margin, strict=allowed.require == "better")
    return judge_measured(NAME, [measured], figures)


def not_comparable(champion: int, why: str) -> Judgement:
    """There is a champion, and it cannot score the rows; no label that comes later changes that."""
    reason = (
        f"version {champion}, the champion, cannot be compared with: {why}. Give the feature back until a candidate with it "
        "is the champion, or let a person decide: gate.approval: on_inconclusive"
    )
    return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason=reason, figures={"champion": champion})


def no_champion() -> Judgement:
    """There is none to compare with: said, not taken for a pass."""
    return Judgement(
        name=NAME, verdict=Verdict.INCONCLUSIVE, reason="no champion yet to compare with", figures={"champion": None}
    )
