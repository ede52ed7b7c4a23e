"""Former champions by fingerprint: which one is told, and how sure it is."""

from __future__ import annotations

import pytest

from kilter.core.regimes import Likeness
from kilter.core.rivals import by_fingerprint
from kilter.core.verdict import Verdict


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
