"""A promotion on probation: the new champion against its predecessor on the same requests, as labels come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Judgement, Verdict, judge_measured
from kilter.spec import Watch

NAME = "watch"
GROWTH = 1.5
"""How many times the labels of one look the next one needs. Every look halves what the next may be wrong by, so who looked
at each day's would see less and less, however many come."""


def judge(metric: str, loss: Estimate | None, rows: int, predecessor: int, rules: Watch) -> Judgement:
    """Judge how much worse than its predecessor a new champion is, measured for both on the same live requests.

    Failed when the whole interval of the loss lies beyond `allowed_regression`; passed when it lies within; else, and
    with too few labelled rows, inconclusive: more labels will come. Looked at again and again, so the interval's
    confidence must rise with every look (`kilter.core.uncertainty.looks`).

    Args:
        loss: of the primary metric, positive where the new champion is worse; None without an interval.
        rows: labelled requests that the new champion answered.
    """
    figures = {"metric": metric, "predecessor": predecessor, "rows": rows}
    if loss is None or rows < rules.minimum_rows:
        reason = (
            f"{rows} labelled requests so far: {rules.minimum_rows} in several blocks of evaluation.block are needed to "
            f"compare {metric} with version {predecessor}, the predecessor"
        )
        return Judgement(name=NAME, verdict=Verdict.INCONCLUSIVE, reason=reason, figures=figures)
    label = f"{metric} lost to version {predecessor}, the predecessor, on the same {rows} requests"
    return judge_measured(NAME, [loss.measured(label, "at_most", rules.allowed_regression)], figures)


def due(rows: int, looks: Sequence[Judgement], watched: timedelta, rules: Watch) -> bool:
    """Whether these labels are worth another look: `GROWTH` times those of the last one, or the last that `within` allows.

    A look that could not compare anything cost nothing: the next is due as soon as there is more. After one that failed
    none is: whoever was to bring the predecessor back has not done so yet.

    Args:
        rows: labelled requests that the new champion answered.
        looks: what `judge` said before, oldest first.
        watched: event time since the promotion.
    """
    if not looks:
        return True
    if looks[-1].verdict is Verdict.FAILED:
        return False
    before = looks[-1].figures["rows"]
    if not looks[-1].measured or watched >= rules.within:
        return bool(rows != before)
    return bool(rows >= GROWTH * before)


def over(verdict: Verdict, watched: timedelta, rules: Watch) -> bool:
    """Whether a promotion that stays unproven has been watched for long enough.

    >>> over(Verdict.INCONCLUSIVE, timedelta(days=40), Watch(within=timedelta(days=30)))
    True
    """
    return verdict in (Verdict.INCONCLUSIVE, Verdict.ERROR) and watched >= rules.within
