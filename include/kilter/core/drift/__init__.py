"""Has the world moved? A window of live rows beside what its model learnt from: one judgement a file.

| judgement | asks | needs labels |
| --- | --- | --- |
| `freshness` | is the window whole: rows, as many as usual, up to its end? | no |
| `data_drift` | do its features look like those that the model learnt from? | no |
| `prediction_drift` | do its scores look like those on the rows that the model was tested on? | no |
| `performance` | how good were its scores? | yes |
| `estimated_performance` | how good would they be if scores were still honest probabilities? | no |
| `change_detectors` | when did errors begin to grow, since the version was promoted? | yes |
"""

from __future__ import annotations

from collections.abc import Iterable

from kilter.core.verdict import Judgement, Verdict, worst

FRESHNESS = "freshness"
DATA_DRIFT = "data_drift"
PREDICTION_DRIFT = "prediction_drift"
PERFORMANCE = "performance"
ESTIMATED_PERFORMANCE = "estimated_performance"
CHANGE_DETECTORS = "change_detectors"

_OF_WHOLE_WINDOWS = frozenset({DATA_DRIFT, PREDICTION_DRIFT, ESTIMATED_PERFORMANCE})
_SUPPORTING = frozenset({ESTIMATED_PERFORMANCE, CHANGE_DETECTORS})


def doubt(judgement: Judgement, freshness: Judgement) -> Judgement:
    """The judgement, inconclusive where it takes the window for whole and the window is not.

    Rows that are missing have shares of their own, so that what is left looks drifted, or does not, for no reason of the
    world's. What labels say of the rows that are there stays true.
    """
    if freshness.verdict is Verdict.PASSED or judgement.name not in _OF_WHOLE_WINDOWS:
        return judgement
    reason = (
        f"the window cannot be trusted ({freshness.reason}), though measured it {judgement.verdict}: {judgement.reason}"
    )
    return judgement.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def verdict_of(judgements: Iterable[Judgement]) -> Verdict:
    """The gravest verdict of a window's judgements.

    An estimate and a detector may raise an alarm; that they cannot tell takes nothing away from what was measured, and that
    they see nothing adds nothing.
    """
    return worst(
        item.verdict
        for item in judgements
        if item.name not in _SUPPORTING or item.verdict in (Verdict.FAILED, Verdict.ERROR)
    )


def alerts(judgements: Iterable[Judgement]) -> bool:
    """Whether somebody should look: the window is empty, truncated or stale, or something could not be measured."""
    return any(
        item.verdict is Verdict.ERROR or (item.name == FRESHNESS and item.verdict is not Verdict.PASSED)
        for item in judgements
    )
