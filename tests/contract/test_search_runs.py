"""A search's runs in a real MLflow, on SQLite."""

from __future__ import annotations

import json
from pathlib import Path

from mlflow.tracking import MlflowClient
from optuna.trial import TrialState

from kilter.search_runs import LOSSES, RUN, SearchRuns
from kilter.stores.ledger import Ledger
from kilter.stores.registry import MlflowRegistry
from kilter.stores.studies import open_study, repeat_interrupted


def test_a_search_that_goes_on_with_a_larger_budget_goes_on_in_its_run(tmp_path: Path) -> None:
    ledger, url = Ledger(f"sqlite:///{tmp_path}/ledger.db"), f"sqlite:///{tmp_path}/mlflow.db"
    ledger.migrate()
    registry, client = MlflowRegistry(url), MlflowClient(url)
    client.create_experiment("m", artifact_location=f"file://{tmp_path}/artifacts")
    parents = []
    for loss, state in ((0.5, TrialState.COMPLETE), (0.6, TrialState.PRUNED), (0.4, TrialState.COMPLETE)):
        with open_study(ledger, "m-1") as study:
            repeat_interrupted(study)
            runs = SearchRuns(study, registry, "m", {"snapshot": "s"})
            runs.catch_up()
            trial = study.ask()
            trial.suggest_float("eta", 0.1, 1)
            runs.begin(trial)
            trial.set_user_attr(LOSSES, [(0, 0.9), (1, loss)])
            runs.tell(study.tell(trial, loss if state is TrialState.COMPLETE else None, state))
            runs.finish()
            # One that is killed before it is told.
            runs.begin(study.ask())
            parents.append(runs.parent)
            (parent,) = {*parents}
            file = client.download_artifacts(parent, "best.json")
            assert json.loads(Path(file).read_text())["loss"] == study.best_value
    ours = {trial.user_attrs[RUN]: trial.state for trial in study.trials}
    experiment = client.get_experiment_by_name("m")
    found = {
        run.info.run_id: run for run in client.search_runs([experiment.experiment_id]) if run.info.run_id != parent
    }
    assert found.keys() == ours.keys()
    assert {run.data.tags["mlflow.parentRunId"] for run in found.values()} == {parent}
    states = {(found[run].info.status, state.name) for run, state in ours.items()}
    assert states == {("FINISHED", "COMPLETE"), ("KILLED", "PRUNED"), ("KILLED", "FAIL"), ("RUNNING", "RUNNING")}
    assert [point.value for point in client.get_metric_history(parent, "loss")] == [0.5, 0.6, 0.4]


def test_a_search_whose_run_was_deleted_goes_on_in_a_new_one(tmp_path: Path) -> None:
    ledger, url = Ledger(f"sqlite:///{tmp_path}/ledger.db"), f"sqlite:///{tmp_path}/mlflow.db"
    ledger.migrate()
    registry, client = MlflowRegistry(url), MlflowClient(url)
    with open_study(ledger, "m-1") as study:
        runs = SearchRuns(study, registry, "m", {})
        runs.begin(study.ask())
        assert SearchRuns(study, registry, "m", {}).parent == runs.parent
        runs.fail()
        assert SearchRuns(study, registry, "m", {}).parent == runs.parent
        client.delete_run(runs.parent)
        client.delete_run(study.trials[0].user_attrs[RUN])
        repeat_interrupted(study)
        again = SearchRuns(study, registry, "m", {})
        again.catch_up()
        assert again.parent != runs.parent
        study.set_user_attr(RUN, "0" * 32)
        assert registry.status(SearchRuns(study, registry, "m", {}).parent) == "RUNNING"
