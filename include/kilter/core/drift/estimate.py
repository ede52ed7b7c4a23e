"""How good would a window's scores be if they are still honest probabilities? Without a label."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kilter.core.drift import ESTIMATED_PERFORMANCE
from kilter.core.drift.expected import expected, spread
from kilter.core.metrics import confidences, loss_of, measure
from kilter.core.uncertainty.blocks import LEAST_BLOCKS
from kilter.core.uncertainty.calibration import calibration_error
from kilter.core.uncertainty.estimate import Estimate, estimate, interval
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured
from kilter.scores import one_a_row
from kilter.spec import METRICS, ModelSpec

Array = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]

MOST_UNSEEN = 0.05
"""Share of a window's scores beyond those of the test part, where nobody knows how honest they are."""

MOST_STRANGE = 0.1
"""Share of a window's rows with a feature beyond all that was learnt from."""


@dataclass(frozen=True)
class Shown:
    """A version's test part: labels and scores as metrics take them, and the block of each row."""

    labels: Array
    scores: Array
    blocks: Blocks


def estimate_performance(
    metric: str, scores: Array, blocks: Blocks, shown: Shown, confidence: float, seed: int
) -> Estimate | None:
    """The metric that labels will show on these rows, with its interval, if scores are as honest as on the test part.

    The error adds what the test part leaves unknown of that, its own standard error, and what chance does to the
    labels of the window: the greater of drawing each by itself, and of blocks that differ as those of the test part do.

    Returns:
        None when the test part has too few blocks to tell.
    """
    tested = estimate(metric, shown.labels, shown.scores, shown.blocks, confidence, seed)
    if tested is None:
        return None
    value = expected(metric, scores)
    by_block = tested.error * math.sqrt(tested.blocks / len(np.unique(blocks)))
    error = math.hypot(tested.error, max(spread(metric, scores, seed), by_block))
    found = interval(value, error, tested.blocks, confidence)
    least, greatest = METRICS["multiclass" if scores.ndim == 2 else "binary"][metric]
    return found.model_copy(update={"low": max(found.low, least), "high": min(found.high, greatest)})


def judge_estimate(
    scores: Array,
    blocks: Blocks,
    shown: Shown,
    strange: float,
    baseline: float | None,
    rows: int,
    spec: ModelSpec,
    seed: int,
) -> Judgement:
    """Failed when the metric has surely lost more than `drift.allowed_decay`, its whole interval beyond that.

    It says that it is not valid, and is inconclusive, where scores are no probabilities, or may have ceased to be: see
    `why_not`. It cannot see that the same features come to mean something else (concept drift): then scores stay as sure of
    themselves as before, and the estimate with them. Only labels tell.

    Args:
        strange: share of the window's rows with a feature beyond all that was learnt from.
        baseline: the best that this version has shown.
        rows: of the window, of which `scores` may be a sample.
    """
    metric = spec.evaluation.primary
    if rows < spec.drift.minimum_rows:
        return _unsure(f"{rows} rows < {spec.drift.minimum_rows} needed to estimate {metric}")
    if not np.isfinite(scores).all():
        reason = f"{int((~np.isfinite(scores)).sum())} scores are no finite number"
        return Judgement(name=ESTIMATED_PERFORMANCE, verdict=Verdict.ERROR, reason=reason)
    if reason := why_not(scores, shown, strange, spec, seed):
        return _unsure(f"an estimate of {metric} without labels is not valid: {reason}")
    found = estimate_performance(metric, scores, blocks, shown, spec.gate.confidence, seed)
    if found is None or baseline is None:
        return _unsure(
            f"no test part or window has shown {metric} of this version: nothing to hold an estimate against"
        )
    return _judge(metric, found, baseline, rows, spec.drift.allowed_decay)


def hold_back(judged: Judgement, data_drift: Judgement) -> Judgement:
    """The judgement, inconclusive where it passed though the features have drifted.

    Whether scores are still honest is known where the model was tested, and these rows are not from there. A shift may
    well have taken the meaning of a feature along; an alarm stays one.
    """
    if judged.verdict is not Verdict.PASSED or data_drift.verdict is not Verdict.FAILED:
        return judged
    reason = (
        f"features have drifted, so that scores may have ceased to be honest, which no estimate sees: {judged.reason}"
    )
    return judged.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def why_not(scores: Array, shown: Shown, strange: float, spec: ModelSpec, seed: int) -> str:
    """Why the scores must not be read as probabilities; empty where they may be."""
    metric, confidence = spec.evaluation.primary, spec.gate.confidence
    if spec.task == "regression":
        return "scores of a regression are no probabilities"
    error = calibration_error(*confidences(shown.labels, shown.scores), shown.blocks, confidence, seed)
    known = measure([metric], shown.labels, shown.scores).get(metric)
    if error is None or known is None:
        return f"its test part holds each outcome in fewer than {LEAST_BLOCKS} blocks of evaluation.block, too few to tell whether the model is calibrated"
    allowed = spec.gate.calibration.maximum_error
    if not error.value <= allowed:
        return f"the model is not calibrated: calibration error {error.value:.4f} > {allowed} on its test part"
    told = expected(metric, shown.scores)
    if not abs(told - known) <= spec.drift.allowed_decay:
        return (
            f"on the test part it would have said {told:.4f} where labels show {known:.4f}, which is off by more than "
            f"{spec.drift.allowed_decay}"
        )
    unseen = _unseen(scores, shown.scores)
    if unseen > MOST_UNSEEN:
        return f"{unseen:.0%} of the scores lie beyond those of the test part, {MOST_UNSEEN:.0%} allowed"
    if strange > MOST_STRANGE:
        return f"{strange:.0%} of the rows have a feature beyond all that the model learnt from, {MOST_STRANGE:.0%} allowed"
    return ""


def _unseen(scores: Array, tested: Array) -> float:
    """The share of scores beyond the range of those tested; of many classes, of the most probable one's."""
    now, then = one_a_row(scores), one_a_row(tested)
    return float(((now < then.min()) | (now > then.max())).mean())


def _unsure(reason: str) -> Judgement:
    return Judgement(name=ESTIMATED_PERFORMANCE, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _judge(metric: str, found: Estimate, baseline: float, rows: int, allowed: float) -> Judgement:
    losses = sorted(loss_of(metric, value, baseline) for value in (found.low, found.high))
    lost = Measured(
        label=f"{metric} estimated {found.value:.4f} on {rows} rows without their labels, {baseline:.4f} at its best: lost",
        value=loss_of(metric, found.value, baseline),
        low=losses[0],
        high=losses[1],
        confidence=found.confidence,
        wanted="at_most",
        bound=allowed,
    )
    figures = found.model_dump(mode="json") | {"rows": rows, "baseline": baseline}
    return judge_measured(ESTIMATED_PERFORMANCE, [lost], figures)
