"""One contract for every registry: the fake, and MLflow on a real server."""

import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from mlflow.tracking import MlflowClient

from kilter.errors import InputError, UnavailableError
from kilter.services import free_port
from kilter.stores.registry import (
    TAG_LENGTH,
    MemoryRegistry,
    MlflowRegistry,
    ModelVersion,
    PipelineRun,
    Registry,
    ReportRun,
)


@pytest.fixture(params=["memory", "mlflow"])
def registry(request: pytest.FixtureRequest) -> Registry:
    if request.param == "memory":
        return MemoryRegistry()
    return MlflowRegistry(request.getfixturevalue("mlflow_url"))


@pytest.fixture
def model(request: pytest.FixtureRequest) -> str:
    return f"model_{abs(hash(request.node.nodeid))}"


def run(model: str, digest: str = "a" * 64) -> PipelineRun:
    return PipelineRun(
        model=model,
        name="a run",
        parameters={"max_depth": 6, "trainer": "xgboost"},
        metrics={"roc_auc": 0.75},
        tags={"dag_id": "model.continuous_training", "predecessor": "", "reason": "drift"},
        dataset="file:///store/snapshots/model/s",
        dataset_digest="d" * 64,
        dataset_rows=1000,
        key=f"models/{model}/{digest}",
        digest=digest,
        snapshot=f"snapshots/{model}/s",
        evaluation=f"evaluations/{model}/e",
    )


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.ubj").write_bytes(b"a model")
    return tmp_path


def test_versions_count_from_one_and_keep_what_was_registered(registry: Registry, model: str, artifacts: Path) -> None:
    first = registry.register(run(model), artifacts)
    second = registry.register(run(model, "b" * 64), artifacts)
    assert (first.version, second.version) == (1, 2)
    assert registry.version(model, 2) == second
    assert registry.versions(model) == [first, second]
    assert second.digest == "b" * 64
    assert second.metrics == {"roc_auc": 0.75}


def test_the_lineage_is_on_the_version(registry: Registry, model: str, artifacts: Path) -> None:
    registry.register(run(model), artifacts)
    registry.tag(model, 1, "gate_verdict", "passed")
    tags = registry.tags(model, 1)
    assert tags["dag_id"] == "model.continuous_training"
    assert tags["reason"] == "drift"
    assert tags["gate_verdict"] == "passed"


def test_a_curve_is_kept_with_its_steps_however_long(mlflow_url: str, model: str, artifacts: Path) -> None:
    curve = tuple(1 / (1 + step) for step in range(1500))
    registry = MlflowRegistry(mlflow_url)
    made = registry.register(run(model).model_copy(update={"curves": {"validation_loss": curve}}), artifacts)
    history = registry._client.get_metric_history(made.run_id, "validation_loss")
    assert {item.step: item.value for item in history} == dict(enumerate(curve))


def test_the_same_model_on_the_same_snapshot_is_found(registry: Registry, model: str, artifacts: Path) -> None:
    made = registry.register(run(model), artifacts)
    assert registry.find(model, made.digest, made.snapshot) == made
    assert registry.find(model, made.digest, "snapshots/other") is None


def test_an_alias_moves_and_goes(registry: Registry, model: str, artifacts: Path) -> None:
    for digest in ("a" * 64, "b" * 64):
        registry.register(run(model, digest), artifacts)
    assert registry.champion(model) is None
    registry.set_alias(model, "champion", 1)
    registry.set_alias(model, "champion", 2)
    assert registry.champion(model) == 2
    registry.remove_alias(model, "champion")
    registry.remove_alias(model, "champion")
    assert registry.champion(model) is None


def test_an_unknown_model_has_no_versions_and_no_champion(registry: Registry) -> None:
    assert registry.versions("nobody") == []
    assert registry.champion("nobody") is None


def test_an_unknown_version_is_refused(registry: Registry, model: str, artifacts: Path) -> None:
    registry.register(run(model), artifacts)
    with pytest.raises(InputError, match="has no version 9"):
        registry.version(model, 9)


def attached(registry: Registry, made: ModelVersion, model: str, path: str) -> bytes:
    """What MLflow's run of a version, or the fake, holds under a path."""
    if isinstance(registry, MemoryRegistry):
        return registry.attached[model, made.version][path]
    assert isinstance(registry, MlflowRegistry)
    answer = httpx.get(f"{registry.url}/get-artifact", params={"run_id": made.run_id, "path": path})
    return answer.raise_for_status().content


