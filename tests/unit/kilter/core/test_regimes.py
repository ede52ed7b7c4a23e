"""Regimes: known distances, what is told apart at a window's own size, and when nothing is claimed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kilter.core.regimes import Likeness, Regime, distance, fingerprint, likeness, match, regime


def rows(seed: int, count: int, shift: float = 0.0, wander: float = 0.0) -> dict[str, Any]:
    """Six numbers of which two may be shifted and one may wander slowly, a text, and a model's scores."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {f"x{place}": random.normal(size=count) for place in range(6)}
    columns["x0"] += shift
    columns["x1"] += shift
    columns["x2"] += wander * np.sin(np.arange(count) / 200)
    columns["kind"] = np.array(random.choice(["a", "b", "c"], size=count), dtype=object)
    columns["score"] = 1 / (1 + np.exp(-columns["x0"] - columns["x3"]))
    return columns


def share_alike(known: Regime, count: int, windows: int = 40, **changes: float) -> float:
    found = [likeness(1, known, fingerprint(rows(100 + seed, count, **changes))) for seed in range(windows)]
    return sum(item is not None and item.alike for item in found) / windows


@pytest.fixture(scope="module")
def known() -> Regime:
    return regime(rows(0, 3000))


def near(version: int, apart: float, threshold: float = 0.1) -> Likeness:
    return Likeness(version=version, rows=500, distance=apart, threshold=threshold, farthest={"x": apart})


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0], 0.0),
        # Moved by 10 with a mean distance of 1 from the median: 10 / (10 + 1).
        ([0.0, 0.0, 2.0, 2.0], [10.0, 10.0, 12.0, 12.0], 10 / 11),
        (["a", "a", "b", "b"], ["a", "a", "a", "a"], 0.5),
        (["a", "a"], ["b", "b"], 1.0),
        ([5.0, 5.0], [5.0, 5.0], 0.0),
        ([5.0, 5.0], [6.0, 6.0], 1.0),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 1.0, np.nan, np.nan], 0.5),
        ([np.nan, np.nan], [np.nan, np.nan], 0.0),
    ],
)
def test_the_distance_of_a_column(one: list[Any], other: list[Any], expected: float) -> None:
    kind: Any = object if isinstance(one[0], str) else float
    found, _ = distance(*(fingerprint({"x": np.repeat(np.array(values, dtype=kind), 500)}) for values in (one, other)))
    assert found == pytest.approx(expected, abs=2e-3)


def test_the_scores_weigh_as_much_as_all_features_together() -> None:
    one = fingerprint({"x": np.ones(4), "y": np.ones(4), "score": np.ones(4)})
    other = fingerprint({"x": np.ones(4), "y": np.ones(4), "score": np.zeros(4)})
    assert distance(one, other)[0] == 0.5


def test_a_column_that_only_one_has_is_not_compared_and_without_any_nothing_is_alike() -> None:
    one = fingerprint({"x": np.ones(4), "y": np.zeros(4)})
    assert distance(one, fingerprint({"x": np.ones(4)}))[0] == 0
    assert distance(one, fingerprint({"z": np.ones(4)}))[0] == 1


@pytest.mark.parametrize("count", [100, 300, 1000])
def test_windows_of_the_regime_look_alike_and_shifted_ones_do_not(known: Regime, count: int) -> None:
    assert share_alike(known, count) >= 0.95
    assert share_alike(known, count, shift=1.0) == 0


def test_a_greater_window_tells_smaller_shifts_apart(known: Regime) -> None:
    assert share_alike(known, 1000, shift=0.3) < 0.1 < share_alike(known, 100, shift=0.3)


def test_what_a_regime_changes_by_itself_over_time_is_within_its_noise() -> None:
    steady, restless = regime(rows(0, 3000)), regime(rows(0, 3000, wander=1.5))
    assert restless.noise[200] > 1.2 * steady.noise[200]
    assert share_alike(restless, 200, wander=1.5) >= 0.95


def test_a_window_smaller_than_any_stretch_tried_is_not_compared(known: Regime) -> None:
    assert likeness(1, known, fingerprint(rows(1, 40))) is None
    assert likeness(1, regime(rows(0, 100)), fingerprint(rows(1, 5000))) is None


def test_a_regime_survives_the_ledgers_json_and_stays_small(known: Regime) -> None:
    text = known.model_dump_json()
    assert Regime.model_validate_json(text) == known
    assert len(text) < 20_000


def test_one_former_regime_that_is_back_while_the_champions_is_gone_is_a_match() -> None:
    found = match(near(2, 0.5), [near(1, 0.05), near(3, 0.4)])
    assert (found.verdict, found.version) == ("match", 1)
    assert "version 1's regime is 0.05 <= 0.1 from the 500 rows" in found.reason
    assert "the champion's is gone: version 2's regime is 0.5 > 0.1" in found.reason


@pytest.mark.parametrize(
    ("champion", "others", "verdict", "words"),
    [
        (near(2, 0.5), [], "none", "no former champion has a regime"),
        (near(2, 0.5), [near(1, 0.3)], "none", "no former regime is back: version 1's regime is 0.3 > 0.1"),
        (near(2, 0.05), [near(1, 0.04)], "unsure", "look like the champion's own regime, too"),
        (None, [near(1, 0.04)], "unsure", "the champion's own regime is not known"),
        (near(3, 0.5), [near(1, 0.04), near(2, 0.06)], "unsure", "several former regimes look alike"),
    ],
)
def test_no_match_and_no_guess(champion: Any, others: list[Likeness], verdict: str, words: str) -> None:
    found = match(champion, others)
    assert found.verdict == verdict
    assert words in found.reason


def test_the_nearer_of_two_is_taken_when_it_is_nearer_by_far() -> None:
    assert match(near(3, 0.5), [near(1, 0.09), near(2, 0.01)]).version == 2
