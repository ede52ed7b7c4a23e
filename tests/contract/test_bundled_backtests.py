"""The policies of the bundled models on their own histories, with margins."""

from pathlib import Path

import pytest
from tests.benchmarks.model_histories import history

from kilter.backtest.fits import Fits
from kilter.backtest.outcome import Outcome, outcome
from kilter.backtest.policies import Arbitrated, Policy, Yardstick
from kilter.backtest.replay import replay

pytestmark = pytest.mark.slow

SWITCHES = (45, 75, 105, 135)
"""Shifts in which `factory_line` begins another recipe; in the second and the fourth an old one: docs/factory-line.md."""


def lived(model: str, initial: int, folder: Path, *others: Policy) -> list[Outcome]:
    known = history(model, initial)
    fits = Fits(known, folder)
    return [outcome(replay(policy, fits), fits) for policy in (Arbitrated("kilter", known.spec), *others)]


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, Outcome]:
    spec = history("factory_line", 15).spec
    never_back = spec.model_copy(update={"arbiter": spec.arbiter.model_copy(update={"bring_back": False})})
    found = lived("factory_line", 15, tmp_path_factory.mktemp("factory"), Arbitrated("retrain only", never_back))
    return found[0], found[1]


def right(found: Outcome, shift: int) -> float:
    return found.windows[shift - found.steps[0]["window"]]


def test_one_shift_after_a_return_to_an_old_recipe_the_factorys_model_is_right_again(
    factory: tuple[Outcome, Outcome],
) -> None:
    kilter, only = factory
    for shift in (75, 135):
        assert right(kilter, shift) < 0.5
        assert right(kilter, shift + 1) > 0.75
        assert right(only, shift + 1) < 0.5


def test_each_change_of_recipe_is_answered_within_five_shifts_and_nothing_is_undone_elsewhere(
    factory: tuple[Outcome, Outcome],
) -> None:
    kilter, _ = factory
    acts = [step["window"] for step in kilter.steps if step["outcome"] in ("promoted", "returned")]
    for shift in SWITCHES:
        assert min(act - shift for act in acts if act >= shift) <= 5
    assert kilter.false_alarms <= 2


def test_bringing_models_back_beats_retraining_alone_with_fewer_trainings(factory: tuple[Outcome, Outcome]) -> None:
    kilter, only = factory
    assert kilter.quality > only.quality + 0.01
    assert kilter.trainings < only.trainings
    assert kilter.blind_rows < 0.7 * only.blind_rows


def test_on_flights_a_third_of_the_trainings_is_as_good_as_one_a_month(tmp_path: Path) -> None:
    kilter, recent, everything = lived(
        "flight_delay", 2, tmp_path, Yardstick("monthly, recent", 1, 4), Yardstick("monthly, everything", 1)
    )
    assert kilter.trainings <= everything.trainings / 3 + 1
    assert kilter.quality > recent.quality
    assert kilter.quality > everything.quality - 0.0025
