"""tune on rides: where parameters come from, and a search that survives what may happen to it."""

from __future__ import annotations

import csv
import io
import logging
import signal
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from kilter.core.search_space import SPACES
from kilter.errors import InputError, UnavailableError
from kilter.search import Plan
from kilter.spec import load_spec
from kilter.stores.studies import ended, open_study

from .conftest import Rides

XGBOOST = SPACES["xgboost"]
MODEL_YAML = {
    "max_depth": 3,
    "eta": 0.3,
    "min_child_weight": 1,
    "subsample": 1,
    "colsample_bytree": 1,
    "reg_lambda": 1,
    "gamma": 0,
}

SEARCH = """
import sys
from pathlib import Path
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.step import StepContext, Stores, load_step, parse_inputs
from kilter.stores.registry import MemoryRegistry

home, snapshot, method, trial = sys.argv[1:]

class Stopping(MemoryRegistry):
    "Says so and waits for ever when this trial comes to this method."

def stop(self, *given, **others):
    if any(f"trial {trial}" == getattr(self.runs.get(item), "name", item) for item in given if isinstance(item, str)):
        print("here", flush=True)
        sys.stdin.read()
    return getattr(MemoryRegistry, method)(self, *given, **others)

setattr(Stopping, method, stop)
folder = Path(home) / "models/rides"
spec = load_spec(folder)
stores = Stores(Settings.from_environment({"KILTER_HOME": home}), spec)
stores.__dict__["registry"] = Stopping()
step = load_step("tune")
step.run(parse_inputs("tune", {"snapshot": snapshot, "search": True}), StepContext(spec, folder, stores, step.STEP))
"""


@pytest.fixture
def quick(rides: Rides, snapshot: str) -> Rides:
    """Rides with a small budget and short trainings."""
    rides.change_spec(
        lambda text: (
            text.replace("{trainer: xgboost,", "{trainer: xgboost, rounds: 20, parameters: {max_depth: 3},")
            + "tuning: {trials: 7}\n"
        )
    )
    return rides


def study_of(rides: Rides, snapshot: str) -> Any:
    plan = Plan.of(load_spec(rides.folder), snapshot, rides.ledger.last_search("rides"))
    return open_study(rides.ledger, plan.study, None)  # type: ignore[arg-type]


def tried(rides: Rides, snapshot: str) -> list[tuple[Any, ...]]:
    """State, value and parameters of the trials that count."""
    with study_of(rides, snapshot) as study:
        return [(trial.state.name, trial.value, trial.params) for trial in ended(study)]


def runs_of(rides: Rides, name: str) -> list[Any]:
    return [run for run in rides.registry.runs.values() if run.name.startswith(name)]


def test_without_a_search_model_yaml_counts(quick: Any, snapshot: str) -> None:
    found = quick.act("tune", snapshot=snapshot)
    assert (found.parameters, found.origin) == ({}, "model.yaml")
    assert quick.registry.runs == {}


def test_a_search_finds_parameters_no_worse_than_those_of_model_yaml(quick: Any, snapshot: str) -> None:
    found = quick.act("tune", snapshot=snapshot, search=True)
    trials = tried(quick, snapshot)
    assert len(trials) == 7
    assert trials[0][2] == MODEL_YAML
    least = min(value for state, value, _ in trials if state == "COMPLETE")
    assert least < trials[0][1]
    assert next(parameters for _, value, parameters in trials if value == least) == found.parameters
    assert all(XGBOOST[name].holds(value) for _, _, parameters in trials for name, value in parameters.items())


def test_the_loss_of_a_trial_is_that_of_the_training_with_its_parameters(quick: Any, snapshot: str) -> None:
    from kilter.stores.models import losses_of
    from kilter.stores.objects import read_manifest

    found = quick.act("tune", snapshot=snapshot, search=True)
    model = quick.run("train", snapshot=snapshot, parameters=found.parameters)["model"]
    assert min(losses_of(read_manifest(quick.objects, model))) == quick.ledger.last_search("rides")["loss"]


def test_later_trainings_take_the_parameters_of_the_last_search(quick: Any, snapshot: str) -> None:
    searched = quick.act("tune", snapshot=snapshot, search=True)
    later = quick.act("tune", snapshot=quick.run("freeze_dataset", as_of=quick.day(2)["start"])["snapshot"])
    assert later == searched
    assert later.origin.startswith("trial ")


def test_what_a_search_found_is_void_when_model_yaml_says_something_new(quick: Any, snapshot: str) -> None:
    quick.act("tune", snapshot=snapshot, search=True)
    quick.change_spec(lambda text: text.replace("max_depth: 3", "max_depth: 4"))
    found = quick.act("tune", snapshot=snapshot)
    assert found.parameters == {}
    assert found.origin.startswith("model.yaml, which is newer than study rides-")


