"""What another training promises, by what the last one gained."""

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.kilter.core.records import exact, learner, past, record

from kilter.core.record import Record
from kilter.core.verdict import Verdict
from kilter.core.worth import in_vain, worth
from kilter.spec import Arbiter

POLICY = Arbiter(cooldown=timedelta(days=1))


def trained_once(new: float = 0.1, old: float = 0.2, moving: bool = False, **facts: Any) -> Record:
    """Version 2 of windows 0 to 3 took over from version 1 of 0 and 1; two windows came since."""
    before = 0.1 if moving else old
    first = learner(1, [0, 1], [before, before, old, old], test=before)
    return record(6, [first, learner(2, range(4), [new, new], test=new)], 2, **{"trainings": (past(3, 2, 1),), **facts})


def test_where_nothing_moves_rows_count_by_their_logarithm() -> None:
    """0.1 gained by 800 rows on top of 800; 800 more on top of 1600 are worth log(1.5) / log(2) of that, shrunk a little."""
    found = worth(trained_once(), POLICY)
    assert found.figures["gained"] == pytest.approx(0.1)
    assert found.figures["expected"] == pytest.approx(0.0585, rel=0.1)
    assert found.figures["expected"] < 0.0585
    assert found.verdict is Verdict.FAILED
    assert found.reason.endswith("0.02 or more is worth a training")


def test_where_the_world_moves_rows_count_in_full() -> None:
    found = worth(trained_once(moving=True), POLICY)
    assert found.figures["expected"] == pytest.approx(0.1, rel=0.1)


def test_a_small_gain_is_not_worth_a_training() -> None:
    assert worth(trained_once(new=0.19), POLICY).verdict is Verdict.PASSED


def test_a_loss_is_not_worth_a_training() -> None:
    found = worth(trained_once(new=0.3), POLICY)
    assert found.figures["expected"] < 0
    assert found.verdict is Verdict.PASSED


def test_luck_on_few_rows_is_shrunk_away() -> None:
    known = trained_once()
    for model, share in zip(known.learners, (0.5, 0.2), strict=True):
        model.losses.clear()  # type: ignore[attr-defined]
        model.losses[4] = exact(share, rows=10)  # type: ignore[index]
    found = worth(known, POLICY)
    assert found.figures["gained"] == pytest.approx(0.3)
    assert found.figures["expected"] < 0.03


@pytest.mark.parametrize(("cost_of_training", "verdict"), [(10, Verdict.FAILED), (100, Verdict.PASSED)])
def test_with_costs_the_gain_on_as_many_rows_is_weighed_against_them(cost_of_training: float, verdict: Verdict) -> None:
    """About 0.054 × 800 rows × 1 = 43."""
    policy = Arbiter(cost_of_training=cost_of_training, cost_of_error=1)
    found = worth(trained_once(), policy)
    assert found.verdict is verdict
    assert f"beside a training's {cost_of_training}" in found.reason


@pytest.mark.parametrize(
    "trainings", [(), (past(3, 2, 1, decayed=True),), (past(3, 2, 2),)], ids=["none", "by decay", "no predecessor"]
)
def test_without_a_training_that_tells_nothing_is_known(trainings: Any) -> None:
    assert worth(trained_once(trainings=trainings), POLICY).verdict is Verdict.INCONCLUSIVE


def test_a_training_that_was_rejected_tells_nothing() -> None:
    known = record(6, [learner(1, [0, 1], [0.2] * 4)], trainings=(past(3, 2, 1),))
    assert worth(known, POLICY).verdict is Verdict.INCONCLUSIVE


def test_a_training_without_a_fresh_window_tells_nothing_yet() -> None:
    known = record(4, [learner(1, [0, 1], [0.2, 0.2]), learner(2, range(4), [])], 2, trainings=(past(3, 2, 1),))
    assert worth(known, POLICY).verdict is Verdict.INCONCLUSIVE


def chain(*lost: float) -> Record:
    """Version n + 1 is trained after window n and loses that share ever after; each is the champion of its time."""
    models = [learner(n + 1, range(n + 1), [share] * (19 - n)) for n, share in enumerate(lost)]
    trainings = tuple(past(n, n + 1, n) for n in range(1, len(lost)))
    return record(20, models, len(lost), trainings=trainings)


@pytest.mark.parametrize(
    ("lost", "count"),
    [
        ((0.3,), 0),
        ((0.3, 0.3), 1),
        ((0.3, 0.3, 0.3), 2),
        ((0.3, 0.2), 0),
        ((0.3, 0.3, 0.2), 0),
        ((0.3, 0.2, 0.2, 0.25), 2),
    ],
)
def test_trainings_in_vain_are_counted_back_to_one_that_gained(lost: tuple[float, ...], count: int) -> None:
    assert in_vain(chain(*lost), decayed=False) == count


def test_a_training_that_was_rejected_was_in_vain() -> None:
    known = chain(0.3)
    assert in_vain(record(20, known.learners, 1, trainings=(past(1, 2, 1),)), decayed=False) == 1


def test_a_training_of_which_nothing_is_known_yet_does_not_count() -> None:
    known = record(4, [learner(1, [0, 1], [0.2, 0.2]), learner(2, range(4), [])], 2, trainings=(past(3, 2, 1),))
    assert in_vain(known, decayed=False) == 0


def test_trainings_of_a_calm_world_tell_nothing_of_what_a_decays_would_gain() -> None:
    known = chain(0.3, 0.3, 0.3)
    assert (in_vain(known, decayed=False), in_vain(known, decayed=True)) == (2, 0)
