"""Losses in units of a guess's, their means and their errors."""

import math

import numpy as np
import pytest
from tests.unit.kilter.core.records import ROWS, exact, learner, losses, past, record

from kilter.core.record import gain, guess_loss, mean, row_losses
from kilter.core.scope import Kind


@pytest.mark.parametrize(
    ("task", "primary", "labels", "scores", "expected"),
    [
        ("binary", "accuracy", [1, 0, 1], [0.5, 0.49, 0.1], [0, 0, 1]),
        ("binary", "roc_auc", [1, 0], [0.7, 0.6], [0.09, 0.36]),
        ("binary", "log_loss", [1, 0], [0.7, 0.6], [0.09, 0.36]),
        ("multiclass", "accuracy", [2, 0], [[0.2, 0.3, 0.5], [0.3, 0.4, 0.3]], [0, 1]),
        ("multiclass", "macro_f1", [2, 0], [[0.2, 0.3, 0.5], [0.3, 0.4, 0.3]], [0, 1]),
        ("multiclass", "brier", [1], [[0.2, 0.5, 0.3]], [0.04 + 0.25 + 0.09]),
        ("regression", "mae", [3, -1], [1, 0], [2, 1]),
        ("regression", "rmse", [3, -1], [1, 0], [4, 1]),
        ("regression", "r2", [3, -1], [1, 0], [4, 1]),
    ],
)
def test_what_a_row_loses(task, primary, labels, scores, expected) -> None:  # type: ignore[no-untyped-def]
    found = row_losses(task, primary, np.array(labels, float), np.array(scores, float))
    assert found == pytest.approx(expected)


@pytest.mark.parametrize(
    ("task", "primary", "labels", "classes", "expected"),
    [
        ("binary", "accuracy", [0, 1], 2, 0.5),
        ("binary", "roc_auc", [0, 1], 2, 0.25),
        ("multiclass", "accuracy", [], 10, 0.9),
        ("multiclass", "log_loss", [], 4, 0.75),
        ("regression", "mae", [0, 0, 1, 3], 2, 1.0),
        ("regression", "rmse", [0, 0, 1, 3], 2, 1.5),
        ("regression", "mae", [7, 7], 2, 1.0),
    ],
)
def test_what_a_guess_loses(task, primary, labels, classes, expected) -> None:  # type: ignore[no-untyped-def]
    assert guess_loss(task, primary, np.array(labels, float), classes) == pytest.approx(expected)


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_a_guess_by_brier_loses_what_equal_probabilities_lose(classes: int) -> None:
    labels = np.arange(classes, dtype=float)
    rows = row_losses("multiclass", "brier", labels, np.full((classes, classes), 1 / classes))
    assert rows.mean() == pytest.approx(guess_loss("multiclass", "brier", labels, classes))


def test_independent_rows_have_the_error_of_independent_rows() -> None:
    found = mean(losses(0.2, rows=10_000))
    assert found.error == pytest.approx(math.sqrt(0.2 * 0.8 / 10_000), rel=0.4)


def test_rows_that_share_their_fate_with_neighbours_count_for_fewer() -> None:
    alone = losses(0.5, rows=100)
    together = mean(np.repeat(alone, 50))
    assert together.error > 4 * math.sqrt(0.25 / 5000)


def test_rows_that_agree_prove_little() -> None:
    assert mean(np.zeros(4)).error == pytest.approx(0.05)


def test_no_rows_have_an_infinite_error() -> None:
    found = mean(np.array([]))
    assert math.isnan(found.value)
    assert (found.error, found.rows) == (math.inf, 0)


def test_a_gain_counts_the_windows_that_are_fresh_to_both() -> None:
    old, new = learner(1, [0, 1], [0.4, 0.4, 0.3, 0.3]), learner(2, [0, 1, 2, 3], [0.2, 0.2])
    found = gain(new, old, 0, 9)
    assert found.value == pytest.approx(0.1)
    assert found.rows == 2 * ROWS


def test_a_gain_is_paired_so_that_hard_rows_do_not_blur_it() -> None:
    lost = losses(0.5, rows=ROWS)
    better = lost.copy()
    better[np.flatnonzero(lost)[:4]] = 0.0
    one, other = learner(1, [0], {1: 0.0}), learner(2, [0], {1: 0.0})
    one.losses[1][:], other.losses[1][:] = better, lost  # type: ignore[index]
    found = gain(one, other, 1, 1)
    assert found.value == pytest.approx(0.01)
    assert found.error < 0.01 < mean(lost).error


def test_models_without_a_fresh_window_in_common_are_not_compared() -> None:
    found = gain(learner(1, [0], [0.2]), learner(2, [0, 1], [0.2]), 0, 9)
    assert (found.error, found.rows) == (math.inf, 0)


def test_a_model_is_fresh_only_where_it_answered() -> None:
    model = learner(1, [0], {2: 0.1, 5: 0.1})
    assert model.fresh(0, 4) == [2]
    assert model.learned == 0


def test_a_record_knows_its_models_by_version() -> None:
    kind: Kind = "recent"
    known = record(3, [learner(7, [0], [0.1], kind=kind)], champion=7, trainings=(past(1, 7, 1),))
    assert known.learner(7).kind == "recent"
    assert known.now == 2
    assert known.rows([0, 2]) == 2 * ROWS
    with pytest.raises(KeyError):
        known.learner(8)


def test_exact_losses_have_exactly_that_mean() -> None:
    assert [exact(share).mean() for share in (0.0, 0.05, 0.2, 0.5, 1.0)] == pytest.approx([0, 0.05, 0.2, 0.5, 1])
