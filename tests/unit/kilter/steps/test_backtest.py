"""The history that was ingested, and the step that replays it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kilter.backtest.fits import Fits
from kilter.backtest.history import History
from kilter.backtest.policies import Yardstick
from kilter.backtest.recorded import recorded
from kilter.backtest.replay import replay
from kilter.errors import DataError, InputError
from kilter.spec import load_spec
from kilter.step import StepContext, Stores
from kilter.steps import backtest
from kilter.stores.objects import read_file, read_manifest

from .conftest import DAY, Rides

DAYS = 5


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Rides:
    """Five learnable days, made once."""
    rides = Rides(tmp_path_factory.mktemp("ingested"))
    rides.change_spec(lambda text: text.replace("{trainer: xgboost,", "{trainer: xgboost, rounds: 20,"))
    for day in range(DAYS):
        rides.ingest(day, rides.learnable(day))
    return rides


def history_of(rides: Rides, **bounds: Any) -> History:
    spec = load_spec(rides.folder)
    return recorded(StepContext(spec, rides.folder, Stores(rides.settings, spec), backtest.STEP), **bounds)


def test_a_window_is_an_ingested_interval(ingested: Rides) -> None:
    history = history_of(ingested)
    assert history.names == [f"2024-01-0{day + 1}" for day in range(DAYS)]
    assert history.spans[2] == (ingested.START + 2 * DAY, ingested.START + 3 * DAY)
    times = history.frame["started_at"].dt.tz_convert("UTC")
    for place, (start, end) in enumerate(history.spans):
        assert ((times[history.window(place)] >= start) & (times[history.window(place)] < end)).all()


def test_a_label_is_known_its_delay_after_the_outcome(ingested: Rides) -> None:
    """A ride of the last hour of a day, or one that ended then, has no label at the day's end."""
    history = history_of(ingested)
    ended = history.frame["ended_at"].dt.tz_convert("UTC")[history.window(1)]
    expected = (ended + timedelta(hours=1) <= history.spans[1][1]).to_numpy()
    np.testing.assert_array_equal(history.known(1, 1), expected)
    assert 0.8 < expected.mean() < 1
    assert history.known(1, 2).all()
    assert len(history.rows((0, 1), 1)) == len(history.rows((0, 1), 2)) - (~expected).sum()


def test_the_first_model_has_the_rows_that_a_training_needs(ingested: Rides) -> None:
    """100 rows are needed, and two windows in any case."""
    assert history_of(ingested).initial == 2
    assert history_of(ingested, initial=3).initial == 3


def test_history_can_be_cut(ingested: Rides) -> None:
    cut = history_of(ingested, first=ingested.START + DAY, last=ingested.START + 5 * DAY)
    assert cut.names == ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05"]


def test_too_short_a_history_says_so(ingested: Rides, rides: Rides) -> None:
    with pytest.raises(
        DataError, match="3 windows of history, and a backtest needs 2 to train the first model on and two more"
    ):
        history_of(ingested, last=ingested.START + 3 * DAY)
    with pytest.raises(DataError, match="no labelled interval from"):
        history_of(ingested, first=ingested.START + 9 * DAY)
    with pytest.raises(InputError, match="no passed batch yet"):
        history_of(rides)


def test_labels_later_than_a_window_leave_a_yardstick_waiting(ingested: Rides, rides: Rides, tmp_path: Path) -> None:
    rides.become(ingested)
    rides.change_spec(lambda text: text.replace("delay: 1h", "delay: 30h"))
    run = replay(Yardstick("always, last window", 1, 1), Fits(history_of(rides), tmp_path))
    assert {step.action for step in run.steps} == {"wait"}
    assert "due, but no labelled row was known in the windows 2 when window 2 ended" in run.steps[0].reason


def test_the_step_keeps_table_plot_and_a_run(ingested: Rides) -> None:
    outputs = ingested.act("backtest", every=2)
    assert set(outputs.trainings) == {
        "kilter", "never", "every 2, all history", "every 2, last windows", "always, all history", "always, last windows",
        "always, last window",
    }  # fmt: skip
    assert outputs.trainings["never"] == 1
    assert outputs.trainings["always, all history"] == 3
    assert all(0.5 < quality <= 1 for quality in outputs.quality.values())
    manifest = read_manifest(ingested.objects, outputs.backtest)
    facts = json.loads(read_file(ingested.objects, manifest, "backtest.json"))
    assert facts["metric"] == "roc_auc"
    assert {item["policy"]: item["quality"] for item in facts["policies"]} == outputs.quality
    assert read_file(ingested.objects, manifest, "backtest.png").startswith(b"\x89PNG")
    assert outputs.run_id


def test_empty_bounds_are_none() -> None:
    assert backtest.Inputs.model_validate({"first": "", "last": None}) == backtest.Inputs()
