"""Former champions beside the champion without labels: by whose regime the newest rows look like.

With labels `kilter.core.track_record` compares them.
"""

from __future__ import annotations

from kilter.core.arbiter import Rival
from kilter.core.regimes import Likeness, Match, match
from kilter.core.verdict import Measured, Verdict


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
