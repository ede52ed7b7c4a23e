"""Do a window's scores look like those on the rows that the model was tested on?"""

from __future__ import annotations

from kilter.core.drift import PREDICTION_DRIFT
from kilter.core.drift.columns import Comparison, figures_of, moved, unknown
from kilter.core.verdict import Judgement, Verdict
from kilter.spec import Drift


def judge_prediction_drift(found: Comparison, rows: int, drift: Drift) -> Judgement:
    """Failed when a score is `drift.threshold` or farther from what it was on the test part, which no model learnt from.

    Args:
        found: the score; of a multiclass model the predicted class and the probability of it.
        rows: of the window. Fewer than `drift.minimum_rows` are inconclusive.
    """
    if (judged := unknown(PREDICTION_DRIFT, found, rows, drift)) is not None:
        return judged
    sums = [
        f"{name} {item.method} {item.value:.4g} of {item.threshold:.4g} allowed" for name, item in found.columns.items()
    ]
    drifted = moved(found)
    return Judgement(
        name=PREDICTION_DRIFT,
        verdict=Verdict.FAILED if drifted else Verdict.PASSED,
        reason=f"{', '.join(drifted)} drifted: {'; '.join(sums)}" if drifted else f"no drift: {'; '.join(sums)}",
        figures=figures_of(found, rows),
    )
