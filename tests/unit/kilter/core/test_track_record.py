"""Earlier models beside the champion, and how far back to look."""

import pytest
from tests.unit.kilter.core.records import learner, record

from kilter.core.track_record import LOOKS, look_back, rivals
from kilter.core.verdict import Verdict

CHAMPION = learner(1, [0, 1], [0.2, 0.2, 0.5])


def verdict(test: float, lost: float) -> Verdict:
    """Of an earlier model with this loss on its test part, that now loses so much, beside a champion that loses 0.5."""
    rival = learner(2, [0], {2: 0.4, 3: 0.4, 4: lost}, test=test)
    (found,) = rivals(record(5, [CHAMPION, rival]), look=1)
    assert found.version == 2
    assert found.basis == "labels"
    return found.verdict


@pytest.mark.parametrize(
    ("test", "lost", "expected"),
    [
        (0.2, 0.2, Verdict.PASSED),
        (0.2, 0.1, Verdict.PASSED),
        (0.1, 0.35, Verdict.INCONCLUSIVE),
        (0.5, 0.495, Verdict.FAILED),
        (0.2, 0.5, Verdict.FAILED),
        (0.2, 0.8, Verdict.FAILED),
    ],
    ids=["as it was", "better than it was", "not as good as it was", "hardly better", "no better", "worse"],
)
def test_a_match(test: float, lost: float, expected: Verdict) -> None:
    assert verdict(test, lost) is expected


def test_windows_that_a_rival_kept_tell_how_good_it_was() -> None:
    """An easy test part is held against what it was while it served."""
    rival = learner(2, [0], {1: 0.35, 2: 0.35, 3: 0.35, 4: 0.3}, test=0.3, kept=frozenset({1, 2, 3}))
    (found,) = rivals(record(5, [CHAMPION, rival]), look=1)
    assert found.verdict is Verdict.PASSED
    assert "as good as it was" in found.reason


def test_a_champion_without_a_fresh_window_has_no_rival() -> None:
    fresh = learner(3, [2, 3, 4], [])
    assert rivals(record(5, [fresh, CHAMPION], champion=3)) == ()


def test_what_a_rival_learned_from_does_not_count_for_it() -> None:
    """The rival learned window 4, in which the champion is at its worst."""
    rival = learner(2, [4], [])
    assert rivals(record(5, [CHAMPION, rival])) == ()


def test_the_reason_names_versions_rows_and_the_interval() -> None:
    rival = learner(2, [0], {4: 0.2}, test=0.2)
    (found,) = rivals(record(5, [CHAMPION, rival]), look=1)
    assert found.reason.startswith("version 2 against version 1 on 400 rows, loss (a guess's is 1) less 0.3")
    assert found.gain is not None
    assert found.gain.low is not None
    assert 0.2 < found.gain.low < found.gain.value == pytest.approx(0.3)


def alternating(length: int, windows: int = 24) -> dict[int, tuple[float, float]]:
    """Losses of two models: each is good in its own regime, which lasts so many windows; the first is a little better."""
    return {place: (0.1, 0.5) if place // length % 2 == 0 else (0.45, 0.15) for place in range(1, windows)}


def looked_back(length: int) -> int:
    lost = alternating(length)
    pair = [learner(version, [0], {place: both[version - 1] for place, both in lost.items()}) for version in (1, 2)]
    return look_back(record(24, pair))


def test_regimes_that_last_are_told_by_the_last_window() -> None:
    assert looked_back(8) == 1


def test_regimes_that_alternate_are_not_told_by_the_last_window() -> None:
    assert looked_back(1) > 1


def test_before_anything_is_known_it_looks_back_one_window() -> None:
    assert look_back(record(1, [CHAMPION])) == LOOKS[0] == 1
