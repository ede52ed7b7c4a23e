"""tune on rides: where parameters come from, and a search that survives what may happen to it."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import signal
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from kilter.core.search_space import SPACES
from kilter.errors import InputError, UnavailableError
from kilter.lineage import trace
from kilter.search import Plan
from kilter.spec import load_spec
from kilter.stores.ledger import Ledger
from kilter.stores.models import losses_of
from kilter.stores.objects import read_manifest
from kilter.stores.registry import LiveRun
from kilter.stores.studies import ended, open_study, repeat_interrupted, spent

from .conftest import Rides

XGBOOST = SPACES["xgboost"]
MODEL_YAML = {name: values.default for name, values in XGBOOST.items()} | {"eta": 0.01}
TRIALS = 6

SEARCH = """
import dataclasses, json, sys
from pathlib import Path
from kilter.settings import Settings
from kilter.spec import load_spec
from kilter.step import StepContext, Stores, load_step, parse_inputs
from kilter.stores.registry import MemoryRegistry

home, snapshot, method, trial = sys.argv[1:]

def stop(self, *given, **others):
    names = {item for item in given if isinstance(item, str)}
    names |= {self.runs[item].name for item in names & self.runs.keys()}
    if f"trial {trial}" in names:
        print(json.dumps({key: (run.name, run.tags, run.parent) for key, run in self.runs.items()}), flush=True)
        sys.stdin.read()
    return getattr(MemoryRegistry, method)(self, *given, **others)

Stopping = type("Stopping", (MemoryRegistry,), {method: stop})
folder = Path(home) / "models/rides"
spec = load_spec(folder)
stores = Stores(Settings.from_environment({"KILTER_HOME": home}), spec)
stores.__dict__["registry"] = Stopping()
step = load_step("tune")
step.run(parse_inputs("tune", {"snapshot": snapshot, "search": True}), StepContext(spec, folder, stores, step.STEP))
"""
"""Searches, and stops for ever where it is about to do this with this trial's run, after telling the runs so far."""


def set_up(rides: Rides) -> None:
    """A small budget, and parameters that are easily bettered."""
    rides.change_spec(
        lambda text: (
            text.replace("{trainer: xgboost,", "{trainer: xgboost, rounds: 10, parameters: {eta: 0.01},")
            + f"tuning: {{trials: {TRIALS}}}\n"
        )
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, learned: Any) -> tuple[Rides, Any, list[Any]]:
    """Rides after a search, what it found, and its trials."""
    rides = Rides(tmp_path_factory.mktemp("searched"))
    set_up(rides)
    rides.become(learned[0])
    return rides, rides.act("tune", snapshot=learned[1], search=True), tried(rides, learned[1])


@pytest.fixture
def quick(rides: Rides, snapshot: str) -> Rides:
    """Rides before a search."""
    set_up(rides)
    return rides


@pytest.fixture
def searched(quick: Rides, done: Any) -> Rides:
    """A copy of those after it."""
    quick.become(done[0])
    return quick


def last_search(rides: Rides) -> Any:
    return rides.ledger.last_search("rides", rides.START + timedelta(days=9))


def study_of(rides: Rides, snapshot: str) -> Any:
    plan = Plan.of(load_spec(rides.folder), snapshot, last_search(rides))
    return open_study(rides.ledger, plan.study)


def tried(rides: Rides, snapshot: str) -> list[tuple[Any, ...]]:
    """State, value and parameters of the trials that count."""
    with study_of(rides, snapshot) as study:
        return [(trial.state.name, trial.value, trial.params) for trial in ended(study)]


def runs_of(rides: Rides, name: str) -> list[Any]:
    return [run for run in rides.registry.runs.values() if run.name.startswith(name)]


def test_without_a_search_model_yaml_counts_and_no_mlflow_is_asked(quick: Any, snapshot: str) -> None:
    assert quick.run("tune", snapshot=snapshot) == {"parameters": {}, "origin": "model.yaml"}


def test_a_search_finds_better_parameters_than_those_of_model_yaml(done: Any) -> None:
    _, found, trials = done
    assert len(trials) == TRIALS
    assert trials[0][2] == MODEL_YAML
    least = min(value for state, value, _ in trials if state == "COMPLETE")
    assert least < trials[0][1]
    assert next(parameters for _, value, parameters in trials if value == least) == found.parameters
    assert all(XGBOOST[name].holds(value) for _, _, parameters in trials for name, value in parameters.items())


