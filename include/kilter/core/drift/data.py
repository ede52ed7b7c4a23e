"""Do a window's features look like those that the model learnt from?"""

from __future__ import annotations

from collections.abc import Mapping

from kilter.core.drift import DATA_DRIFT
from kilter.core.drift.columns import Comparison, figures_of, moved, unknown
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift


def judge_data_drift(found: Comparison, null_shares: Mapping[str, float], rows: int, drift: Drift) -> Judgement:
    """Failed when the share of drifted columns, or one column's null share, is beyond the spec's.

    Args:
        found: features that have values on both sides.
        null_shares: of every feature, over all rows of the window: a column that went empty cannot be compared.
        rows: of the window. Fewer than `drift.minimum_rows` are inconclusive.
    """
    figures = figures_of(found, rows)
    empty = {name: share for name, share in null_shares.items() if share > drift.maximum_null_share}
    if empty and rows >= drift.minimum_rows and not found.unmeasured:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in sorted(empty.items()))
        reason = f"null share beyond {drift.maximum_null_share:.0%} allowed: {shares}"
        return Judgement(name=DATA_DRIFT, verdict=Verdict.FAILED, reason=reason, figures=figures)
    if (judged := unknown(DATA_DRIFT, found, rows, drift)) is not None:
        return judged
    drifted = moved(found)
    share = len(drifted) / len(found.columns)
    told = f"{len(drifted)} of {len(found.columns)} columns drifted ({share:.0%}): {', '.join(drifted) or 'none'}"
    if share >= drift.share:
        reason = f"{told}; {drift.share:.0%} or more is drift"
        return Judgement(name=DATA_DRIFT, verdict=Verdict.FAILED, reason=reason, figures=figures)
    reason = f"{told}; less than {drift.share:.0%} is no drift"
    return Judgement(name=DATA_DRIFT, verdict=Verdict.PASSED, reason=reason, figures=figures)
