"""Check `provenance`: every batch behind the candidate passed, and what made the candidate is known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from kilter.core.origin import Origin
from kilter.core.verdict import Judgement, Measured, Verdict, judge_measured

NAME = "provenance"

Batches = Mapping[tuple[datetime, str], tuple[str, str]]
"""Newest verdict and reason of each batch, by the start of its interval and its digest."""

_LINEAGE = ("code_digest", "image_digest", "environment_digest", "git_commit")

_TOLD = 3
"""Intervals named of each kind of mistake; the figures hold all."""


def judge(origins: Sequence[Origin], batches: Batches, lineage: Mapping[str, str]) -> Judgement:
    """Judge where the candidate's snapshot and the candidate itself come from.

    A batch counts by the newest verdict that the ledger has on it, so that one which was judged failed only
    after it became features fails, and one that a corrected expectation let pass does not. An unknown origin
    is as bad as a failed batch: nobody validated it.

    Packages are known by the image's digest. A step in a plain process has no image; there the digest of the
    environment, over name and version of every installed package, stands for it, and the reason says so. An
    unknown git commit is only said: a checkout without git is legitimate, and the code's own digest is known.

    Args:
        origins: of the snapshot's intervals; none for a snapshot that was frozen before they were kept.
        lineage: the candidate's tags in the registry.
    """
    bad = list(_bad(origins, batches))
    unknown = [_text(origin) for origin in origins if origin.batch is None]
    measured = [
        Measured(label="intervals of known origin", value=len(origins), wanted="at_least", bound=1),
        Measured(label="intervals of unknown origin", value=len(unknown), wanted="at_most", bound=0),
        Measured(label="batches that did not pass", value=len(bad), wanted="at_most", bound=0),
    ]
    figures = {
        "batches": [origin.batch for origin in origins],
        "bad": bad,
        "unknown": unknown,
        **{name: lineage.get(name, "") for name in _LINEAGE},
    }
    judgement = judge_measured(NAME, measured, figures, list(_missing(lineage)))
    told = list(_told(origins, unknown, bad))
    if judgement.verdict is Verdict.PASSED:
        told = list(_sources(lineage))
    return judgement.model_copy(update={"reason": ". ".join([judgement.reason, *told])})


def _bad(origins: Sequence[Origin], batches: Batches) -> Iterator[str]:
    for origin in origins:
        if origin.batch is None:
            continue
        verdict, reason = batches.get((origin.start, origin.batch), ("unknown", "the ledger has no verdict on it"))
        if verdict != Verdict.PASSED:
            yield f"batch {origin.batch[:12]} of {_text(origin)} {verdict}: {reason}"


def _told(origins: Sequence[Origin], unknown: Sequence[str], bad: Sequence[str]) -> Iterator[str]:
    """The mistakes by name, and the cure of each kind."""
    if not origins:
        yield "The snapshot does not say what it was built of: run continuous_training again"
    if bad:
        yield f"{_first(bad)}: repair the source, run feature_ingestion of these intervals and continuous_training again"
    if unknown:
        yield (
            f"No record tells what the features and labels of {_first(unknown)} were built of: "
            "run feature_ingestion of these intervals and continuous_training again"
        )


def _missing(lineage: Mapping[str, str]) -> Iterator[str]:
    for name in ("code_digest", "environment_digest"):
        if not lineage.get(name):
            yield f"the candidate's {name} is unknown: run continuous_training again"


def _sources(lineage: Mapping[str, str]) -> Iterator[str]:
    image, commit = lineage.get("image_digest"), lineage.get("git_commit")
    yield f"Code {lineage['code_digest'][:12]}, git commit {commit[:12] if commit else 'unknown'}"
    yield (
        f"Image {image.removeprefix('sha256:')[:12]}"
        if image
        else f"No image, as steps ran in a plain process: packages {lineage['environment_digest'][:12]}"
    )


def _first(items: Sequence[str]) -> str:
    more = len(items) - _TOLD
    return "; ".join(items[:_TOLD]) + (f"; and {more} more" if more > 0 else "")


def _text(origin: Origin) -> str:
    return f"[{origin.start.isoformat()}, {origin.end.isoformat() if origin.end else 'unknown'})"