def test_what_a_search_found_is_void_outside_the_ranges_of_today(quick: Any, snapshot: str) -> None:
    found = quick.act("tune", snapshot=snapshot, search=True).parameters
    above = found["min_child_weight"] + 1
    quick.change_spec(
        lambda text: text.replace(
            "{trials: 7}", f"{{trials: 7, parameters: {{min_child_weight: {{low: {above}, high: {above + 1}}}}}}}"
        )
    )
    # Model.yaml's own value, 1, is always within; what lies beyond the range is not.
    assert (quick.act("tune", snapshot=snapshot).parameters == {}) is (not 1 <= found["min_child_weight"] <= above + 1)


def test_a_search_is_made_by_schedule_in_event_time(quick: Any, snapshot: str) -> None:
    quick.change_spec(lambda text: text.replace("{trials: 7}", "{trials: 1, every: 1d}"))
    snapshots = {day: quick.run("freeze_dataset", as_of=quick.day(day)["start"])["snapshot"] for day in (2, 3)}
    for day, searches in ((2, 1), (2, 1), (3, 2)):
        quick.act("tune", snapshot=snapshots[day])
        assert len(runs_of(quick, "search")) == searches


def test_a_search_begins_with_model_yaml_and_the_best_of_the_last_search(quick: Any, snapshot: str) -> None:
    best = quick.act("tune", snapshot=snapshot, search=True).parameters
    other = quick.run("freeze_dataset", as_of=quick.day(2)["start"])["snapshot"]
    quick.act("tune", snapshot=other, search=True)
    assert [parameters for _, _, parameters in tried(quick, other)[:2]] == [MODEL_YAML, best]


def test_the_same_search_again_makes_no_trial_and_says_the_same(quick: Any, snapshot: str) -> None:
    first = quick.act("tune", snapshot=snapshot, search=True)
    before = len(quick.registry.runs)
    assert quick.act("tune", snapshot=snapshot, search=True) == first
    assert len(quick.registry.runs) == before


def test_equal_searches_make_equal_trials(quick: Any, snapshot: str, learned: Any) -> None:
    quick.act("tune", snapshot=snapshot, search=True)
    first = tried(quick, snapshot)
    quick.become(learned[0])
    quick.act("tune", snapshot=snapshot, search=True)
    assert tried(quick, snapshot) == first


