"""Histories lived through: yardsticks do as they say, and the arbiter's decisions follow from what models lost."""

from pathlib import Path

import pytest
from tests.unit.kilter.backtest.known import RIGHT, ROWS, WRONG, KnownFits

from kilter.backtest.outcome import outcome
from kilter.backtest.policies import Arbitrated, Policy, Yardstick, yardsticks
from kilter.backtest.replay import Replayed, replay

INITIAL = 2


def lived(regimes: str, folder: Path, policy: Policy | None = None) -> tuple[Replayed, KnownFits]:
    fits = KnownFits(regimes, folder)
    return replay(policy or Arbitrated("kilter", fits.history.spec), fits), fits


def acts(run: Replayed) -> list[tuple[int, str, int | None]]:
    """Windows after which something was done, what came of it, and the version made or brought back."""
    return [(step.window, step.outcome, step.made) for step in run.steps if step.action != "wait"]


@pytest.mark.parametrize(
    ("policy", "windows"),
    [
        (Yardstick("never", 0), []),
        (Yardstick("every 5", 5), [6, 11, 16]),
        (Yardstick("every 1", 1), list(range(2, 19))),
    ],
)
def test_a_yardstick_trains_exactly_when_it_says(policy: Yardstick, windows: list[int], tmp_path: Path) -> None:
    run, fits = lived("A" * 20, tmp_path, policy)
    assert [window for window, _, _ in acts(run)] == windows
    assert fits.trained == [(0, 1), *(tuple(range(window + 1)) for window in windows)]
    assert [step.window for step in run.steps] == list(range(INITIAL, 20))


def test_a_yardstick_of_last_windows_trains_on_them(tmp_path: Path) -> None:
    _, fits = lived("A" * 8, tmp_path, Yardstick("last", 1, 4))
    assert fits.trained == [(0, 1), (0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 6)]


def test_a_model_answers_from_the_window_after_its_training(tmp_path: Path) -> None:
    run, _ = lived("A" * 6, tmp_path, Yardstick("every 2", 2))
    assert [step.version for step in run.steps] == [1, 1, 2, 2]


def test_every_backtest_has_never_every_and_always_beside_it() -> None:
    found = {(item.every, item.last) for item in yardsticks(7)}
    assert found == {(0, None), (7, None), (7, 4), (1, None), (1, 4), (1, 1)}


def test_a_world_that_stays_gets_few_trainings_all_of_all_history(tmp_path: Path) -> None:
    run, fits = lived("A" * 40, tmp_path)
    assert len(run.trainings) <= 4
    assert all(windows[0] == 0 and len(windows) == windows[-1] + 1 for windows in fits.trained)


def test_a_change_is_answered_by_a_training_on_what_came_since(tmp_path: Path) -> None:
    run, _ = lived("A" * 8 + "B" * 12, tmp_path)
    first = next(past for past in run.trainings if past.decayed)
    assert first.window >= 8
    step = run.steps[first.window - INITIAL]
    assert step.outcome == "promoted"
    assert "quality decayed" in step.reason
    assert run.fits[first.version].windows == tuple(range(8, first.window + 1))


def test_a_return_is_answered_by_the_earlier_model_after_one_window(tmp_path: Path) -> None:
    run, _ = lived("AAAAAAAABBBBBBBBAAAAAA", tmp_path)
    (window, made) = next((window, made) for window, came, made in acts(run) if came == "returned")
    assert window == 16
    assert made is not None
    assert run.fits[made].windows[-1] < 8
    later = [step for step in run.steps if step.window > 16]
    assert all(step.outcome != "returned" for step in later)
    assert all(not set(run.fits[step.version].windows) & set(range(8, 16)) for step in later)


def test_two_replays_of_one_history_are_one(tmp_path: Path) -> None:
    regimes = "AAAAAABBBBBBAAAABBBBCCCCCCAAAA"
    first, second = (lived(regimes, tmp_path)[0] for _ in range(2))
    assert first.steps == second.steps


def test_nothing_is_decided_after_the_last_window(tmp_path: Path) -> None:
    run, fits = lived("AAAAAAAAAB", tmp_path)
    assert run.steps[-1].reason == "history ends here"
    assert all(windows[-1] < 9 for windows in fits.trained)


def test_progress_counts_each_window(tmp_path: Path) -> None:
    told: list[int] = []
    fits = KnownFits("A" * 9, tmp_path)
    replay(Yardstick("never", 0), fits, lambda: told.append(1))
    assert len(told) == 9 - INITIAL


def test_quality_is_that_of_the_model_that_answered(tmp_path: Path) -> None:
    run, fits = lived("AAAABBBB", tmp_path, Yardstick("never", 0))
    found = outcome(run, fits)
    assert found.windows == pytest.approx([RIGHT] * 2 + [WRONG] * 4, abs=0.07)
    assert found.quality == pytest.approx(sum(found.windows) / 6)
    assert (found.trainings, found.retrainings, found.promotions, found.returns) == (1, 0, 0, 0)
    assert (found.rows, found.rows_fitted, found.seconds) == (6 * ROWS, 2 * ROWS, 1.0)
    assert found.blind_rows == 0


def test_rows_answered_by_a_worse_model_than_the_best_one_made_are_blind(tmp_path: Path) -> None:
    """The newest window is all that the yardstick knows: each first window of a regime is answered wrongly, though the model of
    two windows before would have known it."""
    run, fits = lived("AAABABAB", tmp_path, Yardstick("always, last window", 1, 1))
    found = outcome(run, fits)
    assert found.windows == pytest.approx([RIGHT, *[WRONG] * 5], abs=0.07)
    assert found.blind_rows == 4 * ROWS


def test_a_training_that_gained_nothing_is_a_false_alarm(tmp_path: Path) -> None:
    still, fits = lived("A" * 8, tmp_path, Yardstick("every 2", 2))
    assert outcome(still, fits).false_alarms == 2
    moved, fits = lived("AAAABBBBBB", tmp_path, Yardstick("every 3", 3, 1))
    assert outcome(moved, fits).false_alarms == 1


def test_steps_tell_window_act_and_reason(tmp_path: Path) -> None:
    run, fits = lived("AAAAAABBBB", tmp_path)
    steps = outcome(run, fits).steps
    assert [step["window"] for step in steps] == list(range(2, 10))
    assert all(step["reason"] and step["name"].startswith("window") for step in steps)
