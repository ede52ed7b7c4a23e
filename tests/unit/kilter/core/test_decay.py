"""A model's loss rises for good, or not."""

import numpy as np
import pytest
from tests.unit.kilter.core.records import ROWS, learner, losses, record

from kilter.core.decay import decay, moves
from kilter.core.verdict import Verdict


@pytest.mark.parametrize("change", [2, 3, 6, 9])
def test_a_step_is_found_in_the_window_that_it_came_with(change: int) -> None:
    model = learner(1, [0, 1], {place: 0.2 if place < change else 0.5 for place in range(2, 11)})
    found = decay(model, record(11, [model]))
    assert found.judgement.verdict is Verdict.FAILED
    assert found.changed == change
    assert f"since day {change}" in found.judgement.reason


def test_noise_is_no_decay() -> None:
    """100 streams of 12 windows without a change; a change is looked for at each of them, by 3 standard errors."""
    alarms = 0
    for stream in range(100):
        made = {place: losses(0.2, seed=stream * 100 + place) for place in range(2, 14)}
        model = learner(1, [0, 1], {}, test=losses(0.2, seed=stream * 100))
        model.losses.update(made)  # type: ignore[attr-defined]
        alarms += decay(model, record(14, [model])).changed is not None
    assert alarms <= 1


def test_a_hard_window_is_decay_only_where_windows_were_alike() -> None:
    calm = learner(1, [0, 1], [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 0.4])
    uneven = learner(1, [0, 1], [0.4, 0.2, 0.4, 0.2, 0.4, 0.2, 0.4])
    assert decay(calm, record(9, [calm])).changed == 8
    assert decay(uneven, record(9, [uneven])).changed is None


def test_a_hard_window_that_is_over_is_no_decay() -> None:
    model = learner(1, [0, 1], [0.2, 0.2, 0.2, 0.35, 0.2, 0.2, 0.2, 0.2])
    assert decay(model, record(10, [model])).changed is None


def test_a_small_rise_is_no_decay_however_sure() -> None:
    rows = 50_000
    model = learner(1, [0, 1], {}, test=losses(0.200, rows=rows, seed=99))
    shares = [0.2] * 20 + [0.235] * 20
    made = {place: losses(share, seed=place, rows=rows) for place, share in enumerate(shares, start=2)}
    model.losses.update(made)  # type: ignore[attr-defined]
    found = decay(model, record(42, [model]))
    assert found.judgement.verdict is Verdict.PASSED
    assert "less than 0.04, from which on it counts" in found.judgement.reason


def test_a_better_model_has_not_decayed() -> None:
    model = learner(1, [0, 1], [0.1, 0.05, 0.0])
    assert decay(model, record(5, [model])).judgement.verdict is Verdict.PASSED


def test_without_a_labelled_row_nothing_can_be_told() -> None:
    model = learner(1, [0, 1], [])
    found = decay(model, record(4, [model]))
    assert found.judgement.verdict is Verdict.INCONCLUSIVE
    assert found.changed is None


def test_windows_that_it_kept_as_champion_count_as_before() -> None:
    """A model that comes back is held against what it was while it served, not against what it was in between."""
    lost = {2: 0.2, 3: 0.2, 4: 0.6, 5: 0.6, 6: 0.2, 7: 0.5, 8: 0.5}
    model = learner(1, [0, 1], lost, kept=frozenset({2, 3, 6}))
    assert decay(model, record(9, [model]), first=6).changed == 7


def test_windows_before_first_are_left_out() -> None:
    model = learner(1, [0, 1], {2: 0.5, 3: 0.5, 4: 0.2, 5: 0.2})
    assert decay(model, record(6, [model]), first=4).changed is None


def of_classes(shares: tuple[float, float], lost: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Labels 0 and 1 in these shares, interleaved, and losses of 1 for a share of each class."""
    labels = (np.random.default_rng(5).random(ROWS) < shares[1]).astype(float)
    made = np.zeros(ROWS)
    for label, share in enumerate(lost):
        rows = np.flatnonzero(labels == label)
        made[rows] = np.diff(np.floor(np.arange(len(rows) + 1) * share + 1e-9))
    return labels, made


@pytest.mark.parametrize(("after", "explained"), [(((0.2, 0.8), (0.1, 0.6)), True), (((0.8, 0.2), (0.5, 0.6)), False)])
def test_other_shares_of_the_classes_explain_a_rise_or_not(
    after: tuple[tuple[float, float], tuple[float, float]], explained: bool
) -> None:
    before_labels, before = of_classes((0.8, 0.2), (0.1, 0.6))
    after_labels, later = of_classes(*after)
    model = learner(1, [0, 1], {}, test=before, test_labels=before_labels)
    model.losses.update({2: before, 3: before, 4: later, 5: later})  # type: ignore[attr-defined]
    labels = [before_labels] * 4 + [after_labels] * 2
    found = decay(model, record(6, [model], labels=labels))
    assert (found.changed, found.explained) == (4, explained)
    assert ("other shares of the classes explain it" in found.judgement.reason) == explained


def test_numbers_have_no_shares_of_classes() -> None:
    model = learner(1, [0, 1], [0.2, 0.6, 0.6])
    assert not decay(model, record(5, [model], classes=False)).explained


def test_the_world_moves_when_any_model_of_it_decayed() -> None:
    still, moved = learner(1, [0, 1], [0.2] * 6), learner(2, [0, 1], [0.2] * 3 + [0.5] * 3)
    assert not moves(record(8, [still]))
    assert moves(record(8, [still, moved]))


def test_models_of_the_world_before_a_change_tell_nothing_of_the_one_after() -> None:
    old, new = learner(1, [0, 1], [0.2, 0.2, 0.5, 0.5, 0.5]), learner(2, [4, 5], [0.2])
    assert not moves(record(7, [old, new], champion=2, changed=4))