def test_the_loss_of_a_trial_is_that_of_the_training_with_its_parameters(searched: Any, snapshot: str) -> None:
    last = last_search(searched)
    model = searched.run("train", snapshot=snapshot, parameters=last["parameters"])["model"]
    assert min(losses_of(read_manifest(searched.objects, model))) == last["loss"]


def test_later_trainings_take_the_parameters_of_the_last_search(searched: Any, done: Any) -> None:
    later = searched.run("freeze_dataset", as_of=searched.day(4)["start"])["snapshot"]
    found = searched.act("tune", snapshot=later)
    assert found == done[1]
    assert found.origin.startswith("trial ")


def test_trainings_of_an_earlier_event_time_know_nothing_of_a_later_search(searched: Any) -> None:
    earlier = searched.run("freeze_dataset", as_of=searched.day(2)["start"])["snapshot"]
    assert searched.act("tune", snapshot=earlier).origin == "model.yaml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("eta: 0.01", "eta: 0.02"),
        ("rounds: 10", "rounds: 11"),
        ("}\ntuning: {", "}\ntuning: {parameters: {max_depth: {low: 40, high: 50}}, "),
    ],
)
def test_what_a_search_found_is_void_when_model_yaml_says_something_new(
    searched: Any, snapshot: str, old: str, new: str
) -> None:
    searched.change_spec(lambda text: text.replace(old, new))
    found = searched.act("tune", snapshot=snapshot)
    assert found.parameters == {}
    assert found.origin.startswith("model.yaml, which is newer than study rides-")


def test_a_search_is_made_by_schedule_in_event_time(quick: Any, snapshot: str) -> None:
    quick.change_spec(lambda text: text.replace(f"{{trials: {TRIALS}}}", "{trials: 1, every: 1d}"))
    snapshots = {day: quick.run("freeze_dataset", as_of=quick.day(day)["start"])["snapshot"] for day in (2, 3)}
    for day, searches in ((2, 1), (2, 1), (3, 2)):
        quick.act("tune", snapshot=snapshots[day])
        assert len(runs_of(quick, "search")) == searches


def test_a_search_begins_with_model_yaml_and_the_best_of_the_last_search(searched: Any, done: Any) -> None:
    searched.change_spec(lambda text: text.replace(f"trials: {TRIALS}", "trials: 2"))
    other = searched.run("freeze_dataset", as_of=searched.day(4)["start"])["snapshot"]
    searched.act("tune", snapshot=other, search=True)
    assert [parameters for _, _, parameters in tried(searched, other)] == [MODEL_YAML, done[1].parameters]


def test_the_same_search_again_makes_no_trial_and_says_the_same(searched: Any, snapshot: str, done: Any) -> None:
    before = len(searched.registry.runs)
    assert searched.act("tune", snapshot=snapshot, search=True) == done[1]
    assert len(searched.registry.runs) == before


