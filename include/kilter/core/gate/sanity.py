"""Check `sanity`: a score for every input, more than a guess, a training that converged, and no leak."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kilter.core.sanity.convergence import LEAST_FALL, MOST_LATE_FALL, fall, late_fall
from kilter.core.sanity.scores import WANTED
from kilter.core.uncertainty.estimate import Estimate
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured
from kilter.spec import Sanity, Task

NAME = "sanity"

Finding = tuple[Measured, str]
"""A number beside its bound, and what to say when it breaks it."""

_SPREAD: dict[Task, str] = {
    "binary": "greatest less least score",
    "multiclass": "greatest less least probability of a class",
    "regression": "greatest less least score, as a share of the greatest",
}
_LEAST_SPREAD = 1e-6
"""Scores nearer to each other are one score, in the float32 that models compute in."""


@dataclass(frozen=True)
class Evidence:
    """What was measured of a model.

    Args:
        rows: of the holdout.
        task: what a score has to be, as `kilter.core.sanity.scores` says.
        wrong: rows of the holdout whose score is none.
        first_wrong: the first of them, in words; empty without one.
        spread: greatest less least score of the holdout, as `kilter.core.sanity.scores.spread` has it.
        probes: how much rare input was tried.
        unscored: the rare input without such a score, in words.
        losses: of the validation part after each round; empty where none was kept.
        start: the loss of the validation part before the first round, that of the prior.
        baselines: by its name, how much worse than a naive baseline the model is; None without an interval.
        shares: for each feature, the share of the model's gain over the prior that it reaches alone; empty
            where the model surely gains nothing, so that there is nothing to share.
    """

    rows: int
    task: Task
    wrong: int
    first_wrong: str
    spread: float
    probes: int
    unscored: Sequence[str]
    losses: Sequence[float]
    start: float
    baselines: Mapping[str, Estimate | None]
    shares: Mapping[str, float]


def judge(evidence: Evidence, metric: str, sanity: Sanity) -> Judgement:
    """Judge what was measured; a failure tells its first cause and the cure.

    A baseline is beaten when the whole interval of the loss against it lies below zero, not when the model
    merely looks better. The leak alarm has no interval: a leak comes near the whole gain or above it, and
    where an honest feature does, too, a person says so in `gate.sanity.trusted_features`.

    Args:
        metric: the primary one, by which baselines and features were measured.
    """
    findings = [
        *_scores(evidence),
        *_curve(evidence),
        *_baselines(evidence, metric),
        *_leaks(evidence, metric, sanity),
    ]
    figures = {
        "rows": evidence.rows,
        "probes": evidence.probes,
        "rounds": len(evidence.losses),
        "shares": {name: round(share, 4) for name, share in evidence.shares.items()},
    }
    judgement = judge_measured(NAME, [found for found, _ in findings], figures, list(_unknown(evidence, metric)))
    cures = [cure for found, cure in findings if found.verdict is Verdict.FAILED]
    return judgement.model_copy(update={"reason": ". ".join([judgement.reason, *cures])})


def _scores(evidence: Evidence) -> Iterator[Finding]:
    wanted = WANTED[evidence.task]
    yield (
        Measured(label=f"rows whose score is no {wanted}", value=evidence.wrong, wanted="at_most", bound=0),
        f"The first of {evidence.wrong} rows is {evidence.first_wrong}",
    )
    if not evidence.wrong:
        yield (
            Measured(label=_SPREAD[evidence.task], value=evidence.spread, wanted="at_least", bound=_LEAST_SPREAD),
            "The model gives every row one score: see whether labels and features of its training part vary",
        )
    unscored = len(evidence.unscored)
    yield (
        Measured(label=f"rare inputs without a {wanted}", value=unscored, wanted="at_most", bound=0),
        f"The first of {unscored} among {evidence.probes} inputs: {evidence.unscored[0] if unscored else ''}",
    )


def _curve(evidence: Evidence) -> Iterator[Finding]:
    losses, start = evidence.losses, evidence.start
    if not losses:
        return
    lost = sum(not math.isfinite(loss) for loss in losses)
    yield (
        Measured(label="rounds whose validation loss is no number", value=lost, wanted="at_most", bound=0),
        "The training diverged: lower the learning rate in training.parameters",
    )
    if lost:
        return
    fell = fall(losses, start)
    yield (
        Measured(label="fall of the validation loss", value=fell, wanted="at_least", bound=LEAST_FALL),
        f"No round brought the validation loss clearly below {start:.4g}, that of the prior: see whether labels "
        "belong to their rows, and lower the learning rate in training.parameters",
    )
    if fell > 0:
        yield (
            Measured(
                label="share of that fall in the last tenth of the rounds",
                value=late_fall(losses, start),
                wanted="at_most",
                bound=MOST_LATE_FALL,
            ),
            f"The training had not converged after {len(losses)} rounds: raise training.rounds or the learning rate",
        )


def _baselines(evidence: Evidence, metric: str) -> Iterator[Finding]:
    for name, loss in evidence.baselines.items():
        if loss is not None:
            yield (
                loss.measured(f"{metric} lost to the {name}", "at_most", 0.0, strict=True),
                f"A guess, the {name}, is better than the model",
            )


def _leaks(evidence: Evidence, metric: str, sanity: Sanity) -> Iterator[Finding]:
    """The features that come too near, or else the nearest one."""
    shares = {name: share for name, share in evidence.shares.items() if name not in sanity.trusted_features}
    nearest = sorted(shares, key=lambda name: shares[name], reverse=True)
    for name in [name for name in nearest if shares[name] > sanity.leak_share] or nearest[:1]:
        yield (
            Measured(
                label=f"share of the {metric} gained over the prior that feature '{name}' reaches alone",
                value=shares[name],
                wanted="at_most",
                bound=sanity.leak_share,
            ),
            f"Feature '{name}' may hold the answer: remove it from features.columns if it is known only after the "
            f"event, or list it in gate.sanity.trusted_features if it is not",
        )


def _unknown(evidence: Evidence, metric: str) -> Iterator[str]:
    if not evidence.losses:
        yield "whether the training converged is unknown, as no loss of it was kept: train the model again"
    for name, loss in evidence.baselines.items():
        if loss is None:
            yield f"{metric} against the {name} has no interval: {evidence.rows} rows lie in too few blocks of evaluation.block"