@pytest.mark.parametrize(("method", "trial"), [("begin_run", 3), ("log_progress", 0), ("end_run", 5)])
def test_a_search_that_was_killed_goes_on_and_ends_as_an_undisturbed_one(
    quick: Any, snapshot: str, learned: Any, method: str, trial: int
) -> None:
    undisturbed = quick.act("tune", snapshot=snapshot, search=True)
    expected = tried(quick, snapshot)
    quick.become(learned[0])
    command = [sys.executable, "-c", SEARCH, str(quick.home), snapshot, method, str(trial)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"here\n", process.communicate()[1].decode()
        process.send_signal(signal.SIGKILL)
    assert len(tried(quick, snapshot)) == trial
    assert quick.act("tune", snapshot=snapshot, search=True).parameters == undisturbed.parameters
    assert tried(quick, snapshot) == expected


def test_a_trial_that_kills_the_step_twice_is_a_failed_one(quick: Any, snapshot: str) -> None:
    for _ in range(2):
        with study_of(quick, snapshot) as study:
            study.ask()
        quick.change_spec(lambda text: text.replace("{trials: 7}", "{trials: 1}"))
        with study_of(quick, snapshot) as study:
            from kilter.stores.studies import interrupted

            interrupted(study)
    assert [state for state, _, _ in tried(quick, snapshot)] == ["FAIL"]


def test_a_trial_that_fails_is_a_failed_trial_and_no_failed_step(quick: Any, snapshot: str) -> None:
    quick.change_spec(
        lambda text: text.replace("{trials: 7}", "{trials: 6, parameters: {subsample: {choices: [0.9, -1]}}}")
    )
    found = quick.act("tune", snapshot=snapshot, search=True)
    states = [(state, parameters["subsample"]) for state, _, parameters in tried(quick, snapshot)]
    assert ("FAIL", -1) in states
    assert {state for state, subsample in states if subsample == -1} == {"FAIL"}
    assert found.parameters["subsample"] != -1
    failed = next(run for run in runs_of(quick, "trial") if run.status == "FAILED")
    assert failed.parameters["subsample"] == -1


def test_a_search_of_which_all_trials_fail_says_why(quick: Any, snapshot: str) -> None:
    quick.change_spec(lambda text: text.replace("max_depth: 3}", "max_depth: 3, grow_policy: sideways}"))
    with pytest.raises(InputError, match=r"none of its 7 trials came to an end; the last: XGBoost refused .*sideways"):
        quick.act("tune", snapshot=snapshot, search=True)
    assert runs_of(quick, "search")[0].status == "FAILED"
    assert quick.ledger.last_search("rides") is None


def test_when_time_is_up_the_search_ends_with_what_it_has(quick: Any, snapshot: str) -> None:
    quick.change_spec(lambda text: text.replace("{trials: 7}", "{trials: 1000, time: 1s}"))
    quick.act("tune", snapshot=snapshot, search=True)
    trials = tried(quick, snapshot)
    assert 0 < len(trials) < 1000
    with study_of(quick, snapshot) as study:
        took = sum((trial.duration for trial in ended(study)), timedelta(0))
    assert took < timedelta(seconds=3)
    # Time counts from where it was, so that another try makes no more trials.
    quick.act("tune", snapshot=snapshot, search=True)
    assert tried(quick, snapshot) == trials


def test_what_surely_gets_no_better_is_pruned(quick: Any, snapshot: str) -> None:
    quick.change_spec(
        lambda text: text.replace("{trials: 7}", "{trials: 25, parameters: {eta: {choices: [0.3, 0.000001]}}}")
    )
    quick.act("tune", snapshot=snapshot, search=True)
    pruned = [parameters["eta"] for state, _, parameters in tried(quick, snapshot) if state == "PRUNED"]
    assert 0.000001 in pruned
    run = next(run for run in runs_of(quick, "trial") if run.status == "KILLED")
    assert len(run.curves["validation_loss"]) < 20


def test_mlflow_shows_each_trial_below_its_search_with_what_decided(quick: Any, snapshot: str) -> None:
    found = quick.act("tune", snapshot=snapshot, search=True)
    (parent,) = runs_of(quick, "search")
    identity = next(key for key, run in quick.registry.runs.items() if run is parent)
    children = runs_of(quick, "trial")
    assert [run.parent for run in children] == [identity] * 7
    assert [run.name for run in children] == [f"trial {number}" for number in range(7)]
    assert all(run.curves["validation_loss"] and run.status in ("FINISHED", "KILLED") for run in children)
    assert parent.status == "FINISHED"
    assert parent.parameters.items() >= {f"best_{name}": value for name, value in found.parameters.items()}.items()
    assert parent.files.keys() == {"history.png", "importance.png", "trials.csv"}
    rows = list(csv.DictReader(io.StringIO(parent.files["trials.csv"].decode())))
    assert [int(row["trial"]) for row in rows] == list(range(7))


def test_a_line_in_the_log_tells_of_each_trial_and_what_is_left(
    quick: Any, snapshot: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        quick.act("tune", snapshot=snapshot, search=True)
    lines = [record.message for record in caplog.records if record.message.startswith("trial ")]
    assert len(lines) == 7
    assert lines[0].startswith("trial 0: loss 0.")
    assert "best" in lines[6]
    assert "0 trials and 30.0 minutes left" in lines[6]


def test_a_registry_that_is_away_keeps_what_was_tried(
    quick: Any, snapshot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = quick.registry.begin_run

    def away(model: str, name: str, *others: Any) -> str:
        if name == "trial 4":
            raise UnavailableError("MLflow is away")
        return str(begin(model, name, *others))

    monkeypatch.setattr(quick.registry, "begin_run", away)
    with pytest.raises(UnavailableError, match="MLflow is away"):
        quick.act("tune", snapshot=snapshot, search=True)
    assert len(tried(quick, snapshot)) == 4
    monkeypatch.undo()
    quick.act("tune", snapshot=snapshot, search=True)
    assert len(tried(quick, snapshot)) == 7
    assert len(runs_of(quick, "search")) == 1


def test_a_ledger_that_is_away_is_said_without_its_password(snapshot: str) -> None:
    from kilter.stores.ledger import Ledger

    ledger = Ledger("postgresql+psycopg://kilter:secret@127.0.0.1:9/kilter")
    with (
        pytest.raises(UnavailableError, match="study 's'.*trying again goes on") as found,
        open_study(ledger, "s", None),
    ):  # type: ignore[arg-type]
        pass
    assert "secret" not in str(found.value)


def test_the_parameters_of_a_version_are_traced_to_the_trial_that_found_them(quick: Any, snapshot: str) -> None:
    found = quick.act("tune", snapshot=snapshot, search=True)
    model = quick.run("train", snapshot=snapshot, parameters=found.parameters)["model"]
    evaluation = quick.run("evaluate", snapshot=snapshot, model=model)["evaluation"]
    profile = quick.run("profile", snapshot=snapshot)["profile"]
    quick.act(
        "register", snapshot=snapshot, model=model, evaluation=evaluation, profile=profile, parameters_of=found.origin
    )
    assert quick.registry.tags("rides", 1)["parameters_of"] == found.origin