@pytest.mark.parametrize(
    ("method", "trial", "count", "statuses"),
    [("begin_run", 2, 2, []), ("log_progress", 4, 4, ["KILLED"]), ("end_run", 4, 5, ["FINISHED"])],
)
def test_a_search_that_was_killed_goes_on_and_ends_as_an_undisturbed_one(
    quick: Any, snapshot: str, done: Any, method: str, trial: int, count: int, statuses: list[str]
) -> None:
    command = [sys.executable, "-c", SEARCH, str(quick.home), snapshot, method, str(trial)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told, process.communicate()[1].decode()
        process.send_signal(signal.SIGKILL)
    quick.registry.runs = {key: LiveRun(*run) for key, run in json.loads(told).items()}
    assert len(tried(quick, snapshot)) == count
    assert quick.act("tune", snapshot=snapshot, search=True).parameters == done[1].parameters
    assert tried(quick, snapshot) == done[2]
    assert len(runs_of(quick, "search")) == 1
    assert [run.status for run in runs_of(quick, f"trial {trial}")] == statuses


def test_a_trial_that_was_killed_while_it_was_asked_for_is_tried_with_all_that_it_was_to_have(
    quick: Any, snapshot: str
) -> None:
    with study_of(quick, snapshot) as study:
        study.enqueue_trial(MODEL_YAML)
        study.ask().suggest_int("max_depth", 2, 10)
    quick.act("tune", snapshot=snapshot, search=True)
    assert tried(quick, snapshot)[0][2] == MODEL_YAML


def test_a_training_that_ended_when_mlflow_was_away_counts_and_is_shown_later(
    quick: Any, snapshot: str, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*given: Any) -> None:
        raise UnavailableError("MLflow is away")

    monkeypatch.setattr(quick.registry, "end_run", away)
    with pytest.raises(UnavailableError, match="MLflow is away"):
        quick.act("tune", snapshot=snapshot, search=True)
    assert tried(quick, snapshot) == done[2][:1]
    monkeypatch.undo()
    quick.act("tune", snapshot=snapshot, search=True)
    assert tried(quick, snapshot) == done[2]
    first = runs_of(quick, "trial")[0]
    assert first.status == "FINISHED"
    assert min(loss for _, loss in first.curves["validation_loss"]) == done[2][0][1]


def test_a_search_goes_on_in_a_new_run_where_mlflow_lost_its_own(quick: Any, snapshot: str, done: Any) -> None:
    quick.change_spec(lambda text: text.replace(f"trials: {TRIALS}", "trials: 2"))
    quick.act("tune", snapshot=snapshot, search=True)
    quick.registry.runs.clear()
    quick.change_spec(lambda text: text.replace("trials: 2", f"trials: {TRIALS}"))
    assert quick.act("tune", snapshot=snapshot, search=True).parameters == done[1].parameters
    assert [run.status for run in runs_of(quick, "search")] == ["FINISHED"]
    assert len(runs_of(quick, "trial")) == TRIALS - 2


def test_a_search_that_found_nothing_begins_anew_once_what_was_wrong_is_cured(
    quick: Any, snapshot: str, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*given: Any) -> None:
        raise InputError("too little memory")

    with monkeypatch.context() as patched:
        patched.setattr("kilter.trainers.xgboost.train", lacking)
        with pytest.raises(InputError, match=r"none of its 6 trials .* too little memory"):
            quick.act("tune", snapshot=snapshot, search=True)
    assert quick.act("tune", snapshot=snapshot, search=True) == done[1]
    assert [run.status for run in runs_of(quick, "search")] == ["FAILED", "FINISHED"]


def test_a_trial_that_kills_the_step_twice_is_a_failed_one(quick: Any, snapshot: str) -> None:
    for _ in range(2):
        with study_of(quick, snapshot) as study:
            study.ask()
            repeat_interrupted(study)
            assert spent(study) == timedelta(0)
    quick.change_spec(lambda text: text.replace(f"trials: {TRIALS}", "trials: 1"))
    with pytest.raises(InputError, match="the last: the step was killed twice while this trial ran"):
        quick.act("tune", snapshot=snapshot, search=True)


def test_a_trial_that_fails_is_a_failed_trial_and_no_failed_step(quick: Any, snapshot: str) -> None:
    quick.change_spec(
        lambda text: text.replace(
            f"{{trials: {TRIALS}}}", "{trials: 4, parameters: {subsample: {choices: [1, -1, -2]}}}"
        )
    )
    found = quick.act("tune", snapshot=snapshot, search=True)
    states = {(state, parameters["subsample"] > 0) for state, _, parameters in tried(quick, snapshot)}
    assert states == {("FAIL", False), ("COMPLETE", True)}
    assert found.parameters["subsample"] == 1
    failed = next(run for run in runs_of(quick, "trial") if run.status == "FAILED")
    assert failed.parameters["subsample"] < 0


def test_a_search_of_which_all_trials_fail_says_why(quick: Any, snapshot: str) -> None:
    quick.change_spec(lambda text: text.replace("eta: 0.01}", "grow_policy: sideways}"))
    with pytest.raises(InputError, match=r"none of its 6 trials came to an end; the last: XGBoost refused .*sideways"):
        quick.act("tune", snapshot=snapshot, search=True)
    assert runs_of(quick, "search")[0].status == "FAILED"
    assert last_search(quick) is None


def test_when_time_is_up_the_search_ends_with_what_it_has(quick: Any, snapshot: str) -> None:
    quick.change_spec(lambda text: text.replace(f"{{trials: {TRIALS}}}", "{trials: 1000, time: 1s}"))
    quick.act("tune", snapshot=snapshot, search=True)
    trials = tried(quick, snapshot)
    assert 0 < len(trials) < 1000
    with study_of(quick, snapshot) as study:
        assert timedelta(seconds=1) < spent(study) < timedelta(seconds=10)
    # Time counts from where it was, so that another try makes no more trials.
    quick.act("tune", snapshot=snapshot, search=True)
    assert tried(quick, snapshot) == trials


def test_what_surely_gets_no_better_is_pruned(quick: Any, snapshot: str) -> None:
    quick.change_spec(
        lambda text: text.replace(
            f"{{trials: {TRIALS}}}", "{trials: 12, parameters: {eta: {choices: [0.3, 0.000001]}}}"
        )
    )
    quick.act("tune", snapshot=snapshot, search=True)
    trials = tried(quick, snapshot)
    assert all(state == "COMPLETE" for state, _, _ in trials[:5])
    assert ("PRUNED", 0.000001) in {(state, parameters["eta"]) for state, _, parameters in trials}
    run = next(run for run in runs_of(quick, "trial") if run.status == "KILLED")
    assert 2 < len(run.curves["validation_loss"]) < 10


def test_mlflow_shows_each_trial_below_its_search_with_what_decided(done: Any) -> None:
    rides, found, _ = done
    (parent,) = runs_of(rides, "search")
    identity = next(key for key, run in rides.registry.runs.items() if run is parent)
    children = runs_of(rides, "trial")
    assert [run.parent for run in children] == [identity] * TRIALS
    assert [run.name for run in children] == [f"trial {number}" for number in range(TRIALS)]
    assert all(run.curves["validation_loss"] and run.status in ("FINISHED", "KILLED") for run in children)
    assert parent.status == "FINISHED"
    assert parent.files.keys() == {"best.json", "history.png", "importance.png", "trials.csv"}
    assert json.loads(parent.files["best.json"])["parameters"] == found.parameters
    rows = list(csv.DictReader(io.StringIO(parent.files["trials.csv"].decode())))
    assert [int(row["trial"]) for row in rows] == list(range(TRIALS))


def test_a_line_in_the_log_tells_of_each_trial_and_what_is_left(
    quick: Any, snapshot: str, caplog: pytest.LogCaptureFixture
) -> None:
    quick.change_spec(lambda text: text.replace(f"trials: {TRIALS}", "trials: 2"))
    with caplog.at_level(logging.INFO):
        quick.act("tune", snapshot=snapshot, search=True)
    lines = [record.message for record in caplog.records if record.message.startswith("trial ")]
    assert [line[:14] for line in lines] == ["trial 0: loss ", "trial 1: loss "]
    assert re.search(r"after \d+ rounds, best 0\.\d{5} \(trial [01]\); 0 trials and \d+\.\d minutes left$", lines[1])


def test_a_registry_that_is_away_keeps_what_was_tried(
    quick: Any, snapshot: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = quick.registry.begin_run

    def away(model: str, name: str, *others: Any) -> str:
        if name == "trial 1":
            raise UnavailableError("MLflow is away")
        return str(begin(model, name, *others))

    monkeypatch.setattr(quick.registry, "begin_run", away)
    with pytest.raises(UnavailableError, match="MLflow is away"):
        quick.act("tune", snapshot=snapshot, search=True)
    assert len(tried(quick, snapshot)) == 1
    monkeypatch.undo()
    quick.change_spec(lambda text: text.replace(f"trials: {TRIALS}", "trials: 2"))
    quick.act("tune", snapshot=snapshot, search=True)
    assert len(tried(quick, snapshot)) == 2
    assert len(runs_of(quick, "search")) == 1


def test_a_ledger_that_is_away_is_said_without_its_password() -> None:
    ledger = Ledger("postgresql+psycopg://kilter:secret@127.0.0.1:9/kilter")
    wanted = r"(?s)study 's'.*trying again goes on"
    with pytest.raises(UnavailableError, match=wanted) as found, open_study(ledger, "s"):
        pass
    assert "secret" not in str(found.value)


def test_the_parameters_of_a_version_are_traced_to_the_trial_that_found_them(searched: Any, snapshot: str) -> None:
    found = searched.act("tune", snapshot=snapshot)
    trained = searched.run("train", snapshot=snapshot, parameters=found.parameters)
    made = {"snapshot": snapshot, "model": trained["model"]}
    made |= {"evaluation": searched.run("evaluate", **made)["evaluation"], "device": trained["device"]}
    made["profile"] = searched.run("profile", snapshot=snapshot)["profile"]
    searched.act("register", **made, parameters_of=found.origin)
    traced: Any = trace("rides", 1, searched.registry, searched.ledger)
    assert re.fullmatch(r"trial \d of study rides-[0-9a-f]{12}", traced["lineage"]["parameters_of"])
