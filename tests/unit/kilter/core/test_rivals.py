"""Earlier models beside the champion: when one is a clear match, and when it is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from kilter.core.arbiter import Evidence, Rival, decide
from kilter.core.regimes import Likeness
from kilter.core.rivals import by_fingerprint, by_labels
from kilter.core.verdict import Verdict
from kilter.spec import Arbiter

random = np.random.default_rng(7)
LABELS = random.integers(0, 2, 2000).astype(float)
BLOCKS = np.arange(2000) // 20


def scores(skill: float, seed: int = 1) -> Any:
    """Scores that tell the label by so much."""
    noise = np.random.default_rng(seed).normal(size=len(LABELS))
    return 1 / (1 + np.exp(-(skill * (2 * LABELS - 1) + noise)))


def compare(
    others: dict[int, Any], once: dict[int, float | None], champion: float = 0.0, rows: int = 2000
) -> list[Rival]:
    part = slice(0, rows)
    cut = {version: values[part] for version, values in others.items()}
    return by_labels("roc_auc", LABELS[part], scores(champion)[part], cut, once, BLOCKS[part], 0.95, 0.02)


@pytest.mark.parametrize(
    ("skill", "once", "verdict", "words"),
    [
        (1.0, 0.92, Verdict.PASSED, "its roc_auc is 0.9"),
        (1.0, 0.99, Verdict.INCONCLUSIVE, "> 0.02 allowed"),
        (1.0, None, Verdict.INCONCLUSIVE, "what it once was is not known"),
        (0.01, 0.5, Verdict.INCONCLUSIVE, "not surely >"),
        (-1.0, 0.9, Verdict.FAILED, "gained by version 1 on the newest 2000 labelled rows"),
    ],
)
def test_a_clear_match_is_surely_better_and_as_good_as_it_was(
    skill: float, once: float | None, verdict: Verdict, words: str
) -> None:
    (rival,) = compare({1: scores(skill, seed=3)}, {1: once})
    assert (rival.verdict, rival.basis) == (verdict, "labels")
    assert words in rival.reason


def test_scores_that_are_no_numbers_are_an_error_and_few_blocks_tell_nothing() -> None:
    broken = scores(1.0)
    broken[5] = np.nan
    assert compare({1: broken}, {1: 0.9})[0].verdict is Verdict.ERROR
    (rival,) = compare({1: scores(1.0)}, {1: 0.9}, rows=20)
    assert (rival.verdict, rival.gain) == (Verdict.INCONCLUSIVE, None)
    assert "20 labelled rows are too few" in rival.reason


def test_of_many_models_that_are_equally_good_one_rarely_seems_better() -> None:
    """Twenty champions without skill beside another one, in 40 worlds: 5 % or fewer may raise an alarm."""
    alarms = 0
    for world in range(40):
        others = {version: scores(0.0, seed=1000 * world + version) for version in range(2, 22)}
        found = by_labels(
            "roc_auc", LABELS, scores(0.0, seed=5000 + world), others, dict.fromkeys(others, 0.5), BLOCKS, 0.95, 0.1
        )
        alarms += any(rival.verdict is Verdict.PASSED for rival in found)
    assert alarms <= 5


def near(version: int, apart: float) -> Likeness:
    return Likeness(version=version, rows=500, distance=apart, threshold=0.1, farthest={"x": apart})


@pytest.mark.parametrize(
    ("champion", "others", "expected"),
    [
        (near(2, 0.5), [near(1, 0.02), near(3, 0.3)], (1, Verdict.PASSED)),
        (near(2, 0.5), [near(1, 0.2), near(3, 0.3)], (1, Verdict.FAILED)),
        (near(2, 0.05), [near(1, 0.02)], (1, Verdict.INCONCLUSIVE)),
        (None, [near(1, 0.02)], (1, Verdict.INCONCLUSIVE)),
    ],
)
def test_a_fingerprint_names_the_nearest_and_how_sure_it_is(
    champion: Likeness | None, others: list[Likeness], expected: tuple[int, Verdict]
) -> None:
    (rival,) = by_fingerprint(champion, others)
    assert (rival.version, rival.verdict) == expected
    assert rival.basis == "fingerprint"


def test_without_former_champions_there_is_no_rival() -> None:
    assert by_fingerprint(near(2, 0.5), []) == []


def test_the_arbiter_brings_back_the_one_that_gains_most_by_labels() -> None:
    found = compare({1: scores(1.0, seed=3), 3: scores(2.0, seed=4)}, {1: 0.92, 3: 0.99})
    evidence = Evidence(event_time=datetime(2024, 1, 1, tzinfo=UTC), rivals=tuple(found))
    decision = decide(evidence, Arbiter())
    assert (decision.action, decision.version) == ("redeploy", 3)