def test_files_are_attached_to_a_versions_run_and_replaced_there(
    registry: Registry, model: str, artifacts: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    made = registry.register(run(model), artifacts)
    folder = tmp_path_factory.mktemp("report")
    (folder / "gate").mkdir()
    for words in ("held", "passed"):
        (folder / "gate/report.html").write_text(words)
        registry.attach(model, made.version, folder)
    assert attached(registry, made, model, "gate/report.html") == b"passed"


def test_a_report_is_a_run_of_its_models_experiment_and_the_same_again_is_the_same_run(
    mlflow_url: str, registry: Registry, model: str, tmp_path: Path
) -> None:
    (tmp_path / "report.json").write_text("{}")
    report = ReportRun(
        model=model,
        name="drift",
        report=f"reports/{model}/abc",
        tags={"kind": "drift_report", "verdict": "failed"},
        metrics={"drift/fare": 0.3},
    )
    identity = registry.log_report(report, tmp_path)
    assert registry.log_report(report, tmp_path) == identity
    other = report.model_copy(update={"report": f"reports/{model}/def"})
    assert registry.log_report(other, tmp_path) != identity
    if isinstance(registry, MemoryRegistry):
        assert registry.reports[report.report] == (report, {"report.json": b"{}"})
        return
    from mlflow.tracking import MlflowClient

    client = MlflowClient(mlflow_url)
    seen = client.get_run(identity)
    assert client.get_experiment(seen.info.experiment_id).name == model
    assert (seen.info.status, seen.data.metrics) == ("FINISHED", {"drift/fare": 0.3})
    assert (seen.data.tags["kilter.report"], seen.data.tags["kilter.verdict"]) == (report.report, "failed")
    assert [item.path for item in client.list_artifacts(identity)] == ["report.json"]


def test_nothing_is_attached_to_an_unknown_version(registry: Registry, model: str, artifacts: Path) -> None:
    registry.register(run(model), artifacts)
    with pytest.raises(InputError, match="has no version 9"):
        registry.attach(model, 9, artifacts)


def test_a_tag_of_the_length_that_every_server_takes_is_kept_whole(
    registry: Registry, model: str, artifacts: Path
) -> None:
    registry.register(run(model), artifacts)
    registry.tag(model, 1, "gate_reason", "a" * TAG_LENGTH)
    assert registry.tags(model, 1)["gate_reason"] == "a" * TAG_LENGTH


def test_mlflow_shows_the_whole_run(mlflow_url: str, model: str, artifacts: Path) -> None:
    from mlflow.tracking import MlflowClient

    made = MlflowRegistry(mlflow_url).register(run(model), artifacts)
    seen = MlflowClient(mlflow_url).get_run(made.run_id)
    assert seen.info.status == "FINISHED"
    assert seen.data.metrics == {"roc_auc": 0.75}
    assert seen.data.params["max_depth"] == "6"
    assert seen.data.tags["kilter.dataset_digest"] == "d" * 64
    (dataset,) = seen.inputs.dataset_inputs
    assert dataset.dataset.digest == "d" * 36
    assert json.loads(dataset.dataset.source) == {"uri": "file:///store/snapshots/model/s"}
    assert [item.path for item in MlflowClient(mlflow_url).list_artifacts(made.run_id, "model")] == ["model/model.ubj"]


def test_an_mlflow_that_does_not_answer_is_unavailable_within_seconds(artifacts: Path) -> None:
    started = time.monotonic()
    with pytest.raises(UnavailableError, match="KILTER_MLFLOW"):
        MlflowRegistry(f"http://127.0.0.1:{free_port()}").champion("m")
    assert time.monotonic() - started < 30


def test_a_client_loads_no_plugin_of_feast_and_leaves_nothing_in_the_environment(mlflow_url: str) -> None:
    program = f"""
import os, sys
from kilter.stores.registry import MlflowRegistry
before = set(os.environ)
assert MlflowRegistry("{mlflow_url}").versions("nobody") == []
assert "feast" not in sys.modules
assert not [name for name in set(os.environ) - before if not name.startswith("MLFLOW_")]
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_training_is_watched_while_it_goes_on_and_registered_as_the_same_run(
    registry: Registry, model: str, artifacts: Path
) -> None:
    watched = registry.begin_run(model, "manual", {"dag_id": "d"})
    registry.log_progress(watched, {"validation_loss": [(0, 0.7), (1, 0.6)]}, {"eta": 0.1})
    registry.log_progress(watched, {"validation_loss": [(2, 0.5)]})
    told = run(model).model_copy(update={"run_id": watched, "curves": {"validation_loss": (0.7, 0.6, 0.5, 0.55)}})
    assert registry.register(told, artifacts).run_id == watched


def test_mlflow_keeps_each_point_of_a_curve_once(mlflow_url: str, model: str, artifacts: Path) -> None:
    registry = MlflowRegistry(mlflow_url)
    watched = registry.begin_run(model, "manual", {})
    registry.log_progress(watched, {"validation_loss": [(0, 0.7), (2, 0.5)]})
    told = run(model).model_copy(update={"run_id": watched, "curves": {"validation_loss": (0.7, 0.6, 0.5, 0.55)}})
    registry.register(told, artifacts)
    points = MlflowClient(mlflow_url).get_metric_history(watched, "validation_loss")
    assert sorted((point.step, point.value) for point in points) == [(0, 0.7), (1, 0.6), (2, 0.5), (3, 0.55)]


@pytest.mark.parametrize("watched", ["ended", "gone"])
def test_a_run_that_ended_or_is_gone_is_not_gone_on_with(
    mlflow_url: str, model: str, artifacts: Path, watched: str
) -> None:
    registry = MlflowRegistry(mlflow_url)
    identity = registry.begin_run(model, "manual", {})
    if watched == "ended":
        registry.end_run(identity, "FAILED")
    else:
        identity = "0" * 32
    told = run(model).model_copy(update={"run_id": identity})
    assert registry.register(told, artifacts).run_id != identity


def test_trials_are_shown_below_their_search_with_its_files(mlflow_url: str, model: str, tmp_path: Path) -> None:
    registry = MlflowRegistry(mlflow_url)
    search = registry.begin_run(model, "search", {})
    trial = registry.begin_run(model, "trial 1", {"trial": "1"}, parent=search)
    registry.end_run(trial, "KILLED")
    (tmp_path / "importance.png").write_bytes(b"png")
    registry.end_run(search, "FINISHED", tmp_path)
    client = MlflowClient(mlflow_url)
    assert client.get_run(trial).data.tags["mlflow.parentRunId"] == search
    assert client.get_run(trial).info.status == "KILLED"
    assert [item.path for item in client.list_artifacts(search)] == ["importance.png"]
