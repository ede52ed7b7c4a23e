"""Earlier models beside the champion: by the newest labels, or, without those, by whose regime the newest rows look like."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from kilter.core.arbiter import Rival
from kilter.core.metrics import loss_of, measure
from kilter.core.regimes import Likeness, Match, match
from kilter.core.uncertainty.estimate import Estimate, loss
from kilter.core.verdict import Measured, Verdict

Scores = npt.NDArray[np.float64]
Vector = npt.NDArray[np.float64]
Blocks = npt.NDArray[np.int64]


def by_labels(
    metric: str,
    labels: Vector,
    champion: Scores,
    others: Mapping[int, Scores],
    once: Mapping[int, float | None],
    blocks: Blocks,
    confidence: float,
    allowed_decay: float,
    seed: int = 0,
) -> list[Rival]:
    """Compare each earlier model with the champion on the same rows.

    A clear match is surely better than the champion, and has lost no more than `allowed_decay` of what it once showed: one that is
    only less wrong than a champion in an unknown world is no answer to that world. All comparisons together are wrong with a
    chance of `1 - confidence` at most, however many earlier models there are (Bonferroni).

    Args:
        metric: the primary one.
        labels, champion, blocks: as `kilter.core.uncertainty.estimate.loss` takes them.
        others: scores by version.
        once: the metric on the version's own test part, by version; None where it is not known.
        confidence: of all intervals together.
    """
    shared = 1 - (1 - confidence) / max(len(others), 1)
    found = []
    for version, scores in others.items():
        gain = loss(metric, labels, champion, scores, blocks, shared, seed)
        now = measure([metric], labels, scores).get(metric) if np.isfinite(scores).all() else math.nan
        found.append(_by_labels(version, metric, gain, now, once.get(version), allowed_decay, len(labels)))
    return found


def by_fingerprint(champion: Likeness | None, others: list[Likeness]) -> list[Rival]:
    """What the fingerprints say: the one that matches, or the one that comes nearest and why it does not."""
    found = match(champion, others)
    nearest = min(others, key=lambda item: (item.version != found.version, item.distance), default=None)
    if nearest is None:
        return []
    verdict = {"match": Verdict.PASSED, "unsure": Verdict.INCONCLUSIVE, "none": Verdict.FAILED}[found.verdict]
    return [_rival(nearest, verdict, found)]


def _rival(likeness: Likeness, verdict: Verdict, found: Match) -> Rival:
    apart = Measured(
        label=f"distance of version {likeness.version}'s regime from {likeness.rows} rows",
        value=likeness.distance,
        wanted="at_most",
        bound=likeness.threshold,
    )
    return Rival(version=likeness.version, basis="fingerprint", verdict=verdict, reason=found.reason, gain=apart)


def _by_labels(
    version: int, metric: str, gain: Estimate | None, now: float | None, once: float | None, allowed: float, rows: int
) -> Rival:
    def rival(verdict: Verdict, reason: str, measured: Measured | None = None) -> Rival:
        return Rival(version=version, basis="labels", verdict=verdict, reason=reason, gain=measured)

    if gain is None or now is None:
        return rival(
            Verdict.INCONCLUSIVE, f"{rows} labelled rows are too few, or of too few blocks, to compare {metric}"
        )
    measured = gain.measured(
        f"{metric} gained by version {version} on the newest {rows} labelled rows", "at_least", 0.0, strict=True
    )
    if measured.verdict is Verdict.ERROR or not math.isfinite(now):
        return rival(Verdict.ERROR, f"version {version} gives scores that are no numbers on {rows} rows", measured)
    if gain.value <= 0:
        return rival(Verdict.FAILED, measured.sentence, measured)
    if measured.verdict is not Verdict.PASSED:
        return rival(Verdict.INCONCLUSIVE, measured.sentence, measured)
    if once is None:
        return rival(Verdict.INCONCLUSIVE, f"{measured.sentence}; what it once was is not known", measured)
    lost = loss_of(metric, now, once)
    words = f"{measured.sentence}; its {metric} is {now:.4g}, and was {once:.4g} on its test part: {lost:+.4g} lost"
    if lost > allowed:
        return rival(Verdict.INCONCLUSIVE, f"{words} > {allowed:g} allowed", measured)
    return rival(Verdict.PASSED, f"{words} <= {allowed:g} allowed", measured)
